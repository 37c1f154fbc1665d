"""What an approval would do is what it does once it is approved; names stand beside ids."""

from typing import Any

import pytest

from tests.api.world import World, budget_body, dataset_body, open_root, register, reservation_body

WINDOW = {
    "kind": "window",
    "name": "by month",
    "limit": {"epsilon": "0.5", "delta": "0"},
    "accountant": "pure/1",
    "window": {"period": "month", "time_zone": "UTC", "first_day": "2020-01-01"},
    "refresh_when": "always",
    "reason": "policy 12",
}


def asked(world: World, budget: str, action: str, **fields: Any) -> str:
    """A change that waits for the second officer."""
    tag = world.ask("GET", f"/budgets/{budget}", by="compliance_officer").headers["ETag"]
    path = f"/budgets/{budget}/" + ("changes" if action else "opening-entries")
    body = {"reason": "a policy", **({"action": action} if action else {}), **fields}
    made = world.ask("POST", path, body, by="compliance_officer", headers={"If-Match": tag})
    assert made.status_code == 202, made.text
    approval: str = made.json()["approval_id"]
    return approval


def effect(world: World, approval: str, by: str = "second_officer") -> dict[str, Any]:
    answer = world.ask("GET", f"/approvals/{approval}/effect", by=by)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def approve(world: World, approval: str) -> None:
    read = world.ask("GET", f"/approvals/{approval}", by="second_officer")
    said = {"decision": "approve", "change_sha256": read.json()["change_sha256"], "reason": "ok"}
    decided = world.ask(
        "POST",
        f"/approvals/{approval}/decision",
        said,
        by="second_officer",
        headers={"If-Match": read.headers["ETag"]},
    )
    assert decided.is_success, decided.text


def open_window(world: World, root: str) -> str:
    made = world.made("/budgets", {**WINDOW, "parent_id": root}, by="compliance_officer")
    approve(world, made["approval_id"])
    window: str = made["id"]
    return window


def figures(world: World, budget: str) -> dict[str, Any]:
    read = world.ask("GET", f"/budgets/{budget}", by="auditor").json()
    return {name: read[name] for name in ("state", "limit", "consumed", "remaining")}


def foretold(scope: dict[str, Any], when: str) -> dict[str, Any]:
    return {name: scope[when][name] for name in ("state", "limit", "consumed", "remaining")}


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("raise", {"limit": {"epsilon": "2"}}),
        ("", {"epsilon": "0.4", "evidence_sha256": "0" * 64}),
        ("", {"epsilon": "3", "evidence_sha256": "0" * 64}),
    ],
    ids=["a raise", "earlier spend that fits", "earlier spend that overruns"],
)
def test_what_is_foretold_is_what_an_approval_does(
    world: World, action: str, fields: dict[str, Any]
) -> None:
    dataset = register(world)
    root = open_root(world, dataset)
    window = open_window(world, root)
    world.made("/reservations", reservation_body(dataset, root), by="ml_engineer")
    approval = asked(world, root, action, **fields)
    told = effect(world, approval)
    assert (told["is_stale"], told["unit"], told["relation"]) == (False, "user", "add_remove")
    subject, below = told["scopes"]
    assert [(each["budget_id"], each["is_subject"]) for each in told["scopes"]] == [
        (root, True),
        (window, False),
    ]
    assert foretold(subject, "now") == figures(world, root)
    assert below["now"] == below["if_approved"]
    approve(world, approval)
    assert foretold(subject, "if_approved") == figures(world, root)
    assert foretold(below, "if_approved") == figures(world, window)
    after = effect(world, approval)
    assert [each["if_approved"] for each in after["scopes"]] == [None, None]


