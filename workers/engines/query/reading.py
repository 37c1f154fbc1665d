"""Reads released figures from noisy integers, bins, trees and choices: post-processing only.

Every function here sees noisy numbers, except the scores of a choice, which go into its sampler
and nowhere else.
"""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from typing import Any

from app.domain.decimals import decimal_text, text_up
from app.domain.queries.calibration import QUANTILE_PARTS
from app.domain.queries.noise import mean_half_width, stdev_half_width, variance_half_width
from app.domain.queries.prediction import tree_rank_half_width
from app.domain.queries.quantities import (
    TREE_ARITY,
    Choice,
    EdgeBins,
    EqualBins,
    KeyBins,
    NoisyQuantity,
    Output,
    Selection,
    Spread,
)
from workers.engines.query.noise import VectorNoise

_DIGITS = 6


def scores(selection: Selection, weights: Mapping[int, int]) -> list[int]:
    """The integer score of every candidate of a selection.

    Args:
        selection: whose candidates: all edges of the bins for a quantile, else the bins.
        weights: by bin; private.
    """
    held = [weights.get(place, 0) for place in range(selection.spread.bins.size)]
    if selection.quantile is None:
        return held
    below = [0, *accumulate(held)]
    aim = int(selection.quantile * QUANTILE_PARTS) * below[-1]
    return [-abs(QUANTILE_PARTS * rank - aim) for rank in below]


def read_choice_cell(output: Output, choice: Choice, chosen: Sequence[int]) -> dict[str, Any]:
    """A quantile with its width in rank, or the chosen keys, best first."""
    selection = choice.selection
    bins = selection.spread.bins
    cell: dict[str, Any] = {"measure": output.name}
    if isinstance(bins, KeyBins):
        cell["value"] = [bins.keys[place] for place in chosen]
        cell["half_width_95"] = str(choice.half_width_steps)
    else:
        cell["value"] = number(edge(selection.spread, Fraction(chosen[0])))
        # A single draw says nothing of how the values lie around it.
        cell["half_width_95"] = None
        rows = Fraction(choice.half_width_steps, selection.spread.weight)
        cell["rank_half_width_95"] = text_up(rows, _DIGITS)
    cell["mechanism"] = "exponential"
    return cell


def edge(spread: Spread, place: Fraction) -> Fraction:
    """The value at an edge of equal bins; between two edges, on the line between them."""
    bins = spread.bins
    if not isinstance(bins, EqualBins):
        raise TypeError("only equal bins have a line of edges")
    width = (Fraction(bins.high) - Fraction(bins.low)) / bins.bins
    return Fraction(bins.low) + place * width


def read_bins_cell(output: Output, noisy: NoisyQuantity, drawn: Sequence[int]) -> dict[str, Any]:
    """A histogram: one noisy count of rows per bin, between edges that are public."""
    spread = noisy.quantity.spread
    if spread is None:
        raise TypeError("this quantity has no bins")
    weight = spread.weight
    if isinstance(spread.bins, EdgeBins):
        edges = [decimal_text(each) for each in spread.bins.edges]
    else:
        found = [edge(_spread(noisy), Fraction(n)) for n in range(spread.bins.size + 1)]
        edges = [str(number(each)) for each in found]
    return {
        "measure": output.name,
        "value": [number(Fraction(each, weight)) for each in drawn],
        "edges": edges,
        "half_width_95": text_up(Fraction(noisy.half_width_steps, weight), _DIGITS),
        "mechanism": noisy.noise,
    }


