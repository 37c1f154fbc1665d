"""Rows as tensors: scaled by public bounds, labelled by a public domain, row by row (R17).

What becomes of a row depends on that row alone, so removing one record removes at most one row
here. No value of a row makes the reading fail; `workers.engines.rows` says what can.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.domain.columns import Column
from app.domain.datasets import Dataset
from app.domain.training.models import TransformerLm
from app.domain.training.spec import TrainSpec, features_width
from workers.engines.api import Input
from workers.engines.rows import TABLE, attach_rows
from workers.engines.train.texts import read_tokens
from workers.engines.train.users import UserRows, UserTable, unit_columns

# Dates are compared as text: that is how a public domain holds them.
_LABEL_TYPES = {"int64": "BIGINT", "string": "VARCHAR", "bool": "BOOLEAN", "date": "VARCHAR"}


@dataclass(frozen=True, slots=True)
class Table:
    """Records ready to be trained on. The number of rows is private (R17).

    inputs: (n, D) float32 in [0, 1], or (n, T) int64 token numbers.
    labels: (n,) int64 positions in the label's domain, or (n, T) int64, the tokens that come next.
    """

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """How many records: private."""
        return self.inputs.shape[0]

    def rows(self, places: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Some records: their inputs and their labels."""
        return self.inputs[places], self.labels[places]


def columns_of(spec: TrainSpec, dataset: Dataset) -> tuple[tuple[Column, ...], Column | None]:
    """The columns that a model reads, in the spec's order, and its label, by a dataset's schema."""
    by_name = {column.name: column for column in dataset.columns}
    label = None if spec.label is None else by_name[spec.label]
    return tuple(by_name[name] for name in spec.features), label


class Examples(Protocol):
    """What a step draws from: records, or users with some of theirs. How many is private (R17)."""

    def __len__(self) -> int:
        """How many."""

    def rows(self, places: Tensor | slice) -> tuple[Tensor, Tensor]:
        """What some of them bring to a step: inputs and labels, one example first."""


