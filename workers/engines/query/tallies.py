"""The SQL of a tally: each unit's number of groups or rows, as one entry over public bins.

    src:     the rows that count, with their unit and group keys
    fine:    one row per (unit, group) with its number of rows
    pre:     one row per unit with its number of groups (of rows, where nothing is grouped)
    placed:  the bin of each entry, or of each share of one, with its weight

A row of `placed` is made of one unit's rows, and the weights of one unit are `tally.weight`
together at most; nothing else is needed for the bound.
"""

from dataclasses import replace

from sqlglot import exp

from app.domain.datasets import Dataset
from app.domain.queries.asking import TOTAL_MOST
from app.domain.queries.planning import QueryPlan
from app.domain.queries.quantities import Tally
from workers.engines.api import EngineRefused
from workers.engines.query.dialects import Dialect, integer
from workers.engines.query.slices import SliceKind
from workers.engines.query.source import Source


def tally_query(
    plan: QueryPlan,
    tally: Tally,
    dataset: Dataset,
    salt: bytes,
    dialect: Dialect,
    slices: SliceKind | None = None,
) -> exp.Select:
    """The query whose rows are a bin and its weight.

    Guarantee: adding or removing one unit moves the weights by at most `tally.bound` in L1.

    Raises:
        EngineRefused: the unit is a record, which has one row in one group.
    """
    if plan.unit_column is None:
        raise EngineRefused("records are not tallied: each is one row in one group")
    grouped = replace(plan, spec=replace(plan.spec, group_by=tally.by))
    source = Source(grouped, dataset, salt, dialect, slices)
    keys = [exp.column(key) for key in source.keys]
    fine = exp.select("unit", *keys, _counted("held")).from_("src").group_by("unit", *source.keys)
    shares = tally.of == "rows" and bool(tally.by)
    query = exp.select(exp.column("bin"), _total(dialect)).from_("placed").group_by("bin")
    query = query.with_("src", as_=source.rows({}), copy=False)
    if tally.by:
        query = query.with_("fine", as_=fine, copy=False)
    counted = "fine" if tally.by else "src"
    pre = exp.select("unit", _counted("counted")).from_(counted).group_by("unit")
    query = query.with_("pre", as_=pre, copy=False)
    if not shares:
        weight = exp.alias_(integer(tally.weight), "weight")
        placed = exp.select(_bin(tally, exp.column("counted")), weight).from_("pre")
        return query.with_("placed", as_=placed, copy=False)
    share = dialect.quotient(integer(tally.weight), exp.column("counted", table="pre"))
    placed = exp.select(_bin(tally, exp.column("held", table="fine")), exp.alias_(share, "weight"))
    same = exp.EQ(this=exp.column("unit", table="fine"), expression=exp.column("unit", table="pre"))
    placed = placed.from_("fine").join("pre", on=same, copy=False)
    return query.with_("placed", as_=placed, copy=False)


def _counted(name: str) -> exp.Expr:
    return exp.alias_(exp.Count(this=exp.Star()), name)


def _total(dialect: Dialect) -> exp.Expr:
    total = dialect.total(exp.column("weight"))
    clamped = dialect.clamp(total, 0, TOTAL_MOST)
    return exp.alias_(exp.cast(clamped, "BIGINT", dialect="duckdb"), "total")


def _bin(tally: Tally, number: exp.Expr) -> exp.Expr:
    """The place of a whole number; the last bin takes all that no other does."""
    ends = tally.bins.edges[1:-1]
    place = exp.Case()
    for index, end in enumerate(ends):
        below = exp.LT(this=number.copy(), expression=integer(int(end)))
        place = place.when(below, integer(index), copy=False)
    return exp.alias_(place.else_(integer(len(ends)), copy=False) if ends else integer(0), "bin")
