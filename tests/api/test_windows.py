"""Windows and timelines over HTTP: two people open one, everybody sees what is left of it."""

from typing import Any

import pytest

from tests.api.world import World, open_root, register, reservation_body


def window_body(parent: str, **changes: Any) -> dict[str, Any]:
    body = {
        "kind": "window",
        "parent_id": parent,
        "name": "monthly",
        "limit": {"epsilon": "0.05", "delta": "0"},
        "accountant": "pure/1",
        "window": {"period": "month", "time_zone": "Asia/Kolkata", "first_day": "2026-01-01"},
        "refresh_when": "always",
        "reason": "a pace",
    }
    return {**body, **changes}


def open_window(world: World, parent: str) -> str:
    proposed = world.ask("POST", "/budgets", window_body(parent), by="compliance_officer")
    assert proposed.status_code == 202, proposed.text
    decision = {
        "decision": "approve",
        "change_sha256": proposed.json()["change_sha256"],
        "reason": "read",
    }
    path = f"/approvals/{proposed.json()['approval_id']}/decision"
    headers = {"If-Match": '"1"'}
    own = world.ask("POST", path, decision, by="compliance_officer", headers=headers)
    assert own.json()["code"] == "own-change"
    decided = world.ask("POST", path, decision, by="second_officer", headers=headers)
    assert decided.status_code == 200, decided.text
    return str(proposed.json()["id"])


def test_a_window_refuses_by_its_name_and_says_when_it_opens_again(world: World) -> None:
    dataset = register(world)
    root = open_root(world, dataset)
    window = open_window(world, root)
    held = world.ask("POST", "/reservations", reservation_body(dataset, root, max_units=5))
    assert held.status_code == 201, held.text
    refused = world.ask("POST", "/reservations", reservation_body(dataset, root, max_units=1))
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (409, "budget-exceeded")
    assert problem["scope"]["kind"] == "window"
    assert problem["scope"]["budget_id"] == window
    assert problem["scope"]["opens_again_at"].endswith("+05:30")
    assert problem["ask_for_more"] == f"/v1/budgets/{window}/changes"
    version = world.ask("GET", f"/budgets/{window}").headers["ETag"]
    asked = {"action": "raise", "limit": {"epsilon": "0.06"}, "reason": "one more survey"}
    more = world.ask(
        "POST", problem["ask_for_more"].removeprefix("/v1"), asked, headers={"If-Match": version}
    )
    assert (more.status_code, more.json()["state"]) == (202, "pending"), more.text
    shown = world.ask("GET", f"/budgets/{window}").json()
    assert shown["period"] is not None
    assert shown["remaining"]["epsilon"] == "0"
    assert world.ask("GET", f"/budgets/{root}").json()["consumed"]["epsilon"] == "0.05"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"window": None}, "/window"),
        ({"refresh_when": None}, "/refresh_when"),
        ({"refresh_when": "rolling"}, "/refresh_when"),
        (
            {"window": {"period": "month", "time_zone": "Moon/Sea", "first_day": "2026-01-01"}},
            "/window/time_zone",
        ),
        (
            {"window": {"period": "month", "time_zone": "UTC", "first_day": "2026-02-30"}},
            "/window/first_day",
        ),
        ({"kind": "allocation"}, "/window"),
        ({"holder": {"project_id": "00000000-0000-0000-0000-000000000001"}}, "/holder"),
    ],
)
def test_a_window_that_is_none_is_refused_with_its_pointer(
    world: World, changes: dict[str, Any], pointer: str
) -> None:
    root = open_root(world, register(world))
    answer = world.ask("POST", "/budgets", window_body(root, **changes), by="compliance_officer")
    assert answer.status_code == 422, answer.text
    assert pointer in answer.text


def test_a_timeline_ends_at_what_is_committed_and_promises_nothing(world: World) -> None:
    dataset = register(world)
    root = open_root(world, dataset)
    made = world.made("/reservations", reservation_body(dataset, root), by="ml_engineer")
    world.made(f"/reservations/{made['id']}/commit", {"fence": made["fence"]}, by="ml_engineer")
    shown = world.ask("GET", f"/budgets/{root}/timeline", by="auditor").json()
    assert [point["consumed"] for point in shown["points"]] == ["0.1"]
    assert "not a promise" in shown["forecast"]["basis"]
    assert world.ask("GET", f"/budgets/{root}/timeline", by="stranger").status_code == 404
