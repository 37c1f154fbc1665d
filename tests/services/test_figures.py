"""Figures are kept by the head of a chain, and a chain that moves shows fresh ones."""

from decimal import Decimal
from uuid import UUID

import pytest

from app.services import figures, policies
from tests.world import World

PURE = {"type": "pure", "epsilon": "0.01"}


def test_every_entry_that_moves_an_amount_shows_at_once(world: World) -> None:
    root = world.open_root()

    def shown() -> dict[str, str]:
        budget = world.budgets.get(world.people["auditor"], root)
        names = ("limit", "consumed", "reserved", "remaining")
        return {name: budget[name]["epsilon"] for name in names}

    seen = [shown()]
    made = world.reserve(root, PURE, 10)
    seen.append(shown())
    world.reservations.commit(world.engineer, UUID(made["id"]), 1, None)
    seen.append(shown())
    world.change(root, "lower", epsilon=Decimal("0.5"))
    seen.append(shown())
    assert [tuple(each.values()) for each in seen] == [
        ("1", "0", "0", "1"),
        ("1", "0.1", "0.1", "0.9"),
        ("1", "0.1", "0", "0.9"),
        ("0.5", "0.1", "0", "0.4"),
    ]


def test_what_was_kept_is_what_would_be_worked_out_and_no_more_is_kept_than_may_be(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "KEPT_MOST", 2)
    figures._kept.clear()
    root = world.open_root()
    for _ in range(4):
        world.reserve(root, PURE, 1)
        budget = world.budget(root)
        for _ in range(2):
            assert figures.amounts(budget) == policies.balances(budget)
    assert len(figures._kept) == 2
