"""A checkpoint is whole, charged and named by its job's row, or nobody goes on from it (R14)."""

import os
import shutil
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from app.domain.jobs import NamedCheckpoint
from app.services.resume import CHECKPOINTS_MOST
from workers.engines.api import ClaimLost
from workers.engines.checkpoint_folder import Checkpoint, CheckpointFolder

WEIGHTS = "weights"


@dataclass
class Row:
    """The job's row: what it names, and the fence under which it may be written."""

    fence: int = 1
    named: list[NamedCheckpoint] = field(default_factory=list)

    def name(self, fence: int) -> Callable[[NamedCheckpoint], Sequence[NamedCheckpoint]]:
        def write(checkpoint: NamedCheckpoint) -> Sequence[NamedCheckpoint]:
            if fence != self.fence:
                raise ClaimLost
            self.named = [*self.named, checkpoint][-CHECKPOINTS_MOST:]
            return self.named

        return write


@dataclass
class Job:
    """One job whose claims come one after the other."""

    folder: Path
    row: Row = field(default_factory=Row)

    def claim(self, started_units: int) -> CheckpointFolder:
        """The newest claim, with what was durably started when it began."""
        fence = self.row.fence
        return CheckpointFolder(
            folder=self.folder,
            fence=fence,
            named=tuple(self.row.named),
            started_units=(started_units,),
            name=self.row.name(fence),
            is_stopping=lambda: False,
        )

    def claim_again(self, started_units: int) -> CheckpointFolder:
        self.row.fence += 1
        return self.claim(started_units)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "job-checkpoints" / "job")


def writes(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / WEIGHTS).write_text(text)


def read(checkpoint: Checkpoint | None) -> tuple[int, str] | None:
    if checkpoint is None:
        return None
    return checkpoint.started_units[0], (checkpoint.folder / WEIGHTS).read_text()


def test_a_first_claim_has_nothing_to_go_on_from(job: Job) -> None:
    assert job.claim(0).newest() is None


def test_a_later_claim_goes_on_from_the_newest(job: Job) -> None:
    first = job.claim(0)
    assert first.keep([10], writes("ten"))
    assert first.keep([20], writes("twenty"))
    assert read(job.claim_again(25).newest()) == (20, "twenty")


def test_a_claim_looks_at_what_was_named_as_it_began_and_at_nothing_later(job: Job) -> None:
    first = job.claim(0)
    first.keep([10], writes("ten"))
    again = job.claim(20)
    first.keep([20], writes("twenty"))
    assert read(again.newest()) == (10, "ten")


@pytest.mark.parametrize("damage", ["changed", "torn", "added", "renamed", "gone", "emptied"])
def test_a_checkpoint_that_is_not_as_it_was_named_is_passed_over(job: Job, damage: str) -> None:
    first = job.claim(0)
    first.keep([10], writes("ten"))
    first.keep([20], writes("twenty"))
    newest = job.folder / job.row.named[-1].name
    file = newest / WEIGHTS
    damages: dict[str, Callable[[], Any]] = {
        "changed": lambda: file.write_text("twentx"),
        "torn": lambda: file.write_text("twe"),
        "added": lambda: (newest / "more").write_text("x"),
        "renamed": lambda: file.rename(newest / "other"),
        "gone": lambda: shutil.rmtree(newest),
        "emptied": file.unlink,
    }
    damages[damage]()
    assert read(job.claim_again(25).newest()) == (10, "ten")
    shutil.rmtree(job.folder)
    assert job.claim_again(25).newest() is None


def test_one_checkpoint_cannot_stand_in_for_another(job: Job) -> None:
    first = job.claim(0)
    first.keep([10], writes("ten"))
    first.keep([20], writes("twenty"))
    older, newer = (job.folder / each.name for each in job.row.named)
    shutil.rmtree(newer)
    older.rename(newer)
    # the files are whole, but not those of 20 units
    assert job.claim_again(25).newest() is None


