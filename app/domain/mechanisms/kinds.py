"""What is run, as frozen facts: one class per mechanism that has a price.

A mechanism states the parameters of ONE unit under `add_remove`: a sensitivity is what one unit
can add or take away. `price` converts to the dataset's own relation (R7), so that nobody doubles a
sensitivity twice. Ranges are those of the pricing code, not advice.
"""

import re
from dataclasses import dataclass, field, fields
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar, Final

from app.domain.decimals import decimal_text, parse_decimal
from app.domain.documents import read_integer
from app.domain.errors import InvalidParameter
from app.domain.privacy import LARGEST_DELTA, LARGEST_EPSILON, LEAST_DELTA

LEAST_NOISE: Final = Decimal("1e-3")
LARGEST_NOISE: Final = Decimal("1e9")
LEAST_RATE: Final = Decimal("1e-9")
LEAST_EPSILON: Final = Decimal("1e-18")
LARGEST_MAGNITUDE: Final = Decimal("1e30")
LARGEST_COUNT: Final = 2**40

_SAMPLER = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+/-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One mechanism. `sampler` names the implementation and is printed as an assumption."""

    type: ClassVar[str] = ""
    optional: ClassVar[frozenset[str]] = frozenset({"sampler"})

    sampler: str | None = field(default=None, kw_only=True)

    def to_json(self) -> dict[str, Any]:
        """The wire form: `type`, decimal strings as they were written, `sampler` if it is known."""
        document: dict[str, Any] = {"type": self.type}
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Decimal):
                document[each.name] = decimal_text(value)
            elif isinstance(value, Mechanism):
                document[each.name] = value.to_json()
            elif isinstance(value, tuple):
                document[each.name] = [part.to_json() for part in value]
            elif value is not None:
                document[each.name] = value
        return document

    def children(self) -> tuple["Mechanism", ...]:
        """The mechanisms that this one is made of."""
        return ()

    def _keep(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


def _within(value: Decimal | str, name: str, least: Decimal, largest: Decimal) -> Decimal:
    """A parameter with its text, if it lies in [least, largest]; strings and decimals only."""
    if isinstance(value, Decimal) and value.is_finite():
        value = decimal_text(value)
    exact = parse_decimal(value, f"/{name}")
    if not least <= exact <= largest:
        raise InvalidParameter(f"/{name}", f"must be between {least} and {largest}")
    return exact


def _whole(value: object, name: str) -> int:
    """A count in 1..2**40; a boolean is not a count."""
    return read_integer(value, f"/{name}", low=1, high=LARGEST_COUNT)


def _named(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or _SAMPLER.fullmatch(value) is None:
        raise InvalidParameter("/sampler", "must be a short name of letters, digits and . _ + / -")
    return value


def _mechanism(value: object, pointer: str = "/of") -> Mechanism:
    if not isinstance(value, Mechanism):
        raise InvalidParameter(pointer, "must be a mechanism")
    return value


@dataclass(frozen=True, slots=True, init=False)
class Gaussian(Mechanism):
    """Continuous Gaussian noise of standard deviation noise_multiplier x L2 sensitivity."""

    type: ClassVar[str] = "gaussian"
    noise_multiplier: Decimal

    def __init__(self, noise_multiplier: Decimal | str, *, sampler: str | None = None) -> None:
        noise = _within(noise_multiplier, "noise_multiplier", LEAST_NOISE, LARGEST_NOISE)
        self._keep(noise_multiplier=noise, sampler=_named(sampler))


def _scaled(scale: Decimal | str, sensitivity: Decimal | str) -> tuple[Decimal, Decimal]:
    """Scale and L1 sensitivity whose quotient, the epsilon, lies in the range of an epsilon."""
    least = Decimal(1) / LARGEST_MAGNITUDE
    noise = _within(scale, "scale", least, LARGEST_MAGNITUDE)
    moved = _within(sensitivity, "sensitivity_l1", least, LARGEST_MAGNITUDE)
    if not Fraction(LEAST_EPSILON) <= Fraction(moved) / Fraction(noise) <= LARGEST_EPSILON:
        raise InvalidParameter(
            "/scale", f"sensitivity / scale must be between {LEAST_EPSILON} and {LARGEST_EPSILON}"
        )
    return noise, moved


@dataclass(frozen=True, slots=True, init=False)
class Laplace(Mechanism):
    """Continuous Laplace noise of scale b on a value of L1 sensitivity S; epsilon = S / b."""

    type: ClassVar[str] = "laplace"
    scale: Decimal
    sensitivity_l1: Decimal

    def __init__(
        self, scale: Decimal | str, sensitivity_l1: Decimal | str, *, sampler: str | None = None
    ) -> None:
        noise, moved = _scaled(scale, sensitivity_l1)
        self._keep(scale=noise, sensitivity_l1=moved, sampler=_named(sampler))


@dataclass(frozen=True, slots=True, init=False)
class DiscreteLaplace(Mechanism):
    """Integer noise with mass proportional to e^(-|k|/b), on integers of integer L1 sensitivity."""

    type: ClassVar[str] = "discrete_laplace"
    scale: Decimal
    sensitivity_l1: Decimal

    def __init__(
        self, scale: Decimal | str, sensitivity_l1: Decimal | str, *, sampler: str | None = None
    ) -> None:
        noise, moved = _scaled(scale, sensitivity_l1)
        if Fraction(moved).denominator != 1:
            raise InvalidParameter(
                "/sensitivity_l1", "must be a whole number: the noise is discrete"
            )
        self._keep(scale=noise, sensitivity_l1=moved, sampler=_named(sampler))


@dataclass(frozen=True, slots=True, init=False)
class DiscreteGaussian(Mechanism):
    """Integer noise with mass proportional to e^(-k^2 / (2 sigma^2)), on integers."""

    type: ClassVar[str] = "discrete_gaussian"
    sigma: Decimal
    sensitivity_l2: Decimal

    def __init__(
        self, sigma: Decimal | str, sensitivity_l2: Decimal | str, *, sampler: str | None = None
    ) -> None:
        least = Decimal(1) / LARGEST_MAGNITUDE
        noise = _within(sigma, "sigma", least, LARGEST_MAGNITUDE)
        moved = _within(sensitivity_l2, "sensitivity_l2", least, LARGEST_MAGNITUDE)
        if not LEAST_NOISE <= Fraction(noise) / Fraction(moved) <= LARGEST_NOISE:
            raise InvalidParameter(
                "/sigma", f"sigma / sensitivity must be between {LEAST_NOISE} and {LARGEST_NOISE}"
            )
        self._keep(sigma=noise, sensitivity_l2=moved, sampler=_named(sampler))


@dataclass(frozen=True, slots=True, init=False)
class Pure(Mechanism):
    """Any mechanism that is epsilon-DP; nothing else is known of it."""

    type: ClassVar[str] = "pure"
    epsilon: Decimal

    def __init__(self, epsilon: Decimal | str, *, sampler: str | None = None) -> None:
        loss = _within(epsilon, "epsilon", LEAST_EPSILON, LARGEST_EPSILON)
        self._keep(epsilon=loss, sampler=_named(sampler))


@dataclass(frozen=True, slots=True, init=False)
class Approximate(Mechanism):
    """Any mechanism that is (epsilon, delta)-DP; epsilon may be 0, delta may not (then: pure)."""

    type: ClassVar[str] = "approximate"
    epsilon: Decimal
    delta: Decimal

    def __init__(
        self, epsilon: Decimal | str, delta: Decimal | str, *, sampler: str | None = None
    ) -> None:
        self._keep(
            epsilon=_within(epsilon, "epsilon", Decimal(0), LARGEST_EPSILON),
            delta=_within(delta, "delta", LEAST_DELTA, LARGEST_DELTA),
            sampler=_named(sampler),
        )


@dataclass(frozen=True, slots=True, init=False)
class Zcdp(Mechanism):
    """Any mechanism with Renyi divergence at most xi + rho a at every order a > 1."""

    type: ClassVar[str] = "zcdp"
    optional: ClassVar[frozenset[str]] = frozenset({"sampler", "xi"})
    rho: Decimal
    xi: Decimal

    def __init__(
        self, rho: Decimal | str, xi: Decimal | str = "0", *, sampler: str | None = None
    ) -> None:
        self._keep(
            rho=_within(rho, "rho", LEAST_EPSILON, LARGEST_EPSILON),
            xi=_within(xi, "xi", Decimal(0), LARGEST_EPSILON),
            sampler=_named(sampler),
        )


@dataclass(frozen=True, slots=True, init=False)
class Exponential(Mechanism):
    """The exponential mechanism by Gumbel noisy-max: epsilon-DP with a loss of range epsilon."""

    type: ClassVar[str] = "exponential"
    epsilon: Decimal

    def __init__(self, epsilon: Decimal | str, *, sampler: str | None = None) -> None:
        loss = _within(epsilon, "epsilon", LEAST_EPSILON, LARGEST_EPSILON)
        self._keep(epsilon=loss, sampler=_named(sampler))


@dataclass(frozen=True, slots=True, init=False)
class RandomizedResponse(Mechanism):
    """Each unit answers for itself; epsilon bounds the change of ONE ANSWER, not of presence.

    Who answered is visible, so it has no price under `add_remove` (R7).
    """

    type: ClassVar[str] = "randomized_response"
    epsilon: Decimal

    def __init__(self, epsilon: Decimal | str, *, sampler: str | None = None) -> None:
        loss = _within(epsilon, "epsilon", LEAST_EPSILON, LARGEST_EPSILON)
        self._keep(epsilon=loss, sampler=_named(sampler))


@dataclass(frozen=True, slots=True, init=False)
class Threshold(Mechanism):
    """Keys are released where a noisy count in [0, bound] passes a threshold.

    of: the noise on the count of one key. groups: L0, the keys one unit can count in.
    delta: the probability that any of those keys passes although the unit alone made it.
    """

    type: ClassVar[str] = "threshold"
    of: Mechanism
    groups: int
    delta: Decimal

    def __init__(
        self, of: Mechanism, groups: int, delta: Decimal | str, *, sampler: str | None = None
    ) -> None:
        noise = _mechanism(of)
        if not isinstance(noise, (Laplace, DiscreteLaplace, Gaussian, DiscreteGaussian)):
            raise InvalidParameter("/of", "must be the additive noise on the count of one key")
        self._keep(
            of=noise,
            groups=_whole(groups, "groups"),
            delta=_within(delta, "delta", LEAST_DELTA, LARGEST_DELTA),
            sampler=_named(sampler),
        )

    def children(self) -> tuple[Mechanism, ...]:
        """The noise on one key."""
        return (self.of,)


@dataclass(frozen=True, slots=True, init=False)
class TreeAggregation(Mechanism):
    """One epoch of tree-aggregated sums over `steps` batches; each unit in at most one batch."""

    type: ClassVar[str] = "tree_aggregation"
    noise_multiplier: Decimal
    steps: int

    def __init__(
        self, noise_multiplier: Decimal | str, steps: int, *, sampler: str | None = None
    ) -> None:
        self._keep(
            noise_multiplier=_within(
                noise_multiplier, "noise_multiplier", LEAST_NOISE, LARGEST_NOISE
            ),
            steps=_whole(steps, "steps"),
            sampler=_named(sampler),
        )


@dataclass(frozen=True, slots=True, init=False)
class PoissonSampled(Mechanism):
    """`of` on a batch that each unit joins independently with probability `rate`."""

    type: ClassVar[str] = "poisson_sampled"
    rate: Decimal
    of: Mechanism

    def __init__(self, rate: Decimal | str, of: Mechanism, *, sampler: str | None = None) -> None:
        self._keep(
            rate=_within(rate, "rate", LEAST_RATE, Decimal(1)),
            of=_mechanism(of),
            sampler=_named(sampler),
        )

    def children(self) -> tuple[Mechanism, ...]:
        """What runs on the batch."""
        return (self.of,)


@dataclass(frozen=True, slots=True, init=False)
class Repeated(Mechanism):
    """`of`, run `count` times within one unit."""

    type: ClassVar[str] = "repeated"
    count: int
    of: Mechanism

    def __init__(self, count: int, of: Mechanism, *, sampler: str | None = None) -> None:
        self._keep(count=_whole(count, "count"), of=_mechanism(of), sampler=_named(sampler))

    def children(self) -> tuple[Mechanism, ...]:
        """What is repeated."""
        return (self.of,)


@dataclass(frozen=True, slots=True, init=False)
class Composed(Mechanism):
    """All of several mechanisms, run within one unit."""

    type: ClassVar[str] = "composed"
    of: tuple[Mechanism, ...]

    def __init__(self, of: tuple[Mechanism, ...], *, sampler: str | None = None) -> None:
        if not isinstance(of, tuple) or not of:
            raise InvalidParameter("/of", "must hold at least one mechanism")
        kept = tuple(_mechanism(each, f"/of/{index}") for index, each in enumerate(of))
        self._keep(of=kept, sampler=_named(sampler))

    def children(self) -> tuple[Mechanism, ...]:
        """All of them."""
        return self.of


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a reservation: a mechanism of ONE unit and the most units that may start.

    Raises:
        InvalidParameter: max_units is not a whole number from 1 to 2**40.
    """

    mechanism: Mechanism
    max_units: int

    def __post_init__(self) -> None:
        """A boolean, a zero or a negative count is refused."""
        _mechanism(self.mechanism, "/mechanism")
        _whole(self.max_units, "max_units")

    def to_json(self) -> dict[str, Any]:
        """The wire form."""
        return {"mechanism": self.mechanism.to_json(), "max_units": self.max_units}
