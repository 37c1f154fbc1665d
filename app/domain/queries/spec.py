"""The frozen form of a query: predicates, groups, measures, bounds and the privacy asked for.

A spec is data that was checked against the public schema. Only it is planned, stored and turned
into SQL; no text of a user ever reaches an engine.
"""

import json
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from hashlib import sha256
from itertools import pairwise
from typing import Any, Literal

from app.domain.columns import Key
from app.domain.decimals import decimal_text

Value = int | str | bool | Decimal
CompareOp = Literal["=", "!=", "<", "<=", ">", ">="]
MeasureName = Literal[
    "count",
    "sum",
    "mean",
    "variance",
    "stdev",
    "quantile",
    "histogram",
    "count_distinct",
    "top_k",
]
NoiseChoice = Literal["auto", "discrete_laplace", "discrete_gaussian"]


@dataclass(frozen=True, slots=True)
class Compare:
    """A column against one literal; NULL, and a float that is not finite, satisfy nothing."""

    column: str
    op: CompareOp
    value: Value

    def to_json(self) -> list[Any]:
        """`[column, op, literal]`."""
        return [self.column, self.op, _literal_json(self.value)]


@dataclass(frozen=True, slots=True)
class In:
    """A column against a list of literals."""

    column: str
    values: tuple[Value, ...]

    def to_json(self) -> list[Any]:
        """`[column, "in", [literal, ...]]`."""
        return [self.column, "in", [_literal_json(value) for value in self.values]]


@dataclass(frozen=True, slots=True)
class Between:
    """A column within two literals, both ends included."""

    column: str
    low: Value
    high: Value

    def to_json(self) -> list[Any]:
        """`[column, "between", [low, high]]`."""
        return [self.column, "between", [_literal_json(self.low), _literal_json(self.high)]]


@dataclass(frozen=True, slots=True)
class IsNull:
    """A column that has no value; a float that is not finite counts as none."""

    column: str

    def to_json(self) -> list[Any]:
        """`[column, "is_null"]`."""
        return [self.column, "is_null"]


@dataclass(frozen=True, slots=True)
class Not:
    """The other rows; as in SQL, a comparison with NULL is neither true nor false."""

    of: "Predicate"

    def to_json(self) -> list[Any]:
        """`["not", predicate]`."""
        return ["not", self.of.to_json()]


@dataclass(frozen=True, slots=True)
class Junction:
    """Several predicates of which all (`and`) or any (`or`) hold."""

    kind: Literal["and", "or"]
    of: tuple["Predicate", ...]

    def to_json(self) -> list[Any]:
        """`["and", predicate, ...]`."""
        return [self.kind, *(predicate.to_json() for predicate in self.of)]


Predicate = Compare | In | Between | IsNull | Not | Junction


@dataclass(frozen=True, slots=True)
class PrivateKeys:
    """Groups by a column whose keys are themselves private: shown through a noisy threshold."""

    column: str

    def to_json(self) -> dict[str, Any]:
        """`{"col", "keys": "private"}`."""
        return {"col": self.column, "keys": "private"}


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """Groups by a column over listed public keys; rows with another key are left out."""

    column: str
    keys: tuple[Key, ...]

    def to_json(self) -> dict[str, Any]:
        """`{"col", "keys": [...]}`."""
        return {"col": self.column, "keys": list(self.keys)}


@dataclass(frozen=True, slots=True)
class Bins:
    """Groups by public, half-open bins [edge, next edge); rows outside are left out."""

    column: str
    edges: tuple[Decimal, ...]

    def to_json(self) -> dict[str, Any]:
        """`{"bin", "edges": [decimal, ...]}`."""
        return {"bin": self.column, "edges": [decimal_text(edge) for edge in self.edges]}

    def labels(self) -> tuple[str, ...]:
        """The bins as they are shown, such as `[0, 500)`."""
        texts = [decimal_text(edge) for edge in self.edges]
        return tuple(f"[{low}, {high})" for low, high in pairwise(texts))


