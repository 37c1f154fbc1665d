"""Who spent a budget, in order: what is consumed after each charge, and what some charges do alone.

Consumed figures are searches of milliseconds, sums are not: every charge is added, and only those
that are shown are asked about. What charges consume alone does not add up to the whole.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.accounting.block_figures import worst_block
from app.domain.accounting.block_sums import BlockSums
from app.domain.accounting.policy import Policy
from app.domain.partitions import Ranges
from app.domain.privacy import ORDERS, Amount, Loss

_RANKED_BY = ORDERS.index(8)


@dataclass(frozen=True, slots=True)
class Spend:
    """One charge that is committed, in the order of the chain.

    ranges: the blocks that it is charged to; None where the dataset has none (R8).
    """

    seq: int
    at: datetime
    loss: Loss
    ranges: Ranges | None


@dataclass(slots=True)
class Total:
    """What some charges come to together, with or without blocks."""

    loss: Loss
    sums: BlockSums | None

    @classmethod
    def empty(cls) -> "Total":
        """No charge."""
        return cls(Loss.zero(), None)

    def add(self, loss: Loss, ranges: Ranges | None) -> None:
        """One charge more."""
        self.loss = self.loss + loss
        if ranges is not None:
            self.sums = (self.sums or BlockSums.empty()).post(loss, ranges)

    def consumed(self, policy: Policy) -> Amount:
        """The least epsilon at which it passes; of the worst block where there are any."""
        if self.sums is None:
            return policy.consumed(self.loss)
        return worst_block(policy, self.sums.committed).consumed


def total_of(spends: Iterable[Spend]) -> Total:
    """All of some charges; those of the same blocks are summed before they are spread."""
    by_ranges: dict[Ranges | None, Loss] = {}
    for each in spends:
        by_ranges[each.ranges] = by_ranges.get(each.ranges, Loss.zero()) + each.loss
    total = Total.empty()
    for ranges, loss in by_ranges.items():
        total.add(loss, ranges)
    return total


def consumed_after(
    policy: Policy, spends: Sequence[Spend], *, after_seq: int, limit: int
) -> list[tuple[Spend, Amount]]:
    """A page of charges, each with all that is consumed once it was made.

    Args:
        policy: the filter of the budget.
        spends: all of its charges, in order.
        after_seq: the page begins behind this number.
        limit: how many are shown.
    """
    total = total_of(each for each in spends if each.seq <= after_seq)
    found = []
    for each in [each for each in spends if each.seq > after_seq][:limit]:
        total.add(each.loss, each.ranges)
        found.append((each, total.consumed(policy)))
    return found


def groups(
    spends: Iterable[Spend], name_of: Callable[[Spend], Hashable], *, most: int
) -> list[tuple[Hashable, int, Total]]:
    """Charges by some name, the largest groups first: the name, how many, and their total."""
    found: dict[Hashable, list[Spend]] = {}
    for each in spends:
        found.setdefault(name_of(each), []).append(each)
    totals = [(name, len(of_name), total_of(of_name)) for name, of_name in found.items()]
    totals.sort(key=lambda each: _rank(each[2].loss), reverse=True)
    return totals[:most]


def _rank(loss: Loss) -> tuple[int, int, int]:
    return (loss.dead[_RANKED_BY], loss.nats_2p40[_RANKED_BY], loss.delta_atto)
