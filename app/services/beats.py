"""Beats: a worker says every few seconds that it lives; leases and fences do not look at it.

A worker that hangs on a broker that is gone beats on: what waits in the outbox tells of that one.
"""

import logging
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.db.models import WorkerBeat
from app.db.session import SessionMaker, database_now, transaction

log = logging.getLogger(__name__)

EVERY_S: Final = 10.0
# three are missed before a worker counts as gone
ALIVE_WITHIN: Final = timedelta(seconds=35)
FORGOTTEN_AFTER: Final = timedelta(days=1)


def beat(session: Session, name: str, queues: Sequence[str], *, now: datetime) -> None:
    """A worker lives; rows of those that are long gone are forgotten with its first beat."""
    row = session.get(WorkerBeat, name)
    if row is None:
        session.execute(delete(WorkerBeat).where(WorkerBeat.beat_at < now - FORGOTTEN_AFTER))
        said = ",".join(sorted(queues))
        session.add(WorkerBeat(name=name, queues=said, started_at=now, beat_at=now))
        return
    row.beat_at = now


def newest(session: Session) -> datetime | None:
    """When any worker was last alive."""
    return session.scalars(
        select(WorkerBeat.beat_at).order_by(WorkerBeat.beat_at.desc()).limit(1)
    ).one_or_none()


def alive(session: Session, *, now: datetime) -> dict[str, int]:
    """How many workers live, by the queue that they serve."""
    found: dict[str, int] = {}
    living = select(WorkerBeat.queues).where(WorkerBeat.beat_at >= now - ALIVE_WITHIN)
    for queues in session.scalars(living):
        for queue in queues.split(","):
            found[queue] = found.get(queue, 0) + 1
    return found


class Beats:
    """Beats on a thread of its own until it is stopped."""

    def __init__(
        self,
        make_session: SessionMaker,
        name: str,
        queues: Sequence[str],
        every_s: float = EVERY_S,
    ) -> None:
        self._make_session = make_session
        self._name = name
        self._queues = tuple(queues)
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beats", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; the worker counts as gone a little later."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            # a database that is away for a moment is told again at the next beat
            try:
                with transaction(self._make_session) as session:
                    beat(session, self._name, self._queues, now=database_now(session))
            except Exception as failed:
                log.warning("beat.failed error=%s", type(failed).__name__)
            if self._stopping.wait(self._every_s):
                return
