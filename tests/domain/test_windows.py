"""Calendars: every moment lies in exactly one span, through every daylight-saving change (R9)."""

from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidParameter
from app.domain.windows import Period, Window, parse_window, window_from_json

ZONES = [
    "UTC",
    "Asia/Kolkata",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour of daylight saving
    "Africa/Cairo",  # clocks change at midnight
    "America/Havana",
    "Pacific/Apia",  # a day that never was
    "Pacific/Kiritimati",
]
windows = st.builds(
    Window,
    st.sampled_from(get_args(Period)),
    st.sampled_from(ZONES),
    st.dates(date(2009, 1, 1), date(2025, 12, 31)),
    st.just("always"),
)
moments = st.integers(0, 21 * 365 * 86_400).map(
    lambda seconds: datetime(2009, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


@given(windows, moments)
def test_every_moment_from_the_first_on_lies_in_one_span_and_spans_meet(
    window: Window, at: datetime
) -> None:
    span = window.span_at(at)
    if at < window.begins_at():
        assert span is None
        return
    assert span is not None
    assert span.starts_at <= at < span.ends_at
    assert window.span_at(span.starts_at) == span
    assert window.span_at(span.ends_at - timedelta(microseconds=1)) == span
    following = window.span_at(span.ends_at)
    assert following is not None
    assert following.starts_at == span.ends_at


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)]
)
def test_a_day_in_berlin_has_the_hours_that_its_clocks_show(day: date, hours: int) -> None:
    window = Window("day", "Europe/Berlin", day, "always")
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    span = window.span_at(noon)
    assert span is not None
    assert span.ends_at - span.starts_at == timedelta(hours=hours)


def test_a_month_in_kolkata_begins_at_its_own_midnight() -> None:
    window = Window("month", "Asia/Kolkata", date(2026, 12, 1), "always")
    assert window.begins_at() == datetime(2026, 11, 30, 18, 30, tzinfo=UTC)
    assert window.span_at(datetime(2026, 11, 30, 18, 29, 59, tzinfo=UTC)) is None
    span = window.span_at(datetime(2026, 12, 31, 18, 30, tzinfo=UTC))
    assert span is not None
    assert span.starts_at == datetime(2026, 12, 31, 18, 30, tzinfo=UTC)


def test_months_from_a_31st_end_on_the_last_day_and_come_back() -> None:
    window = Window("month", "UTC", date(2026, 1, 31), "always")
    starts = []
    at = datetime(2026, 1, 31, tzinfo=UTC)
    for _ in range(5):
        span = window.span_at(at)
        assert span is not None
        starts.append(span.starts_at.date())
        at = span.ends_at
    assert starts == [
        date(2026, 1, 31),
        date(2026, 2, 28),
        date(2026, 3, 31),
        date(2026, 4, 30),
        date(2026, 5, 31),
    ]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"period": "fortnight"}, "/window/period"),
        ({"period": 7}, "/window/period"),
        ({"time_zone": "Mars/Olympus"}, "/window/time_zone"),
        ({"time_zone": "../../etc/passwd"}, "/window/time_zone"),
        ({"first_day": "2026-02-30"}, "/window/first_day"),
        ({"first_day": "20260201"}, "/window/first_day"),
        ({"first_day": "1999-12-31"}, "/window/first_day"),
        ({"extra": 1}, "/window/extra"),
    ],
)
def test_a_calendar_that_is_none_is_refused_with_its_pointer(
    change: dict[str, Any], pointer: str
) -> None:
    good = {"period": "month", "time_zone": "Asia/Kolkata", "first_day": "2026-12-01"}
    assert window_from_json(parse_window(good, "always").to_json()) == parse_window(good, "always")
    with pytest.raises(InvalidParameter) as refused:
        parse_window({**good, **change}, "always")
    assert refused.value.pointer == pointer
    with pytest.raises(InvalidParameter):
        parse_window(good, "rolling")
