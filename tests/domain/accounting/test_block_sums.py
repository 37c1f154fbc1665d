"""What the blocks of a budget hold is exact, stored whole, and the worst one is the figure (R8)."""

import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.accounting.block_figures import (
    consumed,
    least_remaining,
    runs_of,
    worst_block,
)
from app.domain.accounting.block_sums import BlockReplay, BlockSums, block_indices
from app.domain.accounting.filters import Policy, make_policy
from app.domain.accounting.prices import price
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.partitions import Ranges, ranges_to_json
from app.domain.privacy import Limit, Loss

MECHANISMS: dict[str, list[dict[str, Any]]] = {
    "pure/1": [{"type": "pure", "epsilon": "0.05"}, {"type": "pure", "epsilon": "0.3"}],
    "basic/1": [
        {"type": "pure", "epsilon": "0.2"},
        {"type": "approximate", "epsilon": "0.1", "delta": "1e-8"},
    ],
    "gdp/1": [
        {"type": "gaussian", "noise_multiplier": "7"},
        {"type": "gaussian", "noise_multiplier": "19"},
    ],
    "rdp-mix/1": [
        {"type": "gaussian", "noise_multiplier": "5"},
        {"type": "pure", "epsilon": "0.4"},
        {"type": "approximate", "epsilon": "0.1", "delta": "1e-9"},
        {
            "type": "poisson_sampled",
            "rate": "0.01",
            "of": {"type": "gaussian", "noise_multiplier": "0.6"},
        },
    ],
}
ACCOUNTANTS = sorted(MECHANISMS)


def _ascending(pairs: list[tuple[int, int]]) -> Ranges:
    blocks = sorted({block for first, more in pairs for block in range(first, first + more + 1)})
    return tuple((block, block) for block in blocks)


RANGES = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 3)), min_size=1, max_size=3).map(
    _ascending
)


def a_policy(accountant: str) -> Policy:
    delta = "0" if accountant == "pure/1" else "1e-6"
    return make_policy(accountant, Limit(Decimal(2), Decimal(delta)))


def a_loss(accountant: str, which: int) -> Loss:
    mechanisms = MECHANISMS[accountant]
    return price(parse_mechanism(mechanisms[which % len(mechanisms)], ""), "add_remove").charge(1)


@settings(max_examples=60)
@given(st.lists(st.tuples(RANGES, st.integers(0, 3), st.booleans()), max_size=12))
def test_sums_agree_with_one_loss_a_block_and_are_read_back_whole(
    steps: list[tuple[Ranges, int, bool]],
) -> None:
    sums, committed, held = BlockSums.empty(), dict[int, Loss](), dict[int, Loss]()
    for ranges, which, posts in steps:
        loss = a_loss("rdp-mix/1", which)
        sums = sums.reserve(loss, ranges)
        for block in block_indices(ranges).tolist():
            held[block] = held.get(block, Loss.zero()) + loss
        if posts:
            sums = sums.resolve(loss, loss, ranges)
            for block in block_indices(ranges).tolist():
                committed[block] = committed.get(block, Loss.zero()) + loss
    for block in range(len(sums)):
        assert sums.held.loss_of(block) == held.get(block, Loss.zero())
        assert sums.committed.loss_of(block) == committed.get(block, Loss.zero())
    assert BlockSums.from_bytes(sums.to_bytes()) == sums


@pytest.mark.parametrize("damage", [b"", b"x", b"block-sums/1 other", slice(0, -1), slice(0, 40)])
def test_stored_sums_in_another_form_are_not_believed(damage: Any) -> None:
    stored = BlockSums.empty().reserve(a_loss("rdp-mix/1", 0), ((0, 4),)).to_bytes()
    with pytest.raises(ValueError, match="sums of blocks"):
        BlockSums.from_bytes(damage if isinstance(damage, bytes) else stored[damage])


def test_what_is_voided_leaves_every_block_as_it_was() -> None:
    loss, other = a_loss("rdp-mix/1", 0), a_loss("rdp-mix/1", 1)
    before = BlockSums.empty().reserve(other, ((0, 9),))
    after = before.reserve(loss, ((2, 3), (5, 5))).resolve(loss, Loss.zero(), ((2, 3), (5, 5)))
    assert after == before
    with pytest.raises(ValueError, match="negative"):
        before.resolve(loss, Loss.zero(), ((0, 0),))


@pytest.mark.parametrize("accountant", ACCOUNTANTS)
@pytest.mark.parametrize("seed", range(4))
def test_the_figure_of_the_dataset_is_that_of_its_worst_block(accountant: str, seed: int) -> None:
    policy, random_ = a_policy(accountant), random.Random(seed)
    sums = BlockSums.empty()
    for _ in range(30):
        first = random_.randrange(20)
        ranges = ((first, min(19, first + random_.randrange(8))),)
        loss = a_loss(accountant, random_.randrange(4))
        if sums.admits(policy, loss, ranges):
            sums = sums.reserve(loss, ranges)
    losses = [sums.held.loss_of(block) for block in range(len(sums))]
    every = [policy.consumed(loss) for loss in losses]
    worst = worst_block(policy, sums.held)
    assert worst.block is not None
    assert worst.loss == losses[worst.block]
    assert Decimal(worst.consumed.epsilon) == max(Decimal(each.epsilon) for each in every)
    assert Decimal(worst.consumed.delta) == max(Decimal(each.delta) for each in every)
    remaining = [policy.remaining(loss) for loss in losses]
    least = least_remaining(policy, sums.held, np.arange(len(sums)))
    assert Decimal(least.epsilon) == min(Decimal(each.epsilon) for each in remaining)
    assert Decimal(least.delta) == min(Decimal(each.delta) for each in remaining)


