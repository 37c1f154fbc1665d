"""What the service refuses, the database refuses too, to whoever writes rows by hand (L10, R19)."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4, uuid5

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.orm import Session

from app.db.models import Approval, Budget, Entry, Principal
from app.db.session import database_now, transaction
from app.domain.ledger import GENESIS_HASH
from app.domain.privacy import Loss
from tests.world import World

Write = Callable[[Session, World, UUID, UUID], None]


def approve(session: Session, world: World, approval_id: UUID, who: str = "second_officer") -> None:
    """The row of an approval as an officer's decision leaves it, written by hand."""
    now = database_now(session)
    approval = session.get_one(Approval, approval_id)
    approval.state = "used"
    approval.version += 1
    approval.decided_by = world.people[who].principal_id
    approval.decided_at = now
    session.flush()


def raised(session: Session, budget_id: UUID, epsilon: str, by: int = 1) -> None:
    budget = session.get_one(Budget, budget_id)
    budget.policy = {**budget.policy, "limit": {**budget.policy["limit"], "epsilon": epsilon}}
    budget.version += by
    session.flush()


def raise_alone(session: Session, world: World, root: UUID, approval: UUID) -> None:
    raised(session, root, "2")


def raise_delta_alone(session: Session, world: World, root: UUID, approval: UUID) -> None:
    budget = session.get_one(Budget, root)
    budget.policy = {**budget.policy, "limit": {"epsilon": "1", "delta": "1e-5"}}
    budget.version += 1
    session.flush()


def approve_own(session: Session, world: World, root: UUID, approval: UUID) -> None:
    approve(session, world, approval, who="officer")


def approve_as_engineer(session: Session, world: World, root: UUID, approval: UUID) -> None:
    approve(session, world, approval, who="engineer")


def approve_as_one_who_left(session: Session, world: World, root: UUID, approval: UUID) -> None:
    session.get_one(Principal, world.people["second_officer"].principal_id).active = False
    session.flush()
    approve(session, world, approval)


def approve_after_the_version_moved(
    session: Session, world: World, root: UUID, approval: UUID
) -> None:
    session.get_one(Budget, root).version += 1
    session.flush()
    approve(session, world, approval)


def approve_too_late(session: Session, world: World, root: UUID, approval: UUID) -> None:
    past = database_now(session) - timedelta(seconds=1)
    session.get_one(Approval, approval).expires_at = past
    session.flush()
    approve(session, world, approval)


def decide_again(session: Session, world: World, root: UUID, approval: UUID) -> None:
    approve(session, world, approval)
    row = session.get_one(Approval, approval)
    row.state = "rejected"
    session.flush()


def use_twice(session: Session, world: World, root: UUID, approval: UUID) -> None:
    approve(session, world, approval)
    raised(session, root, "2")
    raised(session, root, "3")


def use_twice_without_a_new_version(
    session: Session, world: World, root: UUID, approval: UUID
) -> None:
    approve(session, world, approval)
    raised(session, root, "2", by=0)


def use_twice_by_going_back(session: Session, world: World, root: UUID, approval: UUID) -> None:
    approve(session, world, approval)
    raised(session, root, "2")
    raised(session, root, "3", by=-1)


def change_what_was_asked(session: Session, world: World, root: UUID, approval: UUID) -> None:
    row = session.get_one(Approval, approval)
    row.change = {**row.change, "to": {"epsilon": "9", "delta": "0"}}
    session.flush()


def change_who_asked(session: Session, world: World, root: UUID, approval: UUID) -> None:
    row = session.get_one(Approval, approval)
    row.requested_by = world.people["second_officer"].principal_id
    session.flush()


def wait_longer(session: Session, world: World, root: UUID, approval: UUID) -> None:
    row = session.get_one(Approval, approval)
    row.expires_at = row.expires_at + timedelta(days=1)
    session.flush()


def forget_an_approval(session: Session, world: World, root: UUID, approval: UUID) -> None:
    session.delete(session.get_one(Approval, approval))
    session.flush()


def insert_an_approved_one(session: Session, world: World, root: UUID, approval: UUID) -> None:
    row = session.get_one(Approval, approval)
    session.add(
        Approval(
            **{
                column.key: getattr(row, column.key)
                for column in Approval.__table__.columns
                if column.key not in ("id", "state", "decided_by", "decided_at")
            },
            id=uuid4(),
            state="used",
            decided_by=world.people["second_officer"].principal_id,
            decided_at=database_now(session),
        )
    )
    session.flush()


