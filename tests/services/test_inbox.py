"""The inbox tells once and in time; rates and failures brake; populations add up."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from app.db.models import Budget, Job, Notification, Reservation
from app.db.session import database_now, snapshot, transaction
from app.domain.accounting.prices import price
from app.domain.errors import NotAllowed, NotFound, RateLimited, ScopeClosed
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Loss
from app.services import audit, failures, notifications, policies, rates
from app.services.notifications import Notifications
from app.services.populations import Populations
from tests.services.test_registrations import register
from tests.world import World

PURE = {"type": "pure", "epsilon": "0.1"}
UNIT = price(parse_mechanism(PURE), "add_remove").charge(1)


def told(world: World, kind: str) -> list[str]:
    with snapshot(world.make_session) as session:
        rows = session.scalars(
            select(Notification.occasion).where(Notification.kind == kind).order_by(Notification.id)
        )
        return list(rows)


def notice(world: World, budget_id: UUID, before: Loss | None = None) -> None:
    with transaction(world.make_session) as session:
        budget = session.get_one(Budget, budget_id, with_for_update=True)
        notifications.notice_thresholds(session, budget, now=database_now(session), before=before)


@pytest.mark.parametrize(
    ("units", "passed"), [(4, []), (6, ["50"]), (9, ["50", "80"]), (10, ["50", "80", "100"])]
)
def test_a_threshold_is_told_when_the_balance_has_passed_it_and_only_once(
    world: World, units: int, passed: list[str]
) -> None:
    root = world.open_root()
    world.reserve(root, PURE, units)
    for _ in range(2):
        notice(world, root, before=Loss.zero())
    assert told(world, "threshold") == [f"{percent}% of 1" for percent in passed]


def test_a_charge_that_passes_no_threshold_asks_the_database_nothing(world: World) -> None:
    root = world.open_root()
    world.reserve(root, PURE, 7)
    asked: list[str] = []

    with transaction(world.make_session) as session:
        now = database_now(session)
        budget = session.get_one(Budget, root)
        connection = session.connection()
        event.listen(connection, "before_cursor_execute", lambda *args: asked.append(args[2]))
        before = Loss.zero() + UNIT + UNIT + UNIT + UNIT + UNIT + UNIT
        notifications.notice_thresholds(session, budget, now=now, before=before)
        assert asked == []
        notifications.notice_thresholds(session, budget, now=now, before=UNIT)
        assert len(asked) == 1


def test_a_threshold_that_a_void_took_back_is_no_longer_passed(world: World) -> None:
    root = world.open_root("rdp-mix/1", "2", "1e-6")
    policy = policies.policy_of(world.budget(root))
    half = policy.at_level(Decimal(1))
    much = price(parse_mechanism({"type": "pure", "epsilon": "1.2"}), "add_remove").charge(1)
    place = (root, half.limit)
    assert notifications._is_passed(place, half, much)
    for loss in (Loss.zero(), UNIT, much, much + UNIT, UNIT):
        assert notifications._is_passed(place, half, loss) == (not half.admits(loss))


def test_a_raised_limit_has_thresholds_of_its_own(world: World) -> None:
    root = world.open_root()
    world.reserve(root, PURE, 6)
    notice(world, root)
    asked = world.change(root, "raise", epsilon=Decimal("1.1"))
    world.decide(UUID(asked["approval_id"]), "approve")
    assert told(world, "threshold") == ["50% of 1", "50% of 1.1"]


@pytest.mark.parametrize(
    ("accountant", "epsilon", "delta"), [("rdp-mix/1", "2", "1e-6"), ("basic/1", "2", "1e-6")]
)
def test_thresholds_follow_the_accountant_s_own_filter(
    world: World, accountant: str, epsilon: str, delta: str
) -> None:
    root = world.open_root(accountant, epsilon, delta)
    world.reserve(root, {"type": "pure", "epsilon": "1.7"}, 1)
    notice(world, root)
    assert told(world, "threshold") == [f"{percent}% of {epsilon}" for percent in ("50", "80")]


def test_officers_read_the_inbox_auditors_too_and_only_officers_mark_it(world: World) -> None:
    proposed = world.propose_root()
    inbox = Notifications(world.make_session)
    officer, second = world.people["officer"], world.people["second_officer"]
    (line,) = inbox.list(officer, None, 10)
    assert line["subject"] == proposed["approval_id"]
    assert (line["kind"], line["facts"]["action"]) == ("approval", "open")
    assert inbox.list(world.people["auditor"], None, 10) == [line]
    for who in ("engineer", "admin", "outsider"):
        with pytest.raises(NotAllowed):
            inbox.list(world.people[who], None, 10)
    with pytest.raises(NotAllowed):
        inbox.read(world.people["auditor"], line["id"])
    first = inbox.read(officer, line["id"])
    assert first["read_by"] == str(officer.principal_id)
    assert inbox.read(second, line["id"]) == first
    assert inbox.list(officer, None, 10, unread=True) == []
    with pytest.raises(NotFound):
        inbox.read(officer, line["id"] + 1)


def test_a_burst_of_refusals_of_one_person_is_told_once_an_hour(world: World) -> None:
    def refuse(session: Session, count: int, at: datetime) -> None:
        for _ in range(count):
            audit.record(
                session,
                actor_id=world.engineer.principal_id,
                action="refused.budget-exceeded",
                subject="POST /v1/jobs",
                facts={},
                at=at,
            )
        notifications.notice_refusals(session, world.engineer.principal_id, now=at)
        session.flush()

    with transaction(world.make_session) as session:
        at = database_now(session).replace(minute=30)
        refuse(session, 19, at)
        assert session.scalars(select(Notification)).all() == []
        refuse(session, 1, at)
        refuse(session, 1, at + timedelta(minutes=1))
        refuse(session, 1, at + timedelta(minutes=20))
    assert len(told(world, "refusals")) == 1


def limited(world: World, **limits: int) -> UUID:
    root = world.open_root()
    world.change(root, "limit_rate", rate_limits=limits)
    return root


def require(world: World, root: UUID, units: int, **later: float) -> None:
    with transaction(world.make_session) as session:
        locked = [session.get_one(Budget, root)]
        rates.require_rate(session, locked, units, now=database_now(session) + timedelta(**later))


def test_jobs_an_hour_are_counted_from_the_entries_and_free_again_after_it(world: World) -> None:
    root = limited(world, jobs_per_hour=2)
    world.reserve(root, PURE, 1)
    require(world, root, 1)
    world.reserve(root, PURE, 1)
    with pytest.raises(RateLimited) as refused:
        require(world, root, 1)
    assert (refused.value.limit, refused.value.most) == ("jobs_per_hour", 2)
    assert 3500 < refused.value.retry_after_s <= 3600
    require(world, root, 1, minutes=61)


def test_units_a_day_are_counted_with_what_is_asked_and_free_again_after_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "PAGE_ROWS", 2)
    root = limited(world, units_per_day=6)
    for _ in range(4):
        world.reserve(root, PURE, 1)
    require(world, root, 2)
    with pytest.raises(RateLimited) as refused:
        require(world, root, 3)
    assert refused.value.limit == "units_per_day"
    require(world, root, 6, hours=25)
    with pytest.raises(RateLimited):
        require(world, root, 7, hours=25)


@pytest.mark.parametrize("name", ["jobs_per_hour", "units_per_day"])
def test_a_rate_of_zero_lets_nothing_through(world: World, name: str) -> None:
    root = limited(world, **{name: 0})
    with pytest.raises(RateLimited):
        require(world, root, 1)


def fail_jobs(world: World, root: UUID, count: int, *, hours_ago: float = 0) -> None:
    """Jobs that failed after their touch, as settlement leaves them."""
    for _ in range(count):
        made = world.reserve(root, {"type": "pure", "epsilon": "0.001"}, 1)
        with transaction(world.make_session) as session:
            now = database_now(session)
            reservation = session.get_one(Reservation, UUID(made["id"]))
            session.add(
                Job(
                    id=uuid4(),
                    kind="query",
                    state="failed",
                    principal_id=world.engineer.principal_id,
                    reservation_id=reservation.id,
                    purpose="",
                    spec={},
                    inputs=reservation.inputs,
                    salt="",
                    fence=1,
                    attempts=1,
                    cancel_requested=False,
                    failure_code=failures.FAILED_AFTER_TOUCH,
                    created_at=now,
                    finished_at=now - timedelta(hours=hours_ago),
                )
            )


def freeze(world: World, most: int) -> bool:
    with transaction(world.make_session) as session:
        return failures.freeze_after_failures(
            session, world.dataset_id, now=database_now(session), most=most
        )


def test_one_failure_too_many_within_a_day_freezes_the_root_with_an_entry(world: World) -> None:
    root = world.open_root()
    fail_jobs(world, root, 3, hours_ago=25)
    fail_jobs(world, root, 2)
    assert not freeze(world, 2)
    fail_jobs(world, root, 1)
    assert freeze(world, 2)
    assert not freeze(world, 2)
    assert world.budget(root).state == "frozen"
    assert world.bodies(root)[-1]["facts"]["reason"] == failures.TOO_MANY
    with pytest.raises(ScopeClosed):
        world.reserve(root, PURE, 1)
    assert len(told(world, "frozen")) == 1
    assert world.verified()


def test_failures_that_two_people_have_looked_at_do_not_freeze_again(world: World) -> None:
    root = world.open_root()
    fail_jobs(world, root, 3)
    assert freeze(world, 2)
    asked = world.change(root, "thaw")
    world.decide(UUID(asked["approval_id"]), "approve")
    assert not freeze(world, 2)
    fail_jobs(world, root, 3)
    assert freeze(world, 2)


def population(world: World) -> dict[str, Any]:
    return Populations(world.make_session).get(world.people["auditor"], "some people")


def test_a_population_sums_its_roots_and_counts_a_dataset_without_one_as_none(
    world: World,
) -> None:
    first, root = world.dataset_id, world.open_root("basic/1", "1", "1e-6")
    world.reserve(root, PURE, 3)
    made = register(world, "b", "b.csv", columns=({"name": "b", "type": "bool"},))
    assert population(world)["datasets"][1]["limit"] is None
    world.dataset_id = UUID(made["id"])
    world.open_root("basic/1", "2", "1e-7")
    found = population(world)
    assert [each["dataset_id"] for each in found["datasets"]] == [str(first), made["id"]]
    (both,) = found["sums"]
    assert (both["unit"], both["relation"], both["datasets"]) == ("record", "add_remove", 2)
    assert Decimal(both["limit"]["epsilon"]) == 3
    assert Decimal(both["limit"]["delta"]) == Decimal("1.1e-6")
    assert Decimal(both["consumed"]["epsilon"]) == Decimal("0.3")


def test_units_and_relations_are_never_summed_across(world: World) -> None:
    world.open_root()
    made = register(
        world,
        "b",
        "b.csv",
        columns=({"name": "b", "type": "bool"},),
        relation="replace_one",
    )
    world.dataset_id = UUID(made["id"])
    world.open_root()
    relations = [each["relation"] for each in population(world)["sums"]]
    assert relations == ["add_remove", "replace_one"]


def test_a_population_is_shown_to_overseers_alone_and_nobody_learns_of_one_that_is_not(
    world: World,
) -> None:
    for who in ("engineer", "admin", "outsider"):
        with pytest.raises(NotAllowed):
            Populations(world.make_session).get(world.people[who], "some people")
    with pytest.raises(NotFound):
        Populations(world.make_session).get(world.people["auditor"], "nobody")
