"""What belongs to another project does not exist: every route, every role, every foreign thing.

The routes are read off the application itself, so a new one is in here without being added; where
it takes a thing that this file holds no foreign one of, it fails until there is one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from httpx import Response
from sqlalchemy import select

from app.api.auth import OPEN, PERMISSIONS
from app.api.examples import EXAMPLES
from app.db.models import Base
from app.db.session import snapshot
from app.main import create_app
from app.settings import Settings
from tests.api.test_auth import NOTHING, operations
from tests.api.test_leavers import services_of
from tests.api.test_sign_in import Browser, invited
from tests.api.world import World, dataset_body, open_root, reservation_body

# who may ask and yet may not know: those who oversee see every project, an admin reads no budget
SEES_BY_PROJECT = frozenset({"ml_engineer"})
# what an answer may differ in without telling anything
VARIES = frozenset({"date", "x-request-id", "content-length"})
# rows that say that somebody asked, or was there
ASKING = frozenset({"audit_events", "idempotency_keys", "browser_sessions", "notifications"})
SPEC = {
    "v": 1,
    "group_by": [],
    "measures": [{"fn": "count"}],
    "privacy": {"epsilon": "0.01", "delta": "0", "noise": "discrete_laplace"},
}


@dataclass
class Foreign:
    """A house of two projects. `stranger` is of the second; all of `things` is of the first.

    things: by the name of the path's parameter; own: a dataset and a budget of the stranger.
    """

    world: World
    things: dict[str, list[str]]
    own: tuple[str, str]
    words: list[str]


def routes_of(app: FastAPI) -> Iterator[APIRoute]:
    """Every route, those included that the description leaves out."""
    waiting: list[Any] = list(app.routes)
    while waiting:
        route = waiting.pop()
        if isinstance(route, APIRoute):
            yield route
        for inside in ("routes", "original_router", "router"):
            found = getattr(route, inside, None)
            waiting += found if isinstance(found, list) else getattr(found, "routes", [])


@pytest.fixture
def foreign(world: World) -> Foreign:
    others = world.made("/projects", {"name": "others"}, by="admin")["id"]
    world.made(f"/projects/{others}/members", {"principal_id": world.ids["stranger"]}, by="admin")
    dataset, root = registered(world, "theirs", world.ids["team"])
    own = registered(world, "mine", others)
    allocation = {
        "kind": "allocation",
        "parent_id": root,
        "name": "their allocation",
        "limit": {"epsilon": "0.5", "delta": "0"},
        "accountant": "pure/1",
        "holder": {"project_id": world.ids["team"]},
        "reason": "policy 12",
    }
    leaf = world.made("/budgets", allocation, by="compliance_officer")["id"]
    body = reservation_body(dataset, leaf, max_units=1)
    held = world.made("/reservations", body, by="ml_engineer")["id"]
    job = {"kind": "query", "inputs": body["inputs"], "spec": SPEC, "purpose": "their purpose"}
    made = world.made("/jobs", job, by="ml_engineer")
    more = {"action": "raise", "limit": {"epsilon": "2"}, "reason": "their reason"}
    budget = world.ask("GET", f"/budgets/{root}")
    asked = world.ask(
        "POST",
        f"/budgets/{root}/changes",
        more,
        headers={"If-Match": budget.headers["ETag"]},
    )
    assert asked.is_success, asked.text
    invited(world, "ml_engineer")
    things = {
        "dataset_id": [dataset],
        "budget_id": [root, leaf],
        "reservation_id": [held, made["reservation_id"]],
        "job_id": [made["id"]],
        "approval_id": [asked.json()["approval_id"]],
        "session_id": [Browser(world, "ml_engineer").id],
    }
    words = [each for ids in things.values() for each in ids]
    return Foreign(world, things, own, [*words, "theirs", "their ", world.ids["team"]])


def registered(world: World, name: str, project: str) -> tuple[str, str]:
    """A dataset that one project is granted, and its open root."""
    body = dataset_body(world.file(f"{name}.parquet"), name=name)
    made: str = world.made("/datasets", body, by="compliance_officer")["id"]
    grant = {"project_id": project}
    world.made(f"/datasets/{made}/grants", grant, by="compliance_officer")
    return made, open_root(world, made, name=f"{name} for life")


def said(answer: Response) -> tuple[int, dict[str, Any], dict[str, str]]:
    """All that an answer tells, but for the name of the exchange and of what was asked for."""
    document = {k: v for k, v in answer.json().items() if k not in ("instance", "id")}
    headers = {k.lower(): v for k, v in answer.headers.items() if k.lower() not in VARIES}
    return answer.status_code, document, headers


def state(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the house that is no trace of asking."""
    with snapshot(services_of(world).make_session) as session:
        return {
            name: sorted((tuple(row) for row in session.execute(select(table))), key=str)
            for name, table in Base.metadata.tables.items()
            if name not in ASKING
        }


