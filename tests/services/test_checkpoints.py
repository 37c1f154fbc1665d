"""The root chain: one line of signed heads, kept in two places, and keys that hand over (R23)."""

import io
import json
import os
import threading
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from app import verifier
from app.db.session import transaction
from app.domain.checkpoints import Head, read_checkpoint, signed_bytes
from app.domain.ledger import GENESIS_HASH
from app.services import export, signing
from app.services.checkpoints import Checkpoints, RootChainRefused
from app.services.signing import KeyRefused
from tests.unfenced import unfence
from tests.world import World

PURE = {"type": "pure", "epsilon": "0.01"}


def notary(world: World) -> Checkpoints:
    key_file = world.home / "signing.key"
    if not key_file.exists():
        signing.write_public(key_file, signing.create(key_file).public)
    return Checkpoints(world.make_session, world.home / "witness" / "checkpoints", key_file)


def files(checkpoints: Checkpoints) -> list[Path]:
    return sorted(checkpoints.folder.glob("*.json"))


def test_a_checkpoint_names_every_head_and_is_signed_in_both_places(world: World) -> None:
    checkpoints = notary(world)
    assert checkpoints.make().checkpoint is None
    root = world.open_root()
    team = world.open_allocation(root, "0.5")
    first = checkpoints.make().checkpoint
    assert first is not None
    assert checkpoints.make().checkpoint is None  # nothing moved
    world.reserve(team, PURE, 3)
    second = checkpoints.make().checkpoint
    assert second is not None
    assert [first.said["prev"], second.said["prev"]] == [GENESIS_HASH, first.hash]
    assert second.heads == tuple(
        sorted(Head(str(b.id), b.last_seq, b.head_hash) for b in map(world.budget, (root, team)))
    )
    public = signing.read_public(signing.public_path(checkpoints.key_file))
    for path, checkpoint in zip(files(checkpoints), (first, second), strict=True):
        stored = read_checkpoint(json.loads(path.read_bytes()))
        assert stored == checkpoint
        assert public.verifies(stored.signature, signed_bytes(stored.body.encode()))
        assert not public.verifies(stored.signature, stored.body.encode())
    assert checkpoints.newest() == second


def test_many_makers_at_once_make_one_chain_without_a_fork(world: World) -> None:
    checkpoints = notary(world)
    root = world.open_root()
    world.reserve(root, PURE, 1)
    made: list[object] = []
    gate = threading.Barrier(4)

    def make() -> None:
        for _ in range(3):
            gate.wait()
            made.append(checkpoints.make().checkpoint)
            gate.wait()

    makers = [threading.Thread(target=make) for _ in range(3)]
    for maker in makers:
        maker.start()
    for _ in range(3):
        world.reserve(root, PURE, 1)
        gate.wait()
        gate.wait()
    for maker in makers:
        maker.join()
    chain = [read_checkpoint(json.loads(path.read_bytes())) for path in files(checkpoints)]
    assert [each.seq for each in chain] == list(range(1, len(chain) + 1))
    assert [each.said["prev"] for each in chain[1:]] == [each.hash for each in chain[:-1]]
    assert sum(each is not None for each in made) == len(chain) >= 1


def test_the_old_key_names_the_next_one_which_signs_from_then_on(world: World) -> None:
    checkpoints = notary(world)
    world.open_root()
    checkpoints.make()
    before = signing.load(checkpoints.key_file).public
    rotation = checkpoints.rotate()
    after = signing.load(checkpoints.key_file).public
    assert after != before
    assert rotation.said["key"] == before.sha256
    assert rotation.said["next_key"] == after.base64
    assert before.verifies(rotation.signature, signed_bytes(rotation.body.encode()))
    # at once, though nothing has moved: until then the new key alone would verify nothing
    first = checkpoints.newest()
    assert first is not None
    assert (first.seq, first.said["prev"]) == (rotation.seq + 1, rotation.hash)
    assert (first.said["key"], first.heads) == (after.sha256, rotation.heads)
    assert after.verifies(first.signature, signed_bytes(first.body.encode()))
    assert len(files(checkpoints)) == first.seq
    assert checkpoints.make().checkpoint is None
    world.open_allocation(UUID(rotation.heads[0].budget_id), "0.5")
    later = checkpoints.make().checkpoint
    assert later is not None
    assert later.said["key"] == after.sha256
    assert after.verifies(later.signature, signed_bytes(later.body.encode()))
    assert checkpoints.newest_file() == later
    assert signing.read_public(signing.public_path(checkpoints.key_file)) == after
    assert checkpoints.known_keys().keys() == {before.sha256, after.sha256}
    assert checkpoints.key_file.stat().st_mode & 0o777 == 0o600


