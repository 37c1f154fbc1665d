"""The canonical SQL of a plan, built as a tree: exact integers per group, bounded per unit.

    src: the rows that count, their unit, group keys and values as integer steps
    pre: one row per (unit, group) with its count and total
    cut: the same, numbered per unit in a salted order that a unit's own rows decide
    out: the first L0 groups of each unit, every total clamped, summed per group

The proof of the bound needs three things: a unit's groups are chosen from its own rows and public
randomness; at most L0 are kept, by `row_number` and never `rank`, which keeps ties; all sums are of
integers, so that no order of rows or threads can move them.

A spread (histogram, quantile, top keys) has one more row per bin, `fine`, from which `pre` is
summed: which groups are cut and how far a unit's rows are scaled down is again decided by that
unit's rows alone.
"""

from collections.abc import Sequence

from sqlglot import exp

from app.domain.datasets import Dataset
from app.domain.queries.asking import STEPS_MOST, TOTAL_MOST
from app.domain.queries.planning import QueryPlan
from app.domain.queries.quantities import Quantity, Spread, Tally
from workers.engines.api import EngineRefused
from workers.engines.query.dialects import DUCKDB, Dialect, integer
from workers.engines.query.slices import SliceKind
from workers.engines.query.source import Source, when
from workers.engines.query.tallies import tally_query

_SUMS = ("sum", "centred_sum", "centred_square")
# An engine with sums of 64 bits takes steps this small, so that 2^31 rows of a unit fit.
_NARROW_STEPS_MOST = 2**31


def bounding_query(
    plan: QueryPlan,
    dataset: Dataset,
    salt: bytes,
    dialect: Dialect = DUCKDB,
    slices: SliceKind | None = None,
) -> exp.Select:
    """The query whose rows are the group keys, then one integer per planned scalar quantity.

    Args:
        plan: what is measured, within which bounds.
        dataset: the public schema that the plan was made from.
        salt: public randomness of the job; equal salts cut the same groups.
        dialect: the engine that will run it.
        slices: asked for one slice of the units at a time, with its values given at run time.

    Raises:
        EngineRefused: the engine's sums are too narrow for the steps of the plan.
    """
    return _Bounding(plan, dataset, salt, dialect, slices).totals()


def spread_query(
    plan: QueryPlan,
    spread: Spread | Tally,
    dataset: Dataset,
    salt: bytes,
    dialect: Dialect = DUCKDB,
    slices: SliceKind | None = None,
) -> exp.Select:
    """The query whose rows are the group keys, a bin (or the key that stands for it), its weight.

    Guarantee: adding or removing one unit changes at most L0 groups; in each by at most the
    spread's bound in L1 (rows, tallies), or by at most 1 in each bin (units).
    """
    if isinstance(spread, Tally):
        return tally_query(plan, spread, dataset, salt, dialect, slices)
    return _Bounding(plan, dataset, salt, dialect, slices).weights(spread)


