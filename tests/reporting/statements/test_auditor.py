"""The auditor's statement: enough to compute again, and what nobody looked at said to be so."""

from dataclasses import replace
from decimal import Decimal

from app.reporting.statements import (
    AuditorFacts,
    CrossCheck,
    Replay,
    auditor_statement,
    officer_statement,
)
from app.reporting.statements.figures import risk_figures
from tests.reporting.statements.facts import FACTS, LIFETIME, RAISE

REPLAY = Replay(7, "0" * 64, FACTS.head_hash, ())


def test_what_was_not_replayed_or_not_evaluated_is_never_said_to_agree() -> None:
    text = auditor_statement(FACTS)["text"]
    assert "was not replayed for this statement" in text[0]
    assert not any("Not evaluated" in line or "was evaluated" in line for line in text)
    replayed = auditor_statement(FACTS, AuditorFacts(replay=REPLAY, not_evaluated=("N226-09",)))
    assert "follows: hashes, sums and balances agree" in replayed["text"][0]
    assert replayed["text"][-1] == "Not evaluated: N226-09."
    broken = replace(REPLAY, faults=("entry 3: another hash",))
    said = auditor_statement(FACTS, AuditorFacts(replay=broken))
    assert "does not follow: entry 3: another hash" in said["text"][0]
    assert "agree" not in said["text"][0]


def test_native_figures_come_before_any_conversion_and_both_deltas_with_the_formula() -> None:
    more = AuditorFacts(
        native={"nats at order 8": "0.07"}, second={"epsilon": "1.4", "delta": "1e-9"}
    )
    text = auditor_statement(FACTS, more)["text"]
    native = next(at for at, line in enumerate(text) if "nats at order 8: 0.07" in line)
    bound = next(at for at, line in enumerate(text) if line.startswith("Proven for any order"))
    assert native < bound
    assert "epsilon 1.25 at delta 1e-7, and epsilon 1.4 at delta 1e-9" in text[bound]
    assert "36 Renyi orders" in text[bound]


def test_rates_have_six_digits_and_groups_stand_in_full() -> None:
    said = auditor_statement(FACTS)
    assert said["risk_now"] == risk_figures("1.25", "1e-7", "add_remove", digits=6)
    linked = said["risk_now"]["linked_units"]
    assert [each["units"] for each in linked] == [2, 5, 10]
    assert [each["epsilon"] for each in linked] == ["2.5", "6.25", "12.5"]
    e = Decimal("1.25").exp()
    exact = Decimal("1e-7") * ((10 * Decimal("1.25")).exp() - 1) / (e - 1)
    assert exact <= Decimal(linked[2]["delta"]) <= exact * Decimal("1.00001")
    assert sum("linked units" in line for line in said["text"]) == 3
    assert sum("A test with" in line for line in said["text"]) == 3
    assert sum("A claim that" in line for line in said["text"]) == 3


def test_the_drawn_bound_ends_in_everything_and_has_the_best_guess_as_its_bend() -> None:
    said = auditor_statement(FACTS)
    bend = said["trade_off"][1]
    assert bend["caught_percent"] == said["risk_now"]["best_guess_per_100"]
    assert said["trade_off"][-1] == {"false_alarm_percent": "100", "caught_percent": "100"}


def test_a_cross_check_is_named_with_its_difference() -> None:
    check = CrossCheck("basic composition", "epsilon 1.5", "0.25")
    said = auditor_statement(FACTS, AuditorFacts(cross_check=check))
    assert "Cross-check by basic composition: epsilon 1.5, a difference of 0.25." in said["text"]
    assert auditor_statement(FACTS)["cross_check"] is None


def test_it_claims_the_same_bound_and_history_as_the_officer_s() -> None:
    facts = replace(FACTS, kind="window", lifetime=LIFETIME, limit_changes=(RAISE,))
    auditor, officer = auditor_statement(facts), officer_statement(facts)
    for key in ("proven_bound", "limit", "limit_history", "lifetime", "scope", "assumptions"):
        assert auditor[key] == officer[key]
    assert any("7.5 of epsilon 8 is consumed" in line for line in auditor["text"])
    assert any(line.startswith("limit raised on") for line in auditor["text"])
