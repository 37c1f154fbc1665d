"""A released profile: its document, and what is read from it. Post-processing of noisy figures.

Nothing here sees a row: whatever is computed costs nothing more.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

from app.domain.datasets import Dataset
from app.domain.decimals import decimal_text
from app.domain.profiles.parsing import parse_profile
from app.domain.profiles.planning import ProfilePlan, tallies_of
from app.domain.profiles.spec import groups_key


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many units have so many groups, or so many rows in a group: shares of the units.

    numbers: the middle of each bin, of the last one its lower end. weights: estimated units.
    """

    numbers: tuple[float, ...]
    weights: tuple[float, ...]

    @property
    def total(self) -> float:
        """All groups of all units, or all rows."""
        return sum(n * weight for n, weight in zip(self.numbers, self.weights, strict=True))

    def lost_share(self, cap: int) -> float | None:
        """The share of the total that lies above a cap on each unit; None where nothing is left."""
        if self.total <= 0:
            return None
        above = (max(0.0, n - cap) for n in self.numbers)
        lost = sum(n * weight for n, weight in zip(above, self.weights, strict=True))
        return lost / self.total


@dataclass(frozen=True, slots=True)
class Values:
    """A column's values as straight lines between released quantiles, within the profile's bounds.

    points: value and the share of values below it, both rising.
    """

    points: tuple[tuple[float, float], ...]

    def below(self, bound: float) -> float:
        """The share of values below a bound."""
        return sum(share * _share_below(bound, low, high) for low, high, share in self._pieces())

    def above(self, bound: float) -> float:
        """The share of values above a bound."""
        return sum(share * _share_below(-bound, -high, -low) for low, high, share in self._pieces())

    def cut(self, low: float, high: float) -> tuple[float, float]:
        """How far clamping to two bounds raises and lowers the mean of the values."""
        raised = lowered = 0.0
        for first, last, share in self._pieces():
            raised += share * _mean_below(low, first, last)
            lowered += share * _mean_below(-high, -last, -first)
        return raised, lowered

    def _pieces(self) -> list[tuple[float, float, float]]:
        return [(a, b, q - p) for (a, p), (b, q) in pairwise(self.points)]


@dataclass(frozen=True, slots=True)
class Profile:
    """What a released profile says.

    version: of the dataset. released_on: the day.
    groups, rows: by `groups_key`; values: by column.
    """

    version: int
    released_on: str
    groups: Mapping[frozenset[object], Sizes]
    rows: Mapping[frozenset[object], Sizes]
    values: Mapping[str, Values]


def profile_json(plan: ProfilePlan, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The result document of a profile.

    Args:
        plan: what was charged.
        cells: the released cells of its one group, as the release of a query gives them.
    """
    taken = iter(cells)
    groupings = []
    for grouping in plan.spec.groupings:
        document: dict[str, Any] = {"by": [group.to_json() for group in grouping.by]}
        for tally in tallies_of(grouping):
            cell = next(taken)
            document[tally.of] = {
                "from": [int(edge) for edge in tally.bins.edges[:-1]],
                "units": cell["value"],
                "half_width_95": cell["half_width_95"],
                "mechanism": cell["mechanism"],
            }
        groupings.append(document)
    values = []
    for measure in plan.spec.values:
        found = [(quantile, next(taken)) for quantile in measure.quantiles]
        values.append(
            {
                "col": measure.column,
                "lo": decimal_text(measure.low or Decimal(0)),
                "hi": decimal_text(measure.high or Decimal(0)),
                "quantiles": [
                    {
                        "q": decimal_text(quantile),
                        "value": cell["value"],
                        "rank_half_width_95": cell["rank_half_width_95"],
                        "mechanism": cell["mechanism"],
                    }
                    for quantile, cell in found
                ],
            }
        )
    return {"v": 1, "groupings": groupings, "values": values}


def read_profile(
    document: Mapping[str, Any], spec: object, dataset: Dataset, *, version: int, released_on: str
) -> Profile:
    """Read a released profile; noise is smoothed away as far as the shape of a histogram allows.

    Args:
        document: what `profile_json` made and a job released.
        spec: the job's own spec, as stored.
        dataset: of which it is.
        version: of the dataset that the job read.
        released_on: the day, ISO.

    Raises:
        DomainError: the stored spec does not fit the dataset.
    """
    asked = parse_profile(spec, dataset)
    groups, rows = {}, {}
    for grouping, told in zip(asked.groupings, document["groupings"], strict=True):
        key = groups_key(grouping.by)
        rows[key] = _sizes(told["rows"])
        if "groups" in told:
            groups[key] = _sizes(told["groups"])
    values = {}
    for each in document["values"]:
        values[each["col"]] = _values(each)
    return Profile(version, released_on, groups, rows, values)


def _sizes(told: Mapping[str, Any]) -> Sizes:
    ends = told["from"]
    middles = [(low + high - 1) / 2 for low, high in pairwise(ends)]
    weights = smoothed(told["units"], float(told["half_width_95"]))
    return Sizes((*middles, float(ends[-1])), tuple(weights))


def smoothed(noisy: Sequence[float], half_width: float) -> list[float]:
    """The nearest histogram without negative bins, by least squares on the sums of its tails.

    A tail that does not rise above its own noise counts as empty: the last bins are the ones whose
    noise would weigh most. Consistency is post-processing (Hay, Rastogi, Miklau, Suciu 2010).
    """
    tails: list[float] = []
    total = 0.0
    for count, each in enumerate(reversed(noisy), 1):
        total += each
        tails.append(total if total > half_width * math.sqrt(count) else 0.0)
    # rising from the last tail to the first: pool neighbours that do not rise
    pools: list[tuple[float, int]] = []
    for tail in tails:
        pools.append((tail, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (first, many), (second, few) = pools[-2:]
            pools[-2:] = [((first * many + second * few) / (many + few), many + few)]
    rising = [value for value, count in pools for _ in range(count)]
    bins = [after - before for before, after in pairwise([0.0, *rising])]
    return bins[::-1]


def _values(told: Mapping[str, Any]) -> Values:
    low, high = float(told["lo"]), float(told["hi"])
    shares = sorted(float(each["q"]) for each in told["quantiles"])
    found = sorted(min(max(float(each["value"]), low), high) for each in told["quantiles"])
    return Values(((low, 0.0), *zip(found, shares, strict=True), (high, 1.0)))


def _share_below(bound: float, first: float, last: float) -> float:
    """The share of [first, last] below a bound."""
    if bound <= first:
        return 0.0
    return 1.0 if bound >= last else (bound - first) / (last - first)


def _mean_below(bound: float, first: float, last: float) -> float:
    """The mean of max(0, bound - x) for x spread evenly over [first, last]."""
    if bound <= first:
        return 0.0
    if bound >= last:
        return bound - (first + last) / 2
    return (bound - first) ** 2 / (2 * (last - first))
