"""A limit moves only as the proof allows: weights stay, shares grow by one factor (R5)."""

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.accounting.filters import MixturePolicy, Policy, make_policy, policy_from_json
from app.domain.accounting.prices import price
from app.domain.accounting.weights import WEIGHT_UNIT
from app.domain.decimals import ATTO
from app.domain.errors import InvalidParameter, LowerRefused
from app.domain.mechanisms.parsing import Approximate, Gaussian, PoissonSampled, Pure
from app.domain.privacy import Limit, Loss

ADD = "add_remove"


def policy_of(accountant: str, epsilon: str, delta: str) -> Policy:
    return make_policy(accountant, Limit(Decimal(epsilon), Decimal(delta)))


def mixture(epsilon: str, delta: str) -> MixturePolicy:
    policy = policy_of("rdp-mix/1", epsilon, delta)
    assert isinstance(policy, MixturePolicy)
    return policy


@st.composite
def balances(draw: st.DrawFn) -> Loss:
    """Balances of every size up to well beyond a limit of 8."""
    shapes = [Gaussian("30"), PoissonSampled("0.01", Gaussian("1.1")), Pure("0.05")]
    counts = draw(st.tuples(*(st.integers(0, 4000) for _ in shapes)))
    pairs = zip(shapes, counts, strict=True)
    return sum((price(shape, ADD).charge(count) for shape, count in pairs), Loss.zero())


def test_a_raise_moves_epsilon_alone_and_the_weights_stay_identical() -> None:
    before = mixture("2", "1e-6")
    after = before.raised(Decimal(8))
    assert isinstance(after, MixturePolicy)
    was, now = before.to_json(), after.to_json()
    assert now["limit"] == {"epsilon": "8", "delta": was["limit"]["delta"]}
    assert {**now, "limit": was["limit"]} == was
    assert after.weights_2p80 == before.weights_2p80
    assert after.weights_2p80 != mixture("8", "1e-6").weights_2p80


@settings(max_examples=20)
@given(st.sampled_from(["1e-6", "1e-9", "1e-15", "1e-2"]), st.integers(10_001, 10**6))
def test_a_raise_of_delta_grows_every_share_by_one_factor_and_never_by_more(
    delta: str, ten_thousandths: int
) -> None:
    before = mixture("8", delta)
    higher = min(Decimal(delta) * ten_thousandths / 10_000, Decimal("0.1"))
    after = before.raised_delta(higher)
    assert isinstance(after, MixturePolicy)
    factor = Fraction(higher) / Fraction(delta)
    for old, new in zip(before.weights_2p80, after.weights_2p80, strict=True):
        assert old * factor - 1 < new <= old * factor
    share = Fraction(before.delta_split) * Fraction(higher) * WEIGHT_UNIT
    assert sum(after.weights_2p80) <= share
    jobs = (1 - Fraction(before.delta_split)) * Fraction(higher) * ATTO
    assert jobs - 1 < after.delta_for_jobs_atto <= jobs
    assert after.limit.epsilon == before.limit.epsilon
    assert policy_from_json(json.loads(json.dumps(after.to_json()))) == after


@settings(max_examples=20)
@given(balances())
def test_a_raise_of_delta_never_refuses_what_was_admitted(held: Loss) -> None:
    policy = mixture("8", "1e-6")
    assert policy.raised_delta(Decimal("1e-5")).admits(held) or not policy.admits(held)


def test_many_small_raises_of_delta_never_pass_the_last_one() -> None:
    policy: Policy = mixture("8", "1e-6")
    for step in range(1, 40):
        policy = policy.raised_delta(Decimal("1e-6") + Decimal(step) * Decimal("7.7e-9"))
    assert isinstance(policy, MixturePolicy)
    assert sum(policy.weights_2p80) <= Fraction("0.9") * Fraction(policy.limit.delta) * WEIGHT_UNIT


@pytest.mark.parametrize("delta", ["1e-6", "1e-7", "0", "0.2"])
def test_a_delta_that_is_not_higher_is_no_raise(delta: str) -> None:
    with pytest.raises(InvalidParameter):
        mixture("8", "1e-6").raised_delta(Decimal(delta))


def test_a_pure_budget_never_gets_a_delta() -> None:
    with pytest.raises(InvalidParameter):
        policy_of("pure/1", "1", "0").raised_delta(Decimal("1e-6"))


@settings(max_examples=15)
@given(balances(), st.integers(1, 799))
def test_a_lower_limit_is_one_at_which_the_balance_passes_or_it_is_refused_with_the_least(
    held: Loss, hundredths: int
) -> None:
    policy, asked = mixture("8", "1e-6"), Decimal(hundredths) / 100
    try:
        lower = policy.lowered(asked, held)
    except LowerRefused as refusal:
        least = Decimal(refusal.least)
        assert least > asked
        if least < policy.limit.epsilon:
            assert policy.lowered(least, held).admits(held)
        hardly_less = least * (1 - Decimal("1e-4"))
        assert not policy.at_level(min(hardly_less, Decimal(10_000))).admits(held)
        return
    assert lower.admits(held)
    assert isinstance(lower, MixturePolicy)
    assert lower.weights_2p80 == policy.weights_2p80
    assert lower.delta_for_jobs_atto == policy.delta_for_jobs_atto


@pytest.mark.parametrize("accountant", ["rdp-mix/1", "basic/1"])
def test_a_sum_of_worst_cases_can_be_lowered_to_itself_and_no_further(accountant: str) -> None:
    held = price(Pure("0.25"), ADD).charge(2)
    policy = policy_of(accountant, "1", "1e-6")
    assert policy.lowered(Decimal("0.5"), held).admits(held)
    with pytest.raises(LowerRefused) as refusal:
        policy.lowered(Decimal("0.24"), held)
    assert Decimal(refusal.value.least) <= Decimal("0.5")


def test_lowering_and_raising_back_admits_what_it_did() -> None:
    policy, held = mixture("8", "1e-6"), price(Gaussian("30"), ADD).charge(200)
    assert policy.lowered(Decimal(5), held).raised(Decimal(8)) == policy


@pytest.mark.parametrize("epsilon", ["8", "9", "0", "-1", "NaN"])
def test_a_limit_that_is_not_lower_is_no_lowering(epsilon: str) -> None:
    with pytest.raises(InvalidParameter):
        mixture("8", "1e-6").lowered(Decimal(epsilon), Loss.zero())


def test_where_deltas_are_overspent_no_lower_epsilon_is_offered() -> None:
    """An opening entry may hold more than the limit; lowering cannot put that right."""
    held = price(Approximate("0.1", "1e-6"), ADD).charge(1)
    with pytest.raises(LowerRefused) as refusal:
        mixture("8", "1e-6").lowered(Decimal(7), held)
    assert refusal.value.least == "Infinity"
