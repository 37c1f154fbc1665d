"""The journal is on the disk before a row is read, and knows what the database knows (R22)."""

import os
from pathlib import Path
from uuid import UUID

import pytest

from app.domain.errors import LeaseLost
from app.domain.touches import Touch
from app.services import witness
from app.services.witness import WitnessJournal, journals
from tests.services.test_hardening import claimed
from tests.world import World
from workers.claimed import ClaimedLedger

PURE = {"type": "pure", "epsilon": "0.1"}


def told(world: World) -> list[Touch]:
    return [touch for _, journal in journals(world.journal.folder) for touch in journal.touches]


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How large each regular file was when it was synced."""
    seen: list[int] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        really(descriptor)
        seen.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def test_a_worker_s_start_returns_only_when_the_touch_is_on_the_disk(
    world: World, syncs: list[int]
) -> None:
    root = world.open_root()
    job_id = UUID(world.submit(root)["id"])
    ledger = ClaimedLedger(world.make_session, claimed(world, job_id), 30, world.journal)
    assert told(world) == []
    with ledger:
        ledger.start(0, 1)
        touches = told(world)
    file = next(world.journal.folder.glob("*.jsonl"))
    assert syncs[-1] == file.stat().st_size > 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert world.journal.folder.stat().st_mode & 0o777 == 0o700
    assert [(t.part, t.started_units, t.max_units, t.fence) for t in touches] == [(0, 1, 1, 1)]
    assert touches[0].budgets == (str(root),)
    assert touches[0].mechanism["type"] == "discrete_laplace"


def test_a_journal_that_cannot_be_written_lets_no_row_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = world.open_root()
    job_id = UUID(world.submit(root)["id"])
    ledger = ClaimedLedger(world.make_session, claimed(world, job_id), 30, world.journal)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with ledger:
        with pytest.raises(OSError, match="No space"):
            ledger.start(0, 1)
        monkeypatch.undo()
        # the next line goes to a file of its own, never behind half a line
        ledger.start(0, 1)
    assert all(journal.fault is None for _, journal in journals(world.journal.folder))
    assert [touch.started_units for touch in told(world)][-1] == 1
    ended = list(world.journal.folder.glob("*.jsonl"))
    assert len(ended) == 2


def test_a_stale_start_tells_the_witness_nothing(world: World) -> None:
    root = world.open_root()
    held = world.reserve(root, PURE, 5)
    with pytest.raises(LeaseLost):
        world.reservations.start(world.engineer, UUID(held["id"]), held["fence"] + 1, 0, 3)
    assert told(world) == []


def test_outside_starts_and_commits_are_told_cumulatively(world: World) -> None:
    root = world.open_root()
    held = world.reserve(root, PURE, 5)
    reservation = UUID(held["id"])
    for units in (2, 3, 1):
        world.reservations.start(world.engineer, reservation, held["fence"], 0, units)
    for _ in range(2):
        world.reservations.commit(world.engineer, reservation, held["fence"], "a" * 64)
    # who is no registered runner pays the whole
    assert [touch.started_units for touch in told(world)] == [2, 3, 3, 5, 5]
    assert {touch.reservation for touch in told(world)} == {str(reservation)}


def test_files_end_by_size_and_only_old_ones_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness, "FILE_BYTES_MOST", 500)
    journal = WitnessJournal(tmp_path)
    touch = Touch(str(UUID(int=1)), 0, 1, 1, PURE, "d" * 64, 1, (str(UUID(int=2)),), "now")
    for _ in range(5):
        journal.record([touch])
    read = list(journals(tmp_path))
    assert len(read) > 1
    assert [len(found.touches) for _, found in read].count(0) == 0
    assert sum(len(found.touches) for _, found in read) == 5
    assert all(found.fault is None for _, found in read)
    os.utime(read[0][0], (1, 1))
    assert witness.drop_old(tmp_path, before_s=1000) == 1
    assert not read[0][0].exists()
    journal.close()