GroupBy = PrivateKeys | PublicKeys | Bins


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure per group; a list of quantiles is one figure each.

    column: the column that is counted (its values), summed, averaged or spread over bins; None
        counts rows, and units for `count_distinct`.
    low, high, grid: public bounds and step of a sum, mean or variance; the grid divides both.
    weight: its share of the privacy asked for, relative to the other measures.
    quantiles: which quantiles, each once, strictly between 0 and 1.
    bins: how many equal public bins lie between low and high; quantiles and histograms.
    edges: public edges of a histogram in place of equal bins; half-open, [edge, next edge).
    k: how many of the column's public keys a `top_k` names.
    """

    fn: MeasureName
    column: str | None
    low: Decimal | None
    high: Decimal | None
    grid: Decimal | None
    weight: Decimal
    quantiles: tuple[Decimal, ...] = ()
    bins: int | None = None
    edges: tuple[Decimal, ...] = ()
    k: int | None = None

    @property
    def name(self) -> str:
        """The measure as results name it: `count`, `sum(distance)`."""
        return self.fn if self.column is None else f"{self.fn}({self.column})"

    @property
    def output_names(self) -> tuple[str, ...]:
        """One name per released cell: `quantile(delay, 0.5)` for each quantile, else the name."""
        if not self.quantiles:
            return (self.name,)
        shown = (format(quantile.normalize(), "f") for quantile in self.quantiles)
        return tuple(f"{self.fn}({self.column}, {text})" for text in shown)

    def to_json(self) -> dict[str, Any]:
        """The wire form, every default written out."""
        document: dict[str, Any] = {"fn": self.fn}
        if self.column is not None:
            document["col"] = self.column
        if self.quantiles:
            document["q"] = [decimal_text(quantile) for quantile in self.quantiles]
        if self.low is not None and self.high is not None:
            document["lo"] = decimal_text(self.low)
            document["hi"] = decimal_text(self.high)
        if self.grid is not None:
            document["grid"] = decimal_text(self.grid)
        if self.bins is not None:
            document["bins"] = self.bins
        if self.edges:
            document["edges"] = [decimal_text(edge) for edge in self.edges]
        if self.k is not None:
            document["k"] = self.k
        document["weight"] = decimal_text(self.weight)
        return document


@dataclass(frozen=True, slots=True)
class Join:
    """A table whose columns stand beside those of the dataset, as `name.column`.

    left, right: the column of the dataset and that of the table which are equal.
    shares_unit: whether it is private and joined on the unit of both; else public, by its key.
    """

    dataset_id: str
    name: str
    left: str
    right: str
    shares_unit: bool

    def to_json(self) -> dict[str, Any]:
        """`{"dataset_id", "as", "on": [column, its column]}`."""
        return {"dataset_id": self.dataset_id, "as": self.name, "on": [self.left, self.right]}


@dataclass(frozen=True, slots=True)
class Having:
    """Released rows that stay: a released value against a literal. Costs nothing."""

    measure: str
    op: CompareOp
    value: Decimal

    def to_json(self) -> list[Any]:
        """`[measure, op, decimal]`."""
        return [self.measure, self.op, decimal_text(self.value)]


@dataclass(frozen=True, slots=True)
class OrderBy:
    """An order of released rows, by a released value or by a key. Costs nothing."""

    by: str
    descending: bool

    def to_json(self) -> dict[str, Any]:
        """`{"by", "desc"}`."""
        return {"by": self.by, "desc": self.descending}


@dataclass(frozen=True, slots=True)
class QuerySpec:
    """A checked query with every default explicit; `to_json` is its canonical, stored form.

    max_groups: L0, the groups in which one unit may count; max_rows: its rows in one group.
    epsilon, delta: the target whose split by weight fixes the noise; what is charged is what the
    planned mechanisms cost.
    having, order_by, limit: act on released rows only, after all noise.
    """

    where: tuple[Predicate, ...]
    group_by: tuple[GroupBy, ...]
    measures: tuple[Measure, ...]
    max_groups: int
    max_rows: int
    epsilon: Decimal
    delta: Decimal
    noise: NoiseChoice
    confidence: Decimal
    having: tuple[Having, ...] = ()
    order_by: tuple[OrderBy, ...] = ()
    limit: int | None = None
    joins: tuple[Join, ...] = ()

    @property
    def output_names(self) -> tuple[str, ...]:
        """The name of every released cell of a row, in order."""
        return tuple(name for measure in self.measures for name in measure.output_names)

    @property
    def has_private_keys(self) -> bool:
        """Whether the shown groups themselves come out of a noisy threshold."""
        return any(isinstance(group, PrivateKeys) for group in self.group_by)

    def to_json(self) -> dict[str, Any]:
        """The stored form; parsing it again gives an equal spec."""
        document: dict[str, Any] = {
            "v": 1,
            "where": [predicate.to_json() for predicate in self.where],
            "group_by": [group.to_json() for group in self.group_by],
            "measures": [measure.to_json() for measure in self.measures],
            "bounds": {"max_groups": self.max_groups, "max_rows": self.max_rows},
            "privacy": {
                "epsilon": decimal_text(self.epsilon),
                "delta": decimal_text(self.delta),
                "noise": self.noise,
            },
            "confidence": decimal_text(self.confidence),
        }
        if self.joins:
            document["joins"] = [join.to_json() for join in self.joins]
        if self.having:
            document["having"] = [condition.to_json() for condition in self.having]
        if self.order_by:
            document["order_by"] = [order.to_json() for order in self.order_by]
        if self.limit is not None:
            document["limit"] = self.limit
        return document

    @property
    def spec_sha256(self) -> str:
        """Names what is asked, not how its decimals are written: "0.50" and "0.5" are one.

        Two jobs with this digest, on the same dataset versions and scope paths, ask for the same
        release; what the first one released answers the second at no charge.
        """
        return normal_sha256(self)


def normal_sha256(spec: object) -> str:
    """A name of a frozen spec: equal values give equal names, and no two classes do."""
    text = json.dumps(_normal(spec), sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()


def _normal(value: object) -> Any:
    """A spec as JSON in which equal values are equal texts; the classes are named."""
    if isinstance(value, Decimal):
        return {"decimal": format(value.normalize(), "e") if value else "0"}
    if isinstance(value, tuple):
        return [_normal(each) for each in value]
    if is_dataclass(value):
        kept = {each.name: _normal(getattr(value, each.name)) for each in fields(value)}
        return {"is": type(value).__name__, **kept}
    return value


def _literal_json(value: Value) -> int | str | bool:
    return decimal_text(value) if isinstance(value, Decimal) else value


def predicate_columns(predicate: Predicate) -> frozenset[str]:
    """The names of the columns that a predicate looks at."""
    match predicate:
        case Not(of=inner):
            return predicate_columns(inner)
        case Junction(of=parts):
            return frozenset().union(*(predicate_columns(part) for part in parts))
        case _:
            return frozenset({predicate.column})
