"""Datasets, plans and jobs for the tests of the query engine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb

from app.domain.datasets import Dataset, dataset_from_json
from app.domain.queries import QueryPlan, parse_query, plan_query
from workers.engines.api import Input, ReservedPart, Work
from workers.engines.query.bounding import bounding_query

Table = dict[tuple[Any, ...], tuple[int, ...]]

FLIGHTS: dict[str, Any] = {
    "name": "flights",
    "access": "private",
    "source": {"connection": "demo", "path": "flights.parquet", "format": "parquet"},
    "columns": [
        {"name": "tailnum", "type": "string", "nullable": True},
        {"name": "dest", "type": "string", "nullable": True, "keys": "private"},
        {
            "name": "month",
            "type": "int64",
            "domain": list(range(1, 13)),
            "domain_source": "public",
        },
        {
            "name": "origin",
            "type": "string",
            "domain": ["EWR", "JFK", "LGA"],
            "domain_source": "public",
        },
        {"name": "distance", "type": "int64", "bounds": {"low": "0", "high": "5000"}},
        {
            "name": "dep_delay",
            "type": "float64",
            "nullable": True,
            "bounds": {"low": "-60", "high": "180"},
            "grid": "0.5",
        },
    ],
    "unit_of_privacy": {
        "kind": "user",
        "column": "tailnum",
        "max_groups_per_user": 3,
        "max_rows_per_user_group": 10,
    },
    "relation": "add_remove",
    "nominal_size": 4000,
}
RECORD = {"unit_of_privacy": {"kind": "record"}, "nominal_size": 330_000}
PRIVATE_DEST = {"col": "dest", "keys": "private"}
ALL_MEASURES: list[dict[str, Any]] = [
    {"fn": "count"},
    {"fn": "count", "col": "dep_delay"},
    {"fn": "sum", "col": "distance"},
    {"fn": "mean", "col": "dep_delay"},
]
SALT = bytes(range(16))


def dataset(**changes: Any) -> Dataset:
    return dataset_from_json({**FLIGHTS, **changes}, id="d1")


def query(
    measures: list[dict[str, Any]] | None = None,
    group_by: list[dict[str, Any]] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    return {
        "v": 1,
        "measures": ALL_MEASURES if measures is None else measures,
        "group_by": [PRIVATE_DEST] if group_by is None else group_by,
        "privacy": {"epsilon": "1", "delta": "1e-8", "noise": "discrete_laplace"},
        **changes,
    }


def plan_for(document: Mapping[str, Any], on: Dataset) -> QueryPlan:
    return plan_query(parse_query(document, on), on)


def work_for(plan: QueryPlan, on: Dataset, file: Path, scratch: Path, salt: bytes = SALT) -> Work:
    return Work(
        job_id=UUID(int=1),
        kind="query",
        spec=plan.spec.to_json(),
        inputs=(Input(on, 1, file),),
        parts=tuple(ReservedPart(part.mechanism, part.max_units) for part in plan.parts),
        salt=salt,
        scratch=scratch,
    )


def canonical(plan: QueryPlan, on: Dataset) -> str:
    return bounding_query(plan, on, SALT).sql(dialect="duckdb")


def load(connection: duckdb.DuckDBPyConnection, rows: list[tuple[Any, ...]]) -> None:
    connection.execute(
        "CREATE OR REPLACE TABLE flights"
        " (tailnum VARCHAR, distance BIGINT, dep_delay DOUBLE, origin VARCHAR)"
    )
    if rows:
        connection.executemany("INSERT INTO flights VALUES (?, ?, ?, ?)", rows)


def table_of(
    connection: duckdb.DuckDBPyConnection, sql: str, keys: int, condition: str = "TRUE"
) -> Table:
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW input_rows AS SELECT * FROM flights WHERE {condition}"
    )
    rows = connection.execute(sql).fetchall()
    return {row[:keys]: row[keys:] for row in rows}
