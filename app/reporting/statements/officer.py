"""The officer's statement of a budget: what is proven and spent, for whom, and what to decide.

Odds first, then spend, then how. The proven bound is the only figure here; figures of plans that
were fixed in advance are never mixed in (L9).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.reporting.statements.facts import StatementFacts, unit_text
from app.reporting.statements.figures import risk_figures
from app.reporting.statements.rounding import times_in_100
from app.reporting.statements.wording import (
    ANY_ORDER,
    FOOTER,
    LIMITS,
    assumptions,
    blocks_text,
    hidden,
    history_json,
    history_text,
    lifetime_text,
    odds_line,
    scope_text,
)


@dataclass(frozen=True, slots=True)
class Forecast:
    """Where the recent pace leads, as a straight line.

    pace_days: the days that the pace was taken from; pace_epsilon: what was consumed in them.
    exhausted_on: the date at which the limit would be reached; None beyond the horizon.
    """

    pace_days: int
    pace_epsilon: str
    exhausted_on: str | None


@dataclass(frozen=True, slots=True)
class Use:
    """One charge among the largest: what it would consume of an empty budget of this policy.

    subject: an id of evidence, as `job:ID`; never what somebody wrote in it.
    """

    subject: str
    kind: str
    epsilon: str


@dataclass(frozen=True, slots=True)
class Band:
    """The organisation's own bands of cumulative epsilon: a label, and no verdict."""

    low_epsilon: str
    ceiling_epsilon: str


@dataclass(frozen=True, slots=True)
class Justification:
    """Who wrote why a budget is as large as it is, and where it is on record."""

    evidence: str
    person: str


@dataclass(frozen=True, slots=True)
class OfficerFacts:
    """What an officer is told beside the balances; all of it may be missing, and is then not said.

    timeline: [{"day", "consumed"}] at the end of each day with a charge, oldest first.
    failed, partly, not_evaluated: ids of criteria. exceptions: ids or titles of what is open.
    decisions: what waits for an officer, in words.
    """

    forecast: Forecast | None = None
    timeline: Sequence[Mapping[str, str]] = ()
    largest_uses: Sequence[Use] = ()
    band: Band | None = None
    justification: Justification | None = None
    failed: Sequence[str] | None = None
    partly: Sequence[str] | None = None
    not_evaluated: Sequence[str] | None = None
    exceptions: Sequence[str] = ()
    decisions: Sequence[str] | None = None


NOTHING_MORE = OfficerFacts()


def officer_statement(facts: StatementFacts, more: OfficerFacts = NOTHING_MORE) -> dict[str, Any]:
    """The statement as paragraphs and as the figures behind them.

    Args:
        facts: of the budget.
        more: forecast, largest uses, policy band, criteria and decisions, as far as they are known.

    Returns:
        JSON of strings, whole numbers, lists, objects and null.
    """
    now = risk_figures(facts.consumed["epsilon"], facts.proven_delta, facts.relation)
    at_limit = risk_figures(facts.limit["epsilon"], facts.limit["delta"], facts.relation)
    return {
        "audience": "officer",
        "budget": facts.budget,
        "dataset": facts.dataset,
        "kind": facts.kind,
        "as_of": facts.as_of,
        "scope": scope_text(facts),
        "unit": unit_text(facts.unit, facts.blocks),
        "relation": facts.relation,
        "accountant": facts.accountant,
        "proven_bound": {
            "epsilon": facts.consumed["epsilon"],
            "delta": facts.proven_delta,
            "holds_for": ANY_ORDER,
        },
        "limit": dict(facts.limit),
        "limit_history": history_json(facts.limit_changes),
        "lifetime": None
        if facts.lifetime is None
        else {name: dict(amount) for name, amount in facts.lifetime.items()},
        "committed": dict(facts.committed),
        "reserved": dict(facts.reserved),
        "remaining": dict(facts.remaining),
        "risk_now": now,
        "risk_at_limit": at_limit,
        **_more_json(facts, more),
        "assumptions": assumptions(facts),
        "limits": list(LIMITS),
        "ledger": {"entries": facts.entries, "head_hash": facts.head_hash},
        "text": _text(facts, more, now, at_limit),
        "footer": FOOTER,
    }


def band_of(epsilon: str, band: Band) -> str:
    """Where a cumulative epsilon lies among the organisation's own bands."""
    if Decimal(epsilon) <= Decimal(band.low_epsilon):
        return "low"
    return "middle" if Decimal(epsilon) <= Decimal(band.ceiling_epsilon) else "above-ceiling"