def test_every_route_of_the_application_has_a_row_or_is_open_on_purpose() -> None:
    routes = [route.name for route in routes_of(create_app(Settings()))]
    assert len(routes) == len(set(routes))
    assert set(routes) == set(PERMISSIONS) | OPEN
    assert set(routes) == {operation for operation, _, _ in operations()}
    assert set(PERMISSIONS).isdisjoint(OPEN)


def test_every_route_that_an_engineer_may_ask_is_tried_with_a_foreign_thing(
    foreign: Foreign,
) -> None:
    """One answer to what is another project's and to what is nowhere, and nothing has moved."""
    world, tried = foreign.world, 0
    before = state(world)
    for operation, method, path in operations():
        if PERMISSIONS.get(operation, frozenset()).isdisjoint(SEES_BY_PROJECT) or "{" not in path:
            continue
        (name,) = (part[1:-1] for part in path.split("/") if part[1:-1].endswith("_id"))
        assert name in foreign.things, f"{operation}: no foreign {name} is at hand here"
        for thing in foreign.things[name]:
            nowhere = NOTHING.get(name, str(uuid4()))
            statuses = set()
            for body in EXAMPLES.get(operation, {"none": None}).values():
                answers = [
                    said(
                        world.ask(
                            method,
                            path.replace(f"{{{name}}}", given)
                            .replace("{name}", "model")
                            .removeprefix("/v1"),
                            body,
                            by="stranger",
                            headers={"If-Match": '"1"'},
                        )
                    )
                    for given in (thing, nowhere)
                ]
                assert answers[0] == answers[1], (operation, answers)
                statuses.add(answers[0][0])
            # a kind of change that no engineer makes is refused before anything is looked for
            assert statuses in ({404}, {403, 404}), (operation, statuses)
            tried += 1
    assert tried >= 20
    assert state(world) == before


def test_no_list_of_an_engineer_holds_a_word_of_another_project(foreign: Foreign) -> None:
    world, tried = foreign.world, 0
    for operation, method, path in operations():
        is_list = method == "GET" and "{" not in path
        if PERMISSIONS.get(operation, frozenset()).isdisjoint(SEES_BY_PROJECT) or not is_list:
            continue
        text = world.ask("GET", path.removeprefix("/v1"), by="stranger").text
        assert [word for word in foreign.words if word in text] == [], operation
        tried += 1
    assert tried >= 7


def test_no_filter_tells_whether_a_foreign_thing_is_there(foreign: Foreign) -> None:
    document = create_app(Settings()).openapi()
    tried = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", []):
                name = parameter["name"]
                if parameter["in"] != "query" or not name.endswith("_id"):
                    continue
                roles = PERMISSIONS.get(operation["operationId"], frozenset())
                if roles.isdisjoint(SEES_BY_PROJECT):
                    continue
                assert name in foreign.things, (path, name)
                answers = [
                    said(
                        foreign.world.ask(
                            method.upper(),
                            f"{path.removeprefix('/v1')}?{name}={given}",
                            by="stranger",
                        )
                    )
                    for given in (foreign.things[name][0], str(uuid4()))
                ]
                assert answers[0] == answers[1], (path, name)
                tried += 1
    assert tried >= 1


