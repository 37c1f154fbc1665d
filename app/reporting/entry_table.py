"""A budget's entries as CSV, a line each; no field is a formula to a spreadsheet (`result_table`).

An empty field is a missing value. `epsilon_alone` is what a charge would consume if it were the
only one, at `delta` and for one `unit`: such figures do not add up. What was run and the facts of
decisions stand as JSON. The bytes that were hashed are in the ledger's bundle, not here.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from app.reporting.result_table import guarded

COLUMNS: Final = (
    "seq",
    "at",
    "kind",
    "actor",
    "actor_name",
    "job",
    "reservation",
    "resolves",
    "units",
    "epsilon_alone",
    "delta",
    "unit",
    "parts",
    "facts",
    "hash",
    "prev",
)
AS_THEY_ARE: Final = ("at", "kind", "actor", "actor_name", "job", "reservation", "resolves")


def header() -> str:
    """The first line."""
    return _written(COLUMNS)


def line(entry: Mapping[str, Any], unit: str) -> str:
    """One entry in the wire form, and the unit of privacy that its charge is counted in."""
    charge = entry["charge_alone"] or {"epsilon": "", "delta": ""}
    fields = {
        **{name: "" if entry[name] is None else guarded(entry[name]) for name in AS_THEY_ARE},
        "seq": str(entry["seq"]),
        "units": str(sum(part["units"] for part in entry["parts"])),
        "epsilon_alone": charge["epsilon"],
        "delta": charge["delta"],
        "unit": unit,
        "parts": _json(entry["parts"]),
        "facts": _json(json.loads(entry["body"])["facts"]),
        "hash": entry["hash"],
        "prev": entry["prev"],
    }
    return _written([fields[name] for name in COLUMNS])


def _written(fields: Iterable[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(fields)
    return buffer.getvalue()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
