"""Renyi divergence of single mechanisms at the 36 orders, in closed form (R6).

Every function takes parameters that were rounded toward more loss and gives one float per order,
in nats; infinity where the divergence has no finite float. The floats carry the ordinary errors
of double arithmetic: below 1e-12 relative, or below 2**-52 nat where a small value is the
difference of larger ones. The inflation of R1 (1e-9 relative and 2**-50 nat) lies above both.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.domain.privacy import ORDERS

Vector = tuple[float, ...]
Floats = NDArray[np.float64]

# Quarters and whole numbers: exact in a float.
ORDER: Final[Floats] = np.array([float(order) for order in ORDERS])
ABOVE_ONE: Final[Floats] = ORDER - 1.0


def _kept(values: Floats) -> Vector:
    return tuple(float(value) for value in values)


def _log_of_mixture(weights: tuple[Floats, Floats], exponents: tuple[Floats, Floats]) -> Floats:
    """ln(u e^x + v e^y) for u + v = 1: near 0 by expm1, so that a small result keeps its digits."""
    (u, v), (x, y) = weights, exponents
    small = np.maximum(np.abs(x), np.abs(y)) < 1.0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        near = np.log1p(u * np.expm1(x) + v * np.expm1(y))
        far = np.logaddexp(np.log(u) + x, np.log(v) + y)
    return np.maximum(np.where(small, near, far), 0.0)


def linear(slope: float, constant: float = 0.0) -> Vector:
    """The line slope x a + constant: Gaussian a / (2 s^2), zCDP rho a + xi.

    Source: Mironov 2017, Proposition 7 (Gaussian); Bun and Steinke 2016, Definition 1.1 (zCDP).
    """
    with np.errstate(over="ignore"):
        return _kept(slope * ORDER + constant)


def laplace(epsilon: float) -> Vector:
    """Continuous Laplace noise of scale S / epsilon on a value of L1 sensitivity S.

    Also an upper bound when the sensitivity is spread over several coordinates: the log-moment is
    convex in the shift and 0 at 0, hence superadditive.
    Source: Mironov 2017, Proposition 6.
    """
    weights = (ORDER / (2 * ORDER - 1), ABOVE_ONE / (2 * ORDER - 1))
    moments = _log_of_mixture(weights, (ABOVE_ONE * epsilon, -ORDER * epsilon))
    return _kept(moments / ABOVE_ONE)


def randomized_response(epsilon: float) -> Vector:
    """Binary randomized response: the worst of all epsilon-DP mechanisms at every order.

    Source: Bun and Steinke 2016, Proposition 3.3; Kairouz, Oh and Viswanath 2015, Theorem 2.
    """
    flipped = math.exp(-epsilon) / (1.0 + math.exp(-epsilon))
    kept = 1.0 / (1.0 + math.exp(-epsilon))
    ones = np.ones_like(ORDER)
    if flipped == 0.0:  # e^-epsilon is below every float; its term is below R1's inflation
        return _kept(ones * epsilon)
    weights = (ones * kept, ones * flipped)
    moments = _log_of_mixture(weights, (ABOVE_ONE * epsilon, -ABOVE_ONE * epsilon))
    return _kept(moments / ABOVE_ONE)


def discrete_laplace(scale: float, epsilon: float) -> Vector:
    """Integer noise of mass proportional to e^(-|k| / scale), shifted by S = epsilon x scale.

    With p = e^(-1/b), x = 2a - 1: R(a) = ln(U e^((a-1) S/b) + V e^(-a S/b)) / (a-1), where
    U = (1 - p^(x+1)) / ((1+p)(1 - p^x)) and V = (p - p^x) / ((1+p)(1 - p^x)); U + V = 1.
    These are the U and V of R6 with their differences taken in closed form. A spread sensitivity
    is covered as in `laplace`.
    """
    x = 2 * ORDER - 1
    with np.errstate(under="ignore", over="ignore"):
        p = math.exp(-1.0 / scale)
        below = (1.0 + p) * -np.expm1(-x / scale)
        u = -np.expm1(-(x + 1) / scale) / below
        v = p * -np.expm1(-(x - 1) / scale) / below
    moments = _log_of_mixture((u, v), (ABOVE_ONE * epsilon, -ORDER * epsilon))
    return _kept(moments / ABOVE_ONE)


def exponential(epsilon: float) -> Vector:
    """The exponential mechanism by Gumbel noisy-max: the lesser of a epsilon^2 / 8 and Laplace.

    Source: Cesar and Rogers 2021, Lemma 3.4 with Dong et al. 2020 (bounded range: epsilon^2 / 8).
    """
    return tuple(map(min, linear(epsilon * epsilon / 8.0), laplace(epsilon)))
