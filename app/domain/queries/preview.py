"""What a quote shows of a query beside its charge; all of it follows from the request alone.

What bounds and caps will cut off depends on rows: `app.domain.profiles` tells it from a profile
that was paid for.
"""

from decimal import Decimal
from typing import Any

from app.domain.decimals import decimal_text
from app.domain.queries.noise import noise_of
from app.domain.queries.planning import QueryPlan
from app.domain.queries.prediction import tree_levels
from app.domain.queries.quantities import Choice, NoisyQuantity, Output, Tally
from app.domain.queries.spec import Bins, GroupBy, PrivateKeys

Drawn = NoisyQuantity | Choice


def preview(plan: QueryPlan) -> dict[str, Any]:
    """The plan of a query in words and numbers: what is drawn, from what, with which error.

    The draws stand in the order of the parts that are charged. A group of so many units is
    shown with a chance of one half at its threshold, and of 99% where the noise falls short of it
    in one release of a hundred.
    """
    shown: dict[str, Any] = {
        "plan": {
            "unit": "record" if plan.unit_column is None else _unit(plan),
            "where": [predicate.to_json() for predicate in plan.spec.where],
            "groups": [_group(group) for group in plan.spec.group_by],
            "public_groups": plan.public_cells,
            "max_groups": plan.groups,
            "max_rows": plan.rows,
            "draws": [_draw(each) for each in _drawn(plan)],
        },
        "half_widths": {error.measure: error.half_width_95 for error in plan.predicted},
        "predicted": [
            {
                "measure": error.measure,
                "half_width_95": error.half_width_95,
                "unit": "rows in rank" if error.in_ranks else "value",
                "draws": _places(plan, output),
                **({} if error.assumed_count is None else {"assumed_count": error.assumed_count}),
            }
            for output, error in zip(plan.outputs, plan.predicted, strict=True)
        ],
        "noise": noise_json(plan),
        "bounds": {"max_groups": plan.groups, "max_rows": plan.rows},
        "spec_sha256": plan.spec.spec_sha256,
    }
    guard = next((each for each in plan.noisy if each.threshold is not None), None)
    if guard is not None and guard.threshold is not None:
        above = noise_of(guard.noise, guard.scale).half_width(Decimal("0.98"))
        shown["group_size_shown"] = {
            "with_chance_0.5": guard.threshold,
            "with_chance_0.99": guard.threshold + above,
        }
    return shown


def noise_json(plan: QueryPlan) -> list[dict[str, str]]:
    """The noise of every draw, in the order of the parts that are charged."""
    return [
        {
            "mechanism": each.noise if isinstance(each, NoisyQuantity) else "exponential",
            "scale": decimal_text(each.scale),
        }
        for each in _drawn(plan)
    ]


def _drawn(plan: QueryPlan) -> list[Drawn]:
    return [*plan.noisy, *plan.spread, *plan.choices]


def _unit(plan: QueryPlan) -> str:
    return "user_period" if plan.has_periods else "user"


def _group(group: GroupBy) -> dict[str, Any]:
    keys = "private" if isinstance(group, PrivateKeys) else "public"
    return {"col": group.column, "keys": "bins" if isinstance(group, Bins) else keys}


def _draw(drawn: Drawn) -> dict[str, Any]:
    """One noise: what it is on, and how far one unit moves that in a group."""
    document: dict[str, Any] = {"of": _what(drawn), "scale": decimal_text(drawn.scale)}
    if isinstance(drawn, Choice):
        return {
            **document,
            "mechanism": "exponential",
            "epsilon_of_one_draw": decimal_text(drawn.epsilon),
            "moved_by_one_unit": drawn.sensitivity,
        }
    document["mechanism"] = drawn.noise
    document["moved_by_one_unit"] = drawn.quantity.bound
    document["half_width_95"] = str(drawn.half_width_steps)
    if drawn.threshold is not None:
        document["threshold"] = drawn.threshold
    return document


def _what(drawn: Drawn) -> str:
    """What a draw is on, in the words of the plan: `rows`, `sum(distance)`, `units`."""
    if isinstance(drawn, Choice):
        quantile = drawn.selection.quantile
        if quantile is None:
            return f"top keys({drawn.selection.spread.column})"
        return f"quantile({drawn.selection.spread.column}, {format(quantile.normalize(), 'f')})"
    quantity = drawn.quantity
    if isinstance(quantity.spread, Tally):
        by = ", ".join(quantity.spread.columns)
        return f"units by {quantity.spread.of}" + (f" of ({by})" if by else "")
    column = quantity.column or ""
    match quantity.kind:
        case "units":
            return "units"
        case "count":
            return f"values({column})" if column else "rows"
        case "sum":
            return f"sum({column})"
        case "centred_sum":
            return f"sum about the centre({column})"
        case "centred_square":
            return f"squares about the centre({column})"
        case "bins":
            return f"histogram({column})"
        case "level":
            return f"level {quantity.level} of a tree({column})"


def _places(plan: QueryPlan, output: Output) -> list[int]:
    """The draws that a measure is read from, by their places."""
    first_spread = len(plan.noisy)
    if output.kind == "choice":
        return [first_spread + len(plan.spread) + output.value]
    if output.kind == "bins":
        return [first_spread + output.value]
    if output.kind == "tree":
        levels = tree_levels(plan.spread, output.value)
        return [first_spread + plan.spread.index(level) for level in levels]
    places = (output.value, output.count, output.square)
    return [place for place in places if place is not None]
