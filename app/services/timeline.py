"""How a budget was consumed over time, and when it would be used up at its recent pace."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Budget, Entry
from app.db.session import SessionMaker, database_now, snapshot
from app.domain.accounting.block_figures import worst_block
from app.domain.accounting.block_sums import BlockSums
from app.domain.forecast import PACE_DAYS, Point, exhausted_at
from app.domain.partitions import Ranges, ranges_from_json
from app.domain.privacy import Loss
from app.services import plans, policies, windows
from app.services.access import Caller
from app.services.budgets import readable

DAYS_SHOWN = 90
SPENDING = ("posted", "opening")
MARKED = (
    "raised",
    "lowered",
    "frozen",
    "thawed",
    "closed",
    "transferred",
    "rate_limited",
    "refreshed",
    "published",
    "purged",
)


def timeline(make_session: SessionMaker, caller: Caller, budget_id: UUID) -> dict[str, Any]:
    """Consumed at the end of each day with a charge, decisions as marks, and a forecast.

    Raises:
        NotFound: no such budget, or none that this caller may know of.
    """
    with snapshot(make_session) as session:
        budget = readable(session, caller, budget_id)
        if plans.is_plan(budget):
            return _of_a_plan(session, budget)
        now = database_now(session)
        shown = budget
        if budget.kind == "window":
            shown = windows.seen_in_force(session, budget, now=now) or budget
        points = consumed_by_day(session, shown, now=now)
        marks = _marks(session, budget)
        policy = policies.policy_of(shown)
        reserved = policies.held_by_worst(shown).consumed
        reached = exhausted_at(points, policy.limit.epsilon, now)
    return {
        "points": [
            {"at": point.at.isoformat(), "consumed": str(point.epsilon)} for point in points
        ],
        "with_reservations": reserved.epsilon,
        "limit": policies.limit_json(policy),
        "marks": marks,
        "forecast": {
            "exhausted_at": None if reached is None else reached.isoformat(),
            "basis": f"the pace of the last {PACE_DAYS} days, as a straight line; not a promise",
        },
    }


def _of_a_plan(session: Session, budget: Budget) -> dict[str, Any]:
    """A plan has one figure, of its whole, and no way there: its slots say how far it has come."""
    return {
        "points": [],
        "with_reservations": None,
        "limit": plans.limit_of(budget),
        "marks": _marks(session, budget),
        "forecast": {"exhausted_at": None, "basis": "a plan ends with its slots"},
    }


def _marks(session: Session, budget: Budget) -> list[dict[str, Any]]:
    rows = session.execute(
        select(Entry.seq, Entry.kind, Entry.created_at)
        .where(Entry.budget_id == budget.id, Entry.kind.in_(MARKED))
        .order_by(Entry.seq.desc())
        .limit(DAYS_SHOWN)
    )
    return [{"seq": row.seq, "kind": row.kind, "at": row.created_at.isoformat()} for row in rows]


def consumed_by_day(session: Session, budget: Budget, *, now: datetime) -> Sequence[Point]:
    """Consumed after the last charge of each day; what came before the days shown is one point.

    A step.
    """
    policy = policies.policy_of(budget)
    since = now - timedelta(days=DAYS_SHOWN)
    rows = session.execute(
        select(Entry.created_at, Entry.body)
        .where(Entry.budget_id == budget.id, Entry.kind.in_(SPENDING))
        .order_by(Entry.seq)
    )
    days = dict[str, tuple[datetime, dict[Ranges | None, Loss]]]()
    for row in rows:
        body = json.loads(row.body)
        blocks = body["facts"].get("blocks")
        ranges = None if blocks is None else ranges_from_json(blocks)
        at = max(row.created_at, since)
        day = at.date().isoformat()
        charges = days[day][1] if day in days else {}
        charges[ranges] = charges.get(ranges, Loss.zero()) + Loss.from_json(body["charge"])
        days[day] = (at, charges)
    points, total, sums = [], Loss.zero(), BlockSums.empty()
    for at, charges in days.values():
        for ranges, loss in charges.items():
            total = total + loss
            sums = sums if ranges is None else sums.post(loss, ranges)
        consumed = (
            policy.consumed(total)
            if budget.block_sums is None
            else worst_block(policy, sums.committed).consumed
        )
        points.append(Point(at, Decimal(consumed.epsilon)))
    return points
