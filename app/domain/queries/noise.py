"""Noise of a query: how a target is split into scales, and what width the discrete noise has.

All that decides a charge is computed in decimals of 50 digits, so that the service and a worker on
another machine find the same mechanism to the last digit. Rounding always goes to more noise.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from statistics import NormalDist
from typing import Final, Protocol

DIGITS: Final = 50
SCALE_DIGITS: Final = 6
# Above this the exact sums over the discrete Gaussian give way to proven normal bounds.
_SUMMED_SIGMA_MOST: Final = 1_000
_NORMAL: Final = NormalDist()


class Noise(Protocol):
    """Integer noise, symmetric about 0."""

    def half_width(self, confidence: Decimal) -> int:
        """The least h with P(|Z| <= h) >= confidence."""

    def least_threshold(self, groups: int, delta: Decimal) -> int:
        """The least T with groups x P(1 + Z >= T) <= delta: a lone unit's keys stay hidden."""


@dataclass(frozen=True, slots=True)
class LaplaceNoise:
    """Discrete Laplace: P(Z = k) = (1-p)/(1+p) p^|k|, p = e^(-1/scale)."""

    scale: Decimal

    def half_width(self, confidence: Decimal) -> int:
        """The least h with P(|Z| <= h) >= confidence, exactly: P(|Z| > h) = 2 p^(h+1) / (1+p)."""
        with localcontext(Context(prec=DIGITS)):
            p = (-1 / self.scale).exp()
            steps = self.scale * (2 / ((1 + p) * (1 - confidence))).ln()
            return max(0, math.ceil(steps) - 1)

    def least_threshold(self, groups: int, delta: Decimal) -> int:
        """The least T >= 2 with groups x p^(T-1) / (1+p) <= delta.

        The release rule is "noisy count >= T", so a key of one unit passes with P(Z >= T - 1).
        """
        with localcontext(Context(prec=DIGITS)):
            p = (-1 / self.scale).exp()
            steps = self.scale * (groups / (delta * (1 + p))).ln()
            return max(2, math.ceil(steps) + 1)


@dataclass(frozen=True, slots=True)
class GaussianNoise:
    """Discrete Gaussian: P(Z = k) proportional to e^(-k^2 / (2 sigma^2))."""

    scale: Decimal

    def half_width(self, confidence: Decimal) -> int:
        """The least h with P(|Z| <= h) >= confidence; above sigma 1000 within one of it."""
        sigma = float(self.scale)
        outside = float(1 - confidence) / 2
        if sigma > _SUMMED_SIGMA_MOST:
            return math.ceil(sigma * _NORMAL.inv_cdf(1 - outside) - 0.5)
        return _least_tail(sigma, outside) - 1

    def least_threshold(self, groups: int, delta: Decimal) -> int:
        """The least T >= 2 with groups x P(Z >= T - 1) <= delta, or one above it.

        Above sigma 1000: P(Z >= k) <= P(N(0, sigma^2) >= k - 1) (Canonne, Kamath, Steinke 2020,
        Proposition 25).
        """
        sigma = float(self.scale)
        share = float(delta) / groups * (1 - 1e-9)
        if sigma > _SUMMED_SIGMA_MOST:
            return max(2, math.ceil(sigma * -_NORMAL.inv_cdf(share)) + 3)
        return max(2, _least_tail(sigma, share) + 1)


def noise_of(kind: str, scale: Decimal) -> Noise:
    """The noise of a kind (`discrete_laplace`, `discrete_gaussian`) and scale."""
    return GaussianNoise(scale) if kind == "discrete_gaussian" else LaplaceNoise(scale)


@lru_cache(maxsize=256)
def _least_tail(sigma: float, share: float) -> int:
    """The least k >= 1 with P(Z >= k) <= share for a discrete Gaussian, by summing its masses."""
    last = math.ceil(12 * sigma) + 2
    masses = [math.exp(-((k / sigma) ** 2) / 2) for k in range(last + 1)]
    total = masses[0] + 2 * math.fsum(masses[1:])
    tail = 0.0
    for k in range(last, 0, -1):
        if tail + masses[k] > share * total:
            return k + 1
        tail += masses[k]
    return 1


def round_scale(value: Decimal) -> Decimal:
    """A noise scale with six significant digits, rounded up."""
    return Context(prec=SCALE_DIGITS, rounding=ROUND_CEILING).create_decimal(value).normalize()


def laplace_scale(sensitivity: int, epsilon: Fraction) -> Decimal:
    """The scale b >= sensitivity / epsilon of discrete Laplace noise."""
    exact = sensitivity / epsilon
    with localcontext(Context(prec=DIGITS, rounding=ROUND_CEILING)):
        return round_scale(Decimal(exact.numerator) / Decimal(exact.denominator))


