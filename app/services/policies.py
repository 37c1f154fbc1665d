"""Stored policies, read back once and kept: a filter's tables are worth not building twice."""

import json
from collections.abc import Mapping
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Any

from app.db.models import Budget
from app.domain.accounting.block_figures import (
    Worst,
    consumed,
    first_refused,
    least_remaining,
    worst_block,
)
from app.domain.accounting.block_sums import BlockSums
from app.domain.accounting.filters import Policy, policy_from_json
from app.domain.accounting.policy import UNBOUNDED
from app.domain.decimals import ATTO, decimal_text
from app.domain.privacy import Amount, Loss

# enough for a sum of deltas to be exact
SUM_DIGITS = 100


def policy_of(budget: Budget) -> Policy:
    """The filter of a budget, exactly as it was frozen (R3)."""
    return policy_in(budget.policy)


def balances(budget: Budget) -> dict[str, dict[str, str]]:
    """The wire's amounts of a budget: limit, consumed, committed, reserved, remaining.

    Of a dataset with blocks they are those of the worst block: each of them bounds every block.
    """
    return balances_of(policy_of(budget), budget.committed, budget.reserved, budget.block_sums)


def balances_of(
    policy: Policy, committed: Loss, reserved: Loss, sums: BlockSums | None
) -> dict[str, dict[str, str]]:
    """`balances` of sums that were read off a chain."""
    held = worst_of(policy, committed + reserved, sums).consumed
    if sums is None:
        posted = consumed(policy, committed)
        remaining = policy.remaining(committed + reserved)
    else:
        posted = worst_block(policy, sums.committed).consumed
        remaining = least_remaining(policy, sums.held)
    return {
        "limit": limit_json(policy),
        "committed": amount_json(posted),
        "reserved": {
            "epsilon": _difference(held.epsilon, posted.epsilon),
            "delta": _difference(held.delta, posted.delta),
        },
        "consumed": amount_json(held),
        "remaining": amount_json(remaining),
    }


def held_by_worst(budget: Budget) -> Worst:
    """What a budget holds, as its figures say it: with blocks, what the worst one holds (R8)."""
    held = budget.committed + budget.reserved
    return worst_of(policy_of(budget), held, budget.block_sums)


def worst_of(policy: Policy, held: Loss, sums: BlockSums | None) -> Worst:
    """What stands for a plain sum, or for the blocks that it is the sum over."""
    if sums is None:
        return Worst(None, held, consumed(policy, held), held.delta_atto)
    return worst_block(policy, sums.held)


def passes(budget: Budget, policy: Policy | None = None) -> bool:
    """Whether all that a budget holds passes its own policy, or the same at another level."""
    held = budget.committed + budget.reserved
    return is_within(policy or policy_of(budget), held, budget.block_sums)


def is_within(policy: Policy, held: Loss, sums: BlockSums | None) -> bool:
    """Whether a plain sum passes, or else each of the blocks that it is the sum over."""
    if policy.admits(held):
        return True
    return sums is not None and first_refused(policy, sums.held) is None


def held_at(budget: Budget, level: Policy) -> Loss:
    """What decides whether a budget passes at a level: where some block does not, what that holds.

    Two blocks can show one consumed epsilon and differ in the digits behind it.
    """
    if budget.block_sums is None:
        return budget.committed + budget.reserved
    worst = held_by_worst(budget).loss
    if not level.admits(worst):
        return worst
    refused = first_refused(level, budget.block_sums.held)
    return worst if refused is None else budget.block_sums.held.loss_of(refused)


def bound_delta(policy: Policy, delta_atto: int) -> str:
    """The delta at which a consumed epsilon is proven; `delta_atto` is what job deltas sum to.

    That of the limit, unless the deltas of a balance sum to more than the limit has room for, which
    earlier spend can do (opening entries): then the excess comes on top.
    """
    excess_atto = max(0, delta_atto - policy.delta_for_jobs_atto)
    if not excess_atto:
        return decimal_text(policy.limit.delta)
    with localcontext(prec=SUM_DIGITS):
        return decimal_text(policy.limit.delta + Decimal(excess_atto) / ATTO)


def limit_json(policy: Policy) -> dict[str, str]:
    """A policy's limit as it crosses the wire."""
    return {
        "epsilon": decimal_text(policy.limit.epsilon),
        "delta": decimal_text(policy.limit.delta),
    }


def amount_json(amount: Amount) -> dict[str, str]:
    """An amount as it crosses the wire."""
    return {"epsilon": amount.epsilon, "delta": amount.delta}


def _difference(consumed: str, committed: str) -> str:
    """What reservations add to a committed figure, exactly; "0" where they add nothing."""
    if consumed == committed:
        # also where earlier spend has left both without a bound
        return "0"
    with localcontext(prec=SUM_DIGITS):
        difference = Decimal(consumed) - Decimal(committed)
        return format(difference.normalize(), "f") if difference.is_finite() else UNBOUNDED


@lru_cache(maxsize=4096)
def alone(policy: Policy, loss: Loss) -> Amount:
    """What a loss would show as consumed if it were the only charge of an empty budget."""
    return policy.consumed(loss)


def policy_in(document: Mapping[str, Any]) -> Policy:
    """The filter that an entry's facts hold; kept like those of budgets."""
    return _policy(_key(document))


def _key(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True)


@lru_cache(maxsize=1024)
def _policy(key: str) -> Policy:
    return policy_from_json(json.loads(key))
