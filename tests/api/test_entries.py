"""A chain is read as it is asked for: by kind, person, job, time, place or id, and as a table."""

import base64
import csv
import io
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.checkpoints import checkpoint_hash, heads_root, read_checkpoint, signed_bytes
from app.services import signing
from app.services.checkpoints import Checkpoints
from tests.api.test_lists import found
from tests.api.world import World, open_root, register, reservation_body


@pytest.fixture
def chain(world: World) -> str:
    return filled(world)


def filled(world: World) -> str:
    """A root with work of two engineers: some of it given up, some a job."""
    dataset = register(world)
    root = open_root(world, dataset, epsilon="10")
    member = {"principal_id": world.ids["stranger"]}
    world.made(f"/projects/{world.ids['team']}/members", member, by="admin")
    for by in ("ml_engineer", "stranger", "ml_engineer"):
        body = reservation_body(dataset, root, max_units=3)
        held = world.made("/reservations", body, by=by)["id"]
        world.ids[f"held by {by}"] = held
    left = {"fence": 1, "statement": "no private row was read"}
    world.made(f"/reservations/{held}/void", left, by="ml_engineer")
    spec = {
        "v": 1,
        "measures": [{"fn": "count"}],
        "privacy": {"epsilon": "0.1", "delta": "0", "noise": "discrete_laplace"},
    }
    job = {"kind": "query", "inputs": body["inputs"], "spec": spec, "purpose": "a count"}
    world.ids["job"] = world.made("/jobs", job, by="ml_engineer")["id"]
    return root


def seqs(world: World, root: str, query: str = "", by: str = "auditor") -> list[int]:
    return [each["seq"] for each in found(world, f"budgets/{root}/entries", query, by)]


def test_each_filter_gives_the_entries_that_it_names_and_no_other(world: World, chain: str) -> None:
    everything = found(world, f"budgets/{chain}/entries")
    assert [each["kind"] for each in everything] == [
        *("opened", "reserved", "reserved", "reserved", "voided", "reserved"),
    ]
    mine, hers = world.ids["ml_engineer"], world.ids["stranger"]
    assert seqs(world, chain, f"actor={hers}") == [3]
    assert seqs(world, chain, "actor=stranger") == [3]
    assert seqs(world, chain, f"actor={mine}&kind=reserved") == [2, 4, 6]
    assert seqs(world, chain, "actor=nobody") == []
    assert seqs(world, chain, f"job={world.ids['job']}") == [6]
    assert seqs(world, chain, f"job={hers}") == []
    assert seqs(world, chain, "from_seq=2&to_seq=4") == [2, 3, 4]
    assert seqs(world, chain, "from_seq=2&to_seq=4&order=newest") == [4, 3, 2]
    assert seqs(world, chain, "from_seq=7") == []


def test_times_take_their_first_moment_in_and_leave_their_last_one_out(
    world: World, chain: str
) -> None:
    everything = found(world, f"budgets/{chain}/entries")
    third = datetime.fromisoformat(everything[2]["at"])
    there = third.isoformat().replace("+00:00", "Z")
    later = (third + timedelta(microseconds=1)).isoformat().replace("+00:00", "Z")
    from_there = seqs(world, chain, f"since={there}")
    assert 3 in from_there
    assert from_there == [n for n in range(1, 7) if n in from_there and n >= from_there[0]]
    assert 3 not in seqs(world, chain, f"before={there}")
    assert 3 in seqs(world, chain, f"before={later}")
    assert sorted(seqs(world, chain, f"before={there}") + from_there) == [1, 2, 3, 4, 5, 6]
    for wrong in ("since=yesterday", "before=2027-01-01", "since=1800000000"):
        assert world.ask("GET", f"/budgets/{chain}/entries?{wrong}").status_code == 422


def test_a_search_finds_by_the_id_of_anything_named_and_by_how_a_hash_begins(
    world: World, chain: str
) -> None:
    everything = found(world, f"budgets/{chain}/entries")
    voided = everything[4]
    assert seqs(world, chain, f"search={voided['resolves']}") == [4, 5]
    assert seqs(world, chain, f"search={world.ids['held by stranger'].upper()}") == [3]
    assert seqs(world, chain, f"search={world.ids['job']}") == [6]
    assert seqs(world, chain, f"search={voided['hash'][:12]}") == [5]
    assert seqs(world, chain, "search=abcdefabcdef") == []
    for wrong in ("abc", "sweep", "%25%25%25%25%25%25", "x" * 201, "a%00bcdef"):
        answer = world.ask("GET", f"/budgets/{chain}/entries?search={wrong}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-parameter"), wrong


