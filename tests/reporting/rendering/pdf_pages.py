"""Reading a PDF back: where its text lies, and what its structure says."""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass

import pypdfium2 as pdfium
import pypdfium2.raw as raw


@dataclass(frozen=True)
class Box:
    """One run of characters on a line, in points from the lower left corner."""

    page: int
    text: str
    left: float
    bottom: float
    right: float
    top: float


def text_boxes(data: bytes) -> Iterator[tuple[tuple[float, float], list[Box]]]:
    """Of each page its size and the boxes of its words."""
    document = pdfium.PdfDocument(data)
    try:
        for at in range(len(document)):
            page = document[at]
            text = page.get_textpage()
            yield page.get_size(), list(_words(at + 1, text))
            text.close()
            page.close()
    finally:
        document.close()


def _words(page: int, text: pdfium.PdfTextPage) -> Iterator[Box]:
    """Characters that follow each other on one line without a gap."""
    word: list[tuple[str, float, float, float, float]] = []
    for at in range(text.count_chars()):
        character = chr(raw.FPDFText_GetUnicode(text, at))
        left, bottom, right, top = text.get_charbox(at, loose=False)
        # blanks have no ink, and a break inside a long id has none either
        inked = not character.isspace() and character != "\u200b" and right > left
        starts = word and (
            abs(bottom - word[-1][2]) > 6
            # the letters of a ligature share one box, and rounding may put the later one first
            or left < word[-1][1] - 0.5
            or left > word[-1][3] + 4
        )
        if word and (not inked or starts):
            yield _joined(page, word)
            word = []
        if inked:
            word.append((character, left, bottom, right, top))
    if word:
        yield _joined(page, word)


def _joined(page: int, word: list[tuple[str, float, float, float, float]]) -> Box:
    return Box(
        page,
        "".join(each[0] for each in word),
        min(each[1] for each in word),
        min(each[2] for each in word),
        max(each[3] for each in word),
        max(each[4] for each in word),
    )


def overlapping(boxes: list[Box], slack: float) -> list[tuple[Box, Box]]:
    """Pairs whose ink lies on each other by more than the slack, in both directions."""
    found = []
    ordered = sorted(boxes, key=lambda box: box.left)
    for at, one in enumerate(ordered):
        for other in ordered[at + 1 :]:
            if other.left >= one.right - slack:
                break
            deep = min(one.top, other.top) - max(one.bottom, other.bottom)
            if deep > slack:
                found.append((one, other))
    return found


def rendered(data: bytes, page: int, scale: float) -> tuple[int, int, bytes]:
    """A page as width, height and rows of BGR bytes."""
    document = pdfium.PdfDocument(data)
    try:
        bitmap = document[page].render(scale=scale)
        size = bitmap.stride * bitmap.height
        return bitmap.width, bitmap.height, ctypes.string_at(bitmap.buffer, size)
    finally:
        document.close()
