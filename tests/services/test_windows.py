"""Windows: a refresh opens the next period and forgets nothing (R9, L3), through long runs too."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db.models import Budget, DatasetVersion, Entry, Reservation
from app.db.session import database_now, snapshot, transaction
from app.domain.accounting.filters import make_policy
from app.domain.accounting.prices import price
from app.domain.errors import BudgetExceeded, InvalidParameter, OwnChange, ScopeClosed
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Limit, Loss
from app.domain.windows import Window
from app.services import (
    approvals,
    batches,
    budgets,
    explanation,
    idempotency,
    reservations,
    sweep,
)
from app.services.admission import QuoteRequest
from app.services.budgets import BudgetRequest
from tests.world import World, keyed

PURE = {"type": "pure", "epsilon": "0.01"}
FIRST = date(2027, 1, 1)


@dataclass
class Clock:
    """The database's clock, set forward: the one fake here, at the edge of the world."""

    at: datetime

    def now(self, _session: Session, *, lock_timeout: str | None = None) -> datetime:
        return self.at

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock(datetime(2027, 1, 10, tzinfo=UTC))
    for module in (
        batches,
        approvals,
        budgets,
        explanation,
        idempotency,
        reservations,
        sweep,
    ):
        monkeypatch.setattr(module, "database_now", made.now, raising=False)
    return made  # type: ignore[return-value]


def charge_of(units: int) -> Loss:
    return price(parse_mechanism(PURE), "add_remove").charge(units)


def open_window(
    world: World, parent: UUID, epsilon: str, *, period: Any = "month", refresh: Any = "always"
) -> UUID:
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
        window=Window(period, "UTC", FIRST, refresh),
    )
    proposed = world.budgets.create(officer, request, keyed(officer, "budgets", {"w": 1}))
    with pytest.raises(OwnChange):
        world.decide(UUID(proposed["approval_id"]), "approve", who="officer")
    world.decide(UUID(proposed["approval_id"]), "approve")
    return UUID(proposed["id"])


def add_version(world: World, number: int, *, at: datetime) -> None:
    with transaction(world.make_session) as session:
        first = session.get_one(DatasetVersion, (world.dataset_id, 1))
        session.add(
            DatasetVersion(
                dataset_id=first.dataset_id,
                version=number,
                connection_id=first.connection_id,
                path=first.path,
                format=first.format,
                created_by=first.created_by,
                created_at=at,
            )
        )


def periods(world: World, window: UUID) -> list[Budget]:
    with snapshot(world.make_session) as session:
        found = list(
            session.scalars(
                select(Budget).where(Budget.parent_id == window).order_by(Budget.starts_at)
            )
        )
        for each in found:
            session.expunge(each)
        return found


def test_a_window_and_its_root_both_admit_or_none_is_charged(world: World, clock: Clock) -> None:
    root = world.open_root(epsilon="0.1")
    window = open_window(world, root, "0.03")
    world.reserve(root, PURE, 3)
    with pytest.raises(BudgetExceeded) as refused:
        world.reserve(root, PURE, 1)
    assert refused.value.scope["kind"] == "window"
    assert refused.value.scope["budget_id"] == str(window)
    assert refused.value.scope["opens_again_at"] == "2027-02-01T00:00:00+00:00"
    clock.move(days=30)
    world.reserve(root, PURE, 3)
    assert world.budget(root).reserved == charge_of(3) + charge_of(3)
    assert [period.reserved for period in periods(world, window)] == [charge_of(3)] * 2
    assert world.verified()


def test_twenty_four_refreshes_forget_nothing_and_the_root_still_ends_it(
    world: World, clock: Clock
) -> None:
    root = world.open_root(epsilon="0.5")
    window = open_window(world, root, "0.02")
    for _ in range(24):
        reserved = UUID(world.reserve(root, PURE, 2)["id"])
        world.reservations.commit(world.engineer, reserved, 1, None)
        clock.at = (clock.at.replace(day=1) + timedelta(days=32)).replace(day=10)
    spent = periods(world, window)
    assert len(spent) == 24
    lifetime = world.budget(root).committed
    assert lifetime == sum((period.committed for period in spent), Loss.zero())
    assert lifetime == sum([charge_of(2)] * 24, Loss.zero())
    world.reserve(root, PURE, 2)
    clock.move(days=31)
    with pytest.raises(BudgetExceeded) as refused:
        world.reserve(root, PURE, 1)
    assert refused.value.scope["budget_id"] == str(root)
    with snapshot(world.make_session) as session:
        refreshes = select(func.count()).where(Entry.budget_id == window, Entry.kind == "refreshed")
        assert session.scalar(refreshes) == 25
    assert world.verified()


