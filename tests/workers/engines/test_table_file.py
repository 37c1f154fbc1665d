"""The Parquet file of a result holds what was released, number by number, and nothing else."""

import json
import logging
from pathlib import Path
from typing import Any

import duckdb
import pytest

from app.reporting.result_table import RESULT_PARQUET, ResultTable, TableColumn, result_table
from tests.reporting.test_result_table import DOCUMENT
from workers.engines import table_file
from workers.engines.table_file import keep_table, write_parquet

COLUMNS = (
    TableColumn("a \"key\" of 'it'", "text"),
    TableColumn("integer", "integer"),
    TableColumn("number", "number"),
    TableColumn("boolean", "boolean"),
    TableColumn("width", "decimal"),
    TableColumn("edges", "decimal", is_list=True),
    TableColumn("keys", "text", is_list=True),
)
ROWS: tuple[tuple[Any, ...], ...] = (
    ('it\'s "so"\r\n\u2028, =1', 2**63 - 1, 0.1 + 0.2, True, "89.9", ["0", "1.5"], ["a", "="]),
    ("", -(2**63), 5e-324, False, "0.000001", [], []),
    ("007", 0, -1.7976931348623157e308, None, None, None, None),
    (None, None, 3, None, None, None, None),
    ("null", 1, -0.0, True, "123456789.25", ["-1"], ["null"]),
)


def read(file: Path) -> tuple[list[str], list[tuple[Any, ...]]]:
    with duckdb.connect() as connection:
        found = connection.execute("SELECT * FROM read_parquet(?)", [str(file)])
        names = [column[0] for column in found.description or []]
        return names, found.fetchall()


def test_every_field_comes_back_as_it_was_released(tmp_path: Path) -> None:
    write_parquet(ResultTable(COLUMNS, ROWS, ("a note",)), tmp_path)
    names, rows = read(tmp_path / RESULT_PARQUET)
    assert names == [column.name for column in COLUMNS]
    for row, released in zip(rows, ROWS, strict=True):
        assert row[:4] == released[:4]
        assert row[4] == (None if released[4] is None else float(released[4]))
        assert row[5] == (None if released[5] is None else [float(each) for each in released[5]])
        assert row[6] == released[6]


def test_the_rows_stay_in_their_order_however_many(tmp_path: Path) -> None:
    rows = tuple((f"key {place}", place) for place in range(50_000))
    columns = (TableColumn("key", "text"), TableColumn("place", "integer"))
    write_parquet(ResultTable(columns, rows, ()), tmp_path)
    assert tuple(read(tmp_path / RESULT_PARQUET)[1]) == rows


def test_the_notes_stand_in_the_file(tmp_path: Path) -> None:
    assert keep_table(DOCUMENT, tmp_path) == (RESULT_PARQUET,)
    with duckdb.connect() as connection:
        kept = connection.execute(
            "SELECT key, value FROM parquet_kv_metadata(?)", [str(tmp_path / RESULT_PARQUET)]
        ).fetchall()
    assert (b"notes", json.dumps(DOCUMENT["notes"]).encode()) in kept


def test_a_result_without_rows_has_its_columns(tmp_path: Path) -> None:
    document = {**DOCUMENT, "rows": []}
    assert keep_table(document, tmp_path) == (RESULT_PARQUET,)
    names, rows = read(tmp_path / RESULT_PARQUET)
    assert names == [column.name for column in result_table(DOCUMENT).columns]
    assert rows == []


def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    keep_table(DOCUMENT, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [RESULT_PARQUET]


def test_a_result_that_is_no_table_has_no_file(tmp_path: Path) -> None:
    assert keep_table({"test_accuracy": 0.9}, tmp_path) == ()
    assert list(tmp_path.iterdir()) == []


def test_a_paid_result_is_not_lost_where_its_table_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(table: ResultTable, scratch: Path) -> None:
        (scratch / RESULT_PARQUET).write_bytes(b"half")
        raise OSError("no space left for ATL")

    monkeypatch.setattr(table_file, "write_parquet", full)
    with caplog.at_level(logging.WARNING):
        assert keep_table(DOCUMENT, tmp_path) == ()
    assert list(tmp_path.iterdir()) == []
    assert "ATL" not in caplog.text
