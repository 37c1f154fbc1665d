"""Balances as they are shown: exact differences, zeros that are zeros, bounds that are gone."""

from decimal import Decimal

import pytest

from app.db.models import Budget
from app.domain.accounting.filters import make_policy
from app.domain.accounting.prices import price
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Limit, Loss
from app.services.policies import balances

PURE = {"type": "pure", "epsilon": "0.1"}
UNBOUNDED_BY_EVERY_ORDER = {"type": "gaussian", "noise_multiplier": "0.001"}


def shown(committed: Loss, reserved: Loss, accountant: str = "rdp-mix/1") -> dict[str, str]:
    delta = "0" if accountant == "pure/1" else "1e-6"
    policy = make_policy(accountant, Limit(Decimal(1), Decimal(delta)), Decimal("0.9"))
    budget = Budget(policy=policy.to_json(), committed=committed, reserved=reserved)
    return {what: amount["epsilon"] for what, amount in balances(budget).items()}


def loss(mechanism: dict[str, str], units: int = 1) -> Loss:
    return price(parse_mechanism(mechanism), "add_remove").charge(units)


@pytest.mark.parametrize("accountant", ["rdp-mix/1", "pure/1"])
def test_nothing_reserved_is_zero_and_nothing_else(accountant: str) -> None:
    assert shown(Loss.zero(), Loss.zero(), accountant)["reserved"] == "0"
    assert shown(loss(PURE), Loss.zero(), accountant)["reserved"] == "0"


@pytest.mark.parametrize("accountant", ["rdp-mix/1", "pure/1"])
def test_committed_and_reserved_add_up_to_consumed(accountant: str) -> None:
    found = shown(loss(PURE), loss(PURE, 3), accountant)
    total = Decimal(found["committed"]) + Decimal(found["reserved"])
    assert total == Decimal(found["consumed"])


def test_earlier_spend_without_a_bound_is_shown_and_breaks_no_page() -> None:
    found = shown(loss(UNBOUNDED_BY_EVERY_ORDER), loss(PURE))
    assert found["committed"] == found["consumed"]
    assert (found["reserved"], found["remaining"]) == ("0", "0")
    other = shown(loss(PURE), loss(UNBOUNDED_BY_EVERY_ORDER))
    assert Decimal(other["reserved"]) > 0
