"""What canaries tell of a run: bounds on its privacy from scores of known members (R26).

A canary is a made-up record that is in the run or not by a fair coin. Each owns coordinates of its
own, so the canaries of a run are independent repetitions of one mechanism: what an attack on them
achieves is a binomial count, and the trade-off that the run claims bounds its chances. Nothing here
is about a person, and nothing here lowers a charge: a run is *refuted* or it is not.

Every threshold is chosen on a part of the canaries that is not counted afterwards, so the counts
are binomial whatever the scores look like.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from app.domain.accounting.conversions import gdp_delta

Scores = NDArray[np.float64]

# A run is refuted at this level, shared with the other runs of its dataset's month (R26).
LEVEL: Final = 1e-4
# The share of the canaries that choose the threshold.
CHOOSING: Final = 0.1
# Few candidates: of many, the luckiest would be chosen, and be worth less when it is counted.
MIDDLE: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
TAIL: Final = (0.95, 0.98, 0.99)
# The part that is counted is this many times the part that chooses.
TIMES: Final = round((1 - CHOOSING) / CHOOSING)
CHOOSING_LEVEL: Final = 1e-3
LEAST_P_VALUE: Final = 1e-12
LARGEST_EPSILON: Final = 1e3
LARGEST_MU: Final = 64.0
_LEAST_MU: Final = 1e-6
_MU_STEP: Final = 1e-4


@dataclass(frozen=True, slots=True)
class CanaryScores:
    """Scores of one run's canaries; higher where a canary looks more like a member.

    members: (n,) of canaries that were in. others: (m,) of canaries that were not.
    """

    members: Scores
    others: Scores

    def __post_init__(self) -> None:
        """Refuse scores that cannot be ordered, or too few to be split.

        Raises:
            ValueError: says which.
        """
        for scores in (self.members, self.others):
            if scores.ndim != 1 or scores.shape[0] < 10:
                raise ValueError("at least ten canaries on each side are needed")
            if np.isnan(scores).any():
                raise ValueError("a score that is not a number has no place in an order")

    def split(self, seed: int) -> "tuple[CanaryScores, CanaryScores]":
        """The part that chooses and the part that is counted: the same split for the same seed."""
        draw = np.random.default_rng(seed)
        chosen, counted = [], []
        for scores in (self.members, self.others):
            places = draw.permutation(scores.shape[0])
            few = max(1, round(scores.shape[0] * CHOOSING))
            chosen.append(scores[places[:few]])
            counted.append(scores[places[few:]])
        return CanaryScores(*chosen), CanaryScores(*counted)

    def reversed(self) -> "CanaryScores":
        """The same canaries for somebody who guesses the other way round."""
        return CanaryScores(-self.members, -self.others)

    def thresholds(self, shares: Sequence[float]) -> list[float]:
        """The scores below which these shares of all canaries lie."""
        pooled = np.concatenate([self.members, self.others])
        return [float(each) for each in np.quantile(pooled, shares, method="nearest")]


def gaussian_estimate(
    scores: CanaryScores, *, delta: float, significance: float, seed: int
) -> float:
    """The epsilon at `delta` of the least mu-GDP that the counts allow: an ESTIMATE.

    It takes the trade-off of the run for that of a Gaussian: exact where every step uses every
    record, an approximation where records are sampled. With probability 1 - significance it is not
    above the truth of a Gaussian run.

    Source: Nasr et al. 2023, section 4; Dong, Roth and Su 2022, Corollary 1.
    """
    choosing, counted = scores.split(seed)
    # guesses that are worse than chance tell as much as guesses that are better
    sides = ((choosing, counted), (choosing.reversed(), counted.reversed()))
    _, held, threshold = max(
        (
            (_mu(*_rates_at_most(chosen, each, significance, TIMES)), side, each)
            for chosen, side in sides
            for each in chosen.thresholds(MIDDLE)
        ),
        key=lambda found: found[0],
    )
    return gdp_epsilon(_mu(*_rates_at_most(held, threshold, significance)), delta)


def one_run_bound(
    scores: CanaryScores, *, delta: float, significance: float, claimed_mu: float
) -> float:
    """The epsilon at `delta` that the number of right guesses refutes, by f-DP in one run.

    The best scores are guessed to be members, as many of the worst ones not to be, and nothing is
    said of the rest. How many, is fixed by what the run claims before a score is seen. Valid for
    canaries that share one run in any way, so it asks more of them than is needed here; kept
    because it is the figure that other audits print.

    Source: Mahloujifar, Melis and Chaudhuri 2024, Algorithm 3, with Gaussian trade-offs.
    """
    members, others = scores.members.shape[0], scores.others.shape[0]
    each_side = guesses_each_side(members + others, claimed_mu, significance)
    pooled = np.concatenate([scores.members, scores.others])
    order = np.argsort(pooled, kind="stable")
    right = int((order[-each_side:] < members).sum() + (order[:each_side] >= members).sum())
    mu = one_run_mu(members + others, guesses=2 * each_side, right=right, significance=significance)
    return gdp_epsilon(mu, delta)


@lru_cache(maxsize=64)
def guesses_each_side(canaries: int, mu: float, significance: float) -> int:
    """How many guesses a side promise the best bound for a run that is mu-GDP."""

    def promised(each_side: int) -> float:
        share = each_side / canaries
        low, high = -40.0, 40.0 + mu
        for _ in range(60):  # the threshold above which this share of all canaries lies
            middle = (low + high) / 2.0
            above = (special.ndtr(-middle) + special.ndtr(mu - middle)) / 2.0
            low, high = (middle, high) if above > share else (low, middle)
        precision = float(special.ndtr(mu - low)) / 2.0 / share
        right = min(2 * each_side, round(2 * each_side * precision))
        return one_run_mu(canaries, guesses=2 * each_side, right=right, significance=significance)

    sizes = {max(1, round(canaries / 2 ** (power / 2))) for power in range(2, 24)}
    return max(sorted(sizes), key=promised)


def one_run_mu(canaries: int, *, guesses: int, right: int, significance: float) -> float:
    """The largest mu of which mu-GDP is refuted by so many right guesses; 0 where none is.

    Args:
        canaries: how many there were, each in by a fair coin.
        guesses: of how many it was said that they were in.
        right: of how many that was true.
        significance: with at most this probability the figure is above the truth.
    """
    if guesses == 0 or not is_one_run_refuted(canaries, guesses, right, _LEAST_MU, significance):
        return 0.0
    low, high = _LEAST_MU, 1.0
    while high < LARGEST_MU and is_one_run_refuted(canaries, guesses, right, high, significance):
        low, high = high, 2.0 * high
    while high - low > _MU_STEP:
        middle = (low + high) / 2.0
        if is_one_run_refuted(canaries, guesses, right, middle, significance):
            low = middle
        else:
            high = middle
    return low


def is_one_run_refuted(
    canaries: int, guesses: int, right: int, mu: float, significance: float
) -> bool:
    """Whether so many right guesses are too many for mu-GDP (the paper's recursion)."""
    right_mass = significance * right / canaries
    wrong_mass = significance * (guesses - right) / canaries
    for more in range(right - 1, -1, -1):
        allowed = float(special.ndtr(special.ndtri(right_mass) - mu))
        if allowed <= wrong_mass:
            break  # nothing moves from here on
        right_mass = min(1.0, right_mass + more / (guesses - more) * (allowed - wrong_mass))
        wrong_mass = allowed
    return right_mass + wrong_mass > guesses / canaries


def gdp_epsilon(mu: float, delta: float) -> float:
    """The epsilon at `delta` of mu-GDP, from below; 0 where delta alone suffices."""
    if mu <= 0.0 or gdp_delta(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while gdp_delta(mu, high) > delta and high < LARGEST_EPSILON:
        low, high = high, 2.0 * high
    for _ in range(80):
        middle = (low + high) / 2.0
        low, high = (middle, high) if gdp_delta(mu, middle) > delta else (low, middle)
    return low


@dataclass(frozen=True, slots=True)
class TradeOff:
    """What a run claims: (epsilon, delta) pairs that all hold for it at once.

    Any guess with false positive rate a misses at least `least_misses(a)` of the members.
    """

    pairs: Sequence[tuple[float, float]]

    def epsilon_at(self, delta: float) -> float | None:
        """The least of the claimed epsilons that has this delta; None where none has."""
        found = [epsilon for epsilon, claimed in self.pairs if claimed <= delta]
        return min(found) if found else None

    def least_misses(self, false_positive: float) -> float:
        """The least false negative rate at this false positive rate (Wasserman and Zhou 2010)."""
        return max(
            max(0.0, 1.0 - delta - math.exp(epsilon) * false_positive)
            if epsilon < 700.0
            else float(false_positive == 0.0) * (1.0 - delta)
            for epsilon, delta in self.pairs
        )


def trade_off_p_value(scores: CanaryScores, claimed: TradeOff, *, seed: int) -> float:
    """The least significance at which the canaries' counts are impossible under the claim.

    Assumes nothing of the shape of the run's own trade-off: the two rates are bounded by Clopper
    and Pearson, half of the significance each, and held against the claimed pairs. A p-value: 1
    where the counts agree with the claim.
    """
    choosing, counted = scores.split(seed)

    def excess(threshold: float) -> float:
        false_positive, misses = _rates_at_most(choosing, threshold, CHOOSING_LEVEL, TIMES)
        return claimed.least_misses(false_positive) - misses

    threshold = max(choosing.thresholds((*MIDDLE, *TAIL)), key=excess)

    def is_refuted(significance: float) -> bool:
        false_positive, misses = _rates_at_most(counted, threshold, significance)
        return misses < claimed.least_misses(false_positive)

    if not is_refuted(0.5):
        return 1.0
    low, high = math.log(LEAST_P_VALUE), math.log(0.5)
    if is_refuted(LEAST_P_VALUE):
        return LEAST_P_VALUE
    for _ in range(40):
        middle = (low + high) / 2.0
        low, high = (low, middle) if is_refuted(math.exp(middle)) else (middle, high)
    return math.exp(high)


def too_little_noise(sum_of_squares: float, count: int) -> float:
    """The chance of noise as small as was seen, were its standard deviation the claimed one.

    Args:
        sum_of_squares: of independent noise values, each over the claimed standard deviation.
        count: how many; 1 or more.

    Returns:
        A p-value: small where there is less noise than was claimed.
    """
    if count < 1 or not math.isfinite(sum_of_squares):
        raise ValueError("finite noise of at least one coordinate is needed")
    return float(special.chdtr(count, sum_of_squares))


def _rates_at_most(
    scores: CanaryScores, threshold: float, significance: float, times: int = 1
) -> tuple[float, float]:
    """Upper bounds on the false positive and the false negative rate, together at significance.

    Of these canaries, or of so many times as many that look like them.
    """
    others, members = times * scores.others.shape[0], times * scores.members.shape[0]
    false = times * int((scores.others >= threshold).sum())
    misses = times * int((scores.members < threshold).sum())
    return (
        _rate_at_most(false, others, significance / 2),
        _rate_at_most(misses, members, significance / 2),
    )


def _rate_at_most(successes: int, trials: int, significance: float) -> float:
    """Clopper and Pearson's upper bound on a binomial probability."""
    if successes == trials:
        return 1.0
    return float(special.betaincinv(successes + 1, trials - successes, 1.0 - significance))


def _mu(false_positive: float, false_negative: float) -> float:
    """The mu of the Gaussian trade-off through these two rates (Dong, Roth and Su 2022, eq. 6)."""
    if false_positive >= 1.0 or false_negative >= 1.0:
        return 0.0
    return float(-special.ndtri(false_positive) - special.ndtri(false_negative))
