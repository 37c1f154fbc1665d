"""Divides the units of a large dataset into slices that are worked on one by one.

Each slice holds all rows of some units, so a plan's sums over the slices are its sums over all
rows, and the memory of a job is that of the slices at work. A slice fits one thread: a table of
groups that stays in the caches of one core costs half of one that several threads build together.

    hash    units by a hash of their own; every slice reads all rows
    range   units between two values; a slice reads only where the file can hold them

How many slices there are follows from public facts alone (R17). Ranges are taken where the file
shows itself to be all but sorted by unit, which nobody has to declare: which slice a row belongs to
is decided by its unit's own value, so a file in any order gives the same table.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

import duckdb
from sqlglot import exp

from app.domain.columns import Key
from app.domain.datasets import Dataset
from app.domain.queries.planning import QueryPlan
from workers.engines.rows import POSITION, TABLE

SliceKind = Literal["hash", "range"]

# Fewer units than this are worked on at once: a slice has a fixed price of some milliseconds.
UNITS_WHOLE_MOST: Final = 200_000
# A range this small is reckoned in the caches.
_UNITS_A_RANGE: Final = 75_000
_RANGES_MOST: Final = 512
_HASHES_MOST: Final = 256
# Of one group of one unit, in every table that a slice builds.
_CELL_BYTES: Final = 300
# Rows between two looks at the order of a file.
_STRIDE: Final = 122_880
# What ranges may read twice, as a part of the file, before hashing is cheaper.
_OVERLAP_MOST: Final = 0.5
_UNITS: Final = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True, slots=True)
class Slicing:
    """How the units of one plan are divided; of public facts alone.

    hashes, ranges: how many slices of each kind.
    """

    hashes: int
    ranges: int


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice: its kind, and the values of the places that its condition leaves open."""

    kind: SliceKind
    values: Mapping[str, Any]


def slicing_of(plan: QueryPlan, dataset: Dataset, memory_limit: str) -> Slicing | None:
    """How to divide the units of a plan, None where they are worked on at once.

    Args:
        plan: what is measured; records have no units to divide.
        dataset: whose nominal size counts; a true count is never asked for (R17).
        memory_limit: of all threads together, such as `2GB`.
    """
    units = dataset.nominal_size or 0
    if plan.unit_column is None or units <= UNITS_WHOLE_MOST:
        return None
    groups = 2 * plan.groups
    if plan.public_cells is not None:
        groups = min(groups, plan.public_cells)
    # A slice may fill half of the memory; two threads and the rest of the process share it.
    fitting = -(-units * groups * _CELL_BYTES * 2 // limit_bytes(memory_limit))
    return Slicing(
        hashes=min(max(4, fitting), _HASHES_MOST),
        ranges=min(max(fitting, -(-units // _UNITS_A_RANGE)), _RANGES_MOST),
    )


def limit_bytes(memory_limit: str) -> int:
    """A limit such as `2GB` in bytes.

    Raises:
        ValueError: not a whole number with one of the known units.
    """
    match = re.fullmatch(r"([0-9]+)\s*([KMG]I?B)", memory_limit.upper())
    if match is None:
        raise ValueError("a memory limit is a whole number of KB, MB, GB, KiB, MiB or GiB")
    return int(match[1]) * _UNITS[match[2]]


def is_in_slice(kind: SliceKind, unit: exp.Expr) -> exp.Expr:
    """Whether a row lies in the slice whose values are given at run time.

    The value of the unit decides; a position only says where such rows can be, and is looked up
    from the same values. The comparison is held up so that no statistics of a file can answer it.
    """
    if kind == "hash":
        hashed = exp.Anonymous(this="hash", expressions=[unit])
        # As wide as the hash: mixed widths are reckoned in 128 bits, at four times the price.
        count, place = (
            exp.cast(_given(name), "UBIGINT", dialect="duckdb") for name in ("count", "place")
        )
        return exp.EQ(this=exp.Mod(this=hashed, expression=count), expression=place)
    bounds = (
        exp.GTE(this=unit, expression=_given("low")),
        exp.LT(this=unit.copy(), expression=_given("high")),
    )
    held: list[exp.Expr] = [exp.Coalesce(this=each, expressions=[exp.true()]) for each in bounds]
    position = exp.column(POSITION, table=TABLE, quoted=True)
    where = exp.Between(this=position, low=_given("first_row"), high=_given("last_row"))
    return exp.and_(*held, where, copy=False)


def hash_slices(slicing: Slicing) -> list[Slice]:
    """All slices by hash."""
    count = slicing.hashes
    return [Slice("hash", {"count": count, "place": place}) for place in range(count)]


def range_slices(
    connection: duckdb.DuckDBPyConnection, unit: str, slicing: Slicing
) -> list[Slice] | None:
    """Slices of neighbouring units, or None where the rows lie too scattered for them.

    Reads every unit once, in the order of the file, as each slice will read it.

    Args:
        connection: with the dataset attached, the position of each row beside it.
        unit: the column that names the user.
        slicing: how many slices are wanted.
    """
    user = exp.column(unit, quoted=True)
    stride = exp.IntDiv(
        this=exp.column(POSITION, quoted=True), expression=exp.Literal.number(_STRIDE)
    )
    looked = exp.select(exp.alias_(stride, "place"), exp.Min(this=user), exp.Max(this=user.copy()))
    looked = looked.from_(TABLE).where(
        exp.Not(this=exp.Is(this=user.copy(), expression=exp.Null()))
    )
    ordered = looked.group_by("place").order_by("place").sql(dialect="duckdb")
    return _ranges(connection.execute(ordered).fetchall(), slicing.ranges)


def _ranges(found: Sequence[tuple[int, Key, Key]], wanted: int) -> list[Slice] | None:
    """Cuts at the least units of every so many stretches of rows.

    Args:
        found: per stretch its number, its least and its greatest unit.
        wanted: how many slices.
    """
    least: list[Any] = sorted({low for _, low, _ in found})
    step = max(1, -(-len(least) // wanted))
    cuts: list[Any] = [None, *least[step::step], None]
    slices, read = [], 0
    for low, high in pairwise(cuts):
        inside = [
            place
            for place, lowest, highest in found
            if (low is None or highest >= low) and (high is None or lowest < high)
        ]
        if not inside:
            continue
        first, last = inside[0], inside[-1]
        read += last - first + 1
        rows = {"first_row": first * _STRIDE, "last_row": (last + 1) * _STRIDE - 1}
        slices.append(Slice("range", {"low": low, "high": high, **rows}))
    # Neighbours share the stretch in which one ends and the other begins.
    allowed = len(found) * (1 + _OVERLAP_MOST) + len(slices)
    return slices if read <= allowed else None


def _given(name: str) -> exp.Expr:
    return exp.Placeholder(this=name)
