"""What a report keeps of specs and results: their public form, without a released value (R13).

Reports are canonical JSON, which has no floats: a float is written as the decimal text that reads
back to it.
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from app.domain.decimals import decimal_text

# of a query's or a profile's cell; the value itself stays with the result
_MEASURE: Final = "measure"
# of an audit: what canaries say of a run, free to release (R26)
_PLAN_FIGURE: Final = "if_fixed_in_advance"
_TRAINED: Final = ("steps", "steps_run", "cancelled", "noise_multiplier", "test_accuracy", "audit")


def canonical(document: Any) -> Any:
    """A JSON document with each float as text; everything else as it is.

    An infinity or a NaN becomes its name, which no figure is ever computed from.
    """
    if isinstance(document, float):
        if not math.isfinite(document):
            return str(document)
        return decimal_text(Decimal(repr(document)))
    if isinstance(document, Mapping):
        return {key: canonical(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [canonical(value) for value in document]
    return document


def public_facts(kind: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """The public facts of a released document.

    Args:
        kind: `query`, `profile` or `train`.
        document: as the worker stored it.

    Returns:
        Of a run: its steps, its accuracy on the public set, what its canaries say. Of a query: the
        name and mechanism of each measure, whether a half-width stands beside each of its values,
        and the notes; of a profile the same as one measure. Of all kinds the figure that holds for
        the job alone, if it was composed (R11). No key, no value, no number of rows.
    """
    # of the mechanisms alone, whatever the rows were
    figure = {key: canonical(document[key]) for key in (_PLAN_FIGURE,) if key in document}
    if kind == "train":
        kept = {key: document[key] for key in _TRAINED if key in document}
        return {"kind": kind, **canonical(kept), **figure}
    cells = [cell for row in document.get("rows", []) for cell in row.get("cells", [])]
    measures: dict[str, dict[str, Any]] = {}
    for cell in cells:
        name = str(cell.get(_MEASURE))
        width = any("half_width" in key for key in cell)
        said = measures.setdefault(
            name, {"name": name, "mechanism": cell.get("mechanism"), "has_half_width": width}
        )
        said["has_half_width"] = said["has_half_width"] and width
    if kind == "profile":
        width = _has_half_width(document)
        measures["profile"] = {"name": "profile", "mechanism": None, "has_half_width": width}
    return {
        "kind": kind,
        "measures": [measures[name] for name in sorted(measures)],
        "notes": [str(note) for note in document.get("notes", [])],
        **figure,
    }


def _has_half_width(document: Any) -> bool:
    if isinstance(document, Mapping):
        if any("half_width" in key for key in document):
            return True
        return any(_has_half_width(value) for value in document.values())
    return isinstance(document, list) and any(_has_half_width(value) for value in document)
