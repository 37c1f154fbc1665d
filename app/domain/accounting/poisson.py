"""Renyi divergence of the Gaussian mechanism on a Poisson sample (R6)."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Final

import numpy as np

from app.domain.accounting.renyi import Floats, Vector
from app.domain.privacy import ORDERS

# The library sums a series until its terms fall below e^-30 of the total, and ln A near 0 carries
# the rounding errors of a sum near 1. This much is added to its ln A, so that neither understates.
LIBRARY_MARGIN_NATS: Final = 2.0**-40


def poisson_gaussian(
    rate: float, noise_multiplier: float, orders: Sequence[Fraction] = ORDERS
) -> Vector:
    """One step of the Gaussian mechanism on a Poisson sample, under add_remove or zero_out.

    Whole orders by the exact sum. A fractional order by the lesser of the library's series and the
    chord of the convex (a-1) R(a) between its whole neighbours; never below the order beneath it.

    Args:
        rate: q in (0, 1], rounded up.
        noise_multiplier: s > 0, rounded down.
        orders: those of the ledger, unless a test asks for others.

    Source: Mironov, Talwar and Zhang 2019, section 3.3; convexity: van Erven and Harremoes 2014.
    """
    if rate >= 1.0:
        return tuple(0.5 / noise_multiplier / noise_multiplier * float(order) for order in orders)
    whole = {math.floor(order) for order in orders} | {math.ceil(order) for order in orders}
    moments = {order: log_moment(rate, noise_multiplier, order) for order in whole if order > 1}
    moments[1] = 0.0
    fractional = [float(order) for order in orders if order.denominator != 1]
    library = dict(zip(fractional, _from_library(rate, noise_multiplier, fractional), strict=True))
    vector = []
    for order in map(float, orders):
        low, high = math.floor(order), math.ceil(order)
        if low == high:
            vector.append(moments[low] / (order - 1.0))
            continue
        chord = ((high - order) * moments[low] + (order - low) * moments[high]) / (order - 1.0)
        least = moments[low] / (low - 1.0) if low > 1 else 0.0
        vector.append(max(min(library[order], chord), least))
    return tuple(float(value) for value in vector)


def log_moment(rate: float, noise_multiplier: float, order: int) -> float:
    """The log-moment ln A = (a-1) R(a) at a whole order a > 1; infinity beyond the floats.

    A - 1 = sum_{k=2..a} C(a,k) (1-q)^(a-k) q^k (e^((k^2-k)/(2 s^2)) - 1): the binomial weights sum
    to 1, so 1 is taken out term by term and nothing cancels, however small q is.
    """
    k = np.arange(2, order + 1, dtype=np.float64)
    exponent = (k * k - k) / (2.0 * noise_multiplier * noise_multiplier)
    choose = np.array(
        [
            math.lgamma(order + 1) - math.lgamma(each + 1) - math.lgamma(order - each + 1)
            for each in range(2, order + 1)
        ]
    )
    weight = choose + (order - k) * math.log1p(-rate) + k * math.log(rate)
    with np.errstate(under="ignore", over="ignore", divide="ignore"):
        excess: Floats = weight + exponent + np.log(-np.expm1(-exponent))
        log_excess = float(np.logaddexp.reduce(excess))
    return log_excess if log_excess > 700.0 else math.log1p(math.exp(log_excess))


def _from_library(rate: float, noise_multiplier: float, orders: list[float]) -> list[float]:
    """The library's value at fractional orders with its margin; infinity where it gives none."""
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
    from dp_accounting.rdp import RdpAccountant

    if not orders:
        return []
    accountant = RdpAccountant(orders=orders)
    with _silent_library():
        accountant.compose(PoissonSampledDpEvent(rate, GaussianDpEvent(noise_multiplier)))
    values = []
    for order, value in zip(orders, accountant.rdp, strict=True):
        usable = math.isfinite(value) and value >= 0.0
        values.append(value + LIBRARY_MARGIN_NATS / (order - 1.0) if usable else math.inf)
    return values


@contextmanager
def _silent_library() -> Iterator[None]:
    """Without the library's warning for every order whose series does not converge."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
