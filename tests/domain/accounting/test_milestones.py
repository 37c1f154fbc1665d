"""A milestone says whether the balance is still inside a level that was fixed before (R10)."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.accounting.filters import make_policy
from app.domain.accounting.fits import most_units
from app.domain.accounting.milestones import milestones_passed
from app.domain.accounting.prices import price
from app.domain.errors import InvalidParameter
from app.domain.mechanisms.parsing import Gaussian
from app.domain.privacy import Limit, Loss

LEVELS = ["1", "2.0", "4"]
ONE = price(Gaussian("50"), "add_remove")


@pytest.mark.parametrize("accountant", ["rdp-mix/1", "gdp/1"])
def test_a_level_is_left_with_the_first_unit_that_does_not_pass_there(accountant: str) -> None:
    policy = make_policy(accountant, Limit(Decimal(8), Decimal("1e-6")))
    assert all(milestones_passed(policy, LEVELS, Loss.zero()).values())
    for index, level in enumerate(LEVELS):
        edge = most_units(policy.at_level(Decimal(level)).admits, ONE, 10**6, beside=Loss.zero())
        inside = milestones_passed(policy, LEVELS, ONE.charge(edge))
        outside = milestones_passed(policy, LEVELS, ONE.charge(edge + 1))
        assert list(inside) == LEVELS
        assert list(inside.values()) == [False] * index + [True] * (3 - index)
        assert list(outside.values()) == [False] * (index + 1) + [True] * (2 - index)


@settings(max_examples=20)
@given(st.integers(0, 5000), st.integers(0, 5000))
def test_what_is_reserved_counts_and_a_level_is_never_entered_again_by_charging(
    held: int, more: int
) -> None:
    policy = make_policy("rdp-mix/1", Limit(Decimal(8), Decimal("1e-6")))
    before = milestones_passed(policy, LEVELS, ONE.charge(held))
    after = milestones_passed(policy, LEVELS, ONE.charge(held) + ONE.charge(more))
    assert all(before[level] for level in LEVELS if after[level])


def test_a_level_uses_the_weights_of_the_budget_and_not_its_own() -> None:
    budget = make_policy("rdp-mix/1", Limit(Decimal(8), Decimal("1e-6")))
    fitted = make_policy("rdp-mix/1", Limit(Decimal(1), Decimal("1e-6")))
    edge = most_units(fitted.admits, ONE, 10**6, beside=Loss.zero())
    assert not milestones_passed(budget, ["1"], ONE.charge(edge))["1"]


def test_a_raise_leaves_every_milestone_where_it_was() -> None:
    policy = make_policy("rdp-mix/1", Limit(Decimal(8), Decimal("1e-6")))
    raised = policy.raised(Decimal(10))
    for units in (100, 200, 500, 1000, 2000):
        loss = ONE.charge(units)
        assert milestones_passed(policy, LEVELS, loss) == milestones_passed(raised, LEVELS, loss)


def test_a_level_that_is_no_epsilon_is_refused() -> None:
    policy = make_policy("rdp-mix/1", Limit(Decimal(8), Decimal("1e-6")))
    with pytest.raises(InvalidParameter):
        milestones_passed(policy, ["0"], Loss.zero())
