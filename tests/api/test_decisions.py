"""Emergencies, publications, comments, traces and delegations over HTTP, in one house."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.db.session import database_now, transaction
from app.services import settlement
from app.settings import Settings
from tests.api.conftest import app_over
from tests.api.test_governance import change, decide
from tests.api.test_leavers import services_of
from tests.api.world import (
    TestClient,
    World,
    budget_body,
    build,
    open_root,
    register,
    reservation_body,
)

QUERY = {
    "v": 1,
    "group_by": [],
    "measures": [{"fn": "count"}],
    "privacy": {"epsilon": "0.01", "delta": "0", "noise": "discrete_laplace"},
}
RELEASED = {"columns": [], "rows": [], "notes": ["nobody in particular"]}


@pytest.fixture(scope="module")
def house(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One house for all tests of this file: each registers rows of its own."""
    folder = tmp_path_factory.mktemp("house")
    shutil.copy(migrated_sqlite, folder / "ledger.sqlite3")
    (folder / "files").mkdir()
    url = f"sqlite:///{folder / 'ledger.sqlite3'}"
    with TestClient(app_over(Settings(database_url=url, home=folder / "home"))) as client:
        yield build(client, folder / "files")


def rooted(house: World, name: str) -> tuple[str, str]:
    """A dataset that `team` may use, and its open root."""
    dataset = register(house, name=name)
    return dataset, open_root(house, dataset)


def submitted(house: World, dataset: str, root: str) -> str:
    inputs = [{"dataset_id": dataset, "version": 1, "budget_id": root, "blocks": "all"}]
    body = {"kind": "query", "inputs": inputs, "spec": QUERY, "purpose": "a count"}
    job: str = house.made("/jobs", {**body, "reuse": False}, by="ml_engineer")["id"]
    return job


def settled(house: World, job: str) -> str:
    """As a worker leaves a job that went well."""
    make_session = services_of(house).make_session
    with transaction(make_session) as session:
        now = database_now(session)
        held = settlement.claim(session, UUID(job), owner="w", lease_s=60, now=now)
        assert held is not None
        settlement.start(session, held, 0, 1, now=now)
        settlement.post(session, held, document=RELEASED, artifacts=[], now=now)
    return job


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def without_key(house: World, path: str, body: Any) -> Any:
    """A POST by an officer that nothing could repeat."""
    given = {"Authorization": f"Bearer {house.keys['compliance_officer']}"}
    return house.client.post(f"/v1{path}", json=body, headers=given)


# --- publications


def test_a_published_result_is_read_by_whoever_it_is_for_and_the_chain_says_so(
    house: World,
) -> None:
    dataset, root = rooted(house, "published")
    job = settled(house, submitted(house, dataset, root))
    hidden = settled(house, submitted(house, dataset, root))
    mine = house.ask("GET", f"/jobs/{job}/result").json()
    assert house.ask("GET", f"/jobs/{job}/result", by="stranger").status_code == 404
    published = house.made(
        f"/jobs/{job}/publish", {"reason": "the study is done"}, by="compliance_officer"
    )
    assert (published["job_id"], published["project_ids"]) == (job, None)
    assert published["published_by"] == house.ids["compliance_officer"]
    assert house.ask("GET", f"/jobs/{job}/result", by="stranger").json() == mine
    for path in (f"/jobs/{job}", f"/jobs/{hidden}/result", f"/budgets/{root}"):
        assert house.ask("GET", path, by="stranger").status_code == 404, path
    entries = house.ask("GET", f"/budgets/{root}/entries", by="auditor").json()["items"]
    assert [each["kind"] for each in entries].count("published") == 1
    assert entries[-1]["kind"] == "published"
    said = house.ask("GET", f"/budgets/{root}/statement?audience=officer", by="auditor").json()
    assert "the lifetime budget is the only true figure" in str(said["text"])
    assert house.ask("GET", "/ledger/verification", by="auditor").json()["verified"]
    narrower = {"reason": "another", "project_ids": [house.ids["team"]]}
    answer = house.ask("POST", f"/jobs/{job}/publish", narrower, by="second_officer")
    assert code_of(answer) == (422, "invalid-parameter")


