"""The largest request that would have passed: what a refusal can offer instead (L5, R12).

Everything is found by bisection on the same test that refused, so an offer is never more than what
the test admits. A test may cover several scopes: it is any function of the loss that is added.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Final

from app.domain.accounting.prices import Price, price
from app.domain.decimals import text_up
from app.domain.errors import InvalidParameter
from app.domain.mechanisms.parsing import (
    DiscreteGaussian,
    DiscreteLaplace,
    Gaussian,
    Laplace,
    Mechanism,
    PoissonSampled,
    Repeated,
    TreeAggregation,
)
from app.domain.privacy import Loss

Admits = Callable[[Loss], bool]

OFFERED_DIGITS: Final = 4


def most_units(admits: Admits, price: Price, asked: int, *, beside: Loss) -> int:
    """The most units, up to `asked`, whose charge passes beside a loss that is fixed.

    Args:
        admits: the test, monotone: more loss is never admitted where less was refused.
        price: of one unit of the part.
        asked: the units that were asked for.
        beside: what is held already and what the request's other parts cost.
    """
    least, most = 0, asked + 1
    while most - least > 1:
        middle = (least + most) // 2
        if admits(beside + price.charge(middle)):
            least = middle
        else:
            most = middle
    return least


def with_noise(mechanism: Mechanism, noise: Decimal) -> Mechanism | None:
    """The same mechanism with another amount of noise; None where it has no such parameter.

    The amount is what the mechanism calls it: `noise_multiplier`, `scale` or `sigma`.
    """
    match mechanism:
        case Gaussian() | TreeAggregation():
            return replace(mechanism, noise_multiplier=noise)
        case Laplace() | DiscreteLaplace():
            return replace(mechanism, scale=noise)
        case DiscreteGaussian():
            return replace(mechanism, sigma=noise)
        case PoissonSampled(of=of) | Repeated(of=of):
            noisier = with_noise(of, noise)
            return None if noisier is None else replace(mechanism, of=noisier)
    return None


def noise_of(mechanism: Mechanism) -> Decimal | None:
    """The amount of noise that `with_noise` would replace; None where there is none."""
    match mechanism:
        case Gaussian(noise_multiplier=noise) | TreeAggregation(noise_multiplier=noise):
            return noise
        case Laplace(scale=noise) | DiscreteLaplace(scale=noise) | DiscreteGaussian(sigma=noise):
            return noise
        case PoissonSampled(of=of) | Repeated(of=of):
            return noise_of(of)
    return None


def least_noise(
    admits: Admits, mechanism: Mechanism, units: int, relation: str, *, beside: Loss
) -> str | None:
    """The least noise with which the asked units would pass, rounded up to 4 digits; tried.

    Searched above the noise that was asked for, up to a million times as much.

    Args:
        admits: the test, monotone.
        mechanism: as it was asked for and refused.
        units: the units that were asked for.
        relation: the dataset's neighbouring relation.
        beside: what is held already and what the request's other parts cost.

    Returns:
        The noise in the mechanism's own parameter; None where it has none, or none would do.
    """
    asked = noise_of(mechanism)
    if asked is None:
        return None

    def passes(noise: Decimal) -> bool:
        noisier = with_noise(mechanism, noise)
        assert noisier is not None  # noqa: S101 - noise_of found the parameter
        return admits(beside + price(noisier, relation).charge(units))

    return least_passing(passes, Fraction(asked), digits=OFFERED_DIGITS, most=Fraction(10**6))


def least_passing(
    passes: Callable[[Decimal], bool], start: Fraction, *, digits: int, most: Fraction
) -> str | None:
    """The least value from `start` on that passes, rounded up to some digits and tried.

    Args:
        passes: monotone: what passes still passes when the value grows.
        start: where to begin; it need not pass.
        digits: significant digits of the result.
        most: how many times `start` to look at.

    Returns:
        A decimal string that passed; None where no value in reach does.
    """
    beyond = False  # whether the last value that counts as passing is one nobody takes

    def tried(value: Fraction) -> tuple[Fraction, bool]:
        nonlocal beyond
        shown = Decimal(text_up(value, digits))
        try:
            good, outside = passes(shown), False
        except InvalidParameter:  # more than the mechanism takes: search below it
            good, outside = True, True
        if good:
            beyond = outside
        return Fraction(shown), good

    least, (passing, good) = start, tried(start)
    factor = Fraction(2)
    while not good:
        if passing >= start * most:
            return None
        least = passing
        passing, good = tried(min(passing * factor, start * most))
        factor *= 2
    while passing - least > passing / 10 ** (digits + 1):
        middle, good = tried((least + passing) / 2)
        if middle >= passing:
            break
        if good:
            passing = middle
        else:
            least = middle
    return None if beyond else text_up(passing, digits)
