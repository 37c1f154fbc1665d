"""The journal's lines: every edit shows, a torn last line does not count as one (R22)."""

import random
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from app.domain.ledger import GENESIS_HASH
from app.domain.touches import LINE_BYTES_MOST, Touch, read_journal, touch_line


def touch(number: int) -> Touch:
    return Touch(
        reservation=str(UUID(int=number)),
        part=number % 2,
        started_units=number,
        max_units=100,
        mechanism={"type": "pure", "epsilon": "0.1"},
        price="d" * 64,
        fence=1,
        budgets=(str(UUID(int=7)), str(UUID(int=8))),
        at="2026-11-22T12:00:00.000000Z",
    )


def written(count: int) -> list[bytes]:
    lines, previous = [], GENESIS_HASH
    for number in range(count):
        line, previous = touch_line(touch(number), previous)
        lines.append(line)
    return lines


def test_what_was_written_is_read() -> None:
    journal = read_journal(written(5))
    assert journal.touches == tuple(touch(number) for number in range(5))
    assert journal.fault is None


@pytest.mark.parametrize("torn", [b"", b"{", b"\0" * 40, written(6)[5][:-1], written(6)[5][:-9]])
def test_a_torn_last_line_is_no_fault_and_no_touch(torn: bytes) -> None:
    journal = read_journal([*written(5), torn] if torn else written(5))
    assert len(journal.touches) == 5
    assert journal.fault is None


def test_every_edit_of_a_byte_before_the_last_line_shows() -> None:
    lines = written(4)
    chance = random.Random(7)
    for _ in range(500):
        row = chance.randrange(3)
        place = chance.randrange(len(lines[row]) - 1)
        byte = chance.choice([b for b in range(32, 127) if b != lines[row][place]])
        edited = lines[row][:place] + bytes([byte]) + lines[row][place + 1 :]
        journal = read_journal([*lines[:row], edited, *lines[row + 1 :]])
        assert journal.fault is not None
        # what can still be read is still compared
        assert len(journal.touches) == 3


@pytest.mark.parametrize("bad", ["drop first", "drop", "swap", "double", "too long"])
def test_a_line_out_of_its_place_shows(bad: str) -> None:
    lines = written(5)
    if bad == "drop first":
        del lines[0]
    elif bad == "drop":
        del lines[2]
    elif bad == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    elif bad == "double":
        lines.insert(2, lines[1])
    else:
        lines.insert(2, b"x" * LINE_BYTES_MOST + b"\n")
    assert read_journal(lines).fault is not None


@pytest.mark.parametrize(
    "change",
    [
        {"reservation": "r"},
        {"budgets": ("b",)},
        {"part": -1},
        {"started_units": "1"},
        {"fence": -1},
    ],
)
def test_a_line_that_is_well_chained_and_says_nonsense_is_a_fault(change: dict[str, Any]) -> None:
    nonsense, previous = touch_line(replace(touch(1), **change), GENESIS_HASH)
    follower, _ = touch_line(touch(2), previous)
    journal = read_journal([nonsense, follower])
    assert journal.fault is not None
    assert journal.touches == (touch(2),)
