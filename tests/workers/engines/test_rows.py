import time
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from app.domain.columns import Column
from app.domain.datasets import Dataset, Source, UnitOfPrivacy, parse_columns
from tests.object_store import KEYS, REGION, object_store
from workers.engines.api import EngineRefused, Input, StoredObject
from workers.engines.rows import RowsUnreadable, attach_rows

COLUMNS = parse_columns(
    [
        {"name": "who", "type": "string"},
        {"name": "amount", "type": "int64"},
        {"name": "share", "type": "float64"},
        {"name": "day", "type": "date"},
    ]
)
LINES = [
    "\ufeffother,who,amount,share,day",
    "1,ann,5,0.5,2024-02-29",
    "2,NA,five,NA,2023-02-29",
    '3,"o\'h, ""x""",7,nan,',
    "4,short",
    "5,long,1,1,2024-01-01,extra",
    "",
]


def source(file: Path, kind: str = "csv") -> Input:
    described = Source("c", file.name, "csv" if kind == "csv" else "parquet")
    return Input(Dataset("d", "d", "private", COLUMNS, described), 1, file)


def write_csv(folder: Path) -> Path:
    file = folder / "rows.csv"
    file.write_text("\n".join(LINES), encoding="utf-8")
    return file


def test_a_field_of_another_type_is_null_and_keeps_its_line(tmp_path: Path) -> None:
    with attach_rows(source(write_csv(tmp_path)), COLUMNS, spill=tmp_path / "spill") as connection:
        rows = connection.execute(
            "SELECT who, amount, isfinite(share), CAST(day AS TEXT) FROM input_rows ORDER BY amount"
            " NULLS LAST, who"
        ).fetchall()
    assert ("ann", 5, True, "2024-02-29") in rows
    assert ("NA", None, None, None) in rows
    assert ('o\'h, "x"', 7, False, None) in rows


def test_counting_after_a_cast_counts_every_line(tmp_path: Path) -> None:
    file = tmp_path / "many.csv"
    lines = ["who,amount,share,day", *(f"u{i},{'x' if i % 3 else i},1,NA" for i in range(300))]
    file.write_text("\n".join(lines), encoding="utf-8")
    with attach_rows(source(file), COLUMNS, spill=tmp_path / "spill") as connection:
        counts = connection.execute(
            "SELECT count(*), count(who), count(amount), count(day) FROM input_rows"
        ).fetchone()
    assert counts == (300, 300, 100, 0)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_csv('{folder}/other.csv')",
        "COPY (SELECT 1) TO '{folder}/leak.csv'",
        "ATTACH '{folder}/leak.db'",
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
        "INSTALL httpfs",
    ],
)
def test_the_connection_reaches_its_own_file_and_nothing_else(
    tmp_path: Path, statement: str
) -> None:
    (tmp_path / "other.csv").write_text("a\n1\n")
    prepared = statement.format(folder=tmp_path)
    with attach_rows(source(write_csv(tmp_path)), COLUMNS, spill=tmp_path / "spill") as connection:
        with pytest.raises(duckdb.Error):
            connection.execute(prepared).fetchall()
        assert connection.execute("SELECT count(*) FROM input_rows").fetchone() is not None
    assert not (tmp_path / "leak.csv").exists()


def test_an_object_is_copied_once_for_all_connections_of_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EPSILON_SOURCE_LAKE", KEYS)
    with object_store() as store:
        store.objects["lake/rows.csv"] = write_csv(tmp_path).read_bytes()
        held = StoredObject(f"{store.endpoint}/lake/rows.csv", REGION, "env:EPSILON_SOURCE_LAKE")
        copied = replace(source(tmp_path / "copies" / "rows.csv"), stored=held)
        for lane in ("0", "1"):
            with attach_rows(copied, COLUMNS, spill=tmp_path / lane) as connection:
                assert connection.execute("SELECT count(*) FROM input_rows").fetchone() == (5,)
                with pytest.raises(duckdb.Error):
                    connection.execute(f"SELECT * FROM read_csv('{held.address}')").fetchall()
        assert [asked[0] for asked in store.asked] == ["GET"]


