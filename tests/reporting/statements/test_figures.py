"""Figures: the recomputed vectors, through the very code that statements show, rounded up."""

import itertools
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.risk import proven
from app.reporting.statements.figures import (
    concentrated_figures,
    gaussian_figures,
    risk_figures,
    trade_off_points,
)
from app.reporting.statements.rounding import NEARLY_ALWAYS, one_in, per_100, percent

DATA = json.loads((Path(__file__).parents[2] / "data" / "accounting-vectors.json").read_text())
VECTORS = {
    vector["id"]: vector for vector in DATA["vectors"] if vector["kind"] in ("risk", "gdp", "group")
}
DIGITS = 18


def shown(vector: Mapping[str, Any]) -> Decimal:
    """A vector's quantity as a statement shows it, at many digits."""
    given_ = {key: Decimal(str(value)) for key, value in vector["inputs"].items()}
    name, kind = vector["id"].split("-")[0], vector["kind"]
    if "mu" in given_:
        figures = gaussian_figures(
            given_["mu"],
            false_alarm_rates=[given_.get("fpr", Decimal("0.5"))],
            epsilons=[given_.get("epsilon", Decimal(1))],
            digits=DIGITS,
        )
        if kind == "gdp":
            return Decimal(figures["profile"][0]["delta"])
        if "fpr" in given_:
            return Decimal(figures["attack"][0]["caught_percent"]) / 100
        return Decimal(figures["advantage_percent"]) / 100
    if "rho" in given_:
        figures = concentrated_figures(given_["rho"], group_sizes=[int(given_["k"])], digits=DIGITS)
        return Decimal(figures["linked_units"][0]["rho"])
    figures = risk_figures(
        vector["inputs"]["epsilon"],
        vector["inputs"].get("delta", "0"),
        "add_remove",
        false_alarm_rates=[given_.get("fpr", Decimal("0.5"))],
        priors=[given_.get("prior", Decimal("0.5"))],
        choices=[int(given_.get("n", 10))],
        group_sizes=[int(given_.get("k", 2))],
        digits=DIGITS,
    )
    if kind == "group":
        return Decimal(figures["linked_units"][0]["delta"])
    if name == "odds":
        return Decimal(figures["odds_factor"])
    found = {
        "tpr": figures["attack"][0]["caught_percent"],
        "rero": figures["rebuilding"][0]["rebuilt_percent"],
        "posterior": figures["belief"][0]["after_percent"],
        "posterior50": figures["belief"][0]["after_percent"],
    }[name]
    return Decimal(found) / 100


def test_the_vectors_of_risk_gdp_and_groups_are_all_there() -> None:
    kinds = [vector["kind"] for vector in VECTORS.values()]
    assert [kinds.count(kind) for kind in ("risk", "gdp", "group")] == [14, 2, 2]


