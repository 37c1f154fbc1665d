"""Forecasts: a straight line through the last four weeks, and nothing where there is no line."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from app.domain.forecast import Point, exhausted_at

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def points(*values: tuple[int, str]) -> list[Point]:
    return [Point(NOW - timedelta(days=days), Decimal(epsilon)) for days, epsilon in values]


@pytest.mark.parametrize(
    ("history", "days"),
    [
        (points((28, "0"), (0, "1")), 28 * 7),
        (points((100, "3"), (28, "3"), (0, "4")), 28 * 4),
        (points((14, "0"), (0, "4")), 14),
        # what came within a day is a day's: the first minutes of a budget tell no hour
        (points((0, "1")), 7),
    ],
)
def test_the_line_goes_on_as_the_last_four_weeks_went(history: list[Point], days: int) -> None:
    reached = exhausted_at(history, Decimal(8), NOW)
    assert reached is not None
    assert abs(reached - (NOW + timedelta(days=days))) < timedelta(seconds=1)


def test_a_budget_that_is_used_up_is_used_up_now() -> None:
    assert exhausted_at(points((3, "8")), Decimal(8), NOW) == NOW


@pytest.mark.parametrize(
    "history",
    [
        [],
        points((100, "1"), (40, "2")),
        points((28, "1"), (0, "1.0000001")),
    ],
)
def test_where_there_is_no_pace_there_is_no_date(history: list[Point]) -> None:
    assert exhausted_at(history, Decimal(8), NOW) is None