def test_steps_that_were_never_started_are_never_gone_on_from(job: Job) -> None:
    # as after a restore of the database: its row and its files are there, their charge is not
    first = job.claim(0)
    first.keep([10], writes("ten"))
    first.keep([20], writes("twenty"))
    assert read(job.claim_again(19).newest()) == (10, "ten")
    assert job.claim_again(9).newest() is None
    assert replace(job.claim_again(0), started_units=(30, 30)).newest() is None


def test_a_worker_that_wakes_up_late_names_nothing_and_destroys_nothing(job: Job) -> None:
    stale = job.claim(0)
    stale.keep([10], writes("ten"))
    again = job.claim_again(20)
    with pytest.raises(ClaimLost):
        stale.keep([20], writes("a line of steps that was given up"))
    assert read(again.newest()) == (10, "ten")
    again.keep([30], writes("thirty"))
    with pytest.raises(ClaimLost):
        stale.keep([20], writes("once more"))
    third = job.claim_again(30)
    assert read(third.newest()) == (30, "thirty")


def test_a_worker_that_sleeps_between_its_row_and_its_tidying_deletes_nothing_of_use(
    job: Job,
) -> None:
    stale = job.claim(0)
    stale.keep([10], writes("ten"))
    answer = job.row.name(1)

    def slow(checkpoint: NamedCheckpoint) -> Sequence[NamedCheckpoint]:
        named = list(answer(checkpoint))
        # the lease lapses here; another worker goes on, and keeps what it has
        later = job.claim_again(30)
        assert read(later.newest()) == (20, "twenty")
        later.keep([30], writes("thirty"))
        return named

    replace(stale, name=slow).keep([20], writes("twenty"))
    found = job.claim_again(30)
    assert read(found.newest()) == (30, "thirty")
    shutil.rmtree(job.folder / job.row.named[-1].name)
    assert read(found.newest()) == (20, "twenty")


def test_two_are_kept_and_what_no_row_names_is_deleted(job: Job) -> None:
    first = job.claim(0)
    for units in (10, 20, 30):
        first.keep([units], writes(str(units)))
    assert {path.name for path in job.folder.iterdir()} == {each.name for each in job.row.named}
    assert len(job.row.named) == CHECKPOINTS_MOST
    (job.folder / "1-99.unfinished").mkdir()
    again = job.claim_again(40)
    again.keep([40], writes("40"))
    assert {path.name for path in job.folder.iterdir()} == {each.name for each in job.row.named}


def test_nobody_else_may_look_into_it(job: Job) -> None:
    before = os.umask(0)
    try:
        job.claim(0).keep([10], writes("ten"))
    finally:
        os.umask(before)
    for folder in (job.folder.parent, job.folder, *job.folder.iterdir()):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_files_and_names_are_on_the_disk_before_the_row_names_them(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[tuple[int, int]] = set()
    really = os.fsync

    def fsync(descriptor: int) -> None:
        really(descriptor)
        found = os.fstat(descriptor)
        synced.add((found.st_dev, found.st_ino))

    before: list[set[tuple[int, int]]] = []
    answer = job.row.name(1)

    def name(checkpoint: NamedCheckpoint) -> Sequence[NamedCheckpoint]:
        before.append(set(synced))
        return answer(checkpoint)

    monkeypatch.setattr(os, "fsync", fsync)
    replace(job.claim(0), name=name).keep([10], writes("ten"))
    folder = job.folder / job.row.named[0].name
    for path in (folder / WEIGHTS, folder, job.folder, job.folder.parent):
        assert (path.stat().st_dev, path.stat().st_ino) in before[0], path


def test_a_disk_that_takes_no_checkpoint_ends_no_run_and_harms_no_earlier_one(job: Job) -> None:
    first = job.claim(0)
    first.keep([10], writes("ten"))

    def full(folder: Path) -> None:
        (folder / WEIGHTS).write_text("half")
        raise OSError("no space left on device")

    assert not first.keep([20], full)
    assert not first.keep([10], writes("the same again"))
    assert [path.name for path in job.folder.iterdir()] == ["1-10"]
    assert read(job.claim_again(20).newest()) == (10, "ten")
