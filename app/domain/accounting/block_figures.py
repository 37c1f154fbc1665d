"""What is shown of blocks: the worst one's figures stand for the dataset (R8).

The worst block is the one with the highest consumed epsilon. A search costs milliseconds, so it is
made for the block that looks worst; then all others are asked at once whether they pass there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from app.domain.accounting.block_sums import rows_of, run_starts
from app.domain.accounting.blocks import BlockBalances, Indices, admits_all
from app.domain.accounting.policy import UNBOUNDED, Policy
from app.domain.accounting.prices import charge_of_pure
from app.domain.decimals import atto_text
from app.domain.privacy import LARGEST_EPSILON, ORDERS, Amount, Loss


@dataclass(frozen=True, slots=True)
class Worst:
    """The worst block: where it is, what it holds, and what bounds every block.

    block: one that no other is worse than; None where no block was charged.
    consumed: its epsilon, and the most that the deltas of any block sum to.
    delta_atto: the latter in 1e-18.
    """

    block: int | None
    loss: Loss
    consumed: Amount
    delta_atto: int


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring blocks that hold the same."""

    first: int
    last: int
    loss: Loss


def worst_block(policy: Policy, balances: BlockBalances) -> Worst:
    """The block with the highest consumed epsilon."""
    left = _distinct(balances)
    if not len(left):
        return Worst(None, Loss.zero(), consumed(policy, Loss.zero()), 0)
    pressure = _pressure(policy, balances)
    most = balances.loss_of(_most_delta(balances, left)).delta_atto
    while True:
        block = int(left[pressure[left].argmax()])
        loss = balances.loss_of(block)
        amount = consumed(policy, loss)
        left = _refused_at(policy, amount.epsilon, balances, left[left != block])
        if not len(left):
            return Worst(block, loss, Amount(amount.epsilon, atto_text(most)), most)


def least_remaining(
    policy: Policy, balances: BlockBalances, chosen: Indices | None = None
) -> Amount:
    """The largest single pure charge that passes now in each of some blocks, rounded down.

    In all of them by default; of no block at all, what passes in one that was never charged.
    """
    left = _distinct(balances, chosen)
    if not len(left):
        return policy.remaining(Loss.zero())
    pressure = _pressure(policy, balances)
    least_delta = policy.remaining(balances.loss_of(_most_delta(balances, left))).delta
    while True:
        block = int(left[pressure[left].argmax()])
        amount = policy.remaining(balances.loss_of(block))
        left = left[left != block]
        is_scalar = policy.ceilings.gaussian_atto is not None
        if is_scalar or amount.epsilon == "0" or not len(left):
            return Amount(amount.epsilon, least_delta)
        left = _refused(policy, balances, charge_of_pure(Fraction(amount.epsilon)), left)
        if not len(left):
            return Amount(amount.epsilon, least_delta)


def first_refused(policy: Policy, balances: BlockBalances) -> int | None:
    """A block that holds more than a policy admits; None where each passes."""
    if admits_all(policy, balances, Loss.zero()):
        return None
    return int(_refused(policy, balances, Loss.zero(), _distinct(balances))[0])


def runs_of(balances: BlockBalances) -> list[Run]:
    """The blocks in order, neighbours that hold the same in one."""
    starts = [int(start) for start in run_starts(rows_of(balances))]
    ends = [*starts[1:], len(balances)]
    return [
        Run(first, end - 1, balances.loss_of(first))
        for first, end in zip(starts, ends, strict=True)
    ]


@lru_cache(maxsize=8192)
def consumed(policy: Policy, loss: Loss) -> Amount:
    """`policy.consumed`, kept: blocks hold the same losses again and again."""
    return policy.consumed(loss)


def _distinct(balances: BlockBalances, chosen: Indices | None = None) -> Indices:
    """The first block of each loss that some blocks hold, ascending."""
    blocks = np.arange(len(balances)) if chosen is None else chosen
    rows = rows_of(balances)[blocks]
    first = dict[bytes, int]()
    for block, row in zip(blocks.tolist(), rows, strict=True):
        first.setdefault(row.tobytes(), block)
    return np.array(sorted(first.values()), dtype=np.intp)


def _most_delta(balances: BlockBalances, blocks: Indices) -> int:
    """The block whose deltas sum to the most."""
    delta = len(ORDERS) + 1
    place = np.lexsort((balances.low[blocks, delta], balances.high[blocks, delta]))[-1]
    return int(blocks[place])


def _pressure(policy: Policy, balances: BlockBalances) -> NDArray[np.float64]:
    """How near each block is to its limit, as far as doubles tell: where to search first.

    Under the mixture by how far the nearest usable order is above what would suffice.
    """
    ceilings = policy.ceilings
    words = balances.high.astype(np.float64) * 2.0**64 + balances.low.astype(np.float64)
    orders = len(ORDERS)
    if ceilings.gaussian_atto is not None:
        dead = balances.counts[:, orders + 1] > 0
        return np.where(dead | (words[:, orders + 1] > 0), np.inf, words[:, orders + 2])
    nats = np.array([np.nan if each is None else float(each) for each in ceilings.nats_2p40])
    if np.isnan(nats).all():
        return np.where(balances.counts[:, orders] > 0, np.inf, words[:, orders])
    usable = (balances.counts[:, :orders] == 0) & ~np.isnan(nats)
    above = np.where(usable, words[:, :orders] - np.nan_to_num(nats), np.inf)
    return np.asarray(above.min(axis=1), dtype=np.float64)


def _refused_at(policy: Policy, epsilon: str, balances: BlockBalances, blocks: Indices) -> Indices:
    """The blocks whose consumed epsilon is above this one."""
    if not len(blocks) or epsilon == UNBOUNDED or policy.ceilings.gaussian_atto is not None:
        return blocks[:0]
    if not 0 < Decimal(epsilon) <= LARGEST_EPSILON:
        # no level can be made there, so each is searched for
        above = [
            block
            for block in blocks.tolist()
            if Decimal(consumed(policy, balances.loss_of(block)).epsilon) > Decimal(epsilon)
        ]
        return np.array(above, dtype=np.intp)
    return _refused(policy.at_level(Decimal(epsilon)), balances, Loss.zero(), blocks)


def _refused(policy: Policy, balances: BlockBalances, loss: Loss, blocks: Indices) -> Indices:
    """Those of some blocks that a policy refuses with this much more, found half by half."""
    if not len(blocks) or admits_all(policy, balances, loss, blocks):
        return blocks[:0]
    if len(blocks) == 1:
        return blocks
    middle = len(blocks) // 2
    halves: Sequence[Indices] = (
        _refused(policy, balances, loss, blocks[:middle]),
        _refused(policy, balances, loss, blocks[middle:]),
    )
    return np.concatenate(halves)
