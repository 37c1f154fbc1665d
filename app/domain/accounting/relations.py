"""In which neighbouring relation a mechanism has a price, and by which conversion (R7, L8).

A mechanism states what one unit adds or takes away. Under `replace_one` one unit leaves and another
comes, so every figure is that of two units; where no proven rule for two units exists, the pair is
refused rather than guessed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Final, Literal

from app.domain.accounting.poisson import poisson_gaussian
from app.domain.accounting.renyi import (
    Vector,
    discrete_laplace,
    exponential,
    laplace,
    linear,
    randomized_response,
)
from app.domain.decimals import ATTO, float_down, float_up
from app.domain.errors import MechanismNotPriced
from app.domain.mechanisms.kinds import (
    Approximate,
    Composed,
    DiscreteGaussian,
    DiscreteLaplace,
    Exponential,
    Gaussian,
    Laplace,
    Mechanism,
    PoissonSampled,
    Pure,
    RandomizedResponse,
    Repeated,
    Threshold,
    TreeAggregation,
    Zcdp,
)

Units = Literal[1, 2]

_SAME: Final[Mapping[str, Units]] = {"add_remove": 1, "replace_one": 2, "zero_out": 1}

# How many units one step of the relation moves, per mechanism; a missing relation is refused.
UNITS_MOVED: Final[Mapping[type[Mechanism], Mapping[str, Units]]] = {
    Gaussian: _SAME,  # 2 units: sensitivity twice, four times the divergence
    Laplace: _SAME,  # 2 units: sensitivity twice
    DiscreteLaplace: _SAME,
    DiscreteGaussian: _SAME,
    Pure: _SAME,  # 2 units: group privacy, 2 epsilon
    Approximate: _SAME,  # 2 units: (2 epsilon, (1 + e^epsilon) delta), Vadhan 2017, Lemma 2.2
    Exponential: _SAME,  # 2 units: a score moves twice as far
    Zcdp: _SAME,  # 2 units: 4 rho, Bun and Steinke 2016, Proposition 1.9; only where xi is 0
    Threshold: _SAME,  # 2 units: 2 L0 keys, twice the delta; a count in [0, bound] moves once
    Composed: _SAME,
    Repeated: _SAME,
    # No route for two units of a sampled divergence: it was understated up to 4 times elsewhere.
    PoissonSampled: {"add_remove": 1, "zero_out": 1},
    # Zeroing keeps the unit's batch; adding a unit would move the batches after it.
    TreeAggregation: {"zero_out": 1},
    # Its epsilon is about one answer changed; adding or removing a unit shows in who answered.
    RandomizedResponse: {"replace_one": 1, "zero_out": 1},
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What one unit of a mechanism loses, before R1's inflation.

    nats: (count, vector) pairs that add up; a vector holds one library float per order.
    maximum: the worst-case loss in nats, exact; None where it has no finite bound.
    delta: the probability that is charged apart, exact.
    gaussian_1e36: (sensitivity / noise)^2 in 1e-36, rounded up per Gaussian, so that every way to
        write a composition sums to the same; None where anything but continuous unsampled
        Gaussians is in it.
    """

    nats: tuple[tuple[int, Vector], ...]
    maximum: Fraction | None
    delta: Fraction = Fraction(0)
    gaussian_1e36: int | None = None

    def times(self, count: int) -> "Terms":
        """`count` of them, exactly: no vector is multiplied as a float."""
        return Terms(
            tuple((each * count, vector) for each, vector in self.nats),
            None if self.maximum is None else self.maximum * count,
            self.delta * count,
            None if self.gaussian_1e36 is None else self.gaussian_1e36 * count,
        )


