"""The relay: publishes committed outbox rows, at least once, from one process at a time.

Leadership is a lease in the database. Two relays at once would only send twice, which claims
make harmless; one is kinder to the broker.
"""

import logging
import threading
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Leadership, OutboxMessage
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.dispatch.producer import Producer
from app.logs import about

log = logging.getLogger(__name__)

NAME: Final = "relay"
LEASE_S: Final = 10.0
BATCH: Final = 100


class Relay:
    """Sends due outbox rows on a thread of its own; `nudge` makes it look at once."""

    def __init__(self, make_session: SessionMaker, broker_url: str, every_s: float = 0.2) -> None:
        self._make_session = make_session
        self._producer = Producer(broker_url)
        self._every_s = every_s
        self._holder = uuid4().hex
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch under way."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()
        self._producer.close()

    def nudge(self) -> None:
        """Look for due rows now."""
        self._wake.set()

    def relay_once(self) -> int:
        """Publish what is due; says how many messages were sent."""
        with snapshot(self._make_session) as session:
            if not _due(session, database_now(session)):
                return 0
        with transaction(self._make_session) as session:
            if not lead(session, NAME, self._holder, now=database_now(session)):
                return 0
        with snapshot(self._make_session) as session:
            rows = [
                (row.id, row.task, row.queue, *_subject(row))
                for row in _due(session, database_now(session))
            ]
        sent = []
        try:
            for row_id, task, queue, kind, subject in rows:
                self._producer.send(task, subject, queue=queue, message_id=f"{subject}.{row_id}")
                sent.append(row_id)
                with about(**{kind: subject}):
                    log.info("relay.sent task=%s queue=%s", task, queue)
        finally:
            # sent first, marked after: a crash between the two sends again, and never forgets
            if sent:
                self._mark(sent)
        return len(sent)

    def _mark(self, sent: list[int]) -> None:
        with transaction(self._make_session) as session:
            now = database_now(session)
            for row in session.scalars(select(OutboxMessage).where(OutboxMessage.id.in_(sent))):
                row.sent_at = now

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(self._every_s)
            self._wake.clear()
            try:
                self.relay_once()
            except Exception as failed:
                log.warning("relay.failed error=%s", type(failed).__name__)
                self._stopping.wait(1.0)


def lead(session: Session, name: str, holder: str, *, now: datetime) -> bool:
    """Take or keep a leadership; a step that never commits."""
    row = session.get(Leadership, name, with_for_update=True)
    until = now + timedelta(seconds=LEASE_S)
    if row is None:
        session.add(Leadership(name=name, holder=holder, lease_until=until))
        session.flush()
        return True
    if row.holder != holder and row.lease_until > now:
        return False
    row.holder = holder
    row.lease_until = until
    return True


def _subject(row: OutboxMessage) -> tuple[str, UUID]:
    """The id that the message carries, and whose it is: a job's, a plan's budget's, a report's."""
    for kind in ("job_id", "budget_id", "report_id"):
        subject: UUID | None = getattr(row, kind)
        if subject is not None:
            return kind, subject
    raise RuntimeError(f"outbox row {row.id} is about nothing")


def _due(session: Session, now: datetime) -> list[OutboxMessage]:
    statement = (
        select(OutboxMessage)
        .where(OutboxMessage.sent_at.is_(None), OutboxMessage.due_at <= now)
        .order_by(OutboxMessage.id)
        .limit(BATCH)
    )
    return list(session.scalars(statement))
