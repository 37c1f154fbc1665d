"""Entries as rows: read in chain order, never changed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, false, func, or_, select
from sqlalchemy.orm import Session

from app.db.models import Entry, Job
from app.domain.ledger import ChainedEntry, canonical_bytes

CHUNK_ROWS = 1000


def chain(session: Session, budget_id: UUID, *, after_seq: int = 0) -> Iterator[ChainedEntry]:
    """One budget's entries from genesis on, or behind a number; read in bounded chunks."""
    while rows := page(session, budget_id, after_seq=after_seq, limit=CHUNK_ROWS):
        for row in rows:
            yield ChainedEntry(str(row.budget_id), row.seq, row.body, row.hash)
        after_seq = rows[-1].seq
        session.expunge_all()


def page(session: Session, budget_id: UUID, *, after_seq: int, limit: int) -> Sequence[Entry]:
    """Entries of one budget after a sequence number, in order."""
    statement = (
        select(Entry)
        .where(Entry.budget_id == budget_id, Entry.seq > after_seq)
        .order_by(Entry.seq)
        .limit(limit)
    )
    return session.scalars(statement).all()


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries of one chain are meant; what is None asks for nothing.

    actors: whose; of nobody where empty.
    since, before: from a time on, and up to one that is left out.
    from_seq, to_seq: both of them are in it.
    named: the id of an entry, and of whatever entries name.
    hash_start: the first letters of a hash, in lower case.
    """

    kind: str | None = None
    actors: tuple[str, ...] | None = None
    job: UUID | None = None
    since: datetime | None = None
    before: datetime | None = None
    from_seq: int | None = None
    to_seq: int | None = None
    named: UUID | None = None
    hash_start: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """What an entry's row has to satisfy."""
        found: list[ColumnElement[bool]] = []
        if self.kind is not None:
            found.append(Entry.kind == self.kind)
        if self.actors is not None:
            found.append(or_(false(), *map(_is_of_actor, self.actors)))
        if self.job is not None:
            found.append(_is_of_job(self.job))
        if self.since is not None:
            found.append(Entry.created_at >= self.since)
        if self.before is not None:
            found.append(Entry.created_at < self.before)
        if self.from_seq is not None:
            found.append(Entry.seq >= self.from_seq)
        if self.to_seq is not None:
            found.append(Entry.seq <= self.to_seq)
        if self.named is not None:
            found.append(Entry.body.contains(f'"{self.named}"'))
        if self.hash_start is not None:
            found.append(Entry.hash.startswith(self.hash_start))
        return found


def listed(
    session: Session,
    budget_id: UUID,
    asked: EntryFilter,
    *,
    newest_first: bool,
    last: int | None,
    limit: int,
) -> Sequence[Entry]:
    """Entries of one budget beyond a sequence number, those that a filter means."""
    statement = select(Entry).where(Entry.budget_id == budget_id, *asked.conditions())
    if last is not None:
        statement = statement.where(Entry.seq < last if newest_first else Entry.seq > last)
    order = Entry.seq.desc() if newest_first else Entry.seq
    return session.scalars(statement.order_by(order).limit(limit)).all()


def reserved_of(session: Session, reservation_id: UUID) -> dict[UUID, Entry]:
    """The `reserved` entry of a reservation in each scope that it was held in, by budget."""
    statement = select(Entry).where(
        Entry.reservation_id == reservation_id, Entry.kind == "reserved"
    )
    return {entry.budget_id: entry for entry in session.scalars(statement)}


def _is_of_actor(actor: str) -> ColumnElement[bool]:
    # keys are in order, so that a body begins with its actor
    start = canonical_bytes({"actor": actor}).decode().removesuffix("}") + ","
    return func.substr(Entry.body, 1, len(start)) == start


def _is_of_job(job_id: UUID) -> ColumnElement[bool]:
    """Of its reservation, or the one that says that its result was published."""
    reservation = select(Job.reservation_id).where(Job.id == job_id).scalar_subquery()
    is_published = and_(Entry.kind == "published", Entry.body.contains(f'"job":"{job_id}"'))
    return or_(Entry.reservation_id == reservation, is_published)
