"""From a checked query to its noise: integer sensitivities, scales, thresholds and parts to charge.

A plan is a pure function of the spec and the public schema (L5). The engine computes its
quantities as exact integers per group and adds the noise planned here; nothing else is released.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

from app.domain.datasets import Dataset
from app.domain.decimals import decimal_text
from app.domain.errors import InvalidParameter, MechanismNotPriced, RangeTooWide, TooManyGroups
from app.domain.mechanisms.parsing import Part
from app.domain.queries.calibration import Asked, Calibration
from app.domain.queries.joins import joined
from app.domain.queries.noise import noise_of
from app.domain.queries.prediction import predict
from app.domain.queries.quantities import (
    TREE_ARITY,
    Choice,
    EdgeBins,
    EqualBins,
    KeyBins,
    NoisyQuantity,
    Output,
    PredictedError,
    Quantity,
    QuantityKind,
    Selection,
    Spread,
    tree_height,
)
from app.domain.queries.spec import Bins, Measure, PublicKeys, QuerySpec

CELLS_MOST: Final = 100_000
# A value, and one unit's total in one group, fit exactly into a float64; with the caps above them
# no intermediate of the engine leaves 127 bits, and no released sum leaves 62 bits.
STEPS_MOST: Final = 2**52
TOTAL_MOST: Final = 2**61
# Up to this many quantiles one draw of the exponential mechanism each; above, one tree for all.
CHOSEN_QUANTILES_MOST: Final = 5
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
    def spreads(self) -> tuple[Spread, ...]:
        """Every spread of weights that the engine computes, each once."""
        found = [each.quantity.spread for each in self.spread]
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
        """The predicted 95% half-width per measure, for a quote."""
        return {error.measure: error.half_width_95 for error in self.predicted}

    @property
    def figures(self) -> dict[str, Any]:
        """What a quote shows beside the charge: all of it follows from the request alone."""
        shown: dict[str, Any] = {
            "half_widths": dict(self.half_widths),
            "predicted": [
                {
                    "measure": error.measure,
                    "half_width_95": error.half_width_95,
                    "unit": "rows in rank" if error.in_ranks else "value",
                    **(
                        {}
                        if error.assumed_count is None
                        else {"assumed_count": error.assumed_count}
                    ),
                }
                for error in self.predicted
            ],
            "noise": [
                {"mechanism": each.noise, "scale": decimal_text(each.scale)}
                for each in (*self.noisy, *self.spread)
            ]
            + [
                {"mechanism": "exponential", "scale": decimal_text(each.scale)}
                for each in self.choices
            ],
            "bounds": {"max_groups": self.groups, "max_rows": self.rows},
            "spec_sha256": self.spec.spec_sha256,
        }
        guard = next((each for each in self.noisy if each.threshold is not None), None)
        if guard is not None and guard.threshold is not None:
            above = noise_of(guard.noise, guard.scale).half_width(Decimal("0.98"))
            shown["group_size_shown"] = {
                "with_chance_0.5": guard.threshold,
                "with_chance_0.99": guard.threshold + above,
            }
        return shown


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
    if dataset.unit is None or dataset.relation not in ("add_remove", "replace_one"):
        raise MechanismNotPriced(
            "query", str(dataset.relation), "queries are proven for add_remove and replace_one"
        )
    unit, dataset = dataset.unit, joined(dataset, spec.joins, others)
    cells = _public_cells(spec, dataset, pointer)
    groups = spec.max_groups if cells is None else min(spec.max_groups, cells)
    nominal_size = dataset.nominal_size or 1
    asked = _Asking(spec, dataset, nominal_size, pointer)
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
        predicted=predict(outputs, noisy, spread, choices, nominal_size, cells),
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


class _Asking:
    """The quantities that the measures need, each once, with their summed weights.

    A mean gives half of its weight to its sum and half to its count, a variance a third to its
    sum, its squares and its count; what several measures need is drawn and charged once (R24).
    """

    def __init__(self, spec: QuerySpec, dataset: Dataset, nominal_size: int, pointer: str) -> None:
        self._spec = spec
        self._dataset = dataset
        self._nominal_size = nominal_size
        self.weights: dict[Asked, Fraction] = {}
        self._read: list[tuple[Output, tuple[Asked, ...]]] = []
        if spec.has_private_keys:
            self._need(Quantity("units"), Fraction(1))
        for index, measure in enumerate(spec.measures):
            self._ask(measure, f"{pointer}/measures/{index}")

    def outputs(self) -> tuple[Output, ...]:
        """The released cells, each with the places of what it is read from."""
        scalars = [
            each for each in self.weights if isinstance(each, Quantity) and each.spread is None
        ]
        spread = [each for each in self.weights if isinstance(each, Quantity) and each.spread]
        choices = [each for each in self.weights if isinstance(each, Selection)]
        found = []
        for output, asked in self._read:
            first = asked[0]
            if isinstance(first, Selection):
                places = [choices.index(first)]
            elif first.spread is not None:
                places = [spread.index(first)]
            else:
                places = [scalars.index(each) for each in asked if isinstance(each, Quantity)]
            count = places[1] if len(places) > 1 else None
            square = places[2] if len(places) > 2 else None
            found.append(
                Output(
                    measure=output.measure,
                    value=places[0],
                    count=count,
                    square=square,
                    kind=output.kind,
                    quantile=output.quantile,
                    name=output.name,
                )
            )
        return tuple(found)

    def _need(self, asked: Asked, weight: Fraction) -> None:
        self.weights[asked] = self.weights.get(asked, Fraction(0)) + weight

    def _reads(self, output: Output, weight: Fraction, *asked: Asked) -> None:
        for each in asked:
            self._need(each, weight / len(asked))
        self._read.append((output, asked))

    def _ask(self, measure: Measure, pointer: str) -> None:
        weight = Fraction(measure.weight)
        name = measure.name
        match measure.fn:
            case "count":
                self._reads(Output(measure, 0, name=name), weight, self._count(measure.column))
            case "count_distinct":
                self._reads(Output(measure, 0, name=name), weight, Quantity("units"))
            case "sum":
                total = self._sum(measure, "sum", pointer)
                self._reads(Output(measure, 0, name=name), weight, total)
            case "mean":
                total = self._sum(measure, "centred_sum", pointer)
                count = self._count(measure.column)
                self._reads(Output(measure, 0, kind="mean", name=name), weight, total, count)
            case "variance" | "stdev":
                total = self._sum(measure, "centred_sum", pointer)
                square = self._sum(measure, "centred_square", pointer)
                count = self._count(measure.column)
                output = Output(measure, 0, kind="variance", name=name)
                self._reads(output, weight, total, count, square)
            case "histogram":
                spread = self._spread(measure, pointer)
                bins = Quantity("bins", measure.column, bound=spread.bound, spread=spread)
                self._reads(Output(measure, 0, kind="bins", name=name), weight, bins)
            case "top_k":
                selection = Selection(self._spread(measure, pointer), None, measure.k or 1)
                self._reads(Output(measure, 0, kind="choice", name=name), weight, selection)
            case "quantile":
                self._ask_quantiles(measure, weight, pointer)

    def _ask_quantiles(self, measure: Measure, weight: Fraction, pointer: str) -> None:
        spread = self._spread(measure, pointer)
        pairs = list(zip(measure.quantiles, measure.output_names, strict=True))
        if len(pairs) <= CHOSEN_QUANTILES_MOST:
            for quantile, name in pairs:
                output = Output(measure, 0, kind="choice", quantile=quantile, name=name)
                self._reads(output, weight / len(pairs), Selection(spread, quantile))
            return
        levels = [
            Quantity("level", measure.column, bound=spread.bound, spread=spread, level=level)
            for level in range(1, tree_height(spread.bins.size) + 1)
        ]
        for level in levels:
            self._need(level, weight / len(levels))
        for quantile, name in pairs:
            output = Output(measure, 0, kind="tree", quantile=quantile, name=name)
            self._read.append((output, (levels[0],)))

    def _spread(self, measure: Measure, pointer: str) -> Spread:
        rows, size = self._spec.max_rows, self._nominal_size
        return spread_of(measure, self._dataset, rows, size, pointer)

    def _count(self, name: str | None) -> Quantity:
        """The count of a column's values; of rows where the column cannot be without a value."""
        column = None if name is None else self._dataset.column(name)
        whole = column is not None and column.type not in ("float64", "float32")
        if column is not None and whole and not column.nullable:
            name = None
        if name is None and self._spec.max_rows == 1:
            return Quantity("units")
        return Quantity("count", name, bound=self._spec.max_rows)

    def _sum(self, measure: Measure, kind: QuantityKind, pointer: str) -> Quantity:
        if measure.low is None or measure.high is None or measure.grid is None:
            raise InvalidParameter(pointer, "a sum or mean without bounds was not parsed here")
        grid = Fraction(measure.grid)
        low, high = int(Fraction(measure.low) / grid), int(Fraction(measure.high) / grid)
        centre = 0 if kind == "sum" else (low + high) // 2
        reach = max(abs(low - centre), abs(high - centre))
        centre_square = 0
        if kind == "centred_square":
            centre_square = reach * reach // 2
            reach = reach * reach - centre_square
        bound = reach * self._spec.max_rows
        if max(abs(low), abs(high), bound) > STEPS_MOST:
            raise RangeTooWide(pointer, "bounds / grid x rows of one unit exceed 2^52 steps")
        if bound * self._nominal_size > TOTAL_MOST:
            raise RangeTooWide(pointer, "bounds / grid x rows x nominal size exceed 2^61 steps")
        return Quantity(kind, measure.column, measure.grid, low, high, centre, bound, centre_square)


