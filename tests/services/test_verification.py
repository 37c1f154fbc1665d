"""A replay that does not agree with a budget freezes it, whatever was changed and where (L4)."""

import json
from datetime import date
from uuid import UUID

import pytest
from sqlalchemy import func, select, text

from app.db.models import Approval, AuditEvent, Budget, Entry, Notification
from app.db.session import snapshot, transaction
from app.domain.ledger import ChainFault
from app.services.verification import SHARE, Verifier
from tests.services import test_windows
from tests.unfenced import unfence
from tests.world import World

PURE = {"type": "pure", "epsilon": "0.01"}
TAMPERINGS = {
    "an entry is edited": "UPDATE entries SET body = replace(body, '\"actor\"', '\"Actor\"')"
    " WHERE seq = 2",
    "an entry is deleted": "DELETE FROM entries WHERE seq = 3",
    "the last entry is deleted": "DELETE FROM entries WHERE seq = 4",
    "the sums are lowered": "UPDATE budgets SET reserved = '{}'",
    "the head is set back": "UPDATE budgets SET last_seq = 3, head_hash ="
    " (SELECT hash FROM entries WHERE seq = 3)",
    "the limit is raised": 'UPDATE budgets SET policy = replace(policy, \'"epsilon":"1"\','
    ' \'"epsilon":"9"\')',
}


def spent(world: World) -> UUID:
    root = world.open_root()
    for _ in range(3):
        world.reserve(root, PURE, 1)
    return root


def tamper(world: World, name: str) -> None:
    statement = TAMPERINGS[name]
    with transaction(world.make_session) as session:
        unfence(session, statement.split()[2 if statement.startswith("DELETE") else 1])
        if name == "the sums are lowered":
            zero = json.loads(session.scalars(text("SELECT committed FROM budgets")).one())
            session.execute(text("UPDATE budgets SET reserved = :zero"), {"zero": json.dumps(zero)})
        else:
            # as it is: a colon in it is no parameter
            session.connection().exec_driver_sql(statement)


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_budget_is_frozen_with_audit_and_notification_once(world: World, name: str) -> None:
    root = spent(world)
    verifier = Verifier(world.make_session, clock_s=lambda: 0.0)
    assert verifier.step() == 0
    tamper(world, name)
    # another process, which has seen nothing yet, and a full look by this one
    fresh = Verifier(world.make_session, clock_s=lambda: 0.0)
    assert fresh.step() == 1
    assert [fresh.step(), len(verifier.everything())] == [0, 1]
    budget = world.budget(root)
    assert budget.state == "frozen"
    with snapshot(world.make_session) as session:
        last = session.scalars(select(Entry).order_by(Entry.seq.desc()).limit(1)).one()
        said, place = json.loads(last.body), (last.seq, last.kind)
        told = session.scalars(
            select(Notification.kind).where(Notification.kind == "broken-chain")
        ).all()
        tracked = session.scalar(
            select(func.count()).where(AuditEvent.action == "ledger.broken-chain")
        )
    assert place == (5, "frozen")
    assert said["facts"]["budget_id"] == str(root)
    assert said["facts"]["reason"]
    assert len(told) == tracked == 1
    # the entry that froze it covers no fault; a head that was set back is where it belongs again
    assert world.verified() == (name == "the head is set back")


def test_a_budget_that_is_proposed_or_was_turned_down_is_not_taken_for_a_broken_one(
    world: World,
) -> None:
    proposed = UUID(world.propose_root()["id"])
    verifier = Verifier(world.make_session, clock_s=lambda: 0.0)
    assert verifier.step() == 0
    assert all(found.fault is None for found in verifier.everything().values())
    with snapshot(world.make_session) as session:
        approval_id = session.scalars(select(Approval.id)).one()
    world.decide(approval_id, "reject")
    assert verifier.step() == 0
    assert world.budget(proposed).state == "closed"
    with snapshot(world.make_session) as session:
        assert session.scalar(select(func.count()).select_from(Notification)) in (0, 1)
        assert not session.scalars(
            select(Notification.kind).where(Notification.kind == "broken-chain")
        ).all()


