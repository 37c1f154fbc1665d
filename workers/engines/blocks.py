"""Which rows lie in some blocks, as a condition over one row's own columns (R8).

The condition is a total function of the row and of the file it came in, so that what becomes of a
row never depends on another. Boundaries are written out as literals: no engine works out a zone.
"""

from collections.abc import Sequence
from datetime import UTC

from sqlglot import exp

from app.domain.columns import Column
from app.domain.datasets import Dataset
from app.domain.partitions import (
    HASH_DIGITS,
    HashBlocks,
    Ranges,
    TimeBlocks,
    hash_text,
    indices,
)


def deciding_column(dataset: Dataset) -> Column:
    """The column whose value decides the block of a row: the time, or the user."""
    partition = dataset.blocks
    name = None
    if isinstance(partition, TimeBlocks):
        name = partition.column
    elif dataset.unit is not None:
        name = dataset.unit.column
    column = None if name is None else dataset.column(name)
    if column is None:
        raise ValueError("a dataset without blocks has no column that decides them")
    return column


def moment(dataset: Dataset, open_from: int) -> exp.Expr:
    """When a row counts as having come, as `block_number` reads it: never before its file could."""
    time = exp.column(deciding_column(dataset).name, quoted=True)
    return _call("greatest", time, _starts(_time_blocks(dataset), dataset, open_from))


def block_number(dataset: Dataset, ranges: Ranges, name: str) -> exp.Expr:
    """The block of a row that lies in one of some blocks: any number where it lies in none.

    Args:
        dataset: what was declared; its blocks are of time.
        ranges: the blocks.
        name: the column that `moment` gave.
    """
    return _searched(_time_blocks(dataset), dataset, indices(ranges), name)


def _searched(partition: TimeBlocks, dataset: Dataset, blocks: list[int], name: str) -> exp.Expr:
    """Half the blocks at each step: 4,096 of them take 12 comparisons."""
    if len(blocks) == 1:
        return _number(blocks[0])
    half = len(blocks) // 2
    start = _starts(partition, dataset, blocks[half])
    is_later = exp.GTE(this=exp.column(name, quoted=True), expression=start)
    later = _searched(partition, dataset, blocks[half:], name)
    earlier = _searched(partition, dataset, blocks[:half], name)
    return exp.Case().when(is_later, later, copy=False).else_(earlier, copy=False)


def _time_blocks(dataset: Dataset) -> TimeBlocks:
    if not isinstance(dataset.blocks, TimeBlocks):
        raise TypeError("a dataset without time blocks has no periods")
    return dataset.blocks


def is_in_blocks(dataset: Dataset, ranges: Ranges, open_from: int) -> exp.Expr:
    """Whether a row lies in some blocks.

    Args:
        dataset: what was declared; its blocks are of time or of users.
        ranges: the blocks.
        open_from: the first block that was open when the row's file came: a row whose own block
            had closed by then, or that has no time, lies in this one.
    """
    partition = dataset.blocks
    value = exp.column(deciding_column(dataset).name, quoted=True)
    if isinstance(partition, TimeBlocks):
        conditions = [
            _within(value, partition, dataset, first, last, open_from)
            for first, last in ranges
            if last >= open_from
        ]
    elif isinstance(partition, HashBlocks):
        block = _hashed(value, dataset.id, partition)
        conditions = [
            exp.Between(this=block.copy(), low=_number(first), high=_number(last))
            for first, last in ranges
        ]
    else:
        raise TypeError("a dataset without blocks has no rows to choose")
    return exp.or_(*conditions) if conditions else exp.false()


def _within(
    value: exp.Expr,
    partition: TimeBlocks,
    dataset: Dataset,
    first: int,
    last: int,
    open_from: int,
) -> exp.Expr:
    below = exp.LT(this=value.copy(), expression=_starts(partition, dataset, last + 1))
    if first <= open_from:
        missing = exp.Is(this=value.copy(), expression=exp.Null())
        return exp.paren(exp.or_(below, missing))
    begun = exp.GTE(this=value.copy(), expression=_starts(partition, dataset, first))
    return exp.paren(exp.and_(begun, below))


def _starts(partition: TimeBlocks, dataset: Dataset, block: int) -> exp.Expr:
    """Where a block begins: a date of the zone, or the moment of its midnight in UTC."""
    if deciding_column(dataset).type == "date":
        text, kind = partition.calendar.day(block).isoformat(), "DATE"
    else:
        moment = partition.calendar.boundary(block).astimezone(UTC)
        text, kind = moment.replace(tzinfo=None).isoformat(sep=" "), "TIMESTAMP"
    return exp.cast(exp.Literal.string(text), kind)


def _hashed(value: exp.Expr, dataset_id: str, partition: HashBlocks) -> exp.Expr:
    """`partitions.hash_block` of a user; no block where the user is missing."""
    salted = _call(
        "concat", exp.Literal.string(hash_text(dataset_id)), exp.cast(value.copy(), "TEXT")
    )
    digits = _call("substr", _call("sha256", salted), _number(1), _number(HASH_DIGITS))
    number = exp.cast(_call("concat", exp.Literal.string("0x"), digits), "BIGINT")
    rest = exp.Mod(this=exp.paren(number), expression=_number(partition.count))
    has_value = exp.Not(this=exp.Is(this=value.copy(), expression=exp.Null()))
    return exp.Case().when(has_value, exp.paren(rest))


def _number(value: int) -> exp.Expr:
    return exp.Literal.number(value)


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    expressions: Sequence[exp.Expr] = arguments
    return exp.Anonymous(this=name, expressions=list(expressions))
