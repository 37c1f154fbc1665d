"""A mechanism on records, restated for a user who holds at most k of them (R7, L8).

Only where the cap k is *enforced* before anything is sampled or summed. What has no proven rule is
refused: derive the mechanism again for the user's own contribution instead. The result is stated
under add_remove like every mechanism, so `price` doubles it under replace_one as it does others.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import Final

from app.domain.documents import read_integer
from app.domain.errors import InvalidParameter, MechanismNotPriced
from app.domain.mechanisms.kinds import (
    Approximate,
    Composed,
    DiscreteGaussian,
    DiscreteLaplace,
    Exponential,
    Gaussian,
    Laplace,
    Mechanism,
    Pure,
    RandomizedResponse,
    Repeated,
    Zcdp,
)

LARGEST_GROUP: Final = 2**20
# What a parameter is written with; the rounding goes toward more loss.
_DIGITS: Final = 30
_LONG: Final = 80
_TINY: Final = Decimal("1e-20")

Rule = Callable[[Mechanism, int], Mechanism]


def from_record(mechanism: Mechanism, records: int) -> Mechanism:
    """The mechanism for a unit of up to `records` records; the same sampler.

    Args:
        mechanism: stated for one record.
        records: the enforced cap k, from 1 to 2**20; 1 changes nothing.

    Raises:
        InvalidParameter: `records` is not such a number.
        MechanismNotPriced: no proven rule, or the result leaves the range of what has a price.
    """
    if read_integer(records, "/records", low=1, high=LARGEST_GROUP) == 1:
        return mechanism
    rule = GROUP_RULES.get(type(mechanism))
    if rule is None:
        reason = "it has no proven rule for several records: derive it for the user's contribution"
        raise MechanismNotPriced(mechanism.type, "user", reason)
    try:
        return rule(mechanism, records)
    except InvalidParameter as refusal:
        reason = f"for {records} records, {refusal.pointer[1:]}: {refusal.reason}"
        raise MechanismNotPriced(mechanism.type, "user", reason) from refusal


def _gaussian(mechanism: Mechanism, k: int) -> Mechanism:
    """A sum moves k times as far, in units of which the noise is a k-th."""
    assert isinstance(mechanism, Gaussian)  # noqa: S101 - the table says so
    with localcontext() as context:
        context.prec, context.rounding = _DIGITS, ROUND_FLOOR
        return replace(mechanism, noise_multiplier=mechanism.noise_multiplier / k)


def _l1(mechanism: Mechanism, k: int) -> Mechanism:
    """A sum moves k times as far in L1."""
    assert isinstance(mechanism, Laplace | DiscreteLaplace)  # noqa: S101 - the table says so
    return replace(mechanism, sensitivity_l1=_times(mechanism.sensitivity_l1, k))


def _l2(mechanism: Mechanism, k: int) -> Mechanism:
    """A sum moves k times as far in L2."""
    assert isinstance(mechanism, DiscreteGaussian)  # noqa: S101 - the table says so
    return replace(mechanism, sensitivity_l2=_times(mechanism.sensitivity_l2, k))


def _epsilon(mechanism: Mechanism, k: int) -> Mechanism:
    """Epsilon times k: k steps of pure DP (Dwork and Roth 2014, Theorem 2.2); scores move k times.

    Randomized response stays what it is, for it is about answers changed, not about presence.
    """
    assert isinstance(mechanism, Pure | Exponential | RandomizedResponse)  # noqa: S101
    return replace(mechanism, epsilon=_times(mechanism.epsilon, k))


def _approximate(mechanism: Mechanism, k: int) -> Mechanism:
    """(k epsilon, delta (1 + e^eps + ... + e^((k-1) eps))): Vadhan 2017, Lemma 2.2."""
    assert isinstance(mechanism, Approximate)  # noqa: S101 - the table says so
    epsilon = mechanism.epsilon
    # refused here if it leaves its range, before the exponential of it leaves that of decimals
    grown = replace(mechanism, epsilon=_times(epsilon, k))
    with localcontext() as context:
        context.prec, context.rounding = _DIGITS, ROUND_CEILING
        # 1e-19 and 1e-20 are far above the rounding of the exponentials and their quotient; for a
        # smaller epsilon that would be a quotient of last digits, and e^(k eps) is below 1 + 2e-20.
        steps = k * (1 + Decimal("1e-19")) if epsilon else Decimal(k)
        if k * epsilon > _TINY:
            context.prec = _LONG
            steps = ((k * epsilon).exp() - 1) / (epsilon.exp() - 1) * (1 + Decimal("1e-20"))
            context.prec = _DIGITS
        delta = mechanism.delta * steps
    return replace(grown, delta=delta)


def _zcdp(mechanism: Mechanism, k: int) -> Mechanism:
    """k^2 rho where xi is 0 (Bun and Steinke 2016, Proposition 1.9); else by doublings.

    With xi, the divergence is known only as a Renyi bound xi + rho a. For k <= 2^c Mironov 2017,
    Proposition 2, gives 3^c (xi + 2^c rho a) at every a >= 2; below 2 the divergence is at most
    that at 2. Both lie below xi' + rho' a with rho' = 6^c rho and xi' = 3^c xi + rho'.
    """
    assert isinstance(mechanism, Zcdp)  # noqa: S101 - the table says so
    if not mechanism.xi:
        return replace(mechanism, rho=_times(mechanism.rho, k * k))
    doublings = (k - 1).bit_length()
    rho = _times(mechanism.rho, 6**doublings)
    with localcontext() as context:
        context.prec, context.rounding = _DIGITS, ROUND_CEILING
        return replace(mechanism, rho=rho, xi=mechanism.xi * 3**doublings + rho)


def _repeated(mechanism: Mechanism, k: int) -> Mechanism:
    """Each of them for the group."""
    assert isinstance(mechanism, Repeated)  # noqa: S101 - the table says so
    return replace(mechanism, of=from_record(mechanism.of, k))


def _composed(mechanism: Mechanism, k: int) -> Mechanism:
    """Each of them for the group."""
    assert isinstance(mechanism, Composed)  # noqa: S101 - the table says so
    return replace(mechanism, of=tuple(from_record(each, k) for each in mechanism.of))


# What is missing here is refused. A Poisson sample of records may hold any number of one user's; a
# tree puts them in several batches; a threshold's delta is that of a lone record in a key.
GROUP_RULES: Final[Mapping[type[Mechanism], Rule]] = {
    Gaussian: _gaussian,
    Laplace: _l1,
    DiscreteLaplace: _l1,
    DiscreteGaussian: _l2,
    Pure: _epsilon,
    Exponential: _epsilon,
    RandomizedResponse: _epsilon,
    Approximate: _approximate,
    Zcdp: _zcdp,
    Repeated: _repeated,
    Composed: _composed,
}


def _times(value: Decimal, factor: int) -> Decimal:
    """A product rounded up in its last digit, which is more loss for all that is multiplied."""
    with localcontext() as context:
        context.prec, context.rounding = _DIGITS, ROUND_CEILING
        return value * factor
