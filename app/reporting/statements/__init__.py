"""Statements for the person in the data, the officer and the auditor: facts in, plain JSON out.

`StatementFacts` of a budget go into `subject_statement`, `officer_statement` and
`auditor_statement`; a plan, which has no filter, has `PlanFacts` and functions of its own. Nothing
here reads a clock, a row or a database, so that a report can be computed again from its records.
"""

from app.reporting.statements.auditor import AuditorFacts, CrossCheck, Replay, auditor_statement
from app.reporting.statements.facts import Description, LimitChange, StatementFacts
from app.reporting.statements.gathered import facts_of, report_statements
from app.reporting.statements.officer import (
    Band,
    Forecast,
    Justification,
    OfficerFacts,
    Use,
    officer_statement,
)
from app.reporting.statements.subject import subject_statement
from app.reporting.statements.wording import FOOTER, LIMITS

__all__ = [
    "FOOTER",
    "LIMITS",
    "AuditorFacts",
    "Band",
    "CrossCheck",
    "Description",
    "Forecast",
    "Justification",
    "LimitChange",
    "OfficerFacts",
    "Replay",
    "StatementFacts",
    "Use",
    "auditor_statement",
    "facts_of",
    "officer_statement",
    "report_statements",
    "subject_statement",
]