def gaussian_scale(sensitivity_squared: int, rho: Decimal, share: Fraction) -> Decimal:
    """The sigma >= sensitivity / sqrt(2 rho share): zCDP rho x share of integers (R6)."""
    with localcontext(Context(prec=DIGITS, rounding=ROUND_CEILING)):
        part = rho * share.numerator / share.denominator
        return round_scale((sensitivity_squared / (2 * part)).sqrt() * (1 + Decimal("1e-40")))


def root_up(square: int, factor: int) -> Decimal:
    """The product factor x sqrt(square) with 18 significant digits, rounded up."""
    exact = factor * factor * square
    root = math.isqrt(exact)
    if root * root == exact:
        return Decimal(root)
    with localcontext(Context(prec=DIGITS)):
        wide = Decimal(exact).sqrt() * (1 + Decimal("1e-40"))
    return Context(prec=18, rounding=ROUND_CEILING).create_decimal(wide)


@lru_cache(maxsize=256)
def largest_rho(epsilon: Decimal, delta: Decimal) -> Decimal:
    """The largest zCDP rho that the conversion below turns into at most (epsilon, delta).

    epsilon = rho a + (ln(1/delta) + (a-1) ln(1-1/a) - ln a) / (a-1) for any a > 1 (Canonne,
    Kamath, Steinke 2020, Corollary 13); solved for rho and maximised over a fixed grid of a.
    """
    with localcontext(Context(prec=DIGITS)):
        best = Decimal(0)
        quarter = Decimal(2).sqrt().sqrt()
        above = Decimal(2) ** -5
        needed = -delta.ln()
        while above < Decimal(2) ** 45:
            order = 1 + above
            spent = (needed + above * (above / order).ln() - order.ln()) / above
            best = max(best, (epsilon - spent) / order)
            above *= quarter
        return best * (1 - Decimal("1e-30"))


def mean_half_width(
    kind: str, sum_scale: float, count_scale: float, ratio: float, count: float
) -> float:
    """Half of the 95% interval of a noisy sum over a noisy count.

    The error of S/N is (Z_s - r Z_n) / N for a true ratio r; the quantile of the numerator is
    that of two independent Laplace or Gaussian variables, in units of the sum's grid.
    """
    other = abs(ratio) * count_scale
    if kind == "discrete_gaussian":
        return _NORMAL.inv_cdf(0.975) * math.hypot(sum_scale, other) / count
    return _two_laplace_quantile(sum_scale, other) / count


def deviation(kind: str, scale: float) -> float:
    """The standard deviation of continuous noise of this kind and scale."""
    return scale if kind == "discrete_gaussian" else math.sqrt(2) * scale


def sum_half_width(kind: str, deviations: Iterable[float]) -> float:
    """A t with P(|sum| > t) <= 0.05 for independent noise of these standard deviations.

    Exact for Gaussian noise. For a sum of Laplace variables the quantile of one of them at the same
    variance: the quantile falls from 2.118 deviations toward the normal 1.960 as they are added.
    """
    spread = math.hypot(*deviations)
    return spread * (
        _NORMAL.inv_cdf(0.975) if kind == "discrete_gaussian" else math.log(20) / math.sqrt(2)
    )


def variance_half_width(
    kind: str, scales: tuple[float, float, float], mean: float, square: float, count: float
) -> float:
    """Half of the 95% interval of a variance S2/N - (S1/N)^2, by the delta method.

    Args:
        kind: of the noise.
        scales: of the sum, the sum of squares and the count.
        mean: S1/N, in steps about the centre.
        square: S2/N, in squared steps about their centre.
        count: N.
    """
    total, squares, counted = (deviation(kind, scale) for scale in scales)
    parts = (squares, 2 * mean * total, (2 * mean * mean - square) * counted)
    return sum_half_width(kind, parts) / count


def stdev_half_width(variance: float, width: float) -> float:
    """Half of an interval of the root of a variance that is known within `width`."""
    root = math.sqrt(max(variance, 0.0))
    above = math.sqrt(max(variance, 0.0) + width) - root
    return max(above, root - math.sqrt(max(variance - width, 0.0)))


def _two_laplace_quantile(first: float, second: float) -> float:
    """The t with P(|X + Y| > t) = 0.05 for Laplace variables of these scales."""
    wide, narrow = max(first, second), min(first, second)
    lean = narrow / wide

    def outside(t: float) -> float:
        if lean > 1 - 1e-4:
            return (1 + t / 2) * math.exp(-t)
        if lean == 0:
            return math.exp(-t)
        return (math.exp(-t) - lean * lean * math.exp(-t / lean)) / (1 - lean * lean)

    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if outside(middle) > 0.05 else (low, middle)
    return high * wide
