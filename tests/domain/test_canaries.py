"""Bounds from canaries hold for honest runs, come near the truth and find what is planted."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.random import Generator

from app.domain.accounting.conversions import gdp_delta
from app.domain.canaries import (
    CanaryScores,
    TradeOff,
    gaussian_estimate,
    gdp_epsilon,
    one_run_bound,
    one_run_mu,
    too_little_noise,
    trade_off_p_value,
)

DELTA = 1e-5
FULL_MU = 1.0


@dataclass(frozen=True)
class Run:
    """A run as its canaries see it: `steps` draws of sampled Gaussian noise on one coordinate."""

    rate: float
    noise: float
    steps: int

    def scores(
        self, draw: Generator, canaries: int, fault: Callable[["Run"], "Run"] | None = None
    ) -> CanaryScores:
        """Log likelihood ratios under what is claimed; `fault` is what really ran."""
        real = self if fault is None else fault(self)
        member = draw.random(canaries) < 0.5
        score = np.zeros(canaries)
        for _ in range(self.steps):
            inside = member & (draw.random(canaries) < real.rate)
            seen = inside + real.noise * draw.standard_normal(canaries)
            ratio = np.clip((2 * seen - 1) / (2 * self.noise**2), -60, 60)
            score += np.log1p(self.rate * np.expm1(ratio))
        return CanaryScores(score[member], score[~member])


def full_batch(draw: Generator, canaries: int = 10_000) -> CanaryScores:
    """The sum of all steps of a run that uses every record in each: mu-GDP exactly."""
    member = draw.random(canaries) < 0.5
    score = draw.standard_normal(canaries) + FULL_MU * member
    return CanaryScores(score[member], score[~member])


def gaussian_pairs(mu: float) -> TradeOff:
    epsilons = np.linspace(0.0, 12.0, 61)
    return TradeOff([(float(each), gdp_delta(mu, float(each))) for each in epsilons])


@pytest.mark.statistical
def test_two_hundred_honest_runs_are_never_above_the_truth_and_mostly_near_it() -> None:
    truth = gdp_epsilon(FULL_MU, DELTA)
    estimates, bounds = [], []
    for seed in range(200):
        scores = full_batch(np.random.default_rng(seed))
        usual = {"delta": DELTA, "significance": 0.05}
        strict = {"delta": DELTA, "significance": 1e-4}
        estimates.append(gaussian_estimate(scores, seed=seed, **usual))
        bounds.append(one_run_bound(scores, claimed_mu=FULL_MU, **usual))
        assert gaussian_estimate(scores, seed=seed, **strict) <= truth
        assert one_run_bound(scores, claimed_mu=FULL_MU, **strict) <= truth
        pairs = gaussian_pairs(FULL_MU)
        assert trade_off_p_value(scores, pairs, seed=seed) > 1e-4
    assert float(np.median(estimates)) >= 0.85 * truth
    assert float(np.median(bounds)) >= 0.65 * truth


# (mu, canaries) of which the bounds are refuted must not depend on how a score is scaled
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_a_bound_depends_on_the_order_of_the_scores_alone(scale: float) -> None:
    scores = full_batch(np.random.default_rng(5))
    scaled = CanaryScores(scores.members * scale, scores.others * scale)
    for found in (scores, scaled):
        estimate = gaussian_estimate(found, delta=DELTA, significance=0.05, seed=1)
        assert estimate == gaussian_estimate(scores, delta=DELTA, significance=0.05, seed=1)


def test_guesses_that_are_always_wrong_tell_as_much_as_guesses_that_are_always_right() -> None:
    scores = full_batch(np.random.default_rng(6))
    told = gaussian_estimate(scores, delta=DELTA, significance=0.05, seed=2)
    turned = gaussian_estimate(scores.reversed(), delta=DELTA, significance=0.05, seed=2)
    assert told > 2
    assert turned == pytest.approx(told, rel=0.05)


# what another implementation of the same paper gives: canaries, guesses, right, level, delta
@pytest.mark.parametrize(
    ("counts", "level", "delta", "epsilon"),
    [
        ((10_000, 312, 246), 0.05, 1e-5, 1.3552156555),
        ((10_000, 160, 120), 0.05, 1e-5, 0.9113467111),
        ((1000, 100, 80), 0.05, 1e-6, 1.5948372720),
        ((10_000, 2000, 1500), 1e-4, 1e-5, 0.8824926720),
        ((5000, 40, 40), 0.05, 1e-5, 3.0780618840),
    ],
)
def test_one_run_figures_agree_with_those_of_others_and_are_not_above_them(
    counts: tuple[int, int, int], level: float, delta: float, epsilon: float
) -> None:
    canaries, guesses, right = counts
    mu = one_run_mu(canaries, guesses=guesses, right=right, significance=level)
    assert epsilon * (1 - 5e-4) <= gdp_epsilon(mu, delta) <= epsilon


def test_more_right_guesses_never_refute_less() -> None:
    found = [one_run_mu(1000, guesses=100, right=right, significance=0.05) for right in range(101)]
    assert found == sorted(found)
    assert found[50] == 0.0
    assert one_run_mu(1000, guesses=0, right=0, significance=0.05) == 0.0


# what is claimed: epsilon 3.5 at 1e-5
CLAIMED = Run(rate=0.05, noise=1.0, steps=100)


def claimed_pairs() -> TradeOff:
    """The claim's own pairs, from its composed privacy loss in both directions."""
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(value_discretization_interval=1e-3)
    event = PoissonSampledDpEvent(CLAIMED.rate, GaussianDpEvent(CLAIMED.noise))
    accountant.compose(event, CLAIMED.steps)
    epsilons = np.linspace(0.0, 8.0, 33)
    return TradeOff([(float(each), float(accountant.get_delta(float(each)))) for each in epsilons])


