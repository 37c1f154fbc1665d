"""From a checked profile to its noise: a query over units, planned by the planner of queries.

A profile is one row of histograms and quantiles, with no groups to show. What it costs is priced,
reserved, started and posted as a query is; afterwards the release is read at no charge.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from app.domain.datasets import Dataset
from app.domain.errors import NominalSizeTooSmall
from app.domain.mechanisms.parsing import Part
from app.domain.profiles.spec import Grouping, ProfileSpec
from app.domain.queries.asking import Asking, spread_of
from app.domain.queries.parsing import CONFIDENCE
from app.domain.queries.planning import QueryPlan, plan_asked
from app.domain.queries.preview import noise_json
from app.domain.queries.quantities import EdgeBins, Output, Quantity, Selection, Tally
from app.domain.queries.spec import Measure, QuerySpec

# below this many ranks' worth of epsilon a quantile is noise alone (R27)
RANKS_LEAST: Final = 200


@dataclass(frozen=True, slots=True)
class ProfilePlan:
    """What the engine does for a profile, and what is charged for it.

    query: the plan of its histograms and quantiles: one group, which is shown whatever the data.
    """

    spec: ProfileSpec
    query: QueryPlan

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is reserved and charged: one unit of each mechanism."""
        return self.query.parts


def plan_profile(spec: ProfileSpec, dataset: Dataset, pointer: str = "/spec") -> ProfilePlan:
    """The noise of a profile, and the parts that pay for it (R24).

    Sensitivity, for one unit added or removed:

    - Groups per unit, and rows per unit: each unit is one entry in one bin, made of its own rows
      (`Tally`). The histogram moves by 1 in L1, whatever the unit's rows are.
    - Rows per group: each unit gives its groups equal shares of one entry, rounded toward zero. In
      shares of 1/1024 the histogram moves by at most 1024 in L1.
    - Quantiles: the rows of one unit weigh `max_rows` rows together at most (`Spread`); the score
      of an edge is minus its distance in rank, which that moves by at most max_rows x max(q, 1-q).
      The exponential mechanism is charged once for each quantile (R24, R27).

    There are no groups to cut, so L0 is 1. Under `replace_one` one unit leaves and another comes:
    every bound above doubles, and so does the noise, while the charge is that of one unit, which
    `price` converts (R7). A unit is a record, a user, or what a user has in one period: the proof
    speaks of a unit's own rows alone. What comes out is the same in shape whatever the rows.

    Args:
        spec: a profile that `parse_profile` made of the same dataset.
        dataset: what is profiled; of a dataset with blocks, as large as those of the job.
        pointer: where the spec stands in the request.

    Raises:
        NominalSizeTooSmall: a quantile's epsilon is below 200 / nominal size (R27).
        RangeTooWide: bins or noise could leave exact integers.
        InvalidParameter: a share of the target is too small to be priced.
    """
    size = dataset.nominal_size or 1
    asked = Asking()
    for grouping in spec.groupings:
        tallies = tallies_of(grouping)
        for tally in tallies:
            quantity = Quantity("bins", bound=tally.bound, spread=tally)
            share = Fraction(grouping.weight) / len(tallies)
            asked.reads(Output(_HISTOGRAM, 0, kind="bins", name=tally.of), share, quantity)
    for index, measure in enumerate(spec.values):
        at = f"{pointer}/values/{index}"
        spread = spread_of(measure, dataset, spec.max_rows, size, at)
        share = Fraction(measure.weight) / len(measure.quantiles)
        for quantile, name in zip(measure.quantiles, measure.output_names, strict=True):
            output = Output(measure, 0, kind="choice", quantile=quantile, name=name)
            asked.reads(output, share, Selection(spread, quantile))
    query = QuerySpec(
        where=(),
        group_by=(),
        measures=spec.values,
        max_groups=1,
        max_rows=spec.max_rows,
        epsilon=spec.epsilon,
        delta=spec.delta,
        noise=spec.noise,
        confidence=CONFIDENCE,
    )
    plan = plan_asked(query, dataset, asked, groups=1, cells=1, pointer=pointer)
    least = min((choice.epsilon for choice in plan.choices), default=None)
    if least is not None and least * size < RANKS_LEAST:
        needed = math.ceil(RANKS_LEAST / Fraction(least))
        raise NominalSizeTooSmall(f"{pointer}/privacy/epsilon", needed, size)
    return ProfilePlan(spec, plan)


def tallies_of(grouping: Grouping) -> tuple[Tally, ...]:
    """What is counted of a grouping; where nothing is grouped, nobody has more than one group."""
    rows = Tally(grouping.by, "rows", EdgeBins(public_edges(grouping.rows_most)))
    if not grouping.by:
        return (rows,)
    return (Tally(grouping.by, "groups", EdgeBins(public_edges(grouping.groups_most))), rows)


def public_edges(most: int) -> tuple[Decimal, ...]:
    """Edges of bins of whole numbers: 1, 2, 3, 4, 6, 8, 12, ... to `most`, the same for all data.

    The last bin is from `most` on; its upper edge says nothing but that it is there.
    """
    edges, step = [1], 1
    while edges[-1] + step < most:
        edges.append(edges[-1] + step)
        if edges[-1] >= 4 * step:
            step *= 2
    if edges[-1] < most:
        edges.append(most)
    return tuple(Decimal(edge) for edge in (*edges, most + 1))


def profile_figures(plan: ProfilePlan) -> dict[str, Any]:
    """What a quote of a profile shows beside the charge; it follows from the request alone."""
    predicted = iter(plan.query.predicted)
    groupings = [
        {tally.of: next(predicted).half_width_95 for tally in tallies_of(grouping)}
        for grouping in plan.spec.groupings
    ]
    values = [{"quantile": each.measure, "in_ranks": each.half_width_95} for each in predicted]
    return {
        "half_widths": {"groupings": groupings, "values": values},
        "noise": noise_json(plan.query),
    }


# what a cell of a tally is read as
_HISTOGRAM: Final = Measure("histogram", None, None, None, None, Decimal(1))