def test_what_is_published_to_a_project_is_for_its_members(house: World) -> None:
    dataset, root = rooted(house, "toproject")
    job = settled(house, submitted(house, dataset, root))
    others = house.made("/projects", {"name": "readers"}, by="admin")["id"]
    body = {"reason": "for the readers", "project_ids": [others]}
    assert house.made(f"/jobs/{job}/publish", body, by="compliance_officer")["project_ids"] == [
        others
    ]
    path = f"/jobs/{job}/result"
    assert house.ask("GET", path, by="stranger").status_code == 404
    member = {"principal_id": house.ids["stranger"]}
    house.made(f"/projects/{others}/members", member, by="admin")
    assert house.ask("GET", path, by="stranger").status_code == 200
    member_path = f"/projects/{others}/members/{house.ids['stranger']}"
    assert house.ask("DELETE", member_path, by="admin").is_success
    assert house.ask("GET", path, by="stranger").status_code == 404


def test_nothing_is_published_by_others_or_before_it_is_there(house: World) -> None:
    dataset, root = rooted(house, "queued")
    job = submitted(house, dataset, root)
    path, body = f"/jobs/{job}/publish", {"reason": "x"}
    assert code_of(house.ask("POST", path, body, by="compliance_officer")) == (
        409,
        "result-not-ready",
    )
    for role in ("ml_engineer", "auditor", "admin", "worker"):
        assert code_of(house.ask("POST", path, body, by=role)) == (403, "not-allowed")
    missing = house.ask("POST", f"/jobs/{uuid4()}/publish", body, by="compliance_officer")
    assert missing.status_code == 404
    assert without_key(house, path, body).status_code == 400
    settled(house, job)
    team = house.ids["team"]
    wrong: list[tuple[Any, str]] = [
        ({}, "/reason"),
        ({"reason": ""}, "/reason"),
        ({"reason": "x\x00"}, "/reason"),
        ({"reason": "x", "project_ids": []}, "/project_ids"),
        ({"reason": "x", "project_ids": [team, team]}, "/project_ids"),
        ({"reason": "x", "project_ids": "all"}, "/project_ids"),
        ({"reason": "x", "project_ids": ["nobody"]}, "/project_ids/0"),
        ({"reason": "x", "more": 1}, "/more"),
    ]
    for given, pointer in wrong:
        answer = house.ask("POST", path, given, by="compliance_officer")
        assert answer.status_code == 422, given
        assert answer.json()["errors"][0]["pointer"] == pointer, (given, answer.text)
    nobody = {"reason": "x", "project_ids": [str(uuid4())]}
    assert house.ask("POST", path, nobody, by="compliance_officer").status_code == 404
    assert house.ask("GET", f"/jobs/{job}/result", by="stranger").status_code == 404


def test_a_publication_is_repeated_by_its_key_and_no_other_takes_it(house: World) -> None:
    dataset, root = rooted(house, "keyed")
    job = settled(house, submitted(house, dataset, root))
    path = f"/jobs/{job}/publish"
    asked: dict[str, Any] = {"by": "compliance_officer", "key": "publish-once"}
    first = house.ask("POST", path, {"reason": "done"}, **asked)
    assert first.is_success
    assert house.ask("POST", path, {"reason": "done"}, **asked).json() == first.json()
    other = house.ask("POST", path, {"reason": "not done"}, **asked)
    assert code_of(other) == (422, "idempotency-key-reused")


# --- emergencies