FAULTS: dict[str, Callable[[Run], Run]] = {
    "noise halved": lambda run: Run(run.rate, run.noise / 2, run.steps),
    "clipping off": lambda run: Run(run.rate, run.noise / 3, run.steps),
    "true rate six times the claimed": lambda run: Run(6 * run.rate, run.noise, run.steps),
}


@pytest.mark.statistical
@pytest.mark.parametrize("name", FAULTS)
def test_a_run_that_is_not_as_private_as_it_claims_is_refuted(name: str) -> None:
    scores = CLAIMED.scores(np.random.default_rng(1), 10_000, FAULTS[name])
    assert trade_off_p_value(scores, claimed_pairs(), seed=1) < 1e-4
    assert gaussian_estimate(scores, delta=DELTA, significance=1e-4, seed=1) > 3.5


@pytest.mark.statistical
def test_honest_runs_that_sample_are_not_refuted() -> None:
    pairs = claimed_pairs()
    for seed in range(10):
        scores = CLAIMED.scores(np.random.default_rng(seed), 4000)
        assert trade_off_p_value(scores, pairs, seed=seed) > 0.05 / 10


@pytest.mark.statistical
@pytest.mark.parametrize(("part", "refuted"), [(1.0, False), (0.98, True), (0.9, True)])
def test_noise_that_is_two_in_a_hundred_too_small_is_seen_at_once(
    part: float, refuted: bool
) -> None:
    noise = part * np.random.default_rng(7).standard_normal(100_000)
    assert (too_little_noise(float((noise**2).sum()), noise.shape[0]) < 1e-4) is refuted


def test_the_trade_off_of_pure_privacy_is_the_known_one() -> None:
    pure = TradeOff([(1.0, 0.0)])
    for rate in (0.0, 0.1, 0.3, 0.9):
        assert pure.least_misses(rate) == pytest.approx(max(0.0, 1 - math.e * rate))
    assert TradeOff([(1000.0, 0.25)]).least_misses(0.0) == 0.75
    assert TradeOff([(1000.0, 0.25)]).least_misses(1e-9) == 0.0


@pytest.mark.parametrize("scores", [np.zeros(3), np.full(20, np.nan), np.zeros((20, 2))])
def test_scores_that_say_nothing_are_refused(scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"canaries|number"):
        CanaryScores(scores, np.zeros(20))


def test_canaries_that_all_look_alike_bound_nothing() -> None:
    alike = CanaryScores(np.zeros(500), np.zeros(500))
    assert gaussian_estimate(alike, delta=DELTA, significance=0.05, seed=0) == 0.0
    assert one_run_bound(alike, delta=DELTA, significance=0.05, claimed_mu=1.0) == 0.0
    assert trade_off_p_value(alike, TradeOff([(0.0, 0.0)]), seed=0) == 1.0
