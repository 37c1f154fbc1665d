"""An officer decides in another's place only while it was handed over, never for who asked."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app import verifier
from app.db.models import Approval, AuditEvent, Delegation, Principal
from app.db.session import database_now, snapshot, transaction
from app.domain.errors import (
    ApprovalNotPending,
    InvalidParameter,
    NotAllowed,
    NotDelegated,
    NotFound,
    OwnChange,
)
from app.services.access import Caller
from app.services.approvals import Approvals
from app.services.delegations import DelegationRequest, Delegations
from app.services.leavers import Leavers
from app.services.mail_addresses import MailAddresses
from app.services.notifications import Notifications
from tests.forging import Forger, an_id
from tests.services.test_sender import deliveries
from tests.world import World, keyed


def third(world: World) -> Caller:
    """One more officer, whose right goes from hand to hand here."""
    if "third" not in world.people:
        id_, roles, made_at = uuid4(), ["compliance_officer"], now(world)
        with transaction(world.make_session) as session:
            row = Principal(id=id_, name="third", roles=roles, active=True, created_at=made_at)
            session.add(row)
        world.people["third"] = Caller(id_, "third", frozenset(roles), "key", False, frozenset())
    return world.people["third"]


def now(world: World) -> Any:
    with snapshot(world.make_session) as session:
        return database_now(session)


def hand_over(
    world: World,
    giver: str = "third",
    taker: str = "second_officer",
    *,
    begins: timedelta | None = None,
    lasts: timedelta = timedelta(days=7),
    key: str = "k",
) -> dict[str, Any]:
    third(world)
    caller = world.people[giver]
    starts_at = None if begins is None else now(world) + begins
    ends_at = (starts_at or now(world)) + lasts
    asked = DelegationRequest(world.people[taker].principal_id, starts_at, ends_at, "on leave")
    body = keyed(caller, "delegations", [taker, str(begins), str(lasts)], key)
    return Delegations(world.make_session).make(caller, asked, body)


def decide_for(
    world: World, approval_id: UUID, giver: str, who: str = "second_officer", word: str = "approve"
) -> dict[str, Any]:
    with snapshot(world.make_session) as session:
        sha256 = session.get_one(Approval, approval_id).change_sha256
    return Approvals(world.make_session).decide(
        world.people[who],
        approval_id,
        decision=word,
        change_sha256=sha256,
        reason="read",
        if_version=1,
        on_behalf_of=world.people[giver].principal_id,
    )


def proposed(world: World) -> UUID:
    """A root that the first officer asked for."""
    return UUID(world.propose_root()["approval_id"])


def age(world: World, by: timedelta) -> None:
    """Let every delegation be older, which no service does."""
    with transaction(world.make_session) as session:
        name = "delegations_only_end"
        if session.get_bind().dialect.name == "postgresql":
            session.execute(text(f"ALTER TABLE delegations DISABLE TRIGGER {name}"))
        else:
            session.execute(text(f"DROP TRIGGER {name}"))
        for row in session.scalars(select(Delegation)):
            row.starts_at, row.ends_at = row.starts_at - by, row.ends_at - by


def test_such_a_decision_names_both_in_the_approval_the_chain_and_the_trail(world: World) -> None:
    made = hand_over(world)
    assert made["is_in_force"]
    approval = proposed(world)
    answer = decide_for(world, approval, "third")
    assert answer["state"] == "used"
    assert decide_for(world, approval, "third") == answer
    giver, taker = (str(world.people[each].principal_id) for each in ("third", "second_officer"))
    shown = Approvals(world.make_session).get(world.people["auditor"], approval)
    assert (shown["decided_by"], shown["on_behalf_of"]) == (taker, giver)
    said = world.bodies(UUID(shown["budget_id"]))[0]
    assert said["actor"] == said["facts"]["decided_by"] == taker
    assert said["facts"]["on_behalf_of"] == giver
    with snapshot(world.make_session) as session:
        event = session.scalars(
            select(AuditEvent).where(AuditEvent.action == "approval.used")
        ).one()
        assert event.facts["on_behalf_of"] == giver
    assert world.verified()
    # it was made for somebody: as one's own it is another decision, and the first one stands
    with pytest.raises(ApprovalNotPending):
        world.decide(approval, "approve")


def test_a_rejection_names_both_too_and_one_s_own_decision_nobody_else(world: World) -> None:
    hand_over(world)
    approval = proposed(world)
    decide_for(world, approval, "third", word="reject")
    assert world.approval(approval).on_behalf_of == world.people["third"].principal_id
    root = world.open_root()
    with snapshot(world.make_session) as session:
        other = session.scalars(select(Approval).where(Approval.budget_id == root)).one()
        assert other.on_behalf_of is None
    assert "on_behalf_of" not in world.bodies(root)[0]["facts"]


def test_nobody_decides_for_who_asked_nor_what_he_asked_himself(world: World) -> None:
    hand_over(world, "officer")
    hand_over(world, "third", "officer", key="to who asks")
    approval = proposed(world)
    with pytest.raises(OwnChange):
        decide_for(world, approval, "officer")
    with pytest.raises(OwnChange):
        decide_for(world, approval, "third", who="officer")
    assert world.approval(approval).state == "pending"


def test_a_right_is_neither_taken_nor_handed_on_nor_turned_round(world: World) -> None:
    hand_over(world, "third", "officer")
    hand_over(world, "officer", "second_officer", key="on")
    with transaction(world.make_session) as session:
        session.execute(
            update(Principal)
            .where(Principal.id == world.people["auditor"].principal_id)
            .values(roles=["compliance_officer"])
        )
    world.people["fourth"] = Caller(
        world.people["auditor"].principal_id,
        "fourth",
        frozenset({"compliance_officer"}),
        "key",
        False,
        frozenset(),
    )
    asked = world.change(world.open_root(), "raise", who="fourth", epsilon=Decimal(2))
    approval = UUID(asked["approval_id"])
    for giver, who in (("third", "second_officer"), ("second_officer", "officer")):
        with pytest.raises(NotDelegated):
            decide_for(world, approval, giver, who=who)
    with pytest.raises(InvalidParameter):
        decide_for(world, approval, "second_officer", who="second_officer")
    for who in ("engineer", "auditor", "admin"):
        with pytest.raises(NotAllowed):
            decide_for(world, approval, "third", who=who)
    assert decide_for(world, approval, "officer")["state"] == "used"


@pytest.mark.parametrize("moved", [timedelta(days=-1), timedelta(days=8)])
def test_before_its_first_and_after_its_last_moment_it_gives_nothing(
    world: World, moved: timedelta
) -> None:
    hand_over(world)
    age(world, moved)
    approval = proposed(world)
    with pytest.raises(NotDelegated):
        decide_for(world, approval, "third")
    assert not Delegations(world.make_session).list(world.people["auditor"], None, 10)[0][
        "is_in_force"
    ]


@pytest.mark.parametrize("who", ["third", "second_officer"])
def test_either_of_the_two_ends_it_at_once_and_nobody_else(world: World, who: str) -> None:
    made = hand_over(world)
    use, id_ = Delegations(world.make_session), UUID(made["id"])
    for other in ("officer", "engineer", "auditor", "admin"):
        with pytest.raises(NotAllowed):
            use.end(world.people[other], id_)
    with pytest.raises(NotFound):
        use.end(world.people["officer"], uuid4())
    ended = use.end(world.people[who], id_)
    assert ended["ended_by"] == str(world.people[who].principal_id)
    assert not ended["is_in_force"]
    assert use.end(world.people[who], id_) == ended
    with pytest.raises(NotDelegated):
        decide_for(world, proposed(world), "third")


@pytest.mark.parametrize("who", ["third", "second_officer"])
def test_a_leaver_s_delegations_end_for_good(world: World, who: str) -> None:
    made = hand_over(world)
    person, admin = world.people[who].principal_id, world.people["admin"]
    Leavers(world.make_session).deactivate(admin, person)
    (left,) = Delegations(world.make_session).list(world.people["auditor"], None, 10)
    assert (left["id"], left["ended_by"]) == (made["id"], str(admin.principal_id))
    Leavers(world.make_session).activate(admin, person)
    with pytest.raises(NotDelegated):
        decide_for(world, proposed(world), "third")


def test_who_is_no_officer_any_more_has_nothing_to_hand_over(world: World) -> None:
    hand_over(world)
    with transaction(world.make_session) as session:
        row = session.get_one(Principal, world.people["third"].principal_id)
        row.roles = ["auditor"]
    with pytest.raises(NotDelegated):
        decide_for(world, proposed(world), "third")


def test_it_goes_from_officer_to_officer_for_a_bounded_time(world: World) -> None:
    for taker in ("engineer", "auditor", "admin"):
        with pytest.raises(InvalidParameter, match="officer"):
            hand_over(world, taker=taker, key=taker)
    for giver in ("engineer", "auditor", "admin"):
        with pytest.raises(NotAllowed):
            hand_over(world, giver, key=giver)
    day = timedelta(days=1)
    wrong: list[dict[str, Any]] = [
        {"taker": "third"},
        {"lasts": 91 * day},
        {"lasts": timedelta(0)},
        {"lasts": -day},
        {"begins": -day},
        {"begins": 366 * day},
    ]
    for number, each in enumerate(wrong):
        with pytest.raises(InvalidParameter):
            hand_over(world, key=str(number), **each)
    assert Delegations(world.make_session).list(world.people["auditor"], None, 10) == []
    later = hand_over(world, begins=day, lasts=90 * day, key="later")
    assert not later["is_in_force"]


def test_there_are_only_so_many_open_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.delegations.OPEN_MOST", 1)
    made = hand_over(world)
    assert hand_over(world) == made
    with pytest.raises(InvalidParameter):
        hand_over(world, key="another")
    Delegations(world.make_session).end(world.people["third"], UUID(made["id"]))
    hand_over(world, key="another")


def test_both_are_told_when_it_begins_and_when_it_ends(world: World) -> None:
    third(world)
    addresses = MailAddresses(world.make_session)
    for who in ("officer", "second_officer", "third", "auditor"):
        person = world.people[who].principal_id
        addresses.write(world.people["admin"], person, f"{who}@house.example")
    before = len(deliveries(world))
    made = hand_over(world)
    Delegations(world.make_session).end(world.people["third"], UUID(made["id"]))
    told = [str(row.principal_id) for row in deliveries(world)[before:]]
    two = [str(world.people[each].principal_id) for each in ("third", "second_officer")]
    assert sorted(told) == sorted([*two, *two])
    lines = Notifications(world.make_session).list(world.people["second_officer"], None, 2)
    assert [(line["kind"], line["facts"]["state"]) for line in lines] == [
        ("delegation", "ended"),
        ("delegation", "made"),
    ]
    with snapshot(world.make_session) as session:
        of_it = select(AuditEvent.action).where(AuditEvent.subject == made["id"])
        actions = session.scalars(of_it.order_by(AuditEvent.id)).all()
    assert actions == ["delegation.made", "delegation.ended"]


Write = Callable[[Session, World, Approval], None]


def by_hand(session: Session, world: World, approval: Approval, giver: str, taker: str) -> None:
    """The row of an approval as a decision in somebody's place leaves it."""
    approval.decided_at = database_now(session)
    approval.decided_by = world.people[taker].principal_id
    approval.on_behalf_of = world.people[giver].principal_id
    approval.state = "rejected"
    approval.version += 1
    session.flush()


