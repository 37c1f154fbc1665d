"""The walk of R4 over many blocks at once: matrix products that prove what they admit (R8).

The scalar walk refuses iff right(L_k) < left_k in some cell k up to E, left_k being the left side
at the cell's upper end. In x = L - eps, right / left is a sum over the orders of a factor of the
block alone times a factor of the cell alone,

    sum_a [ l_a e^((a-1)(eps - R(a) + h_a)) ] [ (1 - 2^-36) e^((a-1)(x - h_a)) / left ],

so all cells of all blocks are one product of two matrices, the second fixed. h_a, where order a is
lowest if it is alone, keeps both factors within doubles.

Of the 719 cells 171 suffice, CELLS. The slope of ln right lies between the least and the greatest
a - 1; ln left rises faster than that before them, and more slowly after them. So if the first of
them does not refuse, no earlier cell does, and if the last does not, no later one. Of these again
most are proved four at a time, right at the first against left at the last of them.

Rounding. Charges are subtracted as integers. The exponent of a first factor is then off by less
than 2^-53 (180 + 2 * 700), that of a second not at all; with exp and sum the ratio is off by less
than 2^-42 of itself, and the scalar walk's right side by less than 2^-42 of left. So where the
least ratio is above 1 + 2^-40, the scalar walk admits. Nothing else is concluded from a ratio:
factors beyond what doubles hold are cut so that it only loses, and whoever is not proved is put to
the scalar filter. It takes a loss within some units of 2^-40 nat of its edge to be admitted there.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.domain.accounting.mixture import CAUTION, SLOPES, STEPS_2P40, UPPER_LHS, MixtureTest
from app.domain.decimals import NAT_2P40, to_atto_down

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Integers = NDArray[np.int64]

# A block whose least ratio is above this is admitted.
PROVED: Final = 1.0 + 2.0**-40
# An order so far above the limit adds nothing in any cell; stands for dead orders too.
OUT_OF_REACH_2P40: Final = 2**62
# As much as `ends_2p40` takes: 2.3 nats.
MOST_BEYOND_ATTO: Final = 2**61
# What is lifted to the one adds less than e^-90, as no factor passes e to the other.
_LEAST_EXPONENT: Final = -700.0
_MOST_EXPONENT: Final = 600.0
# In one product: from here on OpenBLAS wakes threads, and their waiting costs more than it saves.
_MOST_MULTIPLICATIONS: Final = 2**18

_STARTS: Final[Floats] = STEPS_2P40 / NAT_2P40  # x_k in nats
_PER_NAT: Final[Floats] = SLOPES * NAT_2P40  # a - 1
# The cell h_a: ln left rises faster than a line of slope a - 1 before it, and more slowly after it.
_HOME: Final[Indices] = np.searchsorted(
    np.maximum.accumulate(-np.diff(np.log(UPPER_LHS)) / np.diff(_STARTS)), -_PER_NAT
)
CELLS: Final[Indices] = np.arange(_HOME.min(), _HOME.max() + 1)
# (cells, orders) the second factors; differences and products in the exponent are exact.
_SECOND: Final[Floats] = (
    np.exp(np.minimum((_STARTS[CELLS][:, None] - _STARTS[_HOME]) * _PER_NAT, _MOST_EXPONENT))
    * (CAUTION / UPPER_LHS[CELLS])[:, None]
)
# (groups, orders) right at the first against left at the last of four cells. Left grows by less
# than 2^(3/16) over them, so a ratio below its inverse is that of a cell that refuses.
_GROUP: Final = 4
_GROUPED: Final[Floats] = (
    _SECOND * (UPPER_LHS[CELLS] / UPPER_LHS[np.minimum(CELLS + _GROUP - 1, CELLS[-1])])[:, None]
)[::_GROUP]
_REFUSED: Final = 0.87
# A walk that ends at an E beyond this looks at all of CELLS.
_LATEST_END_2P40: Final = int(STEPS_2P40[CELLS[-1] + 1])


def least_ratios(test: MixtureTest, spare_2p40: Integers, ends: Integers) -> Floats:
    """(blocks,) the least of right / left over the cells of each walk; never too high.

    Where some block is clearly refused, the others' may be too low: its own is the lowest.

    Args:
        test: of the policy that all blocks have.
        spare_2p40: (36, blocks) B(a) - R(a), exact and below 0 (else the cheap test admits); at or
            below -2**61 for orders that are dead, out of reach or without a weight.
        ends: (blocks,) E - eps in 2**-40 nat, above 0; OUT_OF_REACH_2P40 where E ends no walk.
    """
    early = ends <= _LATEST_END_2P40
    if not early.any():
        return _inner_ratios(test, spare_2p40, None)
    last = np.searchsorted(STEPS_2P40, ends) - 1  # the cell that ends at E
    ratios = np.full(len(ends), np.inf)
    at_end = slice(None) if early.all() else early
    ratios[at_end] = _ratios_at_end(test, spare_2p40[:, at_end], ends[at_end], last[at_end])
    inner = last > CELLS[0]
    if inner.any():
        inside = slice(None) if inner.all() else inner
        found = _inner_ratios(test, spare_2p40[:, inside], last[inside])
        ratios[inside] = np.minimum(ratios[inside], found)
    return ratios


def ends_2p40(epsilon: Fraction, beyond_atto: NDArray[np.uint64]) -> Integers:
    """E - eps in 2**-40 nat as the scalar walk has it: E rounded up, eps rounded down.

    Args:
        epsilon: the limit, exact.
        beyond_atto: E minus the limit rounded down to 1e-18; above 0 and at most MOST_BEYOND_ATTO.
    """
    # E 2**40 / 10**18 = E 2**22 / 5**18, the limit's share of it apart: no product above 2**64.
    whole, rest = divmod(to_atto_down(epsilon) << 22, 5**18)
    wholes, rests = np.divmod(beyond_atto, np.uint64(5**18))
    rounded_up = ((rests << 22) + np.uint64(rest + 5**18 - 1)) // np.uint64(5**18)
    return ((wholes << 22) + rounded_up).astype(np.int64) + (whole - int(epsilon * NAT_2P40))


def _inner_ratios(test: MixtureTest, spare_2p40: Integers, last: Indices | None) -> Floats:
    """The least over CELLS, only up to before the last cell of each walk where these are given."""
    first = spare_2p40 * SLOPES[:, None]
    first += _first_at_ceiling(test)
    first.clip(_LEAST_EXPONENT, 0.0, out=first)
    np.exp(first, out=first)
    least = np.empty(first.shape[1])
    groups = np.full(len(_GROUPED), np.inf)
    for some, product in _products(_GROUPED, first):
        if last is not None:  # a group that ends after the walk says nothing
            product[CELLS[::_GROUP, None] + _GROUP > last[some]] = PROVED
        product.min(axis=0, out=least[some])
        np.minimum(groups, product.min(axis=1), out=groups)
    if least.min() < _REFUSED:
        return least
    is_open = np.repeat(groups <= PROVED, _GROUP)[: len(CELLS)]
    least[:] = np.inf
    for some, product in _products(_SECOND[is_open], first):
        if last is not None:
            product[CELLS[is_open, None] >= last[some]] = np.inf
        product.min(axis=0, out=least[some])
    return least


def _products(second: Floats, first: Floats) -> Iterator[tuple[slice, Floats]]:
    """(cells, some blocks) the ratios, block after block; none without cells."""
    at_once = _MOST_MULTIPLICATIONS // max(second.size, 1)
    for start in range(0, first.shape[1] if len(second) else 0, at_once):
        some = slice(start, start + at_once)
        yield some, second @ first[:, some]


def _ratios_at_end(
    test: MixtureTest, spare_2p40: Integers, ends: Integers, last: Indices
) -> Floats:
    """The ratio in the last cell, whose left side is that at E, or in one before it if it is less.

    Before CELLS the cell next to the last speaks for all before it; among CELLS it is one of them.
    """
    right = _right(test, spare_2p40, last)
    ratios = right / -np.expm1(-ends / NAT_2P40)
    outer = np.flatnonzero((last > 0) & (last <= CELLS[0]))
    before, right = last[outer] - 1, right[outer]
    right *= np.exp((_STARTS[before] - _STARTS[before + 1]) * _PER_NAT.max())  # or more
    unsure = np.flatnonzero(right <= PROVED * UPPER_LHS[before])
    if unsure.size:
        right[unsure] = _right(test, spare_2p40[:, outer[unsure]], before[unsure])
    ratios[outer] = np.minimum(ratios[outer], right / UPPER_LHS[before])
    return np.asarray(ratios)


def _right(test: MixtureTest, spare_2p40: Integers, cells: Indices) -> Floats:
    """(blocks,) the right side at the start of one cell of each block."""
    distances = STEPS_2P40[cells] - _offsets_2p40(test)[:, None]
    distances += spare_2p40
    exponents = distances * SLOPES[:, None]
    exponents += test.log_weights[:, None]
    exponents.clip(_LEAST_EXPONENT, _MOST_EXPONENT, out=exponents)
    return np.asarray(np.exp(exponents, out=exponents).sum(axis=0) * CAUTION)


@lru_cache(maxsize=1024)
def _offsets_2p40(test: MixtureTest) -> Integers:
    """(36,) B(a) - eps; 0 for orders that have no weight, whose ln l_a is -inf."""
    offsets = [0 if offset is None else offset for offset in test.offsets_2p40]
    return np.array(offsets, dtype=np.int64)


@lru_cache(maxsize=1024)
def _first_at_ceiling(test: MixtureTest) -> Floats:
    """(36, 1) the exponent of a first factor where R(a) = B(a); about -ln a."""
    exponents = (STEPS_2P40[_HOME] - _offsets_2p40(test)) * SLOPES + test.log_weights
    return np.asarray(exponents[:, None])
