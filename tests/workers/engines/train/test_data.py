"""Attacks on the reading: one record is one row, and nothing in a row makes it fail."""

import math
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import duckdb
import pytest

from app.domain.columns import Column
from app.domain.datasets import Dataset, Source, dataset_from_json
from tests.object_store import KEYS, REGION, object_store
from workers.engines.api import ChosenBlocks, Input, RowsFile, StoredObject
from workers.engines.train.data import Table, read_table

PIXELS = Column("pixels", "float32", low=Decimal(0), high=Decimal(16), shape=(3,))
AGE = Column("age", "int64", low=Decimal(-10), high=Decimal(10))
MEMBER = Column("member", "bool")
DIGIT = Column("digit", "int64", domain=(7, 3, 5), domain_source="public")


def _write(folder: Path, rows: str, name: str = "rows.parquet") -> Path:
    """A Parquet file of `VALUES` rows (pixels, age, member, digit, word, day)."""
    file = folder / name
    with duckdb.connect() as connection:
        path = str(file).replace("'", "''")
        connection.execute(
            f"COPY (SELECT * FROM (VALUES {rows}) AS t(pixels, age, member, digit, word, day)) "
            f"TO '{path}' (FORMAT parquet)"
        )
    return file


def _row(pixels: str = "[0, 8, 16]", age: str = "0", member: str = "true", digit: str = "3") -> str:
    plain = f"({age})::DOUBLE, {member}::BOOLEAN, ({digit})::INTEGER"
    return f"({pixels}::DOUBLE[], {plain}, 'b', DATE '2026-01-31')"


def _read(
    file: Path,
    label: Column = DIGIT,
    *,
    features: tuple[Column, ...] = (PIXELS, AGE, MEMBER),
    format_: Literal["parquet", "csv"] = "parquet",
    stored: StoredObject | None = None,
) -> Table:
    source = Source("demo", file.name, format_)
    dataset = Dataset("d1", "rows", "public", (*features, label), source)
    spill = file.parent / "spill"
    return read_table(Input(dataset, 1, file, stored=stored), features, label, spill=spill)


def test_values_are_scaled_by_public_bounds_and_labels_by_the_public_domain(
    tmp_path: Path,
) -> None:
    table = _read(_write(tmp_path, f"{_row()}, {_row(age='10', member='false', digit='7')}"))
    assert table.inputs.tolist() == [[0, 0.5, 1, 0.5, 1], [0, 0.5, 1, 1, 0]]
    assert table.labels.tolist() == [1, 0]


def test_records_are_read_from_the_object_of_a_store_as_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EPSILON_SOURCE_LAKE", KEYS)
    file = _write(tmp_path, f"{_row()}, {_row(age='10', member='false', digit='7')}")
    with object_store() as store:
        store.objects["lake/rows.parquet"] = file.read_bytes()
        held = StoredObject(
            f"{store.endpoint}/lake/rows.parquet", REGION, "env:EPSILON_SOURCE_LAKE"
        )
        copied = _read(tmp_path / "copies" / "rows.parquet", stored=held)
    assert copied.inputs.tolist() == _read(file).inputs.tolist()
    assert copied.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ("[-5, 99, 4]", [0, 1, 0.25]),
        ("['NaN'::DOUBLE, 'inf'::DOUBLE, '-inf'::DOUBLE]", [0, 1, 0]),
        ("[NULL, 4, NULL]", [0, 0.25, 0]),
        ("[16]", [1, 0, 0]),
        ("[]", [0, 0, 0]),
        ("NULL", [0, 0, 0]),
        ("[4, 8, 16, 16, 16]", [0.25, 0.5, 1]),
        ("[1e308, -1e308, 1e-308]", [1, 0, 0]),
    ],
)
def test_no_value_of_a_row_leaves_the_unit_interval_or_fails(
    tmp_path: Path, pixels: str, expected: list[float]
) -> None:
    table = _read(_write(tmp_path, _row(pixels=pixels)))
    assert table.inputs[0, :3].tolist() == expected


@pytest.mark.parametrize(("age", "expected"), [("NULL", 0), ("'NaN'", 0), ("-99", 0), ("99", 1)])
def test_a_plain_number_is_clamped_and_a_missing_one_is_the_low_end(
    tmp_path: Path, age: str, expected: float
) -> None:
    assert float(_read(_write(tmp_path, _row(age=age))).inputs[0, 3]) == expected


def test_a_label_outside_the_public_domain_drops_its_own_row_alone(tmp_path: Path) -> None:
    rows = [_row(digit=digit) for digit in ("3", "NULL", "4", "5", "-2147483648")]
    assert sorted(_read(_write(tmp_path, ", ".join(rows))).labels.tolist()) == [1, 2]


