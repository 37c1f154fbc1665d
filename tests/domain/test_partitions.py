"""Blocks are public, one unit lies in one of them, and only closed ones are charged (R8)."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.columns import Column
from app.domain.datasets import dataset_from_json, dataset_to_json
from app.domain.errors import BlockNotClosed, InvalidParameter
from app.domain.partitions import (
    BLOCKS_MOST,
    HashBlocks,
    Ranges,
    TimeBlocks,
    blocks_to_json,
    choose,
    count,
    indices,
    parse_asked,
    parse_blocks,
    ranges_from_json,
    ranges_to_json,
    scaled_size,
)

COLUMNS = (
    Column("at", "timestamp"),
    Column("day", "date"),
    Column("value", "int64"),
    Column("days", "date", shape=(3,)),
)
TIME: dict[str, Any] = {
    "kind": "time",
    "column": "day",
    "period": "month",
    "time_zone": "Europe/Berlin",
    "first_day": "2026-01-01",
    "grace_days": 7,
}
HASH: dict[str, Any] = {"kind": "unit_hash", "count": 16}


def time_blocks(**changes: Any) -> TimeBlocks:
    blocks = parse_blocks({**TIME, **changes}, unit_kind="record", columns=COLUMNS)
    assert isinstance(blocks, TimeBlocks)
    return blocks


@pytest.mark.parametrize("declared", [TIME, {**TIME, "column": "at", "period": "day"}])
def test_time_blocks_are_read_back_as_they_were_declared(declared: dict[str, Any]) -> None:
    blocks = parse_blocks(declared, unit_kind="record", columns=COLUMNS)
    assert blocks_to_json(blocks) == declared


def test_hash_blocks_are_read_back_as_they_were_declared() -> None:
    blocks = parse_blocks(HASH, unit_kind="user", columns=COLUMNS)
    assert blocks == HashBlocks(16)
    assert blocks_to_json(blocks) == HASH
    assert parse_blocks({"kind": "none"}, unit_kind="user", columns=COLUMNS) is None


@pytest.mark.parametrize(
    ("declared", "unit", "pointer"),
    [
        # one user has rows in many periods, and a record has no id to hash
        (TIME, "user", "/blocks/kind"),
        (HASH, "record", "/blocks/kind"),
        ({"kind": "weather"}, "record", "/blocks/kind"),
        ({"kind": "none", "count": 2}, "record", "/blocks/count"),
        ({**HASH, "column": "day"}, "user", "/blocks/column"),
        ({**HASH, "count": 1}, "user", "/blocks/count"),
        ({**HASH, "count": BLOCKS_MOST + 1}, "user", "/blocks/count"),
        ({**HASH, "count": True}, "user", "/blocks/count"),
        ({**TIME, "column": "value"}, "record", "/blocks/column"),
        ({**TIME, "column": "days"}, "record", "/blocks/column"),
        ({**TIME, "column": "missing"}, "record", "/blocks/column"),
        ({**TIME, "period": "fortnight"}, "record", "/blocks/period"),
        ({**TIME, "time_zone": "Mars/Olympus"}, "record", "/blocks/time_zone"),
        ({**TIME, "first_day": "2026-1-1"}, "record", "/blocks/first_day"),
        ({**TIME, "grace_days": -1}, "record", "/blocks/grace_days"),
        ({**TIME, "grace_days": "7"}, "record", "/blocks/grace_days"),
        ({**TIME, "surprise": 1}, "record", "/blocks/surprise"),
        ({key: TIME[key] for key in TIME if key != "grace_days"}, "record", "/blocks/grace_days"),
        ([], "record", "/blocks"),
    ],
)
def test_a_partition_in_which_a_unit_could_lie_twice_is_refused(
    declared: object, unit: str, pointer: str
) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse_blocks(declared, unit_kind=unit, columns=COLUMNS)
    assert refused.value.pointer == pointer


def test_a_block_closes_only_when_its_end_and_its_grace_have_passed() -> None:
    blocks = time_blocks()
    # January ends in Berlin an hour before it does in UTC
    end = datetime(2026, 1, 31, 23, tzinfo=UTC)
    grace = timedelta(days=7)
    assert blocks.closable(end) == 0
    assert blocks.closable(end + grace - timedelta(seconds=1)) == 0
    assert blocks.closable(end + grace) == 1
    assert blocks.begun(end - timedelta(seconds=1)) == 1
    assert blocks.begun(end) == 2
    before = datetime(2025, 6, 1, tzinfo=UTC)
    assert (blocks.closable(before), blocks.begun(before)) == (0, 0)


def test_there_are_never_more_blocks_than_the_most() -> None:
    blocks = time_blocks(period="day", first_day="2000-01-01")
    assert blocks.closable(datetime(2100, 1, 1, tzinfo=UTC)) == BLOCKS_MOST


@pytest.mark.parametrize(
    ("asked", "ranges"),
    [
        ({"first": 2, "last": 2}, ((2, 2),)),
        ([[4, 5], [0, 1]], ((0, 1), (4, 5))),
        ([[2, 3], [0, 1]], ((0, 3),)),
    ],
)
def test_asked_blocks_become_ascending_ranges_with_gaps(asked: object, ranges: Ranges) -> None:
    assert parse_asked(asked, "/blocks") == ranges


@pytest.mark.parametrize(
    "asked",
    [
        "some",
        "",
        None,
        3,
        [],
        [[]],
        [[1]],
        [[1, 0]],
        [[0, 1], [1, 2]],
        [[0, 0], [0, 0]],
        [[-1, 0]],
        [[0, BLOCKS_MOST]],
        [[0, True]],
        [["0", "1"]],
        {"first": 3},
        {"first": 3, "last": 2},
        {"first": 0, "last": 1, "more": 2},
    ],
)
def test_blocks_that_are_no_set_of_ranges_are_refused(asked: object) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse_asked(asked, "/blocks")
    assert refused.value.pointer.startswith("/blocks")


def test_an_open_block_is_refused_by_its_number_and_all_are_the_closed_ones() -> None:
    def chosen(asked: object) -> Ranges:
        return choose(parse_asked(asked, "/b"), closed=3, most=8, pointer="/b")

    assert chosen("all") == ((0, 2),)
    assert chosen([[0, 0], [2, 2]]) == ((0, 0), (2, 2))
    with pytest.raises(BlockNotClosed) as refused:
        chosen([[0, 1], [5, 6]])
    assert (refused.value.block, refused.value.closed) == (5, 3)
    with pytest.raises(BlockNotClosed) as refused:
        chosen([[1, 4]])
    assert refused.value.block == 3
    with pytest.raises(InvalidParameter):
        chosen([[0, 8]])
    with pytest.raises(BlockNotClosed):
        choose("all", closed=0, most=8, pointer="/b")


@given(st.sets(st.integers(0, 40), min_size=1))
def test_ranges_hold_exactly_the_blocks_that_were_named(blocks: set[int]) -> None:
    ranges = parse_asked([[each, each] for each in blocks], "")
    assert ranges != "all"
    assert indices(ranges) == sorted(blocks)
    assert count(ranges) == len(blocks)
    assert ranges_from_json(ranges_to_json(ranges)) == ranges
    assert all(above[0] > below[1] + 1 for below, above in pairwise(ranges))


@pytest.mark.parametrize(
    "stored",
    [[], [[1, 0]], [[0, 1], [1, 2]], [[0, "1"]], [[-1, 0]], [[0, BLOCKS_MOST]], [[True, 1]]],
)
def test_stored_ranges_that_no_charge_wrote_are_not_believed(stored: Any) -> None:
    with pytest.raises(ValueError, match="charge"):
        ranges_from_json(stored)


def test_the_public_size_of_blocks_is_declared_and_never_counted() -> None:
    assert scaled_size(time_blocks(), 100, ((0, 2), (5, 5))) == 400
    assert scaled_size(HashBlocks(16), 100, ((0, 2),)) == 19


def test_a_dataset_keeps_its_blocks_and_a_public_one_has_none() -> None:
    document: dict[str, Any] = {
        "name": "visits",
        "access": "private",
        "columns": [{"name": "day", "type": "date"}],
        "source": {"connection": "c", "path": "visits.csv", "format": "csv"},
        "unit_of_privacy": {"kind": "record"},
        "relation": "replace_one",
        "nominal_size": 10,
        "blocks": TIME,
    }
    dataset = dataset_from_json(document, id="d")
    assert dataset.blocks == time_blocks()
    assert dataset_to_json(dataset)["blocks"] == TIME
    assert dataset.of_blocks(((0, 1),)).nominal_size == 20
    none = dataset_from_json({**document, "blocks": {"kind": "none"}}, id="d")
    assert none.blocks is None
    assert "blocks" not in dataset_to_json(none)
    public = {key: document[key] for key in ("name", "columns", "source", "blocks")}
    with pytest.raises(InvalidParameter) as refused:
        dataset_from_json({**public, "access": "public"}, id="d")
    assert refused.value.pointer == "/blocks"
