"""Section 11: on what everything rests, what it does not cover, and what stays with others."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.reporting.evidence import Evidence
from app.reporting.statements.wording import LIMITS, PUBLIC_ASSUMPTIONS

OF_REPORTS: Final = (
    "A bound is about the worst case: an attacker who knows every other row. What an attack did"
    " in a test is support for a bound, never proof of it.",
    "The section numbers are those of the draft of December 2023; the final edition of March 2025"
    " was not read in full.",
)
DUTIES: Final = (
    "keep the raw rows, and whoever can read them, under control: no budget holds them",
    "name the person in the data correctly, so that one person is one unit",
    "put every other release of the same data on record, private or not",
    "keep the public key that this report is checked with, and hand it over by another way",
    "judge what follows in law: this report offers evidence for that",
)


def limits(
    evidence: Evidence, findings: Sequence[Mapping[str, Any]], statements: Mapping[str, Any]
) -> dict[str, Any]:
    """The section as a JSON object.

    Args:
        evidence: all records.
        findings: of the criteria.
        statements: of the same evidence; what they rest on, the whole report rests on.
    """
    auditor = statements["auditor"]
    return {
        "assumptions": [
            *(PUBLIC_ASSUMPTIONS if auditor is None else auditor["assumptions"]),
            _noise(evidence),
        ],
        "limits": [*LIMITS, *OF_REPORTS],
        "not_evaluated": [
            {
                "criterion": finding["id"],
                "title": finding["title"],
                "why": finding["note"] or finding["observed"] or finding["rule"],
            }
            for finding in findings
            if finding["state"] == "not_evaluated"
        ],
        "duties_of_the_client": list(DUTIES),
    }


def _noise(evidence: Evidence) -> str:
    service = evidence["service"]
    return (
        f"query noise comes from {service['query_sampler']}, training noise from"
        f" {service['training_sampler']}, keyed by {service['key_source']}"
    )
