"""What a budget admits: the bound holds, nothing is admitted twice, what is shown is true."""

import json
import math
import statistics
import time
from decimal import Decimal
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.accounting.filters import (
    MixturePolicy,
    Policy,
    make_policy,
    policy_from_json,
)
from app.domain.accounting.fits import most_units
from app.domain.accounting.mixture import _GRID, STEPS_2P40, UPPER_LHS
from app.domain.accounting.prices import Price, charge_of_pure, price
from app.domain.accounting.weights import WEIGHT_UNIT, weights_2p80
from app.domain.decimals import ATTO, NAT_2P40
from app.domain.errors import InvalidParameter
from app.domain.mechanisms.parsing import (
    Approximate,
    DiscreteLaplace,
    Gaussian,
    Laplace,
    Mechanism,
    PoissonSampled,
    Pure,
    Threshold,
)
from app.domain.privacy import ORDERS, Limit, Loss

ADD = "add_remove"
ORDER = np.array([float(order) for order in ORDERS])


def limit(epsilon: str, delta: str) -> Limit:
    return Limit(Decimal(epsilon), Decimal(delta))


def mixture(epsilon: str, delta: str, split: str = "0.9") -> MixturePolicy:
    policy = make_policy("rdp-mix/1", limit(epsilon, delta), Decimal(split))
    assert isinstance(policy, MixturePolicy)
    return policy


def loss_of(mechanism: Mechanism, units: int) -> Loss:
    return price(mechanism, ADD).charge(units)


SHAPES: list[Mechanism] = [
    Gaussian("50"),
    Gaussian("3"),
    PoissonSampled("0.01", Gaussian("1.1")),
    PoissonSampled("0.001", Gaussian("0.6")),
    Laplace("100", "1"),
    DiscreteLaplace("10", "3"),
    Pure("0.01"),
    Pure("0.3"),
    Approximate("0.1", "1e-12"),
    Threshold(Laplace("30", "1"), 2, "1e-12"),
]
LIMITS = [("1", "1e-6"), ("8", "1e-6"), ("2.64", "1e-9"), ("0.1", "1e-2"), ("30", "1e-5")]


@st.composite
def losses(draw: st.DrawFn) -> Loss:
    """A few mechanisms with counts over many sizes, so that both sides of a limit are met."""
    chosen = draw(
        st.lists(st.tuples(st.sampled_from(SHAPES), st.integers(0, 17)), min_size=1, max_size=3)
    )
    return sum((loss_of(mechanism, 2**power) for mechanism, power in chosen), Loss.zero())


# ---- the bound (*) --------------------------------------------------------------------------


def holds_at(policy: MixturePolicy, loss: Loss, nats: float) -> bool:
    """(*) at one L, in plain floats and from its definition."""
    epsilon = float(policy.limit.epsilon)
    left = -math.expm1(epsilon - nats)
    usable = [index for index, dead in enumerate(loss.dead) if dead == 0]
    weights = np.array([float(policy.weights_2p80[index] / WEIGHT_UNIT) for index in usable])
    held = np.array([loss.nats_2p40[index] / NAT_2P40 for index in usable])
    powers = np.minimum(ORDER[usable] - 1.0, 1e9) * (nats - held) + np.log(weights)
    return left <= float(np.exp(np.minimum(powers, 5.0)).sum()) * (1 + 1e-9)


@settings(max_examples=30)
@given(
    st.sampled_from(LIMITS),
    st.sampled_from(SHAPES),
    st.lists(st.floats(1e-9, 1.0), min_size=20, max_size=20),
)
def test_where_the_last_unit_is_admitted_the_bound_holds_at_every_loss(
    target: tuple[str, str], mechanism: Mechanism, places: list[float]
) -> None:
    policy = mixture(*target)
    units = most_units(policy.admits, price(mechanism, ADD), 2**40, beside=Loss.zero())
    if units == 0:
        return
    loss = loss_of(mechanism, units)
    epsilon = float(policy.limit.epsilon)
    top = 245.0 if loss.maximum_dead else loss.maximum_atto / ATTO - epsilon
    if top > 0:
        for place in places:
            assert holds_at(policy, loss, epsilon + top * place**3)
    assert not policy.admits(loss_of(mechanism, units + 1))


