"""A window's limit moves with the period in force; a period alone moves nowhere (R9, L10)."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db.models import Budget
from app.db.session import snapshot, transaction
from app.domain.errors import BudgetExceeded, InvalidParameter, LowerRefused, OwnChange, ScopeClosed
from app.domain.privacy import Limit
from app.domain.windows import Window
from app.services import approvals, batches, budgets, idempotency, statements
from app.services.budgets import BudgetRequest
from app.services.opening import OpeningRequest, Openings
from app.services.statements import statement
from tests.world import World, keyed

PURE = {"type": "pure", "epsilon": "0.1"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The database's clock, set by hand."""
    at = [datetime(2027, 1, 10, tzinfo=UTC)]

    def now(_session: Session, **_: object) -> datetime:
        return at[0]

    for module in (approvals, batches, budgets, idempotency, statements):
        monkeypatch.setattr(module, "database_now", now, raising=False)
    return at


def open_window(world: World, parent: UUID, epsilon: str) -> UUID:
    officer = world.people["officer"]
    request = BudgetRequest(
        kind="window",
        dataset_id=None,
        parent_id=parent,
        name="monthly",
        limit=Limit(Decimal(epsilon), Decimal(0)),
        accountant="pure/1",
        delta_split=Decimal("0.9"),
        milestones=(),
        holder_project_id=None,
        expires_at=None,
        reason="a pace",
        window=Window("month", "UTC", date(2027, 1, 1), "always"),
    )
    proposed = world.budgets.create(officer, request, keyed(officer, "budgets", {"w": 1}))
    world.decide(UUID(proposed["approval_id"]), "approve")
    return UUID(proposed["id"])


def periods(world: World, window: UUID) -> list[Budget]:
    with snapshot(world.make_session) as session:
        rows = session.scalars(
            select(Budget).where(Budget.parent_id == window).order_by(Budget.starts_at)
        ).all()
        session.expunge_all()
        return list(rows)


def limits(world: World, window: UUID) -> list[str]:
    return [str(period.policy["limit"]["epsilon"]) for period in periods(world, window)]


def test_a_window_rises_by_two_people_together_with_the_period_in_force_and_no_earlier_one(
    world: World, clock: list[datetime]
) -> None:
    root = world.open_root(epsilon="5")
    window = open_window(world, root, "0.3")
    world.reserve(root, PURE, 3)
    clock[0] += timedelta(days=30)
    world.reserve(root, PURE, 3)
    with pytest.raises(BudgetExceeded):
        world.reserve(root, PURE, 1)
    asked = world.change(window, "raise", epsilon=Decimal("0.5"))
    assert asked["effect"] == {"window": {"from": "0.3", "to": "0.5"}, "lifetime": "unchanged"}
    with pytest.raises(OwnChange):
        world.decide(UUID(asked["approval_id"]), "approve", who="officer")
    world.decide(UUID(asked["approval_id"]), "approve")
    assert limits(world, window) == ["0.3", "0.5"]
    world.reserve(root, PURE, 2)
    with pytest.raises(BudgetExceeded):
        world.reserve(root, PURE, 1)
    clock[0] += timedelta(days=30)
    world.reserve(root, PURE, 5)
    assert limits(world, window) == ["0.3", "0.5", "0.5"]
    assert world.verified()


def test_a_window_is_lowered_only_to_what_its_period_in_force_passes(
    world: World, clock: list[datetime]
) -> None:
    root = world.open_root(epsilon="5")
    window = open_window(world, root, "0.5")
    world.reserve(root, PURE, 3)
    with pytest.raises(LowerRefused) as refused:
        world.change(window, "lower", epsilon=Decimal("0.2"))
    assert Decimal(refused.value.least) == Decimal("0.3")
    assert world.change(window, "lower", epsilon=Decimal("0.3"))["state"] == "done"
    assert limits(world, window) == ["0.3"]
    with pytest.raises(BudgetExceeded):
        world.reserve(root, PURE, 1)
    assert world.verified()


def test_a_frozen_window_lets_nothing_start_and_thaws_by_two_people(
    world: World, clock: list[datetime]
) -> None:
    root = world.open_root(epsilon="5")
    window = open_window(world, root, "0.5")
    world.reserve(root, PURE, 1)
    world.change(window, "freeze")
    with pytest.raises(ScopeClosed):
        world.reserve(root, PURE, 1)
    asked = world.change(window, "thaw")
    assert asked["state"] == "pending"
    world.decide(UUID(asked["approval_id"]), "approve")
    world.reserve(root, PURE, 1)


def test_a_period_is_changed_through_its_window_alone(world: World, clock: list[datetime]) -> None:
    root = world.open_root(epsilon="5")
    window = open_window(world, root, "0.5")
    world.reserve(root, PURE, 1)
    (period,) = periods(world, window)
    fields: dict[str, Any] = {"epsilon": Decimal(1)}
    for action in ("raise", "lower", "freeze", "close"):
        with pytest.raises(InvalidParameter):
            world.change(period.id, action, **fields)
    policy = {**period.policy, "limit": {"epsilon": "9", "delta": "0"}}
    with (
        pytest.raises(IntegrityError, match="with its window"),
        transaction(world.make_session) as session,
    ):
        row = session.get_one(Budget, period.id)
        row.policy, row.version = policy, row.version + 1


def test_earlier_spend_started_in_no_window(world: World, clock: list[datetime]) -> None:
    root = world.open_root(epsilon="5")
    window = open_window(world, root, "0.5")
    world.reserve(root, PURE, 1)
    officer = world.people["officer"]
    request = OpeningRequest(reason="before", evidence_sha256="e" * 64, epsilon="0.4")
    for budget_id in (window, periods(world, window)[0].id):
        with pytest.raises(InvalidParameter):
            Openings(world.make_session).ask(
                officer,
                budget_id,
                request,
                if_version=world.budget(budget_id).version,
                keyed=keyed(officer, "opening", {"id": str(budget_id)}),
            )
    before = periods(world, window)[0].committed
    asked = Openings(world.make_session).ask(
        officer,
        root,
        request,
        if_version=world.budget(root).version,
        keyed=keyed(officer, "opening", {"id": str(root)}),
    )
    world.decide(UUID(asked["approval_id"]), "approve")
    assert periods(world, window)[0].committed == before
    world.reserve(root, PURE, 4)


def test_a_window_s_statement_counts_its_period_and_shows_the_lifetime_beside_it(
    world: World, clock: list[datetime]
) -> None:
    root = world.open_root(epsilon="5")
    window = open_window(world, root, "0.5")
    world.reserve(root, PURE, 4)
    clock[0] += timedelta(days=30)
    world.reserve(root, PURE, 1)
    asked = world.change(window, "raise", epsilon=Decimal("0.6"))
    world.decide(UUID(asked["approval_id"]), "approve")
    said = statement(world.make_session, world.people["auditor"], window, "officer")
    assert said["proven_bound"]["epsilon"] == "0.1"
    assert said["limit"]["epsilon"] == "0.6"
    assert said["lifetime"]["consumed"]["epsilon"] == "0.5"
    assert "limit raised on 2027-02-09 from 0.5 to 0.6" in said["text"]
    assert "2027-02-01" in said["scope"]
