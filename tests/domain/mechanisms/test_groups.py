"""What a user with k records loses is never above its price: small mechanisms, all of them (R7)."""

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.accounting.prices import price
from app.domain.decimals import NAT_2P40
from app.domain.errors import InvalidParameter, MechanismNotPriced
from app.domain.mechanisms.groups import GROUP_RULES, from_record
from app.domain.mechanisms.parsing import (
    KINDS,
    Approximate,
    Composed,
    DiscreteGaussian,
    DiscreteLaplace,
    Exponential,
    Gaussian,
    Laplace,
    Mechanism,
    PoissonSampled,
    Pure,
    RandomizedResponse,
    Repeated,
    Threshold,
    TreeAggregation,
    Zcdp,
)
from app.domain.privacy import ORDERS, Loss

ADD = "add_remove"
ORDER = np.array([float(order) for order in ORDERS])
# A finer look at the orders than the ledger has, for the parameters of a small mechanism.
FINE = 1 + np.logspace(-4, 4, 400)
Floats = np.ndarray[Any, np.dtype[np.float64]]


def decimal_up(value: float) -> Decimal:
    """A decimal just above a float that was computed with small errors."""
    return Decimal(f"{value * (1 + 1e-9) + 1e-12:.15f}")


@st.composite
def mechanisms(draw: st.DrawFn) -> tuple[Floats, int]:
    """A table of what a mechanism with few outputs does at 0, 1, ... k records, and k.

    Neighbours are near each other, as they are where a bound per record says something.
    """
    k, outputs = draw(st.integers(2, 5)), draw(st.integers(2, 4))
    start = np.array(draw(st.lists(st.floats(-2, 2), min_size=outputs, max_size=outputs)))
    size = draw(st.sampled_from([0.01, 0.3, 2.0]))
    step = st.lists(st.floats(-1, 1), min_size=outputs, max_size=outputs)
    alike = draw(st.booleans())  # every record pushes the same way: the worst for a group
    first = np.array(draw(step))
    pushes = [first if alike else np.array(draw(step)) for _ in range(k)]
    logits = [start, *(start + size * np.sum(pushes[: n + 1], axis=0) for n in range(k))]
    table = np.array([np.exp(each - np.logaddexp.reduce(each)) for each in logits])
    return table, k


def pairs_at(table: Floats, distance: int) -> list[tuple[Floats, Floats]]:
    """All inputs within a distance of each other, both ways."""
    last = len(table)
    places = ((i, j) for i in range(last) for j in range(last) if 0 < abs(i - j) <= distance)
    return [(table[i], table[j]) for i, j in places]


def renyi(p: Floats, q: Floats, orders: Floats) -> Floats:
    a = orders[:, None]
    moments: Floats = np.logaddexp.reduce(a * np.log(p) + (1 - a) * np.log(q), axis=1)
    return np.maximum(moments, 0.0) / (orders - 1)


def charged(mechanism: Mechanism, relation: str = ADD) -> tuple[Loss, Floats]:
    loss = price(mechanism, relation).charge(1)
    nats = [
        math.inf if dead else value / NAT_2P40
        for value, dead in zip(loss.nats_2p40, loss.dead, strict=True)
    ]
    return loss, np.array(nats)


@settings(max_examples=60)
@given(mechanisms())
def test_k_times_epsilon_covers_a_user_of_a_pure_mechanism(case: tuple[Floats, int]) -> None:
    table, k = case
    epsilon = max(float(np.max(np.abs(np.log(p / q)))) for p, q in pairs_at(table, 1))
    group = from_record(Pure(decimal_up(epsilon)), k)
    loss, nats = charged(group)
    for p, q in pairs_at(table, k):
        assert np.max(np.log(p / q)) <= loss.maximum_atto / 1e18
        assert np.all(renyi(p, q, ORDER) <= nats)


