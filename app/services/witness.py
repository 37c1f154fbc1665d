"""The witness journal: every touch is told outside the database before a row is read (R22).

A database that is put back from a backup has forgotten what was touched since, and cannot know
that it has. The journal knows: one file a process, each line fsynced before its caller goes on.
The order is database first, journal second. A crash between the two leaves a touch that the
database knows and the journal does not, and no row was read for it.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

from app.db.models import Reservation
from app.domain.ledger import GENESIS_HASH, time_text
from app.domain.touches import LINE_BYTES_MOST, Journal, Touch, read_journal, touch_line
from app.services.signing import sync_folder

log = logging.getLogger(__name__)

SUFFIX: Final = ".touches.jsonl"
FILE_BYTES_MOST: Final = 16_000_000
# a file is never written to after this, so that an old file is an ended one
FILE_AGE_MOST_S: Final = 24 * 3600.0


class WitnessJournal:
    """Appends touches to a file of this process; the file is made with the first of them.

    Safe for threads. Made after a fork: two processes never share a file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._began_s = 0.0
        self._written_bytes = 0
        self._previous = GENESIS_HASH

    def record(self, touches: Sequence[Touch]) -> None:
        """Return once the touches are on the disk; only then may a row be read for them.

        Raises:
            OSError: they may not be; nothing may be read.
        """
        if not touches:
            return
        with self._lock:
            try:
                file = self._open()
                for touch in touches:
                    line, self._previous = touch_line(touch, self._previous)
                    file.write(line)
                    self._written_bytes += len(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                # whatever half of a line stands there is the end of that file
                self._end()
                raise

    def close(self) -> None:
        """End the file; a later touch begins another."""
        with self._lock:
            self._end()

    def _open(self) -> BinaryIO:
        age_s = time.monotonic() - self._began_s
        if self._file is not None and (
            self._written_bytes > FILE_BYTES_MOST or age_s > FILE_AGE_MOST_S
        ):
            self._end()
        if self._file is None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}-{uuid4().hex[:12]}{SUFFIX}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            self._file = os.fdopen(os.open(self.folder / name, flags, 0o600), "wb")
            # a file whose name is lost in a power cut never was
            sync_folder(self.folder)
            self._began_s = time.monotonic()
            self._written_bytes = 0
            self._previous = GENESIS_HASH
        return self._file

    def _end(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as failed:
                log.warning("witness.close_failed error=%s", type(failed).__name__)


def touches_of(
    reservation: Reservation, *, fence: int, at: datetime, part: int | None = None
) -> list[Touch]:
    """What a reservation has started so far, a touch for each part that has, or for one part."""
    return [
        Touch(
            reservation=str(reservation.id),
            part=index,
            started_units=started,
            max_units=held["max_units"],
            mechanism=held["mechanism"],
            price=held["price"],
            fence=fence,
            budgets=tuple(reservation.budget_ids),
            at=time_text(at),
        )
        for index, (held, started) in enumerate(
            zip(reservation.parts, reservation.started_units, strict=True)
        )
        if started and part in (None, index)
    ]


def journals(folder: Path, since: datetime | None = None) -> Iterator[tuple[Path, Journal]]:
    """The journals of a folder, read; another process may be writing to the last line of one.

    since: leave out those that were last written to before.
    """
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with path.open("rb") as file:
            if since is not None and os.fstat(file.fileno()).st_mtime < since.timestamp():
                continue
            yield path, read_journal(_lines(file))


def _lines(file: BinaryIO) -> Iterator[bytes]:
    # bounded: a damaged file without a line end must not fill the memory
    while line := file.readline(LINE_BYTES_MOST + 2):
        yield line


def drop_old(folder: Path, *, before_s: float) -> int:
    """Delete journals that ended before a time (seconds since 1970) and say how many.

    The caller has made sure that a later signed checkpoint stands for what they tell.
    """
    old = [path for path in folder.glob(f"*{SUFFIX}") if path.stat().st_mtime < before_s]
    for path in old:
        path.unlink()
    if old:
        sync_folder(folder)
    return len(old)
