"""Many blocks at once are what they would be one by one: exact, decided alike (R8)."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.accounting.blocks import WIDEST, BlockBalances, admits_all
from app.domain.accounting.filters import Policy, make_policy
from app.domain.accounting.fits import most_units
from app.domain.accounting.prices import price
from app.domain.mechanisms.parsing import (
    Approximate,
    Gaussian,
    Laplace,
    Mechanism,
    PoissonSampled,
    Pure,
)
from app.domain.privacy import Limit, Loss

ADD = "add_remove"


def policy_of(accountant: str, epsilon: str, delta: str) -> Policy:
    return make_policy(accountant, Limit(Decimal(epsilon), Decimal(delta)))


def loss_of(mechanism: Mechanism, units: int) -> Loss:
    return price(mechanism, ADD).charge(units)


POLICIES = [
    policy_of("rdp-mix/1", "8", "1e-6"),
    policy_of("rdp-mix/1", "1", "1e-6"),
    policy_of("rdp-mix/1", "30", "1e-2"),
    policy_of("gdp/1", "8", "1e-6"),
    policy_of("basic/1", "2", "1e-6"),
    policy_of("pure/1", "2", "0"),
]
SHAPES: list[Mechanism] = [
    Gaussian("50"),
    PoissonSampled("0.01", Gaussian("1.1")),
    Laplace("100", "1"),
    Pure("0.1"),
    Approximate("0.01", "1e-9"),
    Gaussian("0.05"),  # has dead orders
]

wide = st.one_of(
    st.integers(0, 2**20),
    st.integers(2**63 - 3, 2**64 + 3),
    st.sampled_from([2**64 - 1, 2**64, 2**65 - 1, 2**100, 2**124]),
)


@st.composite
def any_losses(draw: st.DrawFn) -> Loss:
    """Amounts around the halves' edges, in any mixture."""
    few = draw(st.lists(wide, min_size=5, max_size=5))
    counts = draw(st.lists(st.integers(0, 3), min_size=4, max_size=4))
    nats = tuple(few[index % 3] for index in range(36))
    dead = tuple(counts[index % 2] for index in range(36))
    return Loss(nats, dead, few[3], counts[2], few[4], few[0], counts[3])


@st.composite
def real_losses(draw: st.DrawFn) -> Loss:
    """What is charged in earnest, from nothing to far beyond any limit."""
    units = draw(st.lists(st.tuples(st.sampled_from(SHAPES), st.integers(0, 15)), max_size=2))
    return sum((loss_of(shape, 2**power) for shape, power in units), Loss.zero())


@st.composite
def chosen(draw: st.DrawFn, blocks: int) -> list[int] | None:
    if draw(st.booleans()):
        return None
    return draw(st.lists(st.integers(0, blocks - 1), unique=True))


@settings(max_examples=40)
@given(st.data())
def test_every_block_holds_the_exact_sum_of_what_was_charged_to_it(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 5))
    balances, model = BlockBalances.empty(count), [Loss.zero()] * count
    done: list[tuple[Loss, list[int] | None]] = []
    for _ in range(data.draw(st.integers(1, 5))):
        voids: bool = data.draw(st.booleans())
        if done and voids:
            loss, blocks = done.pop(data.draw(st.integers(0, len(done) - 1)))
            balances = balances.subtract(loss, blocks)
            sign = -1
        else:
            loss, blocks = data.draw(any_losses()), data.draw(chosen(count))
            balances = balances.add(loss, blocks)
            done.append((loss, blocks))
            sign = 1
        for block in range(count) if blocks is None else blocks:
            model[block] = model[block] + loss if sign > 0 else model[block] - loss
    assert [balances.loss_of(block) for block in range(count)] == model
    assert BlockBalances.from_bytes(balances.to_bytes()) == balances
    grown = balances.grown(2)
    assert [grown.loss_of(block) for block in range(count + 2)] == [*model, *[Loss.zero()] * 2]


@settings(max_examples=120)
@given(st.data())
def test_all_blocks_are_decided_as_each_would_be_alone(data: st.DataObject) -> None:
    policy = data.draw(st.sampled_from(POLICIES))
    held = data.draw(st.lists(st.one_of(real_losses(), any_losses()), min_size=1, max_size=6))
    balances = BlockBalances.empty(len(held))
    for block, loss in enumerate(held):
        balances = balances.add(loss, [block])
    asked = data.draw(st.one_of(real_losses(), any_losses()))
    blocks = data.draw(chosen(len(held)))
    expected = all(
        policy.admits(held[block] + asked)
        for block in (range(len(held)) if blocks is None else blocks)
    )
    assert admits_all(policy, balances, asked, blocks) == expected