@pytest.mark.parametrize("name", VECTORS)
def test_the_statement_code_reproduces_every_vector(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what lies above 99.5 is shown as words; the number behind them is asked for here
    monkeypatch.setattr("app.reporting.statements.figures.per_100", percent)
    vector = VECTORS[name]
    expected = Decimal(repr(vector["expected"]))
    assert vector["tolerance_kind"] == "rel"
    tolerance = Decimal(repr(vector["tolerance"])) * abs(expected)
    assert abs(shown(vector) - expected) <= tolerance


@given(st.decimals("0.000001", 12, places=6), st.sampled_from(["0", "1e-10", "1e-6", "1e-3"]))
def test_every_figure_is_at_least_the_true_value_and_not_far_above(
    epsilon: Decimal, delta: str
) -> None:
    figures = risk_figures(str(epsilon), delta, "add_remove")
    true = Decimal(delta)
    pairs = [(figures["best_guess_per_100"], proven.best_guess(epsilon, true))]
    pairs.append((figures["advantage_percent"], proven.advantage(epsilon, true)))
    for each in figures["attack"]:
        rate = Decimal(each["false_alarm_percent"]) / 100
        pairs.append((each["caught_percent"], proven.attack_rate(epsilon, true, rate)))
    for each in figures["belief"]:
        prior = Decimal(each["before_percent"]) / 100
        pairs.append((each["after_percent"], proven.posterior(epsilon, prior)))
    for each in figures["claims"]:
        prior, rate = (
            Decimal(each[key]) / 100 for key in ("before_percent", "false_alarm_percent")
        )
        caught = proven.attack_rate(epsilon, true, rate)
        pairs.append((each["right_percent"], proven.precision(prior, caught, rate)))
    for text, share in pairs:
        if text == NEARLY_ALWAYS:
            assert 100 * share > Decimal("99.5")
        else:
            assert 100 * share <= Decimal(text) <= 100 * share * Decimal("1.01")


@given(
    st.decimals(0, 12, places=4),
    st.decimals(0, 12, places=4),
    st.sampled_from(["0", "1e-10", "1e-6", "1e-3"]),
    st.sampled_from(["0", "1e-10", "1e-6", "1e-3"]),
)
def test_a_larger_epsilon_or_delta_never_shows_a_smaller_figure(
    one: Decimal, other: Decimal, first: str, second: str
) -> None:
    def value(text: str) -> Decimal:
        return Decimal(100) if text == NEARLY_ALWAYS else Decimal(text)

    less, more = sorted((one, other))
    small, large = sorted((first, second), key=Decimal)
    low = risk_figures(str(less), small, "add_remove")
    high = risk_figures(str(more), large, "add_remove")
    assert value(low["best_guess_per_100"]) <= value(high["best_guess_per_100"])
    for under, above in zip(low["linked_units"], high["linked_units"], strict=True):
        assert value(under["best_guess_per_100"]) <= value(above["best_guess_per_100"])


@pytest.mark.parametrize(
    ("epsilon", "guess", "caught", "belief"),
    [
        ("0.1", "52.5", "1.11", "1.11"),
        ("0.5", "62.3", "1.65", "1.64"),
        ("1", "73.2", "2.72", "2.68"),
        ("2", "88.1", "7.39", "6.95"),
        ("4", "98.3", "54.6", "35.6"),
        ("8", NEARLY_ALWAYS, NEARLY_ALWAYS, "96.8"),
        ("10", NEARLY_ALWAYS, NEARLY_ALWAYS, NEARLY_ALWAYS),
    ],
)
def test_the_published_table_is_shown_rounded_against_us(
    epsilon: str, guess: str, caught: str, belief: str
) -> None:
    figures = risk_figures(epsilon, "0", "add_remove")
    assert figures["best_guess_per_100"] == guess
    assert figures["attack"][1] == {"false_alarm_percent": "1", "caught_percent": caught}
    assert figures["belief"][0] == {"before_percent": "1", "after_percent": belief}


def test_no_loss_is_guessing_blindly_and_a_tiny_delta_is_next_to_none() -> None:
    nothing = risk_figures("0", "0", "add_remove")
    assert (nothing["best_guess_per_100"], nothing["advantage_percent"]) == ("50", "0")
    assert [each["after_percent"] for each in nothing["belief"]] == ["1", "10", "50"]
    with_delta = risk_figures("1", "1e-15", "add_remove", digits=12)
    without = risk_figures("1", "0", "add_remove", digits=12)
    gap = Decimal(with_delta["best_guess_per_100"]) - Decimal(without["best_guess_per_100"])
    assert 0 <= gap < Decimal("1e-9")


def test_a_secret_of_many_is_bounded_more_tightly_only_where_any_two_are_neighbours() -> None:
    """Under add_remove two values of one record are two steps apart: e^e / (e^e + n - 1) fails."""
    apart = risk_figures("1", "0", "add_remove")["rebuilding"][0]
    beside = risk_figures("1", "0", "replace_one")["rebuilding"][0]
    assert (apart["choices"], apart["rebuilt_percent"]) == (10, "27.2")
    assert beside["rebuilt_percent"] == "23.2"


def test_the_drawn_bound_is_never_below_the_true_one() -> None:
    for epsilon, delta in (("0.3", "0"), ("1.25", "1e-7"), ("8", "1e-3")):
        corners = [
            (Decimal(each["false_alarm_percent"]), Decimal(each["caught_percent"]))
            for each in trade_off_points(epsilon, delta, 3)
        ]
        assert corners[-1] == (Decimal(100), Decimal(100))
        for step in range(1001):
            at = Decimal(step) / 10
            left, right = next((a, b) for a, b in itertools.pairwise(corners) if at <= b[0])
            share = (at - left[0]) / (right[0] - left[0])
            line = left[1] + share * (right[1] - left[1])
            true = 100 * proven.attack_rate(Decimal(epsilon), Decimal(delta), at / 100)
            assert line >= true - Decimal("1e-40")


def test_a_positive_claim_about_a_rare_thing_is_mostly_wrong() -> None:
    rare, _, half = risk_figures("1", "1e-9", "add_remove")["claims"]
    assert (rare["before_percent"], rare["right_percent"]) == ("1", "2.68")
    assert (half["before_percent"], half["right_percent"]) == ("50", "73.2")


def test_small_chances_are_not_belittled() -> None:
    assert one_in("1e-7") == "1 in 10,000,000"
    assert one_in("1.1e-10") == "1 in 9,000,000,000"
    assert one_in("0.3") == "1 in 3"
    assert per_100(Decimal("0.995")) == "99.5"
    assert per_100(Decimal("0.9950001")) == NEARLY_ALWAYS