@pytest.mark.parametrize("accountant", ACCOUNTANTS)
def test_a_loss_is_admitted_iff_each_chosen_block_admits_it(accountant: str) -> None:
    policy, loss = a_policy(accountant), a_loss(accountant, 1)
    sums, ranges = BlockSums.empty(), ((3, 3),)
    charged = 0
    while sums.admits(policy, loss, ranges):
        sums, charged = sums.reserve(loss, ranges), charged + 1
    assert policy.admits(sums.held.loss_of(3))
    assert not policy.admits(sums.held.loss_of(3) + loss)
    # the blocks beside it and those that were never charged have all their room
    assert sums.admits(policy, loss, ((0, 2), (4, 90)))
    assert not sums.admits(policy, loss, ((0, 90),))
    assert charged > 1


def test_blocks_that_were_never_charged_show_nothing() -> None:
    worst = worst_block(a_policy("rdp-mix/1"), BlockSums.empty().held)
    assert worst.block is None
    assert (worst.consumed.epsilon, worst.consumed.delta) == ("0", "0")


def test_an_overrun_block_is_the_worst_even_where_no_level_can_be_made() -> None:
    policy = a_policy("basic/1")
    huge = price(parse_mechanism({"type": "pure", "epsilon": "9000"}, ""), "add_remove").charge(2)
    sums = BlockSums.empty().post(a_loss("basic/1", 0), ((0, 5),)).post(huge, ((2, 2),))
    sums = sums.post(a_loss("basic/1", 0), ((4, 4),)).post(huge + huge, ((3, 3),))
    assert worst_block(policy, sums.held).block == 3


def test_equal_neighbours_are_one_run() -> None:
    loss = a_loss("pure/1", 0)
    sums = BlockSums.empty().reserve(loss, ((0, 3), (6, 7)))
    runs = [(run.first, run.last, run.loss) for run in runs_of(sums.held)]
    assert runs == [(0, 3, loss), (4, 5, Loss.zero()), (6, 7, loss)]


def body(kind: str, id: str, **facts: Any) -> dict[str, Any]:
    resolves = facts.pop("resolves", None)
    return {"kind": kind, "id": id, "resolves": resolves, "facts": facts}


def test_entries_alone_give_back_the_sums() -> None:
    loss, less = a_loss("rdp-mix/1", 0), a_loss("rdp-mix/1", 3)
    some, others = ((0, 3),), ((2, 2), (5, 8))
    walk, sums = BlockReplay(), BlockSums.empty()
    said = ranges_to_json
    assert walk.fault_of(body("opened", "0"), Loss.zero()) is None
    assert walk.fault_of(body("reserved", "1", blocks=said(some)), loss + less) is None
    assert walk.fault_of(body("reserved", "2", blocks=said(others)), loss) is None
    posted = body("posted", "3", blocks=said(some), resolves="1")
    assert walk.fault_of(posted, less) is None
    assert walk.fault_of(body("opening", "4", blocks=said(others)), less) is None
    sums = sums.reserve(loss + less, some).reserve(loss, others)
    sums = sums.resolve(loss + less, less, some).post(less, others)
    assert walk.sums() == sums
    voided = body("voided", "5", blocks=said(others), resolves="2")
    assert walk.fault_of(voided, Loss.zero()) is None
    assert walk.sums() == sums.resolve(loss, Loss.zero(), others)


@pytest.mark.parametrize(
    "wrong",
    [
        body("reserved", "1"),
        body("reserved", "1", blocks=[]),
        body("reserved", "1", blocks=[[3, 2]]),
        body("opening", "1", blocks="all"),
        body("frozen", "1", blocks=[[0, 1]]),
    ],
)
def test_a_charge_that_does_not_name_its_blocks_is_a_fault(wrong: dict[str, Any]) -> None:
    assert BlockReplay().fault_of(wrong, Loss.zero()) is not None


def test_a_charge_that_no_block_could_hold_is_a_fault_and_no_crash() -> None:
    wide = replace(Loss.zero(), maximum_atto=2**126)
    assert BlockReplay().fault_of(body("opening", "1", blocks=[[0, 1]]), wide) is not None


def test_a_reservation_that_is_resolved_in_other_blocks_is_a_fault() -> None:
    walk = BlockReplay()
    assert walk.fault_of(body("reserved", "1", blocks=[[0, 3]]), Loss.zero()) is None
    moved = body("posted", "2", blocks=[[0, 2]], resolves="1")
    assert walk.fault_of(moved, Loss.zero()) is not None


def test_consumed_is_kept_and_equal() -> None:
    policy, loss = a_policy("rdp-mix/1"), a_loss("rdp-mix/1", 0)
    assert consumed(policy, loss) == policy.consumed(loss)