def literally(policy: MixturePolicy, loss: Loss) -> bool:
    """R4 as it is written, one cell after the other, at 50 digits."""
    epsilon = Fraction(policy.limit.epsilon)
    if loss.maximum_dead == 0 and loss.maximum_atto <= epsilon * ATTO:
        return True
    first = int(epsilon * NAT_2P40)
    terms = [
        (mpmath.mpf(order.numerator) / order.denominator - 1, mpmath.mpf(w) / WEIGHT_UNIT, nats)
        for order, w, nats, dead in zip(
            ORDERS, policy.weights_2p80, loss.nats_2p40, loss.dead, strict=True
        )
        if dead == 0
    ]
    last = None
    if loss.maximum_dead == 0:
        last = math.ceil(Fraction(loss.maximum_atto, ATTO) * NAT_2P40)
    for here, step in zip(_GRID, [*_GRID[1:], None], strict=True):
        r = (1 - mpmath.mpf(2) ** -36) * mpmath.fsum(
            weight * mpmath.exp(slope * (first + here - nats) / NAT_2P40)
            for slope, weight, nats in terms
        )
        if r >= 1:
            return True
        ends = [end for end in (None if step is None else first + step, last) if end is not None]
        if not ends or r < -mpmath.expm1(mpmath.mpf(first - min(ends)) / NAT_2P40):
            return False
        if min(ends) == last:
            return True
    return False


@pytest.mark.parametrize("mechanism", SHAPES[:7:2], ids=lambda mechanism: str(mechanism.type))
@pytest.mark.parametrize("target", LIMITS[:2])
def test_all_cells_at_once_decide_as_one_cell_after_the_other(
    target: tuple[str, str], mechanism: Mechanism
) -> None:
    mpmath.mp.dps = 50
    policy, one = mixture(*target), price(mechanism, ADD)
    held = loss_of(Pure("0.3"), 1)
    edge = most_units(policy.admits, one, 10**7, beside=held)
    for units in (edge, edge + 1):
        loss = held + one.charge(units)
        assert policy.admits(loss) == literally(policy, loss) == (units == edge)


def test_the_grid_is_the_one_of_the_rules_and_each_cell_is_proved_by_its_ends() -> None:
    assert _GRID[:4] == [0, 1, 2, 3]
    # 2^(767/16) x 2^-40 nat: about 245 nats above the limit
    assert _GRID[-1] == math.ceil(Fraction(2) ** 47 * Fraction(2.0 ** (15 / 16)))
    assert len(_GRID) == 719
    assert list(STEPS_2P40) == sorted(set(_GRID))
    ends = -np.expm1(-STEPS_2P40[1:] / NAT_2P40)
    assert np.array_equal(UPPER_LHS[:-1], ends)
    assert UPPER_LHS[-1] == 1.0


def test_dead_orders_are_not_used_and_none_left_is_a_refusal() -> None:
    policy = mixture("8", "1e-6")
    quiet = loss_of(Gaussian("50"), 100)
    dead = Loss(quiet.nats_2p40, (1,) * len(ORDERS), 0, 1, 0, 0, 1)
    assert policy.admits(quiet)
    assert not policy.admits(dead)
    assert policy.consumed(dead).epsilon == "Infinity"
    assert policy.remaining(dead).epsilon == "0"


def test_sums_beyond_every_machine_integer_are_refused_and_not_wrapped() -> None:
    policy = mixture("10000", "1e-6")
    for size in (2**62, 2**63, 2**64, 2**200):
        huge = Loss((size,) * len(ORDERS), (0,) * len(ORDERS), 0, 1, 0, 0, 1)
        assert not policy.admits(huge)
        mixed = Loss((1, *(size,) * (len(ORDERS) - 1)), (0,) * len(ORDERS), 0, 1, 0, 0, 1)
        assert policy.admits(mixed) == policy.admits(
            Loss(mixed.nats_2p40, (0, *(1,) * (len(ORDERS) - 1)), 0, 1, 0, 0, 1)
        )


def test_deltas_are_tested_first_and_alone() -> None:
    policy = mixture("8", "1e-6")
    assert policy.delta_for_jobs_atto == 10**11
    full = Loss((0,) * len(ORDERS), (0,) * len(ORDERS), 0, 0, 10**11, 0, 1)
    over = Loss((0,) * len(ORDERS), (0,) * len(ORDERS), 0, 0, 10**11 + 1, 0, 1)
    assert policy.admits(full)
    assert not policy.admits(over)
    assert policy.remaining(over) == policy.remaining(over + over)


