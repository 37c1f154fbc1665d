"""Entries as rows: read in chain order, never changed."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Entry
from app.domain.ledger import ChainedEntry

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


def listed(
    session: Session,
    budget_id: UUID,
    *,
    kind: str | None,
    newest_first: bool,
    last: int | None,
    limit: int,
) -> Sequence[Entry]:
    """Entries of one budget beyond a sequence number, of one kind if that is said."""
    statement = select(Entry).where(Entry.budget_id == budget_id)
    if kind is not None:
        statement = statement.where(Entry.kind == kind)
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
