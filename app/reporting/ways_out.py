"""The lawful ways on where a budget is used up, each with its figure where one can be computed.

None of them lowers what was spent: a lifetime loss is never given back (L3).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any, Final

DIGITS: Final = 100


@dataclass(frozen=True, slots=True)
class WaysOutFacts:
    """What is known of a budget; epsilons are decimal strings, None where there is no figure.

    opens_again_at: when the next period of a window begins.
    in_advance: PLD of all its work as if it had been one frozen plan.
    repeats, without_repeats: queries charged again though released before, and what the rest
        consumes.
    one_more_like_the_last: what would be consumed with the last charge once more.
    takes_two: whether raising it takes two people (L10).
    """

    budget_id: str
    kind: str
    consumed: str
    limit: str
    opens_again_at: str | None
    refresh_when: str | None
    has_time_blocks: bool
    in_advance: str | None
    repeats: int
    without_repeats: str | None
    reserved: str
    one_more_like_the_last: str | None
    takes_two: bool


def ways_out(facts: WaysOutFacts) -> list[dict[str, Any]]:
    """The ways in the order of what they cost people: none of them is free of a decision."""
    return [_wait(facts), _merge(facts), _plan(facts), _release(facts), _ask(facts)]


def _wait(facts: WaysOutFacts) -> dict[str, Any]:
    if facts.opens_again_at is not None and facts.refresh_when == "always":
        return _way(
            "wait",
            f"the next period begins at {facts.opens_again_at}; the lifetime goes on beside it",
            figures={"opens_again_at": facts.opens_again_at},
        )
    if facts.refresh_when == "new_data":
        return _way("wait", "the next period begins with a version of new rows", figures={})
    if facts.has_time_blocks:
        text = "rows of a new period are a new block with the whole limit, once it has closed"
        return _way("wait", text, figures={"for_a_new_block": facts.limit})
    text = "waiting gives nothing back: this budget has no periods, and a lifetime never renews"
    return _way("wait", text, is_open=False, figures={})


def _merge(facts: WaysOutFacts) -> dict[str, Any]:
    if not facts.repeats or facts.without_repeats is None:
        text = "no question was charged twice; an equal one is answered by its release at no charge"
        return _way("merge_queries", text, is_open=False, figures={"repeats": 0})
    text = (
        "questions were charged again that had been released before; leave `reuse` as it is, and"
        " ask several measures in one query, so that they share one count"
    )
    figures = {
        "repeats": facts.repeats,
        "consumed_without_repeats": facts.without_repeats,
        "would_have_been_spared": _difference(facts.consumed, facts.without_repeats),
    }
    return _way("merge_queries", text, figures=figures)


def _plan(facts: WaysOutFacts) -> dict[str, Any]:
    text = (
        "work that is known beforehand can be frozen as a plan, composed as tightly as is known;"
        " the budgets above are charged as for any work"
    )
    if facts.in_advance is None:
        return _way("frozen_plan", text, figures={})
    figures = {"this_work_if_fixed_in_advance": facts.in_advance, "consumed": facts.consumed}
    return _way("frozen_plan", text, figures=figures)


def _release(facts: WaysOutFacts) -> dict[str, Any]:
    if facts.reserved == "0":
        return _way("let_reservations_end", "nothing is reserved", is_open=False, figures={})
    text = "what is reserved and not started comes back when its work ends or is cancelled"
    return _way("let_reservations_end", text, figures={"at_most": facts.reserved})


def _ask(facts: WaysOutFacts) -> dict[str, Any]:
    who = "two people" if facts.takes_two else "one compliance officer, within the budgets above"
    text = f"a higher limit is a decision of {who}; what was promised before is then no longer kept"
    figures: dict[str, Any] = {"limit": facts.limit}
    if facts.one_more_like_the_last is not None:
        figures["limit_for_one_more_like_the_last"] = facts.one_more_like_the_last
    return _way(
        "ask_for_more", text, figures=figures, route=f"/v1/budgets/{facts.budget_id}/changes"
    )


def _way(
    name: str,
    text: str,
    *,
    figures: Mapping[str, Any],
    is_open: bool = True,
    route: str | None = None,
) -> dict[str, Any]:
    return {"way": name, "is_open": is_open, "text": text, "figures": figures, "route": route}


def _difference(more: str, less: str) -> str | None:
    with localcontext(prec=DIGITS):
        found = Decimal(more) - Decimal(less)
        return format(found.normalize(), "f") if found.is_finite() else None
