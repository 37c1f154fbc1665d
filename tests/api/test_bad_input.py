"""Nothing that is malformed, hidden or out of place gets in, and nothing of it stays."""

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.db.models import Base
from app.db.session import snapshot
from tests.api.world import World, budget_body, dataset_body, open_root, register, reservation_body

# what a refused request may leave behind
ALLOWED = {"audit_events", "idempotency_keys"}
NOT_DECIMALS = [
    1,
    0.5,
    True,
    None,
    "NaN",
    "nan",
    "Infinity",
    "-1",
    "+1",
    "1e400",
    " 1",
    "1_0",
    "\u0661",
    "0x1",
    "1" * 41,
    "",
    ["1"],
]

Change = Callable[[dict[str, Any]], None]


def counts(world: World) -> dict[str, int]:
    services = world.client.app.state.services  # type: ignore[attr-defined]
    with snapshot(services.make_session) as session:
        return {
            name: session.scalar(select(func.count()).select_from(table)) or 0
            for name, table in Base.metadata.tables.items()
            if name not in ALLOWED
        }


def put(path: str, value: Any) -> Change:
    """A change of the value at a dotted path."""

    def change(body: dict[str, Any]) -> None:
        *above, last = path.split(".")
        at: Any = body
        for step in above:
            at = at[int(step)] if isinstance(at, list) else at[step]
        at[int(last) if isinstance(at, list) else last] = value

    return change


BAD_DATASETS: list[Change] = [
    put("surprise", 1),
    put("columns.0.surprise", 1),
    put("source.surprise", 1),
    put("name", ""),
    put("name", "n" * 201),
    put("name", "a\x00b"),
    put("name", "two\nlines"),
    put("name", 7),
    put("access", "secret"),
    put("columns", []),
    put("columns.1.bounds.low", 0),
    put("columns.1.bounds.high", "NaN"),
    put("columns.1.bounds", {"low": "5", "high": "1"}),
    put("columns.0.name", "a b"),
    put("columns.0.nullable", 1),
    put("columns.0.nullable", "yes"),
    put("unit_of_privacy.column", "nobody"),
    put("unit_of_privacy.max_groups_per_user", True),
    put("unit_of_privacy.max_groups_per_user", 0),
    put("unit_of_privacy", {"kind": "user", "column": "trips_user"}),
    put("unit_of_privacy", {"kind": "user_period"}),
    put("unit_of_privacy", None),
    put("relation", None),
    put("relation", "bounded"),
    put("blocks", {"kind": "time"}),
    put("nominal_size", "1000"),
    put("nominal_size", 1000.0),
    put("nominal_size", True),
    put("nominal_size", 0),
    put("nominal_size", None),
    put("new_people", False),
    put("new_people", None),
    put("new_people", 1),
    put("continues", "6112bc5e-7dc0-4137-8c8a-85ea9274c8be"),
    put("retain_until", "2027-02-30"),
    put("source.format", "xlsx"),
    put("source.connection", "nowhere"),
    put("access", "public"),
]


def test_no_malformed_registration_leaves_a_row(on_sqlite: World) -> None:
    path = on_sqlite.file("trips.parquet")
    before = counts(on_sqlite)
    for number, change in enumerate(BAD_DATASETS):
        body = dataset_body(path)
        change(body)
        answer = on_sqlite.ask("POST", "/datasets", body, by="compliance_officer")
        assert answer.status_code == 422, (number, answer.text)
        assert answer.json()["errors"][0]["pointer"].startswith("/"), answer.text
    assert counts(on_sqlite) == before


