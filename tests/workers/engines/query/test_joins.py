"""Joins over real flights: no unit moves the bounded table further than it is charged for."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from app.domain.datasets import Dataset, dataset_from_json
from app.domain.queries import QueryPlan, parse_query, plan_query
from tests.workers.engines.query.made import FLIGHTS, PRIVATE_DEST, RECORD, dataset, query, work_for
from tests.workers.engines.query.test_bounding import keeps_the_bound, some_units
from tests.workers.engines.query.test_engine import Started
from workers.engines.api import EngineRefused, Input, Work
from workers.engines.query.engine import QueryEngine
from workers.engines.query.table import BoundedTable, bounded_table

ZONES: dict[str, Any] = {
    "name": "zones",
    "access": "public",
    "source": {"connection": "demo", "path": "zones.parquet", "format": "parquet"},
    "columns": [
        {"name": "code", "type": "string"},
        {"name": "side", "type": "string", "domain": ["N", "S"], "domain_source": "public"},
    ],
}
SEATS: dict[str, Any] = {
    **FLIGHTS,
    "name": "seats",
    "columns": [
        {"name": "tail", "type": "string"},
        {"name": "seats", "type": "int64", "bounds": {"low": "0", "high": "500"}},
    ],
    "unit_of_privacy": {**FLIGHTS["unit_of_privacy"], "column": "tail"},
}
BY_ZONE = {"dataset_id": "z1", "as": "zone", "on": ["origin", "code"]}
BY_UNIT = {"dataset_id": "s1", "as": "plane", "on": ["tailnum", "tail"]}
Table = Callable[[str], BoundedTable]


@dataclasses.dataclass
class Made:
    """Flights of one month with a public and a private table, and a job over all three."""

    folder: Path
    connection: duckdb.DuckDBPyConnection

    def write(self, name: str, select: str) -> Path:
        """A table of our own beside the flights."""
        file = self.folder / name
        self.connection.execute(f"COPY ({select}) TO '{file}' (FORMAT parquet)")
        return file

    def work(self, document: dict[str, Any], on: Dataset, condition: str = "TRUE") -> Work:
        """The job, over the rows of the units for which a condition on `tailnum` holds."""
        flights = self.write("f.parquet", f"SELECT * FROM flights WHERE {condition}")
        # a key that stands twice, one without a partner, and a missing one
        zones = self.write(
            "z.parquet",
            "SELECT * FROM (VALUES ('EWR', 'N'), ('EWR', 'S'), ('JFK', 'S'), ('?', 'N'),"
            " (NULL, 'N')) AS t(code, side)",
        )
        # every airframe has two rows of seats for each of its first rows
        seats = self.write(
            "s.parquet",
            "SELECT tailnum AS tail, distance % 300 AS seats FROM flights, range(2) AS twice"
            f" WHERE place % 3 = 0 AND ({condition})",
        )
        public = dataset_from_json(ZONES, id="z1")
        private = dataset_from_json(SEATS, id="s1")
        others = {"z1": public, "s1": private}
        if "s1" not in [join["dataset_id"] for join in document["joins"]]:
            del others["s1"]
        plan = plan_query(parse_query(document, on, others=others), on, others=others)
        work = work_for(plan, on, flights, self.folder)
        inputs = [*work.inputs, *([Input(private, 1, seats)] if "s1" in others else [])]
        public_inputs = {"z1": Input(public, 1, zones)}
        return dataclasses.replace(work, inputs=tuple(inputs), public=public_inputs)

    def table(self, work: Work) -> tuple[QueryPlan, BoundedTable]:
        """What the engine computes for the job."""
        prepared = QueryEngine().prepare(work)
        return prepared.plan, bounded_table(work, prepared.plan, prepared.prepared)


@pytest.fixture
def made(winter: duckdb.DuckDBPyConnection, tmp_path: Path) -> Made:
    return Made(tmp_path, winter)


JOINED: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
    ([BY_ZONE], {"col": "zone.side", "keys": "domain"}),
    ([BY_UNIT], PRIVATE_DEST),
    ([BY_UNIT, BY_ZONE], {"col": "zone.side", "keys": "domain"}),
]


@pytest.mark.parametrize(("joins", "key"), JOINED)
def test_leaving_a_user_out_of_both_sides_of_a_join_moves_no_more_than_is_charged(
    made: Made, joins: list[dict[str, Any]], key: dict[str, Any]
) -> None:
    leave_out(made, joins, key, 16)


@pytest.mark.long
@pytest.mark.parametrize(("joins", "key"), JOINED)
def test_leaving_any_of_200_users_out_of_both_sides_moves_no_more_than_is_charged(
    made: Made, joins: list[dict[str, Any]], key: dict[str, Any]
) -> None:
    leave_out(made, joins, key, 200)


def leave_out(made: Made, joins: list[dict[str, Any]], key: dict[str, Any], how_many: int) -> None:
    measures: list[dict[str, Any]] = [{"fn": "count"}, {"fn": "mean", "col": "dep_delay"}]
    if BY_UNIT in joins:
        measures.append({"fn": "sum", "col": "plane.seats"})
    document = query(measures, [key], joins=joins, bounds={"max_groups": 1, "max_rows": 4})
    plan, whole = made.table(made.work(document, dataset()))
    changed = 0
    for unit in some_units(made.connection, how_many):
        _, without = made.table(made.work(document, dataset(), f"tailnum <> '{unit}'"))
        assert keeps_the_bound(whole.cells, without.cells, plan), unit
        changed += without != whole
    assert changed >= how_many / 2


def test_a_public_key_that_stands_twice_makes_no_row_two(made: Made) -> None:
    on = dataset(**RECORD)
    document = query([{"fn": "count"}], [], joins=[BY_ZONE])
    plan, table = made.table(made.work(document, on))
    rows = made.connection.execute(
        "SELECT count(*) FROM flights WHERE origin IN ('EWR', 'JFK')"
    ).fetchone()
    assert rows is not None
    assert table.cells == {(): rows}
    one = made.work(document, on, "place <> 7 OR tailnum IS NULL")
    assert keeps_the_bound(table.cells, made.table(one)[1].cells, plan)


def test_a_user_with_many_rows_on_both_sides_is_cut_before_the_join(made: Made) -> None:
    connection = made.connection
    connection.execute("CREATE OR REPLACE TEMP TABLE kept AS SELECT * FROM flights LIMIT 0")
    document = query(
        [{"fn": "count"}], [], joins=[BY_UNIT], bounds={"max_groups": 1, "max_rows": 3}
    )
    work = made.work(document, dataset())
    one = "SELECT 'N1' AS tailnum, 'ATL' AS dest, 2 AS month, 'EWR' AS origin, 5 AS distance"
    flights = made.write("f.parquet", f"{one}, 1.0 AS dep_delay FROM range(100000)")
    seats = made.write("s.parquet", "SELECT 'N1' AS tail, 9 AS seats FROM range(100000)")
    first, second = work.inputs
    both = (dataclasses.replace(first, file=flights), dataclasses.replace(second, file=seats))
    _, table = made.table(dataclasses.replace(work, inputs=both))
    # 10^10 joined rows would never end; 3 x 3 of them count as 3
    assert table.cells == {(): (3,)}


def test_a_joined_job_runs_to_a_result_and_one_without_its_second_input_is_refused(
    made: Made,
) -> None:
    document = query(
        [{"fn": "count"}], [{"col": "zone.side", "keys": "domain"}], joins=[BY_UNIT, BY_ZONE]
    )
    work = made.work(document, dataset())
    result = QueryEngine().prepare(work).run(Started()).result
    assert [row["keys"] for row in result["rows"]] == [{"zone.side": "N"}, {"zone.side": "S"}]
    with pytest.raises(EngineRefused):
        QueryEngine().prepare(dataclasses.replace(work, inputs=work.inputs[:1]))
    with pytest.raises(EngineRefused):
        QueryEngine().prepare(dataclasses.replace(work, public={}))
