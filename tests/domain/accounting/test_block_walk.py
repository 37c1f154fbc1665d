"""The walk over many blocks says what the scalar filter says, up to the last unit (R4, R8)."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import ClassVar

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.accounting.block_walk import (
    CELLS,
    MOST_BEYOND_ATTO,
    OUT_OF_REACH_2P40,
    PROVED,
    ends_2p40,
    least_ratios,
)
from app.domain.accounting.blocks import BlockBalances, admits_all
from app.domain.accounting.filters import MixturePolicy, make_policy
from app.domain.accounting.mixture import STEPS_2P40, UPPER_LHS
from app.domain.accounting.prices import price
from app.domain.accounting.weights import WEIGHT_UNIT
from app.domain.decimals import ATTO, NAT_2P40, to_atto_down
from app.domain.mechanisms.parsing import Gaussian, Laplace, Mechanism, PoissonSampled, Pure
from app.domain.privacy import ORDERS, Limit, Loss

# A shift of every order by so much is seen by the walk itself: (a - 1) 16 2^-40 >= 2^-38.
SEEN_2P40 = 16
# How far from the edge: inside what the walk leaves open, at its border, and beyond.
NEAR = [0, 1, 2, 3, 4, 5, 8, SEEN_2P40, 100, 10**4, 10**7, 10**10]
SHAPES: list[Mechanism] = [
    Gaussian("50"),
    Gaussian("3"),
    PoissonSampled("0.01", Gaussian("1.1")),
    PoissonSampled("0.001", Gaussian("0.6")),  # its highest orders are dead
    Laplace("100", "1"),
    Pure("0.3"),
]
FEW, MANY = 16, 1000


def mixture(epsilon: str, delta: str, split: str = "0.9") -> MixturePolicy:
    policy = make_policy("rdp-mix/1", Limit(Decimal(epsilon), Decimal(delta)), Decimal(split))
    assert isinstance(policy, MixturePolicy)
    return policy


POLICIES = [
    mixture("8", "1e-6"),
    mixture("1", "1e-6"),
    mixture("0.1", "1e-9"),
    mixture("30", "1e-2", "1"),
    mixture("0.001", "1e-15"),
    mixture("10000", "0.1", "0.5"),
    mixture("2.64", "1e-10"),
    mixture("0.123456789012345678901", "1e-5"),
]


def in_rows(losses: list[Loss]) -> BlockBalances:
    balances = BlockBalances.empty(len(losses))
    for block, loss in enumerate(losses):
        balances = balances.add(loss, [block])
    return balances


def shifted(loss: Loss, by: int) -> Loss:
    return replace(loss, nats_2p40=tuple(max(0, nats + by) for nats in loss.nats_2p40))


def edge_of(policy: MixturePolicy, loss: Loss) -> int | None:
    """The largest shift of all orders that the scalar filter admits; None if it is unbounded."""
    least, most = -max(loss.nats_2p40), 2**56
    if policy.admits(shifted(loss, most)) or not policy.admits(shifted(loss, least)):
        return None
    while most - least > 1:
        middle = (least + most) // 2
        if policy.admits(shifted(loss, middle)):
            least = middle
        else:
            most = middle
    return least


def real_shape(random: Random) -> Loss:
    """Some workloads together, as they are charged."""
    parts = [
        price(shape, "add_remove").charge(int(10 ** random.uniform(0, 5)))
        for shape in random.sample(SHAPES, random.randint(1, 3))
    ]
    return sum(parts, Loss.zero())


def hostile_shape(policy: MixturePolicy, random: Random) -> Loss:
    """Orders that all lie about their ceilings, or far off them, or are dead: any mixture."""
    width_2p40 = 2 ** random.uniform(5, 45)
    nats, dead = [], []
    for ceiling in policy.ceilings.nats_2p40:
        above = random.choice([0, 1, random.uniform(0, 1), random.expovariate(1), 1e9])
        nats.append(max(0, (ceiling or 0) + int(above * width_2p40)))
        dead.append(int(random.random() < 0.2))
    return Loss(tuple(nats), tuple(dead), 0, 1, 0, 0, 0)


def edges(count: int, seed: int) -> Iterator[tuple[MixturePolicy, Loss, int]]:
    """Losses beside which some shift is the last that passes, and that shift."""
    random = Random(seed)
    while count:
        policy = random.choice(POLICIES)
        loss = real_shape(random) if random.random() < 0.5 else hostile_shape(policy, random)
        edge = edge_of(policy, replace(loss, maximum_dead=1))
        if edge is not None:
            yield policy, replace(loss, maximum_dead=1, delta_atto=0), edge
            count -= 1


def require_as_each_alone(policy: MixturePolicy, losses: list[Loss]) -> list[bool]:
    """One by one, all that are admitted, and these with the last one that is not.

    Once as they are held, and once with what they share asked for beside the rest.
    """
    alone = [policy.admits(loss) for loss in losses]
    good = [block for block, admitted in enumerate(alone) if admitted]
    bad = [block for block, admitted in enumerate(alone) if not admitted]
    for asked in (Loss.zero(), shared(losses)):
        balances = in_rows([loss - asked for loss in losses])
        blocks = range(len(losses))
        assert [admits_all(policy, balances, asked, [block]) for block in blocks] == alone
        assert admits_all(policy, balances, asked, good)
        assert not bad or not admits_all(policy, balances, asked, [*good, bad[-1]])
    return alone


def shared(losses: list[Loss]) -> Loss:
    """A part of the least that any of them holds; what is dead in all of them is dead in it."""
    return Loss(
        tuple(
            min(column) // 3 for column in zip(*(each.nats_2p40 for each in losses), strict=True)
        ),
        tuple(min(column) for column in zip(*(each.dead for each in losses), strict=True)),
        min(each.maximum_atto for each in losses) // 3,
        min(each.maximum_dead for each in losses),
        0,
        0,
        0,
    )


# ---- the verdicts ---------------------------------------------------------------------------


def require_one_edge(count: int, seed: int) -> None:
    for policy, loss, edge in edges(count, seed):
        inside = [shifted(loss, edge - far) for far in NEAR]
        outside = [shifted(loss, edge + 1 + far) for far in NEAR]
        alone = require_as_each_alone(policy, [*inside, *outside])
        assert alone == [True] * len(inside) + [False] * len(outside)


def test_at_the_edge_of_any_mixture_of_orders_the_walk_and_the_filter_are_one() -> None:
    require_one_edge(FEW, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_at_thousands_of_edges_the_walk_and_the_filter_are_one() -> None:
    require_one_edge(MANY, seed=2)


@pytest.mark.parametrize("power", [53, 56, 61, 62, 63, 64, 65, 90, 125])
@pytest.mark.parametrize("by", [-1, 0, 1, 2**20])
def test_an_order_far_above_its_ceiling_is_out_of_reach_and_never_wraps(
    power: int, by: int
) -> None:
    """In what is held, in what is asked, and in every word of the stored integers."""
    far = (2**power + by,) * 36
    beyond, zero = Loss(far, (0,) * 36, 0, 1, 0, 0, 0), Loss.zero()
    one_order_left = replace(beyond, nats_2p40=(*far[:7], 0, *far[8:]))
    last = mixture("10000", "0.1").ceilings.nats_2p40
    for policy in POLICIES:
        for held, asked in ((beyond, zero), (zero, beyond), (one_order_left, one_order_left)):
            expected = policy.admits(held + asked)
            assert admits_all(policy, in_rows([held] * 3), asked) == expected
    assert all(ceiling is None or ceiling < 2**55 for ceiling in last)


def test_a_worst_case_that_is_asked_for_and_unbounded_ends_no_walk() -> None:
    """The same blocks, whose own worst case would end it, and a job that has none."""
    sixteen = price(Pure("0.50000001"), "add_remove").charge(16)
    policy, zero = POLICIES[0], Loss.zero()
    balances = in_rows([sixteen] * 3)
    assert policy.admits(sixteen)
    assert admits_all(policy, balances, zero)
    unbounded = replace(zero, maximum_dead=1)
    assert not policy.admits(sixteen + unbounded)
    assert not admits_all(policy, balances, unbounded)
    assert not admits_all(policy, balances.add(unbounded, [1]), zero)


def test_a_block_that_doubles_cannot_hold_is_asked_of_the_filter_and_so_are_all_after_it() -> None:
    """The lowest order fails in the last cells, where the highest, at e^-1000 before, admits."""
    policy = POLICIES[5]

    def above_its_ceilings(lowest: float, highest: float) -> Loss:
        nats = [int(lowest * NAT_2P40), *(0,) * 34, int(highest * NAT_2P40)]
        ceilings = [ceiling or 0 for ceiling in policy.ceilings.nats_2p40]
        return Loss(tuple(map(int.__add__, nats, ceilings)), (0, *(1,) * 34, 0), 0, 1, 0, 0, 0)

    rescued, refused = above_its_ceilings(0.16, 1.0), above_its_ceilings(0.08, 3.0)
    assert policy.admits(rescued)
    assert not policy.admits(refused)
    assert admits_all(policy, in_rows([rescued, rescued]), Loss.zero())
    assert not admits_all(policy, in_rows([rescued, refused]), Loss.zero())


class Silent(MixturePolicy):
    """A policy whose filter is not to be asked."""

    def admits(self, loss: Loss) -> bool:
        raise AssertionError("the walk left a block to the filter")


def test_only_blocks_within_a_few_units_of_their_edge_are_admitted_by_the_filter_itself() -> None:
    for policy, loss, edge in edges(FEW, seed=3):
        silent = Silent(policy.limit, policy.delta_split, policy.weights_2p80)
        assert admits_all(silent, in_rows([shifted(loss, edge - SEEN_2P40)]), Loss.zero())


class Counting(MixturePolicy):
    """A policy that counts what its filter is asked."""

    asked: ClassVar[int] = 0

    def admits(self, loss: Loss) -> bool:
        Counting.asked += 1
        return super().admits(loss)


def test_a_thousand_blocks_alike_at_their_very_edge_are_not_put_to_the_filter_one_by_one() -> None:
    """Of the two lowest orders: a unit of 2^-40 moves their exponents by half of that at most."""
    policy = POLICIES[5]
    counting = Counting(policy.limit, policy.delta_split, policy.weights_2p80)
    nats = tuple(ceiling or 0 for ceiling in policy.ceilings.nats_2p40)
    loss = Loss(nats, (0, 0, *(1,) * 34), 0, 1, 0, 0, 0)
    edge = edge_of(policy, loss)
    assert edge is not None
    for shift, admitted in ((edge, True), (edge + 1, False)):
        balances = BlockBalances.empty(1000).add(shifted(loss, shift))
        assert admits_all(counting, balances, Loss.zero()) == admitted
    assert 2 <= Counting.asked <= 4


@pytest.mark.parametrize("order", range(36))
def test_each_order_alone_and_beside_its_neighbour_ends_where_the_filter_ends(order: int) -> None:
    for policy in POLICIES[:3]:
        for beside in (None, (order + 1) % 36):
            used = {order, beside}
            nats = tuple((ceiling or 0) + 2**50 for ceiling in policy.ceilings.nats_2p40)
            dead = tuple(int(each not in used) for each in range(36))
            loss = Loss(nats, dead, 0, 1, 0, 0, 0)
            edge = edge_of(policy, loss)
            if edge is not None:
                losses = [shifted(loss, edge + far) for far in (-16, -1, 0, 1, 2, 17)]
                alone = require_as_each_alone(policy, losses)
                assert alone == [True, True, True, False, False, False]


# ---- walks that end at E --------------------------------------------------------------------


def require_one_end(count: int, seed: int) -> None:
    """Refused for their orders, unless the summed worst case ends the walk before."""
    random = Random(seed)
    found = 0
    for policy, loss, edge in edges(count, seed):
        limit_atto = to_atto_down(Fraction(policy.limit.epsilon))
        beyond = shifted(loss, edge + 1 + random.choice([0, 3, 10**3, 10**7, 10**9, 10**11]))

        def with_end(end_atto: int, held: Loss = beyond) -> Loss:
            return replace(held, maximum_dead=0, maximum_atto=end_atto)

        least, most = limit_atto, limit_atto + 300 * ATTO
        while most - least > 1:
            middle = (least + most) // 2
            if policy.admits(with_end(middle)):
                least = middle
            else:
                most = middle
        found += least > limit_atto
        cells_atto = [
            limit_atto + int(STEPS_2P40[random.randrange(len(STEPS_2P40))]) * ATTO // NAT_2P40
            for _ in range(8)
        ]
        ends = [least + far for far in (-(10**7), -1, 0, 1, 2, 10**6, 10**7, 10**13)]
        ends += [cell + far for cell in cells_atto for far in (-(10**6), 0, 1, 10**6)]
        ends += [limit_atto, limit_atto + 1, limit_atto + MOST_BEYOND_ATTO]
        ends += [limit_atto + MOST_BEYOND_ATTO + 1, limit_atto + 2**64, limit_atto + 2**80]
        require_as_each_alone(policy, [with_end(max(0, end)) for end in ends])
    assert found > count // 4


def test_a_walk_that_ends_at_the_worst_case_ends_where_the_filter_does() -> None:
    require_one_end(FEW // 2, seed=4)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_thousands_of_walks_that_end_at_the_worst_case_end_where_the_filter_does() -> None:
    require_one_end(MANY // 2, seed=5)


FIRST, LAST = int(CELLS[0]), int(CELLS[-1])


@pytest.mark.parametrize(
    "cell", [0, 1, 2, 300, *range(FIRST - 2, FIRST + 6), 520, *range(LAST - 2, LAST + 4), 717, 718]
)
def test_where_a_walk_ends_in_a_cell_its_edge_is_the_filters(cell: int) -> None:
    """E just above the start of a cell, where the cell before decides, amid it, and at its end."""
    random = Random(cell)
    start = int(STEPS_2P40[cell])
    end = int(STEPS_2P40[cell + 1]) if cell + 1 < len(STEPS_2P40) else 2 * start
    for policy in POLICIES[:2]:
        limit_atto = to_atto_down(Fraction(policy.limit.epsilon))
        for end_2p40 in {start + 1, (start + end + 1) // 2, end}:
            end_atto = limit_atto + (end_2p40 * ATTO - ATTO // 2) // NAT_2P40
            above = tuple(max(0, ceiling or 0) + 2**20 for ceiling in policy.ceilings.nats_2p40)
            steepest = Loss(above, (*(1,) * 34, 0, 0), 0, 0, 0, 0, 0)
            other = real_shape(random) if random.random() < 0.5 else hostile_shape(policy, random)
            for shape in (steepest, other):
                loss = replace(shape, maximum_dead=0, maximum_atto=end_atto, delta_atto=0)
                edge = edge_of(policy, loss)
                if edge is not None:
                    far = (-(10**9), -SEEN_2P40, -1, 0, 1, 2, SEEN_2P40, 10**4, 10**6, 10**8, 10**9)
                    require_as_each_alone(policy, [shifted(loss, edge + by) for by in far])


@given(
    st.decimals("1e-21", 10_000, allow_nan=False, allow_infinity=False, places=21),
    st.one_of(st.integers(1, MOST_BEYOND_ATTO), st.integers(1, 10**7)),
)
def test_the_end_of_a_walk_is_rounded_as_the_filter_rounds_it(epsilon: Decimal, by: int) -> None:
    exact = Fraction(epsilon)
    end_atto = to_atto_down(exact) + by
    expected = -(-end_atto * NAT_2P40 // ATTO) - int(exact * NAT_2P40)
    assert ends_2p40(exact, np.array([by], dtype=np.uint64)).tolist() == [expected]


# ---- what the walk rests on -----------------------------------------------------------------


def test_no_cell_outside_those_looked_at_is_the_first_to_refuse() -> None:
    """Before them ln left rises faster than ln right ever does, after them more slowly."""
    starts, log_left = STEPS_2P40 / NAT_2P40, np.log(UPPER_LHS)
    slopes = np.diff(log_left) / np.diff(starts)
    assert (slopes[: CELLS[0]] > float(ORDERS[-1] - 1)).all()
    assert (slopes[CELLS[-1] :] < float(ORDERS[0] - 1)).all()
    assert list(CELLS) == list(range(CELLS[0], CELLS[-1] + 1))


def test_a_least_ratio_is_never_too_high_and_mostly_right_far_within_what_proves() -> None:
    """Against 50 digits in each of the cells that are looked at."""
    mpmath.mp.dps = 50
    random, right = Random(6), 0
    for policy, loss, edge in edges(FEW, seed=6):
        held = shifted(loss, edge + random.choice([-(10**6), 0, 5, 10**6]))
        test = policy.ceilings.mixture
        assert test is not None
        rooms = [
            -(2**61) if dead or ceiling is None else max(ceiling - nats, -(2**61))
            for ceiling, nats, dead in zip(
                policy.ceilings.nats_2p40, held.nats_2p40, held.dead, strict=True
            )
        ]
        if max(rooms) < 0:  # else one order admits
            spare = np.array(rooms, dtype=np.int64)[:, None]
            (ratio,) = least_ratios(test, spare, np.array([OUT_OF_REACH_2P40]))
            exact = min(exact_ratios(policy, held))
            assert ratio < exact * (1 + (PROVED - 1) / 2)
            right += exact > 1 and ratio > exact * (1 - (PROVED - 1) / 2)
    assert right > FEW // 4


def exact_ratios(policy: MixturePolicy, loss: Loss) -> Iterator[mpmath.mpf]:
    """Right / left in each of CELLS."""
    epsilon_2p40 = int(Fraction(policy.limit.epsilon) * NAT_2P40)
    terms = [
        (order - 1, mpmath.mpf(weight) / WEIGHT_UNIT, epsilon_2p40 - nats)
        for order, weight, nats, dead in zip(
            ORDERS, policy.weights_2p80, loss.nats_2p40, loss.dead, strict=True
        )
        if not dead
    ]
    for cell in CELLS:
        start = int(STEPS_2P40[cell])
        right = (1 - mpmath.mpf(2) ** -36) * mpmath.fsum(
            weight
            * mpmath.exp(mpmath.mpf(slope.numerator) / slope.denominator * (gap + start) / NAT_2P40)
            for slope, weight, gap in terms
        )
        yield right / -mpmath.expm1(-mpmath.mpf(int(STEPS_2P40[cell + 1])) / NAT_2P40)
