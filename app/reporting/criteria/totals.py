"""What each budget holds, summed again from the entries' units and the stored prices (R1, L4).

The stored prices and whole numbers alone: the same on every machine, and no library is asked.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.accounting.block_figures import worst_block
from app.domain.accounting.block_sums import BlockSums
from app.domain.accounting.plan_units import PLAN_ACCOUNTANT
from app.domain.accounting.prices import Price, charge_parts
from app.domain.errors import DomainError
from app.domain.partitions import Ranges, ranges_from_json
from app.domain.privacy import Loss
from app.reporting.criteria.records import Records
from app.reporting.evidence import BudgetEvidence

# the digests of an entry's parts, each with its units
Charged = tuple[tuple[str, int], ...]
# a charge, or the exact loss of spend from before the service, in some blocks; None where none are
Kept = tuple[Charged | Loss, Ranges | None]


@dataclass(frozen=True, slots=True)
class Total:
    """What one budget holds; of its worst block where the dataset has blocks (R8)."""

    committed: Loss
    reserved: Loss


def totals(records: Records) -> dict[str, Total | None]:
    """By budget, the total of its entries; None where a price or a form is missing."""
    committed: dict[str, Counter[Kept]] = {}
    reserved: dict[str, Counter[Kept]] = {}
    broken: set[str] = set()
    for reservation in records.evidence["reservations"]:
        digests = [part["price"] for part in reservation["parts"]]
        rows = reservation["entries"]
        ended = {row["budget"] for row in rows if row["kind"] in ("posted", "voided")}
        for row in rows:
            budget = row["budget"]
            try:
                kept = _kept(digests, row)
            except (DomainError, ValueError, KeyError, TypeError):
                broken.add(budget)
                continue
            if row["kind"] == "posted":
                committed.setdefault(budget, Counter())[kept] += 1
            elif row["kind"] == "reserved" and budget not in ended:
                reserved.setdefault(budget, Counter())[kept] += 1
    found: dict[str, Total | None] = {}
    for each in records.evidence["budgets"]:
        id_ = each["id"]
        openings = committed.setdefault(id_, Counter())
        try:
            for opening in each["openings"]:
                openings[Loss.from_json(opening["charge"]), _ranges(opening)] += 1
            total = _total(records, each, openings, reserved.get(id_, Counter()))
        except (DomainError, ValueError, KeyError, TypeError):
            total = None
        found[id_] = None if id_ in broken else total
    return found


def _total(
    records: Records, budget: BudgetEvidence, committed: Counter[Kept], reserved: Counter[Kept]
) -> Total:
    """The sums of one budget.

    Raises:
        KeyError: a price is not on record, or blocks without a policy to find the worst by.
    """
    prices = records.prices
    is_plan = budget["accountant"] == PLAN_ACCOUNTANT
    if is_plan or records.evidence["dataset"]["document"].get("blocks") is None:
        return Total(_sum(committed, prices), _sum(reserved, prices))
    sums = BlockSums.empty()
    for (charge, ranges), count in committed.items():
        sums = sums.post(_times(_loss(charge, prices), count), ranges or ())
    for (charge, ranges), count in reserved.items():
        sums = sums.reserve(_times(_loss(charge, prices), count), ranges or ())
    block = worst_block(records.policies[budget["id"]], sums.held).block
    if block is None:
        return Total(Loss.zero(), Loss.zero())
    held, of_block = sums.held.loss_of(block), sums.committed.loss_of(block)
    return Total(of_block, held - of_block)


def _kept(digests: list[str], row: Mapping[str, Any]) -> Kept:
    return tuple(zip(digests, row["units"], strict=True)), _ranges(row)


def _ranges(row: Mapping[str, Any]) -> Ranges | None:
    blocks = row.get("blocks")
    return None if blocks is None else ranges_from_json(blocks)


def _sum(kept: Mapping[Kept, int], prices: Mapping[str, Price]) -> Loss:
    losses: Iterable[Loss] = (
        _times(_loss(charge, prices), count) for (charge, _), count in kept.items()
    )
    return sum(losses, Loss.zero())


def _loss(charge: Charged | Loss, prices: Mapping[str, Price]) -> Loss:
    if isinstance(charge, Loss):
        return charge
    return charge_parts([(prices[digest], units) for digest, units in charge])


def _times(loss: Loss, count: int) -> Loss:
    """Equal charges summed at once, exactly as one by one."""
    return Loss(
        tuple(count * nats for nats in loss.nats_2p40),
        tuple(count * dead for dead in loss.dead),
        count * loss.maximum_atto,
        count * loss.maximum_dead,
        count * loss.delta_atto,
        count * loss.gaussian_atto,
        count * loss.gaussian_dead,
    )
