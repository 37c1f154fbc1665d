"""Each way in which a query is wrong has its status and code, costs nothing and reads nothing (L5).

The file of the dataset is gone before anything is asked, so no answer can rest on a row.
"""

from typing import Any
from uuid import uuid4

import pytest

from tests.api.test_bad_input import counts
from tests.api.world import World, open_root, register, reservation_body

COLUMNS: list[dict[str, Any]] = [
    {"name": "plane", "type": "string"},
    {"name": "dest", "type": "string", "keys": "private"},
    {"name": "month", "type": "int64", "domain": list(range(1, 13)), "domain_source": "public"},
    {"name": "gate", "type": "int64", "domain": list(range(9_000)), "domain_source": "public"},
    {"name": "origin", "type": "string"},
    {"name": "distance", "type": "int64", "bounds": {"low": "0", "high": "5000"}, "grid": "1"},
    {"name": "delay", "type": "float64"},
]
RIGHT: dict[str, Any] = {
    "v": 1,
    "measures": [{"fn": "count"}],
    "privacy": {"epsilon": "0.1", "delta": "0", "noise": "discrete_laplace"},
}
PRIVATE_KEYS: dict[str, Any] = {"group_by": [{"col": "dest", "keys": "private"}]}
Case = tuple[dict[str, Any], str, str]


def measured(**measure: Any) -> dict[str, Any]:
    return {"measures": [measure]}


def where(*predicate: Any) -> dict[str, Any]:
    return {"where": [list(predicate)]}


def sql(text: str) -> dict[str, Any]:
    return {"sql": text}


# by row: changes of a right spec, the code, and where the fault is said to be
ROWS: dict[str, list[Case]] = {
    "an unknown column, function or key": [
        (where("salary", "<", 1), "invalid-parameter", "/spec/where/0/0"),
        (measured(fn="sum", col="salary"), "invalid-parameter", "/spec/measures/0/col"),
        (measured(fn="read_parquet"), "invalid-parameter", "/spec/measures/0/fn"),
        (measured(fn="count", column="x"), "invalid-parameter", "/spec/measures/0/column"),
        ({"noise": "none"}, "invalid-parameter", "/spec/noise"),
        ({"group_by": [{"col": "salary", "keys": [1]}]}, "invalid-parameter", "/spec/group_by/0"),
    ],
    "no bounds": [
        (measured(fn="sum", col="delay"), "bounds-required", "/spec/measures/0/lo"),
        (measured(fn="mean", col="delay", lo="0"), "bounds-required", "/spec/measures/0/hi"),
        (
            measured(fn="variance", col="delay", lo="0", hi="9"),
            "bounds-required",
            "/spec/measures/0/grid",
        ),
        (measured(fn="quantile", col="delay", q="0.5"), "bounds-required", "/spec/measures/0/lo"),
    ],
    "bad bounds": [
        (
            measured(fn="sum", col="distance", lo="9", hi="9"),
            "invalid-parameter",
            "/spec/measures/0/hi",
        ),
        (
            measured(fn="mean", col="distance", lo="9", hi="-9"),
            "invalid-parameter",
            "/spec/measures/0/hi",
        ),
        (
            measured(fn="sum", col="delay", lo="-Infinity", hi="9", grid="1"),
            "invalid-parameter",
            "/spec/measures/0/lo",
        ),
        (
            measured(fn="stdev", col="delay", lo="0", hi="NaN", grid="1"),
            "invalid-parameter",
            "/spec/measures/0/hi",
        ),
        (
            measured(fn="sum", col="delay", lo="0", hi="10", grid="3"),
            "invalid-parameter",
            "/spec/measures/0",
        ),
        (
            measured(fn="quantile", col="delay", q="0.5", lo="5", hi="1"),
            "invalid-parameter",
            "/spec/measures/0/hi",
        ),
    ],
    "another type, the unit, a function that is not total": [
        (where("month", "=", "1"), "invalid-parameter", "/spec/where/0"),
        (where("dest", "<", 3), "invalid-parameter", "/spec/where/0"),
        (where("plane", "=", "N1"), "invalid-parameter", "/spec/where/0/0"),
        (where("plane", "is_null"), "invalid-parameter", "/spec/where/0/0"),
        (where("distance", "/", 2), "invalid-parameter", "/spec/where/0/1"),
        (measured(fn="sum", col="dest"), "invalid-parameter", "/spec/measures/0/col"),
        ({"group_by": [{"col": "plane", "keys": "private"}]}, "invalid-parameter", "/spec/group"),
        (
            {"group_by": [{"col": "origin", "keys": ["EWR"]}]},
            "refused-by-name",
            "/spec/group_by/0/keys",
        ),
        (measured(fn="max", col="distance"), "refused-by-name", "/spec/measures/0/fn"),
        (sql("SELECT COUNT(*) FROM trips WHERE 1/month > 0"), "sql-not-accepted", "/spec/sql"),
        (sql("SELECT COUNT(*) FROM read_csv('x')"), "sql-not-accepted", "/spec/sql"),
        (sql("SELECT CAST(dest AS INT) FROM trips"), "sql-not-accepted", "/spec/sql"),
        (sql("SELECT COUNT(*) FROM trips; DROP TABLE x"), "sql-not-accepted", "/spec/sql"),
    ],
    "private keys without a delta": [
        (PRIVATE_KEYS, "delta-required", "/spec/privacy/delta"),
        (
            {"privacy": {"epsilon": "0.1", "delta": "0", "noise": "discrete_gaussian"}},
            "delta-required",
            "/spec/privacy/delta",
        ),
    ],
    "more epsilon than any query may ask for": [
        (
            {"privacy": {"epsilon": "1001", "delta": "0", "noise": "auto"}},
            "invalid-parameter",
            "/spec/privacy/epsilon",
        ),
    ],
    "too many cells, numbers out of range": [
        (
            {
                "group_by": [
                    {"col": "month", "keys": "domain"},
                    {"col": "gate", "keys": "domain"},
                ]
            },
            "too-many-groups",
            "/spec/group_by",
        ),
        (
            measured(fn="sum", col="delay", lo="0", hi="1e18", grid="1"),
            "range-too-wide",
            "/spec/measures/0",
        ),
    ],
}


