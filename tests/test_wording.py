"""Claims are true (L9): words that promise what nobody can promise stand in nothing a user reads.

Files are found, not listed, so that a new template, page, command or data file is looked at on the
day it is written. Words count in all their forms. What may stand all the same is listed below with
its reason, and an exception that nothing needs any more fails.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import pytest

from app.api.problems import PROBLEMS
from app.reporting import charts, report
from app.reporting.statements import (
    Band,
    Forecast,
    OfficerFacts,
    auditor_statement,
    officer_statement,
    subject_statement,
)
from app.reporting.statements.plans import (
    auditor_plan_statement,
    officer_plan_statement,
    subject_plan_statement,
)
from tests.read_texts import file_texts, python_texts
from tests.reporting.evidence_sample import sample
from tests.reporting.statements.facts import FACTS, LIFETIME, PLAN, RAISE, USER

PROMISES = re.compile(
    r"\b(?:non-?)?complian(?:t|tly|ce)\b|\bcertif\w+|\banonym\w+"
    r"|\bguarante(?:ed|es|eing)\b|\b(?:un)?safe(?:r|st|ly|ty)?\b|\bnist[ -]approved\b",
    re.IGNORECASE,
)
# What a report shows of the data that is shipped.
DATA_OF = {
    "comparisons": "app/reporting/data/deployments.json",
    "frameworks": "app/reporting/data/frameworks.json",
    "criteria": "app/reporting/data/nist-criteria.json",
}


@dataclass(frozen=True, slots=True)
class Allowed:
    """A phrase that may stand in some files, and why it promises nothing."""

    files: str
    phrase: str
    reason: str


EXCEPTIONS = (
    Allowed("*", r"compliance[_ -]officers?", "the name of a role"),
    Allowed(
        "*",
        r"Not a certification, audit opinion or legal\s+advice\.",
        "the end of every statement denies it",
    ),
    Allowed(
        "app/api/routes/reports.py",
        r"style-src 'unsafe-inline'",
        "a keyword that browsers read in a header",
    ),
    Allowed(
        "app/api/page.py",
        r"'unsafe-inline'",
        "a keyword that browsers read in a header",
    ),
    Allowed(
        "app/reporting/data/deployments.json",
        r"On-line safety classifiers from DP synthetic text",
        "the title of what somebody else published",
    ),
    Allowed(
        "app/reporting/data/deployments.json",
        r"Laplace plus k-anonymity",
        "the name of a method that somebody else used beside theirs",
    ),
    Allowed(
        "app/reporting/data/deployments.json",
        r"with-formal-differential-privacy-guarantees",
        "part of an address",
    ),
    Allowed(
        "app/reporting/data/frameworks.json",
        r"(?:A management-system certificate, nor|certification measures of 1 January 2026"
        r"|take a contract or certification|The rules on certification are in force; a certificate"
        r"|That a status of anonymously processed information applies|guidance on anonymisation)",
        "what other rules call things, beside what a report does not show",
    ),
    Allowed(
        "app/reporting/data/nist-criteria.json",
        r"Two guarantees with different",
        "the noun for a definition, in a criterion that forbids to rank them",
    ),
)


def allowed(where: str, text: str) -> str:
    """The text without what may stand in it."""
    for each in EXCEPTIONS:
        if each.files in ("*", where):
            text = re.sub(each.phrase, "", text)
    return text


def promises(texts: Iterable[tuple[str, str]]) -> list[str]:
    """Each word that promises, with where it stands and what is around it."""
    found = []
    for where, text in texts:
        left = allowed(where.split(":")[0], text)
        found += [
            f"{where}: {match.group()}: {left[max(0, match.start() - 40) : match.end() + 40]!r}"
            for match in PROMISES.finditer(left)
        ]
    return found


def statement_texts() -> Iterator[tuple[str, str]]:
    """Every statement in the shape in which it says most, and what a report shows of it."""
    everything = replace(
        FACTS,
        has_training=True,
        has_outside_tools=True,
        has_outside_runners=True,
        limit_changes=(RAISE,),
        openings=("2026-11-22",),
    )
    more = OfficerFacts(
        forecast=Forecast(28, "0.5", "2027-03-01"),
        band=Band("1", "10"),
        failed=("A",),
        partly=("B",),
        not_evaluated=("C",),
        exceptions=("D",),
        decisions=("E",),
    )
    for kind in ("lifetime", "allocation", "window", "period"):
        for relation in ("add_remove", "replace_one", "zero_out"):
            facts = replace(
                everything,
                kind=kind,
                relation=relation,
                unit=USER if relation == "zero_out" else everything.unit,
                lifetime=None if kind == "lifetime" else LIFETIME,
                span=("2026-11-01T00:00:00+00:00", "2026-12-01T00:00:00+00:00"),
            )
            yield "statement", json.dumps(subject_statement(facts))
            yield "statement", json.dumps(officer_statement(facts, more))
            yield "statement", json.dumps(auditor_statement(facts))
    for write in (subject_plan_statement, officer_plan_statement, auditor_plan_statement):
        yield "statement", json.dumps(write(PLAN))
    built = report.build(sample())
    for section, content in built.items():
        yield DATA_OF.get(section, "report"), json.dumps(content)
    for chart in charts.statement_charts(built["statements"]).values():
        yield "chart", f"{chart.svg} {chart.table}"


def test_no_text_of_the_program_promises_what_nobody_can() -> None:
    texts = python_texts()
    assert len(texts) > 5000
    assert any(where.startswith("workers/engines/train/card_text.py") for where, _ in texts)
    assert promises(texts) == []


def test_no_file_that_is_read_promises_what_nobody_can() -> None:
    texts = file_texts()
    names = {where for where, _ in texts}
    assert {"openapi.yaml", "README.md", "app/reporting/data/deployments.json"} <= names
    assert promises(texts) == []


def test_no_statement_and_no_report_promises_what_nobody_can() -> None:
    assert promises(statement_texts()) == []


def test_no_refusal_promises_what_nobody_can() -> None:
    titles = ((str(kind), problem.title) for kind, problem in PROBLEMS.items())
    assert promises(titles) == []


@pytest.mark.parametrize(
    "text",
    [
        "NIST-approved",
        "Fully GDPR Compliant.",
        "certified by experts",
        "an anonymized file",
        "Anonymous statistics",
        "privacy is guaranteed",
        "this guarantees that nothing leaks",
        "perfectly safe",
        "the SAFEST way",
        "non-compliance",
    ],
)
def test_the_lint_finds_each_word_in_its_forms(text: str) -> None:
    assert promises([("somewhere", text)])


@pytest.mark.parametrize(
    "text",
    ["a compliance officer decides", "security safeguards", "model.safetensors", "the guarantee"],
)
def test_other_words_are_left_alone(text: str) -> None:
    assert promises([("somewhere", text)]) == []


@pytest.mark.parametrize("exception", EXCEPTIONS, ids=lambda each: each.phrase[:30])
def test_every_exception_is_still_needed(exception: Allowed) -> None:
    """One that nothing needs would let the word in where nobody has looked."""
    found = [
        match.group()
        for where, text in [*python_texts(), *file_texts()]
        if exception.files in ("*", where.split(":")[0])
        for match in re.finditer(exception.phrase, text)
    ]
    assert any(PROMISES.search(phrase) for phrase in found)
