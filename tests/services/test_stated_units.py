"""A mechanism on records is charged for a user only by an enforced cap and a proven rule (R7, L8).

The attack is a tool that states what it does to one record, and is charged as if every user had
only one.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from app.db.models import Reservation
from app.db.session import snapshot
from app.domain.accounting.conversions import gaussian_epsilon
from app.domain.accounting.plans import parse_slots
from app.domain.accounting.prices import price
from app.domain.decimals import NAT_2P40
from app.domain.errors import InvalidParameter, MechanismNotPriced
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import ORDERS
from app.services.statements import statement
from tests.planned import open_plan, reserve
from tests.world import World, new_world

CAP = 4
COLUMNS = ({"name": "who", "type": "string"}, {"name": "value", "type": "int64"})
USER = {"kind": "user", "column": "who", "max_rows_per_user": CAP}
QUERIES_ALONE = {
    "kind": "user",
    "column": "who",
    "max_groups_per_user": 2,
    "max_rows_per_user_group": 2,
}
GAUSSIAN = {"type": "gaussian", "noise_multiplier": "40"}
PURE = {"type": "pure", "epsilon": "0.1"}
LAPLACE = {"type": "laplace", "scale": "10", "sensitivity_l1": "1"}
POISSON = {"type": "poisson_sampled", "rate": "0.01", "of": GAUSSIAN}
OpenWorld = Callable[[Mapping[str, Any]], World]


@pytest.fixture
def open_world(make_session: sessionmaker[Session], tmp_path: Path) -> Iterator[OpenWorld]:
    """A world whose dataset has the unit that is asked for."""
    with ExitStack() as opened:

        def make(unit: Mapping[str, Any]) -> World:
            rows = "who,value\na,1\na,2\nb,3\n"
            world = new_world(make_session, tmp_path, columns=COLUMNS, unit=unit, rows=rows)
            return opened.enter_context(world)

        yield make


def stated(mechanism: Mapping[str, Any], units: int = 1, unit: str = "record") -> dict[str, Any]:
    return {"mechanism": dict(mechanism), "max_units": units, "unit": unit}


def reservations(world: World) -> int:
    with snapshot(world.make_session) as session:
        return session.scalar(select(func.count()).select_from(Reservation)) or 0


def test_records_are_charged_for_a_user_who_holds_as_many_as_the_cap_lets(
    open_world: OpenWorld,
) -> None:
    world = open_world(USER)
    root = world.open_root("rdp-mix/1", "8", "1e-5")
    held = UUID(reserve(world, root, stated(GAUSSIAN, 3), stated(PURE))["id"])
    gaussian = price(parse_mechanism({**GAUSSIAN, "noise_multiplier": "10"}), "add_remove")
    pure = price(parse_mechanism({**PURE, "epsilon": "0.4"}), "add_remove")
    assert world.budget(root).reserved == gaussian.charge(3) + pure.charge(1)
    # a user with all of the records loses exactly a k-th of the noise: never less is charged
    for order, nats in zip(ORDERS, gaussian.charge(1).nats_2p40, strict=True):
        assert nats / NAT_2P40 >= CAP**2 * float(order) / (2 * 40**2)
    world.reservations.commit(world.engineer, held, 1, None)
    consumed = world.budgets.get(world.people["auditor"], root)["consumed"]
    assert float(consumed["epsilon"]) >= gaussian_epsilon(10 / math.sqrt(3), 1e-5)
    assert world.verified()


def test_an_entry_keeps_what_was_stated_beside_what_is_charged(open_world: OpenWorld) -> None:
    world = open_world(USER)
    root = world.open_root("rdp-mix/1", "8", "1e-5")
    held = UUID(reserve(world, root, stated(GAUSSIAN, 3))["id"])
    world.reservations.commit(world.engineer, held, 1, None)
    for body in world.bodies(root)[1:]:
        part = body["parts"][0]
        assert part["mechanism"] == {**GAUSSIAN, "noise_multiplier": "10"}
        assert part["stated"] == {"mechanism": GAUSSIAN, "unit": "record", "records": CAP}
    shown = world.reservations.get(world.engineer, held)["parts"][0]
    assert shown["stated"]["mechanism"] == GAUSSIAN
    lines = statement(world.make_session, world.people["auditor"], root, "officer")["assumptions"]
    assert any(f"at most {CAP} rows of one user" in line for line in lines)


@pytest.mark.parametrize("unit", [QUERIES_ALONE, {"kind": "record"}], ids=["user", "record"])
def test_a_unit_that_no_cap_leads_to_is_refused_and_nothing_is_written(
    open_world: OpenWorld, unit: Mapping[str, Any]
) -> None:
    """Caps of queries bind inside our query engine alone: an outside tool is held by none."""
    world = open_world(unit)
    root = world.open_root("rdp-mix/1", "8", "1e-5")
    asked = "record" if unit["kind"] == "user" else "user"
    with pytest.raises(InvalidParameter) as refusal:
        reserve(world, root, stated(PURE, unit=unit["kind"]), stated(PURE, unit=asked))
    assert refusal.value.pointer == "/parts/1/unit"
    assert (reservations(world), world.budget(root).last_seq) == (0, 1)


@pytest.mark.parametrize(
    "mechanism",
    [
        POISSON,
        {"type": "composed", "of": [PURE, POISSON]},
        {"type": "threshold", "of": LAPLACE, "groups": 2, "delta": "1e-9"},
        {"type": "pure", "epsilon": "9000"},
    ],
    ids=["a sample", "inside a composition", "a threshold", "beyond every price"],
)
def test_what_has_no_proven_rule_for_several_records_is_refused(
    open_world: OpenWorld, mechanism: Mapping[str, Any]
) -> None:
    world = open_world(USER)
    root = world.open_root("rdp-mix/1", "8", "1e-5")
    with pytest.raises(MechanismNotPriced):
        reserve(world, root, stated(mechanism))
    assert (reservations(world), world.budget(root).last_seq) == (0, 1)


def test_a_mechanism_that_is_stated_for_the_datasets_own_unit_is_charged_as_it_is(
    open_world: OpenWorld,
) -> None:
    world = open_world(USER)
    root = world.open_root("rdp-mix/1", "8", "1e-5")
    reserve(world, root, stated(GAUSSIAN, unit="user"))
    reserve(world, root, {"mechanism": GAUSSIAN, "max_units": 1})
    priced = price(parse_mechanism(GAUSSIAN), "add_remove")
    assert world.budget(root).reserved == priced.charge(1) + priced.charge(1)
    assert "stated" not in world.bodies(root)[1]["parts"][0]


def test_a_slot_holds_what_is_charged_and_not_what_was_stated(open_world: OpenWorld) -> None:
    """Else a slot frozen at noise 40 would let a user's noise 10 pass at the price of 40."""
    world = open_world(USER)
    root = world.open_root("rdp-mix/1", "8", "1e-5")
    charged = {**GAUSSIAN, "noise_multiplier": "10"}
    slots = [
        {"name": "as stated", "mechanism": GAUSSIAN, "count": 1},
        {"name": "as charged", "mechanism": charged, "count": 1},
    ]
    plan_id = open_plan(world, root, slots=parse_slots(slots))
    with pytest.raises(InvalidParameter):
        reserve(world, plan_id, {**stated(GAUSSIAN), "slot": "as stated"})
    reserve(world, plan_id, {**stated(GAUSSIAN), "slot": "as charged"})
    assert world.budget(root).reserved == price(parse_mechanism(charged), "add_remove").charge(1)
