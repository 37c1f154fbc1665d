"""What the chains say by themselves: enough to know the tree without any other table (L4)."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.db.session import transaction
from app.domain.accounting.prices import price
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Limit, Loss
from app.domain.windows import Window
from app.services import windows
from app.services.budgets import BudgetRequest
from tests.world import World, keyed, new_world


@pytest.fixture
def world(make_session: sessionmaker[Session], tmp_path: Path) -> Iterator[World]:
    with new_world(make_session, tmp_path) as world:
        yield world


def open_window(world: World, parent: UUID, window: Window) -> UUID:
    officer = world.people["officer"]
    request = BudgetRequest(
        kind="window",
        dataset_id=None,
        parent_id=parent,
        name="monthly",
        limit=Limit(Decimal("0.5"), Decimal(0)),
        accountant="pure/1",
        delta_split=Decimal("0.9"),
        milestones=(),
        holder_project_id=None,
        expires_at=None,
        reason="a pace",
        window=window,
    )
    proposed = world.budgets.create(officer, request, keyed(officer, "budgets", {"w": 1}))
    world.decide(UUID(proposed["approval_id"]), "approve")
    return UUID(proposed["id"])


def test_the_first_entry_of_every_budget_names_its_kind_and_what_is_above_it(world: World) -> None:
    root = world.open_root()
    allocation = world.open_allocation(root, "0.5")
    calendar = Window("month", "Europe/Berlin", date(2026, 1, 1), "always")
    window = open_window(world, allocation, calendar)
    with transaction(world.make_session) as session:
        locked = session.get_one(type(world.budget(window)), window)
        now = datetime(2026, 3, 5, tzinfo=UTC)
        period = windows.period_in_force(session, locked, now=now).id
    said = {
        each: {name: world.bodies(each)[0]["facts"].get(name) for name in ("kind", "parent")}
        for each in (root, allocation, window, period)
    }
    assert said == {
        root: {"kind": "lifetime", "parent": None},
        allocation: {"kind": "allocation", "parent": str(root)},
        window: {"kind": "window", "parent": str(allocation)},
        period: {"kind": "period", "parent": str(window)},
    }
    assert world.bodies(window)[0]["facts"]["calendar"] == calendar.to_json()
    assert "calendar" not in world.bodies(period)[0]["facts"]


def test_a_run_that_stops_below_where_an_order_dies_is_settled(world: World) -> None:
    # at the highest order 40 units lose more than R2 keeps as a number, and 37 units do not
    root = world.open_root("rdp-mix/1", "8", "1e-6")
    sampled = {"type": "poisson_sampled", "rate": "0.01"}
    mechanism = {**sampled, "of": {"type": "gaussian", "noise_multiplier": "1.1"}}
    priced = price(parse_mechanism(mechanism), "add_remove")
    assert priced.charge(40).dead != priced.charge(37).dead
    runner = replace(world.engineer, is_runner=True)
    made = UUID(world.reserve(root, mechanism, 40, who=runner)["id"])
    world.reservations.start(runner, made, 1, 0, 37)
    world.reservations.commit(runner, made, 1, None)
    budget = world.budget(root)
    assert (budget.committed, budget.reserved) == (priced.charge(37), Loss.zero())
    assert world.verified()