def read_examples(
    spec: TrainSpec, dataset: Dataset, source: Input, *, salt: bytes, spill: Path
) -> Examples:
    """Read what a run draws from: every record, or every user with the records that are kept.

    Args:
        spec: the run's; its columns exist in the dataset.
        dataset: whose schema bounds the numbers.
        source: the private version; its units are started (L2).
        salt: public randomness of the job: it chooses among a user's rows.
        spill: a folder of the job for what does not fit into memory.

    Raises:
        RowsUnreadable: the file is not what the schema says; without a word about its rows.
    """
    if spec.user is None:
        return read_records(spec, dataset, source, spill=spill)
    features, label = columns_of(spec, dataset)
    users = UserRows.of(source, spec.user, salt)
    if isinstance(spec.model, TransformerLm):
        tokens, owners = read_tokens(source, features[0], spec.model, spill=spill, users=users)
        records = Table(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
    elif label is not None:
        records, owners = _read_table(source, features, label, spill=spill, users=users)
    else:
        raise ValueError("a classifier has a label")
    return UserTable.of(records.inputs, records.labels, owners, spec.user)


def read_records(spec: TrainSpec, dataset: Dataset, source: Input, *, spill: Path) -> Table:
    """Read every record as the model takes it.

    Args:
        spec: the run's; its columns exist in `dataset` and in `source`.
        dataset: whose schema bounds the numbers; a public set is scaled as the training rows are.
        source: a dataset version; if it is private, its units are started (L2).
        spill: a folder of the job for what does not fit into memory.

    Raises:
        RowsUnreadable: the file is not what the schema says; without a word about its rows.
    """
    features, label = columns_of(spec, dataset)
    if isinstance(spec.model, TransformerLm):
        tokens, _ = read_tokens(source, features[0], spec.model, spill=spill)
        return Table(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
    if label is None:
        raise ValueError("a classifier has a label")
    return read_table(source, features, label, spill=spill)


def read_table(source: Input, features: Sequence[Column], label: Column, *, spill: Path) -> Table:
    """Read the features and the label of every record.

    A number is clamped to its column's public bounds and scaled to [0, 1]; a missing one and NaN
    become the low end; an array that is too short is filled up with the low end, one that is too
    long is cut. A record whose label is missing or outside the public domain is dropped.

    Args:
        source: a dataset version; if it is private, its units are started (L2).
        features: numbers with bounds or truth values; arrays have one dimension.
        label: a column with a public domain; its order is the order of the classes.
        spill: a folder of the job for what does not fit into memory.

    Raises:
        RowsUnreadable: the file is not what the schema says; without a word about its rows.
    """
    return _read_table(source, features, label, spill=spill, users=None)[0]


def _read_table(
    source: Input,
    features: Sequence[Column],
    label: Column,
    *,
    spill: Path,
    users: UserRows | None,
) -> tuple[Table, NDArray[np.int64]]:
    """The records, and of users the number of each one's; see `read_table`."""
    domain = [str(value) if label.type == "date" else value for value in label.domain or ()]
    # Numbers are read wide, so that what a declared type cannot hold is clamped and not lost.
    wide = [
        column if column.type == "bool" else replace(column, type="float64") for column in features
    ]
    read = (*wide, label, *unit_columns(source, users))
    with attach_rows(source, read, spill=spill) as connection:
        columns = connection.execute(_query(features, label, users), [domain]).fetchnumpy()
    labels = np.asarray(columns.pop("label"), dtype=np.int64)
    table = np.empty((labels.shape[0], features_width(tuple(features))), dtype=np.float32)
    place = 0
    for column in features:
        for _ in range(features_width((column,))):
            table[:, place] = _scaled(columns[f"x{place}"], column)
            place += 1
    owners = np.asarray(columns.get("owner", []), dtype=np.int64)
    return Table(torch.from_numpy(table), torch.from_numpy(labels)), owners


def _query(features: Sequence[Column], label: Column, users: UserRows | None) -> str:
    """One row a record: x0, x1, ... as doubles that may be NULL, and the class as `label`.

    Of users: the kept records of each, by `UserRows.chosen`.

    Column names come from the registered schema, whose grammar has no quote; values are bound.
    """
    elements = [
        f'"{column.name}"[{element + 1}]' if column.shape else f'"{column.name}"'
        for column in features
        for element in range(features_width((column,)))
    ]
    values = [f"CAST({element} AS DOUBLE) AS x{place}" for place, element in enumerate(elements)]
    kind = _LABEL_TYPES[label.type]
    position = f'list_position(CAST(? AS {kind}[]), CAST("{label.name}" AS {kind})) - 1'
    if users is not None:
        used = ", ".join(f'"{column.name}"' for column in features)
        values.append(f"{users.unit} AS unit, CAST(row({used}) AS VARCHAR) AS used")
    known = (
        f"WITH known AS (SELECT {', '.join(values)}, {position} AS label FROM {TABLE}) "  # noqa: S608
        "SELECT * FROM known WHERE label >= 0"
    )
    if users is None:
        return known
    names = ", ".join([*(f"x{place}" for place in range(len(elements))), "label"])
    content = "concat_ws('|', CAST(label AS VARCHAR), used) AS content"
    return users.chosen(f"SELECT *, {content} FROM ({known})", names)  # noqa: S608


def _scaled(values: NDArray[np.float64], column: Column) -> NDArray[np.float64]:
    """Values in [0, 1] by the column's public bounds; what is missing becomes 0."""
    plain = np.ma.filled(values, np.nan)
    if column.low is not None and column.high is not None:
        low, high = float(column.low), float(column.high)
        plain = (np.clip(plain, low, high) - low) / (high - low)
    return np.nan_to_num(np.clip(plain, 0.0, 1.0), nan=0.0)
