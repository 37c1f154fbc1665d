"""What a budget admits: the mixture filter, and how a policy is made and read back (R3, R4)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar, Final

from app.domain.accounting.gdp import GdpPolicy, make_gdp_policy
from app.domain.accounting.mixture import GRID_VERSION, MOST_BISECTIONS, MixtureTest, mixture_test
from app.domain.accounting.policy import (
    SHOWN_DIGITS,
    UNBOUNDED,
    Ceilings,
    Policy,
    PurePolicy,
    SummedPolicy,
)
from app.domain.accounting.prices import charge_of_pure
from app.domain.accounting.weights import WEIGHTS_VERSION, require_weights, weights_2p80
from app.domain.decimals import (
    ATTO,
    NAT_2P40,
    decimal_text,
    parse_decimal,
    text_down,
    text_up,
    to_atto_down,
)
from app.domain.errors import InvalidParameter
from app.domain.privacy import Limit, Loss, parse_limit

__all__ = [
    "MixturePolicy",
    "Policy",
    "PurePolicy",
    "SummedPolicy",
    "make_policy",
    "policy_from_json",
]

DEFAULT_DELTA_SPLIT: Final = Decimal("0.9")
LEAST_DELTA_SPLIT: Final = Decimal("0.01")


@dataclass(frozen=True)
class MixturePolicy(Policy):
    """`rdp-mix/1`: the weighted test over 36 orders, valid for adaptively chosen jobs (R3, R4).

    weights_2p80: l_a in units of 2**-80, fixed at creation.

    Raises:
        ValueError: the weights sum to more than delta_split x delta.
    """

    accountant: ClassVar[str] = "rdp-mix/1"
    version: ClassVar[str] = f"rdp-mix/1+{WEIGHTS_VERSION}+{GRID_VERSION}"

    weights_2p80: tuple[int, ...]

    def __post_init__(self) -> None:
        """What the proof needs of the weights is asked again whenever they are read back."""
        require_weights(self.weights_2p80, Fraction(self.delta_split) * Fraction(self.limit.delta))

    @property
    def delta_for_jobs_atto(self) -> int:
        """d_cat in 1e-18, rounded down."""
        return self._delta_for_jobs_atto

    @cached_property
    def _delta_for_jobs_atto(self) -> int:
        return to_atto_down((1 - Fraction(self.delta_split)) * Fraction(self.limit.delta))

    @cached_property
    def _test(self) -> MixtureTest:
        return mixture_test(self.weights_2p80)

    @cached_property
    def ceilings(self) -> Ceilings:
        """The worst case against epsilon, and B(a) of each order: the cheap test of R4."""
        epsilon_2p40 = int(self._epsilon * NAT_2P40)
        return Ceilings(
            self.delta_for_jobs_atto,
            maximum_atto=to_atto_down(self._epsilon),
            nats_2p40=tuple(
                None if offset is None else epsilon_2p40 + offset
                for offset in self._test.offsets_2p40
            ),
            mixture=self._test,
        )

    def to_json(self) -> dict[str, Any]:
        """The stored form, with the weights as decimal strings."""
        return {**super().to_json(), "weights_2p80": [str(each) for each in self.weights_2p80]}

    def _with_delta(self, limit: Limit) -> "MixturePolicy":
        factor = Fraction(limit.delta) / Fraction(self.limit.delta)
        weights = tuple(math.floor(weight * factor) for weight in self.weights_2p80)
        return replace(self, limit=limit, weights_2p80=weights)

    def _within(self, loss: Loss, epsilon: Fraction) -> bool:
        return self._test.passes(loss, epsilon)

    def _least_epsilon(self, loss: Loss) -> str:
        within_limit = self._within(loss, self._epsilon)
        passing = self._test.least_epsilon(
            loss, SHOWN_DIGITS, self._epsilon if within_limit else None
        )
        if passing is None:
            return UNBOUNDED
        shown = text_up(passing, SHOWN_DIGITS)
        over = within_limit and Fraction(shown) > self._epsilon
        return decimal_text(self.limit.epsilon) if over else shown

    def _largest_pure(self, loss: Loss) -> str:
        limit = self._epsilon

        def passes(epsilon: Fraction) -> bool:
            return self.admits(loss + charge_of_pure(epsilon))

        if passes(limit):
            return decimal_text(self.limit.epsilon)
        least = Fraction(0)
        if loss.maximum_dead == 0:
            least = max(least, limit - Fraction(loss.maximum_atto, ATTO))
        most = limit
        for _ in range(MOST_BISECTIONS):
            if most - least <= max(most / 10**SHOWN_DIGITS, limit / 10 ** (SHOWN_DIGITS + 3)):
                break
            middle = Fraction(round((least + most) / 2 * NAT_2P40), NAT_2P40)
            if passes(middle):
                least = middle
            else:
                most = middle
        shown = text_down(least, SHOWN_DIGITS)
        return shown if shown == "0" or passes(Fraction(shown)) else "0"


_KINDS: Final[Mapping[str, type[Policy]]] = {
    kind.accountant: kind for kind in (MixturePolicy, GdpPolicy, SummedPolicy, PurePolicy)
}


def make_policy(
    accountant: str, limit: Limit, delta_split: Decimal = DEFAULT_DELTA_SPLIT
) -> Policy:
    """The policy of a new budget, its weights computed once from its limit (R3).

    Args:
        accountant: `rdp-mix/1`, `gdp/1`, `basic/1` or `pure/1`.
        limit: delta in [1e-15, 0.1]; 0 under `pure/1` and only there.
        delta_split: the share of delta for the conversion, in [0.01, 1]; the accountants that only
            sum do not use it.

    Raises:
        InvalidParameter: an unknown accountant, or a value that it does not take.
    """
    if accountant not in _KINDS:
        raise InvalidParameter("/accountant", f"must be one of {', '.join(_KINDS)}")
    if not delta_split.is_finite() or not LEAST_DELTA_SPLIT <= delta_split <= 1:
        raise InvalidParameter("/delta_split", "must be between 0.01 and 1")
    if (accountant == PurePolicy.accountant) != (limit.delta == 0):
        raise InvalidParameter("/limit/delta", "must be 0 under pure/1 and above 0 elsewhere")
    if accountant == MixturePolicy.accountant:
        weights = weights_2p80(limit.epsilon, limit.delta, delta_split)
        return MixturePolicy(limit, delta_split, weights)
    if accountant == GdpPolicy.accountant:
        return make_gdp_policy(limit, delta_split)
    return _KINDS[accountant](limit, delta_split)


def policy_from_json(document: Mapping[str, Any]) -> Policy:
    """Read back a stored policy as it was fixed; nothing is computed anew (R3).

    Raises:
        ValueError: another version's policy, or weights that the proof does not allow.
        InvalidParameter: the stored limit is not a limit.
    """
    kind = _KINDS.get(document["accountant"])
    if kind is None or document["version"] != kind.version:
        raise ValueError("a policy of a version that this code does not decide by")
    limit = parse_limit(document["limit"])
    split = parse_decimal(document["delta_split"], "/delta_split")
    weights = tuple(int(weight) for weight in document.get("weights_2p80", ()))
    if kind is MixturePolicy:
        return MixturePolicy(limit, split, weights)
    if kind is GdpPolicy:
        return GdpPolicy(limit, split, int(document["squares_atto"]), weights)
    return kind(limit, split)
