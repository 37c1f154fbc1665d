"""The test of `rdp-mix/1` on exact integers: when a loss is within (epsilon, delta) (R4).

With weights l_a fixed before any output, a loss with order charges R(a) is within epsilon iff

    (1 - e^(eps-L))_+  <=  sum_a l_a e^((a-1)(L - R(a)))      for every L with eps < L <= E.     (*)

Proof: reference DESIGN section 3. Both sides increase in L, so a cell of the grid is proved by its
ends: the right side at its lower end against the left side at its upper end.

Rounding. L, eps and R are integers in 2**-40 nat and are subtracted as integers. The float
exponent y = (a-1)(L-R) + ln l_a is then off by at most 2**-51 (|(a-1)(L-R)| + |ln l_a|). A term
counts beside lhs >= 2**-40 only if y > -60; |ln l_a| < 60, so such a y is off by less than 2**-43
(a larger y makes the sum pass 1 whatever its last bits). exp and the sum add less than 2**-45.
The factor 1 - 2**-36 on the right side lies below all of it.
"""

from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.domain.accounting.weights import DIGITS, WEIGHT_UNIT
from app.domain.decimals import ATTO, NAT_2P40
from app.domain.privacy import ORDERS, Loss

GRID_VERSION: Final = "grid/1"
MOST_BISECTIONS: Final = 64

# One order farther than this above the limit adds less than e^-16000 at every grid point.
_FARTHEST_2P40: Final = 2**56
CAUTION: Final = 1.0 - 2.0**-36
SLOPES: Final[NDArray[np.float64]] = np.array([float((order - 1) / NAT_2P40) for order in ORDERS])


def _grid_2p40() -> list[int]:
    """0, then ceil(2^(k/16)) for k = 0..767 without doubles: distances above eps in 2**-40 nat."""
    steps = {0}
    for k in range(768):
        step = int(2.0 ** (k / 16))
        while step**16 < 2**k:
            step += 1
        while (step - 1) ** 16 >= 2**k:
            step -= 1
        steps.add(step)
    return sorted(steps)


_GRID: Final[list[int]] = _grid_2p40()
STEPS_2P40: Final[NDArray[np.int64]] = np.array(_GRID, dtype=np.int64)
# lhs at the upper end of each cell; the last cell is compared with 1.
UPPER_LHS: Final = np.append(-np.expm1(-STEPS_2P40[1:] / NAT_2P40), 1.0)