@settings(max_examples=60)
@given(mechanisms(), st.floats(0.0, 1.0))
def test_the_group_delta_covers_a_user_of_an_approximate_mechanism(
    case: tuple[Floats, int], share: float
) -> None:
    table, k = case
    largest = max(float(np.max(np.abs(np.log(p / q)))) for p, q in pairs_at(table, 1))
    epsilon = float(decimal_up(share * largest))
    delta = max(
        float(np.sum(np.maximum(0, p - math.exp(epsilon) * q))) for p, q in pairs_at(table, 1)
    )
    if delta > 0.01:
        return
    stated = Approximate(Decimal(f"{epsilon:.15f}"), decimal_up(delta))
    try:
        group = from_record(stated, k)
    except MechanismNotPriced:
        return  # its delta is above what any budget takes
    assert isinstance(group, Approximate)
    for p, q in pairs_at(table, k):
        over = np.sum(np.maximum(0, p - math.exp(float(group.epsilon)) * q))
        assert over <= float(group.delta) + 1e-15


@settings(max_examples=60)
@given(mechanisms(), st.floats(0.0, 0.9))
def test_squared_and_doubled_bounds_cover_a_user_of_a_concentrated_mechanism(
    case: tuple[Floats, int], share: float
) -> None:
    table, k = case
    one = np.max([renyi(p, q, FINE) for p, q in pairs_at(table, 1)], axis=0)
    for xi in (0.0, share * float(one[-1])):
        rho = float(np.max((one - xi) / FINE)) * (1 + 1e-3) + 1e-9
        stated = Zcdp(decimal_up(rho), decimal_up(xi) if xi else "0")
        _, nats = charged(from_record(stated, k))
        for p, q in pairs_at(table, k):
            assert np.all(renyi(p, q, ORDER) <= nats)


def test_a_user_of_a_concentrated_mechanism_can_lose_more_than_k_times_a_record() -> None:
    """Or the squares above could have been left out unseen."""
    cells = np.linspace(-30, 34, 2000)
    table = np.array([np.exp(-((cells - shift) ** 2) / (2 * 25.0)) for shift in range(4)])
    table /= table.sum(axis=1, keepdims=True)
    rho = float(np.max(np.max([renyi(*pair, FINE[:250]) for pair in pairs_at(table, 1)], 0)))
    once = np.max([renyi(*pair, ORDER[:10]) for pair in pairs_at(table, 1)], axis=0)
    group = np.max([renyi(*pair, ORDER[:10]) for pair in pairs_at(table, 3)], axis=0)
    assert rho > 0
    assert np.all(group > 2.9 * 3 * once)
    assert np.all(group <= 9 * once * (1 + 1e-6))


@pytest.mark.parametrize("k", [2, 3, 7])
def test_noise_on_sums_is_priced_at_k_times_the_sensitivity(k: int) -> None:
    for stated, moved in [
        (Laplace("3", "1.5"), Laplace("3", str(Decimal("1.5") * k))),
        (DiscreteLaplace("30", "2"), DiscreteLaplace("30", str(2 * k))),
        (DiscreteGaussian("40", "1.5"), DiscreteGaussian("40", str(Decimal("1.5") * k))),
    ]:
        assert from_record(stated, k) == moved
    loss, nats = charged(from_record(Gaussian("5"), k))
    assert np.all(nats >= ORDER * k * k / (2 * 25))
    assert np.all(nats <= ORDER * k * k / (2 * 25) * (1 + 1e-8))
    assert loss.gaussian_atto >= k * k * 10**18 / 25 * (1 - 1e-12)


