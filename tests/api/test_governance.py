"""Changes, approvals, earlier spend and the inbox over HTTP, as people use them."""

from typing import Any

from httpx import Response

from tests.api.world import World, dataset_body, open_root, register, reservation_body

EVIDENCE = "a" * 64


def change(
    world: World, budget: str, body: dict[str, Any], *, by: str = "compliance_officer"
) -> Response:
    read = world.ask("GET", f"/budgets/{budget}", by="auditor")
    headers = {"If-Match": read.headers["ETag"]}
    sent = {"reason": "policy 12", **body}
    return world.ask("POST", f"/budgets/{budget}/changes", sent, by=by, headers=headers)


def decide(
    world: World, approval_id: str, decision: str = "approve", *, by: str = "second_officer"
) -> Response:
    read = world.ask("GET", f"/approvals/{approval_id}", by=by)
    return world.ask(
        "POST",
        f"/approvals/{approval_id}/decision",
        {
            "decision": decision,
            "change_sha256": read.json()["change_sha256"],
            "reason": "DPIA 44 updated",
        },
        by=by,
        headers={"If-Match": read.headers["ETag"]},
    )


def test_a_raise_answers_202_with_its_effect_and_takes_effect_at_the_second_person_s_word(
    world: World,
) -> None:
    budget = open_root(world, register(world))
    asked = change(world, budget, {"action": "raise", "limit": {"epsilon": "2"}})
    assert asked.status_code == 202, asked.text
    document = asked.json()
    assert document["state"] == "pending"
    assert document["effect"] == {"lifetime": {"from": "1", "to": "2"}, "windows": "unchanged"}
    assert asked.headers["Location"] == f"/v1/approvals/{document['approval_id']}"
    own = decide(world, document["approval_id"], by="compliance_officer")
    assert (own.status_code, own.json()["code"]) == (403, "own-change")
    decided = decide(world, document["approval_id"])
    assert decided.json()["budget_version"] == document["budget_version"] + 1
    assert world.ask("GET", f"/budgets/{budget}").json()["limit"]["epsilon"] == "2"
    said = world.ask("GET", f"/budgets/{budget}/statement", by="auditor").json()
    assert any("limit raised on" in line and "from 1 to 2" in line for line in said["text"])
    again = decide(world, document["approval_id"], "reject")
    assert again.json()["code"] == "approval-not-pending"


def test_an_officer_s_other_key_decides_no_change_of_his(world: World) -> None:
    budget = open_root(world, register(world))
    asked = change(world, budget, {"action": "raise", "limit": {"epsilon": "2"}}).json()
    made = world.made("/api-keys", {"principal_id": world.ids["compliance_officer"]}, by="admin")
    other = decide(world, asked["approval_id"], by=made["key"])
    assert (other.status_code, other.json()["code"]) == (403, "own-change")


def test_a_freeze_and_a_lower_answer_200_and_are_done(world: World) -> None:
    dataset = register(world)
    budget = open_root(world, dataset)
    world.made("/reservations", reservation_body(dataset, budget), by="ml_engineer")
    low = change(world, budget, {"action": "lower", "limit": {"epsilon": "0.05"}})
    assert (low.status_code, low.json()["type"]) == (409, "/problems/limit-below-balance")
    assert low.json()["least"] == "0.1"
    done = change(world, budget, {"action": "lower", "limit": {"epsilon": "0.1"}})
    assert (done.status_code, done.json()["state"]) == (200, "done")
    frozen = change(world, budget, {"action": "freeze"})
    assert frozen.json()["effect"]["lifetime"] == {"from": "open", "to": "frozen"}
    refused = world.ask("POST", "/reservations", reservation_body(dataset, budget, max_units=1))
    assert refused.json()["code"] == "scope-closed"
    assert world.ask("GET", "/ledger/verification", by="auditor").json()["verified"]


