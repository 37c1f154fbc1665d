"""Limits on the rate of a budget: a brake for loops that run away, not a bound on privacy.

They count what was admitted, whatever became of it, from the entries themselves.
"""

import json
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Budget, Entry
from app.domain.errors import RateLimited
from app.services import windows

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
PAGE_ROWS: Final = 500


def require_rate(session: Session, locked: Sequence[Budget], units: int, *, now: datetime) -> None:
    """Refuse a request that a locked budget's rate limits have no room for; a step of admission.

    A budget without such limits costs nothing. `jobs_per_hour` looks at one entry, `units_per_day`
    at those of the last day; both backwards from the end of the chain, however long it is.

    Raises:
        RateLimited: names the first budget that has no room, and when it will have.
    """
    for budget in locked:
        jobs_most = budget.rate_limits.get("jobs_per_hour")
        if jobs_most is not None:
            _require_jobs(session, budget, jobs_most, now=now)
        units_most = budget.rate_limits.get("units_per_day")
        if units_most is not None:
            _require_units(session, budget, units_most, units, now=now)


def _require_jobs(session: Session, budget: Budget, most: int, *, now: datetime) -> None:
    if most == 0:
        raise _refusal(budget, "jobs_per_hour", most, HOUR)
    nth_last = session.scalar(
        select(Entry.created_at)
        .where(Entry.budget_id == budget.id, Entry.kind == "reserved")
        .order_by(Entry.seq.desc())
        .limit(1)
        .offset(most - 1)
    )
    if nth_last is not None and nth_last > now - HOUR:
        raise _refusal(budget, "jobs_per_hour", most, nth_last + HOUR - now)


def _require_units(
    session: Session, budget: Budget, most: int, units: int, *, now: datetime
) -> None:
    counted = units
    oldest: datetime | None = None
    before_seq = budget.last_seq + 1
    while counted <= most:
        rows = session.execute(
            select(Entry.seq, Entry.created_at, Entry.body)
            .where(Entry.budget_id == budget.id, Entry.kind == "reserved", Entry.seq < before_seq)
            .order_by(Entry.seq.desc())
            .limit(PAGE_ROWS)
        ).all()
        for seq, created_at, body in rows:
            if created_at <= now - DAY or counted > most:
                break
            counted += sum(part["units"] for part in json.loads(body)["parts"])
            oldest, before_seq = created_at, seq
        else:
            if len(rows) == PAGE_ROWS:
                continue
        break
    if counted > most:
        raise _refusal(budget, "units_per_day", most, DAY if oldest is None else oldest + DAY - now)


def _refusal(budget: Budget, limit: str, most: int, wait: timedelta) -> RateLimited:
    seconds = max(1, math.ceil(wait.total_seconds()))
    return RateLimited(windows.scope_of(budget), limit, most, seconds)
