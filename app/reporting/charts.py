"""Small charts as SVG text, each with a table of the same numbers for who cannot see it.

Pure functions of figures that were already rounded: the same figures give the same text, on every
machine. A chart is one image with a title and a description; it needs no colour to be read (marks
differ in fill, stroke and dash), no script, no style sheet and no font of its own. One chart shows
one family of figures: a proven bound and a figure of a plan never share an axis (L9).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_CEILING, Decimal
from html import escape
from typing import Any, Final

from app.reporting.statements.rounding import NEARLY_ALWAYS

WIDTH: Final = 640
HEIGHT: Final = 320
LEFT, RIGHT, TOP, BOTTOM = 72, 20, 20, 52
INK: Final = "#222222"
FAINT: Final = "#767676"
# Blue and vermilion of Okabe and Ito: apart for every common kind of sight, 3 to 1 on white.
BLUE: Final = "#0072b2"
RED: Final = "#d55e00"
QUARTERS: Final = (Decimal(0), Decimal("0.25"), Decimal("0.5"), Decimal("0.75"), Decimal(1))
BLIND_PER_100: Final = 50


@dataclass(frozen=True, slots=True)
class Table:
    """The same numbers as rows of text."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """An SVG document and its twin."""

    svg: str
    table: Table


def statement_charts(statements: Mapping[str, Any]) -> dict[str, Chart]:
    """The charts of a report's statements, by name; none where there is no statement.

    Args:
        statements: {"subject", "officer", "auditor"} of a budget that is no plan.
    """
    subject, officer, auditor = (statements[who] for who in ("subject", "officer", "auditor"))
    if subject is None:
        return {}
    forecast = officer["forecast"]
    return {
        "odds": odds_strip(
            subject["best_guess_per_100"],
            name="odds",
            about=f"everything from {subject['dataset']}",
        ),
        "trade-off": trade_off(auditor["trade_off"], name="trade-off"),
        "burn-down": burn_down(
            officer["timeline"],
            limit=officer["limit"]["epsilon"],
            since=subject["since"],
            as_of=officer["as_of"],
            exhausted_on=None if forecast is None else forecast["exhausted_on"],
            name="burn-down",
        ),
    }


def odds_strip(best_guess_per_100: str, *, name: str, about: str) -> Chart:
    """A hundred guesses about one coin toss, and how many can be right.

    Args:
        best_guess_per_100: as a statement shows it: a number, or "nearly always".
        name: begins the ids inside, unique on a page.
        about: what was released, in words.
    """
    right = (
        100
        if best_guess_per_100 == NEARLY_ALWAYS
        else int(Decimal(best_guess_per_100).to_integral_value(ROUND_CEILING))
    )
    more = max(0, right - BLIND_PER_100)
    wrong = 100 - BLIND_PER_100 - more
    rows = (
        ("right by blind guessing", str(BLIND_PER_100)),
        ("right beyond that, at most", str(more)),
        ("wrong, at least", str(wrong)),
    )
    size, gap, columns = 20, 4, 10
    cells = []
    for index in range(100):
        x = RIGHT + index % columns * (size + gap)
        y = TOP + index // columns * (size + gap)
        cells.append(_cell(x, y, size, index, more))
    beside, first = RIGHT + columns * (size + gap) + 24, TOP + 16
    legend = [
        _legend(beside, first, 0, 0, f"right by blind guessing: {BLIND_PER_100}"),
        _legend(beside, first + 28, BLIND_PER_100, 1, f"right beyond that: at most {more}"),
        _legend(beside, first + 56, 99, 0, f"wrong: at least {wrong}"),
    ]
    height = 2 * TOP + 100 // columns * (size + gap)
    shown = (
        NEARLY_ALWAYS if best_guess_per_100 == NEARLY_ALWAYS else f"at most {best_guess_per_100}"
    )
    title = "A stranger's hundred guesses whether one was in the data"
    describes = (
        f"Guessing blindly, 50 of 100 are right. With {about}, {shown}"
        f"{'' if shown == NEARLY_ALWAYS else ' of 100'}; shown as whole guesses, rounded up."
    )
    return Chart(
        _svg(name, title, describes, [*cells, *legend], height=height),
        Table(title, ("guesses", "of 100"), rows),
    )


def trade_off(points: Sequence[Mapping[str, str]], *, name: str) -> Chart:
    """The bound on attacks: how many units a test can catch at some rate of false alarms.

    Args:
        points: corners [{"false_alarm_percent", "caught_percent"}], straight between them.
        name: begins the ids inside, unique on a page.
    """
    corners = [
        (Decimal(each["false_alarm_percent"]) / 100, Decimal(each["caught_percent"]) / 100)
        for each in points
    ]
    title = "Proven bound on tests for one unit"
    describes = (
        "No test lies above the solid line; blind guessing is the dashed one. Its corners:"
        f" {', '.join(_corner(each) for each in points)}."
    )
    outline = [*corners, (Decimal(1), Decimal(0)), (Decimal(0), Decimal(0))]
    marks = [
        *_axes("false alarms, percent of those who were not in it", "caught, percent"),
        *_ticks_across([(each, _percent(each)) for each in QUARTERS]),
        *_ticks_up([(each, _percent(each)) for each in QUARTERS]),
        f'<polygon points="{_path(outline)}" fill="{BLUE}" fill-opacity="0.12"/>',
        _line([(Decimal(0), Decimal(0)), (Decimal(1), Decimal(1))], FAINT, dash="6 4"),
        _line(corners, BLUE, width=3),
        *(
            f'<circle cx="{_x(across)}" cy="{_y(up)}" r="4" fill="{BLUE}"/>'
            for across, up in corners
        ),
    ]
    rows = tuple((each["false_alarm_percent"], each["caught_percent"]) for each in points)
    return Chart(
        _svg(name, title, describes, marks),
        Table(title, ("false alarms, percent", "caught, percent, at most"), rows),
    )


def burn_down(
    points: Sequence[Mapping[str, str]],
    *,
    limit: str,
    since: str,
    as_of: str,
    exhausted_on: str | None,
    name: str,
) -> Chart:
    """What was left of a budget after each day with a charge, and where the pace leads.

    Args:
        points: [{"day", "consumed"}], oldest first.
        limit: epsilon of the limit in force.
        since: the date at which the budget was opened.
        as_of: the date of the figures.
        exhausted_on: the date at which the limit is reached at the recent pace; None if never.
        name: begins the ids inside, unique on a page.
    """
    whole = Decimal(limit)
    days = [
        (max(date.fromisoformat(since), date.fromisoformat(each["day"])), _left(each, whole))
        for each in points
    ]
    first, last = date.fromisoformat(since), date.fromisoformat(as_of)
    last = max(last, first + timedelta(days=1))
    left = days[-1][1] if days else whole
    # the line of the pace is drawn at most as far ahead as the past goes back
    ends = None if exhausted_on is None else date.fromisoformat(exhausted_on)
    end = last if ends is None else max(last, min(ends, last + (last - first)))
    span = Decimal((end - first).days)

    def across(day: date) -> Decimal:
        return min(Decimal(1), Decimal((day - first).days) / span)

    steps = [(Decimal(0), Decimal(1))]
    for day, rest in days:
        steps += [(across(day), steps[-1][1]), (across(day), rest / whole)]
    steps.append((across(last), steps[-1][1]))
    ahead = []
    if ends is not None and ends > last:
        rest = left / whole * (1 - Decimal((end - last).days) / Decimal((ends - last).days))
        ahead.append(_line([steps[-1], (Decimal(1), rest)], RED, width=3, dash="8 5"))
    pace = (
        "at the recent pace the limit is not reached within ten years"
        if exhausted_on is None
        else f"at the recent pace, dashed, nothing is left about {exhausted_on}; that is no promise"
    )
    title = "What is left of the budget"
    describes = (
        f"From {since} to {as_of} what is left went from epsilon {limit} to {_plain(left)}; {pace}."
    )
    middle = first + (end - first) / 2
    marks = [
        *_axes("day", "epsilon left"),
        *_ticks_across([(across(day), day.isoformat()) for day in (first, middle, end)]),
        *_ticks_up([(each, _plain(whole * each)) for each in QUARTERS]),
        _line(steps, BLUE, width=3),
        *ahead,
        f'<circle cx="{_x(across(last))}" cy="{_y(steps[-1][1])}" r="4" fill="{BLUE}"/>',
    ]
    rows = tuple(
        (each["day"], each["consumed"], _plain(rest))
        for each, (_, rest) in zip(points, days, strict=True)
    )
    return Chart(
        _svg(name, title, describes, marks),
        Table(title, ("day", "epsilon consumed", "epsilon left"), rows),
    )


def _left(point: Mapping[str, str], whole: Decimal) -> Decimal:
    consumed = Decimal(point["consumed"])
    return Decimal(0) if consumed.is_infinite() else max(Decimal(0), whole - consumed)


def _corner(point: Mapping[str, str]) -> str:
    return f"{point['caught_percent']}% at {point['false_alarm_percent']}%"


def _cell(x: int, y: int, size: int, index: int, more: int) -> str:
    """One guess: filled if blind guessing has it right, striped if more does, else empty."""
    box = f'<rect x="{x}" y="{y}" width="{size}" height="{size}"'
    if index < BLIND_PER_100:
        return f'{box} fill="{BLUE}" stroke="{INK}"/>'
    if index < BLIND_PER_100 + more:
        stripes = " ".join(
            f"M{x + start} {y + size}L{x + size} {y + start}" for start in range(0, size, 5)
        ) + " ".join(f" M{x} {y + end}L{x + end} {y}" for end in range(5, size, 5))
        return (
            f'{box} fill="#ffffff" stroke="{INK}"/>'
            f'<path d="{stripes}" stroke="{RED}" stroke-width="2.5"/>'
            f'{box} fill="none" stroke="{INK}"/>'
        )
    return f'{box} fill="#ffffff" stroke="{FAINT}"/>'


def _legend(x: int, y: int, index: int, more: int, words: str) -> str:
    return _cell(x, y - 11, 14, index, more) + _text(x + 20, y, words)


def _axes(across: str, up: str) -> list[str]:
    bottom = HEIGHT - BOTTOM
    middle = (TOP + bottom) // 2
    return [
        f'<path d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}" fill="none" stroke="{INK}"/>',
        _text((LEFT + WIDTH - RIGHT) // 2, HEIGHT - 8, across, anchor="middle"),
        f'<g transform="rotate(-90 16 {middle})">{_text(16, middle, up, anchor="middle")}</g>',
    ]


def _ticks_across(ticks: Iterable[tuple[Decimal, str]]) -> list[str]:
    bottom = HEIGHT - BOTTOM
    marks = []
    for at, words in ticks:
        anchor = "start" if at == 0 else "end" if at == 1 else "middle"
        marks.append(f'<path d="M{_x(at)} {bottom}v5" stroke="{INK}"/>')
        marks.append(_text(_x(at), bottom + 20, words, anchor=anchor))
    return marks


def _ticks_up(ticks: Iterable[tuple[Decimal, str]]) -> list[str]:
    marks = []
    for at, words in ticks:
        y = _y(at)
        marks.append(
            f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="{INK}" stroke-opacity="0.15"/>'
        )
        marks.append(_text(LEFT - 8, _shifted(at), words, anchor="end"))
    return marks


def _line(
    points: Sequence[tuple[Decimal, Decimal]], colour: str, *, width: int = 2, dash: str = ""
) -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<polyline points="{_path(points)}" fill="none" stroke="{colour}"'
        f' stroke-width="{width}"{dashed}/>'
    )


def _path(points: Iterable[tuple[Decimal, Decimal]]) -> str:
    return " ".join(f"{_x(across)},{_y(up)}" for across, up in points)


def _x(share: Decimal) -> str:
    return _number(LEFT + share * (WIDTH - LEFT - RIGHT))


def _y(share: Decimal) -> str:
    return _number(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM))


def _shifted(share: Decimal) -> str:
    """Where a label's foot stands so that its middle is at a height."""
    return _number(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM) + 5)


def _number(value: Decimal) -> str:
    """A coordinate to a hundredth of a pixel."""
    return format(value.quantize(Decimal("0.01")).normalize(), "f")


def _percent(share: Decimal) -> str:
    return format((100 * share).normalize(), "f")


def _plain(value: Decimal) -> str:
    return format(value.normalize(), "f")


def _text(x: int | str, y: int | str, words: str, *, anchor: str = "start") -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-family="sans-serif" font-size="14"'
        f' fill="{INK}">{escape(words)}</text>'
    )


def _svg(
    name: str, title: str, describes: str, marks: Iterable[str], *, height: int = HEIGHT
) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}" role="img" aria-labelledby="{escape(name)}-title'
        f' {escape(name)}-desc">'
        f'<title id="{escape(name)}-title">{escape(title)}</title>'
        f'<desc id="{escape(name)}-desc">{escape(describes)}</desc>'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
        f"{''.join(marks)}</svg>"
    )