def terms_of(mechanism: Mechanism, relation: str) -> Terms:
    """What one unit of a mechanism loses in a relation.

    Raises:
        MechanismNotPriced: no proven rule prices this mechanism in this relation (R6, R7).
    """
    kind = type(mechanism)
    if kind not in UNITS_MOVED:
        raise MechanismNotPriced(mechanism.type, relation, "it has no proven price")
    units = UNITS_MOVED[kind].get(relation)
    if units is None:
        priced = ", ".join(UNITS_MOVED[kind])
        raise MechanismNotPriced(mechanism.type, relation, f"it is priced only under {priced}")
    if isinstance(mechanism, Composed):
        parts = [terms_of(part, relation) for part in mechanism.of]
        maxima = [part.maximum for part in parts]
        gaussians = [part.gaussian_1e36 for part in parts]
        return Terms(
            tuple(pair for part in parts for pair in part.nats),
            None if None in maxima else sum((each for each in maxima if each), Fraction(0)),
            sum((part.delta for part in parts), Fraction(0)),
            None if None in gaussians else sum(each for each in gaussians if each),
        )
    if isinstance(mechanism, Repeated):
        return terms_of(mechanism.of, relation).times(mechanism.count)
    if isinstance(mechanism, Threshold):
        # The noise as for one unit: two units count in twice as many keys instead.
        one = _leaf(mechanism.of, relation, units=1).times(mechanism.groups * units)
        return Terms(one.nats, one.maximum, one.delta + Fraction(mechanism.delta) * units)
    return _leaf(mechanism, relation, units=units)


def _leaf(mechanism: Mechanism, relation: str, *, units: Units) -> Terms:
    """One mechanism that is made of no others, for a step that moves `units` units."""
    match mechanism:
        case Gaussian(noise_multiplier=noise):
            return _gaussian(noise, units)
        case DiscreteGaussian(sigma=sigma, sensitivity_l2=moved):
            ratio = Fraction(moved) * units / Fraction(sigma)
            return _vector(linear(float_up(ratio * ratio / 2)))
        case Zcdp(rho=rho, xi=xi):
            if units == 2 and xi != 0:
                reason = "two units have no proven bound where xi is above 0"
                raise MechanismNotPriced(mechanism.type, relation, reason)
            return _vector(linear(float_up(Fraction(rho) * units * units), float_up(xi)))
        case TreeAggregation(noise_multiplier=noise, steps=steps):
            # The nodes from one leaf to the root: ceil(log2(steps + 1)).
            height = steps.bit_length()
            return _vector(linear(float_up(Fraction(height) / (2 * Fraction(noise) ** 2))))
        case PoissonSampled(rate=rate, of=Gaussian(noise_multiplier=noise)):
            return _vector(poisson_gaussian(float_up(rate), float_down(noise)))
        case PoissonSampled():
            reason = "only a gaussian has a proven price on a Poisson sample"
            raise MechanismNotPriced(mechanism.type, relation, reason)
        case _:
            return _bounded(mechanism, units)


def _bounded(mechanism: Mechanism, units: Units) -> Terms:
    """The mechanisms with a finite worst-case loss."""
    match mechanism:
        case Laplace(scale=scale, sensitivity_l1=moved):
            loss = Fraction(moved) * units / Fraction(scale)
            return Terms(((1, laplace(float_up(loss))),), loss)
        case DiscreteLaplace(scale=scale, sensitivity_l1=moved):
            loss = Fraction(moved) * units / Fraction(scale)
            return Terms(((1, discrete_laplace(float_down(scale), float_up(loss))),), loss)
        case Exponential(epsilon=epsilon):
            loss = Fraction(epsilon) * units
            return Terms(((1, exponential(float_up(loss))),), loss)
        case Pure(epsilon=epsilon) | RandomizedResponse(epsilon=epsilon):
            loss = Fraction(epsilon) * units
            return Terms(((1, randomized_response(float_up(loss))),), loss)
        case Approximate(epsilon=epsilon, delta=delta):
            loss = Fraction(epsilon) * units
            charged = Fraction(delta)
            if units == 2:  # everything is (epsilon, 1)-DP, so a delta above 1 says no more
                charged = min(charged * (1 + _exp_up(epsilon)), Fraction(1))
            return Terms(((1, randomized_response(float_up(loss))),), loss, charged)
    raise MechanismNotPriced(mechanism.type, "any", "it has no proven price")


def _vector(nats: Vector) -> Terms:
    return Terms(((1, nats),), None)


def _gaussian(noise: Decimal, units: Units) -> Terms:
    squared = Fraction(units * units) / Fraction(noise) ** 2
    slope = linear(float_up(squared / 2))
    return Terms(((1, slope),), None, gaussian_1e36=math.ceil(squared * ATTO**2))


def _exp_up(value: Decimal) -> Fraction:
    with localcontext() as context:
        context.prec = 50
        return Fraction(value.exp()) * (1 + Fraction(1, 10**40))