def test_one_officer_stops_everything_and_only_two_let_it_go_on(house: World) -> None:
    dataset, root = rooted(house, "stopped")
    body = {"reason": "the source holds other people"}
    for role in ("ml_engineer", "auditor", "admin", "worker"):
        answer = house.ask("POST", "/ledger/break-glass", body, by=role)
        assert code_of(answer) == (403, "not-allowed")
    assert without_key(house, "/ledger/break-glass", body).status_code == 400
    for wrong in ({}, {"reason": ""}, {"reason": 7}, {**body, "budget_id": root}):
        answer = house.ask("POST", "/ledger/break-glass", wrong, by="compliance_officer")
        assert answer.status_code == 422, wrong
    assert house.ask("GET", f"/budgets/{root}").json()["state"] == "open"
    asked: dict[str, Any] = {"by": "compliance_officer", "key": "stop"}
    stopped = house.ask("POST", "/ledger/break-glass", body, **asked)
    assert root in stopped.json()["frozen_budget_ids"]
    assert house.ask("POST", "/ledger/break-glass", body, **asked).json() == stopped.json()
    assert house.ask("GET", f"/budgets/{root}").json()["state"] == "frozen"
    refused = house.ask("POST", "/reservations", reservation_body(dataset, root))
    assert code_of(refused) == (409, "scope-closed")
    assert body["reason"] not in refused.text
    for role in ("compliance_officer", "auditor"):
        found = house.ask("GET", "/ledger/exceptions", by=role).json()["items"]
        (mine,) = [each for each in found if each["budget_id"] == root]
        assert (mine["alarm_id"], mine["reason"], mine["by"]) == (
            stopped.json()["id"],
            body["reason"],
            house.ids["compliance_officer"],
        )
    for role in ("ml_engineer", "admin", "worker"):
        assert house.ask("GET", "/ledger/exceptions", by=role).status_code == 403
    thaw = change(house, root, {"action": "thaw"}).json()
    assert code_of(decide(house, thaw["approval_id"], by="compliance_officer")) == (
        403,
        "own-change",
    )
    assert decide(house, thaw["approval_id"]).json()["state"] == "used"
    found = house.ask("GET", "/ledger/exceptions", by="auditor").json()["items"]
    assert root not in [each["budget_id"] for each in found]
    assert house.ask("POST", "/reservations", reservation_body(dataset, root)).is_success


# --- comments


def test_comments_are_read_by_whoever_reads_the_approval_and_written_by_fewer(
    house: World,
) -> None:
    _, root = rooted(house, "talked")
    asked = change(house, root, {"action": "raise", "limit": {"epsilon": "2"}}, by="ml_engineer")
    path = f"/approvals/{asked.json()['approval_id']}/comments"
    said = {"text": "for which months is this meant?"}
    keyed: dict[str, Any] = {"by": "second_officer", "key": "question"}
    first = house.ask("POST", path, said, **keyed)
    assert first.status_code == 201
    assert first.json()["author_id"] == house.ids["second_officer"]
    assert house.ask("POST", path, said, **keyed).json() == first.json()
    changed = house.ask("POST", path, {"text": "for which years?"}, **keyed)
    assert code_of(changed) == (422, "idempotency-key-reused")
    answer = house.ask("POST", path, {"text": "for March"}, by="ml_engineer")
    assert answer.status_code == 201
    for role in ("ml_engineer", "compliance_officer", "auditor"):
        listed = house.ask("GET", path, by=role).json()["items"]
        assert [each["text"] for each in listed] == [said["text"], "for March"]
    for method, body in (("GET", None), ("POST", said)):
        assert house.ask(method, path, body, by="stranger").status_code == 404
        nowhere = f"/approvals/{uuid4()}/comments"
        assert house.ask(method, nowhere, body, by="compliance_officer").status_code == 404
        for role in ("admin", "worker"):
            assert house.ask(method, path, body, by=role).status_code == 403
    assert house.ask("POST", path, said, by="auditor").status_code == 403
    assert without_key(house, path, said).status_code == 400
    for wrong in ({}, {"text": ""}, {"text": "x" * 2001}, {"text": 7}, {"text": "a\x00b"}):
        answer = house.ask("POST", path, wrong, by="compliance_officer")
        assert answer.status_code == 422, wrong
    assert len(house.ask("GET", path, by="auditor").json()["items"]) == 2
    approval = house.ask("GET", path.removesuffix("/comments"), by="auditor").json()
    assert (approval["state"], approval["version"]) == ("pending", 1)


