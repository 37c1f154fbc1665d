"""From a checked query to its noise: integer sensitivities, scales, thresholds and parts to charge.

A plan is a pure function of the spec and the public schema (L5). The engine computes its
quantities as exact integers per group and adds the noise planned here; nothing else is released.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from app.domain.datasets import Dataset
from app.domain.errors import InvalidParameter, RangeTooWide, TooManyGroups
from app.domain.mechanisms.parsing import Part
from app.domain.queries.asking import CHOSEN_QUANTILES_MOST, TOTAL_MOST, Asking, MeasuresAsked
from app.domain.queries.calibration import Calibration
from app.domain.queries.joins import joined
from app.domain.queries.parsing import require_priced_unit
from app.domain.queries.prediction import predict
from app.domain.queries.quantities import (
    TREE_ARITY,
    Choice,
    NoisyQuantity,
    Output,
    PredictedError,
    Spread,
    Tally,
    tree_height,
)
from app.domain.queries.spec import Bins, Measure, PublicKeys, QuerySpec

CELLS_MOST: Final = 100_000
# A draw among this many candidates takes about as long as the noise of one cell.
_CANDIDATES_A_CELL: Final = 16


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """All that the engine does for a spec, and all that is charged for it.

    unit_column: names the user; None where a unit is one row.
    has_periods: whether a unit is what one user has in one block, not in all.
    groups: L0, the groups in which one unit may count; rows: its rows in one group.
    public_cells: how many groups the public keys make; None where keys are private.
    noisy: quantities of one integer per group; spread: those of one integer per bin or node.
    """

    spec: QuerySpec
    unit_column: str | None
    has_periods: bool
    groups: int
    rows: int
    public_cells: int | None
    noisy: tuple[NoisyQuantity, ...]
    spread: tuple[NoisyQuantity, ...]
    choices: tuple[Choice, ...]
    outputs: tuple[Output, ...]
    predicted: tuple[PredictedError, ...]

    @property
    def spreads(self) -> tuple[Spread | Tally, ...]:
        """Every spread of weights that the engine computes, each once."""
        found: list[Spread | Tally | None] = [each.quantity.spread for each in self.spread]
        found += [choice.selection.spread for choice in self.choices]
        return tuple(dict.fromkeys(spread for spread in found if spread is not None))

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is reserved and charged: one unit of each mechanism."""
        drawn = [each.mechanism for each in (*self.noisy, *self.spread)]
        chosen = [choice.mechanism for choice in self.choices]
        return tuple(Part(mechanism, 1) for mechanism in (*drawn, *chosen))

    @property
    def half_widths(self) -> Mapping[str, str]:
        """The predicted 95% half-width per measure."""
        return {error.measure: error.half_width_95 for error in self.predicted}


def plan_query(
    spec: QuerySpec,
    dataset: Dataset,
    pointer: str = "/spec",
    others: Mapping[str, Dataset] = MappingProxyType({}),
) -> QueryPlan:
    """The noise of a query, fixed by its target and weights, and the parts that pay for it.

    Discrete Laplace of scale L0 x bound / share on integers of L1 sensitivity L0 x bound; discrete
    Gaussian for an L2 sensitivity of sqrt(L0) x bound; private keys through a threshold on noisy
    unit counts whose delta covers all L0 keys; the exponential mechanism L0 times for a quantile;
    one event per level for a tree of quantiles (R6, R24). Under `replace_one` the noise doubles;
    the mechanisms keep the sensitivity of one unit, which `price` converts (R7).

    Args:
        spec: a query that `parse_query` made of the same datasets.
        dataset: the private dataset that it runs over.
        pointer: where the spec stands in the request.
        others: by id, what the query may join.

    Raises:
        MechanismNotPriced: the relation is neither add_remove nor replace_one.
        TooManyGroups: the public keys make more than 100,000 cells.
        RangeTooWide: a sum could leave exact 64-bit integers.
        InvalidParameter: a measure's share of the target is too small to be priced.
    """
    require_priced_unit(dataset)
    dataset = joined(dataset, spec.joins, others)
    cells = _public_cells(spec, dataset, pointer)
    groups = spec.max_groups if cells is None else min(spec.max_groups, cells)
    asked = MeasuresAsked(spec, dataset, dataset.nominal_size or 1, pointer)
    return plan_asked(spec, dataset, asked, groups=groups, cells=cells, pointer=pointer)


def plan_asked(
    spec: QuerySpec,
    dataset: Dataset,
    asked: Asking,
    *,
    groups: int,
    cells: int | None,
    pointer: str,
) -> QueryPlan:
    """Fix the noise of what is asked by the target of a spec.

    Args:
        spec: the target, the caps and the keys.
        dataset: with what it is joined to; its unit and relation are those of queries.
        asked: the quantities with their weights.
        groups: L0, the groups in which one unit may count.
        cells: how many groups the public keys make; None where keys are private.
        pointer: where the spec stands.

    Raises:
        RangeTooWide: the noise could leave 64 bits.
        InvalidParameter: a share of the target is too small to be priced.
    """
    unit = require_priced_unit(dataset)
    doubling = 2 if dataset.relation == "replace_one" else 1
    try:
        fixed = Calibration(spec, groups, doubling, asked.weights).fix()
    except InvalidParameter as refusal:
        raise InvalidParameter(
            f"{pointer}/privacy/epsilon", "one measure's share of it is outside what is priced"
        ) from refusal
    for each in fixed:
        if each.half_width_steps > TOTAL_MOST:
            raise RangeTooWide(f"{pointer}/privacy/epsilon", "the noise would leave 64 bits")
    drawn = [each for each in fixed if isinstance(each, NoisyQuantity)]
    noisy = tuple(each for each in drawn if each.quantity.spread is None)
    spread = tuple(each for each in drawn if each.quantity.spread is not None)
    choices = tuple(each for each in fixed if isinstance(each, Choice))
    outputs = asked.outputs()
    return QueryPlan(
        spec=spec,
        unit_column=unit.column,
        has_periods=unit.kind == "user_period",
        groups=groups,
        rows=spec.max_rows,
        public_cells=cells,
        noisy=noisy,
        spread=spread,
        choices=choices,
        outputs=outputs,
        predicted=predict(outputs, noisy, spread, choices, dataset.nominal_size or 1, cells),
    )


def _public_cells(spec: QuerySpec, dataset: Dataset, pointer: str) -> int | None:
    cells = 1
    for group in spec.group_by:
        if isinstance(group, PublicKeys):
            cells *= len(group.keys)
        elif isinstance(group, Bins):
            cells *= len(group.edges) - 1
    answered = cells * sum(_cells_of(measure, dataset) for measure in spec.measures)
    if answered > CELLS_MOST:
        raise TooManyGroups(f"{pointer}/group_by", answered, CELLS_MOST)
    return None if spec.has_private_keys else cells


def _cells_of(measure: Measure, dataset: Dataset) -> int:
    """How many cells of noise one group of a measure takes, about."""
    bins = len(measure.edges) - 1 if measure.edges else measure.bins or 1
    if measure.fn == "histogram":
        return bins
    if measure.fn == "top_k":
        column = dataset.column(measure.column or "")
        keys = 1 if column is None or column.domain is None else len(column.domain)
        return -(-keys // _CANDIDATES_A_CELL)
    if len(measure.quantiles) > CHOSEN_QUANTILES_MOST:
        return len(measure.quantiles) * TREE_ARITY * tree_height(bins)
    return max(1, len(measure.quantiles)) * -(-bins // _CANDIDATES_A_CELL)
