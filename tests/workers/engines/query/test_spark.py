"""The same integers from Spark; asked for by `dev.py test --spark`, which brings it."""

import os
import sys
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from tests.workers.engines.query.made import SALT, dataset, plan_for, query
from tests.workers.engines.query.test_dialects import NAMES, PLANS, statements
from workers.engines.api import EngineRefused
from workers.engines.query.dialects import PORTABLE_DUCKDB
from workers.engines.query.spark import spark_table
from workers.engines.query.table import Statements

# Spark spends seconds on the text of one statement, whatever the rows.
pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(1200),
]

SCHEMA = "tailnum string, dest string, month int, origin string, distance bigint, dep_delay double"


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    spark = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = spark.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.shuffle.partitions", "2")
    builder = builder.config("spark.sql.codegen.wholeStage", "false")
    made = builder.config("spark.sql.ansi.enabled", "true").getOrCreate()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def rows(winter: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    return winter.execute(
        f"SELECT {NAMES} FROM flights WHERE dest < 'B' OR dest > 'T'"
        " UNION ALL SELECT * FROM (VALUES (NULL, 'ATL', 2, 'EWR', 5, 1.0::DOUBLE),"
        " ('N1', NULL, 2, 'EWR', NULL, NULL), ('N1', 'ATL', 2, 'EWR', 7, 'inf'::DOUBLE),"
        " ('N1', 'ATL', 2, 'EWR', 7, 'nan'::DOUBLE), ('N1', 'ATL', 2, '?', 7, -60.25::DOUBLE))"
    ).fetchall()


def test_spark_gives_the_same_bounded_table_cell_for_cell(
    session: Any, rows: list[tuple[Any, ...]]
) -> None:
    frame = session.createDataFrame(rows, SCHEMA)
    with duckdb.connect() as connection:
        kinds = SCHEMA.replace("string", "VARCHAR")
        connection.execute(f"CREATE TABLE input_rows ({kinds})")
        connection.executemany("INSERT INTO input_rows VALUES (?, ?, ?, ?, ?, ?)", rows)
        for changes, document in (PLANS[0], PLANS[2]):
            on = dataset(**changes)
            plan = plan_for(document, on)
            totals, *spreads = statements(plan, on, PORTABLE_DUCKDB)
            ours = Statements(totals, tuple(spreads))
            expected = ours.run(lambda text: connection.execute(text).fetchall(), plan)
            assert spark_table(session, frame, plan, on, SALT) == expected
            assert expected.cells


def test_a_frame_of_other_types_is_refused(session: Any, rows: list[tuple[Any, ...]]) -> None:
    on = dataset()
    other = session.createDataFrame(rows, SCHEMA.replace("distance bigint", "distance string"))
    with pytest.raises(EngineRefused, match="distance"):
        spark_table(session, other, plan_for(query(), on), on, SALT)
