"""Exact discrete noise by OpenDP's samplers, checked against the charge before any row is read.

The samplers draw from the operating system's CSPRNG and use no floating-point arithmetic on the
noise (L7). A sampler is built with a scale that is not below the charged one, and its own privacy
map must say no more than the charge does.

One figure of the library is not believed: for thresholds, the delta of version 0.16 is too low. Its
release rule is "noisy count >= T", so that a key of one unit passes with P(Z >= T - 1); its map
gives P(Z >= T) for Laplace noise, a continuous tail in between for Gaussian noise. The threshold is
held against the exact tail here, and the library's figure is only one more check.
"""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol

from app.domain.accounting.prices import INFLATION
from app.domain.decimals import float_up
from app.domain.mechanisms.parsing import DiscreteGaussian, DiscreteLaplace, Threshold
from app.domain.queries.noise import GaussianNoise, LaplaceNoise
from app.domain.queries.quantities import Choice, NoisyQuantity
from workers.engines.api import EngineRefused

# Scores are clamped: no content of rows may leave the 64 bits of the sampler.
SCORES_MOST = 2**61
# What the library may round a delta up by, per key.
_DELTA_ROUNDING = Fraction(1, 2**50)


class VectorNoise(Protocol):
    """Adds independent noise to each of a list of integers."""

    def __call__(self, values: Sequence[int]) -> list[int]:
        """The values, each with its own draw; saturates at 64 bits."""


class ThresholdNoise(Protocol):
    """Adds noise to unit counts and keeps the keys whose noisy count reaches the threshold."""

    def __call__(self, counts: Mapping[int, int]) -> dict[int, int]:
        """The kept keys with their noisy counts, in no telling order."""


class ChoiceSampler(Protocol):
    """Chooses places of a list by their integer scores."""

    def __call__(self, scores: Sequence[int]) -> list[int]:
        """The chosen places, best first; scores saturate, which moves none of them further."""


def _library() -> Any:
    import opendp.prelude as library

    # a switch of the whole process: whoever shares it may have turned it off since the last job
    library.enable_features("contrib")
    return library


def vector_noise(noisy: NoisyQuantity) -> VectorNoise:
    """The sampler of a quantity that has no threshold.

    Raises:
        EngineRefused: the mechanism is not additive noise, or the sampler's own map exceeds it.
    """
    library = _library()
    scale = float_up(noisy.scale)
    domain = library.vector_domain(library.atom_domain(T="i64"))
    mechanism = noisy.mechanism
    if isinstance(mechanism, DiscreteLaplace):
        sampler = library.m.make_laplace(domain, library.l1_distance(T="i64"), scale)
        loss = Fraction(mechanism.sensitivity_l1) / Fraction(mechanism.scale)
        _require(sampler.map(int(mechanism.sensitivity_l1)), loss)
    elif isinstance(mechanism, DiscreteGaussian):
        sampler = library.m.make_gaussian(domain, library.l2_distance(T="f64"), scale)
        ratio = Fraction(mechanism.sensitivity_l2) / Fraction(mechanism.sigma)
        _require(sampler.map(float_up(mechanism.sensitivity_l2)), ratio * ratio / 2)
    else:
        raise EngineRefused("this noise has no sampler here")

    def add(values: Sequence[int]) -> list[int]:
        return list(sampler(list(values))) if values else []

    return add


