import importlib
import math
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from scipy import stats

from app.domain.accounting.prices import price
from app.domain.decimals import ATTO, NAT_2P40
from app.domain.mechanisms.parsing import DiscreteGaussian, DiscreteLaplace, Mechanism, Threshold
from app.domain.privacy import ORDERS
from app.domain.queries import NoisyQuantity, Quantity
from app.domain.queries.noise import GaussianNoise, LaplaceNoise
from tests.workers.engines.query.made import RECORD, dataset, plan_for, query
from workers.engines.api import EngineRefused
from workers.engines.query.noise import threshold_noise, vector_noise
from workers.engines.query.release import build_samplers

DRAWS = 20_000
LEVEL = 1e-4


def laplace_pmf(scale: float) -> Callable[[int], float]:
    p = math.exp(-1 / scale)
    return lambda k: (1 - p) / (1 + p) * p ** abs(k)


def gaussian_pmf(sigma: float) -> Callable[[int], float]:
    reach = math.ceil(12 * sigma) + 2
    total = sum(math.exp(-((k / sigma) ** 2) / 2) for k in range(-reach, reach + 1))
    return lambda k: math.exp(-((k / sigma) ** 2) / 2) / total


def chi_square(draws: list[int], pmf: Callable[[int], float]) -> float:
    """The p-value of the draws; neighbouring integers pool into at most 40 likely bins."""
    counts = Counter(draws)
    last = max(map(abs, draws)) + 1
    observed, expected, seen, mass = [], [], 0.0, 0.0
    for k in range(-last, last + 1):
        seen += counts[k]
        mass += pmf(k) * len(draws)
        if mass >= len(draws) / 40:
            observed.append(seen)
            expected.append(mass)
            seen, mass = 0.0, 0.0
    observed[-1] += seen
    expected[-1] += len(draws) - sum(expected)
    statistic = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    return float(stats.chi2.sf(statistic, len(observed) - 1))


def noisy(
    mechanism: Mechanism, scale: str, threshold: int | None = None, kind: Any = "discrete_laplace"
) -> NoisyQuantity:
    return NoisyQuantity(Quantity("count"), kind, Decimal(scale), mechanism, 0, threshold)


@pytest.mark.statistical
@pytest.mark.parametrize("scale", ["0.7", "3", "40"])
def test_laplace_draws_have_the_exact_discrete_masses(scale: str) -> None:
    draw = vector_noise(noisy(DiscreteLaplace(scale, "1"), scale))
    assert chi_square(draw([0] * DRAWS), laplace_pmf(float(scale))) > LEVEL


@pytest.mark.statistical
@pytest.mark.parametrize("scale", ["0.7", "3", "40"])
def test_gaussian_draws_have_the_exact_discrete_masses(scale: str) -> None:
    draw = vector_noise(noisy(DiscreteGaussian(scale, "1"), scale))
    assert chi_square(draw([0] * DRAWS), gaussian_pmf(float(scale))) > LEVEL


@pytest.mark.statistical
def test_rounded_continuous_noise_is_rejected_by_the_same_test() -> None:
    generator = np.random.default_rng(1)
    # Rounding shows where the noise is narrow; in wide noise a wrong scale does.
    for true, drawn in ((0.7, 0.7), (40.0, 43.0)):
        rounded = np.rint(generator.laplace(scale=drawn, size=DRAWS)).astype(int).tolist()
        assert chi_square(rounded, laplace_pmf(true)) < LEVEL
    wide = np.rint(generator.normal(scale=3 * 1.05, size=DRAWS)).astype(int).tolist()
    assert chi_square(wide, gaussian_pmf(3)) < LEVEL


@pytest.mark.statistical
@pytest.mark.parametrize("kind", ["laplace", "gaussian"])
def test_a_lone_units_key_is_shown_as_often_as_the_threshold_says_and_no_oftener(
    kind: str,
) -> None:
    pmf = laplace_pmf(3) if kind == "laplace" else gaussian_pmf(3)
    model: Any = LaplaceNoise if kind == "laplace" else GaussianNoise
    cell: Any = DiscreteLaplace if kind == "laplace" else DiscreteGaussian
    delta = Decimal("0.09")
    threshold = model(Decimal(3)).least_threshold(1, delta)
    passing = sum(pmf(k) for k in range(threshold - 1, 200))
    assert passing <= delta
    guard = noisy(Threshold(cell("3", "1"), 1, delta), "3", threshold)
    shown = threshold_noise(guard)(dict.fromkeys(range(DRAWS), 1))
    spread = math.sqrt(DRAWS * passing * (1 - passing))
    assert abs(len(shown) - DRAWS * passing) < 4 * spread  # level 1e-4
    assert min(shown.values()) == threshold


