"""How a budget was consumed, day by day, by the records of a report, and where the pace leads.

The same points as the service's timeline, from the charges that the evidence names and the prices
that it holds: whoever has the report can draw the line again.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from app.domain.accounting.block_figures import worst_block
from app.domain.accounting.block_sums import BlockSums
from app.domain.accounting.filters import policy_from_json
from app.domain.accounting.policy import Policy
from app.domain.accounting.prices import Price, charge_parts
from app.domain.forecast import PACE_DAYS, Point, exhausted_at
from app.domain.partitions import Ranges, ranges_from_json
from app.domain.privacy import ORDERS, Loss
from app.reporting.evidence import BudgetEvidence, Evidence, ReservationEvidence
from app.reporting.statements.officer import Forecast, Use
from app.reporting.statements.rounding import UNBOUNDED

USES_SHOWN: Final = 5
# of so many by their Renyi loss it is asked what each would consume alone, which takes a search
_USES_ASKED: Final = 25
_STEPS_BEFORE: Final = 12
_RANKED_BY: Final = ORDERS.index(8)


class Charges:
    """The exact charges of reservations; work of one shape is computed once."""

    def __init__(self, evidence: Evidence) -> None:
        """The prices are those of the evidence, read back with their digests."""
        self._prices = {
            digest: Price.from_json(document) for digest, document in evidence["prices"].items()
        }
        self._known: dict[tuple[tuple[str, int], ...], Loss] = {}

    def of(self, reservation: ReservationEvidence, units: Sequence[int]) -> Loss:
        """The loss of so many units of each part."""
        shape = tuple(
            (part["price"], count) for part, count in zip(reservation["parts"], units, strict=True)
        )
        if shape not in self._known:
            parts = ((self._prices[digest], count) for digest, count in shape)
            self._known[shape] = charge_parts(parts)
        return self._known[shape]


def consumed_by_day(
    evidence: Evidence, budget: BudgetEvidence, charges: Charges
) -> list[dict[str, str]]:
    """What was consumed at the end of days with a charge, oldest first.

    Each figure is a search of 20 ms: the days of the pace are all there, what lies before them in
    a dozen steps.

    Returns:
        [{"day": "2027-03-01", "consumed": "0.35"}], rounded up; of the worst block where the
        dataset has blocks (R8).
    """
    policy = policy_from_json(budget["policy"])
    by_day: dict[str, dict[Ranges | None, Loss]] = {}
    for day, ranges, loss in sorted(
        _postings(evidence, budget, charges), key=lambda posting: posting[0]
    ):
        losses = by_day.setdefault(day, {})
        losses[ranges] = losses.get(ranges, Loss.zero()) + loss
    shown = _shown(list(by_day), evidence["as_of"])
    points, total, sums = [], Loss.zero(), BlockSums.empty()
    for day, losses in by_day.items():
        for ranges, loss in losses.items():
            total = total + loss
            sums = sums if ranges is None else sums.post(loss, ranges)
        if day in shown:
            points.append({"day": day, "consumed": _consumed(policy, total, sums)})
    return points


def forecast(points: Sequence[Mapping[str, str]], limit: str, as_of: str) -> Forecast:
    """Where the pace of the last 28 days leads.

    Args:
        points: as `consumed_by_day` gives them.
        limit: epsilon of the limit.
        as_of: the time of the evidence.
    """
    now = datetime.fromisoformat(as_of)
    line = [Point(min(now, _end(point["day"])), Decimal(point["consumed"])) for point in points]
    since = now - timedelta(days=PACE_DAYS)
    before = [point.epsilon for point in line if point.at <= since]
    return forecast_of(line, before[-1] if before else Decimal(0), Decimal(limit), now)


def forecast_of(line: Sequence[Point], before: Decimal, limit: Decimal, now: datetime) -> Forecast:
    """The same of points that are at hand.

    Args:
        line: as `exhausted_at` takes them.
        before: what was consumed when the days of the pace began.
        limit: epsilon of the limit.
        now: the moment of the forecast.
    """
    latest = line[-1].epsilon if line else Decimal(0)
    reached = exhausted_at(line, limit, now)
    used = Decimal(0) if latest == before else latest - before
    return Forecast(
        PACE_DAYS,
        format(used.normalize(), "f") if used.is_finite() else UNBOUNDED,
        None if reached is None else reached.date().isoformat(),
    )


def largest_uses(evidence: Evidence, budget: BudgetEvidence, charges: Charges) -> list[Use]:
    """The largest charges of a budget, each by what it would consume of it alone, largest first."""
    policy = policy_from_json(budget["policy"])
    found = []
    for reservation in evidence["reservations"]:
        units = _units_in(reservation, budget["id"])
        if units is not None:
            loss = charges.of(reservation, units)
            found.append((_rank(loss), reservation["id"], reservation, loss))
    found.sort(key=lambda each: each[:2], reverse=True)
    kinds = {job["id"]: job["kind"] for job in evidence["jobs"]}
    alone: dict[Loss, str] = {}
    uses = []
    for _, name, reservation, loss in found[:_USES_ASKED]:
        if loss not in alone:
            alone[loss] = policy.consumed(loss).epsilon
        job = reservation["job"]
        subject = f"reservation:{name}" if job is None else f"job:{job}"
        uses.append(Use(subject, kinds.get(job or "", "outside"), alone[loss]))
    return sorted(uses, key=lambda use: Decimal(use.epsilon), reverse=True)[:USES_SHOWN]


def _shown(days: Sequence[str], as_of: str) -> set[str]:
    """Every day of the pace, and of those before it the last of each of a dozen stretches."""
    since = datetime.fromisoformat(as_of) - timedelta(days=PACE_DAYS)
    earlier = [day for day in days if _end(day) <= since]
    stretch = -(-len(earlier) // _STEPS_BEFORE) or 1
    return {*days[len(earlier) :], *earlier[::-1][::stretch]}


def _end(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T23:59:59+00:00")


def _postings(
    evidence: Evidence, budget: BudgetEvidence, charges: Charges
) -> Iterator[tuple[str, Ranges | None, Loss]]:
    for opening in budget["openings"]:
        yield (
            str(opening["date"])[:10],
            _ranges(opening["blocks"]),
            Loss.from_json(opening["charge"]),
        )
    for reservation in evidence["reservations"]:
        for entry in reservation["entries"]:
            if entry["budget"] == budget["id"] and entry["kind"] == "posted":
                loss = charges.of(reservation, entry["units"])
                at = reservation["resolved_at"] or evidence["as_of"]
                yield at[:10], _ranges(entry["blocks"]), loss


def _units_in(reservation: ReservationEvidence, budget_id: str) -> Sequence[int] | None:
    """The units that a budget is charged for: what was posted, else what is held; None if neither.

    A later entry settles an earlier one, and a voided reservation charges nothing.
    """
    kinds = {
        entry["kind"]: entry["units"]
        for entry in reservation["entries"]
        if entry["budget"] == budget_id
    }
    units: Sequence[int] | None = kinds.get("posted")
    if units is None and "voided" not in kinds:
        units = kinds.get("reserved")
    return units


def _consumed(policy: Policy, total: Loss, sums: BlockSums) -> str:
    if not len(sums):
        return policy.consumed(total).epsilon
    return worst_block(policy, sums.committed).consumed.epsilon


def _ranges(blocks: Any) -> Ranges | None:
    return None if blocks is None else ranges_from_json(blocks)


def _rank(loss: Loss) -> tuple[int, int, int]:
    return (loss.dead[_RANKED_BY], loss.nats_2p40[_RANKED_BY], loss.delta_atto)