@pytest.mark.parametrize("broken", range(6))
def test_removing_one_record_removes_one_row_at_most(tmp_path: Path, broken: int) -> None:
    rows = [
        *(_row(pixels="[1, NULL, 'inf'::DOUBLE]"), _row(pixels="NULL"), _row(digit="NULL")),
        *(_row(age="NULL"), _row(member="NULL"), _row()),
    ]
    whole = _as_list(_read(_write(tmp_path, ", ".join(rows))))
    del rows[broken]
    rest = _as_list(_read(_write(tmp_path, ", ".join(rows), "rest.parquet")))
    for row in rest:
        whole.remove(row)  # fails when a row changed because another one left
    assert len(whole) <= 1


def _as_list(table: Table) -> list[tuple[float, ...]]:
    assert not table.inputs.isnan().any()
    labels = table.labels.tolist()
    return [(*row, label) for row, label in zip(table.inputs.tolist(), labels, strict=True)]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (Column("word", "string", domain=("a", "b"), domain_source="public"), 1),
        (Column("word", "string", domain=("it's", "b", "';--"), domain_source="public"), 1),
        (Column("member", "bool", domain=(False, True), domain_source="public"), 1),
        (Column("day", "date", domain=("2026-01-30", "2026-01-31"), domain_source="public"), 1),
    ],
)
def test_labels_of_every_key_type_find_their_class(
    tmp_path: Path, label: Column, expected: int
) -> None:
    table = _read(_write(tmp_path, _row()), label, features=(PIXELS, AGE))
    assert table.labels.tolist() == [expected]


def test_an_empty_table_reads_as_no_rows(tmp_path: Path) -> None:
    table = _read(_write(tmp_path, _row(digit="4")))
    assert table.inputs.shape == (0, 5)
    assert table.labels.shape == (0,)


def test_a_file_name_with_quotes_is_a_file_name(tmp_path: Path) -> None:
    assert _read(_write(tmp_path, _row(), "it's, odd'.parquet")).labels.tolist() == [1]


def test_csv_reads_to_the_same_rows(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(
        'pixels,age,member,digit\n"[0, 8, 16]",0,true,3\n"[0, x, 16]",oops,maybe,7\nnone,1,,9\n'
    )
    table = _read(file, format_="csv")
    assert table.labels.tolist() == [1, 0]
    assert table.inputs.tolist() == [[0, 0.5, 1, 0.5, 1], [0, 0, 1, 0, 0]]


def test_the_connection_opens_its_own_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _write(tmp_path, _row())
    other = _write(tmp_path, _row(), "other.parquet")
    connections: list[Any] = []
    connect = duckdb.connect

    def keep(*args: Any, **kwargs: Any) -> Any:
        connections.append(connect(*args, **kwargs))
        return connections[0].cursor()  # the reader closes its cursor; the settings stay

    monkeypatch.setattr(duckdb, "connect", keep)
    _read(file)
    for query in (f"SELECT * FROM '{other}'", "SET enable_external_access = true"):
        with pytest.raises(duckdb.Error):
            connections[0].execute(query)


def test_bounds_far_from_zero_keep_their_middle(tmp_path: Path) -> None:
    far = Column("age", "float64", low=Decimal(1000), high=Decimal(3000))
    table = _read(_write(tmp_path, _row(age="2000")), features=(far,))
    assert math.isclose(float(table.inputs[0, 0]), 0.5)


def test_training_reads_the_rows_of_its_blocks_and_no_other(tmp_path: Path) -> None:
    """Before anything is sampled: a row of another block is no row here (R8)."""
    file = tmp_path / "rows.csv"
    lines = [f"2026-01-0{1 + n % 4},{n},{n % 2}" for n in range(40)]
    file.write_text("\n".join(["day,x,y", *lines]) + "\n")
    dataset = dataset_from_json(
        {
            "name": "visits",
            "access": "private",
            "columns": [
                {"name": "day", "type": "date"},
                {"name": "x", "type": "int64", "bounds": {"low": "0", "high": "40"}},
                {"name": "y", "type": "int64", "domain": [0, 1], "domain_source": "public"},
            ],
            "source": {"connection": "c", "path": "rows.csv", "format": "csv"},
            "unit_of_privacy": {"kind": "record"},
            "relation": "add_remove",
            "nominal_size": 10,
            "blocks": {
                "kind": "time",
                "column": "day",
                "period": "day",
                "time_zone": "UTC",
                "first_day": "2026-01-01",
                "grace_days": 0,
            },
        },
        id="d",
    )
    chosen = ChosenBlocks(((1, 1), (3, 3)), (RowsFile(file, "csv"),))
    source = Input(dataset.of_blocks(chosen.ranges), 1, file, chosen)
    table = read_table(source, dataset.columns[1:2], dataset.columns[2], spill=tmp_path / "spill")
    found = sorted((table.inputs[:, 0] * 40).round().int().tolist())
    assert found == [n for n in range(40) if n % 4 in (1, 3)]
