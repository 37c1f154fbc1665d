"""A filter gives exactly the rows it names; an order turned round is the list backwards."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.world import World, open_root, public_body, register, reservation_body


@pytest.fixture
def house(world: World) -> World:
    """Three datasets, two of them with a root, one root with an allocation; three jobs."""
    for name in ("apes", "bees"):
        world.ids[name] = register(world, name=name)
        world.ids[f"{name} root"] = open_root(world, world.ids[name])
    world.file("holidays.csv")
    world.ids["holidays"] = world.made(
        "/datasets", public_body("holidays.csv"), by="compliance_officer"
    )["id"]
    allocation = {
        "kind": "allocation",
        "parent_id": world.ids["apes root"],
        "name": "team",
        "limit": {"epsilon": "0.5", "delta": "0"},
        "accountant": "pure/1",
        "holder": {"project_id": world.ids["team"]},
        "reason": "policy 12",
    }
    world.ids["team budget"] = world.made("/budgets", allocation, by="compliance_officer")["id"]
    spec = {
        "v": 1,
        "measures": [{"fn": "count"}],
        "privacy": {"epsilon": "0.1", "delta": "0", "noise": "discrete_laplace"},
    }
    inputs = reservation_body(world.ids["apes"], world.ids["team budget"])["inputs"]
    for number in range(3):
        body = {"kind": "query", "inputs": inputs, "spec": spec, "purpose": f"n{number}"}
        world.ids[f"job {number}"] = world.made("/jobs", body, by="ml_engineer")["id"]
    world.made(f"/jobs/{world.ids['job 1']}/cancel", None, by="ml_engineer")
    return world


def found(
    world: World, path: str, query: str = "", by: str = "auditor", *, limit: int = 2
) -> list[Any]:
    """All items of a list, in pages of two."""
    return list(paged(world, path, query, by, limit))


def paged(world: World, path: str, query: str, by: str, limit: int = 2) -> Iterator[Any]:
    cursor = ""
    while True:
        answer = world.ask("GET", f"/{path}?limit={limit}&{query}{cursor}", by=by)
        assert answer.status_code == 200, answer.text
        yield from answer.json()["items"]
        if answer.json()["next"] is None:
            return
        cursor = f"&cursor={answer.json()['next']}"


@pytest.mark.parametrize(
    ("path", "field", "values"),
    [
        ("datasets", "access", ["private", "public"]),
        ("datasets", "state", ["proposed", "active", "retired"]),
        ("budgets", "kind", ["lifetime", "allocation", "window", "period"]),
        ("budgets", "state", ["proposed", "open", "frozen", "closed"]),
        ("jobs", "state", ["queued", "running", "settled", "cancelled", "failed"]),
        ("jobs", "kind", ["query", "train", "profile"]),
        ("approvals", "action", ["open", "raise"]),
        ("approvals", "state", ["pending", "approved", "rejected", "expired", "used"]),
    ],
)
def test_the_values_of_a_filter_share_the_list_out_without_overlap(
    house: World, path: str, field: str, values: list[str]
) -> None:
    everything = found(house, path)
    assert everything
    parts = [found(house, path, f"{field}={value}") for value in values]
    for value, part in zip(values, parts, strict=True):
        assert [each[field] for each in part] == [value] * len(part)
    assert sorted(each["id"] for part in parts for each in part) == sorted(
        each["id"] for each in everything if each[field] in values
    )
    assert any(parts)


@pytest.mark.parametrize("path", ["datasets", "budgets", "jobs", "approvals"])
def test_a_list_turned_round_is_the_same_list_backwards(house: World, path: str) -> None:
    oldest = [each["id"] for each in found(house, path, "order=oldest")]
    newest = [each["id"] for each in found(house, path, "order=newest")]
    assert oldest == newest[::-1]
    assert len(set(oldest)) == len(oldest) > 1


def test_a_chain_is_read_from_its_end_and_by_kind(house: World) -> None:
    path = f"budgets/{house.ids['team budget']}/entries"
    chain = found(house, path)
    assert [each["seq"] for each in chain] == list(range(1, len(chain) + 1))
    assert found(house, path, "order=newest") == chain[::-1]
    for kind in ("opened", "reserved", "voided", "posted"):
        assert found(house, path, f"kind={kind}") == [e for e in chain if e["kind"] == kind]
    assert len(found(house, path, "kind=reserved")) == 3


def test_the_trail_is_read_by_action_person_and_subject(house: World) -> None:
    events = found(house, "audit-events")
    action, actor = events[0]["action"], events[-1]["actor_id"]
    assert found(house, "audit-events", f"action={action}") == [
        each for each in events if each["action"] == action
    ]
    officer = house.ids["compliance_officer"]
    assert actor != officer
    assert found(house, "audit-events", f"actor_id={officer}") == [
        each for each in events if each["actor_id"] == officer
    ]
    subject = next(each["subject"] for each in events if each["subject"])
    assert found(house, "audit-events", f"subject={subject}") == [
        each for each in events if each["subject"] == subject
    ]


def test_a_filter_shows_no_more_than_the_list_without_it(house: World) -> None:
    for path, query in (
        ("jobs", "state=queued"),
        ("budgets", "state=open"),
        ("datasets", "access=private"),
        ("approvals", "state=used"),
    ):
        assert found(house, path, query, by="stranger") == [], path


@pytest.mark.parametrize(
    "query", ["state=secret", "order=random", "kind=", "state=open&state=closed&surprise=1"]
)
def test_a_filter_of_no_meaning_is_refused(house: World, query: str) -> None:
    assert house.ask("GET", f"/budgets?{query}", by="auditor").status_code == 422


def test_jobs_are_found_by_their_dataset_and_by_who_asked(house: World) -> None:
    apes, bees = house.ids["apes"], house.ids["bees"]
    assert len(found(house, "jobs", f"dataset_id={apes}")) == 3
    assert found(house, "jobs", f"dataset_id={bees}") == []
    # another id that stands in the inputs is no dataset's
    assert found(house, "jobs", f"dataset_id={house.ids['team budget']}") == []
    assert found(house, "jobs", "mine=true") == []
    mine = found(house, "jobs", "mine=true", by="ml_engineer")
    assert {each["requested_by"] for each in mine} == {house.ids["ml_engineer"]}
    assert {each["requested_by_name"] for each in mine} == {"ml_engineer"}
    assert len(mine) == 3


def test_the_charges_of_a_job_are_its_entries_in_each_scope(house: World) -> None:
    def charges(job: str, by: str = "ml_engineer") -> list[tuple[str, str, str]]:
        answer = house.ask("GET", f"/jobs/{house.ids[job]}/charges", by=by)
        assert answer.status_code == 200, answer.text
        return [
            (each["budget_id"], each["kind"], each["alone"]["epsilon"])
            for each in answer.json()["items"]
        ]

    root, leaf = house.ids["apes root"], house.ids["team budget"]
    assert charges("job 0") == [(root, "reserved", "0.1"), (leaf, "reserved", "0.1")]
    given_back = [(scope, kind) for scope, kind, _ in charges("job 1", "auditor")]
    assert given_back == [
        (scope, kind) for scope in (root, leaf) for kind in ("reserved", "voided")
    ]
    entries = house.ask("GET", f"/budgets/{leaf}/entries").json()["items"]
    items = house.ask("GET", f"/jobs/{house.ids['job 0']}/charges").json()["items"]
    assert {each["seq"] for each in items if each["budget_id"] == leaf} == {
        each["seq"] for each in entries if each["job"] == house.ids["job 0"]
    }


def test_each_job_of_the_list_says_its_newest_entry_where_it_is_charged(house: World) -> None:
    leaf = house.ids["team budget"]
    entries = {
        each["seq"]: each for each in house.ask("GET", f"/budgets/{leaf}/entries").json()["items"]
    }
    for job in found(house, "jobs"):
        charge = job["charge"]
        assert (charge["budget_id"], charge["budget_name"]) == (leaf, "team")
        entry = entries[charge["seq"]]
        assert (entry["job"], entry["kind"]) == (job["id"], charge["kind"])
        is_over = job["id"] == house.ids["job 1"]
        assert charge["kind"] == ("voided" if is_over else "reserved")
        assert charge["alone"]["epsilon"] == ("0" if is_over else "0.1")
        assert charge["at_delta"] == "0"
        assert house.ask("GET", f"/jobs/{job['id']}").json()["charge"] == charge
    member = f"/projects/{house.ids['team']}/members/{house.ids['ml_engineer']}"
    assert house.ask("DELETE", member, by="admin").is_success
    assert [each["charge"] for each in found(house, "jobs", by="ml_engineer")] == [None] * 3


def test_a_filter_that_stands_twice_is_refused_and_neither_is_taken(on_sqlite: World) -> None:
    for path in ("/jobs?state=failed&state=settled", "/budgets?limit=1&limit=1"):
        answer = on_sqlite.ask("GET", path)
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert (error["in"], error["reason"]) == ("query", "stands more than once")
