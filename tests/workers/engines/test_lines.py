"""Attacks on the CSV rule: whatever bytes a line holds, it moves nothing but its own record."""

import csv
import io
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.datasets import Dataset, Source, parse_columns
from workers.engines.api import Input
from workers.engines.lines import LINE_BYTES_MOST, parse_line, read_columns, read_header
from workers.engines.rows import RowsUnreadable, attach_rows

COLUMNS = parse_columns(
    [
        {"name": "id", "type": "int64", "nullable": True},
        {"name": "v", "type": "int64", "nullable": True},
        {"name": "s", "type": "string", "nullable": True},
    ]
)
Row = tuple[object, ...]
BAD_LINES = {
    "bare carriage returns": b"7,5,a" + b"\rb" * 500,
    "carriage returns that look like records": b"7,5," + b"\r8,5,x" * 500,
    "quoted carriage return": b'7,5,"a\rb"',
    "unterminated quote": b'7,5,"abc',
    "unterminated quote at the start": b'"7,5,abc',
    "only a quote": b'"',
    "three quotes": b'"""',
    "quote in the middle": b'7,5,a"bc',
    "junk after a quote": b'7,5,"abc"def',
    "quote inside a quoted field": b'7,5,"a"b"',
    "backslash before a quote": b'7,5,"a\\"',
    "nul": b"7,5,a\x00b",
    "not utf-8": b"7,5,\xff\xfe",
    "not utf-8 in front of a comma": b"7\xe9,5,x",
    "byte order mark": b"\xef\xbb\xbf7,5,a",
    "too many fields": b"7,5,a,b,c,d",
    "too few fields": b"7",
    "nothing": b"",
    "spaces": b"  ",
    "a long field": b"7,5," + b"x" * 3_000_000,
    "a long quoted field": b'7,5,"' + b"x" * 3_000_000,
    "longer than any line that is read": b"7,5," + b"x" * (LINE_BYTES_MOST + 9),
}


def rows_of(file: Path) -> "Counter[Row]":
    source = Input(Dataset("d", "d", "private", COLUMNS, Source("c", file.name, "csv")), 1, file)
    with attach_rows(source, COLUMNS, spill=file.parent / "spill") as connection:
        return Counter(connection.execute("SELECT * FROM input_rows").fetchall())


def write(file: Path, lines: list[bytes]) -> Path:
    file.write_bytes(b"\n".join([b"id,v,s", *lines]) + b"\n")
    return file


@pytest.mark.parametrize("place", [0, 1, 20, 40])
@pytest.mark.parametrize("bad", BAD_LINES)
def test_one_line_adds_one_record_at_most_and_takes_none_away(
    tmp_path: Path, bad: str, place: int
) -> None:
    others = [f"{i},{i % 10},abc".encode() for i in range(40)]
    without = rows_of(write(tmp_path / "without.csv", others))
    lines = [*others[:place], BAD_LINES[bad], *others[place:]]
    whole = rows_of(write(tmp_path / "whole.csv", lines))
    assert without.total() == 40
    assert not without - whole
    assert (whole - without).total() <= 1


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_break_inside_quotes_ends_the_record_like_any_other(
    tmp_path: Path, end: bytes
) -> None:
    # The rule that officers are told: as many records as lines, here 2 and 4, each on its own.
    file = tmp_path / "broken.csv"
    file.write_bytes(end.join([b"id,v,s", b"1,2,x", b'7,5,"a', b"8,6,y", b'9",7', b""]))
    expected: list[Row] = [(1, 2, "x"), (7, 5, "a"), (8, 6, "y"), (None, 7, None)]
    assert rows_of(file) == Counter(expected)


nasty_bytes = st.binary(max_size=12) | st.lists(
    st.sampled_from([b'"', b'""', b",", b"\r", b"a", b"7", b"\x00", b"\xff", b"\xc3\xa9", b" "]),
    max_size=12,
).map(b"".join)


