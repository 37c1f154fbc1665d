"""From the bounded table to released rows: noise first, then only post-processing.

With public keys every cell is present whatever the data; with private keys those whose noisy unit
count reaches the threshold, sorted. Notes depend on the plan and the schema alone (R13).
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Final

from app.domain.columns import Key
from app.domain.datasets import Dataset
from app.domain.decimals import text_up
from app.domain.queries.planning import QueryPlan
from app.domain.queries.prediction import tree_levels
from app.domain.queries.quantities import Output, Spread, Tally
from app.domain.queries.spec import Bins, Having, QuerySpec
from workers.engines.query.noise import (
    ChoiceSampler,
    ThresholdNoise,
    VectorNoise,
    choice_sampler,
    threshold_noise,
    vector_noise,
)
from workers.engines.query.reading import (
    NoisyTree,
    number,
    read_bins_cell,
    read_choice_cell,
    read_mean,
    read_variance,
    scores,
)
from workers.engines.query.table import BoundedTable, Cell, public_cells

TRUNCATION_NOTE = (
    "Half-widths cover the added noise. They do not include what bounds and caps cut off, "
    "nor rows that carry no unit."
)
RECORD_NOTE = "Half-widths cover the added noise. They do not include what bounds cut off."
LINES_NOTE = (
    "Each line of the CSV file is one record: a line break ends it inside quotes too, "
    "so texts that hold line breaks belong into Parquet."
)
_COMPARED: Final[dict[str, Callable[[Fraction, Fraction], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
KEYS_NOTE = "Groups are shown where a noisy count of their units reaches a threshold."


@dataclass(frozen=True, slots=True)
class Samplers:
    """The noise of a plan, built and checked without rows.

    vectors: one sampler per noisy quantity; None in the place of the threshold.
    spread, choices: one each per noisy quantity of bins and per choice.
    """

    vectors: tuple[VectorNoise | None, ...]
    threshold: tuple[int, ThresholdNoise] | None
    spread: tuple[VectorNoise, ...] = ()
    choices: tuple[ChoiceSampler, ...] = ()


def build_samplers(plan: QueryPlan) -> Samplers:
    """Every sampler of a plan, each held against its charge.

    Raises:
        EngineRefused: a sampler's own privacy map says more than is charged.
    """
    threshold = None
    vectors: list[VectorNoise | None] = []
    for index, noisy in enumerate(plan.noisy):
        if noisy.threshold is None:
            vectors.append(vector_noise(noisy))
        else:
            vectors.append(None)
            threshold = (index, threshold_noise(noisy))
    return Samplers(
        vectors=tuple(vectors),
        threshold=threshold,
        spread=tuple(vector_noise(noisy) for noisy in plan.spread),
        choices=tuple(choice_sampler(choice) for choice in plan.choices),
    )


def release(
    plan: QueryPlan, dataset: Dataset, table: BoundedTable, samplers: Samplers
) -> dict[str, Any]:
    """The result document of a query: noisy cells only.

    Args:
        plan: what was charged.
        dataset: the public schema, for the types of the columns.
        table: the exact integers; nothing of it but their noisy forms leaves this function.
        samplers: the noise that `build_samplers` made from the same plan.
    """
    cells, noisy = _noisy_cells(plan, table, samplers)
    notes = [TRUNCATION_NOTE if plan.unit_column is not None else RECORD_NOTE]
    if dataset.source.format == "csv":
        notes.append(LINES_NOTE)
    if plan.spec.has_private_keys:
        notes.append(KEYS_NOTE)
    reader = _Reader(plan, table, samplers)
    rows = [
        (cell, {"keys": _keys(plan, cell), "cells": reader.cells(cell, values)})
        for cell, values in zip(cells, noisy, strict=True)
    ]
    return {
        "columns": _columns(plan, dataset),
        "rows": shown_rows(plan.spec, rows),
        "notes": notes,
    }


class _Reader:
    """Draws the noise of one group's bins and choices, and reads its cells."""

    def __init__(self, plan: QueryPlan, table: BoundedTable, samplers: Samplers) -> None:
        self._plan = plan
        self._samplers = samplers
        self._weights = dict(zip(plan.spreads, table.spreads, strict=False))

    def cells(self, cell: Cell, values: Sequence[int]) -> list[dict[str, Any]]:
        """All released cells of one group. Each noise is drawn once, however often it is read."""
        trees: dict[int, NoisyTree] = {}
        return [self._cell(output, cell, values, trees) for output in self._plan.outputs]

    def _cell(
        self, output: Output, cell: Cell, values: Sequence[int], trees: dict[int, NoisyTree]
    ) -> dict[str, Any]:
        plan, samplers = self._plan, self._samplers
        if output.kind == "choice":
            choice = plan.choices[output.value]
            weights = self._held(choice.selection.spread, cell)
            chosen = samplers.choices[output.value](scores(choice.selection, weights))
            return read_choice_cell(output, choice, chosen)
        if output.kind not in ("bins", "tree"):
            return _total_cell(plan, output, values)
        noisy = plan.spread[output.value]
        spread = noisy.quantity.spread
        if spread is None:
            raise TypeError("this quantity has no bins")
        weights = self._held(spread, cell)
        if output.kind == "bins":
            exact = [weights.get(place, 0) for place in range(spread.bins.size)]
            return read_bins_cell(output, noisy, samplers.spread[output.value](exact))
        if output.value not in trees:
            levels = tree_levels(plan.spread, output.value)
            noises = [samplers.spread[plan.spread.index(level)] for level in levels]
            trees[output.value] = NoisyTree(levels, noises, weights)
        return trees[output.value].cell(output)

    def _held(self, spread: Spread | Tally, cell: Cell) -> dict[int, int]:
        return self._weights.get(spread, {}).get(cell, {})


