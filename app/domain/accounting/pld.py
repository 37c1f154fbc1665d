"""The figure of a job whose sequence was fixed in advance: shown beside a bound, never admitting.

A composed privacy-loss distribution is no valid test for jobs that are chosen adaptively, so this
number decides nothing (R11; DESIGN section 3, "If fixed in advance (PLD)").
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from app.domain.accounting.relations import UNITS_MOVED
from app.domain.decimals import float_down, float_up, text_up
from app.domain.mechanisms.parsing import (
    Composed,
    DiscreteLaplace,
    Exponential,
    Gaussian,
    Laplace,
    Mechanism,
    Part,
    PoissonSampled,
    Pure,
    Repeated,
)

INTERVAL_NATS: Final = 1e-4
# A distribution wider or made of more shapes than this takes minutes or gigabytes to compose.
MOST_EVENTS: Final = 10**6
MOST_SHAPES: Final = 20
LEAST_NOISE: Final = 0.3
LARGEST_NOISE: Final = 1e4
LARGEST_EPSILON: Final = 20.0
LEAST_EPSILON: Final = 1e-3
LARGEST_LAPLACE_SCALE: Final = 1000


def pld_epsilon(parts: Sequence[Part], relation: str, delta: Decimal) -> str | None:
    """The epsilon at `delta` of parts that were fixed before the first output; pessimistic.

    Takes about half a second per shape: off the request path.

    Args:
        parts: what runs, each with all its units.
        relation: the dataset's neighbouring relation.
        delta: in (0, 1).

    Returns:
        A decimal string rounded up to 4 digits; None where the parts hold a mechanism that the
        library does not take, or one so wide that composing it would not end in time.

    Source: Doroshenko et al. 2022 (connect the dots), as in dp-accounting.
    """
    events = _events(parts, relation)
    return None if events is None else _composed(events, float_down(delta))


def pld_profile(
    parts: Sequence[Part], relation: str, epsilons: Sequence[float]
) -> list[tuple[float, float]] | None:
    """The delta at each epsilon of parts that were fixed beforehand: pairs that hold together.

    For tests of what a run shows against what it claims, in both directions of the relation.
    None, and takes as long, as in `pld_epsilon`.
    """
    events = _events(parts, relation)
    if events is None:
        return None
    accountant = _accountant(events)
    deltas = [float(accountant.get_delta(epsilon)) for epsilon in epsilons]
    if not all(0.0 <= delta <= 1.0 for delta in deltas):
        return None
    return list(zip(epsilons, deltas, strict=True))


def _events(parts: Sequence[Part], relation: str) -> list[tuple[Any, int]] | None:
    shapes: dict[Mechanism, int] = {}
    for part in parts:
        if not _gather(part.mechanism, part.max_units, shapes):
            return None
    if len(shapes) > MOST_SHAPES or sum(shapes.values()) > MOST_EVENTS:
        return None
    events = []
    for mechanism, count in shapes.items():
        event = _event(mechanism, relation)
        if event is None:
            return None
        events.append((event, count))
    return events


def _accountant(events: Sequence[tuple[Any, int]]) -> Any:
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(value_discretization_interval=INTERVAL_NATS)
    for event, count in events:
        accountant.compose(event, count)
    return accountant


def _composed(events: Sequence[tuple[Any, int]], delta: float) -> str | None:
    epsilon = float(_accountant(events).get_epsilon(delta))
    if not math.isfinite(epsilon) or epsilon < 0.0:
        return None
    return text_up(Fraction(epsilon), 4)


def _gather(mechanism: Mechanism, count: int, shapes: dict[Mechanism, int]) -> bool:
    """Flatten a composition into shapes with counts; False at a mechanism without an event."""
    match mechanism:
        case Composed(of=of):
            return all(_gather(each, count, shapes) for each in of)
        case Repeated(of=of, count=times):
            return _gather(of, count * times, shapes)
        case (
            Gaussian()
            | Laplace()
            | DiscreteLaplace()
            | Exponential()
            | Pure()
            | PoissonSampled(of=Gaussian())
        ):
            shapes[mechanism] = shapes.get(mechanism, 0) + count
            return True
    return False


def _event(mechanism: Mechanism, relation: str) -> Any:
    """The library's event under add_remove, for the units that this relation moves (R7)."""
    import dp_accounting as library

    units = UNITS_MOVED[type(mechanism)].get(relation)
    if units is None:
        return None
    match mechanism:
        case Gaussian(noise_multiplier=noise):
            return _gaussian_event(float_down(Fraction(noise) / units))
        case PoissonSampled(rate=rate, of=Gaussian(noise_multiplier=noise)):
            event = _gaussian_event(float_down(noise))
            return event and library.PoissonSampledDpEvent(float_up(rate), event)
        case Laplace(scale=scale, sensitivity_l1=moved):
            ratio = Fraction(scale) / Fraction(moved) / units
            bounded = LEAST_EPSILON <= 1 / ratio <= LARGEST_EPSILON
            return library.LaplaceDpEvent(float_down(ratio)) if bounded else None
        case Exponential(epsilon=epsilon):
            # Its loss has range epsilon, and such a pair is dominated by that of Laplace noise of
            # scale 1 / epsilon: u^2 / (1 - e^-epsilon) <= u with u = 1 - e^((x - epsilon) / 2).
            loss = Fraction(epsilon) * units
            bounded = LEAST_EPSILON <= loss <= LARGEST_EPSILON
            return library.LaplaceDpEvent(float_down(1 / loss)) if bounded else None
        case DiscreteLaplace(scale=scale, sensitivity_l1=moved):
            reach = int(moved) * units
            loss = Fraction(reach) / Fraction(scale)
            bounded = LEAST_EPSILON <= loss <= LARGEST_EPSILON and reach <= LARGEST_LAPLACE_SCALE
            inverse = float_up(1 / Fraction(scale))
            return library.dp_event.DiscreteLaplaceDpEvent(inverse, reach) if bounded else None
    return None


def _gaussian_event(noise: float) -> Any:
    import dp_accounting as library

    return library.GaussianDpEvent(noise) if LEAST_NOISE <= noise <= LARGEST_NOISE else None
