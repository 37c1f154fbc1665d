"""What an epsilon means for a person: bounds on an attacker who knows all other records.

Two families, never one as the other (L9). From (epsilon, delta): holds for any order of jobs. From
mu of GDP: holds for one Gaussian, or a plan that was fixed in advance. Each statement names its
unit, relation, window, scope and sampler beside the figure.
"""

import math
from statistics import NormalDist

from app.domain.accounting.conversions import normal_cdf


def odds_factor(epsilon: float) -> float:
    """By how much anyone's odds about one unit can change: e^epsilon; infinity past the floats.

    Source: Dwork and Roth 2014, Definition 2.4.
    """
    try:
        return math.exp(epsilon)
    except OverflowError:
        return math.inf


def posterior(epsilon: float, prior: float) -> float:
    """The largest belief that a prior can become under epsilon-DP: p e^e / (1 - p + p e^e).

    With a delta the same holds but for an event of at most that probability.
    Source: Wood et al. 2018; Kairouz, Oh and Viswanath 2015, Theorem 2.1.
    """
    return prior / (prior + (1.0 - prior) * math.exp(-epsilon))


def attack_rate(epsilon: float, delta: float, false_rate: float) -> float:
    """The largest true-positive rate of any attack at a false-positive rate.

    The least of 1, e^e x + delta and 1 - e^-e (1 - delta - x).
    Source: Kairouz, Oh and Viswanath 2015, Theorem 2.1; Dong, Roth and Su 2022, equation 5.
    """
    rising = odds_factor(epsilon) * false_rate + delta if false_rate > 0.0 else delta
    falling = 1.0 - math.exp(-epsilon) * max(0.0, 1.0 - delta - false_rate)
    return min(1.0, rising, falling)


def advantage(epsilon: float, delta: float) -> float:
    """The largest true-positive less false-positive rate: (e^e - 1 + 2 delta) / (e^e + 1)."""
    shrunk = math.exp(-epsilon)
    return min(1.0, (1.0 - shrunk + 2.0 * delta * shrunk) / (1.0 + shrunk))


def accuracy(best_advantage: float) -> float:
    """The largest share of right guesses about a coin toss: (1 + advantage) / 2."""
    return (1.0 + best_advantage) / 2.0


def precision(prior: float, true_rate: float, false_rate: float) -> float:
    """How often a positive claim is right: p TPR / (p TPR + (1-p) FPR); 0 where none is made."""
    claimed = prior * true_rate + (1.0 - prior) * false_rate
    return prior * true_rate / claimed if claimed > 0.0 else 0.0


def reconstruction_rate(epsilon: float, delta: float, baseline: float) -> float:
    """The largest chance to rebuild a secret that is guessed blindly with chance `baseline`.

    min(1, baseline x e^epsilon + delta). Source: Balle, Cherubin and Hayes 2022, Theorem 2.
    """
    return min(1.0, baseline * odds_factor(epsilon) + delta)


def reconstruction_rate_uniform(epsilon: float, choices: int) -> float:
    """The same under epsilon-DP for one of n equally likely secrets: e^e / (e^e + n - 1)."""
    return 1.0 / (1.0 + (choices - 1) * math.exp(-epsilon))


def gdp_attack_rate(mu: float, false_rate: float) -> float:
    """The largest true-positive rate under mu-GDP: Phi(Phi^-1(x) + mu).

    Source: Dong, Roth and Su 2022, section 2.
    """
    if not 0.0 < false_rate < 1.0:
        return float(false_rate >= 1.0)
    return normal_cdf(NormalDist().inv_cdf(false_rate) + mu)


def gdp_advantage(mu: float) -> float:
    """The largest true-positive less false-positive rate under mu-GDP: 2 Phi(mu/2) - 1."""
    return math.erf(mu / (2.0 * math.sqrt(2.0)))
