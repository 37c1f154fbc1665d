"""What a plan has to draw: the quantities that its measures need, each once, with their weights."""

from fractions import Fraction
from typing import Final

from app.domain.datasets import Dataset
from app.domain.errors import InvalidParameter, RangeTooWide
from app.domain.queries.calibration import Asked
from app.domain.queries.quantities import (
    EdgeBins,
    EqualBins,
    KeyBins,
    Output,
    Quantity,
    QuantityKind,
    Selection,
    Spread,
    tree_height,
)
from app.domain.queries.spec import Measure, QuerySpec

# A value, and one unit's total in one group, fit exactly into a float64; with the caps above them
# no intermediate of the engine leaves 127 bits, and no released sum leaves 62 bits.
STEPS_MOST: Final = 2**52
TOTAL_MOST: Final = 2**61
# Up to this many quantiles one draw of the exponential mechanism each; above, one tree for all.
CHOSEN_QUANTILES_MOST: Final = 5


class Asking:
    """Quantities, each once with its summed weight, and the cells that are read from them."""

    def __init__(self) -> None:
        self.weights: dict[Asked, Fraction] = {}
        self._read: list[tuple[Output, tuple[Asked, ...]]] = []

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

    def need(self, asked: Asked, weight: Fraction) -> None:
        """Ask for a quantity; what several cells need is drawn and charged once (R24)."""
        self.weights[asked] = self.weights.get(asked, Fraction(0)) + weight

    def reads(self, output: Output, weight: Fraction, *asked: Asked) -> None:
        """Ask for a cell; what it is read from shares its weight evenly."""
        for each in asked:
            self.need(each, weight / len(asked))
        self._read.append((output, asked))


class MeasuresAsked(Asking):
    """What the measures of a query need.

    A mean gives half of its weight to its sum and half to its count, a variance a third to its
    sum, its squares and its count.
    """

    def __init__(self, spec: QuerySpec, dataset: Dataset, nominal_size: int, pointer: str) -> None:
        super().__init__()
        self._spec = spec
        self._dataset = dataset
        self._nominal_size = nominal_size
        if spec.has_private_keys:
            self.need(Quantity("units"), Fraction(1))
        for index, measure in enumerate(spec.measures):
            self._ask(measure, f"{pointer}/measures/{index}")

    def _ask(self, measure: Measure, pointer: str) -> None:
        weight = Fraction(measure.weight)
        name = measure.name
        match measure.fn:
            case "count":
                self.reads(Output(measure, 0, name=name), weight, self._count(measure.column))
            case "count_distinct":
                self.reads(Output(measure, 0, name=name), weight, Quantity("units"))
            case "sum":
                total = self._sum(measure, "sum", pointer)
                self.reads(Output(measure, 0, name=name), weight, total)
            case "mean":
                total = self._sum(measure, "centred_sum", pointer)
                count = self._count(measure.column)
                self.reads(Output(measure, 0, kind="mean", name=name), weight, total, count)
            case "variance" | "stdev":
                total = self._sum(measure, "centred_sum", pointer)
                square = self._sum(measure, "centred_square", pointer)
                count = self._count(measure.column)
                output = Output(measure, 0, kind="variance", name=name)
                self.reads(output, weight, total, count, square)
            case "histogram":
                spread = self._spread(measure, pointer)
                bins = Quantity("bins", measure.column, bound=spread.bound, spread=spread)
                self.reads(Output(measure, 0, kind="bins", name=name), weight, bins)
            case "top_k":
                selection = Selection(self._spread(measure, pointer), None, measure.k or 1)
                self.reads(Output(measure, 0, kind="choice", name=name), weight, selection)
            case "quantile":
                self._ask_quantiles(measure, weight, pointer)

    def _ask_quantiles(self, measure: Measure, weight: Fraction, pointer: str) -> None:
        spread = self._spread(measure, pointer)
        pairs = list(zip(measure.quantiles, measure.output_names, strict=True))
        if len(pairs) <= CHOSEN_QUANTILES_MOST:
            for quantile, name in pairs:
                output = Output(measure, 0, kind="choice", quantile=quantile, name=name)
                self.reads(output, weight / len(pairs), Selection(spread, quantile))
            return
        levels = [
            Quantity("level", measure.column, bound=spread.bound, spread=spread, level=level)
            for level in range(1, tree_height(spread.bins.size) + 1)
        ]
        for level in levels:
            self.need(level, weight / len(levels))
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