def for_who_asked(session: Session, world: World, approval: Approval) -> None:
    by_hand(session, world, approval, "officer", "second_officer")


def for_oneself(session: Session, world: World, approval: Approval) -> None:
    by_hand(session, world, approval, "second_officer", "second_officer")


def by_who_asked(session: Session, world: World, approval: Approval) -> None:
    by_hand(session, world, approval, "third", "officer")


def the_wrong_way_round(session: Session, world: World, approval: Approval) -> None:
    by_hand(session, world, approval, "second_officer", "third")


def for_who_is_no_officer_any_more(session: Session, world: World, approval: Approval) -> None:
    session.get_one(Principal, world.people["third"].principal_id).roles = ["auditor"]
    session.flush()
    by_hand(session, world, approval, "third", "second_officer")


def after_it_was_ended(session: Session, world: World, approval: Approval) -> None:
    for row in session.scalars(select(Delegation)):
        row.ended_at, row.ended_by = database_now(session), row.delegator_id
    session.flush()
    by_hand(session, world, approval, "third", "second_officer")


def at_another_time(session: Session, world: World, approval: Approval) -> None:
    approval.decided_at = database_now(session) + timedelta(days=8)
    approval.decided_by = world.people["second_officer"].principal_id
    approval.on_behalf_of = world.people["third"].principal_id
    approval.state = "rejected"
    session.flush()