def thaw_alone(session: Session, world: World, root: UUID, approval: UUID) -> None:
    budget = session.get_one(Budget, root)
    budget.state, budget.version = "frozen", budget.version + 1
    session.flush()
    budget.state, budget.version = "open", budget.version + 1
    session.flush()


def reopen(session: Session, world: World, root: UUID, approval: UUID) -> None:
    budget = session.get_one(Budget, root)
    budget.state = "closed"
    session.flush()
    budget.state = "frozen"
    session.flush()


def insert_an_open_root(session: Session, world: World, root: UUID, approval: UUID) -> None:
    officer = world.people["officer"].principal_id
    old = session.get_one(Budget, root)
    session.add(
        Budget(
            id=uuid4(),
            dataset_id=old.dataset_id,
            parent_id=root,
            kind="window",
            window={"period": "month"},
            name="by hand",
            state="open",
            version=1,
            policy=old.policy,
            milestones=[],
            reason="",
            rate_limits={},
            committed=Loss.zero(),
            reserved=Loss.zero(),
            last_seq=0,
            head_hash=GENESIS_HASH,
            created_by=officer,
            created_at=old.created_at,
            opened_at=old.created_at,
        )
    )
    session.flush()


def forget_a_budget(session: Session, world: World, root: UUID, approval: UUID) -> None:
    session.delete(session.get_one(Budget, root))
    session.flush()


WRITES: list[tuple[Write, str]] = [
    (raise_alone, "raising a root or window takes two"),
    (raise_delta_alone, "raising a root or window takes two"),
    (approve_own, "two_people"),
    (approve_as_engineer, "an officer approves"),
    (approve_as_one_who_left, "an officer approves"),
    (approve_after_the_version_moved, "at the version that it was asked for"),
    (approve_too_late, "before it expires"),
    (decide_again, "decided once"),
    (use_twice, "raising a root or window takes two"),
    (use_twice_without_a_new_version, "raising a root or window takes two"),
    (use_twice_by_going_back, "a version never goes back|raising a root"),
    (change_what_was_asked, "bound to its change"),
    (change_who_asked, "bound to its change"),
    (wait_longer, "bound to its change"),
    (forget_an_approval, "an approval stays"),
    (insert_an_approved_one, "begins undecided"),
    (thaw_alone, "thawing a root or window takes two"),
    (reopen, "a closed budget stays closed"),
    (insert_an_open_root, "begins proposed"),
    (forget_a_budget, "a budget stays"),
]


@pytest.mark.parametrize(("write", "why"), WRITES)
def test_the_database_refuses_what_goes_around_four_eyes(
    world: World, write: Write, why: str
) -> None:
    root = world.open_root()
    approval_id = UUID(world.change(root, "raise", epsilon=Decimal(2))["approval_id"])
    with (
        pytest.raises(IntegrityError, match=why),
        transaction(world.make_session) as session,
    ):
        write(session, world, root, approval_id)
    assert world.budget(root).policy["limit"]["epsilon"] == "1"
    assert world.approval(approval_id).state == "pending"


def test_the_database_lets_through_what_two_people_did(world: World) -> None:
    root = world.open_root()
    approval_id = UUID(world.change(root, "raise", epsilon=Decimal(2))["approval_id"])
    with transaction(world.make_session) as session:
        approve(session, world, approval_id)
        raised(session, root, "2")
    assert world.budget(root).policy["limit"]["epsilon"] == "2"


def test_the_database_takes_the_entry_of_one_approval_once(world: World) -> None:
    root = world.open_root()
    approval_id = UUID(world.change(root, "raise", epsilon=Decimal(2))["approval_id"])
    world.decide(approval_id, "approve")
    with pytest.raises(DatabaseError), transaction(world.make_session) as session:
        entry = session.scalars(select(Entry).where(Entry.kind == "raised")).one()
        assert entry.id == uuid5(approval_id, str(root))
        session.add(
            Entry(
                budget_id=root,
                seq=entry.seq + 1,
                id=entry.id,
                kind="raised",
                body=entry.body,
                hash=entry.hash,
                created_at=entry.created_at,
            )
        )


def test_one_officer_opens_no_root_by_writing_its_row(world: World) -> None:
    proposed = UUID(world.propose_root()["id"])
    with pytest.raises(IntegrityError), transaction(world.make_session) as session:
        now = database_now(session)
        budget = session.get_one(Budget, proposed)
        budget.state, budget.opened_at = "open", now
        budget.version += 1
    assert world.budget(proposed).state == "proposed"
