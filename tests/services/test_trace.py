"""A trace tells who spent a budget, in order, and its ways out are what the filter would say."""

import time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.domain.errors import NotFound
from app.services import policies
from app.services.trace import BEFORE, trace
from tests.divided import spend
from tests.patience import wait_until
from tests.planned import open_plan
from tests.reported import GAUSSIAN, settle
from tests.world import World

QUERY: dict[str, Any] = {
    "v": 1,
    "measures": [{"fn": "count"}],
    "privacy": {"epsilon": "0.1", "delta": "0", "noise": "discrete_laplace"},
}


@pytest.fixture
def root(world: World) -> UUID:
    return world.open_root("rdp-mix/1", "4", "1e-6")


def traced(
    world: World, budget_id: UUID, who: str = "officer", after: int = 0, limit: int = 50
) -> dict[str, Any]:
    return trace(world.make_session, world.people[who], budget_id, after, limit)


def outside(world: World, budget_id: UUID, units: int = 3) -> None:
    made = world.reserve(budget_id, GAUSSIAN, units)
    world.reservations.commit(world.engineer, UUID(made["id"]), 1, None)


def ways(found: dict[str, Any]) -> dict[str, Any]:
    return {each["way"]: each for each in found["ways_out"]}


def test_each_charge_stands_in_order_with_what_was_consumed_after_it(
    world: World, root: UUID
) -> None:
    settle(world, world.submit(root, QUERY)["id"])
    shown = [world.budgets.get(world.people["officer"], root)["committed"]]
    outside(world, root)
    shown.append(world.budgets.get(world.people["officer"], root)["committed"])
    held = world.reserve(root, GAUSSIAN, 2)
    found = traced(world, root)
    assert [each["consumed_after"] for each in found["items"]] == shown
    assert [each["kind"] for each in found["items"]] == ["query", "outside tool"]
    assert {each["person_name"] for each in found["items"]} == {"engineer"}
    assert found["items"][0]["purpose"] == "a test"
    assert [each["name"] for each in found["by_kind"]] == ["query", "outside tool"]
    assert [each["charges"] for each in found["by_person"]] == [2]
    assert found["by_person"][0]["alone"] == shown[1]
    assert len(found["by_month"]) == 1
    first = traced(world, root, limit=1)
    rest = traced(world, root, after=first["items"][0]["seq"])
    for one, two in zip([*first["items"], *rest["items"]], found["items"], strict=True):
        assert {**one, "if_fixed_in_advance": None} == {**two, "if_fixed_in_advance": None}
    assert ways(found)["let_reservations_end"]["is_open"]
    world.reservations.void(world.engineer, UUID(held["id"]), 1, "no private row was read")
    assert not ways(traced(world, root))["let_reservations_end"]["is_open"]


def test_a_limit_raised_as_the_trace_says_lets_one_more_like_the_last_pass(
    world: World,
) -> None:
    root = world.open_root("pure/1", "0.25")
    for _ in range(2):
        made = world.reserve(root, {"type": "pure", "epsilon": "0.1"}, 1)
        world.reservations.commit(world.engineer, UUID(made["id"]), 1, None)
    found = ways(traced(world, root))["ask_for_more"]
    assert found["figures"] == {"limit": "0.25", "limit_for_one_more_like_the_last": "0.3"}
    assert found["route"] == f"/v1/budgets/{root}/changes"
    assert "two people" in found["text"]


def test_questions_that_were_paid_for_twice_are_told_with_what_they_cost(
    world: World, root: UUID
) -> None:
    settle(world, world.submit(root, QUERY)["id"])
    assert not ways(traced(world, root))["merge_queries"]["is_open"]
    once = world.budgets.get(world.people["officer"], root)["committed"]["epsilon"]
    settle(world, world.submit(root, QUERY, reuse=False)["id"])
    merge = ways(traced(world, root))["merge_queries"]
    twice = world.budgets.get(world.people["officer"], root)["committed"]["epsilon"]
    assert merge["figures"]["repeats"] == 1
    assert merge["figures"]["consumed_without_repeats"] == once
    spared = Decimal(twice) - Decimal(once)
    assert Decimal(merge["figures"]["would_have_been_spared"]) == spared


def test_the_figure_fixed_in_advance_is_composed_beside_the_request_and_kept_apart(
    world: World, root: UUID
) -> None:
    for _ in range(2):
        outside(world, root)
    began = time.monotonic()
    first = traced(world, root)["items"][0]["if_fixed_in_advance"]
    assert first["state"] in ("composing, ask again", "known")
    assert time.monotonic() - began < 30
    wait_until(
        lambda: (
            all(
                each["if_fixed_in_advance"]["state"] == "known"
                for each in traced(world, root)["items"]
            )
            and "this_work_if_fixed_in_advance"
            in ways(traced(world, root))["frozen_plan"]["figures"]
        ),
        what="both figures are composed",
    )
    found = traced(world, root)
    for each in found["items"]:
        advance = each["if_fixed_in_advance"]
        assert advance["delta"] == "0.000001"
        assert 0 < Decimal(advance["epsilon"]) < Decimal(each["alone"]["epsilon"])
    whole = Decimal(ways(found)["frozen_plan"]["figures"]["this_work_if_fixed_in_advance"])
    assert whole < Decimal(found["consumed"]["epsilon"])


def test_who_may_not_read_the_budget_gets_none_and_who_may_not_read_jobs_no_names(
    world: World, root: UUID
) -> None:
    settle(world, world.submit(root, QUERY)["id"])
    with pytest.raises(NotFound):
        traced(world, root, who="outsider")
    own = traced(world, root, who="engineer")["items"][0]
    assert own["purpose"] == "a test"
    colleague = world.people["outsider"]
    world.people["outsider"] = type(colleague)(
        colleague.principal_id,
        "outsider",
        colleague.roles,
        "key",
        False,
        frozenset({world.project_id}),
    )
    other = traced(world, root, who="outsider")
    item = other["items"][0]
    hidden = (item["job"], item["person"], item["person_name"], item["purpose"])
    assert hidden == (None, None, None, None)
    assert [each["name"] for each in other["by_person"]] == ["others"]
    assert item["consumed_after"] == traced(world, root)["items"][0]["consumed_after"]


def test_blocks_are_traced_by_the_worst_one_and_wait_for_the_next(days: World) -> None:
    root = days.open_root("rdp-mix/1", "4", "1e-6")
    spend(days, root, 2, ((0, 2),))
    spend(days, root, 1, ((1, 1),))
    spend(days, root, 1, ((5, 5),))
    found = traced(days, root)
    after = [each["consumed_after"]["epsilon"] for each in found["items"]]
    assert after[0] < after[1] == after[2]
    committed = days.budgets.get(days.people["officer"], root)["committed"]
    assert found["items"][-1]["consumed_after"] == committed
    assert ways(found)["wait"]["is_open"]
    assert ways(found)["wait"]["figures"] == {"for_a_new_block": "4"}


def test_a_plan_and_an_empty_budget_have_no_figure_that_is_not_theirs(
    world: World, root: UUID
) -> None:
    empty = traced(world, root)
    assert (empty["items"], empty["forecast"]["exhausted_at"]) == ([], None)
    assert not ways(empty)["wait"]["is_open"]
    plan = open_plan(world, root)
    found = traced(world, plan)
    assert (found["consumed"], found["ways_out"], found["by_kind"]) == (None, [], [])
    assert policies.limit_json(policies.policy_of(world.budget(root)))["epsilon"] == "4"
    assert BEFORE not in {each["name"] for each in empty["by_kind"]}