def test_failures_come_out_without_the_engines_words(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    file.write_bytes(b"secret: this is no such file")
    with (
        pytest.raises(RowsUnreadable) as failed,
        attach_rows(source(file, "parquet"), COLUMNS, spill=tmp_path / "spill"),
    ):
        pass
    assert "secret" not in str(failed.value)


def test_parquet_columns_come_in_their_declared_types(tmp_path: Path) -> None:
    file = tmp_path / "it's.parquet"
    with duckdb.connect() as connection:
        name = str(file).replace("'", "''")
        connection.execute(
            "COPY (SELECT * FROM (VALUES ('a', 'x', 1::FLOAT, '2024-01-01', 9),"
            " ('b', '12', 'nan'::FLOAT, 'soon', 9)) AS t(who, amount, share, day, unwanted))"
            f" TO '{name}' (FORMAT parquet)"
        )
    with attach_rows(source(file, "parquet"), COLUMNS, spill=tmp_path / "spill") as connection:
        described = connection.execute("DESCRIBE input_rows").fetchall()
        amounts = connection.execute("SELECT amount FROM input_rows ORDER BY who").fetchall()
    assert [(row[0], row[1]) for row in described] == [
        ("who", "VARCHAR"),
        ("amount", "BIGINT"),
        ("share", "DOUBLE"),
        ("day", "DATE"),
    ]
    assert amounts == [(None,), (12,)]


def test_array_columns_come_as_arrays(tmp_path: Path) -> None:
    columns = parse_columns([{"name": "pixels", "type": "float32", "shape": [3]}])
    file = tmp_path / "rows.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT [1, 2, 3] AS pixels) TO '{file}' (FORMAT parquet)")
    with attach_rows(source(file, "parquet"), columns, spill=tmp_path / "spill") as connection:
        assert connection.execute("SELECT pixels FROM input_rows").fetchall() == [([1, 2, 3],)]


def test_a_path_that_reads_as_a_pattern_is_refused_unopened(tmp_path: Path) -> None:
    for name in ("*.csv", "a?.csv", "[ab].csv"):
        with (
            pytest.raises(EngineRefused),
            attach_rows(source(tmp_path / name), COLUMNS, spill=tmp_path),
        ):
            pass


def test_a_time_with_a_zone_is_read_in_utc_wherever_the_worker_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    columns = parse_columns([{"name": "left", "type": "timestamp"}])
    file = tmp_path / "rows.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            "COPY (SELECT TIMESTAMPTZ '2013-01-01 05:00:00-05' AS left)"
            f" TO '{file}' (FORMAT parquet)"
        )
    with attach_rows(source(file, "parquet"), columns, spill=tmp_path / "spill") as connection:
        found = connection.execute('SELECT CAST("left" AS TEXT) FROM input_rows').fetchone()
    monkeypatch.undo()
    time.tzset()
    assert found == ("2013-01-01 10:00:00",)


ENGINE_NAMES = ["file_row_number", "FILENAME", "file_index", "file_row_group_number", "rowid"]


@pytest.mark.parametrize("name", [*ENGINE_NAMES, "missing"])
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_column_that_is_not_in_the_file_is_unreadable_whatever_the_engine_makes_of_its_name(
    tmp_path: Path, name: str, kind: str
) -> None:
    file = tmp_path / f"rows.{kind}"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 1 AS who) TO '{file}'")
    wanted = (Column("who", "int64"), Column(name, "int64"))
    with (
        pytest.raises(RowsUnreadable),
        attach_rows(source(file, kind), wanted, spill=tmp_path / "spill"),
    ):
        pass


def write_bad_text(folder: Path, values: str, *, dictionary: bool) -> Path:
    """A Parquet file of (who, place) whose text QQQQ became four bytes that are not UTF-8."""
    file = folder / "text.parquet"
    size = "" if dictionary else ", DICTIONARY_SIZE_LIMIT 1"
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * FROM (VALUES {values}) AS t(who, place)) TO '{file}'"
            f" (FORMAT parquet, COMPRESSION uncompressed{size})"
        )
    content = file.read_bytes()
    assert b"QQQQ" in content
    file.write_bytes(content.replace(b"QQQQ", b"\xff\xfe\xfd\xfc"))
    return file


