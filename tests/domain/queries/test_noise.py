import math
from decimal import Decimal
from fractions import Fraction

import pytest

from app.domain.queries.noise import (
    GaussianNoise,
    LaplaceNoise,
    largest_rho,
    mean_half_width,
    root_up,
)


@pytest.mark.parametrize("scale", ["0.05", "0.7", "3", "40", "12345"])
def test_a_laplace_half_width_is_the_least_that_holds_95_percent(scale: str) -> None:
    p = math.exp(-1 / float(scale))
    h = LaplaceNoise(Decimal(scale)).half_width(Decimal("0.95"))
    outside = [2 * p ** (k + 1) / (1 + p) for k in (h - 1, h)]
    assert outside[1] <= 0.05
    assert h == 0 or outside[0] > 0.05


@pytest.mark.parametrize("scale", ["0.05", "0.7", "3", "40", "999"])
def test_a_gaussian_half_width_is_the_least_that_holds_95_percent(scale: str) -> None:
    sigma = float(scale)
    h = GaussianNoise(Decimal(scale)).half_width(Decimal("0.95"))
    masses = [math.exp(-((k / sigma) ** 2) / 2) for k in range(math.ceil(20 * sigma) + 2)]
    total = 2 * math.fsum(masses) - 1
    inside = [(2 * math.fsum(masses[: k + 1]) - 1) / total for k in (h - 1, h)]
    assert inside[1] >= 0.95
    assert h == 0 or inside[0] < 0.95


def test_the_width_of_wide_gaussian_noise_joins_on_to_the_exact_one() -> None:
    exact, normal = (
        GaussianNoise(Decimal(s)).half_width(Decimal("0.95")) for s in ("1000", "1001")
    )
    assert 0 <= normal - exact <= 4


@pytest.mark.parametrize("scale", ["0.3", "3", "57.25", "2000"])
@pytest.mark.parametrize("kind", [LaplaceNoise, GaussianNoise])
def test_a_key_of_one_unit_passes_its_threshold_with_at_most_delta(
    kind: type[LaplaceNoise | GaussianNoise], scale: str
) -> None:
    groups, delta = 3, 1e-8
    threshold = kind(Decimal(scale)).least_threshold(groups, Decimal("1e-8"))
    b = float(scale)
    weights = [
        math.exp(-k / b) if kind is LaplaceNoise else math.exp(-((k / b) ** 2) / 2)
        for k in range(math.ceil(60 * b) + 2)
    ]
    total = 2 * math.fsum(weights) - 1

    def passing(t: int) -> float:
        return groups * math.fsum(weights[t - 1 :]) / total

    assert passing(threshold) <= delta
    slack = 1 if float(scale) <= 1000 or kind is LaplaceNoise else 5
    assert threshold == 2 or passing(threshold - slack) > delta


def test_the_planned_rho_is_spent_by_its_conversion_and_not_passed() -> None:
    rho = float(largest_rho(Decimal(1), Decimal("1e-8")))
    epsilon = min(
        rho * a + (math.log(1e8) + (a - 1) * math.log1p(-1 / a) - math.log(a)) / (a - 1)
        for a in (1 + 10 ** (k / 50) for k in range(-50, 200))
    )
    assert 0.99 <= epsilon <= 1.0005


def test_a_rounded_root_is_never_below_the_root() -> None:
    for square, factor in ((2, 7), (3, 10), (4, 5), (999_983, 12_345_678)):
        assert Fraction(root_up(square, factor)) ** 2 >= factor * factor * square


def test_the_width_of_a_mean_holds_95_percent_of_two_laplace_errors() -> None:
    for first, second in ((1.0, 1.0), (3.0, 1.0), (1.0, 40.0), (2.0, 0.0)):
        t = mean_half_width("discrete_laplace", first, second, 1.0, 1.0)
        wide, narrow = max(first, second), min(first, second)
        if narrow == wide:
            outside = (1 + t / (2 * wide)) * math.exp(-t / wide)
        elif narrow == 0:
            outside = math.exp(-t / wide)
        else:
            top = wide**2 * math.exp(-t / wide) - narrow**2 * math.exp(-t / narrow)
            outside = top / (wide**2 - narrow**2)
        assert outside == pytest.approx(0.05, rel=1e-3)