# --- traces


def test_a_trace_is_paged_and_shows_names_to_those_who_may_read_them(house: World) -> None:
    dataset, root = rooted(house, "traced")
    jobs = [settled(house, submitted(house, dataset, root)) for _ in range(3)]
    path = f"/budgets/{root}/trace"
    whole = house.ask("GET", path, by="auditor").json()
    assert [each["job"] for each in whole["items"]] == jobs
    shown = house.ask("GET", f"/budgets/{root}").json()
    assert whole["items"][-1]["consumed_after"] == shown["committed"]
    assert {each["person"] for each in whole["items"]} == {house.ids["ml_engineer"]}
    first = house.ask("GET", f"{path}?limit=2", by="auditor").json()
    rest = house.ask("GET", f"{path}?limit=2&cursor={first['next']}", by="auditor").json()
    assert [each["job"] for each in [*first["items"], *rest["items"]]] == jobs
    assert rest["next"] is None
    assert {each["way"] for each in whole["ways_out"]} >= {"wait", "ask_for_more"}
    assert house.ask("GET", path).json()["items"][0]["job"] == jobs[0]
    assert house.ask("GET", path, by="stranger").status_code == 404
    assert house.ask("GET", f"/budgets/{uuid4()}/trace", by="auditor").status_code == 404
    for role in ("admin", "worker"):
        assert house.ask("GET", path, by=role).status_code == 403
    for query in ("cursor=x", "limit=0", "limit=201"):
        assert house.ask("GET", f"{path}?{query}", by="auditor").status_code == 422, query


# --- delegations


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


def officer(house: World, name: str) -> str:
    """One more officer, with a key."""
    made = house.made("/people", {"name": name, "roles": ["compliance_officer"]}, by="admin")
    key = house.made("/api-keys", {"principal_id": made["id"]}, by="admin")
    house.ids[name], house.keys[name] = made["id"], key["key"]
    return name


def decided_for(house: World, approval: str, giver: str, *, by: str) -> Any:
    read = house.ask("GET", f"/approvals/{approval}", by=by)
    body = {
        "decision": "approve",
        "change_sha256": read.json()["change_sha256"],
        "reason": "as she would",
        "on_behalf_of": house.ids[giver],
    }
    given = {"If-Match": read.headers["ETag"]}
    return house.ask("POST", f"/approvals/{approval}/decision", body, by=by, headers=given)


def test_an_officer_decides_in_another_s_place_and_the_approval_names_both(house: World) -> None:
    giver = officer(house, "giver")
    body = {"delegate_id": house.ids["second_officer"], "ends_at": in_days(7), "reason": "leave"}
    dataset = register(house, name="delegated")
    proposed = house.made("/budgets", budget_body(dataset), by="compliance_officer")
    approval = proposed["approval_id"]
    early = decided_for(house, approval, giver, by="second_officer")
    assert code_of(early) == (403, "not-delegated")
    made = house.ask("POST", "/delegations", body, by=giver, key="hand-over")
    assert made.status_code == 201, made.text
    assert made.json()["is_in_force"]
    assert house.ask("POST", "/delegations", body, by=giver, key="hand-over").json() == made.json()
    own = decided_for(house, approval, "compliance_officer", by="second_officer")
    assert code_of(own) == (403, "own-change")
    himself = decided_for(house, approval, "second_officer", by="second_officer")
    assert code_of(himself) == (422, "invalid-parameter")
    asker = decided_for(house, approval, giver, by="compliance_officer")
    assert code_of(asker) == (403, "own-change")
    done = decided_for(house, approval, giver, by="second_officer")
    assert done.json()["state"] == "used", done.text
    shown = house.ask("GET", f"/approvals/{approval}", by="auditor").json()
    assert shown["decided_by"] == house.ids["second_officer"]
    assert shown["on_behalf_of"] == house.ids[giver]
    assert house.ask("GET", "/ledger/verification", by="auditor").json()["verified"]


