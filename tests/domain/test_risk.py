"""Risk figures agree with their published table and never promise more than the loss allows."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import risk
from app.domain.accounting import conversions

EPSILONS = st.floats(0.0, 50.0)
SHARES = st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    ("epsilon", "delta", "half", "hundredth", "advantage", "rate"),
    [
        (1.0, 1e-6, 0.7311, 0.0267, 0.462, 0.0272),
        (2.64, 1e-6, 0.9334, 0.1240, 0.867, 0.140),
        (8.0, 1e-6, 0.99966, 0.968, 0.9993, 0.9997),
        (10.0, 1e-6, 0.999955, 0.9955, 0.9999, 0.99995),
    ],
)
def test_the_table_of_risks_is_reproduced(
    epsilon: float, delta: float, half: float, hundredth: float, advantage: float, rate: float
) -> None:
    assert risk.posterior(epsilon, 0.5) == pytest.approx(half, abs=6e-5)
    assert risk.posterior(epsilon, 0.01) == pytest.approx(hundredth, abs=5e-4)
    assert risk.advantage(epsilon, delta) == pytest.approx(advantage, abs=5e-4)
    assert risk.attack_rate(epsilon, delta, 0.01) == pytest.approx(rate, abs=5e-4)


@pytest.mark.parametrize(
    ("epsilon", "delta", "mu", "right", "rate"),
    [
        (1.0, 1e-6, 0.237, 0.547, 0.018),
        (8.0, 1e-6, 1.532, 0.778, 0.213),
        (10.0, 1e-5, 2.000, 0.841, 0.372),
        (26.34, 1e-10, 3.348, 0.953, 0.846),
    ],
)
def test_the_table_of_one_gaussian_is_reproduced(
    epsilon: float, delta: float, mu: float, right: float, rate: float
) -> None:
    found = conversions.gdp_mu(epsilon, delta)
    assert found == pytest.approx(mu, abs=6e-4)
    assert risk.accuracy(risk.gdp_advantage(found)) == pytest.approx(right, abs=6e-4)
    assert risk.gdp_attack_rate(found, 0.01) == pytest.approx(rate, abs=6e-4)


@given(EPSILONS, st.sampled_from([0.0, 1e-9, 1e-6, 1e-2]), SHARES)
def test_no_attack_is_below_guessing_or_beyond_the_advantage(
    epsilon: float, delta: float, false_rate: float
) -> None:
    rate = risk.attack_rate(epsilon, delta, false_rate)
    assert false_rate - 1e-12 <= rate <= 1.0
    assert rate - false_rate <= risk.advantage(epsilon, delta) + 1e-12


@given(EPSILONS, EPSILONS, SHARES)
def test_more_epsilon_is_never_shown_as_less_risk(one: float, other: float, share: float) -> None:
    less, more = sorted((one, other))
    assert risk.posterior(less, share) <= risk.posterior(more, share) + 1e-12
    assert risk.attack_rate(less, 1e-6, share) <= risk.attack_rate(more, 1e-6, share) + 1e-12
    assert risk.advantage(less, 1e-6) <= risk.advantage(more, 1e-6) + 1e-12


@pytest.mark.parametrize("epsilon", [100.0, 800.0, 1e4])
def test_the_largest_limits_give_figures_and_not_errors(epsilon: float) -> None:
    assert risk.attack_rate(epsilon, 1e-6, 0.01) == 1.0
    assert risk.attack_rate(epsilon, 1e-6, 0.0) == 1e-6
    assert risk.posterior(epsilon, 0.01) == pytest.approx(1.0)
    assert risk.advantage(epsilon, 1e-6) == pytest.approx(1.0)
    assert risk.reconstruction_rate(epsilon, 0.0, 1e-3) == 1.0
    assert 0.0 < conversions.gaussian_noise_multiplier(epsilon, 1e-6) < 1.0
    assert risk.odds_factor(epsilon) > 1e43


def test_a_guess_among_many_is_bounded_more_tightly_than_by_the_general_rule() -> None:
    exact = math.e / (math.e + 9)
    assert risk.reconstruction_rate_uniform(1.0, 10) == pytest.approx(exact)
    assert exact < risk.reconstruction_rate(1.0, 0.0, 0.1)


def test_a_positive_claim_about_a_rare_thing_is_mostly_wrong() -> None:
    assert risk.precision(0.001, 0.04, 0.01) == pytest.approx(0.00398, abs=1e-4)
    assert risk.precision(0.5, 0.0, 0.0) == 0.0


@given(st.floats(0.05, 100.0), st.floats(0.0, 30.0))
def test_the_exact_gaussian_is_never_above_its_improved_conversion(
    noise: float, epsilon: float
) -> None:
    delta = conversions.gaussian_delta(noise, epsilon)
    assert 0.0 <= delta <= 1.0
    if 1e-12 < delta < 0.5:
        bound = conversions.zcdp_to_epsilon_improved(0.5 / noise**2, delta)
        assert conversions.gaussian_epsilon(noise, delta) <= bound * (1 + 1e-6) + 1e-9