def test_an_engineer_asks_for_more_and_sees_only_what_he_asked_for(world: World) -> None:
    budget = open_root(world, register(world))
    asked = change(world, budget, {"action": "raise", "limit": {"epsilon": "2"}}, by="ml_engineer")
    assert asked.status_code == 202
    approval = asked.json()["approval_id"]
    mine = world.ask("GET", "/approvals").json()["items"]
    assert [item["id"] for item in mine] == [approval]
    assert len(world.ask("GET", "/approvals", by="auditor").json()["items"]) == 2
    assert world.ask("GET", f"/approvals/{approval}", by="stranger").status_code == 404
    assert world.ask("GET", "/approvals", by="stranger").json()["items"] == []
    denied = change(world, budget, {"action": "freeze"}, by="ml_engineer")
    assert (denied.status_code, denied.json()["code"]) == (403, "not-allowed")
    hidden = change(world, budget, {"action": "raise", "limit": {"epsilon": "2"}}, by="stranger")
    assert hidden.status_code == 404
    assert decide(world, approval).json()["state"] == "used"


def test_a_change_takes_exactly_the_fields_of_its_action(world: World) -> None:
    budget = open_root(world, register(world))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"action": "raise"}, "/limit"),
        ({"action": "raise", "limit": {}}, "/limit"),
        ({"action": "raise", "limit": {"epsilon": 2}}, "/limit/epsilon"),
        ({"action": "raise", "limit": {"epsilon": "NaN"}}, "/limit/epsilon"),
        ({"action": "raise", "limit": {"epsilon": "1"}}, "/limit/epsilon"),
        ({"action": "raise", "limit": {"delta": "1e-6"}}, "/limit/delta"),
        ({"action": "raise", "limit": {"epsilon": "2"}, "epsilon": "2"}, "/epsilon"),
        ({"action": "raise", "limit": {"epsilon": "2"}, "surprise": 1}, "/surprise"),
        (
            {
                "action": "raise",
                "limit": {"epsilon": "2"},
                "expires_at": "2020-01-01T00:00:00Z",
            },
            "/expires_at",
        ),
        ({"action": "freeze", "limit": {"epsilon": "2"}}, "/limit"),
        ({"action": "transfer", "epsilon": "1"}, "/to"),
        ({"action": "transfer", "epsilon": "0.5", "to": budget}, "/to"),
        ({"action": "limit_rate"}, "/rate_limits"),
        ({"action": "limit_rate", "rate_limits": {"jobs_per_hour": -1}}, "/rate_limits/jobs"),
        ({"action": "limit_rate", "rate_limits": {"jobs_per_hour": "5"}}, "/rate_limits/jobs"),
        ({"action": "forget"}, "/action"),
    ]
    before = world.ask("GET", f"/budgets/{budget}").json()
    for body, pointer in wrong:
        answer = change(world, budget, body)
        assert answer.status_code == 422, (body, answer.text)
        assert answer.json()["errors"][0]["pointer"].startswith(pointer), (body, answer.text)
    assert world.ask("GET", f"/budgets/{budget}").json() == before


def test_a_change_needs_a_key_and_the_version_that_was_read(world: World) -> None:
    budget = open_root(world, register(world))
    body = {"action": "freeze", "reason": "a doubt"}
    path = f"/budgets/{budget}/changes"
    missing = world.ask("POST", path, body, by="compliance_officer")
    assert missing.status_code == 428
    stale = world.ask("POST", path, body, by="compliance_officer", headers={"If-Match": '"77"'})
    assert stale.status_code == 412
    etag = world.ask("GET", f"/budgets/{budget}").headers["ETag"]
    answers = [
        world.ask("POST", path, body, by="compliance_officer", key="k", headers={"If-Match": etag})
        for _ in range(2)
    ]
    assert answers[0].status_code == 200
    assert answers[0].content == answers[1].content


def test_a_rate_limit_shows_on_its_budget(world: World) -> None:
    budget = open_root(world, register(world))
    limits = {"jobs_per_hour": 3, "units_per_day": 100}
    done = change(world, budget, {"action": "limit_rate", "rate_limits": limits})
    assert (done.status_code, done.json()["state"]) == (200, "done")
    assert world.ask("GET", f"/budgets/{budget}").json()["rate_limits"] == limits


