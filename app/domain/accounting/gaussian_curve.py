"""The exact delta of the Gaussian mechanism in decimals, to far more digits than a limit has.

`conversions` holds the same curve in floats, for statements. What decides an admission is computed
here: 80 digits, of which cancellation takes fewer than 40.
"""

from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import Final

from app.domain.decimals import ATTO

DIGITS: Final = 80
# What a result may be off by, relative; far above the arithmetic's own error.
CAUTION: Final = Fraction(1, 10**30)

_PI: Final = Decimal(
    "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534"
)
# Beyond this the continued fraction has 80 digits within _LEVELS levels; below it, the series does.
_FAR: Final = 6
_LEVELS: Final = 400


def gaussian_delta_exact(squares_atto: int, epsilon: Decimal) -> Fraction:
    """The delta at epsilon of a Gaussian with (sensitivity / noise)^2 = squares_atto x 1e-18.

    Right to 1e-30 relative, as long as it is above 1e-30.

    Args:
        squares_atto: mu squared, in 1e-18; 0 or more.
        epsilon: 0 or more.

    Source: Balle and Wang 2018, Theorem 8.
    """
    if squares_atto == 0:
        return Fraction(0)
    with localcontext() as context:
        context.prec = DIGITS
        mean = (Decimal(squares_atto) / ATTO).sqrt()
        near, far = epsilon / mean - mean / 2, epsilon / mean + mean / 2
        return max(Fraction(0), Fraction(upper_tail(near) - epsilon.exp() * upper_tail(far)))


@lru_cache(maxsize=1024)
def largest_squares_atto(epsilon: Decimal, delta: Fraction) -> int:
    """The largest mu squared, in 1e-18 and rounded down, that is (epsilon, delta)-DP.

    Args:
        epsilon: in (0, 1e4].
        delta: in (0, 1).
    """
    allowed = delta * (1 - CAUTION)
    least, most = 0, ATTO
    while gaussian_delta_exact(most, epsilon) <= allowed:
        least, most = most, 2 * most
    while most - least > 1:
        middle = (least + most) // 2
        if gaussian_delta_exact(middle, epsilon) <= allowed:
            least = middle
        else:
            most = middle
    return least


def upper_tail(value: Decimal) -> Decimal:
    """The standard normal mass above `value`, in the digits of the context.

    Near 0 by the series of all positive terms (Marsaglia 2004, equation 1), far out by Laplace's
    continued fraction (Abramowitz and Stegun, 26.2.14).
    """
    if value < 0:
        return 1 - upper_tail(-value)
    density = (-value * value / 2).exp() / (2 * _PI).sqrt()
    if value < _FAR:
        term = total = value
        odd = 1
        while term > total.scaleb(-DIGITS):
            odd += 2
            term = term * value * value / odd
            total += term
        return Decimal("0.5") - density * total
    ratio = value
    for level in range(_LEVELS, 0, -1):
        ratio = value + level / ratio
    return density / ratio
