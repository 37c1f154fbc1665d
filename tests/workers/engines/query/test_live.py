"""Live tables: the same integers as from a file, one read-only look, and no word of a secret."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from sqlalchemy import URL, make_url

from app.domain.datasets import Dataset
from tests.conftest import run_outside_transaction
from tests.workers.engines.query.made import RECORD, SALT, dataset, plan_for, query, work_for
from tests.workers.engines.query.test_dialects import NAMES, PLANS, as_integers
from tests.workers.engines.query.test_tallies import planned
from workers.engines.api import EngineRefused, Input, LiveTable, Work
from workers.engines.query.bounding import bounding_query, spread_query
from workers.engines.query.dialects import PORTABLE_DUCKDB
from workers.engines.query.engine import QueryEngine
from workers.engines.query.live import open_live
from workers.engines.query.table import BoundedTable, bounded_table, prepare_table, weights_of
from workers.engines.rows import RowsUnreadable

SECRET = "of-a-test-and-of-nobody-else"
COUNT = query([{"fn": "count"}], [])
COLUMNS = (
    "tailnum TEXT, dest TEXT, month INTEGER, origin TEXT, distance INTEGER,"
    " dep_delay DOUBLE PRECISION"
)


@pytest.fixture(scope="module")
def rows(winter: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """Flights of February, with what files also hold: nobody's rows, no values, no numbers."""
    return winter.execute(
        f"SELECT {NAMES} FROM flights WHERE dest < 'B' OR dest > 'T'"
        " UNION ALL SELECT * FROM (VALUES (NULL, 'ATL', 2, 'EWR', 5, 1.0::DOUBLE),"
        " ('N1', NULL, 2, 'EWR', NULL, NULL), ('N1', 'ATL', 2, 'EWR', 7, 'inf'::DOUBLE),"
        " ('N1', 'ATL', 2, '?', 7, -60.25::DOUBLE), ('n1', 'atl', 2, 'JFK', 9, 3.0::DOUBLE))"
    ).fetchall()


