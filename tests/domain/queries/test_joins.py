from typing import Any

import pytest

from app.domain.datasets import Dataset, dataset_from_json
from app.domain.errors import DomainError, InvalidParameter
from app.domain.queries import QueryPlan, parse_query, plan_query
from tests.domain.queries.test_queries import DATASET, dataset, record_level, simple

AIRPORTS: dict[str, Any] = {
    "name": "airports",
    "access": "public",
    "source": {"connection": "demo", "path": "airports.parquet", "format": "parquet"},
    "columns": [
        {"name": "faa", "type": "string"},
        {"name": "zone", "type": "string", "domain": ["east", "west"], "domain_source": "public"},
        {"name": "alt", "type": "int64"},
        {"name": "lat", "type": "float64"},
    ],
}
PLANES: dict[str, Any] = {
    **DATASET,
    "name": "planes",
    "columns": [
        {"name": "tail", "type": "string"},
        {"name": "seats", "type": "int64", "bounds": {"low": "0", "high": "500"}},
    ],
    "unit_of_privacy": {**DATASET["unit_of_privacy"], "column": "tail"},
}
JOIN = {"dataset_id": "a1", "as": "to", "on": ["dest", "faa"]}
WITH_PLANES = {"dataset_id": "p1", "as": "plane", "on": ["tailnum", "tail"]}


def airports() -> Dataset:
    return dataset_from_json(AIRPORTS, id="a1")


def planes(**changes: Any) -> Dataset:
    return dataset_from_json({**PLANES, **changes}, id="p1")


def joined_plan(document: dict[str, Any], *others: Dataset, on: Dataset | None = None) -> QueryPlan:
    first, known = on or dataset(), {other.id: other for other in others}
    spec = parse_query(document, first, others=known)
    assert parse_query(spec.to_json(), first, others=known) == spec
    return plan_query(spec, first, others=known)


def test_columns_of_a_joined_table_are_named_after_it() -> None:
    document = simple(
        [{"fn": "count"}, {"fn": "sum", "col": "plane.seats"}],
        joins=[JOIN, WITH_PLANES],
        where=[["to.alt", ">", 100]],
        group_by=[{"col": "to.zone", "keys": "domain"}],
    )
    made = joined_plan(document, airports(), planes())
    assert made.public_cells == 2
    assert [join.shares_unit for join in made.spec.joins] == [False, True]
    # the caps bound a unit after the join: the charge is that of any other query
    alone = simple(
        [{"fn": "count"}, {"fn": "sum", "col": "distance", "lo": "0", "hi": "500"}],
        group_by=[{"col": "month", "keys": [1, 2]}],
    )
    assert joined_plan(alone).parts == made.parts


REFUSED: list[tuple[list[Any], str]] = [
    ([{**JOIN, "dataset_id": "zz"}], "/spec/joins/0/dataset_id"),
    ([{**JOIN, "as": "a.b"}], "/spec/joins/0/as"),
    ([JOIN, {**WITH_PLANES, "as": "TO"}], "/spec/joins/1/as"),
    ([JOIN, {**JOIN, "as": "again"}], "/spec/joins/1/dataset_id"),
    ([{**JOIN, "on": ["dest"]}], "/spec/joins/0/on"),
    ([{**JOIN, "on": ["salary", "faa"]}], "/spec/joins/0/on/0"),
    ([{**JOIN, "on": ["dest", "lat"]}], "/spec/joins/0/on/1"),
    ([{**JOIN, "on": ["delay", "faa"]}], "/spec/joins/0/on/0"),
    ([{**JOIN, "on": ["month", "faa"]}], "/spec/joins/0/on"),
    ([{**WITH_PLANES, "on": ["dest", "tail"]}], "/spec/joins/0/on"),
    ([{**JOIN, "kind": "left"}], "/spec/joins/0/kind"),
]


@pytest.mark.parametrize(("joins", "pointer"), REFUSED)
def test_a_join_that_could_move_the_rows_of_others_is_refused(
    joins: list[Any], pointer: str
) -> None:
    with pytest.raises(InvalidParameter) as refused:
        joined_plan(simple([{"fn": "count"}], joins=joins), airports(), planes())
    assert refused.value.pointer == pointer


@pytest.mark.parametrize(
    ("on", "other"),
    [
        (record_level(), planes()),
        (dataset(), planes(unit_of_privacy={"kind": "record"})),
        (dataset(), planes(relation="replace_one")),
    ],
)
def test_private_datasets_join_only_as_users_under_one_relation(
    on: Dataset, other: Dataset
) -> None:
    with pytest.raises(InvalidParameter) as refused:
        joined_plan(simple([{"fn": "count"}], joins=[WITH_PLANES]), other, on=on)
    assert refused.value.pointer == "/spec/joins/0/dataset_id"


def test_an_input_that_is_charged_and_not_joined_is_refused() -> None:
    with pytest.raises(InvalidParameter) as refused:
        joined_plan(simple([{"fn": "count"}]), planes())
    assert refused.value.pointer == "/inputs"
    joined_plan(simple([{"fn": "count"}]), airports())


@pytest.mark.parametrize("column", ["plane.tail", "by.key"])
def test_a_joined_column_that_names_the_unit_is_not_there(column: str) -> None:
    registry = {
        **AIRPORTS,
        "columns": [{"name": "key", "type": "string"}, {"name": "kind", "type": "string"}],
    }
    by_unit = {"dataset_id": "r1", "as": "by", "on": ["tailnum", "key"]}
    document = simple([{"fn": "count"}], joins=[WITH_PLANES, by_unit], where=[[column, "=", "N1"]])
    with pytest.raises(DomainError) as refused:
        joined_plan(document, planes(), dataset_from_json(registry, id="r1"))
    assert getattr(refused.value, "pointer", None) == "/spec/where/0/0"
