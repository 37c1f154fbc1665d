"""The same plan on three engines gives the same integers; on four more it is valid SQL."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import duckdb
import pytest
import sqlglot
from sqlalchemy import Connection, create_engine, text
from sqlglot import ErrorLevel, exp

from app.domain.datasets import Dataset
from app.domain.queries import QueryPlan
from tests.workers.engines.query.made import PRIVATE_DEST, RECORD, SALT, dataset, plan_for, query
from workers.engines.api import EngineRefused
from workers.engines.query.bounding import bounding_query, spread_query
from workers.engines.query.dialects import (
    DIALECTS,
    PORTABLE_DUCKDB,
    POSTGRES,
    SQLITE,
    Dialect,
)

NAMES = "tailnum, dest, month, origin, distance, dep_delay"
MEASURES: list[dict[str, Any]] = [
    {"fn": "count"},
    {"fn": "count", "col": "dep_delay"},
    {"fn": "sum", "col": "distance", "lo": "-20", "hi": "5000", "grid": "10"},
    {"fn": "mean", "col": "dep_delay"},
    {"fn": "variance", "col": "dep_delay", "lo": "-60", "hi": "180", "grid": "7.5"},
    {"fn": "histogram", "col": "distance", "edges": [0, 200, "500.5", 1000]},
    {"fn": "histogram", "col": "dep_delay", "bins": 13},
    {"fn": "quantile", "col": "distance", "bins": 100, "q": ["0.5"]},
    {"fn": "top_k", "col": "origin", "k": 2},
    {"fn": "count_distinct"},
]
WHERE: list[Any] = [
    ["or", ["dep_delay", "is_null"], ["dep_delay", ">=", "-9.5"], ["origin", "in", ["EWR"]]],
    ["not", ["distance", "between", [300, 310]]],
]
CAPS = {"max_groups": 2, "max_rows": 4}
BINS = {"bin": "dep_delay", "edges": ["-30.5", 0, 15, 500]}
ORIGINS = {"col": "origin", "keys": ["EWR", "LGA"]}
PLANS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, query(MEASURES, [PRIVATE_DEST, ORIGINS], bounds=CAPS, where=WHERE)),
    ({}, query(MEASURES, [BINS], bounds=CAPS)),
    (RECORD, query(MEASURES, [PRIVATE_DEST, BINS], where=WHERE)),
    ({"relation": "replace_one"}, query(MEASURES, [], where=WHERE)),
]
Runner = Callable[[str], list[tuple[Any, ...]]]


def statements(plan: QueryPlan, on: Dataset, dialect: Dialect) -> list[str]:
    trees = [bounding_query(plan, on, SALT, dialect)]
    trees += [spread_query(plan, spread, on, SALT, dialect) for spread in plan.spreads]
    # a node that the dialect has no words for is an error, not a guess
    strict = ErrorLevel.RAISE
    return [tree.sql(dialect=dialect.name, unsupported_level=strict) for tree in trees]


@pytest.fixture(scope="module")
def on_duckdb(winter: duckdb.DuckDBPyConnection) -> Runner:
    winter.execute(
        f"CREATE OR REPLACE TEMP TABLE february AS SELECT {NAMES} FROM flights "
        " WHERE dest < 'B' OR dest > 'T'"
        " UNION ALL SELECT * FROM (VALUES (NULL, 'ATL', 2, 'EWR', 5, 1.0::DOUBLE),"
        " ('N1', NULL, 2, 'EWR', NULL, NULL), ('N1', 'ATL', 2, 'EWR', 7, 'inf'::DOUBLE),"
        " ('N1', 'ATL', 2, '?', 7, -60.25::DOUBLE))"
    )

    def run(sql: str) -> list[tuple[Any, ...]]:
        winter.execute("CREATE OR REPLACE TEMP VIEW input_rows AS SELECT * FROM february")
        return winter.execute(sql).fetchall()

    return run


@pytest.fixture(scope="module")
def rows(on_duckdb: Runner) -> list[tuple[Any, ...]]:
    return on_duckdb(f"SELECT {NAMES} FROM input_rows")


@pytest.fixture(scope="module")
def on_sqlite(rows: list[tuple[Any, ...]]) -> Iterator[Runner]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.create_function(
            "MD5", 1, lambda t: hashlib.md5(t.encode()).hexdigest(), deterministic=True
        )
        connection.execute(
            "CREATE TABLE input_rows (tailnum TEXT, dest TEXT, month INTEGER,"
            " origin TEXT, distance INTEGER, dep_delay REAL)"
        )
        connection.executemany("INSERT INTO input_rows VALUES (?, ?, ?, ?, ?, ?)", rows)
        yield lambda sql: connection.execute(sql).fetchall()


@pytest.fixture
def on_postgresql(
    rows: list[tuple[Any, ...]], empty_database_url: Callable[[str], str]
) -> Iterator[Runner]:
    engine = create_engine(empty_database_url("postgresql"))
    with engine.connect() as connection:
        _fill(connection, rows)
        yield lambda sql: [
            tuple(row) for row in connection.execute(text(sql.replace(":", r"\:"))).fetchall()
        ]
    engine.dispose()


def _fill(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    connection.execute(
        text(
            "CREATE TABLE input_rows (tailnum TEXT, dest TEXT, month BIGINT,"
            " origin TEXT, distance BIGINT, dep_delay DOUBLE PRECISION)"
        )
    )
    names = NAMES.split(", ")
    values = ", ".join(f":{name}" for name in names)
    connection.execute(
        text(f"INSERT INTO input_rows VALUES ({values})"),
        [dict(zip(names, row, strict=True)) for row in rows],
    )
    connection.execute(text("ANALYZE input_rows"))


def as_integers(table: list[tuple[Any, ...]], keys: int) -> dict[tuple[Any, ...], Any]:
    return {tuple(row[:keys]): tuple(int(value) for value in row[keys:]) for row in table}


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_the_bounded_table_is_the_same_cell_for_cell_on_every_engine(
    engine: str, on_duckdb: Runner, request: pytest.FixtureRequest
) -> None:
    run: Runner = request.getfixturevalue(f"on_{engine}")
    dialect = {"sqlite": SQLITE, "postgresql": POSTGRES}[engine]
    for changes, document in PLANS:
        on = dataset(**changes)
        plan = plan_for(document, on)
        keys = len(plan.spec.group_by)
        ours = statements(plan, on, PORTABLE_DUCKDB)
        theirs = statements(plan, on, dialect)
        assert len(ours) == len(theirs) == 5
        for place, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            width = keys + (1 if place else 0)
            expected = as_integers(on_duckdb(mine), width)
            assert as_integers(run(other), width) == expected
            assert expected


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
def test_the_plan_is_valid_for_the_parser_of_each_dialect(dialect: Dialect) -> None:
    for changes, document in PLANS:
        on = dataset(**changes)
        for sql in statements(plan_for(document, on), on, dialect):
            tree = sqlglot.parse_one(sql, dialect=dialect.name, error_level=ErrorLevel.RAISE)
            assert tree.find(exp.Command) is None
            assert tree.sql(dialect=dialect.name) == sql
            for word in ("RANDOM", "RAND(", "RANK(", "INT128" if dialect.name != "duckdb" else "?"):
                assert word not in sql.upper()


def test_steps_too_large_for_sums_of_64_bits_are_refused_for_such_an_engine() -> None:
    on = dataset(**RECORD)
    wide = {"fn": "sum", "col": "distance", "lo": "0", "hi": str(2**32)}
    plan = plan_for(query([wide], []), on)
    bounding_query(plan, on, SALT, POSTGRES)
    with pytest.raises(EngineRefused):
        bounding_query(plan, on, SALT, SQLITE)