def without_a_decision(session: Session, world: World, approval: Approval) -> None:
    approval.on_behalf_of = world.people["third"].principal_id
    session.flush()


def to_an_engineer(session: Session, world: World, approval: Approval) -> None:
    session.add(a_row(session, world, delegate_id=world.engineer.principal_id))
    session.flush()


def to_oneself(session: Session, world: World, approval: Approval) -> None:
    session.add(a_row(session, world, delegate_id=world.people["third"].principal_id))
    session.flush()


def for_no_time(session: Session, world: World, approval: Approval) -> None:
    session.add(a_row(session, world, ends_at=database_now(session) - timedelta(days=1)))
    session.flush()


def made_longer(session: Session, world: World, approval: Approval) -> None:
    for row in session.scalars(select(Delegation)):
        row.ends_at += timedelta(days=1)
    session.flush()


def taken_away(session: Session, world: World, approval: Approval) -> None:
    session.execute(text("DELETE FROM delegations"))


def begun_again(session: Session, world: World, approval: Approval) -> None:
    row = session.scalars(select(Delegation)).first()
    assert row is not None
    row.ended_at, row.ended_by = database_now(session), row.delegator_id
    session.flush()
    row.ended_at, row.ended_by = None, None
    session.flush()


def a_row(session: Session, world: World, **changes: Any) -> Delegation:
    at = database_now(session)
    values = {
        "id": uuid4(),
        "delegator_id": world.people["third"].principal_id,
        "delegate_id": world.people["second_officer"].principal_id,
        "starts_at": at,
        "ends_at": at + timedelta(days=1),
        "reason": "x",
        "made_at": at,
    }
    return Delegation(**{**values, **changes})