def test_no_path_leads_out_of_a_connection(on_sqlite: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside.parquet"
    outside.write_bytes(b"rows")
    folder = on_sqlite.folder
    (folder / "link.parquet").symlink_to(outside)
    (folder / "door").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "inner").mkdir()
    os.mkfifo(folder / "pipe")
    before = counts(on_sqlite)
    paths = [
        str(outside),
        "../outside.parquet",
        "inner/../../outside.parquet",
        "./../outside.parquet",
        "..",
        ".",
        "/",
        "inner",
        "link.parquet",
        "door/outside.parquet",
        "loop",
        "pipe",
        "missing.parquet",
        "inner/missing/",
        "..\\outside.parquet",
        "C:outside.parquet",
        "a\x00.parquet",
        "*.parquet",
        "file:///etc/passwd",
        "https://example.org/a.parquet",
        "p" * 1001,
        "p" * 300,
        "",
    ]
    reasons = set()
    for path in paths:
        answer = on_sqlite.ask("POST", "/datasets", dataset_body(path), by="compliance_officer")
        assert answer.status_code == 422, (path, answer.text)
        assert answer.json()["errors"][0]["pointer"] == "/source/path", path
        if path in {"link.parquet", "door/outside.parquet", "missing.parquet", "loop", "pipe"}:
            reasons.add(answer.json()["errors"][0]["reason"])
    assert len(reasons) == 1, "the answer tells what lies outside"
    assert counts(on_sqlite) == before


def test_known_rows_open_nothing_under_any_other_path_without_a_second_person(
    on_sqlite: World,
) -> None:
    register(on_sqlite)
    folder = on_sqlite.folder
    os.link(folder / "trips.parquet", folder / "hard.parquet")
    (folder / "soft.parquet").symlink_to(folder / "trips.parquet")
    on_sqlite.file("other.parquet")
    connection = {"name": "again", "kind": "folder", "root": str(folder)}
    on_sqlite.made("/connections", connection, by="admin")
    same_schema = dataset_body("x", name="trips")["columns"]
    same_unit = [{"name": "TRIPS_user", "type": "string"}, {"name": "speed", "type": "int64"}]
    unit = dataset_body("x", name="trips")["unit_of_privacy"]
    known: list[dict[str, Any]] = [
        dataset_body("trips.parquet", name="b"),
        dataset_body("./trips.parquet", name="b"),
        dataset_body("hard.parquet", name="b"),
        dataset_body("soft.parquet", name="b"),
        dataset_body(
            "x", name="b", source={"connection": "again", "path": "trips.parquet", "format": "csv"}
        ),
        dataset_body("other.parquet", name="b", columns=same_schema, unit_of_privacy=unit),
        dataset_body(
            "other.parquet", name="b", columns=same_schema, unit_of_privacy={"kind": "record"}
        ),
        dataset_body(
            "other.parquet",
            name="b",
            columns=same_unit,
            unit_of_privacy={**unit, "column": "TRIPS_user"},
        ),
    ]
    proposed = []
    for number, body in enumerate(known):
        body["name"] = f"b{number}"
        answer = on_sqlite.ask("POST", "/datasets", body, by="compliance_officer")
        if answer.status_code == 202:
            proposed.append(answer.json()["id"])
            continue
        assert answer.status_code == 409, (number, answer.text)
        assert answer.json()["code"] == "source-already-registered"
        assert "trips" not in answer.json()["detail"]
    # the same rows with the same columns, once proposed, are known like the others
    assert len(proposed) == 3
    before = counts(on_sqlite)
    for dataset in proposed:
        shown = on_sqlite.ask("GET", f"/datasets/{dataset}", by="auditor").json()
        assert shown["state"] == "proposed"
        opened = on_sqlite.ask("POST", "/budgets", budget_body(dataset), by="compliance_officer")
        assert opened.json()["code"] == "scope-closed"
    assert counts(on_sqlite) == before


