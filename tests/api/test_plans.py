"""Plans over HTTP: accepted at once, told while a worker composes, charged by slot (R10, R12)."""

from typing import Any
from uuid import UUID

import pytest

from app.services import plans
from tests.api.world import World, open_root, register, reservation_body

COUNTS = {"type": "discrete_laplace", "scale": "20", "sensitivity_l1": "1"}


def plan_body(parent: str, world: World, **changes: Any) -> dict[str, Any]:
    body = {
        "kind": "allocation",
        "parent_id": parent,
        "name": "a season of releases",
        "limit": {"epsilon": "1", "delta": "1e-6"},
        "accountant": "plan-pld/1",
        "slots": [{"name": "nightly", "mechanism": COUNTS, "count": 3}],
        "holder": {"project_id": world.ids["team"]},
        "reason": "policy 12",
    }
    return {**body, **changes}


def slot_body(dataset: str, leaf: str, units: int, **changes: Any) -> dict[str, Any]:
    body = reservation_body(dataset, leaf, mechanism=COUNTS, max_units=units, slot="nightly")
    return {**body, **changes}


def compose(world: World, budget_id: str) -> None:
    services = world.client.app.state.services  # type: ignore[attr-defined]
    plans.compose(services.make_session, UUID(budget_id))


def test_a_plan_is_proposed_composed_used_up_and_stated(world: World) -> None:
    dataset = register(world)
    root = open_root(world, dataset)
    made = world.ask("POST", "/budgets", plan_body(root, world), by="compliance_officer")
    assert (made.status_code, made.json()["state"]) == (202, "proposed"), made.text
    plan_id = made.json()["id"]
    shown = world.ask("GET", f"/budgets/{plan_id}").json()
    assert (shown["state"], shown["plan"]["state"]) == ("proposed", "composing")
    early = world.ask("POST", "/reservations", slot_body(dataset, plan_id, 1))
    assert (early.status_code, early.json()["code"]) == (409, "scope-closed")

    compose(world, plan_id)
    shown = world.ask("GET", f"/budgets/{plan_id}").json()
    assert (shown["state"], shown["plan"]["state"]) == ("open", "frozen")
    assert shown["consumed"] is None
    held = world.ask("POST", "/reservations", slot_body(dataset, plan_id, 2))
    assert held.status_code == 201, held.text
    full = world.ask("POST", "/reservations", slot_body(dataset, plan_id, 2))
    problem = full.json()
    assert (full.status_code, problem["code"]) == (409, "budget-exceeded")
    assert problem["left"] == {"slots": {"nightly": 1}}
    assert problem["detail"].startswith("There is room for 1 of the 2 units asked")
    # a plan is never raised, so nobody is sent to ask for it
    assert "ask_for_more" not in problem
    quoted = world.ask("POST", "/quotes", slot_for_quote(dataset, plan_id)).json()
    assert [each["remaining"] for each in quoted["charges"]].count(None) == 1
    listed = world.ask("GET", "/budgets", by="auditor").json()["items"]
    assert [each["plan"]["slots"][0]["left"] for each in listed if each["plan"]] == [1]
    stated = world.ask("GET", f"/budgets/{plan_id}/statement", by="auditor").json()
    assert stated["proven_bound"] is None
    assert (
        stated["if_fixed_in_advance"]["epsilon"]
        == (shown["plan"]["if_fixed_in_advance"]["epsilon"])
    )
    assert world.ask("GET", f"/budgets/{plan_id}/timeline", by="auditor").json()["points"] == []
    raised = world.ask(
        "POST",
        f"/budgets/{plan_id}/changes",
        {"action": "raise", "limit": {"epsilon": "2"}, "reason": "more"},
        by="compliance_officer",
        headers={"If-Match": world.ask("GET", f"/budgets/{plan_id}").headers["ETag"]},
    )
    assert (raised.status_code, raised.json()["code"]) == (422, "invalid-parameter")
    assert world.ask("GET", "/ledger/verification", by="auditor").json()["verified"]


def slot_for_quote(dataset: str, leaf: str) -> dict[str, Any]:
    body = slot_body(dataset, leaf, 1)
    return {key: body[key] for key in ("inputs", "mechanism", "max_units", "slot")}


def test_a_refused_plan_shows_its_refusal_to_who_may_read_it(on_sqlite: World) -> None:
    world = on_sqlite
    root = open_root(world, register(world))
    body = plan_body(root, world, limit={"epsilon": "0.01", "delta": "1e-6"})
    plan_id = world.made("/budgets", body, by="compliance_officer")["id"]
    compose(world, plan_id)
    shown = world.ask("GET", f"/budgets/{plan_id}").json()
    assert (shown["state"], shown["plan"]["state"]) == ("closed", "refused")
    assert shown["plan"]["refusal"]["code"] == "invalid-parameter"
    assert "above the limit" in shown["plan"]["refusal"]["facts"]["reason"]
    answer = world.ask("GET", f"/budgets/{plan_id}/statement", by="auditor")
    assert (answer.status_code, answer.json()["code"]) == (409, "scope-closed")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"slots": None}, "/slots"),
        ({"slots": []}, "/slots"),
        ({"accountant": "pure/1", "limit": {"epsilon": "1", "delta": "0"}}, "/slots"),
        ({"slots": [{"name": "a", "mechanism": COUNTS, "count": 0}]}, "/slots/0/count"),
        ({"slots": [{"name": "a", "mechanism": COUNTS, "count": True}]}, "/slots/0/count"),
        ({"slots": [{"name": "a\n", "mechanism": COUNTS, "count": 1}]}, "/slots/0/name"),
        (
            {"slots": [{"name": "a", "mechanism": {"type": "pure", "epsilon": "NaN"}, "count": 1}]},
            "/slots/0/mechanism/epsilon",
        ),
        ({"slots": [{"name": "a", "mechanism": COUNTS, "count": 1, "x": 1}]}, "/slots/0/x"),
        ({"milestones": ["0.5"]}, "/milestones"),
    ],
)
def test_a_malformed_plan_is_refused_where_it_is_wrong(
    on_sqlite: World, changes: dict[str, Any], pointer: str
) -> None:
    root = open_root(on_sqlite, register(on_sqlite))
    body = plan_body(root, on_sqlite, **changes)
    answer = on_sqlite.ask("POST", "/budgets", body, by="compliance_officer")
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"slot": None}, "/parts/0/slot"),
        ({"slot": ""}, "/slot"),
        ({"slot": "weekly"}, "/parts/0/slot"),
        ({"unit": "household"}, "/unit"),
        ({"mechanism": {**COUNTS, "scale": "21"}}, "/parts/0/slot"),
        ({"parts": [{"mechanism": COUNTS, "max_units": 1}]}, "/parts"),
        (
            {
                "parts": [{"mechanism": COUNTS, "max_units": 1}],
                "mechanism": None,
                "max_units": None,
            },
            "/slot",
        ),
    ],
    ids=["none", "empty", "unknown", "unit", "other mechanism", "both forms", "beside parts"],
)
def test_a_request_that_is_not_exactly_a_slot_is_refused_where_it_is_wrong(
    on_sqlite: World, changes: dict[str, Any], pointer: str
) -> None:
    world = on_sqlite
    dataset = register(world)
    plan_id = world.made(
        "/budgets", plan_body(open_root(world, dataset), world), by="compliance_officer"
    )["id"]
    compose(world, plan_id)
    answer = world.ask("POST", "/reservations", slot_body(dataset, plan_id, 1, **changes))
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer
