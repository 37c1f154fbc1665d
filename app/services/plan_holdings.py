"""What a plan holds as a scope of a path: units of slots, asked in whole counts (R10, R12)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from app.db.models import Budget
from app.domain.accounting.plans import Plan
from app.domain.privacy import Loss
from app.services import plans


@dataclass(frozen=True, slots=True)
class PlanHolding:
    """A plan of a path, what its slots hold, and the units that are asked of them.

    held: reserved and posted, by slot. asked: by slot; nothing in any of them moves afterwards.
    """

    ends_at: ClassVar[datetime | None] = None

    budget_id: UUID
    plan: Plan
    held: Mapping[str, int]
    asked: Mapping[str, int]

    @classmethod
    def of(cls, budget: Budget, asked: Mapping[str, int]) -> "PlanHolding":
        """A plan as it stands; under its lock where the answer decides anything."""
        return cls(budget.id, plans.plan_of(budget), plans.units_of(budget).held, asked)

    def admits(self, _loss: Loss) -> bool:
        """Whether every slot has room for what is asked of it; a plan holds no sum of losses."""
        return self.plan.admits(_sum(self.held, self.asked))

    def left(self) -> dict[str, int]:
        """The units that are left in each slot."""
        return self.plan.left(self.held)

    def room(self, slot: str, others: Mapping[str, int]) -> int:
        """The most units of one slot that pass beside units of others; 0 where those do not."""
        beside = _sum(self.held, others)
        return self.plan.left(beside).get(slot, 0) if self.plan.admits(beside) else 0


def _sum(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) + more.get(name, 0) for name in {*counts, *more}}
