"""Targets and offers are solved on the very test that decides, and were tried."""

import math
from collections.abc import Callable
from decimal import Decimal

import pytest

from app.domain.accounting.calibration import calibrate, pld_epsilon, target_policy
from app.domain.accounting.filters import MixturePolicy, make_policy
from app.domain.accounting.fits import least_noise, most_units, noise_of, with_noise
from app.domain.accounting.pld import pld_profile
from app.domain.accounting.prices import charge_parts, price
from app.domain.errors import InvalidParameter, MechanismNotPriced
from app.domain.mechanisms.kinds import Zcdp
from app.domain.mechanisms.parsing import (
    Approximate,
    Composed,
    DiscreteGaussian,
    DiscreteLaplace,
    Exponential,
    Gaussian,
    Laplace,
    Mechanism,
    Part,
    PoissonSampled,
    Pure,
    Repeated,
    Threshold,
    TreeAggregation,
)
from app.domain.privacy import Limit, Loss

ADD = "add_remove"
POLICY = make_policy("rdp-mix/1", Limit(Decimal(8), Decimal("1e-5")))


def training(noise: str) -> list[Part]:
    return [
        Part(PoissonSampled("0.05", Gaussian(noise)), 400),
        Part(Threshold(DiscreteLaplace("20", "1"), 1, "1e-8"), 1),
    ]


def loss_at(parts_for: Callable[[str], list[Part]], noise: str) -> Loss:
    return charge_parts((price(p.mechanism, ADD), p.max_units) for p in parts_for(noise))


def one_less(text: str, digits: int) -> str:
    """The decimal of `digits` significant digits just below."""
    value = Decimal(text)
    return format(value - Decimal(1).scaleb(value.adjusted() - digits + 1), "f")


def test_the_calibrated_noise_meets_the_target_and_one_digit_less_does_not() -> None:
    noise = calibrate(training, ADD, POLICY.admits)
    assert POLICY.admits(loss_at(training, noise))
    assert not POLICY.admits(loss_at(training, one_less(noise, 5)))
    assert len(noise.replace(".", "").strip("0")) <= 5


def test_calibration_from_now_leaves_room_for_what_is_held() -> None:
    held = price(Gaussian("2"), ADD).charge(3)
    alone = calibrate(training, ADD, POLICY.admits)
    beside = calibrate(training, ADD, lambda loss: POLICY.admits(held + loss))
    assert Decimal(beside) > Decimal(alone)
    assert POLICY.admits(held + loss_at(training, beside))


def test_a_target_that_no_noise_meets_is_refused() -> None:
    with pytest.raises(InvalidParameter):
        calibrate(training, ADD, lambda _: False)
    with pytest.raises(MechanismNotPriced):
        calibrate(training, "replace_one", POLICY.admits)


@pytest.mark.parametrize("least", ["0.001", "0.0010001", "1.2345", "98765", "9e8", "1e9"])
def test_every_noise_multiplier_is_in_reach_and_found_exactly(least: str) -> None:
    tried: list[Decimal] = []

    def parts_for(noise: str) -> list[Part]:
        tried.append(Decimal(noise))
        return [Part(Gaussian(noise), 1)]

    found = calibrate(parts_for, ADD, lambda _: tried[-1] >= Decimal(least))
    assert Decimal(found) == Decimal(least)


def test_noise_beyond_what_a_mechanism_takes_is_not_offered() -> None:
    def admits(loss: Loss) -> bool:
        return loss == Loss.zero()

    assert least_noise(admits, Gaussian("9e8"), 1, ADD, beside=Loss.zero()) is None


def test_a_target_from_empty_is_the_accountant_of_the_budget_at_the_target() -> None:
    target = target_policy(POLICY, Decimal(2), Decimal("1e-6"))
    assert target == make_policy("rdp-mix/1", Limit(Decimal(2), Decimal("1e-6")))


def test_a_target_from_now_keeps_the_weights_of_the_budget() -> None:
    target = target_policy(POLICY, Decimal(2), Decimal("1e-5"), "now")
    assert isinstance(target, MixturePolicy)
    assert isinstance(POLICY, MixturePolicy)
    assert target.weights_2p80 == POLICY.weights_2p80
    assert target.limit.epsilon == 2
    with pytest.raises(InvalidParameter):
        target_policy(POLICY, Decimal(2), Decimal("1e-6"), "now")


NOISY: list[Mechanism] = [
    Gaussian("0.5"),
    PoissonSampled("0.1", Gaussian("0.3")),
    Repeated(3, Gaussian("0.9")),
    TreeAggregation("0.5", 100),
    Laplace("0.5", "1"),
    DiscreteLaplace("0.5", "2"),
    DiscreteGaussian("3", "2.5"),
]