def test_a_raise_of_a_window_leaves_the_lifetime_beside_it(on_sqlite: World) -> None:
    world = on_sqlite
    root = open_root(world, register(world))
    window = open_window(world, root)
    approval = asked(world, window, "raise", limit={"epsilon": "0.8"})
    subject, lifetime = effect(world, approval)["scopes"]
    assert (subject["now"]["limit"]["epsilon"], lifetime["budget_id"]) == ("0.5", root)
    assert lifetime["now"] == lifetime["if_approved"]
    approve(world, approval)
    assert foretold(subject, "if_approved") == figures(world, window)


def test_a_root_that_is_not_open_yet_has_figures_only_if_it_is_approved(on_sqlite: World) -> None:
    world = on_sqlite
    proposed = world.made("/budgets", budget_body(register(world)), by="compliance_officer")
    (scope,) = effect(world, proposed["approval_id"])["scopes"]
    assert scope["now"] is None
    approve(world, proposed["approval_id"])
    assert foretold(scope, "if_approved") == figures(world, proposed["id"])


def test_a_change_whose_budget_has_moved_says_so_and_foretells_nothing(on_sqlite: World) -> None:
    world = on_sqlite
    root = open_root(world, register(world))
    approval = asked(world, root, "raise", limit={"epsilon": "2"})
    tag = world.ask("GET", f"/budgets/{root}", by="compliance_officer").headers["ETag"]
    frozen = world.ask(
        "POST",
        f"/budgets/{root}/changes",
        {"action": "freeze", "reason": "a doubt"},
        by="compliance_officer",
        headers={"If-Match": tag},
    )
    assert frozen.is_success
    told = effect(world, approval)
    assert told["is_stale"] is True
    assert told["scopes"][0]["if_approved"] is None
    assert told["scopes"][0]["now"]["state"] == "frozen"


def test_a_registration_touches_no_scope(on_sqlite: World) -> None:
    world = on_sqlite
    register(world)
    alike = {each: dataset_body("x")[each] for each in ("columns", "unit_of_privacy")}
    again = register(world, name="trips2", granted=False, **alike)
    waits = world.ask("GET", "/approvals?action=register", by="auditor").json()["items"]
    assert [(each["dataset_id"], each["dataset_name"]) for each in waits] == [(again, "trips2")]
    told = effect(world, waits[0]["id"])
    assert (told["scopes"], told["unit"], told["is_stale"]) == ([], "user", False)


def test_an_engineer_reads_the_effect_of_what_he_asked_for_and_of_nothing_else(
    on_sqlite: World,
) -> None:
    world = on_sqlite
    root = open_root(world, register(world))
    tag = world.ask("GET", f"/budgets/{root}").headers["ETag"]
    own = world.ask(
        "POST",
        f"/budgets/{root}/changes",
        {"action": "raise", "limit": {"epsilon": "2"}, "reason": "one more study"},
        headers={"If-Match": tag},
    ).json()["approval_id"]
    assert effect(world, own, by="ml_engineer")["scopes"][0]["is_subject"]
    assert world.ask("GET", f"/approvals/{own}/effect", by="stranger").status_code == 404


def test_an_approval_names_its_people_and_what_it_is_about(on_sqlite: World) -> None:
    world = on_sqlite
    proposed = world.made("/budgets", budget_body(register(world)), by="compliance_officer")
    path = f"/approvals/{proposed['approval_id']}"
    said = world.made(f"{path}/comments", {"text": "for whom?"}, by="second_officer")
    assert said["author_name"] == "second_officer"
    approve(world, proposed["approval_id"])
    listed = world.ask("GET", "/approvals", by="auditor").json()["items"]
    assert listed == [world.ask("GET", path, by="auditor").json()]
    named = ("requested_by_name", "decided_by_name", "on_behalf_of_name")
    assert [listed[0][name] for name in named] == ["compliance_officer", "second_officer", None]
    assert (listed[0]["budget_name"], listed[0]["dataset_name"]) == ("for life", "trips")
    (read,) = world.ask("GET", f"{path}/comments", by="auditor").json()["items"]
    assert read == said
