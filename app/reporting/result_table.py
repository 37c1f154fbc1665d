"""A query's result as one flat table, and that table as CSV: re-shaping of what was released.

Each measure has a column of values and beside it what stands in its cells: the half-width of the
noise at 95%, the mechanism, and the edges of bins or a width in rank where it has them. Names end
in a blank and a word, which no key column has, so that no two are alike. The columns follow from
the spec and the schema; nothing here sees a number that was not released.

The CSV is safe to open in a spreadsheet. A text whose first visible character is one of `= + - @`
(or its full-width form), or that begins with a control character, would be read there as a formula;
it gets an apostrophe in front, which spreadsheets take as "this is text". So do texts that begin
with an apostrophe themselves and the empty text. Taking one leading apostrophe off every field
gives the released texts back exactly, and an empty field is always a missing value. Numbers are
written as in the JSON, lists as JSON, and neither can begin as a formula.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

RESULT_PARQUET: Final = "result.parquet"
FORMULA_STARTS: Final = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
TEXT_MARK: Final = "'"
INTEGERS: Final = range(-(2**63), 2**63)

FieldType = Literal["text", "integer", "number", "boolean", "decimal"]


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column of a result's table.

    type: of a field, or of each member where it is a list. A decimal is a number as a text.
    """

    name: str
    type: FieldType
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class ResultTable:
    """Released rows as fields. None is a missing value: a group without a key, a width not known.

    notes: constant sentences about what the numbers include (R13).
    """

    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...]


def has_table(document: Mapping[str, Any]) -> bool:
    """Whether a result is made of rows and cells; that of a training is not."""
    return {"columns", "rows"} <= document.keys()


def result_table(document: Mapping[str, Any]) -> ResultTable:
    """The table of a result that has one."""
    keys = [column for column in document["columns"] if column["kind"] == "key"]
    measures = [column for column in document["columns"] if column["kind"] == "measure"]
    columns = [TableColumn(key["name"], _key_type(key["type"])) for key in keys]
    facts: list[tuple[str, ...]] = []
    for place, measure in enumerate(measures):
        cells = [row["cells"][place] for row in document["rows"]]
        columns.append(_value_column(measure, [cell["value"] for cell in cells]))
        facts.append(_facts(measure, cells))
        columns.extend(
            _fact_column(f"{measure['name']} {fact}", fact, measure) for fact in facts[-1]
        )
    rows = tuple(
        (
            *(row["keys"][key["name"]] for key in keys),
            *(
                cell.get(name)
                for cell, names in zip(row["cells"], facts, strict=True)
                for name in ("value", *names)
            ),
        )
        for row in document["rows"]
    )
    return ResultTable(tuple(columns), rows, tuple(document.get("notes", ())))


def csv_text(table: ResultTable) -> str:
    """The table as RFC 4180 CSV with a header; see the head of this file for its texts."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow([guarded(column.name) for column in table.columns])
    write = [_writer_of(column) for column in table.columns]
    for row in table.rows:
        writer.writerow(
            ["" if value is None else put(value) for put, value in zip(write, row, strict=True)]
        )
    return buffer.getvalue()


def guarded(text: str) -> str:
    """The text as a field that no spreadsheet takes for a formula, nor for a missing value."""
    first_seen = next((each for each in text if each.isprintable() and not each.isspace()), "")
    is_safe = (
        text != ""
        and text[0] != TEXT_MARK
        and text[0].isprintable()
        and first_seen not in FORMULA_STARTS
    )
    return text if is_safe else TEXT_MARK + text


def _writer_of(column: TableColumn) -> Callable[[Any], str]:
    if column.is_list or column.type in ("integer", "number", "boolean"):
        return _json_text
    return guarded


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _key_type(type_: str) -> FieldType:
    return {"int64": "integer", "bool": "boolean"}.get(type_, "text")  # type: ignore[return-value]


def _value_column(measure: Mapping[str, str], values: Sequence[Any]) -> TableColumn:
    name, is_list = f"{measure['name']} value", measure["type"] != "number"
    members = [each for value in values for each in value] if is_list else list(values)
    if measure["type"] == "keys":
        return TableColumn(name, _members_type(members), is_list)
    is_whole = all(isinstance(each, int) and each in INTEGERS for each in members)
    return TableColumn(name, "integer" if members and is_whole else "number", is_list)


def _members_type(members: Sequence[Any]) -> FieldType:
    if members and all(isinstance(each, bool) for each in members):
        return "boolean"
    if members and all(isinstance(each, int) for each in members):
        return "integer"
    return "text"


def _facts(measure: Mapping[str, str], cells: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What stands beside a measure's values, by name: the usual ones, then what a cell adds."""
    names = ["half_width_95", "mechanism"]
    if measure["name"].startswith("quantile("):
        names.append("rank_half_width_95")
    if measure["type"] == "numbers":
        names.append("edges")
    found = dict.fromkeys(name for cell in cells for name in cell)
    return (*names, *(name for name in found if name not in {"measure", "value", *names}))


def _fact_column(name: str, fact: str, measure: Mapping[str, str]) -> TableColumn:
    if fact == "edges" and measure["type"] == "numbers":
        return TableColumn(name, "decimal", is_list=True)
    return TableColumn(name, "decimal" if fact.endswith("half_width_95") else "text")
