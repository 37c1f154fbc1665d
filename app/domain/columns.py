"""The public schema of a table: column names, types, bounds, grids and public domains.

Every value here is declared by a person, never read from rows: a bound or a domain that was
computed from data is itself a leak (R28).
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from typing import Any, Literal, cast, get_args

from app.domain.decimals import decimal_text, parse_decimal, parse_signed_decimal
from app.domain.documents import read_choice, read_integer, read_list, read_object, read_text, under
from app.domain.errors import InvalidParameter

ColumnType = Literal["int64", "float64", "float32", "string", "bool", "date", "timestamp"]
Key = int | str | bool

COLUMNS_MOST = 10_000
DOMAIN_MOST = 10_000
ELEMENTS_MOST = 2**24
NUMBERS: tuple[ColumnType, ...] = ("int64", "float64", "float32")
KEY_TYPES: tuple[ColumnType, ...] = ("int64", "string", "bool", "date")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
# Engines answer to these without a column of the file: a row's number tells of the rows before it.
_ENGINE_NAMES = frozenset(
    ("file_row_number", "file_row_group_number", "filename", "file_index", "rowid")
)
# Wide enough for every float64 that makes sense as a bound, narrow enough for exact arithmetic.
_EXPONENT_MOST = 60


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the public schema.

    low, high: public bounds of the values; both or neither; low < high.
    grid: public step to which values are rounded before they are summed as integers.
    domain: the public values of a key column, in order; None where the keys are private.
    domain_source: where a domain comes from; only "public" may be used as public keys (R28).
    keys: "private" where the column may be grouped by through a noisy threshold.
    shape: the fixed shape of an array column, such as (64,); () for a plain value.
    """

    name: str
    type: ColumnType
    nullable: bool = False
    low: Decimal | None = None
    high: Decimal | None = None
    grid: Decimal | None = None
    domain: tuple[Key, ...] | None = None
    domain_source: Literal["public"] | None = None
    keys: Literal["private"] | None = None
    shape: tuple[int, ...] = ()


def is_name(text: str) -> bool:
    """Whether a text can name a column: a letter or underscore, then letters, digits, those."""
    return _NAME.fullmatch(text) is not None


def schema_digest(columns: Sequence[Column]) -> str:
    """A name for the shape of a table: `sha256:` over its column names, types and array shapes.

    Order, bounds, grids and domains stay out: they are declarations about the same rows, and a
    changed bound must not make a known table look new (R18).
    """
    shape = sorted([column.name.lower(), column.type, list(column.shape)] for column in columns)
    text = json.dumps(shape, separators=(",", ":"), ensure_ascii=True)
    return f"sha256:{sha256(text.encode()).hexdigest()}"


def parse_columns(documents: object, pointer: str = "/columns") -> tuple[Column, ...]:
    """Validate a public schema from a request.

    Raises:
        InvalidParameter: with the pointer to the value that is wrong.
    """
    entries = read_list(documents, pointer, least=1, most=COLUMNS_MOST)
    columns: list[Column] = []
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        at = under(pointer, index)
        column = _parse_column(entry, at)
        # The engines compare identifiers without case.
        if column.name.lower() in seen:
            raise InvalidParameter(f"{at}/name", "another column has this name")
        seen.add(column.name.lower())
        columns.append(column)
    return tuple(columns)


def column_to_json(column: Column) -> dict[str, Any]:
    """The wire form of a column, as `parse_columns` reads it."""
    document: dict[str, Any] = {
        "name": column.name,
        "type": column.type,
        "nullable": column.nullable,
    }
    if column.low is not None and column.high is not None:
        document["bounds"] = {
            "low": decimal_text(column.low),
            "high": decimal_text(column.high),
        }
    if column.grid is not None:
        document["grid"] = decimal_text(column.grid)
    if column.domain is not None:
        document["domain"] = list(column.domain)
    if column.domain_source is not None:
        document["domain_source"] = column.domain_source
    if column.keys is not None:
        document["keys"] = column.keys
    if column.shape:
        document["shape"] = list(column.shape)
    return document


def _parse_column(document: object, pointer: str) -> Column:
    fields = read_object(
        document,
        pointer,
        required=("name", "type"),
        optional=("nullable", "bounds", "grid", "domain", "domain_source", "keys", "shape"),
    )
    name = fields["name"]
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise InvalidParameter(
            f"{pointer}/name",
            "a letter or underscore, then at most 62 letters, digits, underscores",
        )
    if name.lower() in _ENGINE_NAMES:
        raise InvalidParameter(f"{pointer}/name", "the engines have a meaning of their own for it")
    type_ = cast(ColumnType, read_choice(fields["type"], f"{pointer}/type", get_args(ColumnType)))
    nullable = fields.get("nullable", False)
    if not isinstance(nullable, bool):
        raise InvalidParameter(f"{pointer}/nullable", "true or false is expected")
    shape = _parse_shape(fields["shape"], f"{pointer}/shape") if "shape" in fields else ()
    low, high, grid = _parse_bounds(fields, type_, pointer)
    domain = None
    if "domain" in fields:
        _require_key_column(type_, shape, f"{pointer}/domain")
        domain = _parse_domain(fields["domain"], type_, f"{pointer}/domain")
    if "domain_source" in fields:
        read_choice(fields["domain_source"], f"{pointer}/domain_source", ("public",))
        if domain is None:
            raise InvalidParameter(f"{pointer}/domain_source", "there is no domain to speak of")
    if "keys" in fields:
        read_choice(fields["keys"], f"{pointer}/keys", ("private",))
        _require_key_column(type_, shape, f"{pointer}/keys")
    return Column(
        name=name,
        type=type_,
        nullable=nullable,
        low=low,
        high=high,
        grid=grid,
        domain=domain,
        domain_source="public" if "domain_source" in fields else None,
        keys="private" if "keys" in fields else None,
        shape=shape,
    )