@settings(max_examples=40)
@given(st.data())
def test_at_the_edge_of_every_block_one_more_unit_is_refused_and_none_before(
    data: st.DataObject,
) -> None:
    """Each block filled by its own workload to its last unit: no single number decides these."""
    policy = data.draw(st.sampled_from(POLICIES[:4]))
    shapes = SHAPES[:1] if policy.accountant == "gdp/1" else SHAPES[:3]
    held = []
    for first in data.draw(st.lists(st.sampled_from(shapes), min_size=1, max_size=6)):
        start = loss_of(first, data.draw(st.integers(0, 50)))
        last = price(data.draw(st.sampled_from(shapes)), ADD)
        slack = data.draw(st.integers(0, 3))
        room = most_units(policy.admits, last, 10**6, beside=start)
        held.append(start + last.charge(max(0, room - slack)))
    balances = BlockBalances.empty(len(held))
    for block, loss in enumerate(held):
        balances = balances.add(loss, [block])
    one = price(data.draw(st.sampled_from(shapes)), ADD)
    for units in (0, 1, 2, 4):
        asked = one.charge(units)
        expected = all(policy.admits(loss + asked) for loss in held)
        assert admits_all(policy, balances, asked) == expected


@settings(max_examples=60)
@given(st.sampled_from(POLICIES), st.one_of(real_losses(), any_losses()))
def test_single_numbers_suffice_only_where_the_filter_admits(policy: Policy, loss: Loss) -> None:
    within = policy.ceilings
    orders = (
        ceiling is not None and dead == 0 and nats <= ceiling
        for ceiling, nats, dead in zip(within.nats_2p40, loss.nats_2p40, loss.dead, strict=True)
    )
    worst = within.maximum_atto is not None and loss.maximum_dead == 0
    gaussian = within.gaussian_atto is not None and loss.gaussian_dead == 0
    suffices = loss.delta_atto <= within.delta_atto and (
        any(orders)
        or (worst and loss.maximum_atto <= (within.maximum_atto or 0))
        or (gaussian and loss.gaussian_atto <= (within.gaussian_atto or 0))
    )
    assert policy.admits(loss) or not suffices


def test_one_full_block_refuses_a_job_over_all_and_leaves_the_others_free() -> None:
    policy, one = POLICIES[0], price(Gaussian("50"), ADD)
    edge = most_units(policy.admits, one, 10**6, beside=Loss.zero())
    balances = BlockBalances.empty(1000).add(one.charge(edge), [617])
    others = [block for block in range(1000) if block != 617]
    assert not admits_all(policy, balances, one.charge(1))
    assert admits_all(policy, balances, one.charge(1), others)
    assert admits_all(policy, balances, one.charge(edge), others)
    assert admits_all(policy, balances, one.charge(edge), [])


def test_a_sum_that_would_not_fit_is_an_error_and_changes_nothing() -> None:
    large = Loss((WIDEST - 1,) * 36, (0,) * 36, 0, 0, 0, 0, 0)
    balances = BlockBalances.empty(2).add(large)
    with pytest.raises(OverflowError):
        balances.add(loss_of(Pure("1e-18"), 1), [1])
    assert balances == BlockBalances.empty(2).add(large)
    with pytest.raises(OverflowError):
        balances.add(Loss((WIDEST,) * 36, (0,) * 36, 0, 0, 0, 0, 0))


def test_a_block_never_gives_back_more_than_it_holds() -> None:
    one = loss_of(Pure("0.1"), 1)
    balances = BlockBalances.empty(3).add(one, [0, 2])
    with pytest.raises(ValueError, match="negative"):
        balances.subtract(one)
    dead = loss_of(Gaussian("0.05"), 1)
    with pytest.raises(ValueError, match="negative"):
        balances.subtract(Loss((0,) * 36, dead.dead, 0, 0, 0, 0, 0), [0])
    assert balances.subtract(one, [2, 0]) == BlockBalances.empty(3)


@pytest.mark.parametrize("blocks", [[0, 0], [-1], [0, -3]])
def test_a_block_chosen_twice_or_from_the_end_is_an_error(blocks: list[int]) -> None:
    with pytest.raises(ValueError, match="once"):
        BlockBalances.empty(3).add(loss_of(Pure("0.1"), 1), blocks)
    with pytest.raises(IndexError):
        BlockBalances.empty(3).add(loss_of(Pure("0.1"), 1), [3])


def test_the_stored_form_is_sixteen_byte_integers_and_nothing_else_is_read() -> None:
    balances = BlockBalances.empty(2).add(loss_of(Gaussian("50"), 7), [1])
    stored = balances.to_bytes()
    assert len(stored) == 32 + 2 * (39 * 16 + 38 * 8)
    first_order = 32 + 39 * 16
    held = balances.loss_of(1).nats_2p40[0]
    assert int.from_bytes(stored[first_order : first_order + 16], "little") == held
    for broken in (
        b"",
        stored[:-1],
        stored + b"\0",
        b"B" + stored[1:],
        stored[:24] + (3).to_bytes(8, "little") + stored[32:],
        stored[:47] + b"\xff" + stored[48:],  # an amount above any sum
        stored[:-1] + b"\x80",  # a negative count
    ):
        with pytest.raises(ValueError, match="blocks"):
            BlockBalances.from_bytes(broken)


def test_a_changed_balance_shares_nothing_with_the_one_before() -> None:
    before = BlockBalances.empty(3)
    after = before.add(loss_of(Pure("0.1"), 1), [1])
    assert before == BlockBalances.empty(3)
    assert after != before
    assert not np.shares_memory(before.low, after.low)