def test_delegations_are_listed_in_pages_and_ended_by_either_of_the_two(house: World) -> None:
    giver, taker = officer(house, "leaves"), officer(house, "stays")
    body = {"delegate_id": house.ids[taker], "ends_at": in_days(3), "reason": "leave"}
    made = [house.made("/delegations", body, by=giver)["id"] for _ in range(3)]
    listed: list[str] = []
    cursor = ""
    while True:
        page = house.ask("GET", f"/delegations?limit=1{cursor}", by="auditor").json()
        listed += [each["id"] for each in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert [each for each in listed if each in made] == made
    for role in ("ml_engineer", "admin", "worker"):
        assert house.ask("GET", "/delegations", by=role).status_code == 403
        assert house.ask("POST", "/delegations", body, by=role).status_code == 403
        assert house.ask("POST", f"/delegations/{made[0]}/end", by=role).status_code == 403
    assert house.ask("POST", f"/delegations/{made[0]}/end", by="compliance_officer").json()[
        "code"
    ] == ("not-allowed")
    assert house.ask("POST", f"/delegations/{uuid4()}/end", by=giver).status_code == 404
    for who, each in zip((giver, taker), made, strict=False):
        ended = house.made(f"/delegations/{each}/end", None, by=who)
        assert (ended["ended_by"], ended["is_in_force"]) == (house.ids[who], False)
        assert house.made(f"/delegations/{each}/end", None, by=who) == ended
    # who leaves has nothing left in anybody's hands
    house.made(f"/people/{house.ids[giver]}/deactivate", None, by="admin")
    (left,) = [
        each
        for each in house.ask("GET", "/delegations?limit=200", by="auditor").json()["items"]
        if each["id"] == made[2]
    ]
    assert left["ended_by"] == house.ask("GET", "/me", by="admin").json()["id"]


def test_a_delegation_takes_an_officer_and_a_bounded_time(house: World) -> None:
    other = house.ids["second_officer"]
    right = {"delegate_id": other, "ends_at": in_days(7), "reason": "leave"}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"delegate_id": house.ids["compliance_officer"]}, "/delegate_id"),
        ({"delegate_id": house.ids["auditor"]}, "/delegate_id"),
        ({"delegate_id": str(uuid4())}, "/delegate_id"),
        ({"delegate_id": "somebody"}, "/delegate_id"),
        ({"ends_at": in_days(-1)}, "/ends_at"),
        ({"ends_at": in_days(91)}, "/ends_at"),
        ({"ends_at": "tomorrow"}, "/ends_at"),
        ({"starts_at": in_days(-1)}, "/starts_at"),
        ({"starts_at": in_days(400), "ends_at": in_days(410)}, "/starts_at"),
        ({"starts_at": in_days(8)}, "/ends_at"),
        ({"reason": ""}, "/reason"),
        ({"roles": ["admin"]}, "/roles"),
    ]
    before = house.ask("GET", "/delegations?limit=200", by="auditor").json()["items"]
    for changed, pointer in wrong:
        answer = house.ask("POST", "/delegations", {**right, **changed}, by="compliance_officer")
        assert answer.status_code == 422, (changed, answer.text)
        assert answer.json()["errors"][0]["pointer"] == pointer, (changed, answer.text)
    assert without_key(house, "/delegations", right).status_code == 400
    assert house.ask("GET", "/delegations?limit=200", by="auditor").json()["items"] == before
