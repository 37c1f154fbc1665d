"""`gdp/1`: a budget of continuous, unsampled Gaussians, exact for them (R7).

With mu from Balle and Wang at (epsilon, delta), jobs are admitted while S = sum of 1 / noise^2 is
at most mu^2. Valid for adaptively chosen jobs: Smith and Thakurta 2022; Koskela, Tobaben and
Honkela 2022.

Its whole delta goes into that one statement, and the statement is exact: E_P[(1-e^(eps-L))_+] at
S = mu^2 IS delta. From this it follows that no figure below the limit can be read after the fact
at the same delta: at every S > 0 the loss L passes any level with positive probability, and there
to stop and claim E < eps gains (1-e^(E-L)) - E_P[(1-e^(eps-L_end))_+ | L], which is above 0 for L
large enough. So

* `consumed` needs a share of delta of its own. The budget's `delta_split` gives it: mu is at
  (epsilon, split x delta), and the rest is spread over the 36 orders by the weights of R3. The
  smaller of both bounds then holds with their sum, at any time it is read. With a split of 1 mu is
  that of the whole delta and consumed shows the limit as soon as anything is charged.
* the limit never moves. A raise or a lowering that looked at outputs is such a reading (R5); a test
  shows one that costs more than delta. Freeze instead, or open a budget below.

A milestone stands: its level was fixed at creation, so it is a filter of its own (R10).
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar, Final, NoReturn

from app.domain.accounting.gaussian_curve import gaussian_delta_exact, largest_squares_atto
from app.domain.accounting.mixture import GRID_VERSION, MixtureTest, mixture_test
from app.domain.accounting.policy import SHOWN_DIGITS, UNBOUNDED, Ceilings, Policy
from app.domain.accounting.weights import WEIGHTS_VERSION, require_weights, weights_2p80
from app.domain.decimals import decimal_text, text_down, text_up
from app.domain.errors import InvalidParameter
from app.domain.privacy import ORDERS, Limit, Loss, require_epsilon

_FIXED: Final = "cannot move under gdp/1: freeze, or open a budget below"


@dataclass(frozen=True)
class GdpPolicy(Policy):
    """`gdp/1`: the sum of 1 / noise^2 against mu^2 (R7); see the module for what it proves.

    squares_atto: mu^2 at (epsilon, split x delta) in 1e-18, rounded down.
    weights_2p80: l_a of the running figure in 2**-80; they sum to at most (1 - split) x delta.

    Raises:
        ValueError: a stored mu^2 or weights that their share of delta does not cover.
    """

    accountant: ClassVar[str] = "gdp/1"
    version: ClassVar[str] = f"gdp/1+{WEIGHTS_VERSION}+{GRID_VERSION}"

    squares_atto: int
    weights_2p80: tuple[int, ...]

    def __post_init__(self) -> None:
        """What the proof needs is asked again whenever a policy is read back."""
        delta, split = Fraction(self.limit.delta), Fraction(self.delta_split)
        require_weights(self.weights_2p80, (1 - split) * delta)
        used = gaussian_delta_exact(self.squares_atto, self.limit.epsilon)
        if self.squares_atto < 0 or used > split * delta:
            raise ValueError("mu^2 is more than epsilon and its share of delta allow")

    @property
    def delta_for_jobs_atto(self) -> int:
        """None: a Gaussian has no delta of its own."""
        return 0

    def admits(self, loss: Loss) -> bool:
        """Whether all of it is continuous unsampled Gaussians, together within mu^2."""
        return (
            loss.gaussian_dead == 0
            and loss.delta_atto == 0
            and loss.gaussian_atto <= self.squares_atto
        )

    @cached_property
    def ceilings(self) -> Ceilings:
        """mu^2, for Gaussians alone."""
        return Ceilings(0, gaussian_atto=self.squares_atto)

    def at_level(self, epsilon: Decimal) -> "GdpPolicy":
        """This policy with the mu^2 of another epsilon; for levels that were fixed at creation.

        Raises:
            InvalidParameter: epsilon is not in (0, 1e4].
        """
        require_epsilon(epsilon, "/limit/epsilon")
        squares = largest_squares_atto(epsilon, self._share)
        return replace(self, limit=Limit(epsilon, self.limit.delta), squares_atto=squares)

    def raised(self, epsilon: Decimal) -> NoReturn:
        """Refused: see the module. Raises InvalidParameter."""
        raise InvalidParameter("/limit/epsilon", _FIXED)

    def raised_delta(self, delta: Decimal) -> NoReturn:
        """Refused: see the module. Raises InvalidParameter."""
        raise InvalidParameter("/limit/delta", _FIXED)

    def lowered(self, epsilon: Decimal, held: Loss) -> NoReturn:
        """Refused: see the module. Raises InvalidParameter."""
        raise InvalidParameter("/limit/epsilon", _FIXED)

    def to_json(self) -> dict[str, Any]:
        """The stored form, with mu^2 and the weights as decimal strings."""
        return {
            **super().to_json(),
            "squares_atto": str(self.squares_atto),
            "weights_2p80": [str(each) for each in self.weights_2p80],
        }

    @property
    def _share(self) -> Fraction:
        return Fraction(self.delta_split) * Fraction(self.limit.delta)

    @cached_property
    def _running(self) -> MixtureTest:
        return mixture_test(self.weights_2p80)

    def _least_epsilon(self, loss: Loss) -> str:
        if loss.gaussian_dead or loss.delta_atto:
            return UNBOUNDED
        passing = self._running.least_epsilon(loss, SHOWN_DIGITS)
        if self.admits(loss) and (passing is None or passing >= self._epsilon):
            return decimal_text(self.limit.epsilon)
        if passing is None:
            return UNBOUNDED
        shown = text_up(passing, SHOWN_DIGITS)
        over = self.admits(loss) and Fraction(shown) > self._epsilon
        return decimal_text(self.limit.epsilon) if over else shown

    def _largest_pure(self, loss: Loss) -> str:
        """The epsilon, at its share of delta, of the largest single Gaussian that passes now.

        A pure charge never passes here, so what remains is said for the one kind that does.
        """
        left_atto = self.squares_atto - loss.gaussian_atto
        if loss.gaussian_dead or left_atto <= 0:
            return "0"
        if loss.gaussian_atto == 0:
            return decimal_text(self.limit.epsilon)
        least, most = Fraction(0), self._epsilon
        while most - least > most / 10 ** (SHOWN_DIGITS + 1):
            middle = Decimal(text_up((least + most) / 2, SHOWN_DIGITS + 2))
            # What is exactly (middle, share)-DP is at most what is left.
            if gaussian_delta_exact(left_atto, middle) >= self._share:
                least = Fraction(middle)
            elif Fraction(middle) * 10**SHOWN_DIGITS <= self._epsilon:
                return "0"
            else:
                most = Fraction(middle)
        return text_down(least, SHOWN_DIGITS)


def make_gdp_policy(limit: Limit, delta_split: Decimal) -> GdpPolicy:
    """The policy of a new `gdp/1` budget.

    Args:
        limit: delta above 0.
        delta_split: the share of delta that mu is computed with; the rest is for `consumed`.
    """
    squares = largest_squares_atto(limit.epsilon, Fraction(delta_split) * Fraction(limit.delta))
    rest = 1 - delta_split
    weights = weights_2p80(limit.epsilon, limit.delta, rest) if rest else (0,) * len(ORDERS)
    return GdpPolicy(limit, delta_split, squares, weights)