def test_no_amount_is_taken_that_is_not_a_plain_decimal_string(on_sqlite: World) -> None:
    dataset = register(on_sqlite)
    open_root(on_sqlite, dataset)
    other = register(on_sqlite, name="trains")
    before = counts(on_sqlite)
    for bad in NOT_DECIMALS:
        for body in (
            budget_body(other, limit={"epsilon": bad, "delta": "0"}),
            budget_body(other, limit={"epsilon": "1", "delta": bad}),
            budget_body(other, milestones=[bad]),
            budget_body(other, delta_split=bad),
        ):
            answer = on_sqlite.ask("POST", "/budgets", body, by="compliance_officer")
            assert answer.status_code == 422, (bad, answer.text)
    assert counts(on_sqlite) == before


def test_no_malformed_reservation_leaves_a_row(on_sqlite: World) -> None:
    dataset = register(on_sqlite)
    budget = open_root(on_sqlite, dataset)
    other = register(on_sqlite, name="trains")
    changes: list[Change] = [
        *(put("mechanism.epsilon", bad) for bad in NOT_DECIMALS),
        put("mechanism.surprise", 1),
        put("mechanism", {"type": "magic"}),
        put("mechanism", {"type": "gaussian", "noise_multiplier": "0"}),
        put("mechanism", []),
        put("max_units", 0),
        put("max_units", -1),
        put("max_units", True),
        put("max_units", 1.0),
        put("max_units", "1"),
        put("max_units", 2**53),
        put("parts", []),
        put("parts", [{"mechanism": {"type": "pure", "epsilon": "1"}, "max_units": 1}]),
        put("lease_s", 0),
        put("lease_s", 10**9),
        put("tool", ""),
        put("tool", "t" * 201),
        put("tool", "line\n"),
        put("inputs", []),
        put("inputs.0.version", 0),
        put("inputs.0.version", 2),
        put("inputs.0.blocks", "some"),
        put("inputs.0.dataset_id", 1),
        put("inputs.0.dataset_id", "x"),
        put("inputs.0.dataset_id", other),
        put("inputs.0.budget_id", dataset),
        put("inputs.0.surprise", 1),
    ]
    before = counts(on_sqlite)
    for number, change in enumerate(changes):
        body = reservation_body(dataset, budget)
        change(body)
        answer = on_sqlite.ask("POST", "/reservations", body)
        assert answer.status_code in {404, 422}, (number, answer.status_code, answer.text)
    assert counts(on_sqlite) == before


QUERY: dict[str, Any] = {
    "v": 1,
    "where": [["distance", "<", 100]],
    "group_by": [],
    "measures": [{"fn": "count"}, {"fn": "sum", "col": "distance", "lo": "0", "hi": "500"}],
    "privacy": {"epsilon": "0.1", "delta": "0", "noise": "discrete_laplace"},
}
TRAIN: dict[str, Any] = {
    "v": 1,
    "algorithm": "dp_sgd",
    "model": {"name": "mlp", "hidden": [8], "classes": 2},
    "features": ["pixels"],
    "label": "digit",
    "loss": "cross_entropy",
    "sampling": {"kind": "poisson", "rate": "0.05"},
    "normalise_by": 64,
    "steps": 10,
    "clip": {"mode": "flat", "norm_l2": "1"},
    "noise": {"noise_multiplier": "1.1"},
    "optimizer": {"name": "sgd", "learning_rate": 0.5, "momentum": 0.9},
    "physical_batch_max": 64,
    "device": "cpu",
}
WRONG_BOUNDS: list[Any] = [0, True, "NaN", "1e400", []]
BAD_QUERIES: list[Change] = [
    *(put("privacy.epsilon", bad) for bad in NOT_DECIMALS),
    *(put("privacy.delta", bad) for bad in NOT_DECIMALS),
    *(put("measures.1.lo", bad) for bad in WRONG_BOUNDS),
    put("surprise", 1),
    put("v", 2),
    put("v", True),
    put("dataset", "trips"),
    put("where", [["nobody", "<", 1]]),
    put("where", [["distance", "~", 1]]),
    put("where", "distance < 1; DROP TABLE x"),
    put("where.0.2", "1; SELECT 1"),
    put("where.0.2", {"sql": "1"}),
    put("where.0.2", 1.5e300),
    put("group_by", ["nobody"]),
    put("measures", []),
    put("measures.0.fn", "min"),
    put("measures.0.fn", "read_parquet"),
    put("measures.1.col", "'; --"),
    put("measures.1.hi", "-1"),
    put("privacy.noise", "none"),
    put("privacy", {}),
]
WRONG_COUNTS: list[Any] = [0, -1, True, "10", 1.5, 2**62]
WRONG_DIVISORS: list[Any] = [0, -1, True, "64", None]
WRONG_RATES: list[Any] = ["0.5", True, -1, 1e300, None]
BAD_TRAININGS: list[Change] = [
    *(put("noise.noise_multiplier", bad) for bad in [*NOT_DECIMALS, "0"]),
    *(put("sampling.rate", bad) for bad in [*NOT_DECIMALS, "0", "2"]),
    *(put("clip.norm_l2", bad) for bad in [*NOT_DECIMALS, "0"]),
    *(put("steps", bad) for bad in WRONG_COUNTS),
    *(put("normalise_by", bad) for bad in WRONG_DIVISORS),
    *(put("optimizer.learning_rate", bad) for bad in WRONG_RATES),
    put("surprise", 1),
    put("algorithm", "sgd"),
    put("model.name", "os.system"),
    put("model.hidden", [10**9]),
    put("model.hidden", [8] * 1000),
    put("features", ["nobody"]),
    put("features", []),
    put("sampling.kind", "shuffled"),
]