class NoisyTree:
    """A 16-ary tree over the bins of one group; a node gets its noise when it is first looked at.

    Drawing only the nodes that are looked at is the same as drawing all and looking at these: each
    node has noise of its own, and which node comes next follows from noisy numbers (R24: every
    level is charged whole).
    """

    def __init__(
        self,
        levels: Sequence[NoisyQuantity],
        noises: Sequence[VectorNoise],
        weights: Mapping[int, int],
    ) -> None:
        self._levels = levels
        self._noises = noises
        self._spread = _spread(levels[0])
        self._children: dict[tuple[int, int], list[int]] = {}
        self._nodes: list[dict[int, int]] = []
        for depth in range(len(levels)):
            below = TREE_ARITY ** (len(levels) - 1 - depth)
            nodes: dict[int, int] = {}
            for place, weight in weights.items():
                nodes[place // below] = nodes.get(place // below, 0) + weight
            self._nodes.append(nodes)

    def cell(self, output: Output) -> dict[str, Any]:
        """One quantile; its interval holds the true one where the ranks are as good as said."""
        quantile = Fraction(output.quantile or Decimal("0.5"))
        rows = Fraction(sum(self._kept(0, 0)), self._spread.weight)
        apart = Fraction(tree_rank_half_width(self._levels))
        value = self._at(quantile)
        ends = [self._edge(Fraction(0)), self._edge(Fraction(self._spread.bins.size))]
        if rows > apart:
            ends = [self._at(max(quantile - apart / rows, Fraction(0)))]
            ends.append(self._at(min(quantile + apart / rows, Fraction(1))))
        width = max(value - ends[0], ends[1] - value, Fraction(0))
        return {
            "measure": output.name,
            "value": number(value),
            "half_width_95": text_up(width, _DIGITS),
            "rank_half_width_95": text_up(apart, _DIGITS),
            "mechanism": self._levels[0].noise,
        }

    def _at(self, share: Fraction) -> Fraction:
        """The value below which a share of the tree's noisy rows lies."""
        node = 0
        for depth in range(len(self._levels)):
            kept = self._kept(depth, node)
            total = sum(kept)
            if total == 0:
                kept, total = [1] * len(kept), len(kept)
            aim = share * total
            child, passed = 0, 0
            while child < len(kept) - 1 and passed + kept[child] < aim:
                passed += kept[child]
                child += 1
            share = min((aim - passed) / kept[child], Fraction(1)) if kept[child] else Fraction(0)
            node = TREE_ARITY * node + child
        return self._edge(node + share)

    def _edge(self, place: Fraction) -> Fraction:
        return edge(self._spread, place)

    def _kept(self, depth: int, node: int) -> list[int]:
        """The noisy children of a node, each drawn once; what noise made negative counts as 0."""
        if (depth, node) not in self._children:
            below = TREE_ARITY ** (len(self._levels) - 1 - depth)
            last = -(-self._spread.bins.size // below)
            first = TREE_ARITY * node
            places = range(first, min(first + TREE_ARITY, last))
            exact = [self._nodes[depth].get(place, 0) for place in places]
            self._children[depth, node] = [max(0, each) for each in self._noises[depth](exact)]
        return self._children[depth, node]


def read_mean(
    total: NoisyQuantity, count: NoisyQuantity, noisy_sum: int, noisy_count: int
) -> tuple[int | float, str]:
    """A mean and its half-width from a noisy centred sum and a noisy count.

    Where the count is lost in its own noise nothing is known of the mean: the width is the range.
    """
    quantity = total.quantity
    grid = Fraction(quantity.grid or Decimal(1))
    divisor = max(noisy_count, 1)
    steps = quantity.centre_step + Fraction(noisy_sum, divisor)
    clamped = min(max(steps, Fraction(quantity.low_step)), Fraction(quantity.high_step))
    width = Fraction(quantity.high_step - quantity.low_step)
    if noisy_count > count.half_width_steps:
        ratio = float(clamped) - quantity.centre_step
        scales = float(total.scale), float(count.scale)
        width = min(width, Fraction(mean_half_width(total.noise, *scales, ratio, divisor)))
    return number(clamped * grid), text_up(width * grid, _DIGITS)


def read_variance(
    output: Output, noisy: Sequence[NoisyQuantity], values: Sequence[int]
) -> tuple[int | float, str]:
    """A variance (of the population), or its root, with a half-width.

    It lies between 0 and a quarter of the squared range; where the count is lost in its own noise
    the width is that of everything possible.
    """
    if output.count is None or output.square is None:
        raise TypeError("a variance is read from a sum, its squares and a count")
    total, count, square = (noisy[at] for at in (output.value, output.count, output.square))
    quantity = total.quantity
    grid = float(quantity.grid or 1)
    counted = max(values[output.count], 1)
    mean = values[output.value] / counted
    squares = values[output.square] / counted
    most = (quantity.high_step - quantity.low_step) ** 2 / 4
    variance = min(max(squares + square.quantity.centre_square - mean * mean, 0.0), most)
    width = most
    if values[output.count] > count.half_width_steps:
        scales = float(total.scale), float(square.scale), float(count.scale)
        width = min(width, variance_half_width(total.noise, scales, mean, squares, counted))
    if output.measure.fn == "stdev":
        root, half = math.sqrt(variance), stdev_half_width(variance, width)
        return root * grid, text_up(Fraction(half * grid), _DIGITS)
    return variance * grid * grid, text_up(Fraction(width * grid * grid), _DIGITS)


def number(value: Fraction) -> int | float:
    """A whole number as such, anything else as a float."""
    return int(value) if value.denominator == 1 else float(value)


def _spread(noisy: NoisyQuantity) -> Spread:
    if not isinstance(noisy.quantity.spread, Spread):
        raise TypeError("this quantity has no bins of a column")
    return noisy.quantity.spread