@pytest.fixture
def reader(postgresql: URL) -> Iterator[str]:
    name = f"reader_{os.urandom(4).hex()}"
    run_outside_transaction(postgresql, f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
    yield name
    run_outside_transaction(postgresql, f"DROP ROLE {name}")


@pytest.fixture
def database(reader: str, empty_database_url: Callable[[str], str]) -> URL:
    """A database of others; the role may connect to it, and nothing else yet."""
    return make_url(empty_database_url("postgresql")).set(drivername="postgresql")


def as_owner(database: URL, *statements: str) -> None:
    with psycopg.connect(database.render_as_string(hide_password=False)) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def as_reader(database: URL, reader: str) -> str:
    return database.set(username=reader, password=SECRET).render_as_string(hide_password=False)


@pytest.fixture
def on_postgresql(
    rows: list[tuple[Any, ...]], database: URL, reader: str, monkeypatch: pytest.MonkeyPatch
) -> LiveTable:
    as_owner(database, "CREATE SCHEMA air", f"CREATE TABLE air.flights ({COLUMNS})")
    with (
        psycopg.connect(database.render_as_string(hide_password=False)) as connection,
        connection.cursor() as cursor,
        cursor.copy("COPY air.flights FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)
    as_owner(
        database,
        "ANALYZE air.flights",
        f"GRANT USAGE ON SCHEMA air TO {reader}",
        f"GRANT SELECT ON air.flights TO {reader}",
    )
    monkeypatch.setenv("EPSILON_SOURCE_AIR", as_reader(database, reader))
    return LiveTable("postgresql", "env:EPSILON_SOURCE_AIR", "air.flights")


@pytest.fixture
def on_sqlite(rows: list[tuple[Any, ...]], tmp_path: Path) -> LiveTable:
    file = tmp_path / "air.sqlite3"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"CREATE TABLE flights ({COLUMNS})")
        connection.executemany("INSERT INTO flights VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.commit()
    return LiveTable("sqlite", str(file), "flights")


@pytest.fixture(params=["on_postgresql", "on_sqlite"])
def live(request: pytest.FixtureRequest) -> LiveTable:
    table = request.getfixturevalue(request.param)
    assert isinstance(table, LiveTable)
    return table


def live_work(document: dict[str, Any], on: Dataset, live: LiveTable, folder: Path) -> Work:
    work = work_for(plan_for(document, on), on, folder, folder)
    return replace(work, inputs=(Input(on, 1, None, live=live),))


def table_over(document: dict[str, Any], on: Dataset, live: LiveTable, folder: Path) -> Any:
    return bounded_table(live_work(document, on, live, folder), plan_for(document, on))


def counted(live: LiveTable, folder: Path, on: Dataset | None = None) -> int:
    table: BoundedTable = table_over(COUNT, on or dataset(**RECORD), live, folder)
    return table.cells[()][0]


def test_the_bounded_table_of_a_live_table_is_that_of_a_file_cell_for_cell(
    live: LiveTable, rows: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    with duckdb.connect() as connection:
        kinds = COLUMNS.replace("INTEGER", "BIGINT").replace("DOUBLE PRECISION", "DOUBLE")
        connection.execute(f"CREATE TABLE input_rows ({kinds})")
        connection.executemany("INSERT INTO input_rows VALUES (?, ?, ?, ?, ?, ?)", rows)
        for changes, document in PLANS:
            on = dataset(**changes)
            plan = plan_for(document, on)
            keys = len(plan.spec.group_by)
            found = table_over(document, on, live, tmp_path)
            totals = bounding_query(plan, on, SALT, PORTABLE_DUCKDB).sql(dialect="duckdb")
            expected = as_integers(connection.execute(totals).fetchall(), keys)
            assert found.cells == expected
            assert expected
            for spread, weights in zip(plan.spreads, found.spreads, strict=True):
                text = spread_query(plan, spread, on, SALT, PORTABLE_DUCKDB).sql(dialect="duckdb")
                fine = connection.execute(text).fetchall()
                assert sum(sum(each.values()) for each in weights.values()) == sum(
                    int(row[-1]) for row in fine
                )


def test_the_tallies_of_a_live_table_are_those_of_a_file(
    live: LiveTable, rows: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    on = dataset()
    plan = planned(on).query
    work = replace(work_for(plan, on, tmp_path, tmp_path), inputs=(Input(on, 1, None, live=live),))
    found = bounded_table(work, plan).spreads
    with duckdb.connect() as connection:
        kinds = COLUMNS.replace("INTEGER", "BIGINT").replace("DOUBLE PRECISION", "DOUBLE")
        connection.execute(f"CREATE TABLE input_rows ({kinds})")
        connection.executemany("INSERT INTO input_rows VALUES (?, ?, ?, ?, ?, ?)", rows)
        for spread, weights in zip(plan.spreads, found, strict=True):
            text = spread_query(plan, spread, on, SALT, PORTABLE_DUCKDB).sql(dialect="duckdb")
            assert weights == weights_of(spread, 0, connection.execute(text).fetchall())
            assert weights


def test_a_live_database_is_only_ever_read(live: LiveTable) -> None:
    for attempt in (
        "DELETE FROM flights",
        "CREATE TABLE mine (x INTEGER)",
        "INSERT INTO flights (dest) VALUES ('X')",
    ):
        with pytest.raises(RowsUnreadable) as said, open_live(live) as looked:
            looked.run(attempt.replace("flights", live.name))
        assert str(said.value) == "failed-after-touch()"


def test_a_job_that_takes_too_long_is_ended_without_a_word(live: LiveTable) -> None:
    slow = (
        "SELECT pg_sleep(20)"
        if live.kind == "postgresql"
        else "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    )
    with pytest.raises(RowsUnreadable), open_live(live, time_limit_s=1) as looked:
        looked.run(slow)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ("ALTER TABLE air.flights DROP COLUMN dest CASCADE", "no column 'dest'"),
        ("ALTER TABLE air.flights ALTER distance TYPE numeric", "'distance' is not of type"),
        ("ALTER TABLE air.flights ALTER dest TYPE char(3)", "'dest' is not of type"),
        ("GRANT DELETE ON air.flights TO {reader}", "may do more than read"),
        ("ALTER ROLE {reader} SUPERUSER", "may do more than read"),
        ("REVOKE SELECT ON air.flights FROM {reader}", "no column"),
        ("DROP TABLE air.flights", "no column"),
        ("REVOKE USAGE ON SCHEMA air FROM {reader}", "cannot run this plan"),
    ],
)
def test_what_the_database_cannot_do_is_refused_before_a_unit_starts(
    on_postgresql: LiveTable,
    database: URL,
    reader: str,
    tmp_path: Path,
    changed: str,
    reason: str,
) -> None:
    document, on = query([{"fn": "sum", "col": "distance"}]), dataset()
    QueryEngine().prepare(live_work(document, on, on_postgresql, tmp_path))
    as_owner(database, changed.format(reader=reader))
    with pytest.raises(EngineRefused, match=reason):
        QueryEngine().prepare(live_work(document, on, on_postgresql, tmp_path))


def test_a_secret_that_is_nowhere_or_wrong_is_refused_and_never_told(
    on_postgresql: LiveTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_file = tmp_path / "secret"
    secret_file.write_text(os.environ["EPSILON_SOURCE_AIR"] + "\n")
    assert counted(replace(on_postgresql, root=f"file:{secret_file}"), tmp_path) > 0
    for secret in (None, f"postgresql://a:{SECRET}@127.0.0.1:1/b", f"nonsense {SECRET}"):
        if secret is None:
            monkeypatch.delenv("EPSILON_SOURCE_AIR")
        else:
            monkeypatch.setenv("EPSILON_SOURCE_AIR", secret)
        with pytest.raises(EngineRefused) as said:
            counted(on_postgresql, tmp_path)
        assert SECRET not in repr(said.value)
        assert said.value.__cause__ is None
        assert said.value.__suppress_context__


def test_rows_do_not_cross_a_network_in_the_clear_unless_the_string_says_so(
    on_postgresql: LiveTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EPSILON_SOURCE_AIR", f"postgresql://a:{SECRET}@192.0.2.1/b")
    with pytest.raises(EngineRefused, match="sslmode"):
        counted(on_postgresql, tmp_path)


def test_a_value_of_another_kind_is_none_and_fails_nothing(tmp_path: Path) -> None:
    file = tmp_path / "loose.sqlite3"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE flights (tailnum TEXT COLLATE NOCASE, dest, distance)")
        connection.executemany(
            "INSERT INTO flights VALUES (?, ?, ?)",
            [
                ("a", "ATL", 10),
                ("A", "ATL", 10),
                ("b", "ATL", "many"),
                ("c", 7, 10),
                ("d", b"ATL", 10.5),
                (5, "ATL", 10),
                (b"e", "ATL", 10),
            ],
        )
        connection.execute("INSERT INTO flights VALUES (CAST(x'ff' AS TEXT), 'ATL', 10)")
        connection.execute("INSERT INTO flights VALUES ('f', CAST(x'fe' AS TEXT), 10)")
        connection.commit()
    live = LiveTable("sqlite", str(file), "flights")
    document = query([{"fn": "count_distinct"}, {"fn": "sum", "col": "distance"}])
    found = table_over(document, dataset(), live, tmp_path).cells
    # five is a name where texts are kept; what is no text names nobody and is no place
    units = {key: totals[0] for key, totals in found.items()}
    assert units == {("ATL",): 4, (None,): 3}
    assert found[("ATL",)][-1] == 30


def test_a_live_table_is_asked_by_itself(on_sqlite: LiveTable, tmp_path: Path) -> None:
    on = dataset(**RECORD)
    plan, alone = plan_for(COUNT, on), live_work(COUNT, on, on_sqlite, tmp_path)
    beside = replace(alone, inputs=(Input(on, 1, tmp_path / "rows.parquet"), *alone.inputs))
    with pytest.raises(EngineRefused, match="by itself"):
        prepare_table(plan, beside, memory_limit="2GB")


def test_sums_too_wide_for_the_database_are_refused_before_a_unit_starts(
    on_sqlite: LiveTable, tmp_path: Path
) -> None:
    wide = {"fn": "sum", "col": "distance", "lo": "0", "hi": str(2**32)}
    with pytest.raises(EngineRefused, match="too narrow"):
        QueryEngine().prepare(live_work(query([wide], []), dataset(**RECORD), on_sqlite, tmp_path))
