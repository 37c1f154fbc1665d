"""One officer stops everything, loudly; only two people let it go on."""

from uuid import UUID

import pytest
from sqlalchemy import select

from app.db.models import AuditEvent
from app.db.session import snapshot, transaction
from app.domain.errors import NotAllowed, OwnChange, ScopeClosed
from app.services.break_glass import BreakGlass, open_exceptions
from app.services.mail_addresses import MailAddresses
from app.services.notifications import Notifications
from tests.services.test_registrations import register
from tests.services.test_sender import deliveries
from tests.world import World, keyed

PURE = {"type": "pure", "epsilon": "0.1"}
REASON = "the source holds other people"


def stop(world: World, who: str = "officer", key: str = "stop") -> dict[str, object]:
    caller = world.people[who]
    return BreakGlass(world.make_session).freeze_all(
        caller, REASON, keyed(caller, "break-glass", REASON, key)
    )


def two_roots(world: World) -> tuple[UUID, UUID]:
    first = world.open_root()
    made = register(world, "b", "b.csv", columns=({"name": "b", "type": "bool"},))
    world.dataset_id = UUID(made["id"])
    return first, world.open_root()


def test_every_open_root_is_frozen_at_once_with_the_reason_in_its_chain(world: World) -> None:
    granted = world.dataset_id
    roots = two_roots(world)
    world.dataset_id = granted
    below = world.open_allocation(roots[0], "0.5")
    stopped = stop(world)
    assert sorted(stopped["frozen_budget_ids"]) == sorted(map(str, roots))  # type: ignore[call-overload]
    for root in roots:
        assert world.budget(root).state == "frozen"
        said = world.bodies(root)[-1]
        assert (said["kind"], said["facts"]["reason"]) == ("frozen", REASON)
        assert said["actor"] == str(world.people["officer"].principal_id)
    assert world.budget(below).state == "open"
    for budget in (roots[0], below):
        with pytest.raises(ScopeClosed):
            world.reserve(budget, PURE, 1)
    assert world.verified()
    assert stop(world) == stopped
    assert stop(world, key="again")["frozen_budget_ids"] == []


def test_officers_and_auditors_are_told_and_the_trail_says_who(world: World) -> None:
    root = world.open_root()
    addresses = MailAddresses(world.make_session)
    for who in ("officer", "second_officer", "auditor", "engineer", "admin"):
        caller = world.people[who]
        addresses.write(world.people["admin"], caller.principal_id, f"{who}@house.example")
    before = len(deliveries(world))
    stopped = stop(world)
    told = {row.principal_id for row in deliveries(world)[before:]}
    expected = ("officer", "second_officer", "auditor")
    assert told == {world.people[who].principal_id for who in expected}
    for who in ("second_officer", "auditor"):
        line = Notifications(world.make_session).list(world.people[who], None, 1)[0]
        assert (line["kind"], line["facts"]["reason"]) == ("break-glass", REASON)
    with snapshot(world.make_session) as session:
        event = session.scalars(
            select(AuditEvent).where(AuditEvent.action == "break-glass.frozen")
        ).one()
        assert event.actor_id == world.people["officer"].principal_id
        assert event.subject == stopped["id"]
        assert event.facts == {"reason": REASON, "budget_ids": [str(root)]}


def test_an_exception_stays_open_until_two_people_have_thawed_the_root(world: World) -> None:
    first, second = two_roots(world)
    use, auditor = BreakGlass(world.make_session), world.people["auditor"]
    assert use.exceptions(auditor) == []
    stopped = stop(world)
    open_now = use.exceptions(auditor)
    assert sorted(each["budget_id"] for each in open_now) == sorted([str(first), str(second)])
    assert {each["alarm_id"] for each in open_now} == {stopped["id"]}
    with snapshot(world.make_session) as session:
        one = open_exceptions(session, [world.dataset_id])
    assert [each["budget_id"] for each in one] == [str(second)]
    asked = world.change(second, "thaw")
    assert asked["state"] == "pending"
    with pytest.raises(OwnChange):
        world.decide(UUID(asked["approval_id"]), "approve", "officer")
    assert len(use.exceptions(auditor)) == 2
    world.decide(UUID(asked["approval_id"]), "approve")
    assert [each["budget_id"] for each in use.exceptions(auditor)] == [str(first)]
    # frozen again by hand, it is no emergency
    world.change(second, "freeze")
    assert [each["budget_id"] for each in use.exceptions(auditor)] == [str(first)]


def test_the_database_thaws_no_root_for_one_person_in_an_emergency_either(world: World) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    root = world.open_root()
    stop(world)
    with pytest.raises(DBAPIError, match="two people"), transaction(world.make_session) as session:
        session.execute(text("UPDATE budgets SET state = 'open', version = version + 1"))
    assert world.budget(root).state == "frozen"


def test_nobody_else_breaks_the_glass(world: World) -> None:
    root = world.open_root()
    for who in ("engineer", "auditor", "admin"):
        with pytest.raises(NotAllowed):
            stop(world, who)
    for who in ("engineer", "admin"):
        with pytest.raises(NotAllowed):
            BreakGlass(world.make_session).exceptions(world.people[who])
    assert world.budget(root).state == "open"
