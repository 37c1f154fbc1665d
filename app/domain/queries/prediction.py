"""The error that a plan's noise will add, per released cell, before anything is spent.

Truncation by caps and bounds comes on top: it depends on rows, and only a paid profile could tell.
"""

from collections.abc import Sequence
from fractions import Fraction

from app.domain.decimals import text_up
from app.domain.queries.noise import (
    deviation,
    mean_half_width,
    stdev_half_width,
    sum_half_width,
    variance_half_width,
)
from app.domain.queries.quantities import (
    Choice,
    NoisyQuantity,
    Output,
    PredictedError,
    Quantity,
)

_DIGITS = 6


def predict(
    outputs: Sequence[Output],
    noisy: Sequence[NoisyQuantity],
    spread: Sequence[NoisyQuantity],
    choices: Sequence[Choice],
    nominal_size: int,
    cells: int | None,
) -> tuple[PredictedError, ...]:
    """Widths per cell; a ratio's is given for an even group, or the smallest that is shown."""
    shown = max((each.threshold or 1 for each in noisy), default=1)
    size = shown if cells is None else max(1, nominal_size // cells)
    return tuple(_predicted(output, noisy, spread, choices, size) for output in outputs)


def tree_rank_half_width(levels: Sequence[NoisyQuantity]) -> float:
    """A distance in rank, in rows, that a quantile of a noisy tree keeps in 95% of releases.

    On each level a descent adds up at most 16 noisy nodes.
    """
    kind = levels[0].noise
    deviations = [4 * deviation(kind, float(level.scale)) for level in levels]
    return sum_half_width(kind, deviations) / weight_of(levels[0].quantity)


def weight_of(quantity: Quantity) -> int:
    """The weight of one row in a quantity: 1, unless rows of one unit may be scaled down."""
    return 1 if quantity.spread is None else quantity.spread.weight


def _predicted(
    output: Output,
    noisy: Sequence[NoisyQuantity],
    spread: Sequence[NoisyQuantity],
    choices: Sequence[Choice],
    size: int,
) -> PredictedError:
    match output.kind:
        case "choice":
            choice = choices[output.value]
            if choice.selection.quantile is None:
                # How far below the k-th heaviest a shown key may lie, in units.
                return PredictedError(output.name, str(choice.half_width_steps))
            rows = Fraction(choice.half_width_steps, choice.selection.spread.weight)
            return PredictedError(output.name, text_up(rows, _DIGITS), in_ranks=True)
        case "tree":
            levels = tree_levels(spread, output.value)
            rows = Fraction(tree_rank_half_width(levels))
            return PredictedError(output.name, text_up(rows, _DIGITS), in_ranks=True)
        case "bins":
            bins = spread[output.value]
            rows = Fraction(bins.half_width_steps, weight_of(bins.quantity))
            return PredictedError(output.name, text_up(rows, _DIGITS))
        case "mean" | "variance":
            return _ratio(output, noisy, size)
    total = noisy[output.value]
    grid = Fraction(output.measure.grid or 1)
    return PredictedError(output.name, text_up(total.half_width_steps * grid, _DIGITS))


def tree_levels(spread: Sequence[NoisyQuantity], first: int) -> tuple[NoisyQuantity, ...]:
    """All levels of the tree whose first level stands at a place."""
    return tuple(
        each
        for each in spread[first:]
        if each.quantity.kind == "level" and each.quantity.spread == spread[first].quantity.spread
    )


def _ratio(output: Output, noisy: Sequence[NoisyQuantity], size: int) -> PredictedError:
    total = noisy[output.value]
    count = noisy[output.count if output.count is not None else output.value]
    quantity = total.quantity
    grid = Fraction(output.measure.grid or 1)
    reach = max(quantity.high_step - quantity.centre_step, quantity.centre_step - quantity.low_step)
    if output.kind == "mean":
        scales = float(total.scale), float(count.scale)
        steps = mean_half_width(total.noise, *scales, reach, size)
        most = quantity.high_step - quantity.low_step
        width = Fraction(min(steps, most)) * grid
    else:
        square = noisy[output.square if output.square is not None else output.value]
        three = float(total.scale), float(square.scale), float(count.scale)
        # The values spread evenly over their range: mean at the centre, squares a third of reach^2.
        evenly = reach * reach / 3 - square.quantity.centre_square
        steps = variance_half_width(total.noise, three, 0.0, evenly, size)
        width = Fraction(min(steps, reach * reach)) * grid * grid
        if output.measure.fn == "stdev":
            half = stdev_half_width(reach * reach / 3 * float(grid * grid), float(width))
            width = Fraction(half)
    return PredictedError(output.name, text_up(width, _DIGITS), size)