@pytest.fixture
def trips(on_sqlite: World) -> dict[str, Any]:
    """The inputs of a query over a dataset whose file is gone, charged to a budget of 0.5."""
    unit = {
        "kind": "user",
        "column": "plane",
        "max_groups_per_user": 3,
        "max_rows_per_user_group": 10,
    }
    dataset = register(on_sqlite, columns=COLUMNS, unit_of_privacy=unit)
    limit = {"epsilon": "0.5", "delta": "1e-6"}
    budget = open_root(on_sqlite, dataset, limit=limit, accountant="rdp-mix/1")
    (on_sqlite.folder / "trips.parquet").unlink()
    inputs: dict[str, Any] = reservation_body(dataset, budget)["inputs"][0]
    return inputs


def asked(world: World, inputs: dict[str, Any], spec: dict[str, Any]) -> tuple[Any, Any]:
    """What a submit answers, and what a quote does."""
    body = {"kind": "query", "inputs": [inputs], "spec": spec}
    submitted = world.ask("POST", "/jobs", {**body, "purpose": "a test"})
    return submitted, world.ask("POST", "/quotes", body)


def test_a_wrong_query_is_refused_with_its_code_and_its_place_and_leaves_nothing(
    on_sqlite: World, trips: dict[str, Any]
) -> None:
    assert asked(on_sqlite, trips, RIGHT)[1].status_code == 200
    before = counts(on_sqlite)
    for row, cases in ROWS.items():
        for change, code, place in cases:
            spec = {**RIGHT, **change}
            if "sql" in change:
                spec = {"privacy": RIGHT["privacy"], **change}
            body = {"kind": "query", "inputs": [trips], "spec": spec, "purpose": "a test"}
            answer = on_sqlite.ask("POST", "/jobs", body)
            said = (row, change, answer.text)
            assert (answer.status_code, answer.json()["code"]) == (422, code), said
            problem = answer.json()
            pointer = problem.get("pointer") or problem["errors"][0]["pointer"]
            assert pointer.startswith(place), said
            if code == "sql-not-accepted":
                assert (problem["line"], problem["column"] > 0) == (1, True), said
        # the last of each row is refused by a quote in the same words
        del body["purpose"]
        quoted = on_sqlite.ask("POST", "/quotes", body)
        assert (quoted.status_code, quoted.json()["detail"]) == (422, problem["detail"]), row
    assert counts(on_sqlite) == before


def test_an_unknown_column_is_answered_with_the_names_of_the_public_schema(
    on_sqlite: World, trips: dict[str, Any]
) -> None:
    answer = asked(on_sqlite, trips, {**RIGHT, **where("salary", "<", 1)})[0]
    reason = answer.json()["errors"][0]["reason"]
    assert all(str(column["name"]) in reason for column in COLUMNS)


def test_an_unknown_dataset_version_or_budget_is_not_found(
    on_sqlite: World, trips: dict[str, Any]
) -> None:
    before = counts(on_sqlite)
    for change in ({"dataset_id": str(uuid4())}, {"budget_id": str(uuid4())}, {"version": 7}):
        for answer in asked(on_sqlite, {**trips, **change}, RIGHT):
            assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), change
    assert counts(on_sqlite) == before


def test_a_query_without_room_is_refused_with_what_is_left_and_what_would_fit(
    on_sqlite: World, trips: dict[str, Any]
) -> None:
    before = counts(on_sqlite)
    spec = {**RIGHT, "privacy": {"epsilon": "0.9", "delta": "0", "noise": "discrete_laplace"}}
    refused, quoted = asked(on_sqlite, trips, spec)
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (409, "budget-exceeded")
    assert problem["left"]["epsilon"] == "0.5"
    assert 0.4 < float(problem["fits"]["epsilon"]) <= 0.5
    assert quoted.json()["admitted_now"] is False
    assert counts(on_sqlite) == before
    spec["privacy"]["epsilon"] = problem["fits"]["epsilon"]
    assert asked(on_sqlite, trips, spec)[0].status_code == 202
