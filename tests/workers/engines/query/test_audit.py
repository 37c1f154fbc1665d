"""A black-box lower bound on what neighbouring tables tell apart: never above the charge.

Level 1e-4 for each figure; a planted fault of half the noise is above the charge on the same test.
"""

import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from scipy import stats

from app.domain.mechanisms.parsing import DiscreteLaplace
from app.domain.queries import NoisyQuantity, QueryPlan
from tests.workers.engines.query.made import PRIVATE_DEST, RECORD, dataset, plan_for, query
from workers.engines.query.noise import _library, choice_sampler, vector_noise
from workers.engines.query.reading import scores

LEVEL = 1e-4
RUNS = 40_000
CHOICES = 6_000


def least_epsilon(first: list[float], second: list[float], delta: float = 0.0) -> float:
    """The largest epsilon that the two samples refute, over a few events of either side."""
    found = 0.0
    pooled = sorted(first + second)
    cuts = [
        pooled[int(share * (len(pooled) - 1))] for share in (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    ]
    each = LEVEL / (4 * len(cuts))
    for one, other in ((first, second), (second, first)):
        for cut in cuts:
            for sign in (1, -1):
                p = _bound(sum(sign * x >= sign * cut for x in one), len(one), each / 2, low=True)
                q = _bound(
                    sum(sign * x >= sign * cut for x in other), len(other), each / 2, low=False
                )
                if p > delta and q > 0:
                    found = max(found, math.log((p - delta) / q))
    return found


def _bound(hits: int, runs: int, level: float, *, low: bool) -> float:
    """One end of the Clopper-Pearson interval."""
    if low:
        return 0.0 if hits == 0 else float(stats.beta.ppf(level, hits, runs - hits + 1))
    return 1.0 if hits == runs else float(stats.beta.ppf(1 - level, hits + 1, runs - hits))


def half_the_noise(noisy: NoisyQuantity) -> NoisyQuantity:
    """A fault: half the scale, with a mechanism that says so, for else it is refused."""
    mechanism = noisy.mechanism
    assert isinstance(mechanism, DiscreteLaplace)
    scale = noisy.scale / 2
    said = DiscreteLaplace(scale, str(mechanism.sensitivity_l1))
    return replace(noisy, scale=scale, mechanism=said)


def plan_of(measure: dict[str, Any]) -> QueryPlan:
    privacy = {"epsilon": "1", "delta": "0", "noise": "discrete_laplace"}
    return plan_for(query([measure], [], privacy=privacy), dataset(**RECORD))


def drawn(noisy: NoisyQuantity, value: int) -> list[float]:
    return [float(each) for each in vector_noise(noisy)([value] * RUNS)]


@pytest.mark.statistical
@pytest.mark.parametrize("fault", [False, True])
@pytest.mark.parametrize(
    ("measure", "moved"),
    [({"fn": "count"}, 1), ({"fn": "sum", "col": "distance"}, 5000)],
)
def test_counts_and_sums_tell_no_more_than_is_charged_unless_their_noise_is_halved(
    measure: dict[str, Any], moved: int, fault: bool
) -> None:
    (noisy,) = plan_of(measure).noisy
    used = half_the_noise(noisy) if fault else noisy
    told = least_epsilon(drawn(used, 100), drawn(used, 100 + moved))
    assert (told > 1) == fault, told
    assert told > 0.75


@pytest.mark.statistical
@pytest.mark.parametrize("fault", [False, True])
def test_a_mean_tells_no_more_than_is_charged_unless_its_noise_is_halved(fault: bool) -> None:
    plan = plan_of({"fn": "mean", "col": "dep_delay"})
    quantities = [half_the_noise(noisy) if fault else noisy for noisy in plan.noisy]
    total, count = quantities
    reach = total.quantity.bound

    def releases(rows: int) -> list[float]:
        # rows at the upper end; what leaves is read as one number from both noisy figures
        sums, counts = drawn(total, rows * reach), drawn(count, rows)
        return [s / reach + n for s, n in zip(sums, counts, strict=True)]

    told = least_epsilon(releases(5), releases(6))
    assert (told > 1) == fault, told


@pytest.mark.statistical
@pytest.mark.parametrize("fault", [False, True])
def test_a_quantile_tells_no_more_than_is_charged_unless_its_noise_is_halved(fault: bool) -> None:
    plan = plan_of({"fn": "quantile", "col": "dep_delay", "q": ["0.5"], "bins": 2})
    (choice,) = plan.choices
    if fault:
        choice = replace(choice, scale=choice.scale / 2, epsilon=choice.epsilon * 2)
    choose = choice_sampler(choice)

    def releases(held: dict[int, int]) -> list[float]:
        scored = scores(choice.selection, held)
        return [float(choose(scored)[0] != 1) for _ in range(CHOICES)]

    # one row more in the first bin brings the middle edge nearer and the others further away
    told = least_epsilon(releases({0: 1, 1: 2}), releases({0: 2, 1: 2}))
    assert (told > 1) == fault, told


@pytest.mark.statistical
@pytest.mark.parametrize("fault", [False, True])
def test_a_threshold_shows_a_lone_key_with_its_delta_unless_it_is_lowered(fault: bool) -> None:
    privacy = {"epsilon": "1", "delta": "0.01", "noise": "discrete_laplace"}
    on = dataset(**RECORD)
    (guard,) = plan_for(query([{"fn": "count"}], [PRIVATE_DEST], privacy=privacy), on).noisy
    assert guard.threshold is not None
    library = _library()
    metric = library.l01inf_distance(library.absolute_distance(T="i64"))
    domain = library.map_domain(library.atom_domain(T="i64"), library.atom_domain(T="i64"))
    lowered = guard.threshold - 2 if fault else guard.threshold
    show = library.m.make_laplace_threshold(domain, metric, float(guard.scale), lowered)
    shown = sum(bool(show({0: 1})) for _ in range(RUNS // 2))
    least = _bound(shown, RUNS // 2, LEVEL, low=True)
    assert (least > 0.01) == fault
    assert Decimal("0.01") == on_delta(guard)


def on_delta(guard: NoisyQuantity) -> Decimal:
    delta = getattr(guard.mechanism, "delta", None)
    assert isinstance(delta, Decimal)
    return delta