# ---- what must fit --------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 4, 10])
def test_an_empty_budget_of_one_takes_pure_jobs_that_sum_to_one(count: int) -> None:
    policy = mixture("1", "1e-6")
    each = charge_of_pure(Fraction(1, count)) if count != 4 else loss_of(Pure("0.25"), 1)
    held = Loss.zero()
    for _ in range(count):
        held = held + each
        assert policy.admits(held)
    assert not policy.admits(held + each)


def test_a_hundred_reservations_of_a_hundredth_fill_a_pure_budget_and_not_one_more() -> None:
    policy = make_policy("pure/1", limit("1", "0"), Decimal("0.9"))
    each, held = loss_of(Pure("0.01"), 1), Loss.zero()
    for _ in range(100):
        held = held + each
        assert policy.admits(held)
    assert not policy.admits(held + each)
    assert policy.consumed(held).epsilon == "1"
    assert policy.remaining(held).epsilon == "0"
    assert policy.remaining(held - each).epsilon == "0.01"


@pytest.mark.parametrize(
    "mechanism",
    [Gaussian("1e9"), Approximate("0.1", "1e-15"), PoissonSampled("1e-9", Gaussian("9"))],
)
def test_a_pure_budget_refuses_whatever_has_a_delta_or_no_worst_case(mechanism: Mechanism) -> None:
    assert not make_policy("pure/1", limit("10", "0")).admits(loss_of(mechanism, 1))


def test_a_basic_budget_sums_worst_cases_and_deltas() -> None:
    policy = make_policy("basic/1", limit("1", "1e-9"))
    each = loss_of(Approximate("0.25", "2.5e-10"), 1)
    assert policy.admits(each + each + each + each)
    assert not policy.admits(each + each + each + each + loss_of(Pure("1e-18"), 1))
    assert not policy.admits(each + each + loss_of(Approximate("0", "5.00000001e-10"), 1))
    assert not policy.admits(loss_of(Gaussian("1e9"), 1))
    assert policy.remaining(each).epsilon == "0.75"
    assert policy.remaining(each).delta == "7.5e-10"


ORDERS_OF_THE_LIBRARY = np.concatenate([1 + np.arange(1, 100) / 10, np.arange(11, 1025)])


@pytest.mark.parametrize(
    ("epsilon", "split", "expected"),
    [("8", "1", 0.93), ("1", "1", 0.90), ("8", "0.9", 0.93), ("1", "0.9", 0.89)],
)
def test_the_mixture_admits_its_stated_share_of_what_best_order_would(
    epsilon: str, split: str, expected: float
) -> None:
    a = ORDERS_OF_THE_LIBRARY
    room = float(epsilon) + np.log1p(-1 / a) * -1 + (math.log(1e-6) + np.log(a)) / (a - 1)
    best = int(np.max(np.floor(room / (a / (2 * 50.0**2)))))
    ours = most_units(
        mixture(epsilon, "1e-6", split).admits,
        price(Gaussian("50"), ADD),
        10**6,
        beside=Loss.zero(),
    )
    assert abs(ours / best - expected) <= 0.01


def test_a_decision_takes_less_than_a_millisecond() -> None:
    policy = mixture("8", "1e-6")
    one = price(Gaussian("50"), ADD)
    edge = most_units(policy.admits, one, 10**6, beside=Loss.zero())
    for units in (edge, edge + 1):
        loss, took = one.charge(units), []
        for _ in range(60):
            start = time.process_time_ns()
            policy.admits(loss)
            took.append(time.process_time_ns() - start)
        assert statistics.median(took) < 1_000_000


# ---- order, voids, monotony, raises ---------------------------------------------------------


@settings(max_examples=40)
@given(st.sampled_from(LIMITS), losses(), losses())
def test_more_loss_is_never_admitted_where_less_was_refused(
    target: tuple[str, str], less: Loss, more: Loss
) -> None:
    policy = mixture(*target)
    assert policy.admits(less) or not policy.admits(less + more)


@settings(max_examples=40)
@given(st.sampled_from(LIMITS), losses(), losses())
def test_a_void_gives_back_the_same_decisions(
    target: tuple[str, str], held: Loss, voided: Loss
) -> None:
    policy = mixture(*target)
    assert policy.admits((held + voided) - voided) == policy.admits(held)


