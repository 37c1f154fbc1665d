"""What bounds and caps will cut off a query, and which would be better, by a released profile.

Noise is known from the request; truncation is a matter of rows, and often the larger error. A
profile that was paid for tells it at no charge, to within its own noise: shares of all rows of the
dataset, with groups of one unit taken to be alike.
"""

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from app.domain.datasets import Dataset
from app.domain.profiles.planning import public_edges
from app.domain.profiles.released import Profile, Values
from app.domain.profiles.spec import groups_key
from app.domain.queries.planning import QueryPlan
from app.domain.queries.quantities import Output
from app.domain.queries.spec import Measure

NO_PROFILE: Final = "no profile of this dataset has been released"
JOINED: Final = "a profile knows the dataset alone, not what it is joined with"
OTHER_GROUPS: Final = "the newest profile counted other groups"
OTHER_COLUMN: Final = "the newest profile has no quantiles of this column"
NOTHING_LEFT: Final = "the newest profile has nothing here above its own noise"
NO_CAPS: Final = "a record is one row in one group; no cap cuts it"
ROWS_NOTE: Final = "Shares are of all rows of the profiled version, whatever the predicates."
NOISE_NOTE: Final = "They are read from noisy figures, and take the groups of one unit to be alike."

_OF_UNITS: Final = ("count_distinct", "top_k")
_CLAMPED: Final = ("sum", "mean", "variance", "stdev")


def expectation(plan: QueryPlan, dataset: Dataset, profile: Profile | None) -> dict[str, Any]:
    """`truncation` and `proposed` of a quote; what cannot be told is null, with the reason.

    Args:
        plan: of the query.
        dataset: its first input.
        profile: the newest that was released of the dataset; None where there is none.
    """
    if plan.spec.joins:
        return _Expectation(plan, dataset, None, JOINED).to_json()
    return _Expectation(plan, dataset, profile, NO_PROFILE).to_json()


