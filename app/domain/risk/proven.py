"""Bounds from a proven (epsilon, delta): for any order of jobs and any attacker.

epsilon is 0 or more and may be infinite; delta and all rates are shares in [0, 1].
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from app.domain.risk.precision import exactly, shrunk_by

ONE: Final = Decimal(1)
ZERO: Final = Decimal(0)


def odds_factor(epsilon: Decimal) -> Decimal:
    """By how much anyone's odds about one unit can change: e^epsilon.

    With a delta: but for an event of at most that probability.
    Source: Dwork and Roth 2014, Definition 2.4.
    """
    with exactly():
        return epsilon if epsilon.is_infinite() else epsilon.exp()


def posterior(epsilon: Decimal, prior: Decimal) -> Decimal:
    """The largest share of belief that a prior can become: p e^e / (1 - p + p e^e).

    With a delta the same holds but for an event of at most that probability.
    Source: Wood et al. 2018; Kairouz, Oh and Viswanath 2015, Theorem 2.1.
    """
    with exactly():
        if prior == 0:
            return ZERO
        return prior / (prior + (ONE - prior) * shrunk_by(epsilon))


def attack_rate(epsilon: Decimal, delta: Decimal, false_rate: Decimal) -> Decimal:
    """The largest true-positive rate of any attack at a false-positive rate x.

    The least of 1, e^e x + delta and 1 - e^-e (1 - delta - x).
    Source: Kairouz, Oh and Viswanath 2015, Theorem 2.1; Dong, Roth and Su 2022, equation 5.
    """
    with exactly():
        shrunk = shrunk_by(epsilon)
        falling = ONE - shrunk * max(ZERO, ONE - delta - false_rate)
        if false_rate == 0:
            return min(ONE, delta, falling)
        rising = ONE if shrunk == 0 else false_rate / shrunk + delta
        return min(ONE, rising, falling)


def trade_off_corners(epsilon: Decimal, delta: Decimal) -> Sequence[tuple[Decimal, Decimal]]:
    """The corners (x, `attack_rate` at x) of the bound; it is straight between them."""
    with exactly():
        shrunk = shrunk_by(epsilon)
        bend = shrunk * (ONE - delta) / (ONE + shrunk)
        corners = [(ZERO, delta), (bend, ONE - bend), (ONE - delta, ONE), (ONE, ONE)]
        # delta 0 puts the last two corners on one spot
        return [each for at, each in enumerate(corners) if each not in corners[:at]]


def advantage(epsilon: Decimal, delta: Decimal) -> Decimal:
    """The largest true-positive less false-positive rate: (e^e - 1 + 2 delta) / (e^e + 1)."""
    with exactly():
        shrunk = shrunk_by(epsilon)
        return min(ONE, (ONE - shrunk + 2 * delta * shrunk) / (ONE + shrunk))


def best_guess(epsilon: Decimal, delta: Decimal) -> Decimal:
    """The largest share of right guesses where both answers are equally likely.

    (e^e + delta) / (1 + e^e), which is (1 + `advantage`) / 2.
    """
    with exactly():
        shrunk = shrunk_by(epsilon)
        return min(ONE, (ONE + delta * shrunk) / (ONE + shrunk))


def precision(prior: Decimal, true_rate: Decimal, false_rate: Decimal) -> Decimal:
    """How often a positive claim is right: p TPR / (p TPR + (1-p) FPR); 0 where none is made."""
    with exactly():
        claimed = prior * true_rate + (ONE - prior) * false_rate
        return prior * true_rate / claimed if claimed > 0 else ZERO


def reconstruction_rate(epsilon: Decimal, delta: Decimal, baseline: Decimal) -> Decimal:
    """The largest chance to rebuild a secret that is guessed blindly with chance `baseline`.

    `attack_rate` at the baseline: take the run on a neighbour that does not hold the secret, in
    which a rebuilding is a false positive. It needs one neighbour in common of all secrets, which
    every relation has, and is min(1, baseline x e^epsilon + delta) or less.
    Source: Balle, Cherubin and Hayes 2022, Theorem 2; Hayes, Mahloujifar and Balle 2023.
    """
    return attack_rate(epsilon, delta, baseline)


def reconstruction_rate_replaced(epsilon: Decimal, delta: Decimal, choices: int) -> Decimal:
    """The same of one among n equally likely secrets: (e^e + (n-1) delta) / (e^e + n - 1).

    Only where any two of the secrets are neighbours, so under `replace_one`: where they lie two
    steps apart it does not hold. Summing P_i(S_i) <= e^e P_j(S_i) + delta over all i and j, with
    disjoint guesses S_i, gives it; n = 2 is `best_guess`.
    """
    with exactly():
        shrunk, others = shrunk_by(epsilon), Decimal(choices - 1)
        return min(ONE, (ONE + others * delta * shrunk) / (ONE + others * shrunk))
