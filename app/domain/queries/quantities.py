"""What a plan is made of: exact integers per group, the noise on them, and how they are read.

A quantity is a sum over units (or records) of integers that each of them bounds, so that its
sensitivity is a fact of the plan. Nothing here depends on a row.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from app.domain.columns import Key
from app.domain.mechanisms.parsing import Mechanism
from app.domain.queries.spec import GroupBy, Measure

NoiseKind = Literal["discrete_laplace", "discrete_gaussian"]
QuantityKind = Literal["units", "count", "sum", "centred_sum", "centred_square", "bins", "level"]
# A unit with more rows than its cap is scaled down; its weights keep this much of a row's share.
ROW_WEIGHT: Final = 1024
TREE_ARITY: Final = 16


@dataclass(frozen=True, slots=True)
class EqualBins:
    """Equal bins between two bounds; values outside are clamped into the first and the last."""

    low: Decimal
    high: Decimal
    bins: int

    @property
    def size(self) -> int:
        """How many bins there are."""
        return self.bins


@dataclass(frozen=True, slots=True)
class EdgeBins:
    """Half-open bins [edge, next edge); values outside are left out."""

    edges: tuple[Decimal, ...]

    @property
    def size(self) -> int:
        """How many bins there are."""
        return len(self.edges) - 1


@dataclass(frozen=True, slots=True)
class KeyBins:
    """One bin per public key of a column; values that are no such key are left out."""

    keys: tuple[Key, ...]

    @property
    def size(self) -> int:
        """How many bins there are."""
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Spread:
    """Integer weights over public bins, per group.

    counts: `rows`: one unit's rows in one group weigh `weight` each, and `rows_most` x `weight`
        together at most: where it has more rows, all its weights are scaled toward zero.
        `units`: a unit weighs 1 in each bin where it has a row, in as many bins as it likes.
    of_records: whether a unit is one row, whose weight is never scaled.
    """

    column: str
    bins: EqualBins | EdgeBins | KeyBins
    counts: Literal["rows", "units"]
    rows_most: int = 1
    of_records: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns whose values it is made of."""
        return (self.column,)

    @property
    def weight(self) -> int:
        """The weight of one row; finer than 1 where rows of one unit may be scaled down."""
        return 1 if self.counts == "units" or self.of_records else ROW_WEIGHT

    @property
    def bound(self) -> int:
        """The most by which one unit moves one group: in L1 for rows, in each bin for units."""
        return 1 if self.counts == "units" else self.rows_most * self.weight


@dataclass(frozen=True, slots=True)
class Tally:
    """The units by how many groups, or rows in a group, each of them has: one entry per unit.

    by: the groups, as those of a query; private keys are counted here and never shown.
    of: `groups`: a unit's entry is the number of groups in which it has a row. `rows`: it gives
        each of its groups an equal share of its entry, by its rows there; without groups the
        entry is the number of all its rows.
    bins: of whole numbers from 1 on; the last bin takes what is above it too.

    Proof of the bound, for a user, for what one has in one period, an
    entry is a function of the rows of its own unit, and its shares, rounded toward zero, are
    `weight` together at most. So a unit that is added or removed moves the weights of all bins by
    `weight` in L1, and one that is replaced by twice as much. No cap is needed and none is applied.
    """

    by: tuple[GroupBy, ...]
    of: Literal["groups", "rows"]
    bins: EdgeBins

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns whose values it is made of."""
        return tuple(group.column for group in self.by)

    @property
    def weight(self) -> int:
        """The weight of one entry; finer than 1 where groups share it."""
        return ROW_WEIGHT if self.of == "rows" and self.by else 1

    @property
    def bound(self) -> int:
        """The most by which one unit moves all bins, in L1."""
        return self.weight


@dataclass(frozen=True, slots=True)
class Quantity:
    """One exact integer per group, or per bin of a group, before noise.

    units: how many units have a row in the group (rows, where the unit is a record).
    count: values of `column` (rows, where it is None), at most `max_rows` of each unit.
    sum: values of `column` in steps of `grid`, clamped to [low_step, high_step]; each unit's total
        is clamped to what `max_rows` such values can reach.
    centred_sum: the same about `centre_step`; a unit with more rows is scaled down toward zero.
    centred_square: squares of steps about `centre_step`, themselves about `centre_square`; scaled
        like a centred sum.
    bins: all weights of `spread`.
    level: the weights of `spread` summed over the nodes of one level of a 16-ary tree, 1 below the
        root; a row lies in one node of each level.
    bound: the most by which one unit moves one group, in L1 over the bins of that group.
    """

    kind: QuantityKind
    column: str | None = None
    grid: Decimal | None = None
    low_step: int = 0
    high_step: int = 0
    centre_step: int = 0
    bound: int = 1
    centre_square: int = 0
    spread: Spread | Tally | None = None
    level: int = 0


@dataclass(frozen=True, slots=True)
class NoisyQuantity:
    """A quantity with its noise: one draw per group or bin, one part of the charge.

    scale: b of the discrete Laplace or sigma of the discrete Gaussian, in the quantity's steps.
    threshold: a group is shown where the noisy number of units reaches it; None shows all.
    half_width_steps: 95% of draws lie within it.
    """

    quantity: Quantity
    noise: NoiseKind
    scale: Decimal
    mechanism: Mechanism
    half_width_steps: int
    threshold: int | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What the exponential mechanism is asked: a quantile of a spread, or its k heaviest bins.

    A quantile's candidates are the edges of the bins; the score of an edge is minus its distance
    in rank from the quantile, which one unit moves by bound x max(q, 1 - q) (R24). A heaviest
    bin's score is its weight; all weights move the same way, by at most 1 each.
    """

    spread: Spread
    quantile: Decimal | None = None
    k: int = 1

    @property
    def draws(self) -> int:
        """How often the mechanism runs on one group."""
        return 1 if self.quantile is not None else self.k


@dataclass(frozen=True, slots=True)
class Choice:
    """A selection with its epsilon: the exponential mechanism by Gumbel noise, once per draw.

    epsilon: of one draw on one group, for one unit added or removed.
    scale: of the Gumbel noise, in integer scores; never below 2 sensitivity / epsilon for a
        quantile and 1 / epsilon for heaviest bins, whose scores are monotone.
    half_width_steps: a quantile's distance in rank, in weights, within 95%; 0 for bins.
    """

    selection: Selection
    epsilon: Decimal
    scale: Decimal
    sensitivity: int
    mechanism: Mechanism
    half_width_steps: int


@dataclass(frozen=True, slots=True)
class Output:
    """How one released cell is read from a plan's quantities, by their places.

    value: the quantity (or the first level of the tree, or the choice) that carries the figure.
    count: the noisy count by which a mean or variance divides.
    square: the noisy sum of squares of a variance.
    kind: how the figure is read.
    quantile: which one, for a quantile.
    """

    measure: Measure
    value: int
    count: int | None = None
    square: int | None = None
    kind: Literal["total", "mean", "variance", "bins", "tree", "choice"] = "total"
    quantile: Decimal | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class PredictedError:
    """The noise that a measure will carry; truncation by the caps comes on top.

    assumed_count: the group size at which a mean's or variance's width is given.
    in_ranks: whether the width is a distance in rank (rows), as for a quantile.
    """

    measure: str
    half_width_95: str
    assumed_count: int | None = None
    in_ranks: bool = False


def tree_height(bins: int) -> int:
    """The levels of a 16-ary tree with one leaf per bin."""
    height = 1
    while TREE_ARITY**height < bins:
        height += 1
    return height
