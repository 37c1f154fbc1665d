"""A run whose canaries refute its claim freezes the root of its dataset (R26).

The level is shared over the dataset's runs of a calendar month: the n-th of them is tested at
1e-4 x 6 / (pi^2 n^2), and these sum to 1e-4 however many there are. At 0.05 officers are told and
nothing is frozen: of honest runs one in twenty comes out so.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.models import Budget, Entry, Job
from app.db.repositories import budgets as budget_rows
from app.domain.canaries import LEVEL
from app.services import notifications
from app.services.states import write_state

NOTICE_LEVEL: Final = 0.05
ACTOR: Final = "canaries"
REFUTED: Final = "the canaries of a run refute what it claims"


def judge(session: Session, job: Job, document: Mapping[str, Any], *, now: datetime) -> bool:
    """Hold a posted run's audit against the level; a step, in the transaction of the post.

    Returns:
        Whether it froze a root now.
    """
    audit = document.get("audit")
    p_value = audit.get("p_value") if isinstance(audit, Mapping) else None
    if job.kind != "train" or not isinstance(p_value, float) or p_value >= NOTICE_LEVEL:
        return False
    session.flush()
    roots = select(Budget.id).where(
        Budget.dataset_id.in_([UUID(item["dataset_id"]) for item in job.inputs]),
        Budget.kind == "lifetime",
        Budget.opened_at.is_not(None),
    )
    frozen = False
    for root in budget_rows.lock(session, list(session.scalars(roots))):
        level = level_of(_runs_this_month(session, root.id, now=now))
        facts = {"job_id": str(job.id), "p_value": f"{p_value:.4g}", "level": f"{level:.4g}"}
        notifications.notice_audit(session, root, facts, now=now)
        if p_value < level and root.state == "open":
            said = {**facts, "reason": REFUTED}
            write_state(session, root, "freeze", actor=ACTOR, facts=said, now=now)
            notifications.notice_frozen(session, root, REFUTED, now=now)
            frozen = True
    return frozen


def level_of(run: int) -> float:
    """The level of a month's n-th run, from 1 on."""
    return LEVEL * 6.0 / (math.pi * run) ** 2


def _runs_this_month(session: Session, root_id: UUID, *, now: datetime) -> int:
    """How many runs were charged to a root in this month, this one among them."""
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    runs = (
        select(func.count(func.distinct(Job.id)))
        .join(Entry, Entry.reservation_id == Job.reservation_id)
        .where(
            Entry.budget_id == root_id,
            Entry.kind == "posted",
            Entry.created_at >= month,
            Job.kind == "train",
        )
    )
    return max(1, session.scalar(runs) or 0)