class _Expectation:
    def __init__(
        self, plan: QueryPlan, dataset: Dataset, profile: Profile | None, why_none: str
    ) -> None:
        self._plan = plan
        self._dataset = dataset
        self._profile = profile
        self._why_none = why_none
        key = groups_key(plan.spec.group_by)
        self._rows = None if profile is None else profile.rows.get(key)
        self._groups = None if profile is None else profile.groups.get(key)
        self._of_records = plan.unit_column is None

    def to_json(self) -> dict[str, Any]:
        profile = self._profile
        return {
            "truncation": {
                "profile": None
                if profile is None
                else {"version": profile.version, "released_on": profile.released_on},
                "max_groups": _told(*self._lost_by_groups(self._plan.groups)),
                "max_rows": _told(*self._lost_by_rows(self._plan.rows)),
                "measures": [self._measure(output) for output in self._plan.outputs],
                "notes": [ROWS_NOTE, NOISE_NOTE],
            },
            "proposed": self._proposed(),
        }

    def _lost_by_groups(self, most: int) -> tuple[float | None, str | None]:
        """The share of (unit, group) pairs that L0 cuts."""
        cells = self._plan.public_cells
        if self._of_records or (cells is not None and cells <= most):
            return 0.0, None
        if self._groups is None:
            return None, self._why(OTHER_GROUPS)
        share = self._groups.lost_share(most)
        return share, None if share is not None else NOTHING_LEFT

    def _lost_by_rows(self, most: int) -> tuple[float | None, str | None]:
        """The share of rows that the cap of rows a group cuts."""
        if self._of_records:
            return 0.0, None
        if self._rows is None:
            return None, self._why(OTHER_GROUPS)
        share = self._rows.lost_share(most)
        return share, None if share is not None else NOTHING_LEFT

    def _why(self, otherwise: str) -> str:
        return self._why_none if self._profile is None else otherwise

    def _measure(self, output: Output) -> dict[str, Any]:
        measure = output.measure
        lost, reason = self._lost_by_groups(self._plan.groups)
        of = "units" if measure.fn in _OF_UNITS else "rows"
        if of == "rows":
            by_rows, why_rows = self._lost_by_rows(self._plan.rows)
            reason = reason or why_rows
            known = lost is not None and by_rows is not None
            lost = 1 - (1 - (lost or 0)) * (1 - (by_rows or 0)) if known else None
        document = {"measure": output.name, "of": of, **_told(lost, reason)}
        if measure.low is None or measure.high is None:
            return document
        values = self._values(measure)
        if values is None:
            return {**document, "bounds": _bounds(None, self._why(OTHER_COLUMN))}
        low, high = float(measure.low), float(measure.high)
        raised, lowered = values.cut(low, high)
        told = {
            "share_below": _text(values.below(low)),
            "share_above": _text(values.above(high)),
            "mean_moves_by": _text(raised - lowered),
        }
        return {**document, "bounds": _bounds(told, None)}

    def _values(self, measure: Measure) -> Values | None:
        if self._profile is None or measure.column is None:
            return None
        return self._profile.values.get(measure.column)

    def _proposed(self) -> dict[str, Any]:
        caps, reason = self._caps()
        return {
            "bounds": caps,
            "reason": reason,
            "measures": [
                {"measure": output.name, **self._range(output.measure, place)}
                for place, output in enumerate(self._plan.outputs)
                if output.measure.fn in _CLAMPED
            ],
        }

    def _caps(self) -> tuple[dict[str, int] | None, str | None]:
        """The caps with the least truncation and noise together, for the first measure."""
        if self._of_records:
            return None, NO_CAPS
        if self._rows is None:
            return None, self._why(OTHER_GROUPS)
        groups, rows = self._most_groups(), self._most_rows()
        by_groups = {n: self._lost_by_groups(n)[0] for n in _up_to(groups)}
        by_rows = {n: self._lost_by_rows(n)[0] for n in _up_to(rows)}
        total, noise = self._rows_a_group(), self._noise_rows(0)
        if total is None:
            return None, NOTHING_LEFT
        counts_units = self._plan.outputs[0].measure.fn in _OF_UNITS

        def error(caps: tuple[int, int]) -> float:
            cut = by_groups[caps[0]] or 0.0
            kept = 1.0 if counts_units else 1 - (by_rows[caps[1]] or 0.0)
            lost = total * (1 - (1 - cut) * kept)
            spread = self._spread(caps[0])
            return lost + noise * spread * (1 if counts_units else caps[1])

        of_rows = [self._plan.rows] if counts_units else list(by_rows)
        best = min(
            ((n, m) for n in by_groups for m in of_rows), key=lambda caps: (error(caps), caps)
        )
        return {"max_groups": best[0], "max_rows": best[1]}, None

    def _most_groups(self) -> int:
        unit = self._dataset.unit
        declared = 1 if unit is None else unit.max_groups_per_user or 1
        cells = self._plan.public_cells
        return declared if cells is None else min(declared, cells)

    def _most_rows(self) -> int:
        unit = self._dataset.unit
        return 1 if unit is None else unit.max_rows_per_user_group or 1

    def _rows_a_group(self) -> float | None:
        """Rows (units, where these are counted) in an even group, before any cap.

        Of private keys no number is known: as many groups as could reach their threshold.
        """
        if self._rows is None:
            return None
        counts_units = self._plan.outputs[0].measure.fn in _OF_UNITS
        units = sum(self._rows.weights)
        # without groups everybody is in the one that there is
        pairs = units if self._groups is None else self._groups.total
        a_pair = 1.0 if counts_units or units <= 0 else self._rows.total / units
        shown = max((each.threshold or 1 for each in self._plan.noisy), default=1)
        cells = self._plan.public_cells or max(1.0, pairs / shown)
        found = pairs * a_pair / cells
        return found if found > 0 else None

    def _noise_rows(self, place: int) -> float:
        """The 95% half-width of an output in rows at full reach, at caps of one."""
        plan = self._plan
        output, error = plan.outputs[place], plan.predicted[place]
        if output.kind in ("total", "mean", "variance"):
            noisy = plan.noisy[output.value]
            rows = noisy.half_width_steps / noisy.quantity.bound
        else:
            rows = float(error.half_width_95) / plan.rows
        return rows / self._spread(plan.groups)

    def _spread(self, groups: int) -> float:
        """How noise grows with L0: with its root where it is Gaussian (R24)."""
        is_gaussian = any(each.noise == "discrete_gaussian" for each in self._plan.noisy)
        return math.sqrt(groups) if is_gaussian else groups

    def _range(self, measure: Measure, place: int) -> dict[str, Any]:
        """The bounds with the least clipping and noise together, among the released quantiles."""
        values = self._values(measure)
        if values is None or measure.low is None or measure.high is None:
            return {"lo": None, "hi": None, "reason": self._why(OTHER_COLUMN)}
        plan = self._plan
        rows = self._rows_a_group() or float(plan.predicted[place].assumed_count or 1)
        noise = self._noise_rows(place) * self._spread(plan.groups) * plan.rows
        grid = measure.grid or Decimal(1)
        found = [value for value, _ in values.points]
        lows = {measure.low, Decimal(0), *(_on_grid(each, grid, math.floor) for each in found)}
        highs = {measure.high, Decimal(0), *(_on_grid(each, grid, math.ceil) for each in found)}

        def error(bounds: tuple[Decimal, Decimal]) -> float:
            low, high = (float(bound) for bound in bounds)
            reach = max(abs(low), abs(high)) if measure.fn == "sum" else (high - low) / 2
            return rows * sum(values.cut(low, high)) + noise * reach

        pairs = [(low, high) for low in sorted(lows) for high in sorted(highs) if low < high]
        low, high = (format(bound.normalize(), "f") for bound in min(pairs, key=error))
        return {"lo": low, "hi": high, "reason": None}


def _up_to(most: int) -> Sequence[int]:
    return [int(edge) for edge in public_edges(most)[:-1]]


def _on_grid(value: float, grid: Decimal, to: Callable[[Fraction], int]) -> Decimal:
    """A value on the grid, rounded outward."""
    return to(Fraction(value) / Fraction(grid)) * grid


def _told(share: float | None, reason: str | None) -> dict[str, Any]:
    return {"lost_share": None if share is None else _text(share), "reason": reason}


def _bounds(told: dict[str, str] | None, reason: str | None) -> dict[str, Any]:
    empty = {"share_below": None, "share_above": None, "mean_moves_by": None}
    return {**(empty if told is None else told), "reason": reason}


def _text(value: float) -> str:
    return f"{value + 0.0:.4g}"
