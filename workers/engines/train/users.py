"""Users as examples: which of a user's records a run keeps, and what one step takes of them.

Nothing about a user depends on another one, nor on the order of the rows in a file: the proof in
`app.domain.training.users` rests on both.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.domain.columns import Column
from app.domain.training.users import UserSpec
from workers.engines.api import Input
from workers.engines.rows import BLOCK

# In the place of a class, where a user has fewer records than there is room for.
NO_RECORD = -1


@dataclass(frozen=True, slots=True)
class UserRows:
    """Whose rows are whose, in SQL, and which of them are kept.

    unit: an expression over the columns of the rows; NULL where a row is nobody's.
    salt: public randomness of the job.
    """

    unit: str
    salt: bytes
    most: int

    @classmethod
    def of(cls, source: Input, spec: UserSpec, salt: bytes) -> "UserRows":
        """The units of a dataset version. Its unit column is read as it stands in the file.

        Column names come from the registered schema, whose grammar has no quote.
        """
        unit = source.dataset.unit
        if unit is None or unit.column is None:
            raise ValueError("the unit of this dataset is a record")
        name = f'CAST("{unit.column}" AS VARCHAR)'
        if unit.kind == "user_period":
            # a number, a colon, a name: no two pairs read alike
            name = f"""(CAST("{BLOCK}" AS VARCHAR) || ':' || {name})"""
        return cls(name, salt, spec.rows_most)

    def chosen(self, rows: str, columns: str) -> str:
        """The query of the kept rows, each user's together, with the user's number as `owner`.

        Args:
            rows: a query with these columns, `unit` and `content`: all of a row that is used, as
                text, so that rows which tie are alike.
            columns: their names.
        """
        order = f"md5(concat_ws('|', '{self.salt.hex()}', unit, content)), content"
        return (
            f"WITH found AS ({rows}), "  # noqa: S608 - names of a schema, no value
            f"placed AS (SELECT *, row_number() OVER (PARTITION BY unit ORDER BY {order}) AS place "
            f"FROM found WHERE unit IS NOT NULL) "
            f"SELECT {columns}, dense_rank() OVER (ORDER BY unit) - 1 AS owner FROM placed "
            f"WHERE place <= {self.most} ORDER BY owner, place"
        )


def unit_columns(source: Input, users: UserRows | None) -> tuple[Column, ...]:
    """The column that names the users, where they are asked for."""
    unit = source.dataset.unit
    if users is None or unit is None or unit.column is None:
        return ()
    column = source.dataset.column(unit.column)
    return () if column is None else (column,)


@dataclass(frozen=True, slots=True)
class UserTable:
    """Users ready to be trained on. How many there are, and how many rows each has, is private.

    inputs, labels: their kept records, as in `workers.engines.train.data.Table`, user by user.
    starts: (users + 1,) int64, where each user's records begin.
    random_bytes: n fresh bytes, for the choice of a record.
    """

    inputs: Tensor
    labels: Tensor
    starts: Tensor
    spec: UserSpec
    random_bytes: Callable[[int], bytes] = field(default=os.urandom)

    @classmethod
    def of(
        cls, inputs: Tensor, labels: Tensor, owners: NDArray[np.int64], spec: UserSpec
    ) -> "UserTable":
        """From records that stand user by user. owners: the number of each one's user, from 0."""
        ends = np.cumsum(np.bincount(owners)) if owners.size else np.empty(0, dtype=np.int64)
        starts = torch.from_numpy(np.concatenate([[0], ends]).astype(np.int64))
        return cls(inputs, labels, starts, spec)

    def __len__(self) -> int:
        """How many users: private."""
        return self.starts.shape[0] - 1

    def rows(self, places: Tensor | slice) -> tuple[Tensor, Tensor]:
        """What some users bring to one step.

        Returns:
            Of all records: (B, rows_most, D) and (B, rows_most), with zeros and `NO_RECORD` where
            a user has fewer. Of one: a record of each, as a table of records gives it.
        """
        first = self.starts[:-1][places]
        count = self.starts[1:][places] - first
        if self.spec.each_step == "one":
            words = np.frombuffer(self.random_bytes(8 * first.shape[0]), dtype="<u8")
            chosen = torch.from_numpy((words % count.numpy().astype(np.uint64)).astype(np.int64))
            return self.inputs[first + chosen], self.labels[first + chosen]
        offsets = torch.arange(self.spec.rows_most)
        is_there = offsets < count[:, None]
        records = torch.where(is_there, first[:, None] + offsets, 0)
        inputs = self.inputs[records].masked_fill_(~is_there[..., None], 0.0)
        return inputs, self.labels[records].masked_fill_(~is_there, NO_RECORD)