def test_a_fault_that_is_gone_under_the_lock_freezes_nothing(world: World) -> None:
    root = spent(world)
    verifier = Verifier(world.make_session, clock_s=lambda: 0.0)
    assert not verifier._freeze(root, ChainFault(1, "seen between two statements"))
    assert world.budget(root).state == "open"


def test_what_moved_is_replayed_and_nothing_else(world: World) -> None:
    root = spent(world)
    other = world.open_allocation(root, "0.5")
    verifier = Verifier(world.make_session, clock_s=lambda: 0.0)
    verifier.step()
    seen = dict(verifier._seen)
    assert seen.keys() == {root, other}
    world.reserve(root, PURE, 1)
    verifier.step()
    assert verifier._seen[root] != seen[root]
    assert verifier._seen[other] == seen[other]


def test_a_replay_rests_for_as_long_as_its_share_asks(world: World) -> None:
    spent(world)
    times = iter([0.0, 0.0, 2.0, 2.0])
    now = [0.0]
    verifier = Verifier(world.make_session, clock_s=lambda: next(times, now[0]))
    verifier.step()
    assert verifier._rests_until_s == 2.0 + 2.0 * (1 / SHARE - 1)
    seen = dict(verifier._seen)
    world.reserve(next(iter(seen)), PURE, 1)
    now[0] = verifier._rests_until_s - 1
    verifier.step()
    assert verifier._seen == seen
    now[0] += 2
    verifier.step()
    assert verifier._seen != seen


def test_a_busy_budget_keeps_no_other_from_its_turn(world: World) -> None:
    root = spent(world)
    others = {world.open_allocation(root, "0.5") for _ in range(2)}
    times = [0.0]

    def late() -> float:
        times[0] += 1.0  # every look at the clock finds that the step has taken long enough
        return times[0]

    verifier = Verifier(world.make_session, clock_s=late)
    for _ in range(3):
        world.reserve(root, PURE, 1)
        verifier._rests_until_s = 0.0
        verifier.step()
    assert verifier._seen.keys() == {root, *others}


def test_a_broken_period_freezes_its_window(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_windows, "FIRST", date(2020, 1, 1))
    root = world.open_root()
    window = test_windows.open_window(world, root, "0.5")
    world.reserve(root, PURE, 1)
    with transaction(world.make_session) as session:
        period = session.scalars(select(Budget.id).where(Budget.kind == "period")).one()
        unfence(session, "budgets")
        session.execute(
            text("UPDATE budgets SET head_hash = :zero WHERE kind = 'period'"), {"zero": "0" * 64}
        )
    assert Verifier(world.make_session, clock_s=lambda: 0.0).step() == 1
    assert (world.budget(window).state, world.budget(period).state) == ("frozen", "open")
    assert world.bodies(window)[-1]["facts"]["budget_id"] == str(period)


def test_a_thaw_does_not_mend_a_broken_chain(world: World) -> None:
    root = spent(world)
    tamper(world, "an entry is edited")
    verifier = Verifier(world.make_session, clock_s=lambda: 0.0)
    verifier.step()
    asked = world.change(root, "thaw")
    world.decide(UUID(asked["approval_id"]), "approve")
    assert world.budget(root).state == "open"
    assert verifier.step() == 1
    assert world.budget(root).state == "frozen"


def test_a_budget_that_waits_for_its_second_person_is_no_broken_chain(world: World) -> None:
    proposed = world.propose_root()
    verifier = Verifier(world.make_session, clock_s=lambda: 0.0)
    assert verifier.step() == 0
    with snapshot(world.make_session) as session:
        kinds = set(session.scalars(select(Notification.kind)))
        told = session.scalars(
            select(AuditEvent.id).where(AuditEvent.action == "ledger.broken-chain")
        ).all()
    assert (told, "broken-chain" in kinds) == ([], False)
    world.decide(UUID(proposed["approval_id"]), "approve")
    assert verifier.step() == 0
    assert world.budget(UUID(proposed["id"])).state == "open"
