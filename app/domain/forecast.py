"""When a budget would be used up at its recent pace: a straight line, and no promise (L9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

PACE_DAYS: Final = 28
# what was consumed since a moment ago is taken for a day's: minutes make no pace
PACE_LEAST_S: Final = 86_400.0
# further ahead than this the line says nothing
HORIZON_DAYS: Final = 3650


@dataclass(frozen=True, slots=True)
class Point:
    """What a budget had consumed at a moment."""

    at: datetime
    epsilon: Decimal


def exhausted_at(points: Sequence[Point], limit: Decimal, now: datetime) -> datetime | None:
    """The moment at which the limit is reached if the last 28 days go on as they went.

    Args:
        points: in order of time; the last one is what is consumed now.
        limit: epsilon of the limit.
        now: the moment of the forecast.

    Returns:
        None where nothing was consumed lately, or where the line reaches the limit after ten
        years; `now` where the limit is reached already.
    """
    if not points:
        return None
    latest = points[-1].epsilon
    if latest >= limit:
        return now
    since = now - timedelta(days=PACE_DAYS)
    before = [point.epsilon for point in points if point.at <= since]
    began = points[0].at if not before else since
    used = latest - (before[-1] if before else Decimal(0))
    elapsed_s = max((now - began).total_seconds(), PACE_LEAST_S)
    if used <= 0:
        return None
    left_s = float((limit - latest) / used) * elapsed_s
    if left_s > HORIZON_DAYS * 86_400:
        return None
    return now + timedelta(seconds=left_s)
