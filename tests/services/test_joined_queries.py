"""Jobs that join a second private dataset or a public table: who is charged, who is asked."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.db.session import snapshot
from app.domain.accounting.plans import parse_slots
from app.domain.errors import BudgetExceeded, InvalidParameter
from app.services.admission import QuoteRequest
from app.services.closing import VersionFacts
from app.services.datasets import Datasets
from app.services.placement import JobRequest
from app.services.pricing import InputRequest
from app.services.registrations import DatasetRequest
from tests import planned
from tests.world import World, keyed, new_world
from workers.engines.query.engine import QueryEngine
from workers.running import resolve_work

UNIT = {"kind": "user", "column": "who", "max_groups_per_user": 2, "max_rows_per_user_group": 3}
COLUMNS = [{"name": "who", "type": "string"}, {"name": "place", "type": "string"}]


@pytest.fixture
def world(make_session: sessionmaker[Session], tmp_path: Path) -> Iterator[World]:
    rows = "who,place\na,x\nb,y\n"
    with new_world(make_session, tmp_path, columns=COLUMNS, unit=UNIT, rows=rows) as made:
        yield made


def register(world: World, name: str, rows: str, document: dict[str, Any]) -> str:
    (world.home / "data" / f"{name}.csv").write_text(rows)
    officer = world.people["officer"]
    declared = {
        "name": name,
        "source": {"connection": "files", "path": f"{name}.csv", "format": "csv"},
        **document,
    }
    private = document["access"] == "private"
    datasets = Datasets(world.make_session)
    registered = datasets.register(
        officer,
        DatasetRequest(
            declared,
            {},
            population="some people" if private else None,
            version=VersionFacts(None, no_line_breaks_in_texts=True),
            new_people=True if private else None,
        ),
        keyed(officer, "datasets", name),
    )
    if registered.get("approval_id"):
        world.decide(UUID(registered["approval_id"]), "approve")
    if private:
        datasets.grant(officer, UUID(registered["id"]), world.project_id)
    return str(registered["id"])


def ages(world: World, **changes: Any) -> str:
    columns = [
        {"name": "name", "type": "string"},
        {"name": "age", "type": "int64", "bounds": {"low": "0", "high": "120"}},
    ]
    document = {
        "access": "private",
        "columns": columns,
        "unit_of_privacy": {**UNIT, "column": "name"},
        "relation": "add_remove",
        "nominal_size": 1000,
        **changes,
    }
    return register(world, "ages", "name,age\na,30\nb,40\n", document)


def places(world: World) -> str:
    columns = [
        {"name": "code", "type": "string"},
        {"name": "side", "type": "string", "domain": ["n", "s"], "domain_source": "public"},
    ]
    rows = "code,side\nx,n\ny,s\n"
    return register(world, "places", rows, {"access": "public", "columns": columns})


def allocation(world: World, dataset_id: UUID) -> UUID:
    there = replace(world, dataset_id=dataset_id)
    return there.open_allocation(there.open_root(), "0.5")


def spec(joins: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    privacy = {"epsilon": "0.1", "delta": "0", "noise": "discrete_laplace"}
    return {"v": 1, "measures": [{"fn": "count"}], "joins": joins, "privacy": privacy, **changes}


def submit(world: World, inputs: tuple[InputRequest, ...], asked: dict[str, Any]) -> dict[str, Any]:
    request = JobRequest("query", inputs, asked, "a test")
    return world.admissions.submit(world.engineer, request, keyed(world.engineer, "jobs", asked))


def test_a_join_of_two_private_datasets_charges_both_the_same(world: World) -> None:
    second = ages(world)
    budgets = [allocation(world, world.dataset_id), allocation(world, UUID(second))]
    asked = spec(
        [{"dataset_id": second, "as": "of", "on": ["who", "name"]}],
        measures=[{"fn": "mean", "col": "of.age"}],
    )
    inputs = (
        InputRequest(world.dataset_id, 1, budgets[0]),
        InputRequest(UUID(second), 1, budgets[1]),
    )
    job = submit(world, inputs, asked)
    held = [world.budget(budget).reserved for budget in budgets]
    assert held[0] == held[1]
    assert held[0].maximum_atto > 0
    with snapshot(world.make_session) as session:
        work = resolve_work(session, UUID(job["id"]), world.home / "scratch")
    assert [source.dataset.name for source in work.inputs] == ["table", "ages"]
    prepared = QueryEngine().prepare(work)
    assert [join.shares_unit for join in prepared.plan.spec.joins] == [True]


def test_a_join_is_charged_to_a_plan_of_either_dataset_by_the_slot_that_some_input_names(
    world: World,
) -> None:
    second = ages(world)
    there = replace(world, dataset_id=UUID(second))
    first = allocation(world, world.dataset_id)
    asked = spec(
        [{"dataset_id": second, "as": "of", "on": ["who", "name"]}],
        measures=[{"fn": "mean", "col": "of.age"}],
    )
    root = there.open_root("rdp-mix/1", "8", "1e-5")
    plain = (
        InputRequest(world.dataset_id, 1, first),
        InputRequest(UUID(second), 1, root),
    )
    quoted = world.admissions.quote(world.engineer, QuoteRequest(plain, kind="query", spec=asked))
    slots = [
        {"name": f"part {index}", "mechanism": part["mechanism"], "count": part["max_units"]}
        for index, part in enumerate(quoted["parts"])
    ]
    plan = planned.open_plan(there, root, slots=parse_slots(slots))
    named = tuple(slot["name"] for slot in slots)
    assert len(named) > 1

    def inputs(*slots_named: tuple[str, ...]) -> tuple[InputRequest, ...]:
        here, other = slots_named
        return (
            InputRequest(world.dataset_id, 1, first, slots=here),
            InputRequest(UUID(second), 1, plan, slots=other),
        )

    for wrong in (inputs(named, named[::-1]), inputs((), ()), inputs((), named[::-1])):
        with pytest.raises(InvalidParameter) as refused:
            submit(world, wrong, asked)
        assert "slots" in refused.value.pointer
    submit(world, inputs((), named), asked)
    held = world.budget(plan).plan_units
    assert held is not None
    assert set(held.reserved.values()) == {1}
    assert world.budget(first).reserved.maximum_atto > 0
    # every slot is used up, so neither dataset is charged for a second one
    before = world.budget(first).reserved
    with pytest.raises(BudgetExceeded):
        submit(world, inputs(named, ()), asked)
    assert world.budget(first).reserved == before
    assert world.verified()


def test_a_public_table_is_joined_at_no_charge_of_its_own(world: World) -> None:
    public, budget = places(world), allocation(world, world.dataset_id)
    asked = spec(
        [{"dataset_id": public, "as": "to", "on": ["place", "code"]}],
        group_by=[{"col": "to.side", "keys": "domain"}],
    )
    job = submit(world, world.inputs(budget), asked)
    with snapshot(world.make_session) as session:
        work = resolve_work(session, UUID(job["id"]), world.home / "scratch")
    assert list(work.public) == [public]
    assert QueryEngine().prepare(work).plan.public_cells == 2


def test_private_rows_are_joined_only_where_their_budget_is_charged(world: World) -> None:
    second, budget = ages(world), allocation(world, world.dataset_id)
    join = {"dataset_id": second, "as": "of", "on": ["who", "name"]}
    for named in (second, second.upper(), f"{{{second}}}"):
        with pytest.raises(InvalidParameter) as refused:
            submit(world, world.inputs(budget), spec([{**join, "dataset_id": named}]))
        assert refused.value.pointer == "/spec/joins/0/dataset_id"
    other = allocation(world, UUID(second))
    both = (*world.inputs(budget), InputRequest(UUID(second), 1, other))
    with pytest.raises(InvalidParameter) as refused:
        submit(world, both, spec([]))
    assert refused.value.pointer == "/inputs"
    assert world.budget(budget).reserved.maximum_atto == 0
    assert world.budget(other).reserved.maximum_atto == 0
