"""Amounts of budgets for readers, worked out once for each head of a chain.

Consumed and remaining are searches over a filter, tens of milliseconds for a budget that holds a
mixture of losses, and lists ask for the same ones again and again. All that they depend on, sums,
limit and blocks, is decided by the entries, and the head's hash names these (L4): an amount that is
kept under its head is never an old one.
"""

from collections import OrderedDict
from threading import Lock
from typing import Final
from uuid import UUID

from app.db.models import Budget
from app.services import policies

KEPT_MOST: Final = 4096

Amounts = dict[str, dict[str, str]]

_kept: OrderedDict[tuple[UUID, str], Amounts] = OrderedDict()
_lock = Lock()


def amounts(budget: Budget) -> Amounts:
    """`policies.balances` of a budget as its chain stands.

    For rows as they were committed: in the middle of a change head and sums are not of one moment.
    """
    key = (budget.id, budget.head_hash)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    found = policies.balances(budget)
    with _lock:
        _kept[key] = found
        if len(_kept) > KEPT_MOST:
            _kept.popitem(last=False)
    return found