def test_a_long_job_moves_into_the_next_period_and_each_holds_what_started_in_it(
    world: World, clock: Clock
) -> None:
    root = world.open_root(epsilon="1")
    window = open_window(world, root, "0.3")
    runner = replace(world.engineer, is_runner=True)
    reserved = UUID(world.reserve(root, PURE, 20, who=runner, lease_s=5_000_000)["id"])
    world.reservations.start(runner, reserved, 1, 0, 7)
    clock.move(days=30)
    world.reservations.start(runner, reserved, 1, 0, 12)
    old, new = periods(world, window)
    assert (old.committed, old.reserved) == (charge_of(7), Loss.zero())
    assert (new.committed, new.reserved) == (Loss.zero(), charge_of(13))
    assert world.budget(root).reserved == charge_of(20)
    world.reservations.commit(runner, reserved, 1, None)
    old, new = periods(world, window)
    assert (old.committed, new.committed) == (charge_of(7), charge_of(5))
    assert new.reserved == Loss.zero()
    assert world.budget(root).committed == charge_of(12)
    assert world.verified()


def test_a_run_without_room_in_the_next_period_stops_and_pays_for_what_it_started(
    world: World, clock: Clock
) -> None:
    root = world.open_root(epsilon="1")
    window = open_window(world, root, "0.1")
    runner = replace(world.engineer, is_runner=True)
    reserved = UUID(world.reserve(root, PURE, 10, who=runner, lease_s=5_000_000)["id"])
    world.reservations.start(runner, reserved, 1, 0, 4)
    clock.move(days=30)
    world.reserve(root, PURE, 5)
    with pytest.raises(ScopeClosed) as refused:
        world.reservations.start(runner, reserved, 1, 0, 5)
    assert refused.value.state == "window over"
    world.reservations.commit(runner, reserved, 1, None)
    old, new = periods(world, window)
    assert (old.committed, old.reserved) == (charge_of(4), Loss.zero())
    assert new.reserved == charge_of(5)
    assert world.verified()


def test_an_untouched_reservation_moves_whole_and_leaves_the_old_period_free(
    world: World, clock: Clock
) -> None:
    root = world.open_root(epsilon="1")
    window = open_window(world, root, "0.1")
    runner = replace(world.engineer, is_runner=True)
    reserved = UUID(world.reserve(root, PURE, 10, who=runner, lease_s=5_000_000)["id"])
    clock.move(days=30)
    world.reservations.start(runner, reserved, 1, 0, 1)
    old, new = periods(world, window)
    assert (old.committed, old.reserved) == (Loss.zero(), Loss.zero())
    assert new.reserved == charge_of(10)
    assert world.verified()


def test_nothing_starts_before_the_first_day(world: World, clock: Clock) -> None:
    root = world.open_root()
    clock.at = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    open_window(world, root, "0.1")
    with pytest.raises(ScopeClosed) as refused:
        world.reserve(root, PURE, 1)
    assert refused.value.state == "not begun"
    clock.move(seconds=1)
    world.reserve(root, PURE, 1)


def test_a_window_that_waits_for_new_data_opens_no_period_by_the_calendar_alone(
    world: World, clock: Clock
) -> None:
    root = world.open_root()
    window = open_window(world, root, "0.02", refresh="new_data")
    world.reserve(root, PURE, 2)
    clock.move(days=60)
    with pytest.raises(BudgetExceeded):
        world.reserve(root, PURE, 1)
    add_version(world, 2, at=clock.at)
    world.reserve(root, PURE, 2)
    assert len(periods(world, window)) == 2


def test_new_data_refreshes_a_window_once_though_it_came_as_an_admission_waited(
    world: World, clock: Clock
) -> None:
    root = world.open_root()
    window = open_window(world, root, "0.02", refresh="new_data")
    world.reserve(root, PURE, 2)
    clock.move(days=60)
    # an admission reads its time, then waits for its locks, and sees what came meanwhile
    add_version(world, 2, at=clock.at + timedelta(seconds=3))
    world.reserve(root, PURE, 2)
    assert len(periods(world, window)) == 2
    clock.move(days=60)
    with pytest.raises(BudgetExceeded):
        world.reserve(root, PURE, 1)
    assert len(periods(world, window)) == 2
    add_version(world, 3, at=clock.at)
    world.reserve(root, PURE, 2)
    assert world.verified()