@dataclass(frozen=True, eq=False)
class MixtureTest:
    """The test (*) for one set of weights; epsilon and the loss are its arguments.

    offsets_2p40: B(a) - eps, rounded down: what the cheap test adds to epsilon per order.
    """

    offsets_2p40: tuple[int | None, ...]
    log_weights: NDArray[np.float64]

    def passes(self, loss: Loss, epsilon: Fraction) -> bool:
        """Whether the loss, its deltas aside, is within `epsilon` (R4). Passing is monotone in it.

        Args:
            loss: of unbounded integers; a dead order is not used.
            epsilon: 0 or more, exact; rounded down here to the units of each comparison.
        """
        if loss.maximum_dead == 0 and loss.maximum_atto <= epsilon * ATTO:
            return True
        epsilon_2p40 = int(epsilon * NAT_2P40)
        cheapest = self.least_by_one_order_2p40(loss)
        if cheapest is None:  # no usable order
            return False
        if cheapest <= epsilon_2p40:
            return True
        ceiling = None
        if loss.maximum_dead == 0:
            ceiling = -(-loss.maximum_atto * NAT_2P40 // ATTO) - epsilon_2p40
        return self._walk(loss, epsilon_2p40, ceiling)

    def least_by_one_order_2p40(self, loss: Loss) -> int | None:
        """The least epsilon at which some single order is within its B(a); None if none is."""
        return min(
            (
                nats - offset
                for nats, dead, offset in zip(
                    loss.nats_2p40, loss.dead, self.offsets_2p40, strict=True
                )
                if dead == 0 and offset is not None
            ),
            default=None,
        )

    def least_epsilon(
        self, loss: Loss, digits: int, known: Fraction | None = None
    ) -> Fraction | None:
        """The least epsilon at which the loss passes, found by bisection; never one that fails.

        Args:
            loss: its deltas are not looked at.
            digits: how near, in significant digits.
            known: an epsilon at which it is known to pass, if there is one.

        Returns:
            An epsilon that passes; None where none is known to.
        """
        passes_at = [] if known is None else [known]
        if loss.maximum_dead == 0:
            passes_at.append(Fraction(loss.maximum_atto, ATTO))
        by_one_order = self.least_by_one_order_2p40(loss)
        if by_one_order is not None:
            passes_at.append(Fraction(max(0, by_one_order), NAT_2P40))
        if not passes_at:
            return None
        least, passing = Fraction(0), min(passes_at)
        for _ in range(MOST_BISECTIONS):
            middle = Fraction(int((least + passing) / 2 * NAT_2P40), NAT_2P40)
            if passing - least <= passing / 10**digits or middle in (least, passing):
                break
            if self.passes(loss, middle):
                passing = middle
            else:
                least = middle
        return passing

    def _walk(self, loss: Loss, epsilon_2p40: int, ceiling_2p40: int | None) -> bool:
        """The grid walk of R4, all cells at once; the first cell that decides, decides."""
        near = [
            (index, epsilon_2p40 - nats)
            for index, (nats, dead, offset) in enumerate(
                zip(loss.nats_2p40, loss.dead, self.offsets_2p40, strict=True)
            )
            if dead == 0 and offset is not None and nats - epsilon_2p40 < _FARTHEST_2P40
        ]
        if not near:
            return False
        orders = np.array([index for index, _ in near])
        distance = np.array([gap for _, gap in near], dtype=np.int64)
        exponents = (STEPS_2P40[:, None] + distance[None, :]) * SLOPES[orders]
        exponents += self.log_weights[orders]
        # One term of e admits; e^-700 adds nothing, and exp is slow where it underflows.
        np.clip(exponents, -700.0, 1.0, out=exponents)
        right = np.exp(exponents, out=exponents).sum(axis=1) * CAUTION
        left, last = UPPER_LHS, len(_GRID) - 1
        if ceiling_2p40 is not None and ceiling_2p40 <= _GRID[-1]:
            # The cell that holds E ends at E, which lies above L_0 (else E <= eps admitted).
            last = int(np.searchsorted(STEPS_2P40, ceiling_2p40)) - 1
            left = left.copy()
            left[last] = -np.expm1(-ceiling_2p40 / NAT_2P40)
        admitted = np.flatnonzero(right >= 1.0)
        refused = np.flatnonzero(right < left)
        ends_at = last if ceiling_2p40 is not None and ceiling_2p40 <= _GRID[-1] else len(_GRID)
        first_admitted = min(int(admitted[0]) if admitted.size else len(_GRID), ends_at)
        first_refused = int(refused[0]) if refused.size else len(_GRID)
        return first_admitted < first_refused


@lru_cache(maxsize=1024)
def mixture_test(weights_2p80: tuple[int, ...]) -> MixtureTest:
    """The tables of one set of weights, computed once at 50 digits."""
    offsets: list[int | None] = []
    with localcontext() as context:
        context.prec = DIGITS
        for order, weight in zip(ORDERS, weights_2p80, strict=True):
            if weight == 0:
                offsets.append(None)
                continue
            a = Decimal(order.numerator) / order.denominator
            share = Decimal(weight) / WEIGHT_UNIT
            offset = -(1 - 1 / a).ln() + (a * share).ln() / (a - 1)
            # The subtracted unit is far above 50-digit rounding and far below 2**-40.
            offsets.append(
                int((offset * NAT_2P40 - Decimal("1e-20")).to_integral_value("ROUND_FLOOR"))
            )
        logs = [
            float((Decimal(max(weight, 1)) / WEIGHT_UNIT).ln()) if weight else -np.inf
            for weight in weights_2p80
        ]
    return MixtureTest(tuple(offsets), np.array(logs))
