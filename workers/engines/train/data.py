"""Rows as tensors: scaled by public bounds, labelled by a public domain, row by row (R17).

What becomes of a row depends on that row alone, so removing one record removes at most one row
here. No value of a row makes the reading fail; `workers.engines.rows` says what can.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.domain.columns import Column
from app.domain.training.spec import features_width
from workers.engines.api import Input
from workers.engines.rows import TABLE, attach_rows

# Dates are compared as text: that is how a public domain holds them.
_LABEL_TYPES = {"int64": "BIGINT", "string": "VARCHAR", "bool": "BOOLEAN", "date": "VARCHAR"}


@dataclass(frozen=True, slots=True)
class Table:
    """Records ready to be trained on. The number of rows is private (R17).

    features: (n, D) float32 in [0, 1]. labels: (n,) int64, positions in the label's domain.
    """

    features: Tensor
    labels: Tensor


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
    domain = [str(value) if label.type == "date" else value for value in label.domain or ()]
    # Numbers are read wide, so that what a declared type cannot hold is clamped and not lost.
    wide = [
        column if column.type == "bool" else replace(column, type="float64") for column in features
    ]
    with attach_rows(source, (*wide, label), spill=spill) as connection:
        columns = connection.execute(_query(features, label), [domain]).fetchnumpy()
    labels = np.asarray(columns.pop("label"), dtype=np.int64)
    table = np.empty((labels.shape[0], features_width(tuple(features))), dtype=np.float32)
    place = 0
    for column in features:
        for _ in range(features_width((column,))):
            table[:, place] = _scaled(columns[f"x{place}"], column)
            place += 1
    return Table(torch.from_numpy(table), torch.from_numpy(labels))


def _query(features: Sequence[Column], label: Column) -> str:
    """One row a record: x0, x1, ... as doubles that may be NULL, and the class as `label`.

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
    return (
        f"WITH known AS (SELECT {', '.join(values)}, {position} AS label FROM {TABLE}) "  # noqa: S608
        "SELECT * FROM known WHERE label >= 0"
    )


def _scaled(values: NDArray[np.float64], column: Column) -> NDArray[np.float64]:
    """Values in [0, 1] by the column's public bounds; what is missing becomes 0."""
    plain = np.ma.filled(values, np.nan)
    if column.low is not None and column.high is not None:
        low, high = float(column.low), float(column.high)
        plain = (np.clip(plain, low, high) - low) / (high - low)
    return np.nan_to_num(np.clip(plain, 0.0, 1.0), nan=0.0)
