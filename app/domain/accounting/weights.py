"""How a budget's delta is spread over the orders, once, before any output (R3)."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import Final

from app.domain.privacy import ORDERS

WEIGHTS_VERSION: Final = "weights/1"
WEIGHT_UNIT: Final = 2**80
DIGITS: Final = 50
BUMP_WIDTH: Final = Decimal("0.25")


@lru_cache(maxsize=1024)
def weights_2p80(epsilon: Decimal, delta: Decimal, delta_split: Decimal) -> tuple[int, ...]:
    """The weights l_a in units of 2**-80, rounded down; their sum is at most split x delta.

    Half a bump around the order at which a Gaussian workload would meet (epsilon, delta), half
    uniform, both in ln(a - 1) with trapezoid cells. Computed at 50 digits from the limit at the
    budget's creation and stored; fitting them again to what was observed would be unsound (R5).

    Args:
        epsilon: the limit at creation, in (0, 1e4].
        delta: in [1e-15, 0.1].
        delta_split: the share of delta for the conversion, in (0, 1].
    """
    with localcontext() as context:
        context.prec = DIGITS
        places = [(Decimal(order.numerator) / order.denominator - 1).ln() for order in ORDERS]
        cells = _trapezoid(places)
        log_inverse = -delta.ln()
        # a* - 1 = sqrt(Ld) / (sqrt(Ld + eps) - sqrt(Ld)), without the difference of near equals.
        root = log_inverse.sqrt()
        peak = (root * ((log_inverse + epsilon).sqrt() + root) / epsilon).ln()
        heights = [-(((place - peak) / BUMP_WIDTH) ** 2) / 2 for place in places]
        # Relative to the nearest order: a peak far off the orders would underflow everywhere else.
        nearest = max(heights)
        bump = [
            (height - nearest).exp() * cell for height, cell in zip(heights, cells, strict=True)
        ]
        bump_sum, cell_sum = sum(bump), sum(cells)
        shares = [
            (lump / bump_sum + cell / cell_sum) / 2 for lump, cell in zip(bump, cells, strict=True)
        ]
        conversion = Fraction(delta_split) * Fraction(delta)
        weights = tuple(math.floor(conversion * Fraction(share) * WEIGHT_UNIT) for share in shares)
    require_weights(weights, conversion)
    return weights


def require_weights(weights: tuple[int, ...], conversion: Fraction) -> None:
    """The one thing the proof needs of weights: not negative, and summing to at most d_conv.

    Raises:
        ValueError: they are not; such a policy must not decide anything.
    """
    if len(weights) != len(ORDERS) or min(weights) < 0:
        raise ValueError(f"a policy has {len(ORDERS)} weights, none negative")
    if sum(weights) > conversion * WEIGHT_UNIT:
        raise ValueError("the weights sum to more than the delta they share")


def _trapezoid(places: list[Decimal]) -> list[Decimal]:
    """The width of each order's cell; half cells at the ends."""
    last = len(places) - 1
    return [
        (places[min(index + 1, last)] - places[max(index - 1, 0)]) / 2
        for index in range(len(places))
    ]