def _parse_shape(document: object, pointer: str) -> tuple[int, ...]:
    sides = read_list(document, pointer, least=1, most=4)
    shape = tuple(
        read_integer(side, under(pointer, index), low=1, high=ELEMENTS_MOST)
        for index, side in enumerate(sides)
    )
    if math.prod(shape) > ELEMENTS_MOST:
        raise InvalidParameter(pointer, f"an array holds at most {ELEMENTS_MOST} elements")
    return shape


def _parse_bounds(
    fields: Mapping[str, Any], type_: ColumnType, pointer: str
) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
    if "bounds" not in fields:
        if "grid" in fields:
            raise InvalidParameter(f"{pointer}/grid", "a grid stands with bounds")
        return None, None, None
    at = f"{pointer}/bounds"
    if type_ not in NUMBERS:
        raise InvalidParameter(at, f"bounds are for columns of {', '.join(NUMBERS)}")
    bounds = read_object(fields["bounds"], at, required=("low", "high"))
    low = parse_signed_decimal(bounds["low"], f"{at}/low")
    high = parse_signed_decimal(bounds["high"], f"{at}/high")
    grid = parse_decimal(fields["grid"], f"{pointer}/grid") if "grid" in fields else None
    check_bounds(low, high, grid, type_, (f"{at}/low", f"{at}/high", f"{pointer}/grid"))
    return low, high, grid


def check_bounds(
    low: Decimal,
    high: Decimal,
    grid: Decimal | None,
    type_: ColumnType,
    pointers: tuple[str, str, str],
) -> None:
    """Refuse bounds and grids that do not make an exact range of integers.

    low < high; the grid is positive and divides both bounds, so it also divides their distance;
    the bounds of an integer column are whole numbers within 64 bits, and so is its grid.

    Raises:
        InvalidParameter: with the one of `pointers` (low, high, grid) that is wrong.
    """
    for value, at in zip((low, high, grid), pointers, strict=True):
        if value is None:
            continue
        if value and not -_EXPONENT_MOST <= value.adjusted() <= _EXPONENT_MOST:
            raise InvalidParameter(
                at, f"out of the range 1e-{_EXPONENT_MOST} to 1e{_EXPONENT_MOST}"
            )
        if type_ == "int64" and (Fraction(value).denominator != 1 or not -(2**63) <= value < 2**63):
            raise InvalidParameter(at, "an integer column takes whole numbers of 64 bits")
    if not low < high:
        raise InvalidParameter(pointers[1], "the high bound lies above the low bound")
    if grid is None:
        return
    if grid <= 0:
        raise InvalidParameter(pointers[2], "a grid is positive")
    for bound in (low, high):
        if (Fraction(bound) / Fraction(grid)).denominator != 1:
            raise InvalidParameter(pointers[2], "the grid divides both bounds")


def _require_key_column(type_: ColumnType, shape: tuple[int, ...], pointer: str) -> None:
    if shape or type_ not in KEY_TYPES:
        raise InvalidParameter(pointer, f"keys are plain values of {', '.join(KEY_TYPES)}")


def _parse_domain(document: object, type_: ColumnType, pointer: str) -> tuple[Key, ...]:
    entries = read_list(document, pointer, least=1, most=DOMAIN_MOST)
    values = tuple(parse_key(entry, type_, under(pointer, i)) for i, entry in enumerate(entries))
    if len(set(values)) != len(values):
        raise InvalidParameter(pointer, "a value stands twice")
    return values


def parse_key(document: object, type_: ColumnType, pointer: str) -> Key:
    """Validate one key value of a column's type; dates are text such as 2026-01-31.

    Raises:
        InvalidParameter: the value is not of that type.
    """
    if type_ == "bool":
        if not isinstance(document, bool):
            raise InvalidParameter(pointer, "true or false is expected")
        return document
    if type_ == "int64":
        return read_integer(document, pointer, low=-(2**63), high=2**63 - 1)
    text = read_text(document, pointer, least=0, most=256)
    if type_ == "date":
        try:
            canonical = date.fromisoformat(text).isoformat() == text
        except ValueError:
            canonical = False
        if not canonical:
            raise InvalidParameter(pointer, "a date such as 2026-01-31 is expected")
    return text
