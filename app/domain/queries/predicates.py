"""Checks the predicates of a query: column against literal, by total functions only.

A function that fails for some rows only (a cast of text, a division) would tell of those rows by
failing; none can be written here. A predicate on the unit column would pick people by name.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, cast, get_args

from app.domain.columns import NUMBERS, Column, parse_key
from app.domain.datasets import Dataset
from app.domain.decimals import parse_signed_decimal
from app.domain.documents import read_list, read_text, under
from app.domain.errors import InvalidParameter
from app.domain.queries.spec import (
    Between,
    Compare,
    CompareOp,
    In,
    IsNull,
    Junction,
    Not,
    Predicate,
    Value,
)

PREDICATES_MOST = 100
VALUES_MOST = 1_000
DEPTH_MOST = 8
# Over all predicates together: nesting multiplies the limits above.
TERMS_MOST = 5_000
_ORDERED = (*NUMBERS, "date", "timestamp")
_OPERATORS = (*get_args(CompareOp), "in", "between", "is_null")


def parse_where(document: object, dataset: Dataset, pointer: str) -> tuple[Predicate, ...]:
    """The predicates of a query; a row counts where all of them are true.

    Raises:
        InvalidParameter: an unknown column or operator, a literal of another type, a predicate on
            the unit column, or more than the limits allow.
    """
    entries = read_list(document, pointer, most=PREDICATES_MOST)
    predicates = tuple(
        _parse_predicate(entry, dataset, under(pointer, index), depth=1)
        for index, entry in enumerate(entries)
    )
    if sum(map(_terms, predicates)) > TERMS_MOST:
        raise InvalidParameter(
            pointer, f"at most {TERMS_MOST} comparisons and listed values together"
        )
    return predicates


def find_column(document: object, dataset: Dataset, pointer: str) -> Column:
    """The plain column of that name, unless it names the unit of privacy.

    Raises:
        InvalidParameter: unknown (the reason lists the public schema), an array, or the unit.
    """
    column = dataset.column(document) if isinstance(document, str) else None
    if column is None:
        names = ", ".join(known.name for known in dataset.columns[:50])
        raise InvalidParameter(pointer, f"unknown column; the schema has: {names}")
    if column.shape:
        raise InvalidParameter(pointer, "an array column cannot be queried")
    if dataset.unit is not None and dataset.unit.column == column.name:
        raise InvalidParameter(pointer, "this column names the unit of privacy")
    return column


def _terms(predicate: Predicate) -> int:
    match predicate:
        case Not(of=inner):
            return _terms(inner)
        case Junction(of=parts):
            return sum(map(_terms, parts))
        case In(values=values):
            return len(values)
        case Between():
            return 2
        case _:
            return 1


def _parse_predicate(document: object, dataset: Dataset, pointer: str, *, depth: int) -> Predicate:
    if depth > DEPTH_MOST:
        raise InvalidParameter(pointer, f"predicates nest at most {DEPTH_MOST} deep")
    entry = read_list(document, pointer, least=2, most=PREDICATES_MOST)
    head = entry[0]
    if head == "not":
        _require_length(entry, 2, pointer)
        return Not(_parse_predicate(entry[1], dataset, f"{pointer}/1", depth=depth + 1))
    if head in ("and", "or"):
        return Junction(
            head,
            tuple(
                _parse_predicate(part, dataset, under(pointer, index), depth=depth + 1)
                for index, part in enumerate(entry[1:], start=1)
            ),
        )
    column = find_column(head, dataset, f"{pointer}/0")
    op = entry[1]
    if op == "is_null":
        _require_length(entry, 2, pointer)
        return IsNull(column.name)
    if not isinstance(op, str) or op not in _OPERATORS:
        raise InvalidParameter(f"{pointer}/1", f"one of {', '.join(_OPERATORS)} is expected")
    _require_length(entry, 3, pointer)
    if op == "in":
        values = read_list(entry[2], f"{pointer}/2", least=1, most=VALUES_MOST)
        return In(
            column.name,
            tuple(_parse_literal(v, column, f"{pointer}/2/{i}") for i, v in enumerate(values)),
        )
    if op not in ("=", "!=") and column.type not in _ORDERED:
        raise InvalidParameter(f"{pointer}/1", f"a {column.type} column has no order here")
    if op == "between":
        ends = read_list(entry[2], f"{pointer}/2", least=2, most=2)
        low, high = (_parse_literal(v, column, f"{pointer}/2/{i}") for i, v in enumerate(ends))
        return Between(column.name, low, high)
    value = _parse_literal(entry[2], column, f"{pointer}/2")
    return Compare(column.name, cast(CompareOp, op), value)


def _require_length(entry: list[Any] | tuple[Any, ...], length: int, pointer: str) -> None:
    if len(entry) != length:
        raise InvalidParameter(pointer, f"this predicate has {length} members")


def _parse_literal(document: object, column: Column, pointer: str) -> Value:
    if column.type in ("float64", "float32"):
        return parse_number(document, pointer)
    if column.type == "timestamp":
        return _parse_timestamp(document, pointer)
    return parse_key(document, column.type, pointer)


def parse_number(document: object, pointer: str) -> Decimal:
    """A decimal literal: an integer, or a decimal string that a float64 can hold.

    Raises:
        InvalidParameter: a JSON number with a point, not a number, or beyond 1e300.
    """
    if isinstance(document, int) and not isinstance(document, bool):
        document = str(document)
    value = parse_signed_decimal(document, pointer)
    if value and not -300 <= value.adjusted() <= 300:
        raise InvalidParameter(pointer, "beyond what a float64 holds")
    return value


def _parse_timestamp(document: object, pointer: str) -> str:
    text = read_text(document, pointer, most=26)
    try:
        moment = datetime.fromisoformat(text)
        canonical = moment.tzinfo is None and moment.isoformat() == text
    except ValueError:
        canonical = False
    if not canonical:
        raise InvalidParameter(pointer, "a time such as 2026-01-31T08:00:00 is expected")
    return text