WRITES: list[Write] = [
    for_who_asked,
    for_oneself,
    by_who_asked,
    the_wrong_way_round,
    for_who_is_no_officer_any_more,
    after_it_was_ended,
    at_another_time,
    without_a_decision,
    to_an_engineer,
    to_oneself,
    for_no_time,
    made_longer,
    taken_away,
    begun_again,
]


def test_the_database_refuses_the_same_to_whoever_writes_rows_by_hand(world: World) -> None:
    hand_over(world)
    # so that these two lack nothing but a third person
    hand_over(world, "officer", key="of who asks")
    hand_over(world, "third", "officer", key="to who asks")
    approval = proposed(world)
    for write in WRITES:
        with pytest.raises(DBAPIError), transaction(world.make_session) as session:
            write(session, world, session.get_one(Approval, approval))
            pytest.fail(f"{write.__name__} was let through")
    with transaction(world.make_session) as session:
        by_hand(session, world, session.get_one(Approval, approval), "third", "second_officer")


@pytest.mark.parametrize(
    ("third_person", "code"),
    [
        (an_id("absent"), None),
        (an_id("asker"), "people"),
        (an_id("officer"), "people"),
        (7, "form"),
    ],
)
def test_a_verifier_finds_one_of_the_two_in_the_third_place(
    third_person: Any, code: str | None
) -> None:
    forger = Forger()
    forger.open("root", on_behalf_of=third_person)
    fault: verifier.Fault | None = forger.fault()
    assert (None if fault is None else fault.code) == code
