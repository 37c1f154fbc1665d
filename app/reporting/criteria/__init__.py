"""Every criterion of the catalogue, decided from the evidence alone by one pure function each."""

from collections.abc import Mapping
from typing import Any

from app.reporting.criteria import (
    deployment,
    implementation,
    parameters,
    queries,
    releases,
    side_channels,
    training,
    unit,
    utility,
)
from app.reporting.criteria.catalogue import criteria
from app.reporting.criteria.findings import IDS_MOST, Finding, Verdict, observed_text
from app.reporting.criteria.records import Records
from app.reporting.criteria.registry import RULES
from app.reporting.evidence import Evidence

__all__ = [
    "LAYERS",
    "RULES",
    "Finding",
    "Verdict",
    "evaluate",
]

# the files of each layer, from the top of the pyramid to its base
LAYERS = {
    "privacy parameters and unit": (parameters, unit, releases),
    "algorithms, utility, bias": (queries, training, utility, implementation),
    "deployment": (deployment, side_channels),
}


def evaluate(evidence: Evidence, comparisons: Mapping[str, Any] | None = None) -> list[Finding]:
    """All criteria in the catalogue's order. The same evidence gives the same findings.

    Args:
        evidence: the records, and nothing else is looked at: no clock, no database.
        comparisons: the section of published deployments that stands in the same report, which two
            of the criteria are about; None where nothing is compared.
    """
    records = Records(evidence, comparisons)
    found = []
    for each in criteria(evidence.get("mapping")):
        verdict = RULES[each["id"]](records)
        found.append(
            Finding(
                id=each["id"],
                section=each["section"],
                title=each["title"],
                source=each["source"],
                source_edition=each["source_edition"],
                kind=each["kind"],
                layer=each["layer"],
                type=each["check_type"],
                state=verdict.state,
                rule=each["rule"],
                observed=observed_text(verdict.observed),
                evidence=list(dict.fromkeys(verdict.evidence))[:IDS_MOST],
                method=verdict.method,
                at=evidence["as_of"],
                note=verdict.note,
            )
        )
    return found
