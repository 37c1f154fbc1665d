"""Who leaves leaves nothing behind that acts: no key, no change that waits, no unseen work."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest

from app.api.auth import RIGHT_OF, TABLE
from app.domain.errors import NotAllowed, NotAuthenticated
from app.services.access import RIGHTS
from app.services.idempotency import Keyed
from app.services.placement import ReservationRequest
from app.services.pricing import InputRequest
from tests.api.test_auth import filled, operations
from tests.api.world import World, budget_body, fresh_key, open_root, register, reservation_body


def services_of(world: World) -> Any:
    return world.client.app.state.services  # type: ignore[attr-defined]


def events(world: World, prefix: str) -> list[dict[str, Any]]:
    """Audit events whose action begins so, oldest first."""
    listed = world.ask("GET", "/audit-events?limit=200", by="auditor").json()["items"]
    return [each for each in reversed(listed) if each["action"].startswith(prefix)]


def deactivated(world: World, name: str) -> dict[str, Any]:
    return world.made(f"/people/{world.ids[name]}/deactivate", None, by="admin")


def second_admin(world: World) -> str:
    person = world.made("/people", {"name": "other admin", "roles": ["admin"]}, by="admin")
    key: str = world.made("/api-keys", {"principal_id": person["id"]}, by="admin")["key"]
    world.ids["other_admin"], world.keys["other_admin"] = person["id"], key
    return key


def test_all_keys_of_a_leaver_are_refused_from_the_answer_on(world: World) -> None:
    body = {"principal_id": world.ids["ml_engineer"], "is_runner": True}
    runner = world.made("/api-keys", body, by="admin")
    left = deactivated(world, "ml_engineer")
    assert left["person"]["active"] is False
    assert set(left["revoked_key_ids"]) == {
        runner["id"],
        world.keys["ml_engineer"].split("_")[1],
    }
    for key in (runner["key"], "ml_engineer"):
        assert world.ask("GET", "/me", by=key).status_code == 401
        assert world.ask("POST", "/reservations", {}, by=key).status_code == 401
    listed = world.ask("GET", "/api-keys", by="admin").json()["items"]
    of_leaver = [each for each in listed if each["principal_id"] == world.ids["ml_engineer"]]
    assert [each["revoked_at"] is None for each in of_leaver] == [False, False]


def test_a_leaver_gets_no_new_key_and_his_old_ones_stay_dead_when_he_returns(world: World) -> None:
    deactivated(world, "ml_engineer")
    body = {"principal_id": world.ids["ml_engineer"]}
    assert world.ask("POST", "/api-keys", body, by="admin").status_code == 404
    back = world.made(f"/people/{world.ids['ml_engineer']}/activate", None, by="admin")
    assert (back["active"], back["deactivated_at"]) == (True, None)
    assert world.ask("GET", "/me").status_code == 401
    fresh = world.made("/api-keys", body, by="admin")["key"]
    assert world.ask("GET", "/me", by=fresh).status_code == 200


def test_changes_that_a_leaver_asked_for_fall_and_are_approved_by_nobody(world: World) -> None:
    dataset = register(world)
    proposed = world.made("/budgets", budget_body(dataset), by="compliance_officer")
    waiting = world.ask("GET", f"/approvals/{proposed['approval_id']}", by="second_officer")
    left = deactivated(world, "compliance_officer")
    assert left["expired_approval_ids"] == [proposed["approval_id"]]
    late = world.ask(
        "POST",
        f"/approvals/{proposed['approval_id']}/decision",
        {"decision": "approve", "change_sha256": waiting.json()["change_sha256"], "reason": "ok"},
        by="second_officer",
        headers={"If-Match": waiting.headers["ETag"]},
    )
    assert (late.status_code, late.json()["code"]) == (409, "approval-not-pending")
    fallen = world.ask("GET", f"/approvals/{proposed['approval_id']}", by="second_officer").json()
    assert fallen["state"] == "expired"
    assert fallen["decision_reason"] == "the person who asked has left"
    assert fallen["decided_by"] is None
    budget = world.ask("GET", f"/budgets/{proposed['id']}", by="second_officer").json()
    assert budget["state"] == "closed"


def test_a_change_that_somebody_else_asked_for_goes_on_waiting(world: World) -> None:
    proposed = world.made("/budgets", budget_body(register(world)), by="compliance_officer")
    assert deactivated(world, "second_officer")["expired_approval_ids"] == []
    waits = world.ask("GET", f"/approvals/{proposed['approval_id']}", by="compliance_officer")
    assert waits.json()["state"] == "pending"


def test_what_a_leaver_has_open_is_listed_in_the_answer_and_by_its_route(world: World) -> None:
    dataset = register(world)
    budget = open_root(world, dataset)
    body = reservation_body(dataset, budget, max_units=1)
    held = world.made("/reservations", body, by="ml_engineer")
    ended = world.made("/reservations", body, by="ml_engineer")
    void = {"fence": ended["fence"], "statement": "no private row was read"}
    world.made(f"/reservations/{ended['id']}/void", void, by="ml_engineer")
    spec = {
        "v": 1,
        "group_by": [],
        "measures": [{"fn": "count"}],
        "privacy": {"epsilon": "0.01", "delta": "0", "noise": "discrete_laplace"},
    }
    asked = {"kind": "query", "inputs": body["inputs"], "spec": spec, "purpose": "a count"}
    job = world.made("/jobs", asked, by="ml_engineer")

    work = deactivated(world, "ml_engineer")["work"]
    assert [each["id"] for each in work["jobs"]] == [job["id"]]
    assert work["jobs"][0]["state"] == "queued"
    assert [each["id"] for each in work["reservations"]] == [held["id"]]
    assert work["is_whole"] is True
    path = f"/people/{world.ids['ml_engineer']}/work"
    for role in ("admin", "compliance_officer", "auditor"):
        assert world.ask("GET", path, by=role).json() == work
    again = deactivated(world, "ml_engineer")
    assert (again["revoked_key_ids"], again["expired_approval_ids"]) == ([], [])
    assert again["work"] == work


def test_a_request_that_was_let_in_before_its_key_died_reserves_nothing(world: World) -> None:
    dataset = register(world)
    budget = open_root(world, dataset)
    services = services_of(world)
    caller = services.principals.authenticate(world.keys["ml_engineer"])
    deactivated(world, "ml_engineer")
    item = InputRequest(UUID(dataset), 1, UUID(budget), "all")
    request = ReservationRequest((item,), [part()], 900, "tumult 1.0")
    keyed = Keyed(caller.principal_id, "POST /v1/reservations", fresh_key(), "0" * 64)
    with pytest.raises(NotAuthenticated):
        services.admissions.reserve(caller, request, keyed)
    read = world.ask("GET", f"/budgets/{budget}", by="auditor").json()
    assert read["reserved"]["epsilon"] == "0"


def part() -> dict[str, Any]:
    return {"mechanism": {"type": "pure", "epsilon": "0.01"}, "max_units": 1}


@pytest.mark.parametrize("end", ["deactivate", "roles", "revoke"])
def test_two_admins_who_end_each_other_at_once_leave_one(world: World, end: str) -> None:
    second_admin(world)
    services = services_of(world)
    callers = [services.principals.authenticate(world.keys[n]) for n in ("admin", "other_admin")]
    start = Barrier(2)

    def go(index: int) -> bool:
        me, other = callers[index], callers[1 - index]
        start.wait()
        try:
            if end == "deactivate":
                services.leavers.deactivate(me, other.principal_id)
            elif end == "roles":
                services.principals.change_roles(me, other.principal_id, ["auditor"])
            else:
                services.api_keys.revoke(me, other.key_id)
        except NotAllowed:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(go, range(2))) == [False, True]
    answers = [world.ask("GET", "/people", by=n).status_code for n in ("admin", "other_admin")]
    assert sorted(answers) in ([200, 401], [200, 403])


def test_the_last_admin_can_neither_leave_nor_lose_the_role(world: World) -> None:
    me = world.ask("GET", "/me", by="admin").json()["id"]
    assert world.ask("POST", f"/people/{me}/deactivate", by="admin").status_code == 403
    roles = {"roles": ["auditor"]}
    assert world.ask("PUT", f"/people/{me}/roles", roles, by="admin").status_code == 403
    # a second admin whose key may not administer is nobody who could take over
    person = world.made("/people", {"name": "reader", "roles": ["admin"]}, by="admin")
    key = {"principal_id": person["id"], "rights": ["read"]}
    world.made("/api-keys", key, by="admin")
    assert world.ask("POST", f"/people/{me}/deactivate", by="admin").status_code == 403
    assert world.ask("GET", "/me", by="admin").status_code == 200


def test_nobody_changes_his_own_roles(world: World) -> None:
    second_admin(world)
    roles = {"roles": ["compliance_officer"]}
    path = f"/people/{world.ids['other_admin']}/roles"
    assert world.ask("PUT", path, roles, by="other_admin").status_code == 403
    assert world.ask("PUT", path, roles, by="admin").json()["roles"] == ["compliance_officer"]
    # with the same key, from the next request on
    assert world.ask("GET", "/me", by="other_admin").json()["roles"] == ["compliance_officer"]
    assert world.ask("GET", "/people", by="other_admin").status_code == 403


def test_changed_roles_are_alone_where_they_must_be_and_leave_a_row(world: World) -> None:
    path = f"/people/{world.ids['stranger']}/roles"
    both = world.ask("PUT", path, {"roles": ["auditor", "ml_engineer"]}, by="admin")
    assert (both.status_code, both.json()["errors"][0]["pointer"]) == (422, "/roles")
    two = {"roles": ["ml_engineer", "compliance_officer"]}
    for _ in range(2):  # the second one changes nothing
        assert world.ask("PUT", path, two, by="admin").is_success
    rows = events(world, "person.roles-changed")
    assert [row["subject"] for row in rows] == [world.ids["stranger"]]
    assert rows[0]["facts"] == {
        "before": ["ml_engineer"],
        "after": ["compliance_officer", "ml_engineer"],
    }
    missing = world.ask("PUT", f"/people/{world.ids['team']}/roles", two, by="admin")
    assert missing.status_code == 404


def test_leaving_and_every_key_that_dies_with_it_have_an_audit_row(world: World) -> None:
    deactivated(world, "ml_engineer")
    deactivated(world, "ml_engineer")
    key_id = world.keys["ml_engineer"].split("_")[1]
    me = world.ask("GET", "/me", by="admin").json()["id"]
    (left,) = events(world, "person.deactivated")
    assert (left["actor_id"], left["subject"]) == (me, world.ids["ml_engineer"])
    assert left["facts"] == {"keys": [key_id], "sessions": [], "approvals": []}
    (revoked,) = events(world, "api-key.revoked")
    assert (revoked["subject"], revoked["facts"]["principal_id"]) == (
        key_id,
        world.ids["ml_engineer"],
    )


def test_every_route_belongs_to_one_right() -> None:
    assert set(TABLE) == set(RIGHTS)
    assert len(RIGHT_OF) == sum(len(rows) for rows in TABLE.values())
    for operation, method, _ in operations():
        if method == "GET" and operation in RIGHT_OF:
            assert RIGHT_OF[operation] == "read", operation


@pytest.mark.parametrize("right", RIGHTS)
def test_a_key_kept_to_a_right_opens_no_route_of_another(on_sqlite: World, right: str) -> None:
    keys = {}
    for role in ("ml_engineer", "compliance_officer", "admin"):
        owner = on_sqlite.ids.get(role) or on_sqlite.ask("GET", "/me", by="admin").json()["id"]
        body = {"principal_id": owner, "rights": [right]}
        keys[role] = on_sqlite.made("/api-keys", body, by="admin")["key"]
    for operation, method, path in operations():
        if operation not in RIGHT_OF or RIGHT_OF[operation] == right:
            continue
        for role, key in keys.items():
            sent: dict[str, str] | None = {} if method == "POST" else None
            answer = on_sqlite.ask(method, filled(path), sent, by=key, headers={"If-Match": '"1"'})
            assert answer.status_code == 403, (operation, role, answer.text)


def test_a_right_gives_nothing_that_the_roles_of_the_owner_do_not(on_sqlite: World) -> None:
    body = {"principal_id": on_sqlite.ids["ml_engineer"], "rights": ["administer", "read"]}
    made = on_sqlite.made("/api-keys", body, by="admin")
    assert made["rights"] == ["administer", "read"]
    assert on_sqlite.ask("GET", "/people", by=made["key"]).status_code == 403
    assert on_sqlite.ask("GET", "/me", by=made["key"]).json()["rights"] == ["administer", "read"]
    assert on_sqlite.ask("GET", "/me").json()["rights"] is None