@settings(max_examples=40)
@given(st.sampled_from(LIMITS), losses(), st.integers(1, 40))
def test_a_raise_never_refuses_what_was_admitted_and_moves_epsilon_alone(
    target: tuple[str, str], held: Loss, quarters: int
) -> None:
    policy = mixture(*target)
    raised = policy.raised(policy.limit.epsilon + Decimal(quarters) / 4)
    assert isinstance(raised, MixturePolicy)
    assert raised.admits(held) or not policy.admits(held)
    assert raised.weights_2p80 == policy.weights_2p80
    assert raised.delta_for_jobs_atto == policy.delta_for_jobs_atto
    assert raised.limit.delta == policy.limit.delta


def test_a_raise_to_the_same_or_a_lower_limit_is_refused() -> None:
    policy = mixture("8", "1e-6")
    for epsilon in ("8", "7.9", "10001"):
        with pytest.raises(InvalidParameter):
            policy.raised(Decimal(epsilon))


def test_a_raised_budget_is_not_one_that_was_fitted_to_the_new_limit() -> None:
    assert mixture("1", "1e-6").raised(Decimal(8)) != mixture("8", "1e-6")
    assert mixture("1", "1e-6").at_level(Decimal("0.5")).limit.epsilon == Decimal("0.5")


# ---- weights and the stored form ------------------------------------------------------------


@settings(max_examples=30)
@given(
    st.decimals("1e-12", "10000", places=12).filter(bool),
    st.decimals("1e-15", "0.1", places=15),
    st.decimals("0.01", "1", places=3),
)
def test_weights_share_no_more_than_their_delta(
    epsilon: Decimal, delta: Decimal, split: Decimal
) -> None:
    weights = weights_2p80(epsilon, delta, split)
    share = Fraction(split) * Fraction(delta) * WEIGHT_UNIT
    assert share * (1 - Fraction(1, 10**6)) - 36 <= sum(weights) <= share
    assert min(weights) > 0


@pytest.mark.parametrize(("epsilon", "delta"), [(8.0, 1e-6), (1.0, 1e-9), (100.0, 1e-2)])
def test_weights_are_half_a_bump_and_half_uniform_in_trapezoid_cells(
    epsilon: float, delta: float
) -> None:
    root = math.sqrt(math.log(1 / delta))
    peak = 1 + root / (math.sqrt(math.log(1 / delta) + epsilon) - root)
    x = np.log(ORDER - 1)
    cells = np.concatenate([[x[1] - x[0]], x[2:] - x[:-2], [x[-1] - x[-2]]]) / 2
    bump = np.exp(-0.5 * ((x - math.log(peak - 1)) / 0.25) ** 2) * cells
    expected = 0.9 * delta * (0.5 * bump / bump.sum() + 0.5 * cells / cells.sum())
    policy = mixture(str(epsilon), f"{delta:.0e}".replace("e-0", "e-"))
    ours = np.array(policy.weights_2p80) / WEIGHT_UNIT
    assert np.allclose(ours, expected, rtol=1e-9)


@pytest.mark.parametrize(
    "policy",
    [
        mixture("8", "1e-6"),
        mixture("2.50", "1e-15", "0.99").raised(Decimal("3.10")),
        make_policy("pure/1", limit("1", "0")),
        make_policy("basic/1", limit("1", "1e-9")),
    ],
    ids=lambda policy: str(policy.accountant),
)
def test_a_stored_policy_is_read_back_exactly(policy: Policy) -> None:
    stored = json.loads(json.dumps(policy.to_json()))
    again = policy_from_json(stored)
    assert again == policy
    assert again.to_json() == policy.to_json()


def test_a_stored_policy_whose_weights_were_raised_is_not_read() -> None:
    stored = mixture("8", "1e-6").to_json()
    heavier = [str(int(weight) + 10**12) for weight in stored["weights_2p80"]]
    with pytest.raises(ValueError, match="weights"):
        policy_from_json({**stored, "weights_2p80": heavier})
    with pytest.raises(ValueError, match="version"):
        policy_from_json({**stored, "version": "rdp-mix/1+weights/2+grid/1"})