def threshold_noise(noisy: NoisyQuantity) -> ThresholdNoise:
    """The sampler that shows private keys: noisy counts of units at or above the threshold.

    Raises:
        EngineRefused: the mechanism is no threshold, or the sampler's own map exceeds it.
    """
    library = _library()
    mechanism = noisy.mechanism
    if not isinstance(mechanism, Threshold) or noisy.threshold is None:
        raise EngineRefused("private keys need a threshold")
    scale, groups = float_up(noisy.scale), mechanism.groups
    if isinstance(mechanism.of, DiscreteLaplace):
        least = LaplaceNoise(mechanism.of.scale).least_threshold(groups, mechanism.delta)
    elif isinstance(mechanism.of, DiscreteGaussian):
        least = GaussianNoise(mechanism.of.sigma).least_threshold(groups, mechanism.delta)
    else:
        raise EngineRefused("this threshold has no sampler here")
    if noisy.threshold < least:
        raise EngineRefused("the threshold lets a lone unit's key pass more often than is charged")
    domain = library.map_domain(library.atom_domain(T="i64"), library.atom_domain(T="i64"))
    distance = library.absolute_distance(T="i64")
    if isinstance(mechanism.of, DiscreteLaplace):
        metric = library.l01inf_distance(distance)
        sampler = library.m.make_laplace_threshold(domain, metric, scale, noisy.threshold)
        loss = groups / Fraction(mechanism.of.scale)
        _require_both(sampler.map((groups, groups, 1)), loss, mechanism)
    else:
        metric = library.l02inf_distance(distance)
        sampler = library.m.make_gaussian_threshold(domain, metric, scale, noisy.threshold)
        loss = groups / (2 * Fraction(mechanism.of.sigma) ** 2)
        # The map takes a whole L2 distance; it uses sqrt(groups) where that is less.
        whole = math.isqrt(groups - 1) + 1
        _require_both(sampler.map((groups, whole, 1)), loss, mechanism)

    def show(counts: Mapping[int, int]) -> dict[int, int]:
        return dict(sampler(dict(counts))) if counts else {}

    return show


def choice_sampler(choice: Choice) -> ChoiceSampler:
    """The exponential mechanism by Gumbel noise: the best of a list of scores, or the k best.

    The noisy maximum under Gumbel noise of scale s is the exponential mechanism with weights
    e^(score / s) (McSherry and Talwar 2007); its k largest are k such draws without replacement
    (Durfee and Rogers 2019, Lemma 4.2).

    Raises:
        EngineRefused: the scale is below that of the charge, or the sampler's own map exceeds it.
    """
    return score_sampler(
        choice.sensitivity,
        choice.epsilon,
        choice.scale,
        chosen=choice.selection.k,
        monotone=choice.selection.quantile is None,
    )


def score_sampler(
    sensitivity: int, epsilon: Decimal, scale: Decimal, *, chosen: int = 1, monotone: bool = False
) -> ChoiceSampler:
    """`choice_sampler` by the facts of its scores alone.

    Args:
        sensitivity: the most by which one unit moves a score.
        epsilon: of one draw, as charged.
        scale: of the Gumbel noise.
        chosen: how many places, each a draw.
        monotone: whether one unit moves all scores the same way.

    Raises:
        EngineRefused: the scale is below that of the charge, or the sampler's own map exceeds it.
    """
    library = _library()
    apart = sensitivity if monotone else 2 * sensitivity
    if not Fraction(apart) / Fraction(float_up(scale)) <= Fraction(epsilon):
        raise EngineRefused("the noise of a choice is less than is charged")
    domain = library.vector_domain(library.atom_domain(T="i64"))
    metric = library.linf_distance(T="i64", monotonic=monotone)
    measure = library.zero_concentrated_divergence()
    sampler = library.m.make_noisy_top_k(domain, metric, measure, chosen, float_up(scale))
    _require(sampler.map(sensitivity), Fraction(epsilon) ** 2 / 8 * chosen)

    def choose(scores: Sequence[int]) -> list[int]:
        return list(sampler([min(max(score, -SCORES_MOST), SCORES_MOST) for score in scores]))

    return choose


def _require_both(mapped: tuple[float, float], loss: Fraction, mechanism: Threshold) -> None:
    _require(mapped[0], loss)
    # The library subtracts from 1 in floats: its delta is rounded up by some 2**-52 per key.
    _require(mapped[1], Fraction(mechanism.delta) + mechanism.groups * _DELTA_ROUNDING)


def _require(mapped: float, charged: Fraction) -> None:
    """The sampler's loss within the charge; R1's inflation covers the rounding of its floats."""
    if not Fraction(mapped) <= charged * INFLATION:
        raise EngineRefused("the sampler loses more than is charged")