def _more_json(facts: StatementFacts, more: OfficerFacts) -> dict[str, Any]:
    return {
        "forecast": None
        if more.forecast is None
        else {
            "pace_days": more.forecast.pace_days,
            "pace_epsilon": more.forecast.pace_epsilon,
            "exhausted_on": more.forecast.exhausted_on,
        },
        "timeline": [dict(each) for each in more.timeline],
        "largest_uses": [
            {"subject": use.subject, "kind": use.kind, "epsilon_alone": use.epsilon}
            for use in more.largest_uses
        ],
        "band": None
        if more.band is None
        else {
            "is": band_of(_cumulative(facts), more.band),
            "low_epsilon": more.band.low_epsilon,
            "ceiling_epsilon": more.band.ceiling_epsilon,
        },
        "justification": None
        if more.justification is None
        else {"evidence": more.justification.evidence, "person": more.justification.person},
        "criteria_failed": None if more.failed is None else list(more.failed),
        "criteria_partly_satisfied": None if more.partly is None else list(more.partly),
        "criteria_not_evaluated": None if more.not_evaluated is None else list(more.not_evaluated),
        "exceptions": list(more.exceptions),
        "decisions": None if more.decisions is None else list(more.decisions),
    }


def _text(
    facts: StatementFacts,
    more: OfficerFacts,
    now: Mapping[str, Any],
    at_limit: Mapping[str, Any],
) -> list[str]:
    unit = unit_text(facts.unit, facts.blocks)
    lines = [
        f"Somebody who knows everything in {facts.dataset} except"
        f" {hidden(f'one {unit}', facts.relation)}, and who guesses blindly, is right 50 times in"
        " 100. With everything released under this budget they are right"
        f" {times_in_100(now['best_guess_per_100'])}"
        f" ({times_in_100(at_limit['best_guess_per_100'])} if the whole limit is spent).",
        odds_line(now),
        f"{facts.consumed['epsilon']} of epsilon {facts.limit['epsilon']} is consumed at delta "
        f"{facts.proven_delta}: {facts.committed['epsilon']} committed and "
        f"{facts.reserved['epsilon']} reserved for jobs under way. "
        f"{facts.remaining['epsilon']} is left for a single pure charge.",
        scope_text(facts),
        *lifetime_text(facts),
        *_forecast_text(more.forecast),
        *_uses_text(more.largest_uses),
        *_criteria_text(more),
        *_band_text(facts, more),
        f"Protected: one {unit}, neighbouring relation {facts.relation}; accountant "
        f"{facts.accountant}, proven for any order of adaptively chosen jobs.",
        *blocks_text(facts),
        *history_text(facts),
    ]
    if facts.relation == "add_remove":
        lines.append("The number of rows is treated as private; nominal sizes are declarations.")
    return [*lines, *_decisions_text(more.decisions)]


def _forecast_text(forecast: Forecast | None) -> list[str]:
    if forecast is None:
        return []
    pace = f"In the last {forecast.pace_days} days {forecast.pace_epsilon} of epsilon was consumed"
    if forecast.exhausted_on is None:
        return [f"{pace}; at that pace the limit is not reached within ten years."]
    return [
        f"{pace}; at that pace, as a straight line, the limit is reached about"
        f" {forecast.exhausted_on}. That is no promise."
    ]


def _uses_text(uses: Sequence[Use]) -> list[str]:
    if not uses:
        return []
    listed = "; ".join(f"{use.subject} ({use.kind}) {use.epsilon}" for use in uses)
    return [
        "Largest uses, each as epsilon of an otherwise empty budget, which do not add up:"
        f" {listed}."
    ]


def _criteria_text(more: OfficerFacts) -> list[str]:
    lines = []
    if more.failed is not None:
        lines.append(_listed("Criteria not satisfied", more.failed))
    if more.partly:
        lines.append(_listed("Criteria satisfied in part", more.partly))
    if more.not_evaluated is not None:
        lines.append(
            _listed("Criteria not evaluated, which says nothing good of them", more.not_evaluated)
        )
    if more.exceptions:
        lines.append(_listed("Open exceptions", more.exceptions))
    return lines


def _listed(title: str, ids: Sequence[str]) -> str:
    return f"{title}: {len(ids)} ({', '.join(ids)})." if ids else f"{title}: none."


def _band_text(facts: StatementFacts, more: OfficerFacts) -> list[str]:
    lines = []
    if more.band is not None:
        low, ceiling = more.band.low_epsilon, more.band.ceiling_epsilon
        where = {
            "low": f"in the low band, up to {low}",
            "middle": f"between {low} and the ceiling {ceiling}",
            "above-ceiling": f"above the ceiling {ceiling}",
        }[band_of(_cumulative(facts), more.band)]
        lines.append(
            f"By the organisation's own bands a cumulative epsilon of {_cumulative(facts)} lies"
            f" {where}; a band is a label and no verdict."
        )
    if more.justification is not None:
        lines.append(
            f"Why it is as large as it is: {more.justification.evidence}, by"
            f" {more.justification.person}."
        )
    return lines


def _cumulative(facts: StatementFacts) -> str:
    """What one unit has lost in all: of a scope below the root, that of the lifetime."""
    found = facts.consumed if facts.lifetime is None else facts.lifetime["consumed"]
    return found["epsilon"]


def _decisions_text(decisions: Sequence[str] | None) -> list[str]:
    if decisions is None:
        return []
    return [f"Decision needed: {'; '.join(decisions) if decisions else 'none'}."]