@pytest.mark.parametrize(
    ("accountant", "epsilon", "delta", "split", "pointer"),
    [
        ("rdp-mix/1", "1", "0", "0.9", "/limit/delta"),
        ("basic/1", "1", "0", "0.9", "/limit/delta"),
        ("pure/1", "1", "1e-6", "0.9", "/limit/delta"),
        ("rdp-mix/1", "1", "1e-6", "0", "/delta_split"),
        ("rdp-mix/1", "1", "1e-6", "1.1", "/delta_split"),
        ("rdp-mix/1", "1", "1e-6", "NaN", "/delta_split"),
        ("some-order/1", "1", "1e-6", "0.9", "/accountant"),
    ],
)
def test_a_policy_that_no_proof_covers_is_refused(
    accountant: str, epsilon: str, delta: str, split: str, pointer: str
) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        make_policy(accountant, limit(epsilon, delta), Decimal(split))
    assert refusal.value.pointer == pointer


# ---- what is shown --------------------------------------------------------------------------


@pytest.mark.parametrize("accountant", ["rdp-mix/1", "basic/1"])
def test_an_empty_budget_shows_nothing_consumed_and_all_remaining(accountant: str) -> None:
    policy = make_policy(accountant, limit("1.50", "1e-6"))
    assert policy.consumed(Loss.zero()).to_json() == {"epsilon": "0", "delta": "0"}
    assert Decimal(policy.remaining(Loss.zero()).epsilon) == Decimal("1.5")


@settings(max_examples=30)
@given(st.sampled_from(LIMITS), losses())
def test_what_is_shown_as_consumed_admits_the_loss_and_stays_within_the_limit(
    target: tuple[str, str], loss: Loss
) -> None:
    policy = mixture(*target)
    shown = policy.consumed(loss)
    assert shown.epsilon == "Infinity" or Decimal(shown.epsilon) > 0
    assert Decimal(shown.delta) * ATTO == loss.delta_atto
    if shown.epsilon == "Infinity" or Decimal(shown.epsilon) > 10_000:
        return
    at_shown = policy.at_level(Decimal(shown.epsilon))
    within_delta = loss.delta_atto <= policy.delta_for_jobs_atto
    assert at_shown.admits(loss) == within_delta
    if policy.admits(loss):
        assert Decimal(shown.epsilon) <= policy.limit.epsilon
    elif within_delta:
        assert Decimal(shown.epsilon) > policy.limit.epsilon


@settings(max_examples=20)
@given(st.sampled_from(LIMITS), losses())
def test_what_is_shown_as_remaining_passes_and_hardly_more_does(
    target: tuple[str, str], loss: Loss
) -> None:
    policy = mixture(*target)
    shown = Fraction(policy.remaining(loss).epsilon)
    total = Fraction(policy.limit.epsilon)
    assert shown <= total
    if shown > 0:
        assert policy.admits(loss + charge_of_pure(shown))
    if shown < total:
        more = shown * (1 + Fraction(1, 10**4)) + total / 10**6
        assert not policy.admits(loss + charge_of_pure(more))


def test_consumed_never_falls_while_a_budget_is_spent() -> None:
    policy, last = mixture("8", "1e-6"), Decimal(0)
    held = Loss.zero()
    for mechanism in SHAPES:
        held = held + loss_of(mechanism, 3)
        shown = Decimal(policy.consumed(held).epsilon)
        assert shown >= last
        last = shown


@settings(max_examples=25)
@given(st.sampled_from(LIMITS), st.sampled_from(SHAPES), losses(), st.integers(1, 10**6))
def test_the_largest_request_offered_passes_and_one_more_unit_does_not(
    target: tuple[str, str], mechanism: Mechanism, held: Loss, asked: int
) -> None:
    policy, one = mixture(*target), price(mechanism, ADD)
    fits = most_units(policy.admits, one, asked, beside=held)
    assert 0 <= fits <= asked
    assert fits == 0 or policy.admits(held + one.charge(fits))
    assert fits == asked or not policy.admits(held + one.charge(fits + 1))


def test_a_price_is_shared_by_two_scopes_and_the_tighter_one_binds() -> None:
    wide, tight = mixture("8", "1e-6"), mixture("1", "1e-6")
    one: Price = price(PoissonSampled("0.01", Gaussian("2")), ADD)
    in_wide = most_units(wide.admits, one, 10**6, beside=Loss.zero())
    in_tight = most_units(tight.admits, one, 10**6, beside=Loss.zero())
    assert 0 < in_tight < in_wide
