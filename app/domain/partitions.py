"""Blocks: a public partition in which one unit lies in exactly one block (R8).

A block's number follows from public rules and the unit's own rows alone, so a unit that is added
or removed moves rows of one block and of no other. Two rules are known:

    time        of records, or of users' periods: the period of a date or time column, counted
                from `first_day`
    unit_hash   of users: SHA-256 of the dataset's id and the user's id, modulo `count`

Time blocks close. A record lies in the block of its time, or, where that had closed before the
record came, in the first block that was open when it came; a record without a time likewise. All
rows of one user in one block are one `user_period`: so defined, it cannot lie in two.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import Any, Final, Literal

from app.domain.columns import Column, ColumnType
from app.domain.documents import read_choice, read_integer, read_list, read_object, under
from app.domain.errors import BlockNotClosed, InvalidParameter
from app.domain.windows import CALENDAR_KEYS, Calendar, parse_calendar

# 4,096 days are eleven years; a partition that needs more blocks takes a longer period
BLOCKS_MOST: Final = 4096
RANGES_MOST: Final = 256
# 60 bits fit a signed 64-bit integer of any engine
HASH_DIGITS: Final = 15
GRACE_DAYS_MOST: Final = 366
TIME_TYPES: Final[tuple[ColumnType, ...]] = ("date", "timestamp")

# First and last block of each stretch, both included; ascending, with a gap between two of them.
Ranges = tuple[tuple[int, int], ...]
AskedBlocks = Literal["all"] | Ranges


@dataclass(frozen=True, slots=True)
class TimeBlocks:
    """Records by the period of a column; a timestamp is read as UTC, a date as the zone's.

    grace_days: how long after its end a block stays open for rows that come late.
    """

    column: str
    calendar: Calendar
    grace_days: int

    def closable(self, at: datetime) -> int:
        """How many blocks, from the first on, have ended this long ago (R8)."""
        index = self.calendar.index_at(at - timedelta(days=self.grace_days))
        return min(index or 0, BLOCKS_MOST)

    def begun(self, at: datetime) -> int:
        """How many blocks have begun, ended or not."""
        index = self.calendar.index_at(at)
        return 0 if index is None else min(index + 1, BLOCKS_MOST)


@dataclass(frozen=True, slots=True)
class HashBlocks:
    """Users by a hash of their id. All blocks are there from the first version on."""

    count: int


Blocks = TimeBlocks | HashBlocks


def hash_text(dataset_id: str) -> str:
    """What stands before a user's id where it is hashed: the same id lies elsewhere in another set.

    The salt is public, as the whole rule is: the bound holds against who knows every block.
    """
    return f"epsilon-ledger/block/1\n{dataset_id}\n"


def hash_block(dataset_id: str, unit: str, blocks: HashBlocks) -> int:
    """The block of a user: the first 60 bits of SHA-256, modulo the count."""
    digest = sha256((hash_text(dataset_id) + unit).encode()).hexdigest()
    return int(digest[:HASH_DIGITS], 16) % blocks.count


def parse_blocks(
    document: object,
    *,
    unit_kind: str,
    columns: Sequence[Column],
    pointer: str = "/blocks",
) -> Blocks | None:
    """The declared partition of a private dataset; None for `{"kind": "none"}`.

    Raises:
        InvalidParameter: with the pointer to the value that is wrong, or a partition in which one
            unit could lie in two blocks: `time` for users, `unit_hash` for anything else.
    """
    keys = ("column", "grace_days", "count", *CALENDAR_KEYS)
    fields = read_object(document, pointer, required=("kind",), optional=keys)
    kind = read_choice(fields["kind"], under(pointer, "kind"), ("none", "time", "unit_hash"))
    if kind == "none":
        read_object(document, pointer, required=("kind",))
        return None
    at = under(pointer, "kind")
    if kind == "unit_hash":
        read_object(document, pointer, required=("kind", "count"))
        if unit_kind != "user":
            raise InvalidParameter(at, "unit_hash divides users; all else is divided by time")
        return HashBlocks(
            read_integer(fields["count"], under(pointer, "count"), low=2, high=BLOCKS_MOST)
        )
    read_object(document, pointer, required=("kind", "column", "grace_days", *CALENDAR_KEYS))
    if unit_kind == "user":
        reason = "the rows of one user lie in many periods; use unit_hash, or user_period units"
        raise InvalidParameter(at, reason)
    column = next((each for each in columns if each.name == fields["column"]), None)
    if column is None:
        raise InvalidParameter(under(pointer, "column"), "no column has this name")
    if column.shape or column.type not in TIME_TYPES:
        raise InvalidParameter(
            under(pointer, "column"), f"a plain column of {' or '.join(TIME_TYPES)} is expected"
        )
    grace = read_integer(
        fields["grace_days"], under(pointer, "grace_days"), low=0, high=GRACE_DAYS_MOST
    )
    return TimeBlocks(column.name, parse_calendar(fields, pointer), grace)


def blocks_to_json(blocks: Blocks | None) -> dict[str, Any]:
    """The stored and wire form."""
    if blocks is None:
        return {"kind": "none"}
    if isinstance(blocks, HashBlocks):
        return {"kind": "unit_hash", "count": blocks.count}
    return {
        "kind": "time",
        "column": blocks.column,
        "period": blocks.calendar.period,
        "time_zone": blocks.calendar.time_zone,
        "first_day": blocks.calendar.first_day.isoformat(),
        "grace_days": blocks.grace_days,
    }


def parse_asked(document: object, pointer: str) -> AskedBlocks:
    """The blocks that a job names: `"all"`, `{"first": i, "last": j}` or `[[i, j], ...]`.

    Raises:
        InvalidParameter: anything else, a range that runs backwards, a block named twice.
    """
    if document == "all":
        return "all"
    if isinstance(document, Mapping):
        fields = read_object(document, pointer, required=("first", "last"))
        return (_parse_range(fields["first"], fields["last"], pointer, ("first", "last")),)
    if isinstance(document, str):
        raise InvalidParameter(pointer, '"all", a first and last block, or a list of such pairs')
    ranges = []
    for index, entry in enumerate(read_list(document, pointer, least=1, most=RANGES_MOST)):
        at = under(pointer, index)
        first, last = read_list(entry, at, least=2, most=2)
        ranges.append(_parse_range(first, last, at, (0, 1)))
    ranges.sort()
    if any(below[1] >= above[0] for below, above in pairwise(ranges)):
        raise InvalidParameter(pointer, "a block is named once")
    return _merged(ranges)


def choose(asked: AskedBlocks, *, closed: int, most: int, pointer: str) -> Ranges:
    """The blocks that a job is charged to; every one of them is closed (R8).

    Args:
        asked: what the job names.
        closed: how many blocks, from the first on, are closed in the version it reads.
        most: how many blocks there can ever be.
        pointer: where the job names them.

    Raises:
        InvalidParameter: there will never be such a block.
        BlockNotClosed: it is not closed in this version; of "all", none is.
    """
    if asked == "all":
        if closed == 0:
            raise BlockNotClosed(block=0, closed=closed)
        return ((0, closed - 1),)
    last = asked[-1][1]
    if last >= most:
        raise InvalidParameter(pointer, f"blocks are numbered from 0 to {most - 1}")
    if last >= closed:
        first_open = next(max(first, closed) for first, last in asked if last >= closed)
        raise BlockNotClosed(block=first_open, closed=closed)
    return asked


def most_blocks(blocks: Blocks) -> int:
    """How many blocks there can ever be."""
    return blocks.count if isinstance(blocks, HashBlocks) else BLOCKS_MOST


def scaled_size(blocks: Blocks, nominal_size: int, ranges: Ranges) -> int:
    """The declared public size of some blocks together (R17).

    A dataset with time blocks grows for ever, so its nominal size is that of one block; one with
    hash blocks declares the size of the whole, of which each block is an equal share.
    """
    chosen = count(ranges)
    if isinstance(blocks, TimeBlocks):
        return nominal_size * chosen
    return -(-nominal_size * chosen // blocks.count)


def count(ranges: Ranges) -> int:
    """How many blocks some ranges hold."""
    return sum(last - first + 1 for first, last in ranges)


def indices(ranges: Ranges) -> list[int]:
    """The blocks of some ranges one by one, ascending."""
    return [block for first, last in ranges for block in range(first, last + 1)]


def ranges_to_json(ranges: Ranges) -> list[list[int]]:
    """The stored form of ranges, as entries and jobs carry it."""
    return [[first, last] for first, last in ranges]


def ranges_from_json(document: Iterable[Sequence[int]]) -> Ranges:
    """Read back what `ranges_to_json` wrote.

    Raises:
        ValueError: ranges that are no such form: empty, descending, overlapping or out of bounds.
    """
    ranges = tuple((first, last) for first, last in document)
    before = -1
    for first, last in ranges:
        in_order = type(first) is type(last) is int and before < first <= last < BLOCKS_MOST
        if not in_order:
            raise ValueError("not the ranges of blocks that were charged")
        before = last
    if not ranges:
        raise ValueError("a charge names the blocks that it is for")
    return ranges


def _parse_range(
    first: object, last: object, pointer: str, keys: tuple[str | int, str | int]
) -> tuple[int, int]:
    low = read_integer(first, under(pointer, keys[0]), low=0, high=BLOCKS_MOST - 1)
    return low, read_integer(last, under(pointer, keys[1]), low=low, high=BLOCKS_MOST - 1)


def _merged(ranges: Sequence[tuple[int, int]]) -> Ranges:
    merged = [ranges[0]]
    for first, last in ranges[1:]:
        if first == merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return tuple(merged)
