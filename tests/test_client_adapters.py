"""What the client makes of other tools' mechanisms never costs less than they say (R1, R6)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import dp_accounting as dpa
import mpmath
import numpy as np
import opendp.prelude as dp
import pytest
from dp_accounting.dp_event import (
    MixtureOfGaussiansDpEvent,
    RepeatAndSelectDpEvent,
    SampledWithoutReplacementDpEvent,
    SampledWithReplacementDpEvent,
    TruncatedSubsampledGaussianDpEvent,
    ZCDpEvent,
)
from dp_accounting.rdp import RdpAccountant
from hypothesis import given
from hypothesis import strategies as st
from opendp.mod import GLOBAL_FEATURES

from app.client import from_dp_event, from_jax_privacy, from_opacus, from_opendp
from app.domain.accounting.prices import charge_parts, price
from app.domain.decimals import NAT_2P40
from app.domain.mechanisms.parsing import parse_part
from app.domain.privacy import ORDERS, Loss

RELATIONS = {
    "add_remove": dpa.NeighboringRelation.ADD_OR_REMOVE_ONE,
    "zero_out": dpa.NeighboringRelation.REPLACE_SPECIAL,
}
WHOLE = [order for order in ORDERS if order.denominator == 1 and order <= 64]
GAUSSIAN = dpa.GaussianDpEvent(1.1)
SAMPLED = dpa.PoissonSampledDpEvent(0.01, GAUSSIAN)


def charged(parts: list[dict[str, Any]], relation: str = "add_remove") -> Loss:
    """The loss that the service charges for all units of the parts."""
    read = [parse_part(each, f"/parts/{index}") for index, each in enumerate(parts)]
    return charge_parts((price(each.mechanism, relation), each.max_units) for each in read)


def nats(loss: Loss) -> list[float]:
    return [
        loss.nats_2p40[index] / NAT_2P40 if loss.dead[index] == 0 else math.inf
        for index, order in enumerate(ORDERS)
        if order in WHOLE
    ]


def library_nats(event: Any, relation: str) -> list[float]:
    accountant = RdpAccountant([float(order) for order in WHOLE], RELATIONS[relation])
    accountant.compose(event)
    return [float(value) for value in accountant._rdp]


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize(
    "event",
    [
        GAUSSIAN,
        dpa.LaplaceDpEvent(2.3),
        ZCDpEvent(0.07, 0.003),
        SAMPLED,
        dpa.SelfComposedDpEvent(SAMPLED, 137),
        dpa.SelfComposedDpEvent(dpa.SelfComposedDpEvent(dpa.SelfComposedDpEvent(SAMPLED, 2), 3), 5),
        dpa.ComposedDpEvent([GAUSSIAN, dpa.SelfComposedDpEvent(SAMPLED, 4), dpa.NoOpDpEvent()]),
        dpa.SelfComposedDpEvent(dpa.ComposedDpEvent([GAUSSIAN, dpa.LaplaceDpEvent(3.0)]), 6),
        dpa.PoissonSampledDpEvent(
            0.03, dpa.ComposedDpEvent([dpa.SelfComposedDpEvent(GAUSSIAN, 3), GAUSSIAN])
        ),
        dpa.PoissonSampledDpEvent(1.0, GAUSSIAN),
    ],
    ids=repr,
)
def test_an_event_is_charged_what_the_library_says_and_no_less(event: Any, relation: str) -> None:
    ours = nats(charged(from_dp_event(event), relation))
    for mine, theirs in zip(ours, library_nats(event, relation), strict=True):
        assert theirs * (1 - 1e-12) <= mine <= theirs * (1 + 1e-6) + 1e-6


@pytest.mark.parametrize("steps", [1, 2, 7, 8, [3, 9, 4]])
def test_a_tree_is_charged_at_its_highest(steps: Any) -> None:
    event = dpa.SelfComposedDpEvent(dpa.SingleEpochTreeAggregationDpEvent(2.5, steps), 2)
    ours = nats(charged(from_dp_event(event), "zero_out"))
    for mine, theirs in zip(ours, library_nats(event, "zero_out"), strict=True):
        assert theirs * (1 - 1e-12) <= mine <= theirs * (1 + 1e-6) + 1e-6


@given(
    p=st.floats(1e-12, 1, exclude_max=True),
    k=st.integers(2, 1000),
)
def test_randomized_response_keeps_its_whole_ratio(p: float, k: int) -> None:
    (part,) = from_dp_event(dpa.dp_event.RandomizedResponseDpEvent(p, k))
    assert part["mechanism"]["type"] == "randomized_response"
    with mpmath.workdps(60):
        exact = mpmath.log1p(mpmath.mpf(k) * (1 - mpmath.mpf(p)) / mpmath.mpf(p))
        given_text = mpmath.mpf(part["mechanism"]["epsilon"])
        assert exact <= given_text <= exact * (1 + mpmath.mpf(10) ** -15)


@given(a=st.floats(1e-12, 1e4), moved=st.integers(1, 1000))
def test_a_discrete_laplace_loses_at_least_parameter_times_sensitivity(
    a: float, moved: int
) -> None:
    (part,) = from_dp_event(dpa.dp_event.DiscreteLaplaceDpEvent(a, moved))
    mechanism = part["mechanism"]
    ratio = Fraction(mechanism["sensitivity_l1"]) / Fraction(mechanism["scale"])
    assert Fraction(a) * moved <= ratio <= Fraction(a) * moved * (1 + Fraction(1, 10**15))


@given(
    noise=st.floats(0, exclude_min=True, allow_infinity=False),
    rate=st.floats(0, 1, exclude_min=True),
)
def test_no_number_is_written_on_the_side_of_less_loss(noise: float, rate: float) -> None:
    (part,) = from_dp_event(dpa.PoissonSampledDpEvent(rate, dpa.GaussianDpEvent(noise)))
    texts = part["mechanism"]["of"]["noise_multiplier"], part["mechanism"]["rate"]
    assert all(len(text) <= 40 and "E" not in text and "+" not in text for text in texts)
    near = Fraction(1, 10**15)
    assert Fraction(noise) * (1 - near) <= Fraction(texts[0]) <= Fraction(noise)
    assert Fraction(rate) <= Fraction(texts[1]) <= min(Fraction(1), Fraction(rate) * (1 + near))


@pytest.mark.parametrize(
    "event",
    [
        dpa.NonPrivateDpEvent(),
        dpa.UnsupportedDpEvent(),
        SampledWithReplacementDpEvent(100, 10, GAUSSIAN),
        SampledWithoutReplacementDpEvent(100, 10, GAUSSIAN),
        TruncatedSubsampledGaussianDpEvent(100, 0.1, 10, 1.0),
        RepeatAndSelectDpEvent(GAUSSIAN, 10.0, 1.0),
        MixtureOfGaussiansDpEvent(1.0, [0.0, 1.0], [0.5, 0.5]),
        dpa.DpEvent(),
        object(),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_has_no_proven_price_is_refused_by_its_name(event: Any) -> None:
    inside = (
        event,
        dpa.SelfComposedDpEvent(event, 3),
        dpa.ComposedDpEvent([GAUSSIAN, event]),
        dpa.SelfComposedDpEvent(dpa.ComposedDpEvent([GAUSSIAN, event]), 2),
        dpa.PoissonSampledDpEvent(0.1, event),
    )
    for each in inside:
        with pytest.raises(ValueError, match=type(event).__name__):
            from_dp_event(each)


@pytest.mark.parametrize(
    "event", [dpa.LaplaceDpEvent(1.0), ZCDpEvent(0.5), SAMPLED], ids=lambda e: type(e).__name__
)
def test_only_gaussians_are_taken_on_a_sample(event: Any) -> None:
    with pytest.raises(ValueError, match=f"of {type(event).__name__}"):
        from_dp_event(dpa.PoissonSampledDpEvent(0.1, event))


@pytest.mark.parametrize("bad", [0, 0.0, -0.0, -1.0, math.nan, math.inf, True, "1.1", None, [1.0]])
def test_noise_that_is_no_positive_number_is_refused(bad: Any) -> None:
    events = (
        dpa.GaussianDpEvent(bad),
        dpa.LaplaceDpEvent(bad),
        dpa.dp_event.DiscreteLaplaceDpEvent(bad, 1),
        dpa.SingleEpochTreeAggregationDpEvent(bad, 3),
        dpa.PoissonSampledDpEvent(0.1, dpa.GaussianDpEvent(bad)),
    )
    for event in events:
        with pytest.raises(ValueError, match="DpEvent"):
            from_dp_event(event)


@pytest.mark.parametrize("bad", [0, -0.1, 1.1, math.nan, True, "0.5"])
def test_a_randomized_response_that_keeps_its_input_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="RandomizedResponse"):
        from_dp_event(dpa.dp_event.RandomizedResponseDpEvent(bad, 2))


@pytest.mark.parametrize("bad", [-1, 2.0, True, None, "3", math.nan])
def test_a_count_that_is_no_whole_number_is_refused(bad: Any) -> None:
    for event in (
        dpa.SelfComposedDpEvent(GAUSSIAN, bad),
        dpa.dp_event.DiscreteLaplaceDpEvent(1.0, bad),
        dpa.SingleEpochTreeAggregationDpEvent(1.0, bad),
    ):
        with pytest.raises(ValueError, match="whole number"):
            from_dp_event(event)


def test_a_rate_above_one_is_refused_and_numbers_of_arrays_are_read() -> None:
    for rate in (1.5, -0.1, math.nan, True):
        with pytest.raises(ValueError, match="sampling rate"):
            from_dp_event(dpa.PoissonSampledDpEvent(rate, GAUSSIAN))
    event = dpa.SelfComposedDpEvent(dpa.GaussianDpEvent(np.float32(1.1)), np.int64(3))
    (part,) = from_dp_event(event)
    assert part["max_units"] == 3
    assert Fraction(part["mechanism"]["noise_multiplier"]) <= Fraction(float(np.float32(1.1)))


def test_what_loses_nothing_becomes_no_part_and_equals_become_one() -> None:
    nothing = (
        dpa.NoOpDpEvent(),
        dpa.SelfComposedDpEvent(GAUSSIAN, 0),
        dpa.ComposedDpEvent([]),
        dpa.PoissonSampledDpEvent(0.0, GAUSSIAN),
        ZCDpEvent(0.0),
        dpa.dp_event.RandomizedResponseDpEvent(0.3, 1),
        dpa.dp_event.RandomizedResponseDpEvent(1.0, 4),
    )
    assert [from_dp_event(event) for event in nothing] == [[]] * len(nothing)
    again = dpa.ComposedDpEvent([SAMPLED, GAUSSIAN, dpa.SelfComposedDpEvent(SAMPLED, 9)])
    assert [part["max_units"] for part in from_dp_event(again)] == [10, 1]


# --- Opacus: objects of the documented shape of 1.6 ----------------------------------------------


@dataclass
class UniformWithReplacementSampler:
    """Of opacus.utils.uniform_sampler: every example joins with probability sample_rate."""

    sample_rate: float
    steps: int | None = None

    def __len__(self) -> int:
        return int(1 / self.sample_rate) if self.steps is None else self.steps


@dataclass
class BatchSplittingSampler:
    """Of opacus.utils.batch_memory_manager: cuts logical batches of the real sampler."""

    sampler: Any


@dataclass
class BatchSampler:
    """Of torch.utils.data: shuffled batches of a fixed size."""

    batch_size: int = 10


class CyclicPoissonSampler(BatchSampler):
    """Of newer Opacus: fixed-size batches in spite of its name."""


@dataclass
class Loader:
    batch_sampler: Any


@dataclass
class Accountant:
    history: list[Any] = field(default_factory=list)


@dataclass
class PrivacyEngine:
    accountant: Accountant


POISSON = Loader(UniformWithReplacementSampler(0.01))


def test_an_opacus_run_is_charged_as_its_poisson_steps() -> None:
    history = [(1.1, 0.01, 60), (0.9, 0.01, 10), (1.1, 0.01, 30)]
    for source in (PrivacyEngine(Accountant(history)), Accountant(history), history):
        parts = from_opacus(source, data_loader=POISSON)
        assert [part["max_units"] for part in parts] == [90, 10]
    event = dpa.ComposedDpEvent(
        [
            dpa.SelfComposedDpEvent(dpa.PoissonSampledDpEvent(rate, dpa.GaussianDpEvent(z)), steps)
            for z, rate, steps in history
        ]
    )
    for mine, theirs in zip(nats(charged(parts)), library_nats(event, "add_remove"), strict=True):
        assert theirs * (1 - 1e-12) <= mine <= theirs * (1 + 1e-6) + 1e-6


@pytest.mark.parametrize("sampler", [BatchSampler(), CyclicPoissonSampler(), None, object()])
def test_a_loader_that_draws_no_poisson_batches_is_refused(sampler: Any) -> None:
    for loader in (Loader(sampler), Loader(BatchSplittingSampler(sampler)), object()):
        with pytest.raises(ValueError, match="no Poisson batches"):
            from_opacus([(1.1, 0.01, 600)], data_loader=loader)


def test_a_memory_manager_around_a_poisson_loader_is_looked_through() -> None:
    loader = Loader(BatchSplittingSampler(UniformWithReplacementSampler(0.01)))
    assert from_opacus([(1.1, 0.01, 5)], data_loader=loader)[0]["max_units"] == 5


def test_a_history_that_counts_another_rate_than_the_loader_draws_is_refused() -> None:
    with pytest.raises(ValueError, match="the loader draws at rate"):
        from_opacus([(1.1, 0.001, 5)], data_loader=POISSON)
    with pytest.raises(ValueError, match="accumulated"):
        from_opacus([(1.1, 0.02, 5)], data_loader=POISSON)
    # an epoch has int(1 / 0.3) batches, so the engine counts 1 / 3 where 0.3 is drawn
    near = Loader(UniformWithReplacementSampler(0.3))
    (part,) = from_opacus([(1.1, 1 / 3, 5)], data_loader=near)
    assert Fraction(part["mechanism"]["rate"]) >= Fraction(1 / 3)
    # the engine of a loader with steps of its own counts 1 / steps, which is no rate
    own_steps = Loader(UniformWithReplacementSampler(0.01, steps=1000))
    with pytest.raises(ValueError, match="the loader draws at rate"):
        from_opacus([(1.1, 0.001, 5)], data_loader=own_steps)


@pytest.mark.parametrize(
    "entry", [(1.1, 0.01), (1.1, 0.01, 3, "bandmf"), 7, (0.0, 0.01, 3), (1.1, 0.01, True)]
)
def test_an_entry_of_another_form_is_refused(entry: Any) -> None:
    with pytest.raises(ValueError):
        from_opacus([entry], data_loader=POISSON)


# --- JAX-Privacy: objects of the documented shape of 2.0 -----------------------------------------


@dataclass(frozen=True)
class DPExecutionPlan:
    """Of jax_privacy.experimental.execution_plan."""

    dp_event: Any


class BandMFExecutionPlanConfig:
    def make(self) -> DPExecutionPlan:
        return DPExecutionPlan(SAMPLED)


def test_a_jax_privacy_plan_is_its_event_and_a_config_is_none() -> None:
    event = dpa.SelfComposedDpEvent(SAMPLED, 512)  # what jax_privacy.accounting.dpsgd_event makes
    assert from_jax_privacy(DPExecutionPlan(event)) == from_jax_privacy(event)
    assert from_jax_privacy(event) == from_dp_event(event)
    with pytest.raises(ValueError, match="BandMFExecutionPlanConfig has no event yet"):
        from_jax_privacy(BandMFExecutionPlanConfig())
    truncated = TruncatedSubsampledGaussianDpEvent(100, 0.1, 10, 1.0)
    with pytest.raises(ValueError, match="Truncated"):
        from_jax_privacy(DPExecutionPlan(dpa.SelfComposedDpEvent(truncated, 3)))


# --- OpenDP ---------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _features() -> Iterator[None]:
    before = set(GLOBAL_FEATURES)
    dp.enable_features("contrib", "idealized-numerics")
    yield
    dp.disable_features(*GLOBAL_FEATURES - before)


INTEGERS = (dp.atom_domain(T=int), dp.absolute_distance(T=int))


def d_out(measurement: Any, d_in: float) -> Any:
    return measurement.map(d_in)


def test_an_opendp_laplace_costs_at_least_its_own_map() -> None:
    measurement = dp.m.make_laplace(*INTEGERS, scale=3.0)
    (part,) = from_opendp(measurement, 1)
    assert part["mechanism"]["type"] == "pure"
    assert Fraction(part["mechanism"]["epsilon"]) >= Fraction(d_out(measurement, 1))
    assert charged([part]).maximum_atto >= 10**18 / 3
    assert from_opendp(measurement, 0) == []


def test_an_opendp_gaussian_is_zcdp_and_its_cast_is_approximate() -> None:
    space = dp.atom_domain(T=int), dp.absolute_distance(T=float)
    measurement = dp.m.make_gaussian(*space, scale=3.0)
    (part,) = from_opendp(measurement, 2.0)
    assert part["mechanism"]["type"] == "zcdp"
    assert Fraction(part["mechanism"]["rho"]) >= Fraction(d_out(measurement, 2.0))
    for mine, order in zip(nats(charged([part])), WHOLE, strict=True):
        assert mine >= float(Fraction(4, 18) * order) * (1 - 1e-12)

    curve = dp.c.make_zCDP_to_approxDP(measurement)
    with pytest.raises(ValueError, match="SmoothedMaxDivergence is not taken"):
        from_opendp(curve, 2.0)
    cast = dp.c.make_fix_delta(curve, 1e-6)
    epsilon, delta = d_out(cast, 2.0)
    (part,) = from_opendp(cast, 2.0)
    assert Fraction(part["mechanism"]["epsilon"]) >= Fraction(epsilon)
    assert Fraction(part["mechanism"]["delta"]) >= Fraction(delta)
    assert charged([part]).delta_atto >= 10**12


def test_an_opendp_approximation_without_delta_is_what_it_is_without_it() -> None:
    space = dp.atom_domain(T=int), dp.absolute_distance(T=float)
    rho = dp.c.make_approximate(dp.m.make_gaussian(*space, scale=3.0))
    assert from_opendp(rho, 1.0)[0]["mechanism"]["type"] == "zcdp"
    pure = dp.c.make_approximate(dp.m.make_laplace(*INTEGERS, scale=3.0))
    assert from_opendp(pure, 1)[0]["mechanism"]["type"] == "pure"


def test_an_opendp_map_without_a_proven_price_is_refused() -> None:
    @dataclass
    class Measurement:
        output_measure: str
        answer: Any

        def map(self, _d_in: object) -> Any:
            return self.answer

    for measure, answer in (
        ("Approximate(ZeroConcentratedDivergence)", (0.1, 1e-7)),
        ("RenyiDivergence", lambda order: order),
        ("MaxDivergence", math.inf),
        ("MaxDivergence", math.nan),
        ("Approximate(MaxDivergence)", (math.inf, 1e-7)),
    ):
        with pytest.raises(ValueError):
            from_opendp(Measurement(measure, answer), 1)
