"""The balances of many blocks at once: exact integers in arrays, decided in one go (R8, R2).

One job over 1,000 blocks is charged whole to each of them and admitted by each of their filters.
A balance is 39 amounts, kept as two 64-bit halves so that nothing is rounded and nothing wraps,
and 38 counts. What `admits_all` says is what the budget's own filter says block by block.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.domain.accounting.block_walk import (
    MOST_BEYOND_ATTO,
    OUT_OF_REACH_2P40,
    PROVED,
    ends_2p40,
    least_ratios,
)
from app.domain.accounting.policy import Ceilings, Policy
from app.domain.decimals import to_atto_down
from app.domain.privacy import ORDERS, ORDERS_ID, Loss

Halves = NDArray[np.uint64]
Counts = NDArray[np.int64]
Indices = NDArray[np.intp]
Chosen = Sequence[int] | Indices | None

_ORDERS: Final = len(ORDERS)
# Columns of the amounts after the orders, and of the counts after the dead orders.
_MAXIMUM, _DELTA, _GAUSSIAN, _AMOUNTS = range(_ORDERS, _ORDERS + 4)
_MAXIMUM_DEAD, _GAUSSIAN_DEAD, _COUNTS = range(_ORDERS, _ORDERS + 3)
_HALF: Final = 2**64
# A sum from here on is an error, long before 16 bytes are full.
WIDEST: Final = 2**126
# One charge below this, of 1e12 nat at least, leaves room for 2**26 like it.
_WIDEST_CHARGE: Final = 2**100
_HIGHEST: Final = np.uint64(WIDEST // _HALF)
# More at once takes memory that is given back and asked for again in each decision.
_AT_ONCE: Final = 500
_NO_ROOM: Final = -OUT_OF_REACH_2P40 // 2
_FORM: Final = f"blocks/1 {ORDERS_ID} ".encode().ljust(24)


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class BlockBalances:
    """What each of many blocks holds; immutable, so that a refused change leaves nothing behind.

    low, high: (blocks, 39) the amounts' halves: 36 orders in 2**-40 nat, then maximum, delta and
        Gaussian sum in 1e-18.
    counts: (blocks, 38) dead terms: of the 36 orders, of the maximum, of the Gaussian sum.
    """

    low: Halves
    high: Halves
    counts: Counts

    @classmethod
    def empty(cls, blocks: int) -> "BlockBalances":
        """Blocks to which nothing was charged."""
        shape = (blocks, _AMOUNTS)
        wide = np.zeros((2, *shape), dtype=np.uint64)
        return cls(wide[0], wide[1], np.zeros((blocks, _COUNTS), dtype=np.int64))

    def __len__(self) -> int:
        """How many blocks there are."""
        return len(self.counts)

    def __eq__(self, other: object) -> bool:
        """Whether every block holds exactly the same."""
        if not isinstance(other, BlockBalances):
            return NotImplemented
        return (
            np.array_equal(self.low, other.low)
            and np.array_equal(self.high, other.high)
            and np.array_equal(self.counts, other.counts)
        )

    def __hash__(self) -> int:
        """Of what it holds."""
        return hash(self.to_bytes())

    def grown(self, more: int) -> "BlockBalances":
        """These blocks and `more` empty ones after them: blocks that have closed since."""
        new = BlockBalances.empty(more)
        return BlockBalances(
            np.concatenate((self.low, new.low)),
            np.concatenate((self.high, new.high)),
            np.concatenate((self.counts, new.counts)),
        )

    def loss_of(self, block: int) -> Loss:
        """What one block holds."""
        return _loss(self.low[block], self.high[block], self.counts[block])

    def add(self, loss: Loss, blocks: Chosen = None) -> "BlockBalances":
        """A loss charged whole to each chosen block; all of them by default (R8).

        Raises:
            ValueError: a block is chosen twice. IndexError: there is no such block.
            OverflowError: a sum would not fit; nothing is wrapped.
        """
        rows = self._rows(blocks)
        low, high, counts = _columns(loss)
        old = self.low[rows]
        summed = old + low  # modulo 2**64; the carry is seen by the sum being less
        lifted = self.high[rows] + high + (summed < old)
        if lifted.size and lifted.max() >= _HIGHEST:
            raise OverflowError("a block would hold more than 2**126 units")
        return self._with(rows, summed, lifted, self.counts[rows] + counts)

    def subtract(self, loss: Loss, blocks: Chosen = None) -> "BlockBalances":
        """A loss that was added to each chosen block, voided exactly (R2).

        Raises:
            ValueError: a block is chosen twice, or does not hold that much.
        """
        rows = self._rows(blocks)
        low, high, counts = _columns(loss)
        old_low, old_high = self.low[rows], self.high[rows]
        if not (_at_least(old_low, old_high, low, high).all()):
            raise ValueError("a loss cannot be negative")
        left = self.counts[rows] - counts
        if left.size and left.min() < 0:
            raise ValueError("a loss cannot be negative")
        return self._with(rows, old_low - low, old_high - high - (old_low < low), left)

    def to_bytes(self) -> bytes:
        """The stored form: 16-byte little-endian integers, then 8-byte counts (R2)."""
        amounts = np.stack((self.low, self.high), axis=2).astype("<u8")
        head = _FORM + len(self).to_bytes(8, "little")
        return head + amounts.tobytes() + self.counts.astype("<i8").tobytes()

    @classmethod
    def from_bytes(cls, stored: bytes) -> "BlockBalances":
        """Read back what `to_bytes` wrote.

        Raises:
            ValueError: another form, a wrong length, or amounts that no balance can hold.
        """
        start = len(_FORM) + 8
        if stored[: len(_FORM)] != _FORM or len(stored) < start:
            raise ValueError("not the balances of blocks in this form")
        blocks = int.from_bytes(stored[len(_FORM) : start], "little")
        middle = start + blocks * _AMOUNTS * 16
        if len(stored) != middle + blocks * _COUNTS * 8:
            raise ValueError("the balances of blocks have a wrong length")
        amounts = np.frombuffer(stored[start:middle], dtype="<u8").astype(np.uint64)
        low, high = np.moveaxis(amounts.reshape(blocks, _AMOUNTS, 2), 2, 0)
        counts = np.frombuffer(stored[middle:], dtype="<i8").astype(np.int64)
        if amounts.size and (high.max() >= _HIGHEST or counts.min() < 0):
            raise ValueError("the balances of blocks are out of range")
        return cls(
            np.ascontiguousarray(low),
            np.ascontiguousarray(high),
            counts.reshape(blocks, _COUNTS),
        )

    def _rows(self, blocks: Chosen) -> Any:
        """What selects the chosen rows; a slice where that is all of them."""
        if blocks is None:
            return slice(None)
        rows = np.asarray(blocks, dtype=np.intp)
        if len(np.unique(rows)) != len(rows) or (rows.size and rows.min() < 0):
            raise ValueError("each block is chosen once, by its index")
        return rows

    def _with(self, rows: Any, low: Halves, high: Halves, counts: Counts) -> "BlockBalances":
        if isinstance(rows, slice):
            return BlockBalances(low, high, counts)
        new = BlockBalances(self.low.copy(), self.high.copy(), self.counts.copy())
        new.low[rows], new.high[rows], new.counts[rows] = low, high, counts
        return new


def fits_a_block(loss: Loss) -> bool:
    """Whether a block can hold this loss beside any others that it may come to hold."""
    amounts = (*loss.nats_2p40, loss.maximum_atto, loss.delta_atto, loss.gaussian_atto)
    return max(amounts) < _WIDEST_CHARGE


def admits_all(policy: Policy, balances: BlockBalances, loss: Loss, blocks: Chosen = None) -> bool:
    """Whether each chosen block may hold this loss beside what it holds (R8, R4).

    The same decision as `policy.admits` on every block. Single numbers suffice for most blocks and
    are compared for all at once. The others are walked together, and those that are nearer to
    their edge than that walk can see are put to the filter itself.
    """
    rows = balances._rows(blocks)  # noqa: SLF001 - the other half of this type
    low, high, counts = balances.low[rows], balances.high[rows], balances.counts[rows]
    if not _within(low, high, _DELTA, policy.ceilings.delta_atto - loss.delta_atto).all():
        return False
    sure = _sums_suffice(policy.ceilings, loss, low, high, counts)
    if sure.all() or policy.ceilings.mixture is None:
        return bool(sure.all())
    if sure.any():
        low, high, counts = low[~sure], high[~sure], counts[~sure]
    # Per order what this loss leaves of its ceiling; nothing where one of them is unused.
    rooms = [
        _NO_ROOM if ceiling is None or dead else max(ceiling - nats, _NO_ROOM)
        for ceiling, nats, dead in zip(
            policy.ceilings.nats_2p40, loss.nats_2p40, loss.dead, strict=True
        )
    ]
    room = np.array(rooms, dtype=np.int64)
    parts = (slice(start, start + _AT_ONCE) for start in range(0, len(counts), _AT_ONCE))
    return all(_mixture_admits(policy, loss, room, low[p], high[p], counts[p]) for p in parts)


def _sums_suffice(
    ceilings: Ceilings, loss: Loss, low: Halves, high: Halves, counts: Counts
) -> NDArray[np.bool_]:
    """(blocks,) whether the worst case or the Gaussians alone are within, beside this loss."""
    sure = np.zeros(len(counts), dtype=np.bool_)
    if ceilings.maximum_atto is not None and loss.maximum_dead == 0:
        room = ceilings.maximum_atto - loss.maximum_atto
        sure |= (counts[:, _MAXIMUM_DEAD] == 0) & _within(low, high, _MAXIMUM, room)
    if ceilings.gaussian_atto is not None and loss.gaussian_dead == 0:
        room = ceilings.gaussian_atto - loss.gaussian_atto
        sure |= (counts[:, _GAUSSIAN_DEAD] == 0) & _within(low, high, _GAUSSIAN, room)
    return sure


def _mixture_admits(
    policy: Policy, loss: Loss, room: NDArray[np.int64], low: Halves, high: Halves, counts: Counts
) -> bool:
    """Whether the orders of each block admit this loss: by one of them, or by the walk (R4)."""
    test = policy.ceilings.mixture
    assert test is not None  # noqa: S101 - asked before
    spare = _spare(room, low, high, counts)
    rest = spare.max(axis=0) < 0
    if not rest.any():
        return True
    if not rest.all():
        low, high, counts, spare = low[rest], high[rest], counts[rest], spare[:, rest]
    ratios = least_ratios(test, spare, _ends(policy, loss, low, high, counts))
    not_proved = np.flatnonzero(ratios <= PROVED)
    asked = set[bytes]()
    for block in not_proved[ratios[not_proved].argsort()]:  # whoever is refused comes first
        held = low[block], high[block], counts[block]
        alike = b"".join(each.tobytes() for each in held)
        if alike not in asked and not policy.admits(_loss(*held) + loss):
            return False
        asked.add(alike)
    return True


def _spare(room: NDArray[np.int64], low: Halves, high: Halves, counts: Counts) -> NDArray[np.int64]:
    """(36, blocks) how much of its room each order has left, exact.

    From -2**61 down for orders that are dead, unused or that far above: a balance of 2**62 or more
    stands as 2**62, for a room is below 2**55.
    """
    least = np.empty((_ORDERS, len(low)), dtype=np.uint64)
    np.minimum(low[:, :_ORDERS].T, np.uint64(OUT_OF_REACH_2P40), out=least)
    held = least.view(np.int64)
    beyond = (high[:, :_ORDERS] != 0) | (counts[:, :_ORDERS] != 0)
    if beyond.any():
        held[beyond.T] = OUT_OF_REACH_2P40
    return np.subtract(room[:, None], held, out=held)


def _ends(
    policy: Policy, loss: Loss, low: Halves, high: Halves, counts: Counts
) -> NDArray[np.int64]:
    """(blocks,) where E ends the walk of R4, above the limit; out of reach where E does not."""
    ends = np.full(len(counts), OUT_OF_REACH_2P40)
    if loss.maximum_dead == 0:
        epsilon = Fraction(policy.limit.epsilon)
        room = to_atto_down(epsilon) - loss.maximum_atto
        early = (counts[:, _MAXIMUM_DEAD] == 0) & _within(
            low, high, _MAXIMUM, room + MOST_BEYOND_ATTO
        )
        # A difference below 2**64, so that the lower halves have it.
        beyond = low[early, _MAXIMUM] - np.uint64(room % _HALF)
        ends[early] = ends_2p40(epsilon, beyond)
    return ends


def _columns(loss: Loss) -> tuple[Halves, Halves, Counts]:
    """A loss as one row of amounts, in halves, and one of counts."""
    amounts = (*loss.nats_2p40, loss.maximum_atto, loss.delta_atto, loss.gaussian_atto)
    if max(amounts) >= WIDEST:
        raise OverflowError("a loss of more than 2**126 units")
    return (
        np.array([amount % _HALF for amount in amounts], dtype=np.uint64),
        np.array([amount // _HALF for amount in amounts], dtype=np.uint64),
        np.array((*loss.dead, loss.maximum_dead, loss.gaussian_dead), dtype=np.int64),
    )


def _loss(low: Halves, high: Halves, counts: Counts) -> Loss:
    amounts = [
        above * _HALF + below for below, above in zip(low.tolist(), high.tolist(), strict=True)
    ]
    dead: list[int] = counts.tolist()
    return Loss(
        nats_2p40=tuple(amounts[:_ORDERS]),
        dead=tuple(dead[:_ORDERS]),
        maximum_atto=amounts[_MAXIMUM],
        maximum_dead=dead[_MAXIMUM_DEAD],
        delta_atto=amounts[_DELTA],
        gaussian_atto=amounts[_GAUSSIAN],
        gaussian_dead=dead[_GAUSSIAN_DEAD],
    )


def _within(low: Halves, high: Halves, column: int, room: int) -> NDArray[np.bool_]:
    """Whether each block's amount in this column is at most the room; never where it is < 0."""
    if room < 0:
        return np.zeros(len(low), dtype=np.bool_)
    most_high, most_low = divmod(min(room, WIDEST), _HALF)
    held_low, held_high = low[:, column], high[:, column]
    fits = (held_high < most_high) | ((held_high == most_high) & (held_low <= most_low))
    return np.asarray(fits, dtype=np.bool_)


def _at_least(low: Halves, high: Halves, by_low: Halves, by_high: Halves) -> NDArray[np.bool_]:
    return np.asarray((high > by_high) | ((high == by_high) & (low >= by_low)), dtype=np.bool_)
