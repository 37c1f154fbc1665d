"""What every budget's test has in common, and the two accountants that only sum (R4, R5).

A policy is made once, when its budget is created, and stored. What may move later, and why, is R5:
fitting anything again to what was observed would break the proof.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar, Final

from app.domain.accounting.mixture import MixtureTest
from app.domain.decimals import atto_text, decimal_text, to_atto_down
from app.domain.errors import InvalidParameter, LowerRefused
from app.domain.privacy import ORDERS, Amount, Limit, Loss, require_delta, require_epsilon

# Shown amounts have this many significant digits, rounded against us.
SHOWN_DIGITS: Final = 6
UNBOUNDED: Final = "Infinity"


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Single numbers that suffice: within them a policy admits without looking further.

    A loss is within if its delta is, and one of these is: its worst case, some usable order, or
    its Gaussians alone.

    delta_atto: needed by every accountant, so a loss above it is refused.
    maximum_atto: the most that summed finite worst cases may be; None where they decide nothing.
    nats_2p40: per order, as far as it is used.
    gaussian_atto: the most that a loss of Gaussians alone may hold.
    mixture: the test that may admit what is not within; None where being within is also needed.
    """

    delta_atto: int
    maximum_atto: int | None = None
    nats_2p40: tuple[int | None, ...] = (None,) * len(ORDERS)
    gaussian_atto: int | None = None
    mixture: MixtureTest | None = None


