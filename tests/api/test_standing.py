"""What is remembered of a caller or a request decides nothing once it has changed (L5)."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from app.db.models import Standing
from app.db.session import snapshot, transaction
from app.services.admission import Admissions
from tests.api.world import TestClient, World, open_root, register, reservation_body


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each request for room: whether it went to the writer without a look at the database."""
    seen: list[bool] = []
    right = Admissions.at_once

    def noted(self: Admissions, *asked: Any) -> Any:
        answer = right(self, *asked)
        seen.append(answer is not None)
        return answer

    monkeypatch.setattr(Admissions, "at_once", noted)
    return seen


def changes(client: TestClient) -> int:
    make_session = client.app.state.services.make_session  # type: ignore[attr-defined]
    with snapshot(make_session) as session:
        return session.scalars(select(Standing.changes)).one()


def test_a_request_like_one_before_it_is_decided_at_once_and_answers_the_same(
    world: World, at_once: list[bool]
) -> None:
    dataset = register(world)
    body = reservation_body(dataset, open_root(world, dataset), max_units=1)
    first, second = (world.made("/reservations", body, by="ml_engineer") for _ in range(2))
    assert at_once == [False, True]
    varying = ("id", "lease_until")
    assert {k: v for k, v in first.items() if k not in varying} == {
        k: v for k, v in second.items() if k not in varying
    }
    budget = body["inputs"][0]["budget_id"]
    read = world.ask("GET", f"/budgets/{budget}", by="auditor").json()
    assert read["reserved"]["epsilon"] == "0.02"


def test_what_is_full_is_refused_in_the_same_words_however_it_is_asked(
    world: World, at_once: list[bool]
) -> None:
    dataset = register(world)
    body = reservation_body(dataset, open_root(world, dataset), max_units=60)
    world.made("/reservations", body, by="ml_engineer")
    at_once.clear()
    refusals = [world.ask("POST", "/reservations", body).json() for _ in range(2)]
    assert at_once == [True, True]
    words = [{k: v for k, v in each.items() if k != "instance"} for each in refusals]
    assert words[0] == words[1]
    assert words[0]["code"] == "budget-exceeded"
    assert words[0]["fits"]["max_units"] == 40


def ended_key(world: World, _dataset: str) -> int:
    listed = world.ask("GET", "/api-keys", by="admin").json()["items"]
    key_id = world.keys["ml_engineer"].split("_")[1]
    assert key_id in {each["id"] for each in listed}
    assert world.ask("POST", f"/api-keys/{key_id}/revoke", None, by="admin").is_success
    return 401


def withdrawn_grant(world: World, dataset: str) -> int:
    path = f"/datasets/{dataset}/grants/{world.ids['team']}"
    assert world.ask("DELETE", path, by="compliance_officer").is_success
    return 404


def removed_member(world: World, _dataset: str) -> int:
    path = f"/projects/{world.ids['team']}/members/{world.ids['ml_engineer']}"
    assert world.ask("DELETE", path, by="admin").is_success
    return 404


def retired_dataset(world: World, dataset: str) -> int:
    answer = world.ask("GET", f"/datasets/{dataset}", by="compliance_officer")
    retired = world.ask(
        "POST",
        f"/datasets/{dataset}/retire",
        {"reason": "the study is over"},
        by="compliance_officer",
        headers={"If-Match": answer.headers["ETag"]},
    )
    assert retired.is_success, retired.text
    return 409


def left_person(world: World, _dataset: str) -> int:
    path = f"/people/{world.ids['ml_engineer']}/deactivate"
    assert world.ask("POST", path, None, by="admin").is_success
    return 401


def changed_role(world: World, _dataset: str) -> int:
    path = f"/people/{world.ids['ml_engineer']}/roles"
    assert world.ask("PUT", path, {"roles": ["auditor"]}, by="admin").is_success
    return 403


ENDS = [ended_key, withdrawn_grant, removed_member, retired_dataset, left_person, changed_role]


