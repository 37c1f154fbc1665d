"""Calendars of windows and blocks: which span a moment lies in, in a named zone. Tumbling only.

A span is half open, [starts_at, ends_at): the next one begins where it ends, whatever daylight
saving does in between, so no moment lies in two spans or in none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any, Final, Literal, cast
from zoneinfo import ZoneInfo, available_timezones

from app.domain.documents import read_choice, read_object, read_text, under
from app.domain.errors import InvalidParameter

Period = Literal["day", "week", "month", "quarter", "year"]
RefreshWhen = Literal["always", "new_data"]

MONTHS: Final[Mapping[str, int]] = {"month": 1, "quarter": 3, "year": 12}
DAYS: Final[Mapping[str, int]] = {"day": 1, "week": 7}
MONTHS_A_YEAR: Final = 12
CALENDAR_KEYS: Final = ("period", "time_zone", "first_day")


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open stretch of time, in UTC."""

    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Calendar:
    """A period that begins at local midnight of `first_day` and repeats for ever."""

    period: Period
    time_zone: str
    first_day: date

    def index_at(self, at: datetime) -> int | None:
        """Which span a moment lies in, from 0; None before the first one."""
        index = self._guess(at.astimezone(ZoneInfo(self.time_zone)).date())
        if index < 0 or at < self.boundary(0):
            return None
        # a guess by the local date can be one off where midnight itself is moved
        while at < self.boundary(index):
            index -= 1
        while at >= self.boundary(index + 1):
            index += 1
        return index

    def span_at(self, at: datetime) -> Span | None:
        """The span that a moment lies in; None before the first one."""
        index = self.index_at(at)
        return None if index is None else Span(self.boundary(index), self.boundary(index + 1))

    def begins_at(self) -> datetime:
        """Where the first span begins."""
        return self.boundary(0)

    def day(self, index: int) -> date:
        """The local day with which the index-th span begins."""
        if self.period in DAYS:
            return self.first_day + timedelta(days=DAYS[self.period] * index)
        return _months_later(self.first_day, MONTHS[self.period] * index)

    def boundary(self, index: int) -> datetime:
        """Local midnight at the start of the index-th span.

        A midnight that the clocks skip is the moment they skip to; of one that comes twice, the
        first counts.
        """
        zone = ZoneInfo(self.time_zone)
        return datetime.combine(self.day(index), time(), tzinfo=zone).astimezone(UTC)

    def _guess(self, day: date) -> int:
        if self.period in DAYS:
            return (day - self.first_day).days // DAYS[self.period]
        months = (day.year - self.first_day.year) * MONTHS_A_YEAR + day.month
        return (months - self.first_day.month) // MONTHS[self.period]


@dataclass(frozen=True, slots=True)
class Window(Calendar):
    """A calendar that says when a limit begins anew.

    refresh_when: `always`: each span opens a fresh scope; `new_data`: only once the dataset has a
        version that came after the scope in force, which stays in force until then.
    """

    refresh_when: RefreshWhen

    def to_json(self) -> dict[str, Any]:
        """The wire and stored form, without `refresh_when`, which stands beside it."""
        return {
            "period": self.period,
            "time_zone": self.time_zone,
            "first_day": self.first_day.isoformat(),
            "refresh_when": self.refresh_when,
        }


def parse_window(document: object, refresh_when: object, pointer: str = "/window") -> Window:
    """A window from `{"period", "time_zone", "first_day"}` and its refresh rule, strictly.

    Raises:
        InvalidParameter: unknown period, zone or rule, or no date.
    """
    found = read_object(document, pointer, required=CALENDAR_KEYS)
    calendar = parse_calendar(found, pointer)
    rule = read_choice(refresh_when, "/refresh_when", ("always", "new_data"))
    return Window(calendar.period, calendar.time_zone, calendar.first_day, cast(RefreshWhen, rule))


def parse_calendar(found: Mapping[str, Any], pointer: str) -> Calendar:
    """The calendar of a document whose keys were read.

    Raises:
        InvalidParameter: unknown period or zone, or no date.
    """
    period = read_choice(found["period"], under(pointer, "period"), (*DAYS, *MONTHS))
    zone = read_text(found["time_zone"], under(pointer, "time_zone"), most=64)
    if zone not in _zones():
        raise InvalidParameter(under(pointer, "time_zone"), "no IANA time zone of this name")
    day = read_text(found["first_day"], under(pointer, "first_day"), most=10)
    try:
        first_day = date.fromisoformat(day)
    except ValueError:
        first_day = date.min
    if first_day.isoformat() != day or not date(2000, 1, 1) <= first_day <= date(2200, 1, 1):
        raise InvalidParameter(
            under(pointer, "first_day"), "a date from 2000-01-01 to 2200-01-01 is expected"
        )
    return Calendar(cast(Period, period), zone, first_day)


@cache
def _zones() -> frozenset[str]:
    """The names of all zones. To list them walks a folder of 600 files, 25 ms of every look-up."""
    return frozenset(available_timezones())


def window_from_json(document: Mapping[str, Any]) -> Window:
    """Read back what `to_json` wrote."""
    return Window(
        document["period"],
        document["time_zone"],
        date.fromisoformat(document["first_day"]),
        document["refresh_when"],
    )


def _months_later(day: date, months: int) -> date:
    """The same day of a later month; the last day of a month that is too short."""
    total = day.year * MONTHS_A_YEAR + day.month - 1 + months
    year, month = divmod(total, MONTHS_A_YEAR)
    after = date(year + (month + 1) // MONTHS_A_YEAR, (month + 1) % MONTHS_A_YEAR + 1, 1)
    last_day = (after - timedelta(days=1)).day
    return date(year, month + 1, min(day.day, last_day))