def test_a_frozen_window_lets_nothing_start_and_lifts_no_limit(world: World, clock: Clock) -> None:
    root = world.open_root()
    window = open_window(world, root, "0.1")
    world.reserve(root, PURE, 1)
    for state in ("frozen", "closed"):
        with transaction(world.make_session) as session:
            session.get_one(Budget, window).state = state
        with pytest.raises(ScopeClosed):
            world.reserve(root, PURE, 1)


def test_a_window_shows_the_amounts_of_its_period_and_a_quote_asks_it_too(
    world: World, clock: Clock
) -> None:
    root = world.open_root(epsilon="1")
    window = open_window(world, root, "0.1")
    world.reserve(root, PURE, 4)
    shown = world.budgets.get(world.people["officer"], window)
    assert shown["consumed"]["epsilon"] == "0.04"
    assert shown["remaining"]["epsilon"] == "0.06"
    clock.move(days=30)
    shown = world.budgets.get(world.people["officer"], window)
    assert (shown["consumed"]["epsilon"], shown["period"]) == ("0", None)
    quote = world.admissions.quote(
        world.engineer,
        QuoteRequest(inputs=world.inputs(root), parts=[{"mechanism": PURE, "max_units": 11}]),
    )
    assert quote["admitted_now"] is False
    assert quote["fits"]["max_units"] == 10
    assert {charge["kind"] for charge in quote["charges"]} == {"lifetime", "window"}


def test_an_expired_allocation_admits_nothing_more(world: World, clock: Clock) -> None:
    root = world.open_root()
    team = world.open_allocation(root, "0.5")
    with transaction(world.make_session) as session:
        session.get_one(Budget, team).expires_at = clock.at + timedelta(days=1)
    world.reserve(team, PURE, 1)
    clock.move(days=1)
    with pytest.raises(ScopeClosed) as refused:
        world.reserve(team, PURE, 1)
    assert refused.value.state == "expired"


def test_a_period_is_never_opened_twice_by_the_database_s_word(world: World, clock: Clock) -> None:
    root = world.open_root()
    window = open_window(world, root, "0.1")
    world.reserve(root, PURE, 1)
    with pytest.raises(IntegrityError), transaction(world.make_session) as session:
        period = session.scalars(select(Budget).where(Budget.parent_id == window)).one()
        twin = {column.key: getattr(period, column.key) for column in Budget.__table__.columns}
        session.add(Budget(**{**twin, "id": UUID(int=1)}))
    with snapshot(world.make_session) as session:
        assert session.scalar(select(func.count()).select_from(Reservation)) == 1
        assert database_now(session) is not None


def test_a_request_that_is_refused_by_a_period_it_opened_is_told_of_its_window(
    world: World, clock: Clock
) -> None:
    root = world.open_root()
    window = open_window(world, root, "0.02")
    with pytest.raises(BudgetExceeded) as refused:
        world.reserve(root, PURE, 3)
    assert refused.value.scope["budget_id"] == str(window)
    assert refused.value.fits["max_units"] == 2
    assert periods(world, window) == []


def test_work_that_was_reserved_before_a_window_opened_starts_inside_it(
    world: World, clock: Clock
) -> None:
    root = world.open_root(epsilon="1")
    runner = replace(world.engineer, is_runner=True)
    small = UUID(world.reserve(root, PURE, 2, who=runner, lease_s=5_000_000)["id"])
    large = UUID(world.reserve(root, PURE, 50, who=runner, lease_s=5_000_000)["id"])
    window = open_window(world, root, "0.03")
    with pytest.raises(ScopeClosed) as refused:
        world.reservations.start(runner, large, 1, 0, 50)
    assert refused.value.state == "window full"
    world.reservations.start(runner, small, 1, 0, 1)
    assert periods(world, window)[0].reserved == charge_of(2)
    with pytest.raises(BudgetExceeded):
        world.reserve(root, PURE, 2)
    world.reservations.commit(runner, small, 1, None)
    assert periods(world, window)[0].committed == charge_of(1)
    assert world.verified()


