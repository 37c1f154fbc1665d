"""What a privacy loss is, in exact units, and what a limit is (R1, R2)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from app.domain.decimals import decimal_text, parse_decimal
from app.domain.documents import read_object
from app.domain.errors import InvalidParameter

ORDERS_ID: Final = "rdp-36/1"
ORDERS: Final[tuple[Fraction, ...]] = (
    *(Fraction(quarters, 4) for quarters in (5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18)),
    *(Fraction(order) for order in (5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56)),
    *(Fraction(order) for order in (64, 80, 96, 128, 192, 256, 384, 512, 1024)),
)

LARGEST_EPSILON: Final = Decimal(10_000)
LEAST_DELTA: Final = Decimal("1e-15")
LARGEST_DELTA: Final = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Loss:
    """A privacy loss in exact units; sums are order free. A charge rounds up, a limit rounds down.

    nats_2p40: one unbounded integer per RDP order, in units of 2**-40 nat (R1).
    dead: how many infinite terms each order holds; usable iff 0 (R2), so that voiding is exact.
    maximum_atto: summed worst-case loss, delta_atto: both in units of 1e-18.
    maximum_dead: how many terms have no finite worst-case loss.
    gaussian_atto: summed (sensitivity / noise)^2 of the continuous unsampled Gaussians, in 1e-18.
    gaussian_dead: how many terms are anything else; `gdp/1` admits iff 0 (R7).
    """

    nats_2p40: tuple[int, ...]
    dead: tuple[int, ...]
    maximum_atto: int
    maximum_dead: int
    delta_atto: int
    gaussian_atto: int
    gaussian_dead: int

    def __post_init__(self) -> None:
        """A loss is never negative: a difference that would be is a broken ledger."""
        if len(self.nats_2p40) != len(ORDERS) or len(self.dead) != len(ORDERS):
            raise ValueError(f"a loss has {len(ORDERS)} orders ({ORDERS_ID})")
        wholes = (self.maximum_atto, self.maximum_dead, self.delta_atto)
        gaussian = (self.gaussian_atto, self.gaussian_dead)
        if min(*self.nats_2p40, *self.dead, *wholes, *gaussian) < 0:
            raise ValueError("a loss cannot be negative")

    @classmethod
    def zero(cls) -> "Loss":
        """Nothing charged."""
        return _ZERO

    def __add__(self, other: "Loss") -> "Loss":
        """The loss of both, exactly."""
        if not isinstance(other, Loss):
            return NotImplemented
        return Loss(
            tuple(map(int.__add__, self.nats_2p40, other.nats_2p40)),
            tuple(map(int.__add__, self.dead, other.dead)),
            self.maximum_atto + other.maximum_atto,
            self.maximum_dead + other.maximum_dead,
            self.delta_atto + other.delta_atto,
            self.gaussian_atto + other.gaussian_atto,
            self.gaussian_dead + other.gaussian_dead,
        )

    def __sub__(self, other: "Loss") -> "Loss":
        """What is left when `other`, which was added before, is voided; exact (R2).

        Raises:
            ValueError: `other` is not contained in this loss.
        """
        if not isinstance(other, Loss):
            return NotImplemented
        return Loss(
            tuple(map(int.__sub__, self.nats_2p40, other.nats_2p40)),
            tuple(map(int.__sub__, self.dead, other.dead)),
            self.maximum_atto - other.maximum_atto,
            self.maximum_dead - other.maximum_dead,
            self.delta_atto - other.delta_atto,
            self.gaussian_atto - other.gaussian_atto,
            self.gaussian_dead - other.gaussian_dead,
        )

    def to_json(self) -> dict[str, Any]:
        """The stored form: amounts as decimal strings, counts as integers."""
        return {
            "orders": ORDERS_ID,
            "nats_2p40": [str(nats) for nats in self.nats_2p40],
            "dead": list(self.dead),
            "maximum_atto": str(self.maximum_atto),
            "maximum_dead": self.maximum_dead,
            "delta_atto": str(self.delta_atto),
            "gaussian_atto": str(self.gaussian_atto),
            "gaussian_dead": self.gaussian_dead,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Loss":
        """Read back what `to_json` wrote.

        Raises:
            ValueError: the document is of other orders or is not a loss.
        """
        if document["orders"] != ORDERS_ID:
            raise ValueError(f"a loss of other orders than {ORDERS_ID}")
        return cls(
            tuple(int(nats) for nats in document["nats_2p40"]),
            tuple(int(count) for count in document["dead"]),
            int(document["maximum_atto"]),
            int(document["maximum_dead"]),
            int(document["delta_atto"]),
            int(document["gaussian_atto"]),
            int(document["gaussian_dead"]),
        )


_ZERO: Final = Loss((0,) * len(ORDERS), (0,) * len(ORDERS), 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Amount:
    """An epsilon and a delta as they are shown: decimal strings, already rounded against us."""

    epsilon: str
    delta: str

    def to_json(self) -> dict[str, str]:
        """The wire form."""
        return {"epsilon": self.epsilon, "delta": self.delta}


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that a budget may lose: epsilon in (0, 1e4], delta 0 or in [1e-15, 0.1] (R3).

    Raises:
        InvalidParameter: a value is not finite or outside its range.
    """

    epsilon: Decimal
    delta: Decimal

    def __post_init__(self) -> None:
        """Ranges of R3, checked for decimals that came by any way."""
        require_epsilon(self.epsilon, "/epsilon")
        require_delta(self.delta, "/delta")

    def to_json(self) -> dict[str, str]:
        """The wire form, with the texts as they were written."""
        return {"epsilon": decimal_text(self.epsilon), "delta": decimal_text(self.delta)}


def require_epsilon(epsilon: Decimal, pointer: str) -> Decimal:
    """The epsilon of a limit, if it lies in (0, 1e4].

    Raises:
        InvalidParameter: it does not.
    """
    if not epsilon.is_finite() or not 0 < epsilon <= LARGEST_EPSILON:
        raise InvalidParameter(pointer, "must be above 0 and at most 10000")
    return epsilon


def require_delta(delta: Decimal, pointer: str) -> Decimal:
    """The delta of a limit, if it is 0 or lies in [1e-15, 0.1].

    Raises:
        InvalidParameter: it does not.
    """
    if not delta.is_finite() or not (delta == 0 or LEAST_DELTA <= delta <= LARGEST_DELTA):
        raise InvalidParameter(pointer, "must be 0 or between 1e-15 and 0.1")
    return delta


def parse_limit(document: object, pointer: str = "/limit") -> Limit:
    """A limit from `{"epsilon": "8", "delta": "1e-6"}`; unknown keys are refused.

    Raises:
        InvalidParameter: malformed or out of range, with a pointer to the value.
    """
    values = read_object(document, pointer, required=("epsilon", "delta"))
    return Limit(
        _read(values["epsilon"], f"{pointer}/epsilon", require_epsilon),
        _read(values["delta"], f"{pointer}/delta", require_delta),
    )


def _read(value: object, pointer: str, require: Callable[[Decimal, str], Decimal]) -> Decimal:
    return require(parse_decimal(value, pointer), pointer)
