"""Backups: survived, or noticed where somebody changed them, and never put over anything (R22)."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DatabaseError

from app.db.session import make_engine, make_session_maker, transaction
from app.services import signing
from app.services.backups import TAG, BackupRefused, Manifest, back_up, restore
from app.services.recovery import Recovery
from app.services.writer import AdmissionWriter
from tests.services.test_checkpoints import notary
from tests.services.test_recovery import start
from tests.unfenced import unfence
from tests.world import World

PURE = {"type": "pure", "epsilon": "0.01"}
NewDatabase = Callable[[str], str]


def engine_of(world: World) -> Engine:
    engine = world.make_session.kw["bind"]
    assert isinstance(engine, Engine)
    return engine


@pytest.fixture
def empty_url(world: World, empty_database_url: NewDatabase) -> str:
    """A database of the same kind, with nothing in it."""
    return empty_database_url(engine_of(world).dialect.name)


@contextmanager
def over(world: World, url: str) -> Iterator[World]:
    """The same people over what was put back."""
    engine = make_engine(url)
    writer = AdmissionWriter(make_session_maker(engine))
    writer.start()
    try:
        yield replace(world, make_session=make_session_maker(engine), writer=writer)
    finally:
        writer.stop()
        engine.dispose()


def test_a_ledger_put_back_is_the_same_to_the_bit_and_goes_on(
    world: World, empty_url: str, tmp_path: Path
) -> None:
    root = world.open_root()
    share = world.open_allocation(root, "0.5")
    start(world, world.reserve(share, PURE, 5), 2)
    world.submit(root)
    checkpoints = notary(world)
    back_up(engine_of(world), tmp_path / "saved", checkpoints)
    before = [world.bodies(each) for each in (root, share)]
    found = restore(empty_url, tmp_path / "saved", checkpoints.known_keys())
    assert (found.budgets, found.entries) == (2, sum(map(len, before)))
    with over(world, empty_url) as again:
        assert [again.bodies(each) for each in (root, share)] == before
        assert again.verified()
        compared = Recovery(again.make_session, world.journal.folder, notary(again)).compare(
            everything=True
        )
        assert (compared.missing, compared.frozen) == (0, 0)
        # numbers that the database gives go on, and history stays as it is (R21)
        again.submit(share)
        assert again.verified()
        for fenced in ("UPDATE entries SET hash = 'h'", "DELETE FROM audit_events"):
            with (
                pytest.raises(DatabaseError, match="append-only"),
                transaction(again.make_session) as session,
            ):
                session.execute(text(fenced))


def test_what_was_touched_after_the_backup_freezes_its_root(
    world: World, empty_url: str, tmp_path: Path
) -> None:
    root, saved = world.open_root(), tmp_path / "saved"
    held = world.reserve(root, PURE, 3)
    checkpoints = notary(world)
    back_up(engine_of(world), saved, checkpoints)
    start(world, held, 1)
    restore(empty_url, saved, checkpoints.known_keys())
    with over(world, empty_url) as again:
        compared = Recovery(again.make_session, world.journal.folder, notary(again)).compare()
        assert (compared.missing, compared.frozen, compared.unsettled) == (1, 1, 1)
        assert again.budget(root).state == "frozen"


def test_a_backup_of_before_a_rotation_is_still_believed(
    world: World, empty_url: str, tmp_path: Path
) -> None:
    root = world.open_root()
    checkpoints = notary(world)
    back_up(engine_of(world), tmp_path / "saved", checkpoints)
    checkpoints.rotate()
    restore(empty_url, tmp_path / "saved", checkpoints.known_keys())
    with over(world, empty_url) as again:
        # the folder outside the database takes the rotation back into it
        mine = notary(again)
        Recovery(again.make_session, world.journal.folder, mine).compare()
        newest = mine.newest()
        assert newest is not None
        assert newest.said["key"] == signing.load(mine.key_file).public.sha256
        assert again.budget(root).state == "open"


def test_whatever_is_changed_in_a_backup_is_noticed_and_nothing_is_put_back(
    world: World, empty_url: str, tmp_path: Path
) -> None:
    root = world.open_root()
    world.reserve(root, PURE, 3)
    checkpoints = notary(world)
    saved = tmp_path / "saved"
    honest = back_up(engine_of(world), saved, checkpoints)
    keys = checkpoints.known_keys()

    def refused(*, may_be_unsigned: bool = False, because: str) -> None:
        with pytest.raises(BackupRefused, match=because):
            restore(empty_url, saved, keys, may_be_unsigned=may_be_unsigned)

    biggest = max(saved.glob("*[!n]"), key=lambda each: each.stat().st_size)
    whole = biggest.read_bytes()
    for changed in (
        whole[:-1],
        whole + b"\n",
        whole[: len(whole) // 2] + b"?" + whole[len(whole) // 2 + 1 :],
    ):
        biggest.write_bytes(changed)
        refused(because="is not what was backed up")
    biggest.unlink()
    refused(because="is not what was backed up")
    biggest.write_bytes(whole)

    def put(body: str, signature: str | None) -> None:
        document = {"body": body, "signature": signature}
        (saved / "manifest.json").write_text(json.dumps(document))

    later = honest.body.replace('"at":"2', '"at":"3')
    assert later != honest.body
    put(later, honest.signature)
    refused(because="not signed")
    refused(because="not signed", may_be_unsigned=True)
    put(honest.body, None)
    refused(because="not signed")
    foreign = signing.create(tmp_path / "foreign.key")
    put(later, foreign.sign(TAG + later.encode()))
    refused(because="not signed")
    said: dict[str, Any] = {**honest.said, "key": foreign.public.sha256}
    body = json.dumps(said)
    put(body, foreign.sign(TAG + body.encode()))
    refused(because="not signed")
    put(honest.body, b64encode(b"x" * 64).decode())
    refused(because="not signed")
    escaping = {**honest.said, "files": [{"name": "../x.copy", "bytes": 0, "sha256": "0"}]}
    put(json.dumps(escaping), None)
    refused(because="no manifest", may_be_unsigned=True)
    for broken in ("", "[]", "{}", '{"body": 3, "signature": null}'):
        (saved / "manifest.json").write_text(broken)
        refused(because="no manifest")
    put(honest.body, honest.signature)
    assert restore(empty_url, saved, keys).entries == len(world.bodies(root))
    # and nothing is put over a database
    refused(because="already")


def test_a_ledger_that_was_falsified_is_neither_backed_up_nor_put_back(
    world: World, empty_url: str, tmp_path: Path
) -> None:
    root = world.open_root()
    world.reserve(root, PURE, 3)
    with transaction(world.make_session) as session:
        unfence(session, "entries")
        session.execute(
            text("UPDATE entries SET body = replace(body, :old, :new)"),
            {"old": '"units":3', "new": '"units":1'},
        )
    with pytest.raises(BackupRefused, match="do not follow"):
        back_up(engine_of(world), tmp_path / "saved", notary(world))
    assert not (tmp_path / "saved").exists()
    back_up(engine_of(world), tmp_path / "saved", None)
    for _ in range(2):
        # the second time finds the address as free as the first
        with pytest.raises(BackupRefused, match=f"budget {root} entry 2"):
            restore(empty_url, tmp_path / "saved", {}, may_be_unsigned=True)


def test_a_backup_that_is_there_already_is_not_replaced(world: World, tmp_path: Path) -> None:
    back_up(engine_of(world), tmp_path / "saved", None)
    with pytest.raises(BackupRefused, match="already"):
        back_up(engine_of(world), tmp_path / "saved", None)
    assert Manifest.read(tmp_path / "saved").signature is None
    # it holds results and whose keys are which, so it is for its owner's eyes alone
    for path in (tmp_path / "saved", *(tmp_path / "saved").iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path
