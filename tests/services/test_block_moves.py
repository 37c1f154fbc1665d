"""Blocks and the rest of the ledger: windows, one transaction for many, the inbox, statements."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import select

from app.db.models import Notification
from app.db.session import snapshot
from app.domain.errors import BudgetExceeded
from app.domain.privacy import Loss
from app.services.statements import statement
from tests.divided import PURE, held, loss, spend
from tests.services.test_windows import Clock, clock, open_window, periods
from tests.world import World

__all__ = ["clock"]


def in_period(world: World, window: UUID, which: int, block: int) -> Loss:
    sums = periods(world, window)[which].block_sums
    assert sums is not None
    return sums.held.loss_of(block) if block < len(sums) else Loss.zero()


def test_each_period_of_a_window_has_the_whole_limit_for_each_block(
    days: World, clock: Clock
) -> None:
    root = days.open_root(epsilon="1")
    window = open_window(days, root, "0.3")
    days.reserve(root, PURE, 3, blocks=((0, 4),))
    days.reserve(root, PURE, 3, blocks=((5, 9),))
    with pytest.raises(BudgetExceeded) as refused:
        days.reserve(root, PURE, 1, blocks=((4, 5),))
    assert refused.value.scope["budget_id"] == str(window)
    clock.move(days=31)
    days.reserve(root, PURE, 2, blocks=((4, 5),))
    assert in_period(days, window, 0, 4) == loss(units=3)
    assert in_period(days, window, 1, 4) == loss(units=2)
    assert held(days, root, 4) == loss(units=3) + loss(units=2)
    assert days.verified()


def test_a_run_over_a_boundary_takes_its_blocks_along(days: World, clock: Clock) -> None:
    root = days.open_root(epsilon="1")
    window = open_window(days, root, "0.5")
    runner = replace(days.engineer, is_runner=True)
    made = UUID(
        days.reserve(root, PURE, 5, who=runner, blocks=((2, 3),), lease_s=50 * 24 * 3600)["id"]
    )
    days.reservations.start(runner, made, 1, 0, 2)
    clock.move(days=31)
    days.reservations.start(runner, made, 1, 0, 4)
    assert in_period(days, window, 0, 2) == loss(units=2)
    assert in_period(days, window, 1, 2) == loss(units=3)
    assert in_period(days, window, 1, 1) == Loss.zero()
    days.reservations.commit(runner, made, 1, None)
    assert in_period(days, window, 1, 3) == loss(units=2)
    assert held(days, root, 3) == loss(units=4)
    assert held(days, root, 4) == Loss.zero()
    assert days.verified()


def test_many_at_once_fill_each_block_to_its_limit_and_no_further(days: World) -> None:
    root = days.open_root()
    admitted: Counter[int] = Counter()

    def ask(number: int) -> int | None:
        block = number % 3
        try:
            days.reserve(
                root, PURE, 1, blocks=((block, block), (7, 7)) if number < 6 else ((block, block),)
            )
        except BudgetExceeded:
            return None
        return block

    with ThreadPoolExecutor(16) as threads:
        for block in threads.map(ask, range(42)):
            if block is not None:
                admitted[block] += 1
    assert admitted == {0: 10, 1: 10, 2: 10}
    for block in range(3):
        assert sum_of(held(days, root, block)) == 10
    assert days.verified()


def sum_of(held_loss: Loss) -> int:
    """How many tenths of epsilon a loss holds in its worst case."""
    return held_loss.maximum_atto // 10**17


def test_officers_are_told_when_a_block_passes_a_threshold_and_not_when_a_sum_does(
    days: World,
) -> None:
    root = days.open_root()

    def told() -> list[str]:
        with snapshot(days.make_session) as session:
            rows = session.scalars(select(Notification).where(Notification.kind == "threshold"))
            return sorted(row.facts["percent"] for row in rows)

    for block in range(5):
        spend(days, root, 4, ((block, block),))
    assert told() == []
    spend(days, root, 2, ((3, 3),))
    assert told() == ["50"]
    days.reserve(root, PURE, 4, blocks=((3, 3),))
    assert told() == ["100", "50", "80"]


def test_a_statement_says_whose_figures_it_shows_and_what_was_declared(days: World) -> None:
    root = days.open_root()
    spend(days, root, 4, ((0, 1),))
    spend(days, root, 3, ((1, 2),))
    said = statement(days.make_session, days.people["officer"], root, "officer")
    assert said["proven_bound"]["epsilon"] == "0.7"
    assert any("worst block" in line and "one day" in line for line in said["text"])
    assert any("new rows alone" in each for each in said["assumptions"])
