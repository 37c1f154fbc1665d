"""Milestones: lower levels of a budget, fixed at its creation, that say how far it has come (R10).

Each level is a filter of its own on the same balance. What was released while a level still passed
is (level, delta)-DP as a whole, which a figure read after the fact would not be for free.
"""

from collections.abc import Iterable
from decimal import Decimal

from app.domain.accounting.policy import Policy
from app.domain.privacy import Loss


def milestones_passed(policy: Policy, levels: Iterable[str], loss: Loss) -> dict[str, bool]:
    """For each level, whether the balance is still inside it.

    Args:
        policy: of the budget; every level uses what was fixed at its creation.
        levels: decimal texts as they were fixed at creation; checked there.
        loss: committed and reserved, with a job's own charge where the job is what is asked about.

    Returns:
        The levels in their order; True where the loss still passes.

    Raises:
        InvalidParameter: a level is not in (0, 1e4].
    """
    return {level: policy.at_level(Decimal(level)).admits(loss) for level in levels}
