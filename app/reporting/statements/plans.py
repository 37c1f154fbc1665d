"""Statements of a plan: one figure, of its whole, and what it rests on (R10, L9).

The figure is composed over slots that were frozen before the first output. It is no bound of a
filter and is never printed as one: the lifetime budget stands beside it with its own label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from app.domain.datasets import UnitOfPrivacy
from app.domain.partitions import Blocks
from app.reporting.statements.auditor import NOTHING_MORE, AuditorFacts
from app.reporting.statements.facts import Description, LimitChange, unit_text
from app.reporting.statements.figures import risk_figures
from app.reporting.statements.native import fixed_figures
from app.reporting.statements.rounding import one_in, times_in_100
from app.reporting.statements.subject import banded, linked_line, strength, who_text
from app.reporting.statements.wording import (
    ANY_ORDER,
    ANY_SLOTS,
    FOOTER,
    FROZEN_SLOTS,
    LIMIT_STAYS,
    LIMITS,
    PUBLISHED,
    hidden,
    lifetime_history_text,
    made_assumptions,
    unit_words,
)

WHOLE_PLAN = "the plan as a whole, every slot used up, in any order"


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """Public facts of one frozen plan.

    epsilon: of the whole plan at the limit's delta, rounded up.
    slots: name, mechanism, count, used, reserved and left of each.
    lifetime: the root's limit and consumed amounts; `lifetime_bound_delta` where its bound holds,
        `lifetime_changes` how its limit moved.
    outside_slots: the dates on which work that no slot names was put on record.
    assumptions: more of them, from what was charged.
    published_from: since when results of the dataset are published, if any are.
    """

    dataset: str
    budget: str
    unit: UnitOfPrivacy
    relation: str
    limit: Mapping[str, str]
    epsilon: str
    digest: str
    slots: Sequence[Mapping[str, Any]]
    has_training: bool
    has_outside_tools: bool
    has_outside_runners: bool
    since: str
    as_of: str
    entries: int
    head_hash: str
    lifetime: Mapping[str, Mapping[str, str]]
    lifetime_bound_delta: str | None = None
    lifetime_changes: Sequence[LimitChange] = ()
    outside_slots: Sequence[str] = ()
    assumptions: Sequence[str] = ()
    published_from: str | None = None
    blocks: Blocks | None = None
    description: Description = field(default_factory=Description)


def subject_plan_statement(facts: PlanFacts) -> dict[str, Any]:
    """What one person in the data may expect of a plan, and of everything else beside it."""
    whole = risk_figures(facts.epsilon, facts.limit["delta"], facts.relation)
    promise = _promise(facts)
    life = risk_figures(promise["epsilon"], promise["delta"], facts.relation)
    words = unit_words(facts.unit, facts.blocks)
    now, ever = whole["best_guess_per_100"], life["best_guess_per_100"]
    first, second = banded(now, ever)
    return {
        "audience": "subject",
        "budget": facts.budget,
        "dataset": facts.dataset,
        "kind": "plan",
        "since": facts.since,
        "as_of": facts.as_of,
        "unit": facts.unit.kind,
        "relation": facts.relation,
        "if_fixed_in_advance_best_guess_per_100": now,
        "strength": strength(now)[0],
        "lifetime_best_guess_per_100": ever,
        "lifetime_strength": strength(ever)[0],
        "raw_viewers": list(facts.description.raw_viewers),
        "assumptions": [*_assumptions(facts), LIMIT_STAYS],
        "limits": list(LIMITS),
        "text": [
            f"Think of a stranger who knows everything in {facts.dataset} except"
            f" {hidden(words.yours, facts.relation)}. Guessing blindly, they are right 50 times in"
            " 100. With everything that this plan can ever release they can be right"
            f" {times_in_100(now)}, because the list of what runs in it was fixed before anything"
            f" had run.{first}",
            "Other work draws on the same data. With everything that is ever released from it,"
            f" in whatever order, they can be right {times_in_100(ever)}.{second}",
            linked_line(facts.unit, facts.blocks, life),
            *who_text(facts.description),
            *_outside_text(facts),
            f"How: every result is changed at random before anybody sees it, so that no single"
            f" {words.one} matters much.",
            f"With a chance of at most {one_in(facts.limit['delta'])} the random changes of this"
            " plan may hide nothing; its figure counts that in.",
            *lifetime_history_text(facts.lifetime_changes),
        ],
        "footer": FOOTER,
    }


def officer_plan_statement(facts: PlanFacts) -> dict[str, Any]:
    """The statement as text lines and as the figures behind them."""
    whole = risk_figures(facts.epsilon, facts.limit["delta"], facts.relation)
    return {
        "audience": "officer",
        **_common(facts),
        "risk_if_used_up": whole,
        "assumptions": _assumptions(facts),
        "limits": list(LIMITS),
        "ledger": {"entries": facts.entries, "head_hash": facts.head_hash},
        "text": _text(facts, whole),
        "footer": FOOTER,
    }


def auditor_plan_statement(facts: PlanFacts, more: AuditorFacts = NOTHING_MORE) -> dict[str, Any]:
    """The same with what is known exactly of its mechanisms: mu and rho where they are native."""
    whole = risk_figures(facts.epsilon, facts.limit["delta"], facts.relation, digits=6)
    parts = [(slot["mechanism"], int(slot["count"])) for slot in facts.slots]
    fixed = fixed_figures(parts, facts.relation)
    return {
        "audience": "auditor",
        **_common(facts),
        "caps": dict(more.caps),
        "risk_if_used_up": whole,
        "native_if_used_up": fixed,
        "libraries": dict(more.libraries),
        "samplers": dict(more.samplers),
        "assumptions": _assumptions(facts),
        "limits": list(LIMITS),
        "ledger": {"entries": facts.entries, "head_hash": facts.head_hash},
        "text": [
            *_text(facts, whole),
            f"The frozen plan has the digest {facts.digest}; the chain of this budget holds"
            f" {facts.entries} entries and ends in {facts.head_hash}.",
            *_native_text(fixed),
        ],
        "footer": FOOTER,
    }


def _common(facts: PlanFacts) -> dict[str, Any]:
    return {
        "budget": facts.budget,
        "dataset": facts.dataset,
        "kind": "plan",
        "as_of": facts.as_of,
        "scope": _scope(facts),
        "unit": unit_text(facts.unit, facts.blocks),
        "relation": facts.relation,
        "accountant": "plan-pld/1",
        "proven_bound": None,
        "if_fixed_in_advance": {
            "epsilon": facts.epsilon,
            "delta": facts.limit["delta"],
            "holds_for": WHOLE_PLAN,
        },
        "limit": dict(facts.limit),
        "plan": {"digest": facts.digest, "slots": [dict(slot) for slot in facts.slots]},
        "lifetime": {name: dict(amount) for name, amount in facts.lifetime.items()},
    }


def _text(facts: PlanFacts, whole: Mapping[str, Any]) -> list[str]:
    consumed, limit = facts.lifetime["consumed"], facts.lifetime["limit"]
    unit = unit_text(facts.unit, facts.blocks)
    return [
        f"Somebody who knows everything in {facts.dataset} except"
        f" {hidden(f'one {unit}', facts.relation)}, and who guesses blindly, is right 50 times in"
        " 100. With everything that this plan can ever release they are right"
        f" {times_in_100(whole['best_guess_per_100'])}.",
        f"If fixed in advance (PLD): epsilon {facts.epsilon} at delta {facts.limit['delta']} when"
        f" every slot is used up, of epsilon {facts.limit['epsilon']} allowed. A plan that is half"
        " used has no smaller figure.",
        *(
            f"Slot {slot['name']}: {slot['used']} of {slot['count']} units used,"
            f" {slot['reserved']} reserved for jobs under way, {slot['left']} left."
            for slot in facts.slots
        ),
        *_outside_text(facts),
        _scope(facts),
        f"Protected: one {unit}, neighbouring relation {facts.relation}. This figure assumes"
        f" that {FROZEN_SLOTS}; {ANY_SLOTS}.",
        f"Lifetime of {facts.dataset}, proven for {ANY_ORDER}: {consumed['epsilon']} of epsilon"
        f" {limit['epsilon']} is consumed at delta"
        f" {facts.lifetime_bound_delta or limit['delta']}.",
        *([] if facts.published_from is None else [PUBLISHED.format(facts.published_from)]),
        *lifetime_history_text(facts.lifetime_changes),
    ]


def _native_text(fixed: Mapping[str, Any] | None) -> list[str]:
    if fixed is None:
        return []
    lines = []
    if fixed["gaussian"] is not None:
        found = fixed["gaussian"]
        lines.append(
            f"If fixed in advance, its Gaussians together are one Gaussian of mu {found['mu']}:"
            f" the best guess about a coin toss is right"
            f" {times_in_100(found['best_guess_per_100'])}."
        )
    found = fixed["concentrated"]
    linked = ", ".join(f"{each['rho']} for {each['units']}" for each in found["linked_units"])
    lines.append(f"If fixed in advance, rho is {found['rho']}; of linked units {linked}.")
    return lines


def _outside_text(facts: PlanFacts) -> list[str]:
    return [
        f"Work that no slot names was put on record on {date} and ended the plan: its figure"
        " does not count it, the lifetime budget does."
        for date in facts.outside_slots
    ]


def _scope(facts: PlanFacts) -> str:
    return (
        f"This is a plan: it counts what was started in its slots since {facts.since}. Its figure"
        " bounds what is learnt from these jobs alone; the lifetime budget of the dataset, to which"
        " they are charged as well, bounds all jobs together."
    )


def _assumptions(facts: PlanFacts) -> list[str]:
    return [
        FROZEN_SLOTS,
        *made_assumptions(
            has_training=facts.has_training,
            has_outside_runners=facts.has_outside_runners,
            has_outside_tools=facts.has_outside_tools,
            unit=facts.unit,
            blocks=facts.blocks,
            more=facts.assumptions,
        ),
    ]


def _promise(facts: PlanFacts) -> dict[str, str]:
    limit, consumed = facts.lifetime["limit"], facts.lifetime["consumed"]
    most = max((limit["epsilon"], consumed["epsilon"]), key=Decimal)
    return {"epsilon": most, "delta": facts.lifetime_bound_delta or limit["delta"]}
