"""A second accountant: Renyi divergences in closed form, worked out in decimals.

It shares no code and no library with the prices that the ledger charges. Each value here is a
divergence that the mechanism truly reaches, so a charge below it proves that too little was taken;
a charge above it proves nothing, since two valid upper bounds may differ. Decimal arithmetic gives
the same digits on every machine.
"""

from collections.abc import Sequence
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from math import comb
from typing import Any, Final

from app.domain.accounting.prices import INFLATION, INFLATION_NATS, Price
from app.domain.mechanisms.parsing import (
    Composed,
    DiscreteGaussian,
    DiscreteLaplace,
    Exponential,
    Gaussian,
    Laplace,
    Mechanism,
    PoissonSampled,
    Pure,
    Repeated,
    Threshold,
    Zcdp,
)
from app.domain.privacy import ORDERS

CHECKED_ORDERS: Final = (2, 4, 8, 32)
DIGITS: Final = 40
# what rounding of sensitivities to 18 digits, and of rates to floats, may be off by
SLACK: Final = Fraction(1, 10**9)
_UNITS_MOVED: Final = {"add_remove": 1, "zero_out": 1, "replace_one": 2}


def falls_short(price: Price) -> int | None:
    """The first checked order at which a price takes less than its mechanism loses.

    None where it nowhere does.

    Raises:
        LookupError: no closed form is known of the mechanism in its relation.
    """
    for order in CHECKED_ORDERS:
        wanted = divergence(price.mechanism, price.relation, order)
        got = charged_nats(price, ORDERS.index(Fraction(order)))
        if got is not None and Fraction(wanted) * (1 - SLACK) > got:
            return order
    return None


def charged_nats(price: Price, place: int) -> Fraction | None:
    """What one unit is charged at an order, with R1's inflation; None where the order is dead."""
    total = Fraction(0)
    for count, vector in price.terms:
        if vector[place] == float("inf"):
            return None
        total += count * (Fraction(vector[place]) * INFLATION + INFLATION_NATS)
    return total


def divergence(mechanism: Mechanism, relation: str, order: int) -> Decimal:
    """The Renyi divergence, in nats, that one unit's change reaches at a whole order above 1.

    Of a bound that was only declared (pure, zCDP) the declared one.

    Raises:
        LookupError: no closed form is known.
    """
    with localcontext(Context(prec=DIGITS)):
        return _divergence(mechanism, _UNITS_MOVED[relation], order)


@lru_cache(maxsize=4096)
def _divergence(mechanism: Mechanism, moved: int, order: int) -> Decimal:
    match mechanism:
        case Composed(of=of):
            return sum((_divergence(each, moved, order) for each in of), Decimal(0))
        case Repeated(of=of, count=count):
            return count * _divergence(of, moved, order)
        case Gaussian(noise_multiplier=noise):
            return order * moved**2 / (2 * noise**2)
        case DiscreteGaussian(sigma=sigma, sensitivity_l2=reach):
            # whole shifts at a whole order: the sums over all integers are equal and cancel
            return order * (moved * reach) ** 2 / (2 * sigma**2)
        case Zcdp(rho=rho, xi=xi) if moved == 1:
            return rho * order + xi
        case Laplace(scale=scale, sensitivity_l1=reach):
            return _laplace(moved * reach / scale, order)
        case DiscreteLaplace(scale=scale, sensitivity_l1=reach):
            return _discrete_laplace(scale, moved * reach, order)
        case Threshold(of=of, groups=groups):
            # each cell moves by one; where a unit is replaced, twice as many cells do
            return moved * groups * _divergence(of, 1, order)
        case PoissonSampled(rate=rate, of=Gaussian(noise_multiplier=noise)) if moved == 1:
            return _poisson(rate, noise, order)
        case Pure() | Exponential():
            # the loss itself is not known, only its bound: the worst case is compared instead
            return Decimal(0)
    raise LookupError(mechanism.type)


def _laplace(epsilon: Decimal, order: int) -> Decimal:
    """Mironov 2017, Proposition 6."""
    up = Decimal(order) / (2 * order - 1) * ((order - 1) * epsilon).exp()
    down = Decimal(order - 1) / (2 * order - 1) * (-order * epsilon).exp()
    return (up + down).ln() / (order - 1)


def _discrete_laplace(scale: Decimal, reach: Decimal, order: int) -> Decimal:
    """The sum over all integers of P^a Q^(1-a), in its three geometric parts (R6)."""
    p = (-1 / scale).exp()
    below = (1 - p) / (1 + p)
    beside = (p ** (2 * order - 1)) / (1 - p ** (2 * order - 1))
    up = below * (1 / (1 - p) + beside)
    down = below * (1 / (1 - p) - 1 / (1 - p ** (2 * order - 1)))
    steps = reach / scale
    moment = up * ((order - 1) * steps).exp() + down * (-order * steps).exp()
    return moment.ln() / (order - 1)


def _poisson(rate: Decimal, noise: Decimal, order: int) -> Decimal:
    """The binomial sum at a whole order (Mironov, Talwar and Zhang 2019, section 3.3)."""
    square = 2 * noise**2
    moment = sum(
        (
            comb(order, k) * (1 - rate) ** (order - k) * rate**k * ((k * k - k) / square).exp()
            for k in range(order + 1)
        ),
        Decimal(0),
    )
    return moment.ln() / (order - 1)


def worst_case(mechanism: Mechanism, relation: str) -> Fraction | None:
    """The largest loss of one unit's change, exactly; None where there is none or it is unknown."""
    return _worst(mechanism, _UNITS_MOVED[relation])


def _worst(mechanism: Mechanism, moved: int) -> Fraction | None:
    match mechanism:
        case Composed(of=of):
            return _summed([_worst(each, moved) for each in of])
        case Repeated(of=of, count=count):
            one = _worst(of, moved)
            return None if one is None else count * one
        case Laplace(scale=scale, sensitivity_l1=reach):
            return moved * Fraction(reach) / Fraction(scale)
        case DiscreteLaplace(scale=scale, sensitivity_l1=reach):
            return moved * Fraction(reach) / Fraction(scale)
        case Pure(epsilon=epsilon) | Exponential(epsilon=epsilon):
            return moved * Fraction(epsilon)
        case Threshold(of=of, groups=groups):
            one = _worst(of, 1)
            return None if one is None else moved * groups * one
    return None


def _summed(found: Sequence[Fraction | None]) -> Fraction | None:
    total = Fraction(0)
    for each in found:
        if each is None:
            return None
        total += each
    return total


def epsilon_of(vector: Sequence[tuple[int, Any]], delta: Decimal) -> Decimal | None:
    """Epsilon at delta by the best of some orders: of one piece of work, fixed in advance.

    Args:
        vector: (order, nats) pairs; nats as a Decimal or a Fraction.
        delta: above 0.

    Source: Canonne, Kamath and Steinke 2020, Proposition 12.
    """
    with localcontext(Context(prec=DIGITS)):
        found = [
            _decimal(nats)
            + (1 - 1 / Decimal(order)).ln()
            - (delta.ln() + Decimal(order).ln()) / (order - 1)
            for order, nats in vector
        ]
    return max(Decimal(0), min(found)) if found else None


def _decimal(value: Any) -> Decimal:
    if isinstance(value, Fraction):
        return Decimal(value.numerator) / Decimal(value.denominator)
    return Decimal(value)
