import copy
from decimal import Decimal
from typing import Any

import pytest

from app.domain.datasets import (
    Dataset,
    dataset_from_json,
    dataset_to_json,
    parse_columns,
    parse_source,
    parse_unit_of_privacy,
    schema_digest,
)
from app.domain.errors import InvalidParameter

FLIGHTS: dict[str, Any] = {
    "name": "flights",
    "access": "private",
    "source": {"connection": "demo", "path": "2013/flights.parquet", "format": "parquet"},
    "columns": [
        {"name": "tailnum", "type": "string", "nullable": True},
        {"name": "dest", "type": "string", "nullable": False, "keys": "private"},
        {
            "name": "month",
            "type": "int64",
            "nullable": False,
            "domain": [1, 2, 3],
            "domain_source": "public",
        },
        {
            "name": "distance",
            "type": "int64",
            "nullable": False,
            "bounds": {"low": "0", "high": "5000"},
            "grid": "1",
        },
        {
            "name": "delay",
            "type": "float64",
            "nullable": True,
            "bounds": {"low": "-60.50", "high": "1e2"},
            "grid": "0.25",
        },
        {
            "name": "pixels",
            "type": "float32",
            "nullable": False,
            "bounds": {"low": "0", "high": "16"},
            "shape": [8, 8],
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


def flights() -> Dataset:
    return dataset_from_json(FLIGHTS, id="d1")


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(FLIGHTS)
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return document


def test_a_stored_dataset_reads_back_as_it_was() -> None:
    dataset = flights()
    assert dataset_to_json(dataset) == FLIGHTS
    assert dataset_from_json(dataset_to_json(dataset), id="d1") == dataset
    delay = dataset.column("delay")
    assert delay is not None
    assert delay.low == Decimal("-60.5")
    assert dataset.column("nothing") is None


def test_a_public_dataset_has_no_unit_and_no_relation() -> None:
    document = {key: FLIGHTS[key] for key in ("name", "source", "columns")}
    dataset = dataset_from_json({**document, "access": "public"}, id="d3")
    assert dataset.unit is None
    assert dataset.relation is None
    assert dataset_from_json(dataset_to_json(dataset), id="d3") == dataset


REFUSED: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("columns",), [], "/columns"),
    (("columns", 0, "name"), "no space", "/columns/0/name"),
    (("columns", 0, "name"), "é", "/columns/0/name"),
    (("columns", 0, "name"), "a" * 64, "/columns/0/name"),
    (("columns", 0, "name"), "file_row_number", "/columns/0/name"),
    (("columns", 0, "name"), "File_Row_Group_Number", "/columns/0/name"),
    (("columns", 0, "name"), "filename", "/columns/0/name"),
    (("columns", 0, "name"), "FILE_INDEX", "/columns/0/name"),
    (("columns", 0, "name"), "rowid", "/columns/0/name"),
    (("columns", 0, "name"), "x\n", "/columns/0/name"),
    (("columns", 1, "name"), "TAILNUM", "/columns/1/name"),
    (("columns", 0, "type"), "uuid", "/columns/0/type"),
    (("columns", 0, "nullable"), 1, "/columns/0/nullable"),
    (("columns", 0, "bound"), {}, "/columns/0/bound"),
    (("columns", 0, "a/b~c"), {}, "/columns/0/a~1b~0c"),
    (("columns", 0, "bounds"), {"low": "0", "high": "1"}, "/columns/0/bounds"),
    (("columns", 3, "bounds"), {"low": "0"}, "/columns/3/bounds/high"),
    (("columns", 3, "bounds", "low"), 0, "/columns/3/bounds/low"),
    (("columns", 3, "bounds", "low"), "NaN", "/columns/3/bounds/low"),
    (("columns", 3, "bounds", "low"), "5000", "/columns/3/bounds/high"),
    (("columns", 3, "bounds", "high"), "0.5", "/columns/3/bounds/high"),
    (("columns", 3, "bounds", "high"), "1e19", "/columns/3/bounds/high"),
    (("columns", 4, "bounds", "high"), "1e61", "/columns/4/bounds/high"),
    (("columns", 3, "grid"), "0", "/columns/3/grid"),
    (("columns", 3, "grid"), "-1", "/columns/3/grid"),
    (("columns", 3, "grid"), "3", "/columns/3/grid"),
    (("columns", 4, "grid"), "1", "/columns/4/grid"),
    (("columns", 0, "grid"), "1", "/columns/0/grid"),
    (("columns", 2, "domain"), [], "/columns/2/domain"),
    (("columns", 2, "domain"), [1, 2, 1], "/columns/2/domain"),
    (("columns", 2, "domain"), [1, "2"], "/columns/2/domain/1"),
    (("columns", 2, "domain"), [1, True], "/columns/2/domain/1"),
    (("columns", 2, "domain"), [1, 2.0], "/columns/2/domain/1"),
    (("columns", 2, "domain"), [2**63], "/columns/2/domain/0"),
    (("columns", 2, "domain"), list(range(10_001)), "/columns/2/domain"),
    (("columns", 1, "domain"), ["\ud800"], "/columns/1/domain/0"),
    (("columns", 1, "domain"), ["a\x00"], "/columns/1/domain/0"),
    (("columns", 4, "domain"), [1], "/columns/4/domain"),
    (("columns", 2, "domain_source"), "rows", "/columns/2/domain_source"),
    (("columns", 0, "domain_source"), "public", "/columns/0/domain_source"),
    (("columns", 4, "keys"), "private", "/columns/4/keys"),
    (("columns", 5, "keys"), "private", "/columns/5/keys"),
    (("columns", 5, "shape"), [], "/columns/5/shape"),
    (("columns", 5, "shape"), [0], "/columns/5/shape/0"),
    (("columns", 5, "shape"), [2**20, 2**20], "/columns/5/shape"),
    (("unit_of_privacy", "kind"), "household", "/unit_of_privacy/kind"),
    (("unit_of_privacy", "kind"), "record", "/unit_of_privacy/column"),
    (("unit_of_privacy", "column"), "nobody", "/unit_of_privacy/column"),
    (("unit_of_privacy", "column"), "pixels", "/unit_of_privacy/column"),
    (("unit_of_privacy", "column"), "delay", "/unit_of_privacy/column"),
    (
        ("unit_of_privacy", "max_groups_per_user"),
        0,
        "/unit_of_privacy/max_groups_per_user",
    ),
    (
        ("unit_of_privacy", "max_rows_per_user_group"),
        "10",
        "/unit_of_privacy/max_rows_per_user_group",
    ),
    (
        ("unit_of_privacy",),
        {"kind": "user", "column": "tailnum"},
        "/unit_of_privacy/max_groups_per_user",
    ),
    (
        ("unit_of_privacy",),
        {"kind": "user", "column": "tailnum", "max_groups_per_user": 3},
        "/unit_of_privacy/max_rows_per_user_group",
    ),
    (("unit_of_privacy",), None, "/unit_of_privacy"),
    (("relation",), "swap", "/relation"),
    (("nominal_size",), 0, "/nominal_size"),
    (("nominal_size",), 330000.0, "/nominal_size"),
    (("access",), "secret", "/access"),
    (("rows",), 336776, "/rows"),
    (("source", "path"), "/etc/passwd", "/source/path"),
    (("source", "path"), "a/../../b", "/source/path"),
    (("source", "path"), "s3://bucket/file", "/source/path"),
    (("source", "path"), "*.parquet", "/source/path"),
    (("source", "format"), "json", "/source/format"),
]


@pytest.mark.parametrize(("path", "value", "pointer"), REFUSED)
def test_a_malformed_dataset_is_refused_with_a_pointer_to_the_fault(
    path: tuple[str | int, ...], value: Any, pointer: str
) -> None:
    with pytest.raises(InvalidParameter) as refused:
        dataset_from_json(changed(path, value), id="d1")
    assert refused.value.pointer == pointer


def test_a_changed_bound_does_not_make_a_known_schema_look_new() -> None:
    columns = parse_columns(FLIGHTS["columns"])
    wider = parse_columns(changed(("columns", 3, "bounds", "high"), "6000")["columns"])
    assert schema_digest(columns) == schema_digest(wider)
    assert schema_digest(columns) == schema_digest(columns[::-1])
    assert schema_digest(columns) != schema_digest(columns[1:])


def test_a_training_unit_may_stand_on_its_row_cap_alone() -> None:
    columns = parse_columns(FLIGHTS["columns"])
    unit = {"kind": "user", "column": "tailnum", "max_rows_per_user": 20}
    assert parse_unit_of_privacy(unit, columns).max_rows_per_user == 20
    assert parse_unit_of_privacy({"kind": "record"}, columns).column is None


def test_a_source_that_is_a_folder_root_is_refused() -> None:
    with pytest.raises(InvalidParameter):
        parse_source({"connection": "demo", "path": ".", "format": "csv"})
