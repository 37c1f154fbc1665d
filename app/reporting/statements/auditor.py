"""The auditor's statement of a budget: native figures, formulas, replay, and what it rests on.

Everything that is needed to compute the figures again, and nothing that is shown as proven without
being it: what comes from plans that were fixed in advance stands in their own statements.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from app.reporting.statements.facts import StatementFacts, unit_text
from app.reporting.statements.figures import risk_figures, trade_off_points
from app.reporting.statements.rounding import NEARLY_ALWAYS
from app.reporting.statements.wording import (
    ANY_ORDER,
    FOOTER,
    LIMITS,
    assumptions,
    blocks_text,
    history_json,
    history_text,
    lifetime_text,
    odds_line,
    scope_text,
)

DIGITS: Final = 6
FORMULAS: Final = {
    "rdp-mix/1": "weighted test over 36 Renyi orders: the least epsilon with (1 - e^(eps-L))+ <="
    " sum of l_a e^((a-1)(L - R(a))) for every loss L from eps up to the summed maximum; weights"
    " l_a fixed at creation",
    "gdp/1": "summed 1/noise^2 of continuous Gaussians against mu^2; the running figure by the same"
    " weighted test, on a share of delta of its own",
    "basic/1": "summed worst-case epsilons, summed deltas",
    "pure/1": "summed worst-case epsilons, delta 0",
}


@dataclass(frozen=True, slots=True)
class Replay:
    """What walking the chain again found, and how far it went.

    faults: in words; empty where every hash, sum and decision followed.
    """

    entries: int
    first_hash: str
    last_hash: str
    faults: Sequence[str]


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """Another way to the same figure: its name, its value, and by how much it differs."""

    method: str
    value: str
    difference: str


@dataclass(frozen=True, slots=True)
class AuditorFacts:
    """What an auditor is told beside the balances, as far as it is known.

    native: what the accountant sums, as name and value, before any conversion.
    second: the proven bound at another delta, as {"epsilon", "delta"}.
    policy_version: of the filter's code and tables.
    caps: of the unit, enforced before noise is drawn.
    libraries: name to version; samplers: what draws what.
    not_evaluated: what nobody has looked at.
    """

    native: Mapping[str, str] = field(default_factory=dict)
    second: Mapping[str, str] | None = None
    policy_version: str | None = None
    replay: Replay | None = None
    cross_check: CrossCheck | None = None
    caps: Mapping[str, int] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)
    samplers: Mapping[str, str] = field(default_factory=dict)
    not_evaluated: Sequence[str] | None = None


NOTHING_MORE = AuditorFacts()


def auditor_statement(facts: StatementFacts, more: AuditorFacts = NOTHING_MORE) -> dict[str, Any]:
    """The statement as paragraphs and as the figures behind them.

    Args:
        facts: of the budget.
        more: native figures, a second delta, the replay, libraries and samplers.

    Returns:
        JSON of strings, whole numbers, lists, objects and null; rates with six digits.
    """
    epsilon, delta = facts.consumed["epsilon"], facts.proven_delta
    figures = risk_figures(epsilon, delta, facts.relation, digits=DIGITS)
    return {
        "audience": "auditor",
        "budget": facts.budget,
        "dataset": facts.dataset,
        "kind": facts.kind,
        "as_of": facts.as_of,
        "scope": scope_text(facts),
        "unit": unit_text(facts.unit, facts.blocks),
        "caps": dict(more.caps),
        "relation": facts.relation,
        "accountant": facts.accountant,
        "policy_version": more.policy_version,
        "formula": FORMULAS.get(facts.accountant),
        "native": dict(more.native),
        "proven_bound": {"epsilon": epsilon, "delta": delta, "holds_for": ANY_ORDER},
        "proven_bound_at_second_delta": None if more.second is None else dict(more.second),
        "limit": dict(facts.limit),
        "limit_history": history_json(facts.limit_changes),
        "openings": list(facts.openings),
        "lifetime": None
        if facts.lifetime is None
        else {name: dict(amount) for name, amount in facts.lifetime.items()},
        "committed": dict(facts.committed),
        "reserved": dict(facts.reserved),
        "remaining": dict(facts.remaining),
        "risk_now": figures,
        "trade_off": trade_off_points(epsilon, delta, DIGITS),
        "replay": None
        if more.replay is None
        else {
            "entries": more.replay.entries,
            "first_hash": more.replay.first_hash,
            "last_hash": more.replay.last_hash,
            "faults": list(more.replay.faults),
        },
        "cross_check": None
        if more.cross_check is None
        else {
            "method": more.cross_check.method,
            "value": more.cross_check.value,
            "difference": more.cross_check.difference,
        },
        "libraries": dict(more.libraries),
        "samplers": dict(more.samplers),
        "not_evaluated": None if more.not_evaluated is None else list(more.not_evaluated),
        "assumptions": assumptions(facts),
        "limits": list(LIMITS),
        "ledger": {"entries": facts.entries, "head_hash": facts.head_hash},
        "text": _text(facts, more, figures),
        "footer": FOOTER,
    }


def _text(facts: StatementFacts, more: AuditorFacts, figures: Mapping[str, Any]) -> list[str]:
    unit = unit_text(facts.unit, facts.blocks)
    return [
        *_replay_text(facts, more),
        *_bound_text(facts, more),
        odds_line(figures),
        scope_text(facts),
        *lifetime_text(facts),
        f"Neighbouring relation {facts.relation} on one {unit}{_caps_text(more.caps)}.",
        *blocks_text(facts),
        *(
            f"For {each['units']} linked units: epsilon {each['epsilon']} at delta {each['delta']}."
            for each in figures["linked_units"]
        ),
        *(
            f"A test with {each['false_alarm_percent']}% false alarms catches a unit"
            f" {_share_text(each['caught_percent'])}."
            for each in figures["attack"]
        ),
        *(
            f"A claim that a unit was in it, made with {each['false_alarm_percent']}% false alarms"
            f" where {each['before_percent']}% of those asked about were, is right"
            f" {_share_text(each['right_percent'])}."
            for each in figures["claims"]
        ),
        *history_text(facts),
        *_left_out_text(more),
    ]


def _replay_text(facts: StatementFacts, more: AuditorFacts) -> list[str]:
    if more.replay is None:
        return [
            f"The chain of this budget holds {facts.entries} entries and ends in"
            f" {facts.head_hash}; it was not replayed for this statement."
        ]
    found = more.replay
    outcome = (
        "follows: hashes, sums and balances agree"
        if not found.faults
        else f"does not follow: {'; '.join(found.faults)}"
    )
    return [
        f"Replaying {found.entries} entries from {found.first_hash} to {found.last_hash} with"
        f" {facts.accountant} {outcome}."
    ]


def _bound_text(facts: StatementFacts, more: AuditorFacts) -> list[str]:
    native = "; ".join(f"{name}: {value}" for name, value in more.native.items())
    also = (
        ""
        if more.second is None
        else f", and epsilon {more.second['epsilon']} at delta {more.second['delta']}"
    )
    lines = [f"Native figures of {facts.accountant}: {native}."] if native else []
    lines.append(
        f"Proven for {ANY_ORDER}: epsilon {facts.consumed['epsilon']} at delta"
        f" {facts.proven_delta}{also} ({FORMULAS.get(facts.accountant, facts.accountant)})."
    )
    if more.cross_check is not None:
        check = more.cross_check
        lines.append(
            f"Cross-check by {check.method}: {check.value}, a difference of {check.difference}."
        )
    return lines


def _caps_text(caps: Mapping[str, int]) -> str:
    if not caps:
        return ""
    return ", contributions capped at " + ", ".join(
        f"{name} {cap}" for name, cap in sorted(caps.items())
    )


def _share_text(shown: str) -> str:
    return shown if shown == NEARLY_ALWAYS else f"at most {shown}% of the time"


def _left_out_text(more: AuditorFacts) -> list[str]:
    if more.not_evaluated is None:
        return []
    if not more.not_evaluated:
        return ["Every automatic criterion was evaluated."]
    return [f"Not evaluated: {', '.join(more.not_evaluated)}."]
