"""What a person may sign: facts of its kind alone, and every word of it under the signature."""

from typing import Any

import pytest

from app.domain.attestations import KINDS, SIGNED_FIELDS, read_facts, signed_bytes
from app.domain.errors import InvalidParameter
from tests.reporting.evidence_sample import ATTESTED, attested

RELEASE = {"title": "a table", "date": "2027-01-31", "is_private": False}
WRONG: list[tuple[Any, Any, str]] = [
    ("management_assertion", {"releases": []}, "/facts/releases"),
    ("other_releases", {}, "/facts/releases"),
    ("other_releases", {"releases": [{**RELEASE, "is_private": "no"}]}, "/facts/releases/0/is_p"),
    ("other_releases", {"releases": [{**RELEASE, "date": "31/1/2027"}]}, "/facts/releases/0/date"),
    ("harm_scenarios", {"scenarios": []}, "/facts/scenarios"),
    ("trust_parties", {"parties": [{"name": "us", "sees": "all"}]}, "/facts/parties/0/sees"),
    ("unit_rationale", {"records_per_person_most": 0}, "/facts/records_per_person_most"),
    ("unit_rationale", {"records_per_person_most": True}, "/facts/records_per_person_most"),
    ("expert_review", {"reviewer": "a reader"}, "/facts/reviewed_at"),
    ("group_effects", {"groups": ["month", 7]}, "/facts/groups/1"),
]


@pytest.mark.parametrize(("kind", "facts"), ATTESTED.items())
def test_the_facts_of_each_kind_are_kept_as_they_were_stated(kind: Any, facts: Any) -> None:
    assert read_facts(kind, facts) == facts


@pytest.mark.parametrize(("kind", "facts", "pointer"), WRONG)
def test_facts_that_a_kind_does_not_have_are_refused_where_they_stand(
    kind: Any, facts: Any, pointer: str
) -> None:
    with pytest.raises(InvalidParameter) as refused:
        read_facts(kind, facts)
    assert refused.value.pointer.startswith(pointer)


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_takes_a_key_that_nobody_asked_for(kind: Any) -> None:
    with pytest.raises(InvalidParameter):
        read_facts(kind, {**ATTESTED.get(kind, {}), "note": "x"})


@pytest.mark.parametrize("field", SIGNED_FIELDS)
def test_another_word_anywhere_is_another_message_to_sign(field: str) -> None:
    said = dict(attested("other_releases", {"releases": [RELEASE]}))
    changed = {**said, field: {"releases": []} if field == "facts" else "else"}
    assert signed_bytes("d", said) != signed_bytes("d", changed)
    assert signed_bytes("d", said) != signed_bytes("e", said)
    assert signed_bytes("d", said) == signed_bytes("d", {**said, "revoked_at": "2027-05-01"})