def shown_rows(
    spec: QuerySpec, rows: Sequence[tuple[Cell, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """What HAVING, ORDER BY and LIMIT leave of released rows; they see noisy values only."""
    kept = [
        (cell, row) for cell, row in rows if all(_holds(each, row["cells"]) for each in spec.having)
    ]
    for order in reversed(spec.order_by):
        kept.sort(key=partial(_rank, spec, order.by), reverse=order.descending)
    return [row for _, row in kept[: spec.limit]]


def _rank(spec: QuerySpec, by: str, row: tuple[Cell, dict[str, Any]]) -> Any:
    """What a row is ordered by: a key's value (a bin's place), else a released number."""
    cell, document = row
    for place, group in enumerate(spec.group_by):
        if group.column == by:
            return _order((cell[place],))
    return _value(document["cells"], by)


def _holds(condition: Having, cells: Sequence[Mapping[str, Any]]) -> bool:
    released = Fraction(_value(cells, condition.measure))
    return bool(_COMPARED[condition.op](released, Fraction(condition.value)))


def _value(cells: Sequence[Mapping[str, Any]], name: str) -> int | float:
    found: int | float = next(cell["value"] for cell in cells if cell["measure"] == name)
    return found


def _noisy_cells(
    plan: QueryPlan, table: BoundedTable, samplers: Samplers
) -> tuple[list[Cell], list[tuple[int, ...]]]:
    shown: dict[int, list[int]] = {}
    if samplers.threshold is None:
        cells = list(public_cells(plan))
    else:
        # Keys travel as numbers of a sorted list, so that no text of a row enters the sampler.
        index, show = samplers.threshold
        present = sorted(table.cells, key=_order)
        kept = show({place: table.cells[cell][index] for place, cell in enumerate(present)})
        places = sorted(kept)
        cells = [present[place] for place in places]
        shown[index] = [kept[place] for place in places]
    empty = (0,) * len(plan.noisy)
    exact = [table.cells.get(cell, empty) for cell in cells]
    for index, add in enumerate(samplers.vectors):
        if add is not None:
            shown[index] = add([values[index] for values in exact])
    drawn = [shown[index] for index in range(len(plan.noisy))]
    # A plan of choices alone has no total in any group.
    return cells, list(zip(*drawn, strict=True)) if drawn else [()] * len(cells)


def _order(cell: Cell) -> tuple[tuple[bool, Key], ...]:
    """Sorted by value, column by column; the group of rows without a value comes last."""
    return tuple((key is None, 0 if key is None else key) for key in cell)


def _columns(plan: QueryPlan, dataset: Dataset) -> list[dict[str, str]]:
    columns = []
    for group in plan.spec.group_by:
        column = dataset.column(group.column)
        type_ = "bin" if isinstance(group, Bins) or column is None else column.type
        columns.append({"name": group.column, "kind": "key", "type": type_})
    kinds = {"bins": "numbers", "top_k": "keys"}
    for output in plan.outputs:
        shape = kinds.get(output.kind) or kinds.get(output.measure.fn, "number")
        columns.append({"name": output.name, "kind": "measure", "type": shape})
    return columns


def _keys(plan: QueryPlan, cell: Cell) -> dict[str, Key | None]:
    keys: dict[str, Key | None] = {}
    for group, key in zip(plan.spec.group_by, cell, strict=True):
        if isinstance(group, Bins) and isinstance(key, int):
            keys[group.column] = group.labels()[key]
        elif isinstance(key, str):
            # Databases that store JSON refuse this character.
            keys[group.column] = key.replace("\x00", "\ufffd")
        else:
            keys[group.column] = key
    return keys


def _total_cell(plan: QueryPlan, output: Output, values: Sequence[int]) -> dict[str, Any]:
    noisy = plan.noisy[output.value]
    if output.kind == "mean" and output.count is not None:
        count = plan.noisy[output.count]
        value, width = read_mean(noisy, count, values[output.value], values[output.count])
    elif output.kind == "variance":
        value, width = read_variance(output, plan.noisy, values)
    else:
        grid = Fraction(output.measure.grid or 1)
        value = number(values[output.value] * grid)
        width = text_up(noisy.half_width_steps * grid, 6)
    return {
        "measure": output.name,
        "value": value,
        "half_width_95": width,
        "mechanism": noisy.noise,
    }
