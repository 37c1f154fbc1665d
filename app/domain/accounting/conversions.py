"""Between the currencies of privacy loss: for statements and comparisons, never for admission.

Closed forms in floats, correct to about 1e-9 relative. What a budget admits is decided by
`filters` on exact integers; the figures here describe a sequence that was fixed in advance.
"""

import math
from collections.abc import Callable
from typing import Final

_HALVINGS: Final = 200
_LARGEST_EXPONENT: Final = 700.0


def normal_cdf(value: float) -> float:
    """The standard normal distribution function, with relative accuracy in the lower tail."""
    return 0.5 * math.erfc(-value / math.sqrt(2.0))


def renyi_to_epsilon(order: float, nats: float, delta: float) -> float:
    """Epsilon at `delta` from one Renyi bound: R + ln(1/delta) / (a-1).

    Source: Mironov 2017, Proposition 3.
    """
    return nats + math.log(1.0 / delta) / (order - 1.0)


def renyi_to_epsilon_improved(order: float, nats: float, delta: float) -> float:
    """Epsilon at `delta` from one Renyi bound: R + ln(1 - 1/a) - (ln delta + ln a) / (a-1).

    Taking the best of several orders is no valid test for adaptively chosen jobs (DESIGN 3).
    Source: Canonne, Kamath and Steinke 2020, Proposition 12.
    """
    spread = (math.log(delta) + math.log(order)) / (order - 1.0)
    return max(0.0, nats + math.log1p(-1.0 / order) - spread)


def zcdp_to_epsilon(rho: float, delta: float) -> float:
    """Epsilon at `delta` of rho-zCDP: rho + 2 sqrt(rho ln(1/delta)).

    Source: Bun and Steinke 2016, Proposition 1.3.
    """
    return rho + 2.0 * math.sqrt(rho * math.log(1.0 / delta))


def zcdp_to_epsilon_improved(rho: float, delta: float) -> float:
    """Epsilon at `delta` of rho-zCDP by the improved conversion at its best real order.

    Source: Canonne, Kamath and Steinke 2020, Proposition 12, minimised over the order.
    """

    def at(log_above: float) -> float:
        order = 1.0 + math.exp(log_above)
        return renyi_to_epsilon_improved(order, rho * order, delta)

    low, high = math.log(1e-6), math.log(1e9)
    golden = (math.sqrt(5.0) - 1.0) / 2.0
    for _ in range(_HALVINGS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if at(left) <= at(right):
            high = right
        else:
            low = left
    return at((low + high) / 2.0)


def pure_to_zcdp(epsilon: float) -> float:
    """Rho of any epsilon-DP mechanism: epsilon^2 / 2.

    Source: Bun and Steinke 2016, Proposition 1.4.
    """
    return epsilon * epsilon / 2.0


def bounded_range_to_zcdp(epsilon: float) -> float:
    """Rho of a mechanism whose loss has range epsilon, as the exponential: epsilon^2 / 8.

    Source: Cesar and Rogers 2021, Lemma 3.4.
    """
    return epsilon * epsilon / 8.0


def gaussian_delta(noise_multiplier: float, epsilon: float) -> float:
    """The exact delta of the Gaussian mechanism at epsilon; never understated.

    Source: Balle and Wang 2018, Theorem 8.
    """
    mean = 1.0 / noise_multiplier
    near, far = epsilon / mean - mean / 2.0, epsilon / mean + mean / 2.0
    # Where e^epsilon or the far tail leaves the floats, leaving it out only adds to delta.
    repaid = math.exp(epsilon) * normal_cdf(-far) if epsilon < _LARGEST_EXPONENT else 0.0
    return max(0.0, normal_cdf(-near) - repaid)


def gaussian_epsilon(noise_multiplier: float, delta: float) -> float:
    """The exact epsilon of the Gaussian mechanism at `delta`; 0 where delta alone suffices."""
    if gaussian_delta(noise_multiplier, 0.0) <= delta:
        return 0.0
    return _least(lambda epsilon: gaussian_delta(noise_multiplier, epsilon) <= delta)


def gaussian_noise_multiplier(epsilon: float, delta: float) -> float:
    """The least noise multiplier with which one Gaussian is (epsilon, delta)-DP.

    Source: Balle and Wang 2018, Algorithm 1.
    """
    return _least(lambda noise: gaussian_delta(noise, epsilon) <= delta)


def gaussian_noise_multiplier_classic(epsilon: float, delta: float) -> float:
    """The textbook's noise multiplier sqrt(2 ln(1.25/delta)) / epsilon; proven below epsilon 1.

    Source: Dwork and Roth 2014, Theorem A.1.
    """
    return math.sqrt(2.0 * math.log(1.25 / delta)) / epsilon


def gdp_delta(mu: float, epsilon: float) -> float:
    """The exact delta at epsilon of mu-GDP (Dong, Roth and Su 2022, Corollary 1)."""
    return gaussian_delta(1.0 / mu, epsilon)


def gdp_mu(epsilon: float, delta: float) -> float:
    """The mu of the one Gaussian that would spend (epsilon, delta) exactly."""
    return 1.0 / gaussian_noise_multiplier(epsilon, delta)


def optimal_delta(epsilon_each: float, count: int, epsilon: float) -> float:
    """The exact delta at epsilon of `count` epsilon_each-DP mechanisms at their worst.

    Source: Kairouz, Oh and Viswanath 2015, Theorem 3.3 (homogeneous composition).
    """
    log_total = count * _log1p_exp(epsilon_each)
    terms = []
    for flipped in range(count + 1):
        loss = (count - 2 * flipped) * epsilon_each
        if loss <= epsilon:
            break
        choose = math.lgamma(count + 1) - math.lgamma(flipped + 1)
        choose -= math.lgamma(count - flipped + 1)
        mass = math.exp(choose + (count - flipped) * epsilon_each - log_total)
        terms.append(mass * -math.expm1(epsilon - loss))
    return math.fsum(terms)


def optimal_epsilon(epsilon_each: float, count: int, delta: float) -> float:
    """The least epsilon at `delta` of `count` epsilon_each-DP mechanisms, whatever they are."""
    if optimal_delta(epsilon_each, count, 0.0) <= delta:
        return 0.0
    return _least(lambda epsilon: optimal_delta(epsilon_each, count, epsilon) <= delta)


def advanced_epsilon(epsilon_each: float, count: int, delta: float) -> float:
    """Advanced composition: e sqrt(2 k ln(1/delta)) + k e (e^e - 1).

    Source: Dwork and Roth 2014, Theorem 3.20.
    """
    spread = epsilon_each * math.sqrt(2.0 * count * math.log(1.0 / delta))
    return spread + count * epsilon_each * math.expm1(epsilon_each)


def advanced_filter_epsilon(epsilon_each: float, count: int, delta: float) -> float:
    """What the fully adaptive filter charges: sqrt(2 ln(1/delta) S) + S/2 with S = k e^2.

    Source: Whitehouse, Ramdas, Rogers and Wu 2023, Theorem 3.
    """
    squares = count * epsilon_each * epsilon_each
    return math.sqrt(2.0 * math.log(1.0 / delta) * squares) + squares / 2.0


def _log1p_exp(value: float) -> float:
    return value + math.log1p(math.exp(-value))


def _least(enough: Callable[[float], bool]) -> float:
    """The least positive float that is enough, to the last bits; `enough` is monotone."""
    high = 1.0
    while not enough(high):
        high *= 2.0
    low = 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        if enough(middle):
            high = middle
        else:
            low = middle
    return high
