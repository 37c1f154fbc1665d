"""A world whose records are divided into days, and looks at what each block holds (R8)."""

from typing import Any
from uuid import UUID

from app.domain.accounting.prices import price
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.partitions import AskedBlocks
from app.domain.privacy import Loss
from tests.world import World

COLUMNS = ({"name": "day", "type": "date"}, {"name": "value", "type": "int64"})
DAYS = {
    "kind": "time",
    "column": "day",
    "period": "day",
    "time_zone": "UTC",
    "first_day": "2020-01-01",
    "grace_days": 2,
}
ROWS = "day,value\n2020-01-01,1\n2020-01-02,2\n"
PURE = {"type": "pure", "epsilon": "0.1"}


def loss(mechanism: dict[str, Any] = PURE, units: int = 1) -> Loss:
    return price(parse_mechanism(mechanism), "add_remove").charge(units)


def held(world: World, budget_id: UUID, block: int) -> Loss:
    sums = world.budget(budget_id).block_sums
    assert sums is not None
    return sums.held.loss_of(block) if block < len(sums) else Loss.zero()


def shown(world: World, budget_id: UUID) -> dict[str, Any]:
    return world.budgets.get(world.people["officer"], budget_id)


def spend(world: World, root: UUID, units: int, blocks: AskedBlocks) -> None:
    made = world.reserve(root, PURE, units, blocks=blocks)
    world.reservations.commit(world.engineer, UUID(made["id"]), 1, None)