def test_the_new_key_alone_verifies_a_ledger_that_has_not_moved_since(world: World) -> None:
    checkpoints = notary(world)
    root = world.open_root()
    world.reserve(root, PURE, 1)
    old = signing.load(checkpoints.key_file).public
    for _ in range(2):
        checkpoints.rotate()
        bundle = b"".join(export.lines(world.make_session))
        for key in (old, signing.load(checkpoints.key_file).public):
            report = verifier.verify(io.BytesIO(bundle), key.raw)
            assert report.fault is None, report.fault.to_json()
            assert report.beyond == 0


@pytest.mark.parametrize(
    ("moment", "step", "call", "signed"),
    [
        ("before the old key named it", "_make", 1, 1),
        # a rotation asks for the key as it begins, as the old one signs and as the new one does
        ("before it took its place", "_key", 3, 2),
        ("before it signed", "_make", 2, 2),
        ("before its file was written", "write_missing", 2, 3),
    ],
)
def test_a_crash_within_a_rotation_loses_no_key(
    world: World, moment: str, step: str, call: int, signed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = notary(world)
    root = world.open_root()
    checkpoints.make()
    before = signing.load(checkpoints.key_file).public
    really = getattr(Checkpoints, step)
    calls = 0

    def dying(self: Checkpoints, **given: object) -> object:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return really(self, **given)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, step, dying)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.rotate()
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.seq == signed, moment
    # nothing has moved: the next look signs only what a rotation that was signed still owes
    made = checkpoints.make().checkpoint
    assert (None if made is None else made.seq) == (3 if signed == 2 else None)
    newest, key = checkpoints.newest(), signing.load(checkpoints.key_file).public
    assert newest is not None
    assert newest.said["key"] == key.sha256
    assert (key == before) == (signed == 1)
    assert checkpoints.make().checkpoint is None
    world.open_allocation(root, "0.5")
    made = checkpoints.make().checkpoint
    assert made is not None
    assert key.verifies(made.signature, signed_bytes(made.body.encode()))
    assert len(files(checkpoints)) == made.seq
    checkpoints.rotate()
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.seq == made.seq + 2


def test_who_read_the_key_before_another_process_rotated_signs_nothing_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = notary(world)
    root = world.open_root()
    checkpoints.make()
    world.open_allocation(root, "0.5")
    really = Checkpoints._key
    with monkeypatch.context() as patch:

        def then_another_rotates(self: Checkpoints) -> signing.SigningKey:
            key = really(self)
            patch.setattr(Checkpoints, "_key", really)
            notary(world).rotate()
            world.reserve(root, PURE, 1)
            return key

        patch.setattr(Checkpoints, "_key", then_another_rotates)
        assert checkpoints.make().checkpoint is None
    chain = [read_checkpoint(json.loads(path.read_bytes())) for path in files(checkpoints)]
    keys = [each.said["key"] for each in chain]
    assert [keys[0] == key for key in keys] == [True, True, False]
    assert chain[1].said["next_key"] == signing.load(checkpoints.key_file).public.base64


def test_another_key_signs_nothing_in_this_chain(world: World) -> None:
    checkpoints = notary(world)
    root = world.open_root()
    checkpoints.make()
    checkpoints.key_file.unlink()
    signing.create(checkpoints.key_file)
    world.open_allocation(root, "0.5")
    with pytest.raises(KeyRefused, match="not the key of this ledger"):
        checkpoints.make()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_may_read_is_not_used(world: World, mode: int) -> None:
    checkpoints = notary(world)
    world.open_root()
    checkpoints.key_file.chmod(mode)
    with pytest.raises(KeyRefused, match="others may read"):
        checkpoints.make()


