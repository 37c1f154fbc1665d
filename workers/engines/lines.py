"""CSV by one rule: a line is a record, and what becomes of a line depends on that line alone.

A reader that follows quotes over line ends, or takes a bare carriage return for one, lets a single
record add or swallow any number of others; no bound on the effect of a record survives that. Here a
line feed ends a record wherever it stands, and nothing else does:

    a quoted line break ends the record, so texts that hold them belong into Parquet
    a quote that nothing closes ends with its line; other carriage returns are plain characters
    a missing field has no value, one too many is passed over, an empty line is no record
    a field that is not UTF-8 has no value: two of them must not become one name
    what lies beyond the first 16 MiB of a line is not read
"""

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

Field = str | None

LINE_BYTES_MOST = 2**24
# What is handed over at once, in rows or in bytes of the file, whichever is reached first.
_BATCH_ROWS = 2**14
_BATCH_BYTES = 2**24
# Never goes back: after its longest match a quoted text is followed by one quote or the end.
_FIELD = re.compile(r'(?:"([^"]*(?:""[^"]*)*)(?:"|\Z)([^,]*)|([^,]*))(,|\Z)')


def read_header(file: BinaryIO) -> tuple[str, ...]:
    """The names in the first line, without a byte order mark; leaves the file at the second."""
    line = _next_line(file) or b""
    return tuple(field or "" for field in parse_line(line.removeprefix(b"\xef\xbb\xbf")))


def read_columns(file: BinaryIO, places: Sequence[int]) -> Iterator[list[list[Field]]]:
    """The fields at some places of every line, in batches of columns; memory stays bounded.

    Args:
        file: at the start of a record.
        places: which fields are wanted, from 0.

    Yields:
        One list a place, all of one length; every record of the file is in one batch.
    """
    columns: list[list[Field]] = [[] for _ in places]
    rows = size = 0
    while (line := _next_line(file)) is not None:
        fields = parse_line(line)
        if not fields:
            continue
        for column, place in zip(columns, places, strict=True):
            column.append(fields[place] if place < len(fields) else None)
        rows += 1
        size += len(line)
        if rows == _BATCH_ROWS or size >= _BATCH_BYTES:
            yield columns
            columns = [[] for _ in places]
            rows = size = 0
    if rows:
        yield columns


def parse_line(line: bytes) -> list[Field]:
    """The fields of one line; an empty one, and one that is not UTF-8, is None. Never fails."""
    cut = len(line) > LINE_BYTES_MOST and not line.endswith(b"\n")
    line = line.removesuffix(b"\n").removesuffix(b"\r")
    if not line:
        return []
    try:
        text = line.decode()
        whole = True
    except UnicodeDecodeError:
        text = line.decode(errors="surrogateescape")
        whole = False
    fields = _quoted(text) if '"' in text else text.split(",")
    found: list[Field] = [
        field if field and (whole or _is_utf8(field)) else None for field in fields
    ]
    if cut:
        found[-1] = None
    return found


def _next_line(file: BinaryIO) -> bytes | None:
    """The next line with its end, None at the end of the file; of a long one its beginning."""
    line = file.readline(LINE_BYTES_MOST + 1)
    if len(line) > LINE_BYTES_MOST:
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = file.readline(LINE_BYTES_MOST)
    return line or None


def _quoted(text: str) -> list[str]:
    """Fields of a line that holds quotes (RFC 4180); what follows a closing quote is kept."""
    fields: list[str] = []
    end = 0
    while True:
        match = _FIELD.match(text, end)
        assert match is not None  # noqa: S101 - the pattern matches at every place
        inside, after, plain, comma = match.groups()
        fields.append(plain if inside is None else inside.replace('""', '"') + after)
        if not comma:
            return fields
        end = match.end()


def _is_utf8(field: str) -> bool:
    try:
        field.encode()
    except UnicodeEncodeError:
        return False
    return True
