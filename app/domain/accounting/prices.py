"""The price of a mechanism: what one unit loses, and the exact charge for n units (R1, R2, R6).

Pricing happens outside any lock and is cached; charging is integer arithmetic.
"""

import hashlib
import importlib.metadata
import json
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any, Final

from app.domain.accounting.relations import Terms, terms_of
from app.domain.accounting.renyi import randomized_response
from app.domain.decimals import ATTO, NAT_2P40, float_up, to_atto_up
from app.domain.errors import MechanismNotPriced
from app.domain.mechanisms.parsing import Mechanism, parse_mechanism
from app.domain.privacy import ORDERS, ORDERS_ID, Loss

PRICES_VERSION: Final = "prices/1"

# R1: a library value is inflated by this factor and by this many nats before it is charged.
INFLATION: Final = 1 + Fraction(1, 10**9)
INFLATION_NATS: Final = Fraction(1, 2**50)
_WORKING: Final = threading.RLock()
# An exact number of 2**-40 nat for one unit: numerator and positive denominator.
Rate = tuple[int, int]

# R2: a charge from here on is a dead term. 2**54 x 2**-40 nat is above every limit.
DEAD_FROM_2P40: Final = 2**54


@cache
def priced_by() -> str:
    """Which code priced: ours and the library's version. A new one never reprices an old entry."""
    return f"{PRICES_VERSION}+dp-accounting/{importlib.metadata.version('dp-accounting')}"


