"""Texts as token numbers: one record a row, cut or filled up to a public length (R17)."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.domain.columns import Column
from app.domain.training.models import PADDING, RESERVED, UNKNOWN, TransformerLm
from workers.engines.api import Input
from workers.engines.rows import TABLE, attach_rows
from workers.engines.train.users import UserRows, unit_columns

_ROWS_AT_ONCE = 8192


def read_tokens(
    source: Input,
    column: Column,
    model: TransformerLm,
    *,
    spill: Path,
    users: UserRows | None = None,
) -> tuple[Tensor, NDArray[np.int64]]:
    """Read every record as context + 1 token numbers; of users also the number of each one's.

    A character outside the alphabet becomes the unknown one, a number outside the tokens too; a
    long record is cut, a short one filled with padding, and a missing one is padding alone. So
    every row stays one row whatever it holds, and what becomes of it depends on that row alone.

    Args:
        source: a dataset version; if it is private, its units are started (L2).
        column: of texts, or of lists of int64.
        model: its alphabet or its number of tokens, and its context.
        spill: a folder of the job for what does not fit into memory.
        users: whose rows are whose, and which are kept; None for all records.

    Raises:
        RowsUnreadable: the file is not what the schema says; without a word about its rows.
    """
    length = model.context + 1
    encode = _Alphabet(model.alphabet) if model.reads == "text" else _Numbers(model.tokens)
    parts, owners = [np.empty((0, length), dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    with attach_rows(source, (column, *unit_columns(source, users)), spill=spill) as connection:
        found = connection.execute(_query(column, length, users))
        while values := found.fetchmany(_ROWS_AT_ONCE):
            rows = np.full((len(values), length), PADDING, dtype=np.int64)
            for place, (value, _) in enumerate(values):
                if value:
                    numbers = encode(value)
                    rows[place, : len(numbers)] = numbers[:length]
            parts.append(rows)
            owners.append(np.asarray([owner for _, owner in values], dtype=np.int64))
    return torch.from_numpy(np.concatenate(parts)), np.concatenate(owners)


def _query(column: Column, length: int, users: UserRows | None) -> str:
    """The first `length` characters or numbers of each record, and the number of its user or 0.

    Column names come from the registered schema, whose grammar has no quote.
    """
    value = f'"{column.name}"[1:{length}]' if column.shape else f'left("{column.name}", {length})'
    if users is None:
        return f"SELECT {value} AS value, 0 AS owner FROM {TABLE}"  # noqa: S608
    content = f"coalesce(CAST({value} AS VARCHAR), '') AS content"
    rows = f"SELECT {value} AS value, {content}, {users.unit} AS unit FROM {TABLE}"  # noqa: S608
    return users.chosen(rows, "value")


class _Alphabet:
    """From characters to their numbers."""

    def __init__(self, alphabet: str) -> None:
        self._numbers = np.full(0x110000, UNKNOWN, dtype=np.int64)
        for place, character in enumerate(alphabet):
            self._numbers[ord(character)] = place + RESERVED

    def __call__(self, text: str) -> NDArray[np.int64]:
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        found: NDArray[np.int64] = self._numbers[points]
        return found


class _Numbers:
    """From a list of numbers to tokens."""

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens

    def __call__(self, numbers: list[int | None]) -> NDArray[np.int64]:
        known = [UNKNOWN if each is None else each for each in numbers]
        found = np.asarray(known, dtype=np.int64)
        found[(found < 0) | (found >= self._tokens)] = UNKNOWN
        return found