def test_a_key_file_is_never_written_over_and_never_printed(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing.key"
    key = signing.create(path)
    with pytest.raises(KeyRefused, match="exists"):
        signing.create(path)
    assert signing.load(path).public == key.public
    assert path.stat().st_mode & 0o777 == 0o600
    secret = path.read_text().splitlines()[1]
    assert secret not in repr(key) + str(key) + repr(key.public)
    for content in (b"", b"nonsense", key.public.pem):
        path.write_bytes(content)
        with pytest.raises(KeyRefused, match="no key"):
            signing.load(path)
    with pytest.raises(KeyRefused, match="cannot read"):
        signing.load(tmp_path / "none")


def test_a_chain_that_does_not_follow_is_not_signed_over(world: World) -> None:
    checkpoints = notary(world)
    root = world.open_root()
    world.reserve(root, PURE, 1)
    first = checkpoints.make().checkpoint
    assert first is not None
    world.reserve(root, PURE, 1)
    with transaction(world.make_session) as session:
        unfence(session, "entries")
        session.execute(text("UPDATE entries SET body = replace(body, 'reserved', 'Reserved')"))
    made = checkpoints.make()
    assert made.faults.keys() == {root}
    assert made.faults[root].seq == 3
    assert made.checkpoint is None
    # another ledger goes on, and the broken one stays where it was believed
    team = world.open_allocation(root, "0.1")
    made = checkpoints.make()
    assert made.checkpoint is not None
    assert {head.budget_id for head in made.checkpoint.heads} == {str(root), str(team)}
    assert first.heads[0] in made.checkpoint.heads


def test_a_checkpoint_that_is_not_ours_is_not_built_upon(world: World) -> None:
    checkpoints = notary(world)
    root = world.open_root()
    first = checkpoints.make().checkpoint
    assert first is not None
    with transaction(world.make_session) as session:
        unfence(session, "checkpoints")
        session.execute(text("UPDATE checkpoints SET signature = 'AAAA'"))
    world.reserve(root, PURE, 1)
    with pytest.raises(RootChainRefused, match="not signed by us"):
        checkpoints.make()


def test_a_file_that_a_crash_left_out_is_written_later(world: World) -> None:
    checkpoints = notary(world)
    root = world.open_root()
    for _ in range(3):
        world.reserve(root, PURE, 1)
        assert checkpoints.make().checkpoint is not None
    files(checkpoints)[-1].unlink()
    checkpoints.write_missing()
    assert len(files(checkpoints)) == 3
    assert not list(checkpoints.folder.glob(".*"))


def test_old_files_go_but_never_the_newest_nor_a_rotation(world: World) -> None:
    checkpoints = notary(world)
    root = world.open_root()
    checkpoints.make()
    checkpoints.rotate()
    for _ in range(2):
        world.reserve(root, PURE, 1)
        checkpoints.make()
    for path in files(checkpoints):
        os.utime(path, (1, 1))
    assert checkpoints.drop_old(before_s=1000) == 3
    assert [int(path.stem[-3:]) for path in files(checkpoints)] == [2, 5]


def test_a_forged_file_is_not_believed(world: World) -> None:
    checkpoints = notary(world)
    root = world.open_root()
    first = checkpoints.make().checkpoint
    assert first is not None
    other = Checkpoints(
        world.make_session, world.home / "other", world.home / "other" / "signing.key"
    )
    forged = first.to_json()
    signature = signing.create(other.key_file).sign(signed_bytes(first.body.encode()))
    path = checkpoints.folder / "checkpoint-000000000009.json"
    for document in ({**forged, "signature": signature}, {"x": 1}, forged):
        path.write_text(json.dumps(document))
        assert checkpoints.newest_file() == first
    world.reserve(root, PURE, 1)
    assert checkpoints.make().checkpoint is not None


@pytest.mark.parametrize(
    "statement", ["UPDATE checkpoints SET body = ''", "DELETE FROM checkpoints"]
)
def test_the_database_keeps_checkpoints_as_they_are(world: World, statement: str) -> None:
    checkpoints = notary(world)
    world.open_root()
    checkpoints.make()
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction(world.make_session) as session,
    ):
        session.execute(text(statement))
