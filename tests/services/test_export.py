"""A bundle is the ledger up to its newest checkpoint, for those who oversee it and nobody else."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app import verifier
from app.domain.errors import NotAllowed
from app.services import export, signing
from app.services.checkpoints import Checkpoints
from tests.world import World, new_world

GAUSSIAN = {"type": "gaussian", "noise_multiplier": "30"}


@pytest.fixture
def world(make_session: sessionmaker[Session], tmp_path: Path) -> Iterator[World]:
    with new_world(make_session, tmp_path) as world:
        yield world


@pytest.fixture
def checkpoints(world: World, tmp_path: Path) -> Checkpoints:
    signing.create(tmp_path / "signing.key")
    return Checkpoints(world.make_session, tmp_path / "checkpoints", tmp_path / "signing.key")


def verified(world: World, key: bytes | None, *, with_tail: bool = False) -> verifier.Report:
    raw = b"".join(export.lines(world.make_session, with_tail=with_tail))
    return verifier.verify(io.BytesIO(raw), key, may_have_tail=with_tail)


def test_an_exported_ledger_is_found_right_on_both_databases(
    world: World, checkpoints: Checkpoints
) -> None:
    root = world.open_root("rdp-mix/1", "4", "1e-6")
    team = world.open_allocation(root, "2", accountant="rdp-mix/1", delta="1e-6")
    for _ in range(3):
        made = world.reserve(team, GAUSSIAN, 5)
        world.reservations.commit(world.engineer, UUID(made["id"]), 1, None)
    checkpoints.make()
    key = signing.load(checkpoints.key_file).public.raw
    report = verified(world, key)
    assert report.fault is None, report.fault.to_json()
    assert (report.entries, report.budgets, report.reservations, report.signed) == (14, 2, 3, 1)


def test_a_bundle_ends_at_the_newest_checkpoint_unless_the_tail_is_asked_for(
    world: World, checkpoints: Checkpoints
) -> None:
    root = world.open_root("rdp-mix/1", "4", "1e-6")
    checkpoints.make()
    later = world.open_allocation(root, "2", accountant="rdp-mix/1", delta="1e-6")
    world.reserve(later, GAUSSIAN, 1)
    key = signing.load(checkpoints.key_file).public.raw
    assert (verified(world, key).entries, verified(world, key).beyond) == (1, 0)
    whole = verified(world, key, with_tail=True)
    assert (whole.fault, whole.entries, whole.beyond) == (None, 4, 3)
    raw = b"".join(export.lines(world.make_session, with_tail=True))
    strict = verifier.verify(io.BytesIO(raw), key)
    assert strict.fault is not None
    assert "behind the last signed checkpoint" in strict.fault.what


def test_without_any_checkpoint_a_bundle_holds_all_and_no_key_believes_it(
    world: World, checkpoints: Checkpoints
) -> None:
    world.open_root()
    key = signing.load(checkpoints.key_file).public.raw
    assert verified(world, None).fault is None
    fault = verified(world, key).fault
    assert fault is not None
    assert fault.code == "signature"


def test_a_ledger_with_nothing_in_it_is_a_bundle_too(world: World) -> None:
    report = verified(world, None)
    assert (report.fault, report.entries) == (None, 0)


def test_every_line_is_canonical_and_names_nobody(world: World) -> None:
    root = world.open_root()
    world.submit(root)
    raw = b"".join(export.lines(world.make_session))
    for line in raw.splitlines():
        document = json.loads(line)
        assert verifier.dumps(document).encode() == line
    for person in world.people.values():
        assert f'"{person.name}"'.encode() not in raw


@pytest.mark.parametrize("who", ["engineer", "admin", "outsider"])
def test_who_oversees_nothing_gets_no_bundle(world: World, who: str) -> None:
    with pytest.raises(NotAllowed):
        export.Exports(world.make_session).bundle(world.people[who])


def test_what_is_sent_in_pieces_is_the_bundle(world: World) -> None:
    world.open_root()
    pieces = export.Exports(world.make_session).bundle(world.people["auditor"])
    joined, again = b"".join(pieces), b"".join(export.lines(world.make_session))
    # the time at which each was made stands in the first line, and so in the hash of the last
    assert joined.splitlines()[1:-1] == again.splitlines()[1:-1]


def test_the_chunks_end_with_lines_and_stay_small() -> None:
    lines = [b"x" * 40_000 + b"\n"] * 10
    found = [*export.chunks(lines)]
    assert b"".join(found) == b"".join(lines)
    assert all(len(piece) <= 2 * export.CHUNK_BYTES for piece in found)
