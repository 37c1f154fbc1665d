"""The officer's statement of a plan: one figure, of its whole, and what it rests on (R10, L9).

The figure is composed over slots that were frozen before the first output. It is no bound of a
filter and is never printed as one: the lifetime budget stands beside it with its own label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.reporting.statement import (
    IDEAL_GAUSSIAN,
    LIMITS,
    OUTSIDE_RUNNERS,
    OUTSIDE_TOOLS,
    PUBLIC_ASSUMPTIONS,
    risk_figures,
)

FROZEN_SLOTS: Final = (
    "the slots of the plan were frozen before its first output, and nothing runs in it but them"
)
ANY_ORDER: Final = "slots may be used in any order, chosen by what was seen, and be left unused"


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """Public facts of one frozen plan.

    epsilon: of the whole plan at the limit's delta, rounded up.
    slots: name, count, used, reserved and left of each.
    lifetime: the root's limit and consumed amounts.
    outside_slots: the dates on which work that no slot names was put on record.
    assumptions: more of them, from what was charged.
    """

    dataset: str
    budget: str
    unit: str
    relation: str
    limit: Mapping[str, str]
    epsilon: str
    digest: str
    slots: Sequence[Mapping[str, Any]]
    has_training: bool
    has_outside_tools: bool
    has_outside_runners: bool
    since: str
    entries: int
    head_hash: str
    lifetime: Mapping[str, Mapping[str, str]]
    outside_slots: Sequence[str] = ()
    assumptions: Sequence[str] = ()


def officer_plan_statement(facts: PlanFacts) -> dict[str, Any]:
    """The statement as text lines and as the figures behind them."""
    whole = risk_figures(float(facts.epsilon), float(facts.limit["delta"]))
    return {
        "audience": "officer",
        "budget": facts.budget,
        "dataset": facts.dataset,
        "scope": _scope(facts),
        "unit": facts.unit,
        "relation": facts.relation,
        "accountant": "plan-pld/1",
        "proven_bound": None,
        "if_fixed_in_advance": {
            "epsilon": facts.epsilon,
            "delta": facts.limit["delta"],
            "holds_for": "the plan as a whole, every slot used up, in any order",
        },
        "limit": dict(facts.limit),
        "plan": {"digest": facts.digest, "slots": [dict(slot) for slot in facts.slots]},
        "lifetime": {name: dict(amount) for name, amount in facts.lifetime.items()},
        "risk_if_used_up": whole,
        "assumptions": _assumptions(facts),
        "limits": list(LIMITS),
        "ledger": {"entries": facts.entries, "head_hash": facts.head_hash},
        "text": _text(facts, whole),
    }


def _text(facts: PlanFacts, whole: Mapping[str, Any]) -> list[str]:
    consumed, limit = facts.lifetime["consumed"], facts.lifetime["limit"]
    return [
        f"Somebody who knows everything except whether one {facts.unit} was in {facts.dataset}, and"
        " who guesses blindly, is right 50 times in 100. With everything that this plan can ever"
        f" release they are right at most {whole['best_guess_per_100']} times in 100.",
        f"If fixed in advance (PLD): epsilon {facts.epsilon} at delta {facts.limit['delta']} when"
        f" every slot is used up, of epsilon {facts.limit['epsilon']} allowed. A plan that is half"
        " used has no smaller figure.",
        *(
            f"Slot {slot['name']}: {slot['used']} of {slot['count']} units used,"
            f" {slot['reserved']} reserved for jobs under way, {slot['left']} left."
            for slot in facts.slots
        ),
        *(
            f"Work that no slot names was put on record on {date} and ended the plan: its figure"
            " does not count it, the lifetime budget does."
            for date in facts.outside_slots
        ),
        _scope(facts),
        f"Protected: one {facts.unit}, neighbouring relation {facts.relation}. This figure assumes"
        f" that {FROZEN_SLOTS}; {ANY_ORDER}.",
        f"Lifetime of {facts.dataset}, proven for any order of jobs: {consumed['epsilon']} of"
        f" epsilon {limit['epsilon']} is consumed at delta {limit['delta']}.",
    ]


def _scope(facts: PlanFacts) -> str:
    return (
        f"This is a plan: it counts what was started in its slots since {facts.since}. Its figure"
        " bounds what is learnt from these jobs alone; the lifetime budget of the dataset, to which"
        " they are charged as well, bounds all jobs together."
    )


def _assumptions(facts: PlanFacts) -> list[str]:
    found = [FROZEN_SLOTS, *PUBLIC_ASSUMPTIONS]
    if facts.has_training:
        found.append(IDEAL_GAUSSIAN)
    if facts.has_outside_runners:
        found.append(OUTSIDE_RUNNERS)
    if facts.has_outside_tools:
        found.append(OUTSIDE_TOOLS)
    return [*found, *facts.assumptions]