PROFILE: dict[str, Any] = {
    "v": 1,
    "groupings": [],
    "values": [{"col": "distance", "q": ["0.5"]}],
    "privacy": {"epsilon": "0.5", "delta": "0"},
}
BAD_PROFILES: list[Change] = [
    *(put("privacy.epsilon", bad) for bad in [*NOT_DECIMALS, "0"]),
    put("surprise", 1),
    put("v", 2),
    put("measures", [{"fn": "count"}]),
    put("groupings", [{"by": []}]),
    put("values", []),
    put("values", [{"col": "distance"}] * 2),
    put("values.0.col", "nobody"),
    put("values.0.col", "pixels"),
    put("values.0.q", ["0"]),
    put("values.0.q", [f"0.{tenth}" for tenth in range(1, 7)]),
    put("values.0.bins", 2**40),
    put("values.0.hi", "-1"),
    put("bounds", {"max_rows": 2}),
    # 1,000 records: at least 0.2 for one draw (R27)
    put("privacy.epsilon", "0.19"),
    put("privacy.noise", "none"),
    put("privacy.delta", "2"),
]


@pytest.mark.parametrize(
    ("kind", "good", "changes"),
    [
        ("query", QUERY, BAD_QUERIES),
        ("train", TRAIN, BAD_TRAININGS),
        ("profile", PROFILE, BAD_PROFILES),
    ],
)
def test_no_malformed_job_is_priced_or_leaves_a_row(
    on_sqlite: World, kind: str, good: dict[str, Any], changes: list[Change]
) -> None:
    dataset = register(
        on_sqlite,
        columns=[
            {
                "name": "pixels",
                "type": "float32",
                "shape": [4],
                "bounds": {"low": "0", "high": "1"},
            },
            {"name": "digit", "type": "int64", "domain": [0, 1], "domain_source": "public"},
            {
                "name": "distance",
                "type": "int64",
                "bounds": {"low": "0", "high": "500"},
                "grid": "1",
            },
        ],
        unit_of_privacy={"kind": "record"},
    )
    limit = {"epsilon": "10", "delta": "1e-5"}
    budget = open_root(on_sqlite, dataset, limit=limit, accountant="rdp-mix/1")
    inputs = reservation_body(dataset, budget)["inputs"]
    right = on_sqlite.ask("POST", "/quotes", {"kind": kind, "inputs": inputs, "spec": good})
    assert right.status_code == 200, right.text
    before = counts(on_sqlite)
    for number, change in enumerate(changes):
        spec = copy.deepcopy(good)
        change(spec)
        job = {"kind": kind, "inputs": inputs, "spec": spec, "purpose": "p"}
        answer = on_sqlite.ask("POST", "/jobs", job)
        assert answer.status_code == 422, (number, spec, answer.text)
        quote = {"kind": kind, "inputs": inputs, "spec": spec}
        assert on_sqlite.ask("POST", "/quotes", quote).status_code == 422, (number, spec)
    assert counts(on_sqlite) == before


