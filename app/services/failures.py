"""Failures after a touch can tell something of the rows: too many a day freeze the root (R13)."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from app.db.models import Budget, Entry, Job
from app.db.repositories import budgets as budget_rows
from app.services import notifications
from app.services.states import write_state

# the one code of every failure after a touch, whatever its cause
FAILED_AFTER_TOUCH: Final = "failed-after-touch"
FAILURES_MOST: Final = 10
DAY: Final = timedelta(days=1)
ACTOR: Final = "failures"
TOO_MANY: Final = "too many failures after a touch within a day"


def freeze_after_failures(
    session: Session, dataset_id: UUID, *, now: datetime, most: int = FAILURES_MOST
) -> bool:
    """Freeze a dataset's root where more than `most` jobs failed after a touch within a day.

    A step, called after a job has failed so, in the same transaction. A worker that went silent
    after a touch counts as a failure though its job goes on: with rows that crash a worker, the
    silence says as much (R13). Failures before the root was last thawed do not count: two people
    have looked at them. Silences of one job count from its last one on, toward too many.

    Returns:
        Whether it froze the root now.
    """
    session.flush()
    root_id = session.scalar(
        select(Budget.id).where(
            Budget.dataset_id == dataset_id,
            Budget.kind == "lifetime",
            Budget.opened_at.is_not(None),
        )
    )
    if root_id is None or _failures(session, root_id, now=now) <= most:
        return False
    root = budget_rows.lock(session, [root_id])[0]
    if root.state != "open":
        return False
    facts = {"reason": TOO_MANY, "most_a_day": most}
    write_state(session, root, "freeze", actor=ACTOR, facts=facts, now=now)
    notifications.notice_frozen(session, root, TOO_MANY, now=now)
    return True


def _failures(session: Session, root_id: UUID, *, now: datetime) -> int:
    thawed_at = session.scalar(
        select(func.max(Entry.created_at)).where(Entry.budget_id == root_id, Entry.kind == "thawed")
    )
    since = now - DAY if thawed_at is None else max(thawed_at, now - DAY)
    is_charged = exists().where(
        Entry.budget_id == root_id,
        Entry.kind == "reserved",
        Entry.reservation_id == Job.reservation_id,
    )
    failed = select(func.count()).where(
        Job.failure_code == FAILED_AFTER_TOUCH,
        Job.finished_at > since,
        is_charged,
    )
    silent = select(func.sum(Job.lapses_after_touch)).where(Job.lapsed_at > since, is_charged)
    return (session.scalar(failed) or 0) + (session.scalar(silent) or 0)