@settings(max_examples=200)
@given(st.lists(nasty_bytes, max_size=8), st.integers(0, 7))
def test_leaving_out_any_line_of_any_bytes_leaves_every_other_record_as_it_was(
    lines: list[bytes], which: int
) -> None:
    lines = [piece for line in lines for piece in line.split(b"\n")]

    def records(of: list[bytes]) -> "Counter[Row]":
        batches = read_columns(io.BytesIO(b"\n".join(of) + b"\n"), (0, 1, 3))
        return Counter(row for batch in batches for row in zip(*batch, strict=True))

    whole = records(lines)
    without = records(lines[:which] + lines[which + 1 :])
    assert not without - whole
    assert (whole - without).total() <= 1
    assert whole.total() == sum(1 for line in lines if line.removesuffix(b"\r"))


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")), min_size=1))
def test_every_field_that_a_csv_writer_quotes_comes_back_as_it_was(fields: list[str]) -> None:
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerow(fields)
    assert parse_line(written.getvalue().encode()) == [field or None for field in fields]


@given(st.text(st.sampled_from('a ",'), min_size=1, max_size=12))
def test_malformed_quotes_read_as_the_standard_library_reads_them(text: str) -> None:
    expected = next(csv.reader([text]))
    assert parse_line(text.encode()) == [field or None for field in expected]


def test_two_names_that_are_not_utf_8_do_not_become_one() -> None:
    assert [parse_line(b"a\xff,1"), parse_line(b"a\xfe,1")] == [[None, "1"], [None, "1"]]


def test_what_lies_beyond_the_longest_line_is_neither_read_nor_a_record() -> None:
    long = b"1,2," + b"x" * LINE_BYTES_MOST + b"," + b"y" * LINE_BYTES_MOST * 2
    file = io.BytesIO(long + b"\n3,4,z\n")
    rows = [row for batch in read_columns(file, (0, 2, 3)) for row in zip(*batch, strict=True)]
    assert rows == [("1", None, None), ("3", "z", None)]


def test_every_record_is_in_one_batch_and_all_columns_keep_step() -> None:
    count = 40_001
    file = io.BytesIO(b"".join(b"%d,%d\n" % (i, -i) for i in range(count)))
    batches = list(read_columns(file, (1, 0)))
    assert max(len(column) for batch in batches for column in batch) < count
    rows = [row for batch in batches for row in zip(*batch, strict=True)]
    assert rows == [(str(-i), str(i)) for i in range(count)]


def test_a_column_that_starts_without_values_is_still_text(tmp_path: Path) -> None:
    lines = [b"1,1,"] * 20_000 + [b"1,1,007"]
    assert rows_of(write(tmp_path / "late.csv", lines)) == Counter(
        {(1, 1, None): 20_000, (1, 1, "007"): 1}
    )


@pytest.mark.parametrize("place", [10, 5_000, 200_000])
def test_the_header_is_read_alone_whatever_bytes_the_rows_hold(tmp_path: Path, place: int) -> None:
    lines = [b"1,1,abc"] * 40_000
    lines[place // 8] = b"2,2,\xe9"
    found = rows_of(write(tmp_path / "late.csv", lines))
    assert found == Counter({(1, 1, "abc"): 39_999, (2, 2, None): 1})


def test_a_header_keeps_its_names_through_marks_quotes_and_line_ends() -> None:
    file = io.BytesIO(b'\xef\xbb\xbf"id",v,"a ""b""",\xff\r\n1,2,3\r\n')
    assert read_header(file) == ("id", "v", 'a "b"', "")
    assert file.read() == b"1,2,3\r\n"


@pytest.mark.parametrize("header", [b"", b"id,v", b"id,v,s,S", b"id\rv\rs", b"id;v;s"])
def test_a_file_without_its_columns_is_unreadable_and_never_guessed(
    tmp_path: Path, header: bytes
) -> None:
    file = tmp_path / "other.csv"
    file.write_bytes(header + b"\n1,2,3\n")
    with pytest.raises(RowsUnreadable):
        rows_of(file)


def test_rows_beyond_the_memory_limit_spill_and_leave_nothing(tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    text = "x" * 500
    with file.open("w", encoding="utf-8") as lines:
        lines.write("id,v,s\n")
        lines.writelines(f"{i},1,{i}{text}\n" for i in range(100_000))
    source = Input(Dataset("d", "d", "private", COLUMNS, Source("c", file.name, "csv")), 1, file)
    spill = tmp_path / "spill"
    with attach_rows(source, COLUMNS, spill=spill, memory_limit="40MB") as connection:
        assert any(spill.iterdir())
        found = connection.execute("SELECT count(*), sum(id), sum(length(s)) FROM input_rows")
        digits = sum(len(str(i)) for i in range(100_000))
        assert found.fetchone() == (100_000, sum(range(100_000)), 50_000_000 + digits)
    assert not spill.exists() or list(spill.iterdir()) == []
