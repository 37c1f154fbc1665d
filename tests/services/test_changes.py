"""Changes of a budget: who may, what they write, and what no way around them reaches (L10, R5)."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app import verifier
from app.db.models import Approval, AuditEvent, Budget
from app.db.session import database_now, snapshot, transaction
from app.domain.accounting.filters import policy_from_json
from app.domain.errors import (
    ApprovalNotPending,
    BudgetExceeded,
    DomainError,
    IdempotencyKeyReused,
    InvalidParameter,
    LowerRefused,
    NotAllowed,
    NotFound,
    OwnChange,
    ReplayedRefusal,
    ScopeClosed,
    VersionMismatch,
)
from app.domain.privacy import Loss
from app.services import approvals, export
from tests.world import World

PURE = {"type": "pure", "epsilon": "0.1"}


def limit(world: World, budget_id: UUID) -> str:
    return str(world.budget(budget_id).policy["limit"]["epsilon"])


def test_a_raise_of_a_root_waits_for_a_second_officer_and_then_moves_epsilon_alone(
    world: World,
) -> None:
    root = world.open_root("rdp-mix/1", "2", "1e-6")
    before = world.budget(root)
    asked = world.change(root, "raise", epsilon=Decimal("3"))
    assert asked["state"] == "pending"
    assert asked["effect"] == {"lifetime": {"from": "2", "to": "3"}, "windows": "unchanged"}
    assert limit(world, root) == "2"
    assert world.budget(root).last_seq == 1
    with pytest.raises(OwnChange):
        world.decide(UUID(asked["approval_id"]), "approve", who="officer")
    decided = world.decide(UUID(asked["approval_id"]), "approve")
    assert decided["state"] == "used"
    after = world.budget(root)
    assert decided["budget_version"] == after.version == before.version + 1
    assert after.policy == {**before.policy, "limit": {**before.policy["limit"], "epsilon": "3"}}
    assert world.verified()


def test_an_entry_of_a_raise_holds_both_people_both_reasons_and_the_policy_in_force(
    world: World,
) -> None:
    root = world.open_root()
    asked = world.change(root, "raise", epsilon=Decimal("2"))
    world.decide(UUID(asked["approval_id"]), "approve")
    entry = world.bodies(root)[-1]
    facts = entry["facts"]
    people = world.people
    assert entry["kind"] == "raised"
    assert facts["requested_by"] == str(people["officer"].principal_id)
    assert facts["decided_by"] == entry["actor"] == str(people["second_officer"].principal_id)
    assert (facts["requested_reason"], facts["reason"]) == ("a policy", "read")
    assert (facts["from"]["epsilon"], facts["to"]["epsilon"]) == ("1", "2")
    assert facts["change_sha256"] == asked["change_sha256"]
    assert facts["policy"] == world.budget(root).policy
    assert policy_from_json(facts["policy"]).limit.epsilon == 2


def test_a_raise_of_delta_goes_through_the_same_two_people(world: World) -> None:
    root = world.open_root("rdp-mix/1", "2", "1e-6")
    asked = world.change(root, "raise", delta=Decimal("1e-5"))
    assert Decimal(asked["effect"]["lifetime"]["delta"]["from"]) == Decimal("1e-6")
    world.decide(UUID(asked["approval_id"]), "approve")
    assert Decimal(world.budget(root).policy["limit"]["delta"]) == Decimal("1e-5")
    with pytest.raises(InvalidParameter):
        world.change(root, "raise", delta=Decimal("1e-7"))


def test_what_is_raised_admits_more_and_what_is_lowered_less(world: World) -> None:
    root = world.open_root(epsilon="0.2")
    world.reserve(root, PURE, 2)
    with pytest.raises(BudgetExceeded):
        world.reserve(root, PURE, 1)
    asked = world.change(root, "raise", epsilon=Decimal("0.5"))
    world.decide(UUID(asked["approval_id"]), "approve")
    world.reserve(root, PURE, 2)
    assert world.change(root, "lower", epsilon=Decimal("0.4"))["state"] == "done"
    with pytest.raises(BudgetExceeded):
        world.reserve(root, PURE, 1)
    assert [entry["kind"] for entry in world.bodies(root)][-1] == "lowered"


def test_one_officer_lowers_only_to_what_the_balance_passes_and_is_told_the_least(
    world: World,
) -> None:
    root = world.open_root()
    world.reserve(root, PURE, 5)
    with pytest.raises(LowerRefused) as refused:
        world.change(root, "lower", epsilon=Decimal("0.4"), key="k")
    assert Decimal(refused.value.least) == Decimal("0.5")
    with pytest.raises(ReplayedRefusal):
        world.change(root, "lower", epsilon=Decimal("0.4"), key="k")
    assert limit(world, root) == "1"
    assert world.change(root, "lower", epsilon=Decimal(refused.value.least))["state"] == "done"
    assert limit(world, root) == "0.5"


def test_one_officer_freezes_a_root_and_only_two_people_thaw_it(world: World) -> None:
    root = world.open_root()
    assert world.change(root, "freeze")["effect"]["lifetime"] == {"from": "open", "to": "frozen"}
    with pytest.raises(ScopeClosed):
        world.reserve(root, PURE, 1)
    with pytest.raises(ScopeClosed):
        world.change(root, "freeze")
    asked = world.change(root, "thaw")
    assert asked["state"] == "pending"
    assert world.budget(root).state == "frozen"
    world.decide(UUID(asked["approval_id"]), "approve")
    world.reserve(root, PURE, 1)
    kinds = [entry["kind"] for entry in world.bodies(root)]
    assert kinds == ["opened", "frozen", "thawed", "reserved"]
    assert world.verified()


def test_a_closed_budget_takes_no_change_and_its_loss_stays(world: World) -> None:
    root = world.open_root()
    world.reserve(root, PURE, 5)
    held = world.budget(root).reserved
    world.change(root, "close")
    for action in ("freeze", "thaw", "raise", "close"):
        with pytest.raises(ScopeClosed):
            world.change(root, action, epsilon=Decimal(2) if action == "raise" else None)
    assert world.budget(root).reserved == held
    assert world.verified()


def test_an_allocation_is_raised_thawed_and_lowered_by_one_officer(world: World) -> None:
    root = world.open_root()
    team = world.open_allocation(root, "0.5")
    assert world.change(team, "raise", epsilon=Decimal("0.7"))["state"] == "done"
    world.change(team, "freeze")
    assert world.change(team, "thaw")["state"] == "done"
    world.change(team, "lower", epsilon=Decimal("0.6"))
    assert limit(world, team) == "0.6"
    with pytest.raises(InvalidParameter):
        later = world.budget(team).created_at + timedelta(days=30)
        world.change(team, "raise", epsilon=Decimal("0.8"), expires_at=later)
    assert world.verified()


def test_a_transfer_moves_room_between_siblings_whole_or_not_at_all(world: World) -> None:
    root = world.open_root()
    ours, theirs = (world.open_allocation(root, "0.5") for _ in range(2))
    done = world.change(ours, "transfer", to=theirs, epsilon=Decimal("0.2"))
    assert done["effect"]["allocation"] == {"from": "0.5", "to": "0.3"}
    assert (limit(world, ours), limit(world, theirs)) == ("0.3", "0.7")
    world.reserve(ours, PURE, 3)
    before = world.budget(ours), world.budget(theirs)
    with pytest.raises(LowerRefused):
        world.change(ours, "transfer", to=theirs, epsilon=Decimal("0.1"))
    assert (world.budget(ours).policy, world.budget(theirs).policy) == (
        before[0].policy,
        before[1].policy,
    )
    for budget_id in (ours, theirs):
        assert "transferred" in [entry["kind"] for entry in world.bodies(budget_id)]
    assert world.verified()


def test_a_transfer_s_entries_share_a_hash_and_name_no_sibling(world: World) -> None:
    root = world.open_root(epsilon="1")
    ours, theirs = world.open_allocation(root, "0.5"), world.open_allocation(root, "0.2")
    world.change(ours, "transfer", to=theirs, epsilon=Decimal("0.2"))
    given, taken = (world.bodies(budget_id)[-1] for budget_id in (ours, theirs))
    assert given["facts"]["change_sha256"] == taken["facts"]["change_sha256"]
    assert str(theirs) not in json.dumps(given)
    assert str(ours) not in json.dumps(taken)


def test_a_transfer_reaches_only_a_sibling(world: World) -> None:
    root = world.open_root()
    ours = world.open_allocation(root, "0.5")
    below = world.open_allocation(ours, "0.1")
    for to in (root, ours, below):
        with pytest.raises(InvalidParameter):
            world.change(ours, "transfer", to=to, epsilon=Decimal("0.1"))


def test_an_engineer_asks_for_more_and_an_officer_decides(world: World) -> None:
    root = world.open_root()
    team = world.open_allocation(root, "0.5")
    for budget_id in (root, team):
        asked = world.change(budget_id, "raise", who="engineer", epsilon=Decimal("1.5"))
        assert asked["state"] == "pending"
        with pytest.raises(NotAllowed):
            world.decide(UUID(asked["approval_id"]), "approve", who="engineer")
        world.decide(UUID(asked["approval_id"]), "approve", who="officer")
        assert limit(world, budget_id) == "1.5"
        facts = world.bodies(budget_id)[-1]["facts"]
        assert facts["requested_by"] == str(world.engineer.principal_id)
    for action in ("lower", "freeze", "thaw", "close"):
        with pytest.raises(NotAllowed):
            world.change(team, action, who="engineer", epsilon=Decimal("0.1"))


@pytest.mark.parametrize(("who", "refusal"), [("outsider", NotFound), ("auditor", NotAllowed)])
def test_who_may_not_read_a_budget_or_only_reads_asks_for_nothing(
    world: World, who: str, refusal: type[DomainError]
) -> None:
    root = world.open_root()
    with pytest.raises(refusal):
        world.change(root, "raise", who=who, epsilon=Decimal(2))


def test_a_change_of_another_version_than_was_read_is_refused(world: World) -> None:
    root = world.open_root()
    with pytest.raises(VersionMismatch):
        world.change(root, "freeze", if_version=world.budget(root).version - 1)
    assert world.budget(root).state == "open"


def test_a_decision_after_the_version_moved_changes_nothing(world: World) -> None:
    root = world.open_root()
    asked = world.change(root, "raise", epsilon=Decimal(2))
    world.change(root, "lower", epsilon=Decimal("0.5"))
    with pytest.raises(VersionMismatch):
        world.decide(UUID(asked["approval_id"]), "approve")
    assert limit(world, root) == "0.5"
    assert world.approval(asked["approval_id"]).state == "pending"
    assert world.decide(UUID(asked["approval_id"]), "reject")["state"] == "rejected"


def test_of_two_raises_asked_at_one_version_only_the_first_takes_effect(world: World) -> None:
    root = world.open_root()
    first, second = (world.change(root, "raise", epsilon=Decimal(n)) for n in (2, 3))
    world.decide(UUID(first["approval_id"]), "approve")
    with pytest.raises(VersionMismatch):
        world.decide(UUID(second["approval_id"]), "approve")
    assert limit(world, root) == "2"


def test_two_deciders_at_once_have_one_effect(world: World) -> None:
    root = world.open_root()
    asked = world.change(root, "raise", who="engineer", epsilon=Decimal(2))

    def decide(who: str) -> str:
        try:
            world.decide(UUID(asked["approval_id"]), "approve", who=who)
        except ApprovalNotPending as refused:
            return refused.state
        return "approved"

    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(pool.map(decide, ("officer", "second_officer")))
    assert outcomes == ["approved", "used"]
    kinds = [entry["kind"] for entry in world.bodies(root)]
    assert kinds == ["opened", "raised"]


def test_an_expired_raise_is_ended_by_the_sweep_and_raises_nothing(world: World) -> None:
    root = world.open_root()
    asked = world.change(root, "raise", epsilon=Decimal(2))
    with transaction(world.make_session) as session:
        approval = session.scalars(select(Approval).where(Approval.state == "pending")).one()
        approval.expires_at = database_now(session) - timedelta(seconds=1)
    with transaction(world.make_session) as session:
        assert approvals.expire_pending(session, now=database_now(session)) == 1
        assert approvals.expire_pending(session, now=database_now(session)) == 0
    with pytest.raises(ApprovalNotPending):
        world.decide(UUID(asked["approval_id"]), "approve")
    assert limit(world, root) == "1"


def test_a_change_is_made_once_under_its_key(world: World) -> None:
    root = world.open_root()
    version = world.budget(root).version
    first = world.change(root, "lower", epsilon=Decimal("0.5"), key="k", if_version=version)
    again = world.change(root, "lower", epsilon=Decimal("0.5"), key="k", if_version=version)
    assert again == first
    with pytest.raises(IdempotencyKeyReused):
        world.change(root, "lower", epsilon=Decimal("0.4"), key="k", if_version=version)
    assert len(world.bodies(root)) == 2


def test_a_raise_never_goes_down_and_a_lower_never_up(world: World) -> None:
    root = world.open_root()
    for bad in ("0.9", "1"):
        with pytest.raises(InvalidParameter):
            world.change(root, "raise", epsilon=Decimal(bad))
    for bad in ("1", "2"):
        with pytest.raises(InvalidParameter):
            world.change(root, "lower", epsilon=Decimal(bad))
    with pytest.raises(InvalidParameter):
        world.change(root, "raise")


def test_a_rate_limit_is_set_whole_by_one_officer_and_kept_in_the_trail(world: World) -> None:
    root = world.open_root()
    world.change(root, "limit_rate", rate_limits={"jobs_per_hour": 5, "units_per_day": None})
    assert world.budget(root).rate_limits == {"jobs_per_hour": 5}
    world.change(root, "limit_rate", rate_limits={})
    assert world.budget(root).rate_limits == {}
    with snapshot(world.make_session) as session:
        events: list[Any] = list(
            session.scalars(
                select(AuditEvent.facts).where(AuditEvent.action == "budget.limit_rate")
            )
        )
    assert [event["change"]["to"] for event in events] == [{"jobs_per_hour": 5}, {}]


def test_a_reader_of_the_chain_sees_each_limit_on_the_rate_and_who_set_it(world: World) -> None:
    root = world.open_root()
    held = world.reserve(root, {"type": "pure", "epsilon": "0.1"}, 2)
    world.change(root, "limit_rate", rate_limits={"jobs_per_hour": 5, "units_per_day": 2**53 - 1})
    world.change(root, "limit_rate", rate_limits={})
    world.reservations.commit(world.engineer, UUID(held["id"]), 1, None)
    bodies = [body for body in world.bodies(root) if body["kind"] == "rate_limited"]
    most = {"jobs_per_hour": 5, "units_per_day": 2**53 - 1}
    assert [(body["facts"]["from"], body["facts"]["to"]) for body in bodies] == [
        ({}, most),
        (most, {}),
    ]
    for body in bodies:
        assert body["charge"] == Loss.zero().to_json()
        assert body["facts"]["decided_by"] == str(world.people["officer"].principal_id)
        assert body["facts"]["reason"] == "a policy"
    assert world.verified()


def test_every_limit_in_force_can_be_read_from_the_chain_alone(world: World) -> None:
    root = world.open_root(epsilon="1")
    for epsilon in ("2", "3"):
        asked = world.change(root, "raise", epsilon=Decimal(epsilon))
        world.decide(UUID(asked["approval_id"]), "approve")
    world.change(root, "lower", epsilon=Decimal("1.5"))
    limits = [entry["facts"]["policy"]["limit"]["epsilon"] for entry in world.bodies(root)]
    assert limits == ["1", "2", "3", "1.5"]
    with snapshot(world.make_session) as session:
        assert session.get_one(Budget, root).policy["limit"]["epsilon"] == "1.5"


def test_a_transfer_is_exact_to_the_last_digit_or_refused(world: World) -> None:
    """A rounded sum would give one allocation what the other has kept (R1, R5)."""
    root = world.open_root("pure/1", "90")
    ours = world.open_allocation(root, "10.5")
    theirs = world.open_allocation(root, "20")
    moved = Decimal("0.12345678901234567890123456789")
    world.change(ours, "transfer", to=theirs, epsilon=moved)
    assert limit(world, ours) == "10.37654321098765432109876543211"
    assert limit(world, theirs) == "20.12345678901234567890123456789"
    raw = b"".join(export.lines(world.make_session))
    assert verifier.verify(io.BytesIO(raw), None).fault is None
    before = [world.budget(each).version for each in (ours, theirs)]
    with pytest.raises(InvalidParameter) as refused:
        world.change(ours, "transfer", to=theirs, epsilon=Decimal("1e-39"))
    assert refused.value.pointer == "/epsilon"
    assert [world.budget(each).version for each in (ours, theirs)] == before