@pytest.mark.parametrize("end", ENDS)
def test_a_right_that_has_ended_opens_nothing_more_in_any_process(
    world: World, at_once: list[bool], end: Callable[[World, str], int]
) -> None:
    dataset = register(world)
    body = reservation_body(dataset, open_root(world, dataset), max_units=1)
    for _ in range(2):
        world.made("/reservations", body, by="ml_engineer")
    assert at_once[-1]
    status = end(world, dataset)
    assert world.ask("POST", "/reservations", body).status_code == status


def test_a_key_that_ends_by_itself_is_remembered_no_longer_than_it_is_good(world: World) -> None:
    dataset = register(world)
    body = reservation_body(dataset, open_root(world, dataset), max_units=1)
    for _ in range(2):
        world.made("/reservations", body, by="ml_engineer")
    make_session = world.client.app.state.services.make_session  # type: ignore[attr-defined]
    services = world.client.app.state.services  # type: ignore[attr-defined]
    known = services.admissions.look_ups.caller(world.keys["ml_engineer"])
    assert known is not None
    with transaction(make_session) as session:
        session.execute(
            text("UPDATE api_keys SET expires_at = '2020-01-01 00:00:00+00:00' WHERE id = :id"),
            {"id": known.key_id},
        )
    assert world.ask("POST", "/reservations", body).status_code == 401


WATCHED = {
    "a role": "UPDATE principals SET active = active",
    "a key": "UPDATE api_keys SET revoked_at = revoked_at",
    "a membership": "DELETE FROM project_members",
    "a grant": "DELETE FROM dataset_grants",
    "a dataset": "UPDATE datasets SET state = state",
    "a budget's limit": "UPDATE budgets SET policy = policy WHERE kind = 'lifetime'",
    "a budget's state": "UPDATE budgets SET state = state WHERE kind = 'lifetime'",
}


@pytest.mark.parametrize("statement", WATCHED.values(), ids=WATCHED.keys())
def test_every_change_that_a_look_up_rests_on_is_counted_by_the_database(
    world: World, statement: str
) -> None:
    open_root(world, register(world))
    before = changes(world.client)
    make_session = world.client.app.state.services.make_session  # type: ignore[attr-defined]
    with transaction(make_session) as session:
        session.execute(text(statement))
    assert changes(world.client) > before


def test_a_charge_changes_nothing_that_a_look_up_rests_on(world: World) -> None:
    dataset = register(world)
    body = reservation_body(dataset, open_root(world, dataset), max_units=1)
    before = changes(world.client)
    made = world.made("/reservations", body, by="ml_engineer")
    void = {"fence": made["fence"], "statement": "no private row was read"}
    world.made(f"/reservations/{made['id']}/void", void, by="ml_engineer")
    assert changes(world.client) == before


def test_the_count_is_one_row_for_ever(world: World) -> None:
    make_session = world.client.app.state.services.make_session  # type: ignore[attr-defined]
    with pytest.raises(IntegrityError), transaction(make_session) as session:
        session.execute(text("INSERT INTO standing (id, changes) VALUES (2, 0)"))


def test_jobs_of_one_shape_share_no_salt(world: World, at_once: list[bool]) -> None:
    dataset = register(world)
    budget = open_root(world, dataset)
    spec = {
        "v": 1,
        "group_by": [],
        "measures": [{"fn": "count"}],
        "privacy": {"epsilon": "0.01", "delta": "0", "noise": "discrete_laplace"},
    }
    inputs = reservation_body(dataset, budget)["inputs"]
    # what an earlier release may answer is looked for each time
    asked = {"kind": "query", "inputs": inputs, "spec": spec, "purpose": "a count"}
    body = {**asked, "reuse": False}
    ids = [UUID(world.made("/jobs", body, by="ml_engineer")["id"]) for _ in range(3)]
    assert at_once == [False, True, True]
    make_session = world.client.app.state.services.make_session  # type: ignore[attr-defined]
    with snapshot(make_session) as session:
        salts = session.execute(text("SELECT DISTINCT salt FROM jobs")).all()
    assert len(salts) == len(ids)
