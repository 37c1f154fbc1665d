"""Bounds from mu of Gaussian DP: for one Gaussian, or a plan of them that was fixed in advance.

Tighter than `proven`, and never shown in its place (L9): a filter whose jobs are chosen along the
way proves no mu.
"""

from decimal import Decimal
from functools import lru_cache
from statistics import NormalDist
from typing import Final

from app.domain.risk.precision import DIGITS, exactly

# beyond this many standard deviations a tail counts as its bound, or as nothing
FAR: Final = 24
NEWTON_STEPS: Final = 6


def mu_of_squares(squares: Decimal) -> Decimal:
    """The mu of Gaussians that run beside one another: the root of the summed 1/noise^2."""
    with exactly():
        return squares.sqrt()


def attack_rate(mu: Decimal, false_rate: Decimal) -> Decimal:
    """The largest true-positive rate at a false-positive rate: Phi(Phi^-1(x) + mu).

    Source: Dong, Roth and Su 2022, section 2.
    """
    if not 0 < false_rate < 1:
        return Decimal(int(false_rate >= 1))
    with exactly():
        return normal_below(_quantile(false_rate) + mu)


def advantage(mu: Decimal) -> Decimal:
    """The largest true-positive less false-positive rate: 2 Phi(mu/2) - 1."""
    with exactly():
        return 2 * normal_below(mu / 2) - 1


def best_guess(mu: Decimal) -> Decimal:
    """The largest share of right guesses where both answers are equally likely: Phi(mu/2)."""
    with exactly():
        return normal_below(mu / 2)


def delta_at(mu: Decimal, epsilon: Decimal) -> Decimal:
    """The delta at an epsilon: Phi(mu/2 - e/mu) - e^e Phi(-mu/2 - e/mu); never understated.

    Source: Dong, Roth and Su 2022, Corollary 1; Balle and Wang 2018, Theorem 8.
    """
    with exactly():
        if mu == 0:
            return Decimal(0)
        lost = normal_below(mu / 2 - epsilon / mu)
        far = mu / 2 + epsilon / mu
        if far > FAR:  # what is left out would be taken off
            return lost
        with exactly(_digits_beside(far)):
            return max(Decimal(0), lost - epsilon.exp() * normal_below(-far))


def normal_below(value: Decimal) -> Decimal:
    """The standard normal distribution function, to about 50 digits; never understated far out.

    1/2 + phi(z) (z + z^3/3 + z^5/15 + ...), all terms of one sign; the digits grow with the tail.
    """
    distance = abs(value)
    if distance > FAR:
        if value > 0:
            return Decimal(1)
        with exactly():
            return _density(distance) / distance
    digits = _digits_beside(distance)
    with exactly(digits):
        term = total = distance
        divisor = 1
        while term > total.scaleb(-digits):
            divisor += 2
            term = term * distance * distance / divisor
            total += term
        upper = total * _density(distance)
        half = Decimal("0.5")
        return half + upper if value >= 0 else half - upper


def _digits_beside(distance: Decimal) -> int:
    """Digits of a share near 1/2 that leave 60 of a tail, which is about 10^(-0.2172 z^2)."""
    return DIGITS + int(distance * distance / 4) + 5


def _density(value: Decimal) -> Decimal:
    return (-value * value / 2).exp() / (2 * _pi()).sqrt()


@lru_cache(maxsize=1)
def _pi() -> Decimal:
    """Pi, to the digits of the farthest tail, by arithmetic-geometric means (Brent 1976)."""
    digits = _digits_beside(Decimal(FAR))
    with exactly(digits + 10):
        mean, root, rest, weight = Decimal(1), Decimal("0.5").sqrt(), Decimal("0.25"), Decimal(1)
        while abs(mean - root) > Decimal(1).scaleb(-digits):
            following = (mean + root) / 2
            root = (mean * root).sqrt()
            rest -= weight * (mean - following) ** 2
            mean, weight = following, 2 * weight
        return (mean + root) ** 2 / (4 * rest)


def _quantile(share: Decimal) -> Decimal:
    """Where the distribution function reaches a share, by Newton's steps from a float."""
    found = Decimal(NormalDist().inv_cdf(float(share)))
    for _ in range(NEWTON_STEPS):
        found -= (normal_below(found) - share) / _density(found)
    return found