def test_a_job_that_reports_no_starts_lapses_with_the_period_it_was_reserved_in(
    world: World, clock: Clock
) -> None:
    root = world.open_root(epsilon="1")
    window = open_window(world, root, "0.03")
    reserved = UUID(world.reserve(root, PURE, 3, lease_s=5_000_000)["id"])
    world.reservations.heartbeat(world.engineer, reserved, 1, 600_000)
    with snapshot(world.make_session) as session:
        until = session.get_one(Reservation, reserved).lease_until
    assert until is not None
    assert until <= datetime(2027, 2, 1, tzinfo=UTC)
    clock.move(days=30)
    assert sweep.sweep(world.make_session).lapsed == 1
    assert periods(world, window)[0].committed == charge_of(3)


def test_a_tool_that_is_no_runner_takes_nothing_out_of_a_period_by_what_it_reports(
    world: World, clock: Clock
) -> None:
    root = world.open_root(epsilon="1")
    window = open_window(world, root, "0.03", refresh="new_data")
    clock.move(days=20)
    reserved = UUID(world.reserve(root, PURE, 2, lease_s=600_000)["id"])
    clock.move(days=4)
    add_version(world, 2, at=clock.at)
    world.reserve(root, PURE, 1)
    # what it has read by now nobody knows, whatever it says has started (R15)
    with pytest.raises(ScopeClosed):
        world.reservations.start(world.engineer, reserved, 1, 0, 1)
    world.reservations.commit(world.engineer, reserved, 1, None)
    old, new = periods(world, window)
    assert (old.committed, new.committed) == (charge_of(2), Loss.zero())
    assert world.budget(root).committed == charge_of(2)
    assert world.verified()


def test_a_clock_that_steps_back_reopens_no_period_that_is_over(world: World, clock: Clock) -> None:
    root = world.open_root(epsilon="1")
    window = open_window(world, root, "0.03")
    world.reserve(root, PURE, 1)
    clock.move(days=30)
    world.reserve(root, PURE, 3)
    clock.move(days=-30)
    with pytest.raises(BudgetExceeded):
        world.reserve(root, PURE, 1)
    assert [period.reserved for period in periods(world, window)] == [charge_of(1), charge_of(3)]
    # what a reader is shown is what an admission asks
    shown = world.budgets.get(world.people["officer"], window)
    assert shown["period"]["budget_id"] == str(periods(world, window)[1].id)
    assert shown["remaining"]["epsilon"] == "0"


def test_a_period_with_another_limit_than_its_window_s_is_refused_by_the_database(
    world: World, clock: Clock
) -> None:
    root = world.open_root(epsilon="1")
    window = open_window(world, root, "0.03")
    world.reserve(root, PURE, 1)
    wider = make_policy("pure/1", Limit(Decimal("0.9"), Decimal(0)), Decimal("0.9")).to_json()
    with pytest.raises(IntegrityError, match="limit"), transaction(world.make_session) as session:
        period = session.scalars(select(Budget).where(Budget.parent_id == window)).one()
        columns = {c.key: getattr(period, c.key) for c in Budget.__table__.columns}
        later = {"starts_at": period.ends_at, "ends_at": clock.at + timedelta(days=90)}
        session.add(Budget(**{**columns, **later, "id": UUID(int=1), "policy": wider}))
    with pytest.raises(IntegrityError, match="window"), transaction(world.make_session) as session:
        period = session.scalars(select(Budget).where(Budget.parent_id == window)).one()
        period.policy = wider


def test_a_window_that_waits_for_new_data_names_no_day_on_which_it_opens(
    world: World, clock: Clock
) -> None:
    root = world.open_root()
    open_window(world, root, "0.01", refresh="new_data")
    world.reserve(root, PURE, 1)
    with pytest.raises(BudgetExceeded) as refused:
        world.reserve(root, PURE, 1)
    assert "opens_again_at" not in refused.value.scope


def test_the_rate_of_a_window_is_that_of_the_budget_that_it_limits(
    world: World, clock: Clock
) -> None:
    root = world.open_root()
    window = open_window(world, root, "0.1")
    with pytest.raises(InvalidParameter):
        world.change(window, "limit_rate", rate_limits={"jobs_per_hour": 1})