@pytest.mark.parametrize("mechanism", NOISY, ids=lambda mechanism: str(mechanism.type))
def test_the_noise_offered_passes_and_a_little_less_does_not(mechanism: Mechanism) -> None:
    relation = "zero_out" if isinstance(mechanism, TreeAggregation) else ADD
    held = price(Pure("1"), ADD).charge(1)

    def passes(noise: Decimal) -> bool:
        noisier = with_noise(mechanism, noise)
        assert noisier is not None
        return POLICY.admits(held + price(noisier, relation).charge(50))

    asked = noise_of(mechanism)
    assert asked is not None
    assert not passes(asked)
    offered = least_noise(POLICY.admits, mechanism, 50, relation, beside=held)
    assert offered is not None
    assert passes(Decimal(offered))
    assert not passes(Decimal(one_less(offered, 4)))


@pytest.mark.parametrize(
    "mechanism",
    [Pure("9"), Approximate("9", "1e-9"), Zcdp("9"), Exponential("9"), Composed((Gaussian("1"),))],
    ids=lambda mechanism: str(mechanism.type),
)
def test_no_noise_is_offered_where_there_is_no_such_parameter(mechanism: Mechanism) -> None:
    assert least_noise(POLICY.admits, mechanism, 100, ADD, beside=Loss.zero()) is None


def test_no_noise_is_offered_where_none_would_do() -> None:
    full = Loss((0,) * 36, (1,) * 36, 0, 1, 0, 0, 1)
    assert least_noise(POLICY.admits, Gaussian("1"), 1, ADD, beside=full) is None


def test_units_fit_on_a_path_of_several_scopes_only_if_they_fit_each() -> None:
    one = price(Gaussian("20"), ADD)
    scopes = [POLICY, make_policy("rdp-mix/1", Limit(Decimal(2), Decimal("1e-6")))]
    held = [price(Gaussian("20"), ADD).charge(units) for units in (900, 10)]

    def admits(loss: Loss) -> bool:
        return all(s.admits(h + loss) for s, h in zip(scopes, held, strict=True))

    alone = [
        most_units(scope.admits, one, 10**5, beside=h)
        for scope, h in zip(scopes, held, strict=True)
    ]
    assert most_units(admits, one, 10**5, beside=Loss.zero()) == min(alone)


def test_the_figure_in_advance_is_below_the_bound_for_any_order() -> None:
    parts = [Part(PoissonSampled("0.05", Gaussian("1.0053")), 400)]
    figure = pld_epsilon(parts, ADD, Decimal("1e-5"))
    assert figure is not None
    held = charge_parts((price(p.mechanism, ADD), p.max_units) for p in parts)
    assert 5 < Decimal(figure) < Decimal(POLICY.consumed(held).epsilon)


@pytest.mark.parametrize(
    "mechanism",
    [
        Zcdp("1"),
        TreeAggregation("1", 10),
        DiscreteGaussian("1", "1"),
        Threshold(Laplace("1", "1"), 1, "1e-9"),
        Pure("1"),
        Gaussian("0.01"),
        Laplace("1e12", "1"),
        DiscreteLaplace("1e9", "1e7"),
    ],
    ids=str,
)
def test_no_figure_in_advance_is_made_up_for_what_cannot_be_composed(mechanism: Mechanism) -> None:
    assert pld_epsilon([Part(mechanism, 1)], ADD, Decimal("1e-5")) is None


def test_the_figure_in_advance_takes_a_choice_for_the_laplace_noise_that_bounds_it() -> None:
    """Against the hockey stick of bounded range, u^2 / (1 - e^-epsilon) (Dong et al. 2020)."""
    for epsilon in (0.1, 1.0, 5.0):
        pairs = pld_profile(
            [Part(Exponential(str(epsilon)), 1)], ADD, [epsilon * k / 20 for k in range(-19, 21)]
        )
        assert pairs is not None
        for at, delta in pairs:
            u = -math.expm1((at - epsilon) / 2)
            assert delta >= u * u / -math.expm1(-epsilon) - 1e-9
    steps = Part(PoissonSampled("0.05", Gaussian("1.0053")), 400)
    alone = pld_epsilon([steps], ADD, Decimal("1e-5"))
    beside = pld_epsilon([Part(Exponential("0.1"), 1), steps], ADD, Decimal("1e-5"))
    assert alone is not None
    assert beside is not None
    assert Decimal(alone) < Decimal(beside) < Decimal(alone) + Decimal("0.1")


def test_the_figure_in_advance_doubles_a_sensitivity_when_one_unit_replaces_another() -> None:
    replaced = pld_epsilon([Part(Gaussian("4"), 1)], "replace_one", Decimal("1e-5"))
    assert replaced == pld_epsilon([Part(Gaussian("2"), 1)], ADD, Decimal("1e-5"))
    sampled = [Part(PoissonSampled("0.1", Gaussian("2")), 1)]
    assert pld_epsilon(sampled, "replace_one", Decimal("1e-5")) is None