@pytest.mark.parametrize("route", ["/jobs", "/reservations", "/quotes"])
def test_no_request_for_room_tells_whether_what_it_names_is_there(
    foreign: Foreign, route: str
) -> None:
    """Foreign rows with one's own money, one's own rows with foreign money, and both foreign."""
    world, before = foreign.world, state(foreign.world)
    mine = foreign.own
    theirs = foreign.things["dataset_id"][0]
    for leaf in foreign.things["budget_id"]:
        for real in ((theirs, leaf), (theirs, mine[1]), (mine[0], leaf)):
            # each foreign id in turn is replaced by one that is nowhere
            nowhere = tuple(each if each in mine else str(uuid4()) for each in real)
            answers = [
                said(world.ask("POST", route, room(route, *pair), by="stranger"))
                for pair in (real, nowhere)
            ]
            assert answers[0] == answers[1], (route, real, answers)
            assert 400 <= answers[0][0] < 500
    assert state(world) == before
    assert world.ask("POST", route, room(route, *mine), by="stranger").is_success


def room(route: str, dataset: str, budget: str) -> dict[str, Any]:
    body = reservation_body(dataset, budget, max_units=1)
    if route == "/reservations":
        return body
    spec = {"kind": "query", "inputs": body["inputs"], "spec": SPEC}
    return spec if route == "/quotes" else {**spec, "purpose": "a count"}


def test_who_left_a_project_sees_no_more_of_it_than_a_stranger(foreign: Foreign) -> None:
    world = foreign.world
    path = f"/projects/{world.ids['team']}/members/{world.ids['ml_engineer']}"
    assert world.ask("DELETE", path, by="admin").is_success
    for name in ("dataset_id", "budget_id"):
        for thing in foreign.things[name]:
            asked = f"/{name.removesuffix('_id')}s/{thing}"
            assert world.ask("GET", asked, by="ml_engineer").status_code == 404, asked
    body = reservation_body(foreign.things["dataset_id"][0], foreign.things["budget_id"][0])
    assert world.ask("POST", "/reservations", body, by="ml_engineer").status_code == 404


def test_a_member_of_the_project_reads_its_work_and_moves_none_of_it(foreign: Foreign) -> None:
    """A colleague may read the jobs that his project paid for; only who asked may act on them."""
    world = foreign.world
    members = f"/projects/{world.ids['team']}/members"
    world.made(members, {"principal_id": world.ids["stranger"]}, by="admin")
    job = foreign.things["job_id"][0]
    assert world.ask("GET", f"/jobs/{job}", by="stranger").status_code == 200
    before = state(world)
    for operation, method, path in operations():
        if method != "POST" or not path.startswith(("/v1/reservations/{", "/v1/jobs/{")):
            continue
        name = "job_id" if "{job_id}" in path else "reservation_id"
        for thing in foreign.things[name]:
            asked = path.replace(f"{{{name}}}", thing).removeprefix("/v1")
            for body in EXAMPLES.get(operation, {"none": None}).values():
                answer = world.ask(method, asked, body, by="stranger")
                assert answer.status_code in (403, 404), (operation, answer.text)
    assert state(world) == before


def test_those_who_oversee_see_both_projects_and_an_admin_no_budget_of_any(
    foreign: Foreign,
) -> None:
    world = foreign.world
    roots = {foreign.things["budget_id"][0], foreign.own[1]}
    for role in ("compliance_officer", "auditor"):
        listed = world.ask("GET", "/budgets?limit=200", by=role).json()["items"]
        assert roots <= {each["id"] for each in listed}
    for operation, method, path in operations():
        if operation in OPEN or "{budget_id}" not in path:
            continue
        asked = path.replace("{budget_id}", foreign.own[1]).removeprefix("/v1")
        answer = world.ask(method, asked, {} if method == "POST" else None, by="admin")
        assert answer.status_code == 403, operation
        assert foreign.own[1] not in answer.json().get("detail", "")
