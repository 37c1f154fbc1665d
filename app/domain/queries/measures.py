"""Checks the measures of a query: figures per group, and how released rows are shown.

Bounds, bins and domains come from the request or the public schema and are never guessed.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, cast, get_args

from app.domain.columns import NUMBERS, Column, check_bounds
from app.domain.datasets import Dataset
from app.domain.decimals import parse_decimal, parse_signed_decimal
from app.domain.documents import read_choice, read_integer, read_list, read_object, under
from app.domain.errors import BoundsRequired, InvalidParameter, RefusedByName
from app.domain.queries.predicates import find_column, parse_number
from app.domain.queries.spec import (
    CompareOp,
    GroupBy,
    Having,
    Measure,
    MeasureName,
    OrderBy,
)

MEASURES_MOST: Final = 20
QUANTILES_MOST: Final = 50
QUANTILE_DIGITS: Final = 4
BINS_MOST: Final = 1_000
QUANTILE_BINS_MOST: Final = 2**16
QUANTILE_BINS: Final = 1024
KEYS_SHOWN_MOST: Final = 100
LIMIT_MOST: Final = 100_000
LEAST_WEIGHT: Final = Decimal("0.001")
LARGEST_WEIGHT: Final = Decimal(1_000)
_PLACED: Final = ("quantile", "histogram")


def parse_measures(document: object, dataset: Dataset, pointer: str) -> tuple[Measure, ...]:
    """The measures, each released cell with a name of its own.

    Raises:
        InvalidParameter: malformed, unknown, out of range, or named twice.
        BoundsRequired: a measure of values without public bounds, grid or bins.
        RefusedByName: min or max, or keys of a column without a public domain (R28).
    """
    entries = read_list(document, pointer, least=1, most=MEASURES_MOST)
    measures = tuple(
        _parse_measure(entry, dataset, under(pointer, index)) for index, entry in enumerate(entries)
    )
    seen: set[str] = set()
    for index, measure in enumerate(measures):
        for name in measure.output_names:
            if name in seen:
                raise InvalidParameter(under(pointer, index), f"{name} stands twice")
            seen.add(name)
    return measures


def _parse_measure(document: object, dataset: Dataset, pointer: str) -> Measure:
    name = document.get("fn") if isinstance(document, Mapping) else None
    if name in ("min", "max"):
        raise RefusedByName(
            f"{pointer}/fn",
            str(name),
            "a quantile between public bounds; the extreme of a column is one person's value",
        )
    match name:
        case "count":
            return _parse_count(document, dataset, pointer)
        case "count_distinct":
            return _parse_count_distinct(document, dataset, pointer)
        case "quantile" | "histogram":
            return parse_placed(document, dataset, pointer)
        case "top_k":
            return _parse_top_k(document, dataset, pointer)
    fields = read_object(
        document, pointer, required=("fn",), optional=("col", "lo", "hi", "grid", "weight")
    )
    fn = cast(MeasureName, read_choice(fields["fn"], f"{pointer}/fn", get_args(MeasureName)))
    column = find_number(_required(fields, "col", pointer), dataset, f"{pointer}/col")
    low, high, grid = _parse_range(fields, column, pointer)
    return Measure(fn, column.name, low, high, grid, parse_weight(fields, pointer))


def _parse_count(document: object, dataset: Dataset, pointer: str) -> Measure:
    fields = read_object(document, pointer, required=("fn",), optional=("col", "weight"))
    weight = parse_weight(fields, pointer)
    if "col" not in fields:
        return Measure("count", None, None, None, None, weight)
    counted = find_column(fields["col"], dataset, f"{pointer}/col")
    return Measure("count", counted.name, None, None, None, weight)


def _parse_count_distinct(document: object, dataset: Dataset, pointer: str) -> Measure:
    """How many units of privacy there are; other distinct values are keys, not a count."""
    fields = read_object(document, pointer, required=("fn",), optional=("col", "weight"))
    unit = None if dataset.unit is None else dataset.unit.column
    if "col" in fields and (unit is None or fields["col"] != unit):
        raise InvalidParameter(
            f"{pointer}/col",
            "only units of privacy are counted as distinct; leave this out, or group by the column",
        )
    return Measure("count_distinct", None, None, None, None, parse_weight(fields, pointer))


def parse_placed(document: object, dataset: Dataset, pointer: str) -> Measure:
    """A quantile or a histogram: values in public bins between public bounds.

    Raises:
        InvalidParameter: malformed, unknown or out of range.
        BoundsRequired: neither the request nor the schema has bounds.
    """
    fields = read_object(
        document,
        pointer,
        required=("fn", "col"),
        optional=("q", "lo", "hi", "bins", "edges", "weight"),
    )
    fn = cast(MeasureName, read_choice(fields["fn"], f"{pointer}/fn", _PLACED))
    column = find_number(fields["col"], dataset, f"{pointer}/col")
    weight = parse_weight(fields, pointer)
    if fn == "histogram":
        if "q" in fields:
            raise InvalidParameter(f"{pointer}/q", "belongs to a quantile")
        if "edges" in fields:
            for key in ("lo", "hi", "bins"):
                if key in fields:
                    raise InvalidParameter(f"{pointer}/{key}", "either edges, or lo, hi and bins")
            edges = parse_edges(fields["edges"], f"{pointer}/edges")
            return Measure(fn, column.name, None, None, None, weight, edges=edges)
    elif "edges" in fields:
        raise InvalidParameter(f"{pointer}/edges", "belongs to a histogram")
    low, high = _parse_ends(fields, column, pointer)
    unset = f"{pointer}/hi"
    check_bounds(low, high, None, column.type, (f"{pointer}/lo", unset, unset))
    if fn == "histogram":
        at, count = f"{pointer}/bins", _required(fields, "bins", pointer)
        bins = read_integer(count, at, low=1, high=BINS_MOST)
        return Measure(fn, column.name, low, high, None, weight, bins=bins)
    least_width = int(high - low) if column.type == "int64" else QUANTILE_BINS
    default = max(2, min(QUANTILE_BINS, least_width))
    at = f"{pointer}/bins"
    bins = read_integer(fields.get("bins", default), at, low=2, high=QUANTILE_BINS_MOST)
    quantiles = _parse_quantiles(_required(fields, "q", pointer), f"{pointer}/q")
    return Measure(fn, column.name, low, high, None, weight, quantiles, bins)


def _parse_quantiles(document: object, pointer: str) -> tuple[Decimal, ...]:
    entries = document if isinstance(document, list | tuple) else [document]
    entries = read_list(entries, pointer, least=1, most=QUANTILES_MOST)
    found: list[Decimal] = []
    for index, entry in enumerate(entries):
        at = under(pointer, index)
        quantile = parse_decimal(entry, at)
        if not 0 < quantile < 1:
            raise InvalidParameter(at, "a quantile lies between 0 and 1; both ends are refused")
        if quantile != round(quantile, QUANTILE_DIGITS):
            raise InvalidParameter(at, f"at most {QUANTILE_DIGITS} digits after the point")
        if quantile in found:
            raise InvalidParameter(at, "this quantile stands twice")
        found.append(quantile)
    return tuple(found)


def _parse_top_k(document: object, dataset: Dataset, pointer: str) -> Measure:
    fields = read_object(document, pointer, required=("fn", "col", "k"), optional=("weight",))
    column = find_column(fields["col"], dataset, f"{pointer}/col")
    if column.domain is None or column.domain_source != "public":
        raise RefusedByName(
            f"{pointer}/col",
            "the top keys of a column without a public domain",
            "a group_by of private keys with order_by and limit",
        )
    most = min(KEYS_SHOWN_MOST, len(column.domain))
    k = read_integer(fields["k"], f"{pointer}/k", low=1, high=most)
    return Measure("top_k", column.name, None, None, None, parse_weight(fields, pointer), k=k)


def parse_edges(document: object, pointer: str) -> tuple[Decimal, ...]:
    """Public, rising edges of half-open bins.

    Raises:
        InvalidParameter: fewer than two, not numbers, or not rising.
    """
    entries = read_list(document, pointer, least=2, most=BINS_MOST + 1)
    edges = tuple(parse_number(entry, under(pointer, i)) for i, entry in enumerate(entries))
    for index in range(1, len(edges)):
        if not edges[index - 1] < edges[index]:
            raise InvalidParameter(f"{pointer}/{index}", "edges rise")
    return edges


def parse_having(
    document: object, measures: tuple[Measure, ...], pointer: str
) -> tuple[Having, ...]:
    """Conditions on released numbers, which cost nothing.

    Raises:
        InvalidParameter: a measure that is not released as one number, an unknown operator.
    """
    numbers = _released_numbers(measures)
    conditions = []
    for index, entry in enumerate(read_list(document, pointer, most=MEASURES_MOST)):
        at = under(pointer, index)
        name, op, value = read_list(entry, at, least=3, most=3)
        read_choice(name, f"{at}/0", numbers)
        read_choice(op, f"{at}/1", get_args(CompareOp))
        conditions.append(Having(name, op, parse_number(value, f"{at}/2")))
    return tuple(conditions)


def parse_order(
    document: object, measures: tuple[Measure, ...], groups: tuple[GroupBy, ...], pointer: str
) -> tuple[OrderBy, ...]:
    """An order of released rows by their numbers and keys, which costs nothing.

    Raises:
        InvalidParameter: not a released number or a key, or one twice.
    """
    known = (*_released_numbers(measures), *(group.column for group in groups))
    orders: list[OrderBy] = []
    for index, entry in enumerate(read_list(document, pointer, most=MEASURES_MOST)):
        at = under(pointer, index)
        fields = read_object(entry, at, required=("by",), optional=("desc",))
        by = str(read_choice(fields["by"], f"{at}/by", known))
        descending = fields.get("desc", False)
        if not isinstance(descending, bool):
            raise InvalidParameter(f"{at}/desc", "true or false is expected")
        if any(order.by == by for order in orders):
            raise InvalidParameter(f"{at}/by", "this stands twice")
        orders.append(OrderBy(by, descending))
    return tuple(orders)


def _released_numbers(measures: tuple[Measure, ...]) -> tuple[str, ...]:
    plain = [measure for measure in measures if measure.fn not in ("histogram", "top_k")]
    return tuple(name for measure in plain for name in measure.output_names)


def find_number(document: object, dataset: Dataset, pointer: str) -> Column:
    """The plain column of numbers of that name.

    Raises:
        InvalidParameter: unknown, or of another type.
    """
    column = find_column(document, dataset, pointer)
    if column.type not in NUMBERS:
        raise InvalidParameter(pointer, f"a column of {', '.join(NUMBERS)} is expected")
    return column


def _required(fields: Mapping[str, Any], key: str, pointer: str) -> object:
    if key not in fields:
        raise InvalidParameter(f"{pointer}/{key}", "this key is required")
    return fields[key]


def _parse_ends(fields: Mapping[str, Any], column: Column, pointer: str) -> tuple[Decimal, Decimal]:
    """Bounds from the request, else from the public schema, never guessed."""
    low = parse_signed_decimal(fields["lo"], f"{pointer}/lo") if "lo" in fields else column.low
    high = parse_signed_decimal(fields["hi"], f"{pointer}/hi") if "hi" in fields else column.high
    if low is None or high is None:
        name = "lo" if low is None else "hi"
        raise BoundsRequired(f"{pointer}/{name}", "the schema declares no bounds for this column")
    return low, high


def _parse_range(
    fields: Mapping[str, Any], column: Column, pointer: str
) -> tuple[Decimal, Decimal, Decimal]:
    """Bounds and grid of a sum."""
    low, high = _parse_ends(fields, column, pointer)
    grid = parse_decimal(fields["grid"], f"{pointer}/grid") if "grid" in fields else column.grid
    if grid is None:
        if column.type != "int64":
            raise BoundsRequired(
                f"{pointer}/grid", "a column of floats is summed on a public grid of steps"
            )
        grid = parse_decimal("1", f"{pointer}/grid")
    check_bounds(
        low, high, grid, column.type, (f"{pointer}/lo", f"{pointer}/hi", f"{pointer}/grid")
    )
    return low, high, grid


def parse_weight(fields: Mapping[str, Any], pointer: str) -> Decimal:
    """A share of the privacy asked for, relative to the others; 1 unless said.

    Raises:
        InvalidParameter: not from 0.001 to 1,000.
    """
    weight = parse_decimal(fields.get("weight", "1"), f"{pointer}/weight")
    if not LEAST_WEIGHT <= weight <= LARGEST_WEIGHT:
        raise InvalidParameter(f"{pointer}/weight", f"from {LEAST_WEIGHT} to {LARGEST_WEIGHT}")
    return weight
