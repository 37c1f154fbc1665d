"""What a scope holds, and whether it may hold more: one question to every kind of scope (R4)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from app.db.models import Budget
from app.domain.accounting.block_figures import least_remaining
from app.domain.accounting.block_sums import BlockSums, block_indices
from app.domain.accounting.filters import Policy
from app.domain.partitions import Ranges
from app.domain.privacy import Amount, Loss
from app.services import policies
from app.services.plan_holdings import PlanHolding


@dataclass(frozen=True, slots=True)
class Holding:
    """One scope of a path and what it holds as it is asked; nothing in it moves afterwards.

    budget_id: of a period, that of its window; a refused request takes the period that it opened
        back with it. ends_at: when that period ends.
    held: the plain sum of all that is charged, whichever blocks it is for.
    block_sums, ranges: of a dataset with blocks, what they hold, and those that are asked (R8).
    """

    budget_id: UUID
    policy: Policy
    held: Loss
    ends_at: datetime | None = None
    block_sums: BlockSums | None = None
    ranges: Ranges | None = None

    @classmethod
    def of(cls, budget: Budget, ranges: Ranges | None = None) -> "Holding":
        """A budget as it stands; under its lock where the answer decides anything.

        ranges: the blocks that room is asked in; None asks as if it were asked in all of them.
        """
        own_id = budget.id if budget.kind != "period" else budget.parent_id
        if own_id is None:
            raise RuntimeError(f"period {budget.id} has no window")
        held = budget.committed + budget.reserved
        policy = policies.policy_of(budget)
        return cls(own_id, policy, held, budget.ends_at, budget.block_sums, ranges)

    def admits(self, loss: Loss) -> bool:
        """Whether this much more passes the scope's filter, in each block that is asked.

        No block holds more than the plain sum, so where that passes, each block does.
        """
        if self.policy.admits(self.held + loss):
            return True
        if self.block_sums is None or self.ranges is None:
            return False
        return self.block_sums.admits(self.policy, loss, self.ranges)

    def with_charge(self, loss: Loss) -> "Holding":
        """What it would hold beside this much more, in the blocks that are asked."""
        sums = self.block_sums
        if sums is not None and self.ranges is not None:
            sums = sums.reserve(loss, self.ranges)
        return replace(self, held=self.held + loss, block_sums=sums)

    def remaining(self) -> Amount:
        """The largest single pure charge that passes now."""
        if self.block_sums is None or self.ranges is None:
            return self.policy.remaining(self.held)
        reached = self.block_sums.reaching(self.ranges)
        return least_remaining(self.policy, reached.held, block_indices(self.ranges))


Scope = Holding | PlanHolding


def holding_of(budget: Budget, ranges: Ranges | None, slot_units: Mapping[str, int]) -> Scope:
    """What a scope holds, as its accountant asks for it.

    ranges: the blocks that room is asked in; see `Holding.of`.
    slot_units: what a request asks of each slot, where its leaf is a plan (R10).
    """
    if budget.plan_units is not None:
        return PlanHolding.of(budget, slot_units)
    return Holding.of(budget, ranges)
