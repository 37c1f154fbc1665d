"""An attestation is signed in a person's name, ends, and can be taken back but never altered."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from app.db.models import AuditEvent
from app.db.session import database_now, snapshot
from app.domain.attestations import DAYS_MOST, signed_bytes
from app.domain.errors import InvalidParameter, LedgerNotSigned, NotAllowed, NotFound
from app.services import signing
from app.services.attestations import AttestationRequest, Attestations
from app.services.checkpoints import Checkpoints
from tests.reported import signed_by
from tests.world import World, keyed

PARTIES = {"parties": [{"name": "platform", "sees": "raw"}]}


@pytest.fixture
def checkpoints(world: World, tmp_path: Path) -> Checkpoints:
    return signed_by(world, tmp_path)


@pytest.fixture
def attestations(world: World, checkpoints: Checkpoints) -> Attestations:
    return Attestations(world.make_session, checkpoints)


def now_of(world: World) -> datetime:
    with snapshot(world.make_session) as session:
        return database_now(session)


def make(world: World, attestations: Attestations, who: str = "officer", **changes: Any) -> Any:
    fields: dict[str, Any] = {
        "dataset_id": world.dataset_id,
        "kind": "trust_parties",
        "statement": "These are all.",
        "facts": PARTIES,
        "expires_at": now_of(world) + timedelta(days=30),
        **changes,
    }
    caller = world.people[who]
    said = keyed(caller, "attestations", {"a": 1})
    return attestations.make(caller, AttestationRequest(**fields), said)


@pytest.mark.parametrize("who", ["officer", "admin"])
def test_the_ledger_s_key_signs_every_word_of_it_in_the_person_s_name(
    world: World, attestations: Attestations, checkpoints: Checkpoints, who: str
) -> None:
    made = make(world, attestations, who)
    key = signing.load(checkpoints.key_file).public
    assert made["signed_by"] == key.sha256
    assert (made["person"], made["person_name"]) == (str(world.people[who].principal_id), who)
    assert made["role"] == {"officer": "compliance_officer", "admin": "admin"}[who]
    assert key.verifies(made["signature"], signed_bytes(str(world.dataset_id), made))
    for field, value in (("statement", "These are some."), ("expires_at", made["made_at"])):
        altered = {**made, field: value}
        assert not key.verifies(made["signature"], signed_bytes(str(world.dataset_id), altered))
    assert not key.verifies(made["signature"], signed_bytes(str(uuid4()), made))


@pytest.mark.parametrize("who", ["engineer", "auditor"])
def test_who_neither_governs_nor_administers_attests_to_nothing(
    world: World, attestations: Attestations, who: str
) -> None:
    with pytest.raises(NotAllowed):
        make(world, attestations, who)
    with pytest.raises(NotAllowed):
        attestations.revoke(world.people[who], uuid4())


def test_facts_ends_and_datasets_that_are_not_so_are_refused_before_anything_is_signed(
    world: World, attestations: Attestations
) -> None:
    now = now_of(world)
    wrongs: list[dict[str, Any]] = [
        {"facts": {}},
        {"kind": "management_assertion"},
        {"expires_at": now},
        {"expires_at": now + timedelta(days=DAYS_MOST + 1)},
    ]
    for wrong in wrongs:
        with pytest.raises(InvalidParameter):
            make(world, attestations, **wrong)
    with pytest.raises(NotFound):
        make(world, attestations, dataset_id=uuid4())
    with pytest.raises(LedgerNotSigned):
        make(world, Attestations(world.make_session, None))
    assert attestations.list(world.people["auditor"], None, None, 50) == []


def test_what_is_taken_back_stays_on_record_with_the_first_time_of_that(
    world: World, attestations: Attestations
) -> None:
    first, second = make(world, attestations), make(world, attestations)
    assert first["standing"] == "in force"
    officer = world.people["second_officer"]
    revoked = attestations.revoke(officer, UUID(first["id"]))
    assert revoked["standing"] == "revoked"
    assert attestations.revoke(officer, UUID(first["id"]))["revoked_at"] == revoked["revoked_at"]
    auditor = world.people["auditor"]
    listed = attestations.list(auditor, world.dataset_id, None, 50)
    assert [(each["id"], each["standing"]) for each in listed] == [
        (second["id"], "in force"),
        (first["id"], "revoked"),
    ]
    assert attestations.list(auditor, world.dataset_id, UUID(second["id"]), 50) == listed[1:]
    assert attestations.list(auditor, uuid4(), None, 50) == []
    with pytest.raises(NotFound):
        attestations.revoke(officer, uuid4())
    with snapshot(world.make_session) as session:
        found = session.scalars(
            select(AuditEvent.action).where(AuditEvent.subject == first["id"])
        ).all()
    assert found == ["attestation.made", "attestation.revoked"]
