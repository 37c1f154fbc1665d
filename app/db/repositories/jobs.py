"""Jobs as rows: claims by compare-and-set, look-ups for the sweeper."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, exists, or_, select, update
from sqlalchemy.orm import Session

from app.db.models import Job, OutboxMessage


def claim(
    session: Session, job_id: UUID, *, owner: str, now: datetime, lease_until: datetime
) -> int | None:
    """Take a queued job: the new fence, or None where somebody else was first."""
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.state == "queued", Job.cancel_requested.is_(False))
        .values(
            state="running",
            fence=Job.fence + 1,
            attempts=Job.attempts + 1,
            owner=owner,
            lease_until=lease_until,
        )
        .returning(Job.fence)
    )
    return session.execute(statement).scalar_one_or_none()


def held(session: Session, job_id: UUID, fence: int) -> Job | None:
    """The running job under this fence, its row locked; None where the fence is stale."""
    statement = (
        select(Job)
        .where(Job.id == job_id, Job.fence == fence, Job.state == "running")
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return session.scalars(statement).one_or_none()


def extend(session: Session, job_id: UUID, fence: int, lease_until: datetime) -> bool:
    """Move the lease on; False where the fence is stale."""
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.fence == fence, Job.state == "running")
        .values(lease_until=lease_until)
    )
    return cast(CursorResult[Any], session.execute(statement)).rowcount == 1


def lapsed_ids(session: Session, *, now: datetime, limit: int) -> Sequence[UUID]:
    """Running jobs whose lease is over, the longest over first."""
    statement = (
        select(Job.id)
        .where(Job.state == "running", Job.lease_until < now)
        .order_by(Job.lease_until)
        .limit(limit)
    )
    return session.scalars(statement).all()


def lapsed(session: Session, job_id: UUID, *, now: datetime) -> Job | None:
    """The job with its row locked, if its lease is still over and nobody else is at it."""
    statement = (
        select(Job)
        .where(Job.id == job_id, Job.state == "running", Job.lease_until < now)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    return session.scalars(statement).one_or_none()


def forgotten(session: Session, *, sent_before: datetime, limit: int) -> Sequence[Job]:
    """Queued jobs whose last wake-up was sent before a time and never heard."""
    waiting = exists().where(
        OutboxMessage.job_id == Job.id,
        or_(OutboxMessage.sent_at.is_(None), OutboxMessage.sent_at >= sent_before),
    )
    statement = (
        select(Job).where(Job.state == "queued", ~waiting).order_by(Job.created_at).limit(limit)
    )
    return session.scalars(statement).all()


def wakes(session: Session, job_id: UUID) -> tuple[int, datetime | None]:
    """How many wake-ups were written for a job, and when the last of them was sent."""
    sent = session.scalars(
        select(OutboxMessage.sent_at).where(OutboxMessage.job_id == job_id)
    ).all()
    return len(sent), max((at for at in sent if at is not None), default=None)
