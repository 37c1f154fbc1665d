"""Checkpoints of a running job as files: whole or not there, read only where its row names them.

Not the ledger's signed checkpoints: these hold what a run has made of released and charged values,
noisy weights above all, so that a kill costs the steps since the last one and not the run (R14).

The order is files first, row second. The engine writes into a folder that nobody looks at; its
files are hashed and brought to the disk; the folder gets its name; then the job's row names it with
that hash, under the fence of the claim. A later claim believes its row and no listing, so that

- a torn or changed file is never resumed from: its hash is not the one that the row has, and the
  checkpoint before it serves, or none. A hash without a key tells accidents, not somebody who may
  write to the database as well as to a folder of mode 0700; such a one needs no checkpoints;
- a worker whose lease has lapsed, and that wakes up and writes on, changes nothing: its fence is
  stale, so nothing it writes is ever named. Its names hold its fence, so no file of a later claim
  is ever written over, and it deletes none but those of its own fence or an earlier one;
- a checkpoint of steps that the ledger does not know is never resumed from. Steps run after their
  start is durable, so there is none but after a restore, where the row may be older than its files:
  the row names what it named then, and its units are held once more against what was started.

What is named was charged, whoever wrote it: a worker runs a step only once its start is durable. To
go on from it is post-processing of what those steps released, so a resumed run costs what it starts
anew and nothing else. No key, nonce or sampler state is ever in it (L7).
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.domain.jobs import NamedCheckpoint
from app.services.resume import is_started
from app.services.signing import sync_folder

log = logging.getLogger(__name__)

UNFINISHED: Final = ".unfinished"
READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a claim may go on from.

    folder: its files, as they were when the row named them.
    started_units: of each part, how far the run was.
    """

    folder: Path
    started_units: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CheckpointFolder:
    """The checkpoints of one job as one claim sees them.

    folder: of the job, not of the claim; for the service's user alone.
    fence: of this claim.
    named: what the row named when this claim began, oldest first.
    started_units: what was durable then.
    name: writes the row under the fence and says what it names from then on.
    is_stopping: whether this worker was told to stop.
    """

    folder: Path
    fence: int
    named: tuple[NamedCheckpoint, ...]
    started_units: tuple[int, ...]
    name: Callable[[NamedCheckpoint], Sequence[NamedCheckpoint]]
    is_stopping: Callable[[], bool]

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole and was charged, of those from before this claim."""
        for named in reversed(self.named):
            folder = self.folder / named.name
            if not is_started(named, self.started_units):
                log.error("checkpoint.never_started name=%s", named.name)
            elif _digest(folder, named.started_units) != named.sha256:
                log.warning("checkpoint.unreadable name=%s", named.name)
            else:
                return Checkpoint(folder, named.started_units)
        return None

    def keep(self, started_units: Sequence[int], write: Callable[[Path], object]) -> bool:
        """Keep how far the run is; False where the disk does not take it, and the run goes on.

        A run that is paid for is not lost for want of a checkpoint.

        Args:
            started_units: of each part; all of it was started under this claim or before.
            write: puts files, none of them in a folder, into the empty folder that it is given.

        Raises:
            ClaimLost: somebody else holds the job; what was written here is never read.
        """
        units = tuple(started_units)
        name = "-".join(map(str, (self.fence, *units)))
        folder = self.folder / name
        try:
            checkpoint = NamedCheckpoint(name, units, self._write(folder, units, write))
        except Exception as failed:
            log.warning("checkpoint.not_kept name=%s error=%s", name, type(failed).__name__)
            return False
        self._forget_all_but({each.name for each in self.name(checkpoint)})
        return True

    def _write(self, folder: Path, units: tuple[int, ...], write: Callable[[Path], object]) -> str:
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        unfinished = folder.with_name(folder.name + UNFINISHED)
        unfinished.mkdir(mode=0o700)
        try:
            write(unfinished)
            for path in unfinished.iterdir():
                _sync(path)
            digest = _digest(unfinished, units)
            if digest is None:
                raise OSError("what was written cannot be read back")
            sync_folder(unfinished)
            unfinished.rename(folder)
            # the names of this folder, and of the job's own where it is new
            sync_folder(self.folder)
            sync_folder(self.folder.parent)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return digest

    def _forget_all_but(self, names: set[str]) -> None:
        """Delete what no claim will go on from; never what a later claim has written.

        A later claim names its own alone, so of this fence and earlier ones nothing more is ever
        named than what is now: a worker that was swept since deletes only what is of no use.
        """
        for path in self.folder.iterdir():
            fence = path.name.partition("-")[0]
            if path.name not in names and fence.isdigit() and int(fence) <= self.fence:
                shutil.rmtree(path, ignore_errors=True)


def _digest(folder: Path, started_units: tuple[int, ...]) -> str | None:
    """Of all that a checkpoint is: its units, its files' names and what they hold."""
    try:
        files = {path.name: _file_sha256(path) for path in folder.iterdir()}
    except OSError:
        return None
    whole = json.dumps([list(started_units), files], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()


def _file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
