"""Attacks on the reading of texts: one record is one row of a public length, whatever it holds."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from torch import Tensor

from app.domain.columns import Column
from app.domain.datasets import Dataset, Source
from app.domain.training.models import TransformerLm
from workers.engines.api import Input
from workers.engines.train.texts import read_tokens

LINE = Column("line", "string")
NUMBERS = Column("numbers", "int64", low=Decimal(0), high=Decimal(6), shape=(5,))
LETTERS = TransformerLm("abc\n", 6, 4, 8, 2, 1)
TOKENS = TransformerLm("", 7, 4, 8, 2, 1)


def _read(folder: Path, kind: str, values: list[Any], column: Column, model: Any) -> Tensor:
    file = folder / "rows.parquet"
    with duckdb.connect() as connection:
        connection.execute(f'CREATE TABLE t ("{column.name}" {kind})')
        connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
        connection.execute(f"COPY t TO '{file}' (FORMAT parquet)")
    source = Source("demo", "rows.parquet", "parquet")
    dataset = Dataset("d1", "rows", "public", (column,), source)
    return read_tokens(Input(dataset, 1, file), column, model, spill=folder / "spill")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abc", [2, 3, 4, 0, 0]),
        ("abcabcabc", [2, 3, 4, 2, 3]),
        ("a\nz", [2, 5, 1, 0, 0]),
        ("\U0001f600a", [1, 2, 0, 0, 0]),
        ("", [0, 0, 0, 0, 0]),
        (None, [0, 0, 0, 0, 0]),
    ],
)
def test_a_text_is_cut_or_filled_up_and_what_is_unknown_is_one_token(
    tmp_path: Path, text: str | None, expected: list[int]
) -> None:
    found = _read(tmp_path, "VARCHAR", ["cab", text, "b"], LINE, LETTERS)
    assert found.tolist() == [[4, 2, 3, 0, 0], expected, [3, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]),
        ([6, 6, 6, 6, 6, 6, 6, 6], [6, 6, 6, 6, 6]),
        ([7, -1, 2**40], [1, 1, 1, 0, 0]),
        ([None, 3], [1, 3, 0, 0, 0]),
        ([], [0, 0, 0, 0, 0]),
        (None, [0, 0, 0, 0, 0]),
    ],
)
def test_tokens_that_do_not_exist_are_the_unknown_one(
    tmp_path: Path, numbers: list[int | None] | None, expected: list[int]
) -> None:
    found = _read(tmp_path, "BIGINT[]", [numbers, [2]], NUMBERS, TOKENS)
    assert found.tolist() == [expected, [2, 0, 0, 0, 0]]


@pytest.mark.parametrize("without", range(4))
def test_removing_one_record_removes_its_row_and_moves_no_other(
    tmp_path: Path, without: int
) -> None:
    texts = ["abc", None, "", "cabbage"]
    whole = _read(tmp_path, "VARCHAR", texts, LINE, LETTERS).tolist()
    left = texts[:without] + texts[without + 1 :]
    expected = whole[:without] + whole[without + 1 :]
    assert _read(tmp_path, "VARCHAR", left, LINE, LETTERS).tolist() == expected
