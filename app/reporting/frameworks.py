"""Section 10: where other frameworks ask for what a report holds; dated, and never a verdict.

The lines and dates are data (`data/frameworks.json`), so that whoever answers for them can correct
them without a change of code. Each line points to fields of the report by JSON pointer and says
which of them are empty; what follows from it in law is for the organisation to judge (L9).
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

CONCLUSION: Final = "evidence offered; no legal conclusion"
ASSESSED_BY: Final = "organisation"
RECORDS_OF_NONE: Final = ("/ledger/", "/exceptions")


def frameworks(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The section, for the other sections of a report that is being built."""
    return [
        {
            "id": each["id"],
            "name": each["name"],
            "edition": each["edition"],
            "jurisdiction": each["jurisdiction"],
            "source": each["source"],
            "basis": each["basis"],
            "as_of": each["as_of"],
            "does_not_show": each["does_not_show"],
            "assessed_by": ASSESSED_BY,
            "status": each["status"],
            "lines": [_line(line, report) for line in each["lines"]],
        }
        for each in catalogue()["frameworks"]
    ]


@cache
def catalogue() -> dict[str, Any]:
    """The dated data as it is shipped."""
    text = (files("app.reporting") / "data" / "frameworks.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def resolved(report: object, pointer: str) -> object:
    """What a JSON pointer of section 10 points to; None where nothing is there."""
    for token in pointer.split("/")[1:]:
        if not isinstance(report, Mapping) or token not in report:
            return None
        report = report[token]
    return report


def _line(line: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    absent = [each for each in line["fields"] if _is_absent(resolved(report, each), each)]
    missing = f"; not recorded here: {', '.join(absent)}" if absent else ""
    return {
        "clause": line["clause"],
        "topic": line["topic"],
        "fields": list(line["fields"]),
        "absent": absent,
        "text": f"{line['topic']}: {line['evidence']}{missing}; {CONCLUSION}",
    }


def _is_absent(value: object, pointer: str) -> bool:
    """Whether nothing was recorded; an empty list of changes or exceptions is a record of none."""
    if value is None:
        return True
    return value in ([], {}) and not pointer.startswith(RECORDS_OF_NONE)
