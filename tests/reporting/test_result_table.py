"""A result's table holds what was released, and its CSV neither acts nor forgets."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.reporting.result_table import (
    ResultTable,
    TableColumn,
    csv_text,
    guarded,
    has_table,
    result_table,
)

DOCUMENT: dict[str, Any] = {
    "columns": [
        {"name": "dest", "kind": "key", "type": "string"},
        {"name": "month", "kind": "key", "type": "int64"},
        {"name": "count", "kind": "measure", "type": "number"},
        {"name": "mean(delay)", "kind": "measure", "type": "number"},
        {"name": "quantile(delay, 0.5)", "kind": "measure", "type": "number"},
        {"name": "histogram(delay)", "kind": "measure", "type": "numbers"},
        {"name": "top_k(origin)", "kind": "measure", "type": "keys"},
    ],
    "rows": [
        {
            "keys": {"dest": "=1+2", "month": 1},
            "cells": [
                {
                    "measure": "count",
                    "value": -3,
                    "half_width_95": "89.9",
                    "mechanism": "discrete_laplace",
                },
                {
                    "measure": "mean(delay)",
                    "value": 0.1,
                    "half_width_95": "1.5",
                    "mechanism": "discrete_laplace",
                },
                {
                    "measure": "quantile(delay, 0.5)",
                    "value": 12,
                    "half_width_95": None,
                    "rank_half_width_95": "40",
                    "mechanism": "exponential",
                },
                {
                    "measure": "histogram(delay)",
                    "value": [1, -2],
                    "edges": ["0", "1.5", "3"],
                    "half_width_95": "9",
                    "mechanism": "discrete_laplace",
                },
                {
                    "measure": "top_k(origin)",
                    "value": ["=cmd", "EWR"],
                    "half_width_95": "7",
                    "mechanism": "exponential",
                },
            ],
        }
    ],
    "notes": ["Half-widths cover the added noise."],
}


def fields(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def unmarked(field: str) -> str | None:
    """What a reader does with a text field."""
    return None if field == "" else field.removeprefix("'")


def test_every_cell_has_its_value_its_half_width_and_its_mechanism() -> None:
    table = result_table(DOCUMENT)
    assert [(column.name, column.type, column.is_list) for column in table.columns] == [
        ("dest", "text", False),
        ("month", "integer", False),
        ("count value", "integer", False),
        ("count half_width_95", "decimal", False),
        ("count mechanism", "text", False),
        ("mean(delay) value", "number", False),
        ("mean(delay) half_width_95", "decimal", False),
        ("mean(delay) mechanism", "text", False),
        ("quantile(delay, 0.5) value", "integer", False),
        ("quantile(delay, 0.5) half_width_95", "decimal", False),
        ("quantile(delay, 0.5) mechanism", "text", False),
        ("quantile(delay, 0.5) rank_half_width_95", "decimal", False),
        ("histogram(delay) value", "integer", True),
        ("histogram(delay) half_width_95", "decimal", False),
        ("histogram(delay) mechanism", "text", False),
        ("histogram(delay) edges", "decimal", True),
        ("top_k(origin) value", "text", True),
        ("top_k(origin) half_width_95", "decimal", False),
        ("top_k(origin) mechanism", "text", False),
    ]
    assert table.rows[0][:4] == ("=1+2", 1, -3, "89.9")
    assert table.notes == ("Half-widths cover the added noise.",)


def test_the_csv_of_a_result_is_this_text() -> None:
    header, row, rest = csv_text(result_table(DOCUMENT)).split("\r\n")
    assert rest == ""
    assert header.startswith("dest,month,count value,count half_width_95,count mechanism,")
    assert row == (
        "'=1+2,1,-3,89.9,discrete_laplace,0.1,1.5,discrete_laplace,12,,exponential,40,"
        '"[1,-2]",9,discrete_laplace,"[""0"",""1.5"",""3""]","[""=cmd"",""EWR""]",7,exponential'
    )


def test_the_columns_of_no_rows_are_those_of_some() -> None:
    names = [column.name for column in result_table(DOCUMENT).columns]
    empty = {**DOCUMENT, "rows": []}
    assert [column.name for column in result_table(empty).columns] == names
    assert csv_text(result_table(empty)).count("\r\n") == 1


def test_a_key_column_named_like_a_measure_keeps_its_own_name() -> None:
    document = {
        "columns": [
            {"name": "count", "kind": "key", "type": "int64"},
            {"name": "count", "kind": "measure", "type": "number"},
        ],
        "rows": [],
    }
    names = [column.name for column in result_table(document).columns]
    assert len(set(names)) == len(names) == 4


def test_a_missing_key_is_not_the_empty_text() -> None:
    table = ResultTable((TableColumn("dest", "text"), TableColumn("n", "integer")), (), ())
    rows = ((None, 1), ("", 2), ("'", 3), ("NULL", 4))
    written = fields(csv_text(ResultTable(table.columns, rows, ())))[1:]
    assert [row[0] for row in written] == ["", "'", "''", "NULL"]
    assert [unmarked(row[0]) for row in written] == [None, "", "'", "NULL"]


@pytest.mark.parametrize(
    "text",
    [
        "=1+2",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "\u00a0=1",
        "\u200b=1",
        "\ufeff=1",
        "\uff1d1",
        "\uff0b1",
        "\uff0d1",
        "\uff20A",
        "=cmd|' /C calc'!A0",
        "\x00=1",
        "",
        "'=1",
    ],
)
def test_no_text_is_read_as_a_formula(text: str) -> None:
    assert guarded(text) == "'" + text


@pytest.mark.parametrize("text", ["ATL", "[0, 500)", "a=b", "1-2", "007", "2026-01-02", "é", "a'b"])
def test_a_plain_text_stays_as_it_is(text: str) -> None:
    assert guarded(text) == text


def test_column_names_are_guarded_as_texts_are() -> None:
    table = ResultTable((TableColumn("=evil", "text"),), (), ())
    assert csv_text(table) == "'=evil\r\n"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.one_of(st.integers(-(2**80), 2**80), st.floats(allow_nan=False, allow_infinity=False))
ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), TEXTS),
        st.one_of(st.none(), NUMBERS),
        st.one_of(st.none(), st.booleans()),
        st.lists(NUMBERS, max_size=3),
        st.lists(TEXTS, max_size=3),
    ),
    max_size=4,
)
COLUMNS = (
    TableColumn("text", "text"),
    TableColumn("number", "number"),
    TableColumn("boolean", "boolean"),
    TableColumn("numbers", "number", is_list=True),
    TableColumn("texts", "text", is_list=True),
)


@given(ROWS)
def test_what_is_read_back_from_the_csv_is_what_was_released(rows: list[tuple[Any, ...]]) -> None:
    header, *written = fields(csv_text(ResultTable(COLUMNS, tuple(rows), ())))
    assert header == [column.name for column in COLUMNS]
    read = [
        (unmarked(text), *(None if field == "" else json.loads(field) for field in others))
        for text, *others in written
    ]
    assert read == rows
    # also the type: 1 is not 1.0, and True is not 1
    assert repr(read) == repr(rows)


@given(TEXTS)
def test_no_field_of_a_text_begins_as_a_formula_does(text: str) -> None:
    field = guarded(text)
    assert field.lstrip()[:1] not in set("=+-@")
    assert field[0].isprintable()
    assert unmarked(field) == text


def test_a_result_of_a_training_is_no_table() -> None:
    assert not has_table({"test_accuracy": 0.9, "artifacts": []})
    assert has_table(DOCUMENT)
