"""Attestations: sentences that a named person signs, with an end; believed, never checked (L9).

Each kind has facts of its own, read strictly, so that a criterion finds what it asks for. The
signature covers all of it but a revocation, which only takes something away.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any, Final, Literal, get_args

from app.domain.documents import (
    read_choice,
    read_integer,
    read_list,
    read_object,
    read_text,
    under,
)
from app.domain.errors import InvalidParameter
from app.domain.ledger import canonical_bytes

AttestationKind = Literal[
    "management_assertion",
    "other_releases",
    "harm_scenarios",
    "unit_rationale",
    "trust_parties",
    "raw_store_security",
    "access_to_raw_store",
    "expert_review",
    "post_processing_rationale",
    "truncation_bias",
    "group_effects",
    "budget_justification",
    "population_overlap",
]
KINDS: Final[tuple[AttestationKind, ...]] = get_args(AttestationKind)
VERSION: Final = 1
TAG: Final = b"epsilon-ledger/attestation/1\n"
# how long somebody may stand for something without saying it again
DAYS_MOST: Final = 3 * 366

_SEES: Final = ("raw", "noised", "nothing")
_TEXT_MOST: Final = 2000
_NAME_MOST: Final = 200
_ITEMS_MOST: Final = 200
_RECORDS_MOST: Final = 10**9
SIGNED_FIELDS: Final = (
    "id",
    "kind",
    "statement",
    "facts",
    "person",
    "person_name",
    "role",
    "made_at",
    "expires_at",
)


def read_facts(kind: AttestationKind, document: object, pointer: str = "/facts") -> dict[str, Any]:
    """The facts of an attestation of some kind; most kinds have none beside their sentence.

    Raises:
        InvalidParameter: a key or a form that the kind does not have, with its pointer.
    """
    match kind:
        case "other_releases":
            return {"releases": _items(document, pointer, "releases", _release)}
        case "harm_scenarios":
            return {"scenarios": _items(document, pointer, "scenarios", _scenario, least=1)}
        case "trust_parties":
            return {"parties": _items(document, pointer, "parties", _party, least=1)}
        case "unit_rationale":
            return _unit_rationale(document, pointer)
        case "expert_review":
            said = read_object(document, pointer, required=("reviewer", "reviewed_at"))
            reviewer = read_text(said["reviewer"], under(pointer, "reviewer"), most=_NAME_MOST)
            reviewed_at = _day(said["reviewed_at"], under(pointer, "reviewed_at"))
            return {"reviewer": reviewer, "reviewed_at": reviewed_at}
        case "group_effects":
            return {"groups": _items(document, pointer, "groups", _name, least=1)}
    read_object(document, pointer)
    return {}


def signed_bytes(dataset_id: str, attestation: Mapping[str, Any]) -> bytes:
    """What the signature is over: a tag, and the canonical bytes of all but the revocation.

    attestation: in the form of `app.reporting.evidence.AttestationEvidence`.
    """
    said = {key: attestation[key] for key in SIGNED_FIELDS}
    return TAG + canonical_bytes({"v": VERSION, "dataset": dataset_id, **said})


def _items(document: object, pointer: str, key: str, read: Any, *, least: int = 0) -> list[Any]:
    said = read_object(document, pointer, required=(key,))
    at = under(pointer, key)
    found = read_list(said[key], at, most=_ITEMS_MOST, least=least)
    return [read(each, under(at, index)) for index, each in enumerate(found)]


def _release(document: object, pointer: str) -> dict[str, Any]:
    said = read_object(
        document,
        pointer,
        required=("title", "date", "is_private"),
        optional=("risk_assessment",),
    )
    release: dict[str, Any] = {
        "title": read_text(said["title"], under(pointer, "title"), most=_NAME_MOST),
        "date": _day(said["date"], under(pointer, "date")),
        "is_private": _truth(said["is_private"], under(pointer, "is_private")),
    }
    if "risk_assessment" in said:
        at = under(pointer, "risk_assessment")
        release["risk_assessment"] = read_text(said["risk_assessment"], at, most=_TEXT_MOST)
    return release


def _scenario(document: object, pointer: str) -> dict[str, Any]:
    said = read_object(document, pointer, required=("text", "is_covered"))
    return {
        "text": read_text(said["text"], under(pointer, "text"), most=_TEXT_MOST),
        "is_covered": _truth(said["is_covered"], under(pointer, "is_covered")),
    }


def _party(document: object, pointer: str) -> dict[str, Any]:
    said = read_object(document, pointer, required=("name", "sees"))
    return {
        "name": read_text(said["name"], under(pointer, "name"), most=_NAME_MOST),
        "sees": read_choice(said["sees"], under(pointer, "sees"), _SEES),
    }


def _unit_rationale(document: object, pointer: str) -> dict[str, Any]:
    key = "records_per_person_most"
    said = read_object(document, pointer, optional=(key,))
    if key not in said:
        return {}
    return {key: read_integer(said[key], under(pointer, key), low=1, high=_RECORDS_MOST)}


def _name(document: object, pointer: str) -> str:
    return read_text(document, pointer, most=_NAME_MOST)


def _truth(document: object, pointer: str) -> bool:
    if not isinstance(document, bool):
        raise InvalidParameter(pointer, "true or false is expected")
    return document


def _day(document: object, pointer: str) -> str:
    text = read_text(document, pointer, most=10)
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise InvalidParameter(pointer, "a day such as 2027-03-01 is expected") from None
