"""From a target to the noise that meets it, solved against the budget's own test (R11)."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

from app.domain.accounting.filters import Policy, make_policy
from app.domain.accounting.fits import least_passing
from app.domain.accounting.pld import pld_epsilon
from app.domain.accounting.prices import charge_parts, price
from app.domain.errors import InvalidParameter
from app.domain.mechanisms.kinds import LARGEST_NOISE, LEAST_NOISE
from app.domain.mechanisms.parsing import Part
from app.domain.privacy import Limit, Loss

__all__ = ["calibrate", "pld_epsilon", "target_policy"]

CALIBRATED_DIGITS: Final = 5


def calibrate(
    parts_for: Callable[[str], Sequence[Part]], relation: str, admits: Callable[[Loss], bool]
) -> str:
    """The least noise multiplier whose parts are admitted, as a decimal string; it was tried.

    Args:
        parts_for: the parts of the job at a noise multiplier.
        relation: the dataset's neighbouring relation.
        admits: the test of the target, of one budget or of a whole path; monotone.

    Returns:
        At most 5 significant digits, rounded up.

    Raises:
        InvalidParameter: no noise multiplier in [1e-3, 1e9] meets the target.
        MechanismNotPriced: a part has no price in this relation.
    """

    def passes(noise: Decimal) -> bool:
        parts = parts_for(format(noise, "f"))
        return admits(charge_parts((price(p.mechanism, relation), p.max_units) for p in parts))

    reach = Fraction(LARGEST_NOISE) / Fraction(LEAST_NOISE)
    found = least_passing(passes, Fraction(LEAST_NOISE), digits=CALIBRATED_DIGITS, most=reach)
    if found is None:
        reason = "no noise multiplier up to 1e9 meets this target"
        raise InvalidParameter("/spec/noise/target", reason)
    return found


def target_policy(
    policy: Policy, epsilon: Decimal, delta: Decimal, start: Literal["empty", "now"] = "empty"
) -> Policy:
    """The test that a target (epsilon, delta) is solved against.

    Args:
        policy: the named budget's own.
        epsilon: the target, in (0, 1e4].
        delta: the target's.
        start: `empty`: the job alone, under the budget's accountant and split at the target.
            `now`: the balance with the job in it, the budget's weights kept and only epsilon
            moved (R5, R10); its delta is the budget's, so a smaller target cannot be met.

    Raises:
        InvalidParameter: out of range, or not to be expressed from now.
    """
    if start == "empty":
        return make_policy(policy.accountant, Limit(epsilon, delta), policy.delta_split)
    if delta < policy.limit.delta:
        reason = "from now, a target cannot have a smaller delta than its budget"
        raise InvalidParameter("/spec/noise/target/delta", reason)
    return policy.at_level(epsilon)
