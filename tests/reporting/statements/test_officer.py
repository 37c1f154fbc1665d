"""The officer's statement: whole, with its assumptions, and the lifetime beside every window."""

from dataclasses import replace
from decimal import Decimal

import pytest

from app.domain.risk import proven
from app.reporting.statements import (
    Band,
    Forecast,
    Justification,
    LimitChange,
    OfficerFacts,
    Use,
    officer_statement,
)
from app.reporting.statements.wording import (
    IDEAL_GAUSSIAN,
    OUTSIDE_RUNNERS,
    OUTSIDE_TOOLS,
    POISSON_BATCHES,
)
from tests.reporting.statements.facts import FACTS, LIFETIME, RAISE


def test_assumptions_are_named_when_they_are_made() -> None:
    assert IDEAL_GAUSSIAN not in officer_statement(FACTS)["assumptions"]
    made = replace(FACTS, has_training=True, has_outside_tools=True, has_outside_runners=True)
    named = officer_statement(made)["assumptions"]
    assert {IDEAL_GAUSSIAN, POISSON_BATCHES, OUTSIDE_TOOLS, OUTSIDE_RUNNERS} <= set(named)


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
    pure = replace(nothing, limit={"epsilon": "8", "delta": "0"})
    assert officer_statement(pure)["risk_now"]["best_guess_per_100"] == "50"


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
    statement = officer_statement(replace(FACTS, kind="window", lifetime=LIFETIME))
    assert statement["lifetime"]["consumed"]["epsilon"] == "7.5"
    assert any("7.5 of epsilon 8 is consumed" in line for line in statement["text"])
    assert "started in it" in statement["scope"]


def test_a_balance_that_no_epsilon_bounds_is_told_as_such_and_not_as_a_number() -> None:
    unbounded = replace(FACTS, consumed={"epsilon": "Infinity", "delta": "1e-10"})
    statement = officer_statement(unbounded)
    assert statement["risk_now"]["odds_factor"] == "unbounded"
    assert statement["risk_now"]["best_guess_per_100"] == "nearly always"
    assert any("they are right nearly always" in line for line in statement["text"])


def test_deltas_that_passed_the_limit_are_in_the_bound_that_is_claimed() -> None:
    over = officer_statement(replace(FACTS, bound_delta="0.2"))
    assert over["proven_bound"]["delta"] == "0.2"
    guess = Decimal(over["risk_now"]["best_guess_per_100"])
    assert guess >= 100 * proven.best_guess(Decimal("1.25"), Decimal("0.2"))
    assert any("consumed at delta 0.2" in line for line in over["text"])


def test_what_is_not_known_is_not_said_and_what_is_known_is_said_whole() -> None:
    silent = " ".join(officer_statement(FACTS)["text"])
    for words in ("pace", "Largest uses", "Criteria", "bands", "Decision needed"):
        assert words not in silent
    more = OfficerFacts(
        forecast=Forecast(28, "0.5", "2027-03-01"),
        largest_uses=(Use("job:7", "train", "0.9"), Use("reservation:8", "outside", "0.2")),
        band=Band("1", "10"),
        justification=Justification("attestation:3", "A. Person"),
        failed=("N226-01",),
        not_evaluated=(),
        decisions=(),
    )
    said = " ".join(officer_statement(FACTS, more)["text"])
    assert "the limit is reached about 2027-03-01. That is no promise." in said
    assert "job:7 (train) 0.9; reservation:8 (outside) 0.2" in said
    assert "Criteria not satisfied: 1 (N226-01)." in said
    assert "says nothing good of them: none." in said
    assert "between 1 and the ceiling 10" in said
    assert "attestation:3, by A. Person" in said
    assert said.endswith("Decision needed: none.")


@pytest.mark.parametrize(
    ("own", "lifetime", "band"),
    [("0.5", "0.9", "low"), ("0.5", "9", "middle"), ("1", "11", "above")],
)
def test_a_band_is_of_all_that_one_unit_has_lost_and_not_of_a_window(
    own: str, lifetime: str, band: str
) -> None:
    facts = replace(
        FACTS,
        kind="window",
        consumed={"epsilon": own, "delta": "0"},
        lifetime={**LIFETIME, "consumed": {"epsilon": lifetime, "delta": "0"}},
    )
    found = officer_statement(facts, OfficerFacts(band=Band("1", "10")))["band"]
    assert found["is"].startswith(band)