def test_earlier_spend_is_charged_when_a_second_officer_agrees(world: World) -> None:
    budget = open_root(world, register(world))
    body = {"epsilon": "0.25", "evidence_sha256": EVIDENCE, "reason": "release of 2024"}
    path = f"/budgets/{budget}/opening-entries"
    headers = {"If-Match": world.ask("GET", f"/budgets/{budget}").headers["ETag"]}
    denied = world.ask("POST", path, body, by="ml_engineer", headers=headers)
    assert denied.status_code == 403
    asked = world.ask("POST", path, body, by="compliance_officer", headers=headers)
    assert asked.status_code == 202, asked.text
    assert asked.json()["effect"]["scopes"][0]["to"]["epsilon"] == "0.25"
    assert world.ask("GET", f"/budgets/{budget}").json()["consumed"]["epsilon"] == "0"
    assert decide(world, asked.json()["approval_id"]).json()["state"] == "used"
    assert world.ask("GET", f"/budgets/{budget}").json()["consumed"]["epsilon"] == "0.25"
    entries = world.ask("GET", f"/budgets/{budget}/entries").json()["items"]
    assert [entry["kind"] for entry in entries] == ["opened", "opening"]
    for wrong in (
        {**body, "evidence_sha256": "no digest"},
        {**body, "epsilon": 0.25},
        {**body, "epsilon": "-1"},
        {"evidence_sha256": EVIDENCE, "reason": "nothing"},
        {"evidence_sha256": EVIDENCE, "reason": "x", "mechanism": {"type": "pure"}, "units": 1},
    ):
        refused = world.ask("POST", path, wrong, by="compliance_officer", headers=headers)
        assert refused.status_code == 422, (wrong, refused.text)


def test_people_who_look_known_are_proposed_and_their_population_sums_both(world: World) -> None:
    open_root(world, register(world))
    body = {**dataset_body(world.file("copy.parquet")), "name": "copy"}
    proposed = world.ask("POST", "/datasets", body, by="compliance_officer")
    assert (proposed.status_code, proposed.json()["state"]) == (202, "proposed")
    shown = world.ask("GET", f"/approvals/{proposed.json()['approval_id']}", by="auditor").json()
    assert shown["budget_id"] is None
    assert shown["dataset_id"] == proposed.json()["id"]
    assert shown["change"]["looks_like"][0]["by"] == ["schema", "unit_column"]
    decided = decide(world, proposed.json()["approval_id"]).json()
    assert (decided["state"], decided["dataset_revision"]) == ("used", 2)
    open_root(world, proposed.json()["id"], epsilon="2")
    found = world.ask("GET", "/populations/passengers", by="auditor").json()
    assert [each["name"] for each in found["datasets"]] == ["trips", "copy"]
    assert found["sums"][0]["limit"] == {"epsilon": "3", "delta": "0"}
    assert world.ask("GET", "/populations/nobody", by="auditor").status_code == 404
    assert world.ask("GET", "/populations/passengers").status_code == 403


def test_rows_of_known_people_continue_their_dataset_s_ledger(world: World) -> None:
    dataset = register(world)
    body = {**dataset_body(world.file("newer.parquet")), "name": "newer", "continues": dataset}
    del body["new_people"]
    made = world.ask("POST", "/datasets", body, by="compliance_officer")
    assert made.status_code == 201, made.text
    assert (made.json()["id"], made.json()["version"]) == (dataset, 2)
    both = world.ask("POST", "/datasets", {**body, "new_people": True}, by="compliance_officer")
    assert both.json()["errors"][0]["pointer"] == "/new_people"
    listed = world.ask("GET", "/datasets", by="auditor").json()["items"]
    assert [each["name"] for each in listed] == ["trips"]


def test_the_inbox_comes_by_pages_and_is_marked_by_officers(world: World) -> None:
    for name in ("trips", "trains", "planes"):
        open_root(world, register(world, name=name))
    first = world.ask("GET", "/notifications?limit=2", by="compliance_officer").json()
    assert [line["kind"] for line in first["items"]] == ["approval"] * 2
    rest = world.ask("GET", f"/notifications?limit=2&cursor={first['next']}", by="auditor").json()
    assert len(rest["items"]) == 1
    line = first["items"][0]["id"]
    path = f"/notifications/{line}/read"
    assert world.ask("POST", path, by="auditor").status_code == 403
    marked = world.ask("POST", path, by="compliance_officer").json()
    assert marked["read_by"] == world.ids["compliance_officer"]
    assert world.ask("POST", path, by="second_officer").json() == marked
    unread = world.ask("GET", "/notifications?unread=true", by="auditor").json()["items"]
    assert line not in [each["id"] for each in unread]
    assert world.ask("POST", "/notifications/999/read", by="second_officer").status_code == 404
