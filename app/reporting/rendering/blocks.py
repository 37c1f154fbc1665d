"""The blocks that a page of a report is made of: plain data, so that HTML and PDF show the same.

A report's JSON is laid out once, here, as a document of blocks; a template for each form then sets
the blocks and knows nothing of privacy. Text is data from the first to the last step: a template
escapes it, and none of it is ever read as markup.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from html import unescape
from typing import Any, Final, Literal, TypedDict

from app.reporting.charts import Chart

Style = Literal["plain", "code", "number", "strong", "muted", "state"]
Tone = Literal["plain", "warning"]

# What is invisible, or turns the direction of what follows, is shown as its code point instead.
_HIDDEN: Final = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_DESCRIPTION: Final = re.compile("<desc[^>]*>([^<]*)</desc>")
_SPACES: Final = re.compile(r"\s+")

# Roughly: what one line of a printed table holds, and what is short or tall on a page of 60 lines.
LINE_CHARACTERS: Final = 90
SHORT_ROWS: Final = 9
SHORT_LINES: Final = 26
TALL_LINES: Final = 10
# An entry of more characters than this may break over two pages.
LONG_ENTRY: Final = 2500

STATE_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "satisfied": ("\u2713", "satisfied"),
    "not_satisfied": ("\u2717", "not satisfied"),
    "partly_satisfied": ("\u25d0", "partly satisfied"),
    "attested": ("\u270e", "attested"),
    "not_evaluated": ("\u25cb", "not evaluated"),
    "not_applicable": ("\u2013", "not applicable"),
}


class Line(TypedDict):
    """One line of a cell. state: of a criterion, where the style is `state`; else empty."""

    text: str
    style: Style
    state: str
    symbol: str


Cell = list[Line]
Block = dict[str, Any]
Content = str | int | bool | None | Line | Sequence[Line]


def shown(text: object) -> str:
    """A text on one line, in composed form, with hidden characters made visible."""
    composed = unicodedata.normalize("NFC", str(text))
    visible = _HIDDEN.sub(_named, composed)
    return _SPACES.sub(" ", visible).strip()


def _named(found: re.Match[str]) -> str:
    return f"[U+{ord(found.group()):04X}]"


def line(text: object, style: Style = "plain") -> Line:
    """A line of a cell."""
    return {"text": shown(text), "style": style, "state": "", "symbol": ""}


def code(text: object) -> Line:
    """An id, a hash or a name from the records, set so that it may break anywhere."""
    return line(text, "code")


def number(text: object) -> Line:
    """A figure."""
    return line(text, "number")


def muted(text: object) -> Line:
    """A remark beside something, or the word for nothing."""
    return line(text, "muted")


def strong(text: object) -> Line:
    """What a row is about."""
    return line(text, "strong")


def state(name: str) -> Line:
    """A criterion's state: a symbol and a word, so that no colour is needed to read it."""
    symbol, words = STATE_WORDS[name]
    return {"text": words, "style": "state", "state": name, "symbol": symbol}


def cell(content: Content, empty: str = "not recorded") -> Cell:
    """A cell of one or more lines; a word where there is nothing to show."""
    if content is None or content in ("", []):
        return [muted(empty)]
    if isinstance(content, bool):
        return [line("yes" if content else "no")]
    if isinstance(content, int):
        return [number(grouped(content))]
    if isinstance(content, str):
        return [line(content)]
    if isinstance(content, Mapping):
        return [content]
    return list(content)


def grouped(count: int) -> str:
    """A count with groups of three digits."""
    return f"{count:,}"


def when(text: str | None) -> str | None:
    """A UTC time of the records to the minute; a date stays as it is."""
    if text is None or "T" not in text:
        return text
    date, time = text.split("T", 1)
    return f"{date} {time[:5]} UTC"


def _room(text: str) -> int:
    """How many characters a text takes at most: one that no font has becomes its code point."""
    return 1 + sum(8 if character > "\u2fff" else 1 for character in text)


def heading(text: str) -> Block:
    """A heading below that of the section."""
    return {"block": "heading", "text": shown(text)}


def paragraph(text: str, style: Literal["plain", "lead", "large", "note"] = "plain") -> Block:
    """Running text."""
    return {"block": "paragraph", "text": shown(text), "style": style}


def bullets(items: Iterable[str], *, ordered: bool = False) -> Block:
    """A list."""
    return {"block": "list", "items": [shown(item) for item in items], "ordered": ordered}