@dataclass(frozen=True)
class Policy:
    """The test of one budget: its limit, its accountant, and what was fixed at its creation.

    limit: the limit in force; everything else is that of the creation.
    delta_split: the share of delta that pays for the conversion; the rest is for job deltas.
    """

    accountant: ClassVar[str] = ""
    version: ClassVar[str] = ""

    limit: Limit
    delta_split: Decimal

    @cached_property
    def _epsilon(self) -> Fraction:
        return Fraction(self.limit.epsilon)

    @property
    def delta_for_jobs_atto(self) -> int:
        """The most that job deltas may sum to, in 1e-18, rounded down (R1)."""
        return to_atto_down(self.limit.delta)

    def admits(self, loss: Loss) -> bool:
        """Whether a budget may hold this loss in all: committed, reserved and asked (R4)."""
        return loss.delta_atto <= self.delta_for_jobs_atto and self._within(loss, self._epsilon)

    @cached_property
    def ceilings(self) -> Ceilings:
        """What suffices for `admits`, as plain numbers: for a look at many balances at once."""
        raise NotImplementedError

    def consumed(self, loss: Loss) -> Amount:
        """The least epsilon for which this loss passes, rounded up, and its summed deltas.

        Only epsilon moves in the search (R5), so the figure is a bound of what was lost at any time
        it is read (DESIGN section 3). 0 when nothing is charged; never above the limit for an
        admitted loss; "Infinity" where no epsilon would pass.
        """
        if loss == Loss.zero():
            return Amount("0", "0")
        return Amount(self._least_epsilon(loss), atto_text(loss.delta_atto))

    def remaining(self, loss: Loss) -> Amount:
        """The largest single pure charge that passes now, rounded down, and what deltas are left.

        At most the limit; "0" where nothing passes.
        """
        left_atto = max(0, self.delta_for_jobs_atto - loss.delta_atto)
        if loss.delta_atto > self.delta_for_jobs_atto:
            return Amount("0", "0")
        return Amount(self._largest_pure(loss), atto_text(left_atto))

    def at_level(self, epsilon: Decimal) -> "Policy":
        """This policy with another epsilon and all else as it was fixed (R5, R10).

        A milestone is such a policy on the same balance, its level fixed at creation.

        Raises:
            InvalidParameter: epsilon is not in (0, 1e4].
        """
        require_epsilon(epsilon, "/limit/epsilon")
        return replace(self, limit=Limit(epsilon, self.limit.delta))

    def raised(self, epsilon: Decimal) -> "Policy":
        """This policy with a higher epsilon; weights and delta shares stay (R5).

        Raises:
            InvalidParameter: epsilon is not above the limit in force, or above 1e4, or this
                accountant's limit cannot move.
        """
        require_epsilon(epsilon, "/limit/epsilon")
        if epsilon <= self.limit.epsilon:
            raise InvalidParameter("/limit/epsilon", "must be above the limit in force")
        return self.at_level(epsilon)

    def raised_delta(self, delta: Decimal) -> "Policy":
        """This policy with a higher delta: every share of it grows by the one factor (R5).

        With f = new / old, sum f l_a E_P[e^((a-1)(L-R(a)))] <= f d_conv, and f d_cat bounds the job
        deltas: the claim of R5 at the new delta. Raised after outputs were seen, it holds at the
        largest delta that any course of the interaction would be given.

        Raises:
            InvalidParameter: delta is not above the one in force, or above 0.1, or this
                accountant's limit cannot move.
        """
        require_delta(delta, "/limit/delta")
        if self.limit.delta == 0:
            raise InvalidParameter("/limit/delta", f"stays 0 under {self.accountant}")
        if delta <= self.limit.delta:
            raise InvalidParameter("/limit/delta", "must be above the limit in force")
        return self._with_delta(Limit(self.limit.epsilon, delta))

    def lowered(self, epsilon: Decimal, held: Loss) -> "Policy":
        """This policy with a lower epsilon, if all that is held passes there (R5).

        Args:
            epsilon: the new limit, below the one in force.
            held: committed and reserved.

        Raises:
            InvalidParameter: epsilon is not above 0 and below the limit in force, or this
                accountant's limit cannot move.
            LowerRefused: the balance does not pass there; says the least value at which it would.
        """
        require_epsilon(epsilon, "/limit/epsilon")
        if epsilon >= self.limit.epsilon:
            raise InvalidParameter("/limit/epsilon", "must be below the limit in force")
        lower = self.at_level(epsilon)
        if not lower.admits(held):
            no_epsilon_helps = held.delta_atto > self.delta_for_jobs_atto
            raise LowerRefused(UNBOUNDED if no_epsilon_helps else self.consumed(held).epsilon)
        return lower

    def to_json(self) -> dict[str, Any]:
        """The stored form: decimal strings, and all that was fixed at creation."""
        return {
            "accountant": self.accountant,
            "version": self.version,
            "limit": self.limit.to_json(),
            "delta_split": decimal_text(self.delta_split),
        }

    def _with_delta(self, limit: Limit) -> "Policy":
        return replace(self, limit=limit)

    def _within(self, loss: Loss, epsilon: Fraction) -> bool:
        raise NotImplementedError

    def _least_epsilon(self, loss: Loss) -> str:
        raise NotImplementedError

    def _largest_pure(self, loss: Loss) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class SummedPolicy(Policy):
    """Worst cases sum: `basic/1`, and `pure/1` where delta is 0.

    Valid for adaptively chosen jobs: Rogers, Roth, Ullman and Vadhan 2016.
    """

    accountant: ClassVar[str] = "basic/1"
    version: ClassVar[str] = "basic/1"

    @cached_property
    def ceilings(self) -> Ceilings:
        """The sums that are tested."""
        return Ceilings(self.delta_for_jobs_atto, maximum_atto=to_atto_down(self._epsilon))

    def _within(self, loss: Loss, epsilon: Fraction) -> bool:
        return loss.maximum_dead == 0 and loss.maximum_atto <= to_atto_down(epsilon)

    def _least_epsilon(self, loss: Loss) -> str:
        return UNBOUNDED if loss.maximum_dead else atto_text(loss.maximum_atto)

    def _largest_pure(self, loss: Loss) -> str:
        if loss.maximum_dead:
            return "0"
        return atto_text(max(0, to_atto_down(self.limit.epsilon) - loss.maximum_atto))


@dataclass(frozen=True)
class PurePolicy(SummedPolicy):
    """`pure/1`: only losses with a finite worst case and no delta."""

    accountant: ClassVar[str] = "pure/1"
    version: ClassVar[str] = "pure/1"
