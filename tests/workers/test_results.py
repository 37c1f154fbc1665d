"""A query's result in all its forms, from the rows through a worker: the same released numbers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest

from app.db.session import make_engine, make_session_maker
from app.reporting.result_table import RESULT_PARQUET, result_table
from app.settings import Settings
from tests.world import World, new_world
from workers import running
from workers.context import Context
from workers.running import run_job

COLUMNS: tuple[dict[str, Any], ...] = (
    {"name": "place", "type": "string", "domain": ["=1+2", "b"], "domain_source": "public"},
    {"name": "value", "type": "int64"},
)
SPEC: dict[str, Any] = {
    "v": 1,
    "group_by": [{"col": "place", "keys": "domain"}],
    "measures": [{"fn": "histogram", "col": "value", "edges": ["0", "5", "10"]}],
    "privacy": {"epsilon": "1", "delta": "0", "noise": "discrete_laplace"},
}


@pytest.fixture
def world(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    engine = make_engine(sqlite_url)
    rows = "place,value\n" + "=1+2,3\nb,4\n" * 20
    with new_world(make_session_maker(engine), tmp_path, columns=COLUMNS, rows=rows) as made:
        yield made
    engine.dispose()


def released(world: World, url: str) -> tuple[UUID, dict[str, Any]]:
    job_id = UUID(world.submit(world.open_root("rdp-mix/1", "8", "1e-5"), SPEC)["id"])
    settings = Settings(database_url=url, home=world.home)
    run_job(Context(settings, world.make_session, "w", world.journal), job_id)
    return job_id, world.jobs.result(world.engineer, job_id)


def test_a_paid_result_is_posted_though_the_disk_takes_no_table(
    world: World, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # it says that it wrote the file, and the disk has nothing
    monkeypatch.setattr(running, "keep_table", lambda *_: (RESULT_PARQUET,))
    job_id, result = released(world, sqlite_url)
    assert world.jobs.get(world.engineer, job_id)["state"] == "settled"
    assert (len(result["rows"]), result["artifacts"]) == (2, [])


def test_the_parquet_file_of_a_query_holds_the_table_of_its_result(
    world: World, sqlite_url: str
) -> None:
    job_id, result = released(world, sqlite_url)
    assert [item["name"] for item in result["artifacts"]] == [RESULT_PARQUET]
    file = world.jobs.artifact(world.engineer, job_id, RESULT_PARQUET)
    assert result["artifacts"][0]["size_bytes"] == file.stat().st_size
    table = result_table(result)
    with duckdb.connect() as connection:
        found = connection.execute("SELECT * FROM read_parquet(?)", [str(file)])
        names = [column[0] for column in found.description or []]
        rows = found.fetchall()
    assert names == [column.name for column in table.columns]
    assert len(rows) == len(table.rows) == 2
    for row, fields in zip(rows, table.rows, strict=True):
        key, value, width, mechanism, edges = fields
        assert row == (key, value, float(width), mechanism, [float(each) for each in edges])
    assert [row[0] for row in rows] == ["=1+2", "b"]