def test_a_deeply_nested_mechanism_is_refused_and_not_walked_for_ever(on_sqlite: World) -> None:
    dataset = register(on_sqlite)
    budget = open_root(on_sqlite, dataset)
    mechanism: dict[str, Any] = {"type": "pure", "epsilon": "0.01"}
    for _ in range(200):
        mechanism = {"type": "repeated", "count": 1, "of": mechanism}
    body = reservation_body(dataset, budget, mechanism=mechanism, max_units=1)
    assert on_sqlite.ask("POST", "/reservations", body).status_code == 422


@pytest.mark.parametrize("key", ["", "k" * 256, "sp ace", "t\tb"])
def test_no_key_outside_1_to_255_visible_signs_is_taken(on_sqlite: World, key: str) -> None:
    answer = on_sqlite.ask(
        "POST", "/projects", {"name": "x"}, by="admin", headers={"Idempotency-Key": key}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["in"] == "header"


def test_a_creating_post_without_a_key_is_refused_with_400(on_sqlite: World) -> None:
    headers = {"Authorization": f"Bearer {on_sqlite.keys['admin']}"}
    answer = on_sqlite.client.post("/v1/projects", json={"name": "x"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency-key-missing")


@pytest.mark.parametrize("root", ["relative", "/", "/nowhere/at/all", "a\x00b", __file__])
def test_no_connection_is_made_to_what_is_not_a_folder(on_sqlite: World, root: str) -> None:
    body = {"name": "bad", "kind": "folder", "root": root}
    answer = on_sqlite.ask("POST", "/connections", body, by="admin")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/root"


def test_the_keys_of_a_store_are_never_taken_nor_repeated(on_sqlite: World) -> None:
    store = {
        "endpoint": "https://store.example",
        "region": "eu-central-1",
        "credentials": "env:EPSILON_SOURCE_LAKE",
    }
    body = {"name": "lake", "kind": "s3", "root": "s3://lake/clinic", "store": store}
    assert on_sqlite.made("/connections", body, by="admin")["store"] == store
    for key, value in (("credentials", "hunter2"), ("endpoint", "https://hunter2@store.example")):
        wrong = {**body, "name": key, "store": {**store, key: value}}
        answer = on_sqlite.ask("POST", "/connections", wrong, by="admin")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == f"/store/{key}"
        assert "hunter2" not in answer.text
    shown = on_sqlite.ask("GET", "/connections", by="compliance_officer")
    assert "EPSILON_SOURCE_LAKE" not in shown.text


def test_the_root_of_a_connection_is_shown_to_admins_only(on_sqlite: World) -> None:
    assert str(on_sqlite.folder) in on_sqlite.ask("GET", "/connections", by="admin").text
    shown = on_sqlite.ask("GET", "/connections", by="compliance_officer")
    assert shown.json()["items"][0]["name"] == "files"
    assert str(on_sqlite.folder) not in shown.text


def test_a_misspelt_filter_is_refused_and_does_not_answer_with_everything(
    on_sqlite: World,
) -> None:
    for path in ("/budgets?dataset=1", "/approvals?State=used", "/jobs?page=2", "/people?x"):
        by = "admin" if path.startswith("/people") else "compliance_officer"
        answer = on_sqlite.ask("GET", path, by=by)
        assert answer.status_code == 422, path
        assert answer.json()["errors"][0]["in"] == "query"