TEXTS = parse_columns([{"name": "who", "type": "string"}, {"name": "place", "type": "int64"}])


@pytest.mark.parametrize("dictionary", [True, False])
def test_one_text_that_is_not_utf_8_does_not_fail_the_rows_beside_it(
    tmp_path: Path, dictionary: bool
) -> None:
    values = "('ann', 1), ('QQQQ', 2), ('bob', 3)"
    file = write_bad_text(tmp_path, values, dictionary=dictionary)
    with attach_rows(source(file, "parquet"), TEXTS, spill=tmp_path / "spill") as connection:
        found = connection.execute("SELECT who, place FROM input_rows ORDER BY place").fetchall()
    assert found == [("ann", 1), ("????", 2), ("bob", 3)]


@pytest.mark.parametrize("others", ["", ", ('!', 3), ('zz', 4)"])
def test_whether_a_text_that_is_not_utf_8_meets_a_literal_depends_on_its_own_row(
    tmp_path: Path, others: str
) -> None:
    # The reader would skip a row group whose raw bytes lie on one side of the literal.
    file = write_bad_text(tmp_path, f"('QQQQ', 2){others}", dictionary=True)
    with attach_rows(source(file, "parquet"), TEXTS, spill=tmp_path / "spill") as connection:
        for condition in ("who = '????'", "who IN ('????', '~')"):
            found = connection.execute(f"SELECT place FROM input_rows WHERE {condition}")
            assert found.fetchall() == [(2,)]


UNITS = {
    "text": ("'007'::VARCHAR", "'7'::VARCHAR"),
    "double": ("7.4::DOUBLE", "7.0::DOUBLE"),
    "blob": ("'\\x07'::BLOB", "'\\x08'::BLOB"),
    "unsigned": ("18446744073709551615::UBIGINT", "18446744073709551614::UBIGINT"),
    "integer": ("7::INTEGER", "8::INTEGER"),
    "time": ("TIMESTAMP_NS '2024-01-01 00:00:00.000000001'", "TIMESTAMP_NS '2024-01-01 00:00:00'"),
}


@pytest.mark.parametrize("declared", ["int64", "string"])
@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("found", UNITS)
def test_two_people_never_become_one_through_the_declared_type(
    tmp_path: Path, found: str, kind: str, declared: str
) -> None:
    file = tmp_path / f"people.{kind}"
    with duckdb.connect() as connection:
        one, other = UNITS[found]
        connection.execute(f"COPY (SELECT unnest([{one}, {other}]) AS who) TO '{file}'")
    columns = parse_columns([{"name": "who", "type": declared}])
    described = Source("c", file.name, "csv" if kind == "csv" else "parquet")
    people = Dataset("d", "d", "private", columns, described, UnitOfPrivacy("user", "who"))
    with attach_rows(Input(people, 1, file), columns, spill=tmp_path / "spill") as connection:
        counted = connection.execute("SELECT count(who), count(DISTINCT who) FROM input_rows")
        assert counted.fetchone() == (2, 2)


def test_a_name_that_may_not_have_been_utf_8_is_nobody(tmp_path: Path) -> None:
    file = write_bad_text(tmp_path, "('ann', 1), ('QQQQ', 2), ('????', 3)", dictionary=True)
    described = Source("c", file.name, "parquet")
    people = Dataset("d", "d", "private", TEXTS, described, UnitOfPrivacy("user", "who"))
    with attach_rows(Input(people, 1, file), TEXTS, spill=tmp_path / "spill") as connection:
        found = connection.execute("SELECT who, place FROM input_rows ORDER BY place").fetchall()
    assert found == [("ann", 1), (None, 2), (None, 3)]


def test_lists_are_no_names_because_two_of_them_can_print_alike(tmp_path: Path) -> None:
    file = tmp_path / "lists.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT ['a, b'] AS who) TO '{file}' (FORMAT parquet)")
    columns = parse_columns([{"name": "who", "type": "string"}])
    described = Source("c", file.name, "parquet")
    people = Dataset("d", "d", "private", columns, described, UnitOfPrivacy("user", "who"))
    with (
        pytest.raises(RowsUnreadable),
        attach_rows(Input(people, 1, file), columns, spill=tmp_path / "spill"),
    ):
        pass
