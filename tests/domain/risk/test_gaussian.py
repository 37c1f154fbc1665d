"""Bounds of one Gaussian: against a table, another library at 60 digits, and the floats."""

from decimal import Decimal

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.accounting import conversions
from app.domain.risk import gaussian
from app.domain.risk.groups import group_mu, group_rho
from app.domain.risk.precision import exactly

D = Decimal


@pytest.mark.parametrize(
    ("epsilon", "delta", "mu", "right", "at_1", "at_01"),
    [
        (1.0, 1e-6, 0.237, 0.547, 0.018, 0.0022),
        (2.64, 1e-6, 0.577, 0.614, 0.040, 0.0060),
        (8.0, 1e-6, 1.532, 0.778, 0.213, 0.0595),
        (10.0, 1e-5, 2.000, 0.841, 0.372, 0.138),
        (26.34, 1e-10, 3.348, 0.953, 0.846, 0.602),
    ],
)
def test_the_table_of_one_gaussian_is_reproduced(
    epsilon: float, delta: float, mu: float, right: float, at_1: float, at_01: float
) -> None:
    found = conversions.gdp_mu(epsilon, delta)
    assert found == pytest.approx(mu, abs=6e-4)
    assert float(gaussian.best_guess(D(found))) == pytest.approx(right, abs=6e-4)
    assert float(gaussian.attack_rate(D(found), D("0.01"))) == pytest.approx(at_1, abs=6e-4)
    assert float(gaussian.attack_rate(D(found), D("0.001"))) == pytest.approx(at_01, abs=6e-4)


@pytest.mark.parametrize("value", ["-23.9", "-8", "-2.5", "-0.001", "0", "1e-30", "1", "7", "23"])
def test_the_distribution_function_has_fifty_digits(value: str) -> None:
    with mpmath.workdps(700):
        exact = mpmath.erfc(-mpmath.mpf(value) / mpmath.sqrt(2)) / 2
        found = mpmath.mpf(str(gaussian.normal_below(D(value))))
        assert abs(found - exact) <= exact * mpmath.mpf("1e-50")


@pytest.mark.parametrize("value", ["-24.1", "-80", "-1000"])
def test_far_out_the_tail_is_never_understated(value: str) -> None:
    with mpmath.workdps(60):
        exact = mpmath.erfc(-mpmath.mpf(value) / mpmath.sqrt(2)) / 2
        found = mpmath.mpf(str(gaussian.normal_below(D(value))))
        assert exact <= found <= exact * mpmath.mpf("1.01")
    assert gaussian.normal_below(-D(value)) == 1


@given(st.decimals("0.05", 12, places=4), st.decimals(0, 20, places=3))
def test_the_delta_at_an_epsilon_is_that_of_the_exact_gaussian(
    mu: Decimal, epsilon: Decimal
) -> None:
    found = float(gaussian.delta_at(mu, epsilon))
    exact = conversions.gdp_delta(float(mu), float(epsilon))
    assert found == pytest.approx(exact, rel=1e-7, abs=1e-14)


@given(st.decimals(0, 30, places=4), st.decimals("0.0001", "0.9999", places=4))
def test_no_attack_on_a_gaussian_is_below_guessing_or_beyond_the_advantage(
    mu: Decimal, false_rate: Decimal
) -> None:
    rate = gaussian.attack_rate(mu, false_rate)
    with exactly(120):
        assert false_rate - D("1e-40") <= rate <= 1
        assert rate - false_rate <= gaussian.advantage(mu) + D("1e-40")
    assert gaussian.attack_rate(mu, D(0)) == 0
    assert gaussian.attack_rate(mu, D(1)) == 1


def test_groups_of_gaussians_and_of_rho_agree_with_one_another() -> None:
    mu = D("0.3")
    assert group_rho(mu * mu / 2, 5) == group_mu(mu, 5) ** 2 / 2
    assert gaussian.mu_of_squares(D("0.09")) == mu


@given(st.floats(0.05, 100.0), st.floats(0.0, 30.0))
def test_the_exact_gaussian_is_never_above_its_improved_conversion(
    noise: float, epsilon: float
) -> None:
    delta = conversions.gaussian_delta(noise, epsilon)
    assert 0.0 <= delta <= 1.0
    if 1e-12 < delta < 0.5:
        bound = conversions.zcdp_to_epsilon_improved(0.5 / noise**2, delta)
        assert conversions.gaussian_epsilon(noise, delta) <= bound * (1 + 1e-6) + 1e-9