def spread_of(
    measure: Measure, dataset: Dataset, rows_most: int, nominal_size: int, pointer: str
) -> Spread:
    """The weights that a histogram, a quantile or top keys are read from.

    Raises:
        RangeTooWide: the bins or the weights could leave exact integers.
    """
    column = dataset.column(measure.column or "")
    if column is None:
        raise InvalidParameter(pointer, "a measure without a column was not parsed here")
    if measure.fn == "top_k":
        return Spread(column.name, KeyBins(column.domain or ()), "units")
    if measure.edges:
        bins: EqualBins | EdgeBins = EdgeBins(measure.edges)
    elif measure.low is not None and measure.high is not None and measure.bins is not None:
        bins = EqualBins(measure.low, measure.high, measure.bins)
        if column.type == "int64" and (bins.high - bins.low) * bins.bins >= STEPS_MOST:
            raise RangeTooWide(pointer, "(hi - lo) x bins exceed 2^52")
    else:
        raise InvalidParameter(pointer, "a measure without bins was not parsed here")
    is_record = dataset.unit is not None and dataset.unit.kind == "record"
    spread = Spread(column.name, bins, "rows", rows_most, of_records=is_record)
    if spread.bound * nominal_size > TOTAL_MOST:
        raise RangeTooWide(pointer, "rows x nominal size exceed 2^61")
    return spread
