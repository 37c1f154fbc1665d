"""Statements: rounded against us, whole, and free of words that promise (L9)."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.risk import accuracy, advantage, attack_rate
from app.reporting.statement import (
    IDEAL_GAUSSIAN,
    OUTSIDE_RUNNERS,
    OUTSIDE_TOOLS,
    LimitChange,
    StatementFacts,
    officer_statement,
    risk_figures,
)

FACTS = StatementFacts(
    dataset="flights",
    budget="flights, for life",
    kind="lifetime",
    accountant="rdp-mix/1",
    unit="record",
    relation="add_remove",
    limit={"epsilon": "8", "delta": "1e-7"},
    consumed={"epsilon": "1.25", "delta": "1e-10"},
    committed={"epsilon": "1", "delta": "1e-10"},
    reserved={"epsilon": "0.25", "delta": "0"},
    remaining={"epsilon": "6.75", "delta": "1e-9"},
    jobs=3,
    has_training=False,
    has_outside_tools=False,
    has_outside_runners=False,
    since="2026-11-22",
    entries=7,
    head_hash="ab" * 32,
)
RAISE = LimitChange(
    "raised",
    "2026-11-22",
    {"epsilon": "4", "delta": "1e-7"},
    {"epsilon": "8", "delta": "1e-7"},
)
FORBIDDEN = re.compile(r"\b(compliant|certified|anonymous|guaranteed|safe)\b", re.IGNORECASE)


@pytest.mark.parametrize("kind", ["lifetime", "allocation", "window"])
def test_no_statement_uses_a_word_that_promises(kind: str) -> None:
    everything = replace(
        FACTS,
        kind=kind,
        has_training=True,
        has_outside_tools=True,
        has_outside_runners=True,
        limit_changes=(RAISE,),
        openings=("2026-11-22",),
        span=("2026-11-01T00:00:00+00:00", "2026-12-01T00:00:00+00:00"),
        lifetime={"limit": FACTS.limit, "consumed": FACTS.consumed},
    )
    assert FORBIDDEN.search(json.dumps(officer_statement(everything))) is None


@given(st.floats(1e-6, 7), st.sampled_from([0.0, 1e-10, 1e-6, 1e-3]))
def test_every_risk_figure_is_at_least_the_true_value(epsilon: float, delta: float) -> None:
    figures = risk_figures(epsilon, delta)
    guess = figures["best_guess_per_100"]
    if guess != "nearly 100":
        assert float(guess) >= 100 * accuracy(advantage(epsilon, delta))
    for percent, caught in figures["caught_percent_at_false_alarm_percent"].items():
        if caught != "nearly 100":
            assert float(caught) >= 100 * attack_rate(epsilon, delta, float(percent) / 100)


def test_assumptions_are_named_when_they_are_made() -> None:
    assert IDEAL_GAUSSIAN not in officer_statement(FACTS)["assumptions"]
    made = replace(FACTS, has_training=True, has_outside_tools=True, has_outside_runners=True)
    named = officer_statement(made)["assumptions"]
    assert {IDEAL_GAUSSIAN, OUTSIDE_TOOLS, OUTSIDE_RUNNERS} <= set(named)


def test_the_proven_bound_is_what_the_ledger_consumed_and_the_lifetime_is_named() -> None:
    statement = officer_statement(FACTS)
    assert statement["proven_bound"]["epsilon"] == FACTS.consumed["epsilon"]
    assert statement["proven_bound"]["delta"] == FACTS.limit["delta"]
    assert "lifetime" in " ".join(statement["text"])
    allocation = officer_statement(replace(FACTS, kind="allocation"))
    assert "lifetime budget of the dataset" in " ".join(allocation["text"])


def test_an_empty_budget_says_blind_guessing() -> None:
    nothing = replace(FACTS, consumed={"epsilon": "0", "delta": "0"}, limit={**FACTS.limit})
    assert officer_statement(nothing)["risk_now"]["best_guess_per_100"] == "50.1"


def test_every_limit_that_was_moved_is_told_with_its_date_from_and_to() -> None:
    lowered = LimitChange(
        "lowered", "2026-11-23", {"epsilon": "9", "delta": "0"}, {"epsilon": "8", "delta": "0"}
    )
    wider = LimitChange(
        "raised", "2026-11-24", {"epsilon": "8", "delta": "0.1"}, {"epsilon": "8", "delta": "0.2"}
    )
    statement = officer_statement(replace(FACTS, limit_changes=(RAISE, lowered, wider)))
    assert "limit raised on 2026-11-22 from 4 to 8" in statement["text"]
    assert "limit lowered on 2026-11-23 from 9 to 8" in statement["text"]
    assert any("delta from 0.1 to 0.2" in line for line in statement["text"])
    assert [each["from"]["epsilon"] for each in statement["limit_history"]] == ["4", "9", "8"]
    assert officer_statement(FACTS)["limit_history"] == []


def test_a_window_is_never_shown_without_the_lifetime_beside_it() -> None:
    lifetime = {"limit": FACTS.limit, "consumed": {"epsilon": "7.5", "delta": "0"}}
    window = replace(FACTS, kind="window", lifetime=lifetime)
    statement = officer_statement(window)
    assert statement["lifetime"]["consumed"]["epsilon"] == "7.5"
    assert any("7.5 of epsilon 8 is consumed" in line for line in statement["text"])
    assert "started in it" in statement["scope"]


def test_a_balance_that_no_epsilon_bounds_is_told_as_such_and_not_as_a_number() -> None:
    unbounded = replace(FACTS, consumed={"epsilon": "Infinity", "delta": "1e-10"})
    statement = officer_statement(unbounded)
    assert statement["risk_now"]["odds_factor"] == "unbounded"
    assert statement["risk_now"]["best_guess_per_100"] == "nearly 100"


def test_deltas_that_passed_the_limit_are_in_the_bound_that_is_claimed() -> None:
    over = officer_statement(replace(FACTS, bound_delta="0.2"))
    assert over["proven_bound"]["delta"] == "0.2"
    guess = float(over["risk_now"]["best_guess_per_100"])
    assert guess >= 100 * accuracy(advantage(1.25, 0.2))
