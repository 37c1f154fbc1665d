"""Joins that keep every unit's effect bounded: public tables on a key, and rows of the same unit.

A public table is joined on its key, of which each value stands for at most one row: a private row
stays one row of its unit. A second private dataset is joined on the unit both share: a joined row
belongs to that one unit, so that bounding each unit after the join bounds all of its effect; each
side is cut to the rows that could count before the join, so that no unit can blow it up. Anything
else could let one unit move another's rows and is refused.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from app.domain.columns import KEY_TYPES, is_name
from app.domain.datasets import Dataset
from app.domain.documents import read_list, read_object, read_text, under
from app.domain.errors import InvalidParameter
from app.domain.queries.spec import Join

JOINS_MOST: Final = 4


def named_datasets(document: object) -> tuple[str, ...]:
    """The ids of the datasets that a spec joins, before anything else of it is checked."""
    joins = document.get("joins") if isinstance(document, Mapping) else None
    entries = joins if isinstance(joins, list | tuple) else []
    named = [entry.get("dataset_id") for entry in entries if isinstance(entry, Mapping)]
    return tuple(dict.fromkeys(each for each in named if isinstance(each, str)))[:JOINS_MOST]


def parse_joins(
    document: object, dataset: Dataset, others: Mapping[str, Dataset], pointer: str
) -> tuple[Join, ...]:
    """The joins of a query over `dataset`.

    Args:
        document: `[{"dataset_id", "as", "on": [column, its column]}, ...]`.
        dataset: the first input.
        others: the public datasets that the caller may read and the other inputs of the job.
        pointer: where the joins stand.

    Raises:
        InvalidParameter: an unknown dataset or column, columns of two types, a private dataset that
            does not share the unit, or an input that is not joined.
    """
    joins: list[Join] = []
    for index, entry in enumerate(read_list(document, pointer, most=JOINS_MOST)):
        join = _parse_join(entry, dataset, others, under(pointer, index))
        if any(join.name.lower() == earlier.name.lower() for earlier in joins):
            raise InvalidParameter(f"{under(pointer, index)}/as", "this name stands twice")
        if any(join.dataset_id == earlier.dataset_id for earlier in joins):
            raise InvalidParameter(f"{under(pointer, index)}/dataset_id", "is joined already")
        joins.append(join)
    for other in others.values():
        if other.access == "private" and other.id not in {join.dataset_id for join in joins}:
            raise InvalidParameter("/inputs", "a second input is one that the query joins")
    return tuple(joins)


def _parse_join(
    document: object, dataset: Dataset, others: Mapping[str, Dataset], pointer: str
) -> Join:
    fields = read_object(document, pointer, required=("dataset_id", "as", "on"))
    other = others.get(read_text(fields["dataset_id"], f"{pointer}/dataset_id", most=64))
    if other is None:
        raise InvalidParameter(
            f"{pointer}/dataset_id",
            "not a public dataset that the caller may read, nor another input of the job",
        )
    name = fields["as"]
    if not isinstance(name, str) or not is_name(name):
        raise InvalidParameter(f"{pointer}/as", "a plain name for the joined columns is expected")
    left, right = read_list(fields["on"], f"{pointer}/on", least=2, most=2)
    ours = dataset.column(left) if isinstance(left, str) else None
    theirs = other.column(right) if isinstance(right, str) else None
    for place, column in enumerate((ours, theirs)):
        if column is None or column.shape or column.type not in KEY_TYPES:
            raise InvalidParameter(f"{pointer}/on/{place}", "a plain column of keys is expected")
    if ours is None or theirs is None or ours.type != theirs.type:
        raise InvalidParameter(f"{pointer}/on", "two columns of one type are expected")
    shares_unit = other.access == "private"
    if shares_unit:
        _require_one_unit(dataset, other, ours.name, theirs.name, pointer)
    return Join(other.id, name, ours.name, theirs.name, shares_unit)


def _require_one_unit(
    dataset: Dataset, other: Dataset, left: str, right: str, pointer: str
) -> None:
    units = dataset.unit, other.unit
    if any(unit is None or unit.kind != "user" for unit in units):
        raise InvalidParameter(f"{pointer}/dataset_id", "only datasets of users share a unit")
    if dataset.relation != other.relation:
        raise InvalidParameter(f"{pointer}/dataset_id", "both have one neighbouring relation")
    if [unit.column for unit in units if unit is not None] != [left, right]:
        raise InvalidParameter(f"{pointer}/on", "private datasets are joined on the unit of both")


def joined(dataset: Dataset, joins: tuple[Join, ...], others: Mapping[str, Dataset]) -> Dataset:
    """The dataset with the columns of what it is joined to, named `as.column`.

    A column that equals the unit of privacy stays out: it would pick people by name.
    """
    columns = list(dataset.columns)
    unit = None if dataset.unit is None else dataset.unit.column
    for join in joins:
        for column in others[join.dataset_id].columns:
            if column.shape or (join.left == unit and column.name == join.right):
                continue
            columns.append(replace(column, name=f"{join.name}.{column.name}"))
    return replace(dataset, columns=tuple(columns)) if joins else dataset