def facts(caption: str, items: Iterable[tuple[str, Content]]) -> Block:
    """Names with values."""
    rows = [(shown(term), cell(content)) for term, content in items]
    return {
        "block": "facts",
        "caption": shown(caption),
        "items": [{"term": term, "cell": content} for term, content in rows],
        **_breaks([[content] for _, content in rows], [0.73]),
    }


def table(
    caption: str,
    columns: Sequence[tuple[str, int]],
    rows: Iterable[Sequence[Content]],
    *,
    numbers: Sequence[int] = (),
    empty: str = "None.",
    note: str = "",
) -> Block:
    """A table with a caption and a head; the first cell of a row names it.

    Args:
        caption: what it shows.
        columns: title and relative width of each.
        rows: contents of the cells.
        numbers: the columns that are set flush right.
        empty: said where there is no row.
        note: said below.
    """
    cells = [[cell(content) for content in row] for row in rows]
    whole = sum(width for _, width in columns)
    return {
        "block": "table",
        "caption": shown(caption),
        "columns": [
            {"title": title, "width": width, "number": index in numbers}
            for index, (title, width) in enumerate(columns)
        ],
        "rows": cells,
        "empty": empty,
        "note": shown(note),
        **_breaks(cells, [width / whole for _, width in columns]),
    }


def _breaks(rows: Sequence[Sequence[Cell]], shares: Sequence[float]) -> dict[str, bool]:
    """Where a printed table may break: a short one nowhere, an ordinary one between its rows.

    Args:
        rows: the cells that are set.
        shares: of the width of a page, for each of their columns.
    """
    lines = [
        max(
            sum(math.ceil(_room(each["text"]) / (share * LINE_CHARACTERS)) for each in content)
            for content, share in zip(row, shares, strict=True)
        )
        for row in rows
    ]
    return {
        "stays_whole": len(rows) <= SHORT_ROWS and sum(lines) <= SHORT_LINES,
        "breaks_rows": max(lines, default=0) > TALL_LINES,
    }


def quote(text: str, by: str) -> Block:
    """What somebody said, with their name."""
    return {"block": "quote", "text": shown(text), "by": shown(by)}


def figures(items: Iterable[tuple[str, str, str]]) -> Block:
    """A strip of a few figures: label, value, remark."""
    return {
        "block": "figures",
        "items": [
            {"label": shown(label), "value": shown(value), "note": shown(note)}
            for label, value, note in items
        ],
    }


def callout(title: str, text: str, tone: Tone = "plain") -> Block:
    """What must not be overlooked."""
    return {"block": "callout", "title": shown(title), "text": shown(text), "tone": tone}


def entries(items: Iterable[Mapping[str, Any]]) -> Block:
    """Cards: `id`, `title`, `state` (a line) and `facts` (pairs of term and content)."""
    return {
        "block": "entries",
        "items": [
            {
                "id": shown(item["id"]),
                "title": shown(item["title"]),
                "state": item["state"],
                "long": sum(len(str(content)) for _, content in item["facts"]) > LONG_ENTRY,
                "facts": [
                    {"term": shown(term), "cell": cell(content)} for term, content in item["facts"]
                ],
            }
            for item in items
        ],
    }


def drawn(chart: Chart) -> list[Block]:
    """A chart and, below it, the table of the same numbers."""
    described = _DESCRIPTION.search(chart.svg)
    numbers = tuple(range(1, len(chart.table.columns)))
    return [
        {
            "block": "chart",
            "title": shown(chart.table.caption),
            # no reader of XML takes a control character, not even escaped
            "svg": _HIDDEN.sub(_named, chart.svg),
            "description": shown(unescape(described.group(1))) if described else "",
        },
        table(
            f"{chart.table.caption}: the numbers",
            [(title, 1) for title in chart.table.columns],
            [[line(first), *(number(each) for each in rest)] for first, *rest in chart.table.rows],
            numbers=numbers,
        ),
    ]


def listing(caption: str, text: str) -> Block:
    """A document as text, line by line."""
    lines = [shown_line(each) for each in text.splitlines()]
    return {"block": "listing", "caption": shown(caption), "lines": lines}


def shown_line(text: str) -> str:
    """One line of a listing, its indent kept."""
    indent = len(text) - len(text.lstrip(" "))
    return " " * indent + shown(text)
