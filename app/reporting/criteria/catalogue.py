"""The criteria as dated data: 48 rules with their sections, and what an organisation may edit.

The catalogue is `app/reporting/data/nist-criteria.json`. An organisation that reads another edition
gives a JSON file of its own, `{"mapping": {"N226-01": {"section": "2.2.1", ...}}, "policy":
{"low_epsilon": "2", ...}}`; it is checked here, travels in the evidence, and needs no code. It can
change how a criterion is named and where its text stands, never its id, its rule or its type.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, NotRequired, TypedDict, cast

from app.domain.decimals import parse_decimal
from app.domain.documents import read_integer, read_object, read_text, under
from app.domain.errors import InvalidParameter
from app.reporting.evidence import ReportPolicy

CheckType = Literal["auto", "partial", "attestation"]

# what an organisation's own mapping may say of a criterion
MAPPED: Final = (
    "section",
    "title",
    "source",
    "source_edition",
    "paraphrase",
    "final_edition_note",
)
_AMOUNTS: Final = ("low_epsilon", "ceiling_epsilon", "delta_most", "crosscheck_tolerance")
_DAYS: Final = ("attestation_days_most", "key_days_most")
_LISTS: Final = ("libraries", "library_digests")
_DAYS_MOST: Final = 36_525
_TEXT_MOST: Final = 2_000


class Criterion(TypedDict):
    """One criterion as the catalogue has it."""

    id: str
    section: str
    title: str
    source: str
    source_edition: str
    kind: str
    layer: str
    check_type: CheckType
    paraphrase: str
    rule: str
    evidence: list[str]
    manual_step: NotRequired[str]
    final_edition_note: NotRequired[str]


@cache
def _document() -> dict[str, Any]:
    text = (files("app.reporting") / "data" / "nist-criteria.json").read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))


def criteria(mapping: Mapping[str, Mapping[str, str]] | None = None) -> list[Criterion]:
    """All criteria in the catalogue's order, named as an organisation's mapping has them."""
    found = cast(list[Criterion], _document()["criteria"])
    said = mapping or {}
    return [cast(Criterion, {**each, **said.get(each["id"], {})}) for each in found]


def edition() -> dict[str, Any]:
    """Which catalogue this is: its edition, its sources and the date they were read."""
    document = _document()
    return {key: document[key] for key in ("edition", "as_of", "source")}


def default_policy() -> ReportPolicy:
    """The bounds that hold where an organisation gives none of its own."""
    return cast(ReportPolicy, json.loads(json.dumps(_document()["policy"])))


def read_mapping(document: object) -> tuple[dict[str, dict[str, str]], ReportPolicy]:
    """An organisation's own names and bounds, over the defaults.

    Raises:
        InvalidParameter: an unknown criterion, key or form, with its pointer.
    """
    fields = read_object(document, "", optional=("mapping", "policy"))
    known = {each["id"] for each in criteria()}
    mapping: dict[str, dict[str, str]] = {}
    for id_, said in _object(fields.get("mapping", {}), "/mapping").items():
        at = under("/mapping", id_)
        if id_ not in known:
            raise InvalidParameter(at, "the catalogue has no criterion of this id")
        values = read_object(said, at, optional=MAPPED)
        mapping[id_] = {
            key: read_text(value, under(at, key), most=_TEXT_MOST) for key, value in values.items()
        }
    return mapping, _read_policy(fields.get("policy", {}))


def _read_policy(document: object) -> ReportPolicy:
    said = read_object(document, "/policy", optional=(*_AMOUNTS, *_DAYS, *_LISTS))
    policy: dict[str, Any] = {**default_policy()}
    for key, value in said.items():
        at = under("/policy", key)
        if key in _AMOUNTS:
            parse_decimal(value, at)
        elif key in _DAYS:
            read_integer(value, at, low=1, high=_DAYS_MOST)
        else:
            for name, texts in _object(value, at).items():
                if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                    raise InvalidParameter(under(at, name), "a list of texts is expected")
        policy[key] = value
    return cast(ReportPolicy, policy)


def _object(document: object, pointer: str) -> Mapping[str, Any]:
    if not isinstance(document, Mapping) or not all(isinstance(key, str) for key in document):
        raise InvalidParameter(pointer, "an object is expected")
    return document