def test_names_are_told_to_those_who_oversee_and_to_oneself_alone(on_sqlite: World) -> None:
    world, chain = on_sqlite, filled(on_sqlite)

    def names(by: str) -> list[str | None]:
        return [each["actor_name"] for each in found(world, f"budgets/{chain}/entries", "", by)]

    assert set(names("auditor")) == {"second_officer", "ml_engineer", "stranger"}
    assert set(names("ml_engineer")) == {None, "ml_engineer"}
    # a name finds nothing for who may not know whose it is
    assert seqs(world, chain, "actor=stranger", by="ml_engineer") == []
    assert seqs(world, chain, "actor=ml_engineer", by="ml_engineer") == [2, 4, 5, 6]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_table_has_the_entries_of_the_list_in_its_order(world: World, chain: str) -> None:
    for query in ("", "kind=reserved", "order=newest&from_seq=2&to_seq=5"):
        require_same(world, chain, query)


def require_same(world: World, chain: str, query: str) -> None:
    listed = found(world, f"budgets/{chain}/entries", query)
    answer = world.ask("GET", f"/budgets/{chain}/entries/export?{query}", by="auditor")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/csv")
    assert f"entries-{chain}.csv" in answer.headers["content-disposition"]
    table = rows(answer.text)
    for row, entry in zip(table, listed, strict=True):
        assert {name: row[name] or None for name in ("at", "kind", "actor", "job", "resolves")} == {
            name: entry[name] for name in ("at", "kind", "actor", "job", "resolves")
        }
        assert (row["seq"], row["hash"], row["prev"]) == (
            str(entry["seq"]),
            entry["hash"],
            entry["prev"],
        )
        amount = {"epsilon": row["epsilon_alone"], "delta": row["delta"]}
        assert (amount, row["unit"]) == (entry["charge_alone"], "user")
        assert json.loads(row["parts"]) == entry["parts"]
        assert json.loads(row["facts"]) == json.loads(entry["body"])["facts"]


def test_no_field_of_the_table_is_a_formula(on_sqlite: World) -> None:
    world = on_sqlite
    person = world.made("/people", {"name": "=1+1", "roles": ["ml_engineer"]}, by="admin")
    key = world.made("/api-keys", {"principal_id": person["id"]}, by="admin")["key"]
    member = {"principal_id": person["id"]}
    world.made(f"/projects/{world.ids['team']}/members", member, by="admin")
    dataset = register(world)
    root = open_root(world, dataset)
    world.made("/reservations", reservation_body(dataset, root), by=key)
    answer = world.ask("GET", f"/budgets/{root}/entries/export?actor=%3D1%2B1", by="auditor")
    assert [row["actor_name"] for row in rows(answer.text)] == ["'=1+1"]


def test_a_table_is_refused_before_it_begins(on_sqlite: World) -> None:
    world, chain = on_sqlite, filled(on_sqlite)
    alone = world.made("/people", {"name": "outsider", "roles": ["ml_engineer"]}, by="admin")
    key = world.made("/api-keys", {"principal_id": alone["id"]}, by="admin")["key"]
    assert world.ask("GET", f"/budgets/{chain}/entries/export", by=key).status_code == 404
    answer = world.ask("GET", f"/budgets/{chain}/entries/export?search=x", by="auditor")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-parameter")


def test_the_newest_checkpoint_is_given_as_it_was_signed_to_those_who_oversee(
    on_sqlite: World, tmp_path: Path
) -> None:
    world, chain = on_sqlite, filled(on_sqlite)
    assert world.ask("GET", "/ledger/checkpoint", by="auditor").status_code == 404
    services: Any = world.client.app.state.services  # type: ignore[attr-defined]
    signing.create(tmp_path / "signing.key")
    checkpoints = Checkpoints(services.make_session, tmp_path / "signed", tmp_path / "signing.key")
    checkpoints.make()
    answer = world.ask("GET", "/ledger/checkpoint", by="auditor").json()
    heads = [[head["budget_id"], head["seq"], head["hash"]] for head in answer["heads"]]
    last = found(world, f"budgets/{chain}/entries")[-1]
    assert heads == [[chain, last["seq"], last["hash"]]]
    checkpoint = read_checkpoint({**answer, "heads": heads})
    assert checkpoint.said["heads"]["root"] == heads_root(checkpoint.heads)
    assert checkpoint_hash(answer["body"].encode()) == answer["hash"]
    public = signing.load(tmp_path / "signing.key").public
    assert public.verifies(answer["signature"], signed_bytes(answer["body"].encode()))
    assert len(base64.b64decode(answer["signature"])) == 64
    assert world.ask("GET", "/ledger/checkpoint", by="ml_engineer").status_code == 403