class _Bounding:
    def __init__(
        self,
        plan: QueryPlan,
        dataset: Dataset,
        salt: bytes,
        dialect: Dialect,
        slices: SliceKind | None,
    ) -> None:
        self._plan = plan
        self._salt = salt.hex()
        self._dialect = dialect
        self._source = Source(plan, dataset, salt, dialect, slices)
        self._keys = self._source.keys
        self._quantities = [noisy.quantity for noisy in plan.noisy]
        steps = [max(abs(q.low_step), abs(q.high_step), q.bound) for q in self._quantities]
        most = STEPS_MOST if dialect.wide is not None else _NARROW_STEPS_MOST
        if max(steps, default=0) > most:
            raise EngineRefused("the sums of this engine are too narrow for these bounds")

    def totals(self) -> exp.Select:
        values = {
            f"value_{index}": self._source.step(quantity)
            for index, quantity in enumerate(self._quantities)
            if quantity.column is not None
        }
        source = self._source.rows(values)
        if self._plan.unit_column is None:
            totals = [self._record_total(index) for index in range(len(self._quantities))]
            return self._out("src", totals).with_("src", as_=source, copy=False)
        totals = [self._user_total(index) for index in range(len(self._quantities))]
        if self._takes_a_cut:
            query = self._out("cut", totals).where(self._kept(), copy=False)
        else:
            query = self._out("pre", totals)
        query = query.with_("src", as_=source, copy=False)
        query = query.with_("pre", as_=self._per_user(), copy=False)
        return query.with_("cut", as_=self._numbered(), copy=False) if self._takes_a_cut else query

    def weights(self, spread: Spread) -> exp.Select:
        place, conditions = self._source.bin(spread.column, spread.bins)
        source = self._source.rows({"bin": place}, conditions)
        fine_keys = [*self._keys, "bin"]
        if self._plan.unit_column is None:
            query = self._weighed("src", fine_keys, exp.Count(this=exp.Star()))
            return query.with_("src", as_=source, copy=False)
        units = ["unit", *fine_keys]
        counted = exp.alias_(exp.Count(this=exp.Star()), "held")
        fine = exp.select(*(exp.column(name) for name in units), counted)
        fine = fine.from_("src").group_by(*units)
        plain = spread.counts == "units"
        if plain and not self._takes_a_cut:
            query = self._weighed("fine", fine_keys, exp.Count(this=exp.Star()))
            return query.with_("src", as_=source, copy=False).with_("fine", as_=fine, copy=False)
        weight = exp.Count(this=exp.Star()) if plain else self._dialect.total(self._weight(spread))
        chosen = "cut" if self._takes_a_cut else "pre"
        query = self._weighed("fine", fine_keys, weight, of="fine")
        query = query.join(chosen, on=exp.and_(*self._same(chosen), copy=False), copy=False)
        if self._takes_a_cut:
            query = query.where(self._kept(), copy=False)
        query = query.with_("src", as_=source, copy=False).with_("fine", as_=fine, copy=False)
        query = query.with_("pre", as_=self._per_user_of_bins(), copy=False)
        return query.with_("cut", as_=self._numbered(), copy=False) if self._takes_a_cut else query

    @property
    def _takes_a_cut(self) -> bool:
        """Nobody can be in more groups than there are."""
        cells = self._plan.public_cells
        return cells is None or cells > self._plan.groups

    def _kept(self) -> exp.Expr:
        return exp.LTE(this=exp.column("place"), expression=integer(self._plan.groups))

    def _out(self, source: str, totals: Sequence[exp.Expr]) -> exp.Select:
        """Every total clamped once more: adding a unit cannot move a clamped sum by more."""
        columns: list[exp.Expr] = [exp.column(key) for key in self._keys]
        for index, total in enumerate(totals):
            columns.append(exp.alias_(self._clamped(total), f"total_{index}"))
        query = exp.select(*columns).from_(source)
        return query.group_by(*self._keys) if self._keys else query

    def _weighed(
        self, source: str, keys: Sequence[str], weight: exp.Expr, of: str | None = None
    ) -> exp.Select:
        columns: list[exp.Expr] = [exp.column(key, table=of) for key in keys]
        named = exp.alias_(self._clamped(weight), "weight")
        grouped = [exp.column(key, table=of) for key in keys]
        return exp.select(*columns, named).from_(source).group_by(*grouped)

    def _clamped(self, total: exp.Expr) -> exp.Expr:
        return exp.cast(
            self._dialect.clamp(total, -TOTAL_MOST, TOTAL_MOST), "BIGINT", dialect="duckdb"
        )

    def _same(self, chosen: str) -> list[exp.Expr]:
        """The same unit and the same group; a missing key is a key."""
        unit = exp.EQ(
            this=exp.column("unit", table="fine"), expression=exp.column("unit", table=chosen)
        )
        keys = [
            self._dialect.same(exp.column(key, table="fine"), exp.column(key, table=chosen))
            for key in self._keys
        ]
        return [unit, *keys]

    def _weight(self, spread: Spread) -> exp.Expr:
        """The weight of a unit's rows in one bin; of too many rows, their share toward zero."""
        held, count = exp.column("held"), exp.column("count_0")
        most = integer(spread.rows_most)
        whole = exp.Mul(this=held, expression=integer(spread.weight))
        product = exp.Mul(this=self._dialect.widened(held.copy()), expression=integer(spread.bound))
        share = self._dialect.quotient(product, count)
        above = exp.GT(this=count.copy(), expression=most)
        return exp.cast(when(above, share).else_(whole, copy=False), "BIGINT", dialect="duckdb")

    def _per_user(self) -> exp.Select:
        columns: list[exp.Expr] = [exp.column(name) for name in ("unit", *self._keys)]
        for index, quantity in enumerate(self._quantities):
            if quantity.kind != "units":
                columns.append(exp.alias_(_count(quantity, index), f"count_{index}"))
            if quantity.kind in _SUMS:
                total = self._dialect.total(exp.column(f"value_{index}"))
                columns.append(exp.alias_(total, f"sum_{index}"))
        return exp.select(*columns).from_("src").group_by("unit", *self._keys)

    def _per_user_of_bins(self) -> exp.Select:
        names = ["unit", *self._keys]
        total = exp.alias_(exp.Sum(this=exp.column("held")), "count_0")
        return (
            exp.select(*(exp.column(name) for name in names), total).from_("fine").group_by(*names)
        )

    def _numbered(self) -> exp.Select:
        parts = [exp.column(name) for name in ("unit", *self._keys)]
        # The keys break ties, so that the order is total and a place is held by one group.
        order = [
            self._dialect.order_key(parts, self._salt),
            *(exp.column(key) for key in self._keys),
        ]
        place = exp.Window(
            this=exp.RowNumber(),
            partition_by=[exp.column("unit")],
            order=exp.Order(
                expressions=[exp.Ordered(this=part, nulls_first=False) for part in order]
            ),
        )
        return exp.select("*", exp.alias_(place, "place")).from_("pre")

    def _record_total(self, index: int) -> exp.Expr:
        quantity = self._quantities[index]
        if quantity.kind in _SUMS:
            return self._dialect.total(exp.column(f"value_{index}"))
        return _count(quantity, index)

    def _user_total(self, index: int) -> exp.Expr:
        """The sum over units of what each may add to one group."""
        quantity, rows = self._quantities[index], self._plan.rows
        count, total = exp.column(f"count_{index}"), exp.column(f"sum_{index}")
        words = self._dialect
        match quantity.kind:
            case "units":
                return exp.Count(this=exp.Star())
            case "count":
                return words.total(words.at_most(count, integer(rows)))
            case "sum":
                low = rows * min(quantity.low_step, 0)
                high = rows * max(quantity.high_step, 0)
                return words.total(words.clamp(total, low, high))
            case "centred_sum" | "centred_square":
                above = exp.GT(this=count.copy(), expression=integer(rows))
                scaled = when(above, self._scaled(total, rows, count)).else_(total, copy=False)
                return words.total(words.clamp(scaled, -quantity.bound, quantity.bound))
        raise EngineRefused("this quantity is not one integer per group")

    def _scaled(self, total: exp.Expr, rows: int, count: exp.Expr) -> exp.Expr:
        """The total x rows / count, toward zero: only numbers that are not negative are divided.

        Quotient and remainder are multiplied apart, so that no product leaves 64 bits.
        """
        words = self._dialect

        def share(value: exp.Expr) -> exp.Expr:
            most = integer(rows)
            times = exp.paren(words.quotient(value, count.copy()))
            rest = exp.paren(words.remainder(value.copy(), count.copy()))
            whole = exp.Mul(this=times, expression=most)
            part = words.quotient(exp.Mul(this=rest, expression=most.copy()), count.copy())
            return exp.Add(this=whole, expression=part)

        negative = exp.LT(this=total.copy(), expression=integer(0))
        below = exp.Neg(this=exp.paren(share(exp.Neg(this=total.copy()))))
        return when(negative, below).else_(share(total.copy()), copy=False)


def _count(quantity: Quantity, index: int) -> exp.Expr:
    if quantity.column is None:
        return exp.Count(this=exp.Star())
    return exp.Count(this=exp.column(f"value_{index}"))