@settings(max_examples=30)
@given(st.integers(2, 5), st.floats(0.01, 2.0), st.data())
def test_scores_that_move_k_times_are_covered(k: int, epsilon: float, data: st.DataObject) -> None:
    """The exponential mechanism on scores of which each record moves any by at most 1."""
    scores = st.lists(st.floats(-1, 1), min_size=4, max_size=4)
    sums = np.cumsum([data.draw(scores) for _ in range(k + 1)], axis=0)
    logits = epsilon / 2 * sums
    table = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    loss, nats = charged(from_record(Exponential(decimal_up(epsilon)), k))
    for p, q in pairs_at(table, k):
        assert np.max(np.log(p / q)) <= loss.maximum_atto / 1e18
        assert np.all(renyi(p, q, ORDER) <= nats)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_k_answers_are_covered_and_still_say_nothing_of_presence(k: int) -> None:
    kept = 1 / (1 + math.exp(-0.7))
    group = from_record(RandomizedResponse("0.7"), k)
    _, nats = charged(group, "replace_one")
    answer = renyi(np.array([kept, 1 - kept]), np.array([1 - kept, kept]), ORDER)
    assert np.all(k * answer <= nats)
    with pytest.raises(MechanismNotPriced):
        price(group, ADD)


def test_a_composition_is_restated_in_each_of_its_parts() -> None:
    stated = Composed((Pure("0.1"), Repeated(4, Gaussian("2", sampler="chacha20"))))
    assert from_record(stated, 3) == Composed(
        (Pure("0.3"), Repeated(4, from_record(Gaussian("2", sampler="chacha20"), 3)))
    )
    assert from_record(stated, 1) is stated


NO_RULE: list[Mechanism] = [
    PoissonSampled("0.01", Gaussian("1")),
    PoissonSampled("1", Gaussian("1")),
    TreeAggregation("1", 100),
    Threshold(Laplace("3", "1"), 1, "1e-9"),
    Repeated(2, PoissonSampled("0.01", Gaussian("1"))),
    Composed((Pure("1"), TreeAggregation("1", 100))),
    Mechanism(),
]


@pytest.mark.parametrize("mechanism", NO_RULE, ids=str)
def test_what_has_no_proven_rule_for_a_group_is_refused(mechanism: Mechanism) -> None:
    with pytest.raises(MechanismNotPriced):
        from_record(mechanism, 2)


def test_every_mechanism_has_a_rule_or_is_known_to_have_none() -> None:
    without = {type(mechanism) for mechanism in NO_RULE} - set(GROUP_RULES)
    assert set(KINDS.values()) == set(GROUP_RULES) | (without - {Mechanism})


@pytest.mark.parametrize("records", [0, -1, True, 2**20 + 1, 1.5, "2"])
def test_a_cap_that_is_no_count_is_refused(records: Any) -> None:
    with pytest.raises(InvalidParameter):
        from_record(Pure("1"), records)


@pytest.mark.parametrize(
    "mechanism",
    [Gaussian("0.0015"), Pure("6000"), Approximate("9", "1e-4"), Zcdp("5000"), Laplace("1", "9e3")],
    ids=str,
)
def test_what_leaves_the_range_of_prices_is_refused_and_not_cut(mechanism: Mechanism) -> None:
    with pytest.raises(MechanismNotPriced):
        from_record(mechanism, 2)


@pytest.mark.parametrize("records", [2, 3, 1000, 2**20])
@pytest.mark.parametrize(
    "epsilon", ["0", "1e-300", "4e-80", "6e-80", "1.5e-79", "1e-40", "1e-26", "1e-21", "1e-12"]
)
def test_a_delta_grows_by_every_record_however_small_epsilon_is(epsilon: str, records: int) -> None:
    """Last digits of two exponentials once made two records as cheap as one."""
    group = from_record(Approximate(epsilon, "1e-9"), records)
    assert isinstance(group, Approximate)
    assert group.delta >= records * Decimal("1e-9")
    assert group.delta <= records * Decimal("1e-9") * Decimal("1.0001")


@pytest.mark.parametrize("records", [2, 1000, 2**20])
def test_an_epsilon_that_no_group_can_have_is_refused_by_name(records: int) -> None:
    with pytest.raises(MechanismNotPriced):
        from_record(Approximate("10000", "1e-9"), records)
