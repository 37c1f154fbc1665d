"""The forms in which a result is given, and which of them a request asks for (RFC 9110, 12.5.1)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from app.domain.errors import FormatNotAvailable
from app.reporting.result_table import RESULT_PARQUET, has_table

ResultForm = Literal["json", "csv", "parquet"]

WEIGHT: Final = re.compile(r"[01](\.[0-9]{0,3})?", re.ASCII)
# in the order in which they are preferred where a request does not care
FORMS: Final[dict[ResultForm, str]] = {
    "json": "application/json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}


def forms_of(document: Mapping[str, Any]) -> list[ResultForm]:
    """The forms that this result has: a table comes as CSV, and as Parquet if that was made."""
    forms: list[ResultForm] = ["json"]
    if has_table(document):
        forms.append("csv")
    if RESULT_PARQUET in {item["name"] for item in document["artifacts"]}:
        forms.append("parquet")
    return forms


def chosen_form(
    named: ResultForm | None, accept: str, available: Sequence[ResultForm]
) -> ResultForm:
    """The form that is named, else the available one that Accept likes best.

    Raises:
        FormatNotAvailable: the result does not come in it, or in none that is accepted.
    """
    if named is not None:
        if named in available:
            return named
        raise FormatNotAvailable(available=list(available))
    liked = {form: _quality(accept, FORMS[form]) for form in available}
    best = max(available, key=lambda form: liked[form])  # of equals the first
    if liked[best] <= 0:
        raise FormatNotAvailable(available=list(available))
    return best


def _quality(accept: str, media_type: str) -> float:
    """How much a media type is wanted, 0 to 1: what the most specific range that holds it says."""
    wide = media_type.partition("/")[0] + "/*"
    ranks = {media_type: 3, wide: 2, "*/*": 1}
    best_rank, quality = 0, 0.0
    for item in accept.lower().split(","):
        range_, *parameters = (part.strip() for part in item.split(";"))
        if ranks.get(range_, 0) > best_rank:
            best_rank, quality = ranks[range_], _weight(parameters)
    return quality


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return min(float(value), 1.0) if WEIGHT.fullmatch(value.strip()) else 0.0
    return 1.0