@dataclass(frozen=True)
class Price:
    """What ONE unit of a mechanism loses in a relation; immutable and exact.

    terms: (count, vector) pairs that add up; a vector holds one float in nats per order, infinity
        where the order has no finite value. Kept apart, so that composing never adds floats and
        any way of writing the same composition has the same price.
    maximum_atto: worst-case loss in 1e-18 nat, rounded up once; None where unbounded.
    delta_atto: in 1e-18, rounded up once.
    gaussian_1e36: (sensitivity / noise)^2 in 1e-36, rounded up once per Gaussian; None where
        anything but continuous unsampled Gaussians is in it.
    """

    mechanism: Mechanism
    relation: str
    terms: tuple[tuple[int, tuple[float, ...]], ...]
    maximum_atto: int | None
    delta_atto: int
    gaussian_1e36: int | None
    priced_by: str
    # of everything above, the floats included: another machine's arithmetic may differ in a last
    # bit, and then its price is another price
    digest: str = field(init=False)
    # Per order: 2**-40 nat of one unit, inflated, or None where dead.
    _rates_2p40: tuple[Rate | None, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Inflate once (R1); a value that is not a number or is negative is no price."""
        by_order = zip(*(vector for _, vector in self.terms), strict=True)
        counts = [count for count, _ in self.terms]
        try:
            rates = tuple(
                _inflated_2p40(list(zip(counts, values, strict=True))) for values in by_order
            )
        except ValueError as error:
            raise MechanismNotPriced(self.mechanism.type, self.relation, str(error)) from error
        object.__setattr__(self, "_rates_2p40", rates)
        text = json.dumps(self._facts(), sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "digest", hashlib.sha256(text.encode("ascii")).hexdigest())

    def charge(self, units: int) -> Loss:
        """The exact loss of `units` units: rounded up once per order, at least 1 (R1, R2).

        Charging a part of the units never costs more than charging all of them, and charging them
        in pieces never costs less than at once.

        Args:
            units: how many, 0 or more; 0 costs nothing.
        """
        if isinstance(units, bool) or not isinstance(units, int) or units < 0:
            raise ValueError("units are a whole number, not negative")
        if units == 0:
            return Loss.zero()
        return _charge(
            self._rates_2p40, self.maximum_atto, self.delta_atto, self.gaussian_1e36, units=units
        )

    def to_json(self) -> dict[str, Any]:
        """The stored form: floats as exact hexadecimal texts, integers as decimal strings."""
        return {**self._facts(), "digest": self.digest}

    def _facts(self) -> dict[str, Any]:
        return {
            "mechanism": self.mechanism.to_json(),
            "relation": self.relation,
            "orders": ORDERS_ID,
            "terms": [
                {"count": str(count), "nats": [value.hex() for value in vector]}
                for count, vector in self.terms
            ],
            "maximum_atto": None if self.maximum_atto is None else str(self.maximum_atto),
            "delta_atto": str(self.delta_atto),
            "gaussian_1e36": None if self.gaussian_1e36 is None else str(self.gaussian_1e36),
            "priced_by": self.priced_by,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Price":
        """Read back a stored price as it was, without pricing again.

        Raises:
            ValueError: of other orders, or its digest is not that of its facts.
        """
        mechanism = parse_mechanism(document["mechanism"])
        relation, version = str(document["relation"]), str(document["priced_by"])
        if document["orders"] != ORDERS_ID:
            raise ValueError(f"a price of other orders than {ORDERS_ID}")
        terms = tuple(
            (int(term["count"]), tuple(float.fromhex(value) for value in term["nats"]))
            for term in document["terms"]
        )
        if not terms or any(len(vector) != len(ORDERS) for _, vector in terms):
            raise ValueError(f"a price has {len(ORDERS)} orders")
        maximum, gaussian = document["maximum_atto"], document["gaussian_1e36"]
        found = cls(
            mechanism,
            relation,
            terms,
            None if maximum is None else int(maximum),
            int(document["delta_atto"]),
            None if gaussian is None else int(gaussian),
            version,
        )
        if document["digest"] != found.digest:
            raise ValueError("the digest of a price is not that of its facts")
        return found


def price(mechanism: Mechanism, relation: str) -> Price:
    """The price of one unit of a mechanism in a neighbouring relation.

    Cached by the canonical JSON of the mechanism, relation and code version. A cold price of a
    Poisson-sampled Gaussian loads the accounting library.

    Raises:
        MechanismNotPriced: no proven rule prices this mechanism in this relation (R6, R7).
    """
    return _priced(_canonical(mechanism), relation, priced_by(), mechanism)


def charge_of_pure(epsilon: Fraction) -> Loss:
    """The loss of one pure mechanism of this epsilon, not cached: for searches over epsilon."""
    vector = randomized_response(float_up(epsilon))
    nats = tuple(_inflated_2p40(((1, value),)) for value in vector)
    return _charge(nats, to_atto_up(epsilon), 0, None, units=1)


def charge_parts(parts: Iterable[tuple[Price, int]]) -> Loss:
    """The loss of several parts, each with its number of units."""
    return sum((each.charge(units) for each, units in parts), Loss.zero())


@lru_cache(maxsize=4096)
def _priced(canonical: str, relation: str, version: str, mechanism: Mechanism) -> Price:
    # of threads that ask for one cold price at once, one works and the others find it
    with _WORKING:
        return _worked_out(canonical, relation, version, mechanism)


@lru_cache(maxsize=256)
def _worked_out(_canonical: str, relation: str, version: str, mechanism: Mechanism) -> Price:
    terms = terms_of(mechanism, relation)
    return Price(
        mechanism,
        relation,
        _merged(terms),
        None if terms.maximum is None else to_atto_up(terms.maximum),
        to_atto_up(terms.delta),
        terms.gaussian_1e36,
        version,
    )


def _inflated_2p40(values: Sequence[tuple[int, float]]) -> Rate | None:
    """One order's (count, library value) pairs, inflated and summed exactly; None where dead.

    Integers over one denominator instead of fractions: the same number without their common
    divisors, which cost more than the rest of a charge.

    Raises:
        ValueError: a value is NaN or negative, which the library would read as free.
    """
    if any(math.isnan(value) or value < 0 for _, value in values):
        raise ValueError("its divergence is not a number")
    if any(math.isinf(value) for _, value in values):
        return None
    ratios = [(count, *value.as_integer_ratio()) for count, value in values]
    common = max(below for _, _, below in ratios)  # powers of two: each divides the largest
    library = sum(count * above * (common // below) for count, above, below in ratios)
    counted = sum(count for count, _, _ in ratios)
    inflated = (
        library * INFLATION.numerator * INFLATION_NATS.denominator
        + counted * common * INFLATION.denominator * INFLATION_NATS.numerator
    )
    return inflated * NAT_2P40, common * INFLATION.denominator * INFLATION_NATS.denominator


def _charge(
    rates_2p40: Sequence[Rate | None],
    maximum_atto: int | None,
    delta_atto: int,
    gaussian_1e36: int | None,
    *,
    units: int,
) -> Loss:
    nats, dead = [], []
    for rate in rates_2p40:
        charge = DEAD_FROM_2P40 if rate is None else max(1, -(-rate[0] * units // rate[1]))
        dead.append(int(charge >= DEAD_FROM_2P40))
        nats.append(0 if charge >= DEAD_FROM_2P40 else charge)
    return Loss(
        tuple(nats),
        tuple(dead),
        0 if maximum_atto is None else maximum_atto * units,
        int(maximum_atto is None),
        delta_atto * units,
        0 if gaussian_1e36 is None else -(-gaussian_1e36 * units // ATTO),
        int(gaussian_1e36 is None),
    )


def _merged(terms: Terms) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """Equal vectors counted together, in the order of first sight."""
    counts: dict[tuple[float, ...], int] = {}
    for count, vector in terms.nats:
        counts[vector] = counts.get(vector, 0) + count
    return tuple((count, vector) for vector, count in counts.items())


def _canonical(mechanism: Mechanism) -> str:
    return json.dumps(mechanism.to_json(), sort_keys=True, separators=(",", ":"))
