"""The rows that count: predicates, keys and values as expressions over the attached tables.

Only functions that are total over their type are used, and no text of a user enters: literals are
leaves of the tree. Each expression is a function of one row.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

from sqlglot import exp

from app.domain.columns import Column
from app.domain.datasets import Dataset
from app.domain.queries.planning import QueryPlan
from app.domain.queries.quantities import EdgeBins, EqualBins, KeyBins, Quantity
from app.domain.queries.spec import (
    Between,
    Bins,
    Compare,
    GroupBy,
    In,
    IsNull,
    Junction,
    Not,
    Predicate,
    PublicKeys,
    Value,
    predicate_columns,
)
from workers.engines.query.dialects import Dialect, integer
from workers.engines.query.slices import SliceKind, is_in_slice
from workers.engines.rows import BLOCK, TABLE

_OPERATORS: Final[dict[str, Callable[..., exp.Expr]]] = {
    "=": exp.EQ,
    "!=": exp.NEQ,
    "<": exp.LT,
    "<=": exp.LTE,
    ">": exp.GT,
    ">=": exp.GTE,
}
_FLOATS: Final = ("float64", "float32")


class Source:
    """The rows of a plan, for one engine.

    keys: our names of the group keys, in the order of the spec.
    """

    def __init__(
        self,
        plan: QueryPlan,
        dataset: Dataset,
        salt: bytes,
        dialect: Dialect,
        slices: SliceKind | None = None,
    ) -> None:
        self._plan = plan
        self._salt = salt.hex()
        self._slices = slices
        self._columns = {column.name: column for column in dataset.columns}
        self._dialect = dialect
        self.keys = [f"key_{index}" for index in range(len(plan.spec.group_by))]

    def rows(
        self, values: Mapping[str, exp.Expr], conditions: list[exp.Expr] | None = None
    ) -> exp.Select:
        """The rows with unit, keys and values; those of no public key leave here.

        Args:
            values: expressions by name.
            conditions: what must hold beside the predicates of the spec.
        """
        columns: list[exp.Expr] = []
        kept = [self._predicate(predicate) for predicate in self._plan.spec.where]
        if self._plan.unit_column is not None:
            user = self.column(self._plan.unit_column)
            columns.append(exp.alias_(self._unit(user), "unit"))
            kept.append(has_value(user))
            if self._slices is not None:
                kept.append(is_in_slice(self._slices, user.copy()))
        for name, group in zip(self.keys, self._plan.spec.group_by, strict=True):
            columns.append(exp.alias_(self._key(group), name))
            kept.extend(self._key_conditions(group))
        columns.extend(exp.alias_(value, name) for name, value in values.items())
        kept.extend(conditions or [])
        columns = columns or [exp.alias_(integer(1), "row")]
        query = self._joined(exp.select(*columns))
        return query.where(*kept, copy=False) if kept else query

    def _unit(self, user: exp.Expr) -> exp.Expr:
        """What the caps are of: a user, or what one has in one block."""
        if not self._plan.has_periods:
            return user
        texts = (exp.column(BLOCK, table=TABLE, quoted=True), exp.Literal.string(":"), user.copy())
        block, colon, named = (exp.cast(each, "TEXT", dialect="duckdb") for each in texts)
        # a number, a colon, a name: no two pairs read alike
        return exp.DPipe(this=exp.DPipe(this=block, expression=colon), expression=named)

    def column(self, name: str) -> exp.Expr:
        """The column of the file: qualified, so that it never means one of our own names."""
        joined, dot, plain = name.partition(".")
        if not dot:
            return exp.column(name, table=TABLE, quoted=True)
        names = [join.name for join in self._plan.spec.joins]
        return exp.column(plain, table=joined_table(names.index(joined)), quoted=True)

    def _joined(self, query: exp.Select) -> exp.Select:
        """The table of the dataset with its joins; both sides of a private one are cut first."""
        joins = self._plan.spec.joins
        unit = self._plan.unit_column
        if unit is None or not any(join.shares_unit for join in joins):
            query = query.from_(TABLE)
        else:
            query = query.from_(self._first_rows(TABLE, unit, names_used(self._plan, None)))
        for index, join in enumerate(joins):
            table = joined_table(index)
            right = self._first_rows(
                table,
                join.right,
                names_used(self._plan, index),
                most=self._plan.rows * self._plan.groups if join.shares_unit else 1,
            )
            left: exp.Expr = self.column(join.left)
            key: exp.Expr = exp.column(join.right, table=table, quoted=True)
            if join.left == unit:
                # A unit comes as it stands in its file: a number there may be a text here.
                left, key = (exp.cast(each, "TEXT", dialect="duckdb") for each in (left, key))
            query = query.join(right, on=exp.EQ(this=left, expression=key), copy=False)
        return query

    def _first_rows(
        self, table: str, key: str, names: Sequence[str], most: int | None = None
    ) -> exp.Subquery:
        """At most so many rows for each key, chosen from the rows of that key and the salt."""
        columns = [exp.column(name, quoted=True) for name in names]
        place = exp.Window(
            this=exp.RowNumber(),
            partition_by=[exp.column(key, quoted=True)],
            order=exp.Order(
                expressions=[
                    exp.Ordered(
                        this=self._dialect.order_key(columns, self._salt), nulls_first=False
                    ),
                    *(exp.Ordered(this=each.copy(), nulls_first=False) for each in columns),
                ]
            ),
        )
        # No declared column has a name with a space in it.
        numbered = exp.alias_(place, "row place", quoted=True)
        limit = self._plan.rows * self._plan.groups if most is None else most
        kept = exp.LTE(this=exp.column("row place", quoted=True), expression=integer(limit))
        inner = exp.select("*", numbered).from_(table).subquery("numbered")
        return exp.select("*").from_(inner).where(kept).subquery(table)

    def step(self, quantity: Quantity) -> exp.Expr:
        """The value as a whole number of grid steps, about its centre; NULL where it has none.

        Clamped before it is divided, rounded by a function of this one value, then clamped as an
        integer: whatever a float does on the way, the step lies within its bounds.
        """
        column = self._of(quantity.column)
        if quantity.grid is None:
            return when(self._is_known(column), integer(1))
        words = self._dialect
        low, high = quantity.low_step, quantity.high_step
        if column.type == "int64":
            size = int(Fraction(quantity.grid))
            step = words.clamp(self.column(column.name), low * size, high * size)
            if size > 1:
                above = exp.Sub(this=words.widened(step), expression=integer(low * size))
                rounded = exp.Add(this=exp.paren(above), expression=integer(size // 2))
                counted = words.quotient(rounded, integer(size))
                step = exp.Add(this=exp.paren(counted), expression=integer(low))
                step = exp.cast(words.clamp(step, low, high), "BIGINT", dialect="duckdb")
        else:
            ends = [words.double(Decimal(n) * quantity.grid) for n in (low, high)]
            clamped = words.at_most(words.at_least(self._double(column), ends[0]), ends[1])
            divided = exp.Div(
                this=clamped, expression=words.double(quantity.grid), typed=True, safe=False
            )
            # Engines differ in how they round a half; the floor of a half more is one number.
            up = exp.Add(this=divided, expression=words.double(Decimal("0.5")))
            step = words.clamp(words.whole(up), low, high)
        if quantity.centre_step:
            step = exp.Sub(this=step, expression=integer(quantity.centre_step))
        if quantity.kind == "centred_square":
            square = exp.Mul(this=exp.paren(step), expression=exp.paren(step.copy()))
            step = exp.Sub(this=square, expression=integer(quantity.centre_square))
        # LEAST and GREATEST pass over NULL in some engines and would make a value of it.
        return when(self._is_known(column), step)

    def bin(
        self, name: str, bins: EqualBins | EdgeBins | KeyBins
    ) -> tuple[exp.Expr, list[exp.Expr]]:
        """The place of a value among public bins (a key itself), and what makes it have one."""
        column = self._of(name)
        if isinstance(bins, KeyBins):
            group = PublicKeys(name, bins.keys)
            return self._key(group), self._key_conditions(group)
        if isinstance(bins, EdgeBins):
            edged = Bins(name, bins.edges)
            return self._key(edged), self._key_conditions(edged)
        words = self._dialect
        if column.type == "int64":
            low, high = int(bins.low), int(bins.high)
            clamped = words.clamp(self.column(name), low, high)
            above = exp.paren(exp.Sub(this=clamped, expression=integer(low)))
            scaled = exp.Mul(this=above, expression=integer(bins.bins))
            place = words.quotient(scaled, integer(high - low))
        else:
            ends = [words.double(end) for end in (bins.low, bins.high)]
            clamped = words.at_most(words.at_least(self._double(column), ends[0]), ends[1])
            above = exp.paren(exp.Sub(this=clamped, expression=ends[0].copy()))
            width = (bins.high - bins.low) / bins.bins
            place = words.whole(
                exp.Div(this=above, expression=words.double(width), typed=True, safe=False)
            )
        return words.clamp(place, 0, bins.bins - 1), [self._is_known(column)]

    def _of(self, name: str | None) -> Column:
        return self._columns[name or ""]

    def _double(self, column: Column) -> exp.Expr:
        return exp.cast(self.column(column.name), "DOUBLE", dialect="duckdb")

    def _is_known(self, column: Column) -> exp.Expr:
        """Whether the row has a value; a float that is not finite is none."""
        if column.type in _FLOATS:
            return self._dialect.finite(self._double(column))
        return has_value(self.column(column.name))

    def _known(self, column: Column) -> exp.Expr:
        """The value of a column; of a float, as a double and NULL where it is not finite."""
        if column.type not in _FLOATS:
            return self.column(column.name)
        return when(self._is_known(column), self._double(column))

    def _key(self, group: GroupBy) -> exp.Expr:
        column = self._of(group.column)
        if isinstance(group, Bins):
            value = self._known(column)
            case = exp.Case()
            # The row lies between the first and the last edge, by `_key_conditions`.
            for index, edge in enumerate(self._edges(group, column)[1:]):
                below = exp.LT(this=value.copy(), expression=edge)
                case = case.when(below, integer(index), copy=False)
            return case
        if column.type == "date":
            return exp.cast(self.column(column.name), "TEXT", dialect="duckdb")
        return self.column(column.name)

    def _key_conditions(self, group: GroupBy) -> list[exp.Expr]:
        """Rows of no public key leave before a unit's groups are cut: they show nowhere."""
        column = self._of(group.column)
        if isinstance(group, Bins):
            edges = self._edges(group, column)
            value = self._known(column)
            return [
                exp.GTE(this=value, expression=edges[0]),
                exp.LT(this=value.copy(), expression=edges[-1]),
            ]
        if isinstance(group, PublicKeys):
            keys = [
                exp.Literal.string(str(key))
                if column.type == "date"
                else self._literal(key, column)
                for key in group.keys
            ]
            return [exp.In(this=self._key(group), expressions=keys)]
        return []

    def _edges(self, group: Bins, column: Column) -> list[exp.Expr]:
        if column.type == "int64":
            # The same integers lie below an edge and below its ceiling; no row becomes a decimal.
            ceilings = [math.ceil(Fraction(edge)) for edge in group.edges]
            return [integer(min(max(edge, -(2**63)), 2**63)) for edge in ceilings]
        return [self._dialect.double(edge) for edge in group.edges]

    def _predicate(self, predicate: Predicate) -> exp.Expr:
        match predicate:
            case Not(of=inner):
                return exp.Not(this=exp.paren(self._predicate(inner), copy=False))
            case Junction(kind=kind, of=parts):
                join = exp.and_ if kind == "and" else exp.or_
                joined = join(*(self._predicate(part) for part in parts), copy=False)
                return exp.paren(joined, copy=False)
            case IsNull(column=name):
                return exp.Is(this=self._known(self._of(name)), expression=exp.Null())
            case In(column=name, values=values):
                column = self._of(name)
                listed = [self._literal(value, column) for value in values]
                return exp.In(this=self._known(column), expressions=listed)
            case Between(column=name, low=low, high=high):
                column = self._of(name)
                return exp.Between(
                    this=self._known(column),
                    low=self._literal(low, column),
                    high=self._literal(high, column),
                )
            case Compare(column=name, op=op, value=value):
                column = self._of(name)
                literal = self._literal(value, column)
                compared = _OPERATORS[op](this=self._known(column), expression=literal)
                return exp.paren(compared, copy=False)

    def _literal(self, value: Value, column: Column) -> exp.Expr:
        if isinstance(value, bool):
            return exp.true() if value else exp.false()
        if isinstance(value, Decimal):
            return self._dialect.double(value)
        if isinstance(value, int):
            return integer(value)
        if column.type == "date":
            return self._dialect.moment(value, "DATE")
        if column.type == "timestamp":
            return self._dialect.moment(value, "TIMESTAMP")
        return exp.Literal.string(value)


def joined_table(index: int) -> str:
    """The name under which the table of a join is attached."""
    return f"joined_{index}"


def names_used(plan: QueryPlan, join: int | None) -> list[str]:
    """The columns that a plan reads of the dataset itself, or of one of its joins; sorted."""
    spec = plan.spec
    names = {group.column for group in spec.group_by}
    names |= {noisy.quantity.column for noisy in plan.noisy if noisy.quantity.column is not None}
    names |= {name for spread in plan.spreads for name in spread.columns}
    names |= {name for predicate in spec.where for name in predicate_columns(predicate)}
    if join is not None:
        prefix = f"{spec.joins[join].name}."
        found = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
        return sorted(found | {spec.joins[join].right})
    names |= {each.left for each in spec.joins}
    if plan.unit_column is not None:
        names.add(plan.unit_column)
    return sorted(name for name in names if "." not in name)


def has_value(value: exp.Expr) -> exp.Expr:
    """Whether a value is there."""
    return exp.Not(this=exp.Is(this=value, expression=exp.Null()))


def when(condition: exp.Expr, value: exp.Expr) -> exp.Case:
    """A case of one branch. The trees are our own: a copy at each step makes the work quadratic."""
    return exp.Case().when(condition, value, copy=False)