def test_noise_saturates_and_an_empty_list_draws_nothing() -> None:
    draw = vector_noise(noisy(DiscreteLaplace("3", "1"), "3"))
    assert draw([]) == []
    assert abs(draw([2**63 - 1])[0]) > 2**62
    guard = noisy(Threshold(DiscreteLaplace("3", "1"), 1, "0.1"), "3", 9)
    assert threshold_noise(guard)({}) == {}


def test_a_sampler_is_built_after_another_user_of_the_process_turned_the_library_off() -> None:
    library: Any = importlib.import_module("opendp.prelude")
    shared: Any = importlib.import_module("opendp.mod")
    before = set(shared.GLOBAL_FEATURES)
    library.disable_features(*before)
    try:
        assert vector_noise(noisy(DiscreteLaplace("3", "1"), "3"))([0])
    finally:
        library.enable_features(*before)


@pytest.mark.parametrize("noise", ["discrete_laplace", "discrete_gaussian"])
@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
@pytest.mark.parametrize("level", [{}, RECORD])
def test_the_charge_of_each_measure_covers_the_samplers_own_map(
    noise: str, relation: str, level: dict[str, Any]
) -> None:
    library: Any = importlib.import_module("opendp.prelude")
    on = dataset(relation=relation, **level)
    privacy = {"epsilon": "0.37", "delta": "1e-9", "noise": noise}
    plan = plan_for(query(privacy=privacy), on)
    build_samplers(plan)  # raises where the map says more than the mechanism
    units = 2 if relation == "replace_one" else 1
    vector = library.vector_domain(library.atom_domain(T="i64"))
    for each in plan.noisy:
        if each.threshold is not None:
            continue
        charge = price(each.mechanism, relation).charge(1)
        moved = units * plan.groups * each.quantity.bound
        if noise == "discrete_laplace":
            sampler = library.m.make_laplace(
                vector, library.l1_distance(T="i64"), float(each.scale)
            )
            assert sampler.map(moved) <= charge.maximum_atto / ATTO * (1 + 1e-15)
            continue
        sampler = library.m.make_gaussian(vector, library.l2_distance(T="f64"), float(each.scale))
        rho = sampler.map(units * math.sqrt(plan.groups) * each.quantity.bound)
        for order, nats in zip(ORDERS, charge.nats_2p40, strict=True):
            assert rho * float(order) <= nats / NAT_2P40


@pytest.mark.parametrize("noise", ["discrete_laplace", "discrete_gaussian"])
@pytest.mark.parametrize("epsilon", ["1e-6", "0.01", "50", "1000"])
@pytest.mark.parametrize("delta", ["4e-15", "0.1"])
def test_whatever_is_planned_has_samplers_that_meet_its_charge(
    noise: str, epsilon: str, delta: str
) -> None:
    on = dataset(relation="replace_one")
    privacy = {"epsilon": epsilon, "delta": delta, "noise": noise}
    plan = plan_for(query(privacy=privacy), on)
    samplers = build_samplers(plan)
    assert samplers.threshold is not None


@pytest.mark.parametrize(
    "understated",
    [
        noisy(DiscreteLaplace("20", "10"), "10"),
        noisy(DiscreteGaussian("20", "10"), "10"),
        noisy(Threshold(DiscreteLaplace("20", "1"), 3, "1e-8"), "10", 500),
        noisy(Threshold(DiscreteLaplace("10", "1"), 3, "1e-8"), "10", 100),
        noisy(Threshold(DiscreteGaussian("20", "1"), 3, "1e-8"), "10", 500),
        noisy(Threshold(DiscreteLaplace("10", "1"), 3, "1e-8"), "10"),
        # One step lower than the least: the library's own map would let it pass.
        noisy(
            Threshold(DiscreteLaplace("10", "1"), 3, "1e-8"),
            "10",
            LaplaceNoise(Decimal(10)).least_threshold(3, Decimal("1e-8")) - 1,
        ),
    ],
)
def test_a_sampler_that_loses_more_than_is_charged_is_refused(understated: NoisyQuantity) -> None:
    build = threshold_noise if isinstance(understated.mechanism, Threshold) else vector_noise
    with pytest.raises(EngineRefused):
        build(understated)
