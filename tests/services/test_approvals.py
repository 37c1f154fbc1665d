"""Four eyes: nobody opens a root alone, whatever way is tried (L10, R19)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from app.db.models import Approval, Budget
from app.db.session import database_now, snapshot, transaction
from app.domain.errors import (
    ApprovalNotPending,
    ChangeMismatch,
    NotAllowed,
    OwnChange,
    RootExists,
    TooManyPending,
    VersionMismatch,
)
from app.services.access import Caller
from app.services.approvals import Approvals
from app.services.changes import ChangeRequest, Changes
from app.services.datasets import Datasets
from app.services.entries import Entries
from app.services.registrations import DatasetRequest
from app.services.sweep import sweep
from tests.world import World, keyed


def test_a_root_opens_only_when_a_second_officer_approves(world: World) -> None:
    proposed = world.propose_root()
    budget_id, approval_id = UUID(proposed["id"]), UUID(proposed["approval_id"])
    with pytest.raises(OwnChange):
        world.decide(approval_id, "approve", who="officer")
    for who in ("engineer", "auditor", "admin"):
        with pytest.raises(NotAllowed):
            world.decide(approval_id, "approve", who=who)
    assert world.budget(budget_id).state == "proposed"
    assert world.decide(approval_id, "approve")["state"] == "used"
    opened = world.budget(budget_id)
    assert (opened.state, opened.last_seq) == ("open", 1)
    assert world.verified()


def test_the_database_itself_refuses_a_self_approval(world: World) -> None:
    approval_id = UUID(world.propose_root()["approval_id"])
    with pytest.raises(IntegrityError), transaction(world.make_session) as session:
        approval = session.get_one(Approval, approval_id)
        approval.decided_by = approval.requested_by
        approval.state = "used"


def test_a_decision_on_another_change_or_version_is_refused(world: World) -> None:
    approval_id = UUID(world.propose_root()["approval_id"])
    approvals, officer = Approvals(world.make_session), world.people["second_officer"]
    shown = approvals.get(officer, approval_id)
    with pytest.raises(ChangeMismatch):
        approvals.decide(
            officer,
            approval_id,
            decision="approve",
            change_sha256="0" * 64,
            reason="",
            if_version=1,
        )
    with pytest.raises(VersionMismatch):
        approvals.decide(
            officer,
            approval_id,
            decision="approve",
            change_sha256=shown["change_sha256"],
            reason="",
            if_version=2,
        )


def test_an_approval_works_once_and_the_same_decision_repeats_without_effect(
    world: World,
) -> None:
    proposed = world.propose_root()
    approval_id = UUID(proposed["approval_id"])
    first = world.decide(approval_id, "approve")
    assert world.decide(approval_id, "approve") == first
    with pytest.raises(ApprovalNotPending):
        world.decide(approval_id, "reject")
    assert world.budget(UUID(proposed["id"])).last_seq == 1


def test_an_expired_approval_opens_nothing(world: World) -> None:
    proposed = world.propose_root()
    with transaction(world.make_session) as session:
        approval = session.scalars(select(Approval)).one()
        approval.expires_at = database_now(session) - timedelta(seconds=1)
    with pytest.raises(ApprovalNotPending):
        world.decide(UUID(proposed["approval_id"]), "approve")
    assert world.budget(UUID(proposed["id"])).state == "closed"


def test_a_dataset_has_one_root_for_ever_and_a_rejected_proposal_is_no_root(world: World) -> None:
    rejected = world.propose_root()
    with pytest.raises(RootExists):
        world.propose_root()
    world.decide(UUID(rejected["approval_id"]), "reject")
    root = world.open_root()
    with pytest.raises(RootExists):
        world.propose_root()
    with transaction(world.make_session) as session:
        session.get_one(Budget, root).state = "closed"
    with pytest.raises(RootExists):
        world.propose_root()


def test_the_opening_entry_names_both_people_and_holds_the_whole_policy(world: World) -> None:
    root = world.open_root("rdp-mix/1", "2", "1e-6")
    entry = Entries(world.make_session).list(world.people["auditor"], root, 0, 10)[0]
    assert str(world.people["officer"].principal_id) in entry["body"]
    assert str(world.people["second_officer"].principal_id) in entry["body"]
    assert '"weights_2p80"' in entry["body"]
    with snapshot(world.make_session) as session:
        assert session.get_one(Budget, root).head_hash == entry["hash"]


def test_a_forgotten_proposal_is_swept_and_the_root_can_be_proposed_again(world: World) -> None:
    forgotten = world.propose_root()
    with transaction(world.make_session) as session:
        approval = session.scalars(select(Approval)).one()
        approval.expires_at = database_now(session) - timedelta(seconds=1)
    assert sweep(world.make_session).expired == 1
    assert sweep(world.make_session).expired == 0
    assert world.budget(UUID(forgotten["id"])).state == "closed"
    world.open_root()


def ask_for_more(world: World, root: UUID, caller: Caller, most: int) -> dict[str, Any]:
    request = ChangeRequest(action="raise", reason="more", epsilon=Decimal(2))
    version = world.budget(root).version
    return Changes(world.make_session, most).make(
        caller, root, request, if_version=version, keyed=keyed(caller, "changes", {"epsilon": "2"})
    )


def waiting(world: World) -> int:
    with snapshot(world.make_session) as session:
        count = session.scalar(select(func.count()).where(Approval.state == "pending"))
        return count or 0


def test_nobody_can_bury_the_officers_under_requests_of_his_own(world: World) -> None:
    root = world.open_root()
    first = ask_for_more(world, root, world.engineer, 2)
    ask_for_more(world, root, world.engineer, 2)
    with pytest.raises(TooManyPending) as refused:
        ask_for_more(world, root, world.engineer, 2)
    assert refused.value.most == 2
    assert waiting(world) == 2
    # the bound is each person's own, and a decision makes room
    assert ask_for_more(world, root, world.people["officer"], 2)["state"] == "pending"
    world.decide(UUID(first["approval_id"]), "reject")
    assert ask_for_more(world, root, world.engineer, 2)["state"] == "pending"


def test_requests_at_once_do_not_pass_the_bound_together(world: World) -> None:
    root = world.open_root()

    def ask(_: int) -> bool:
        try:
            return bool(ask_for_more(world, root, world.engineer, 3))
        except TooManyPending:
            return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(ask, range(8))) == waiting(world) == 3


def test_what_is_over_its_time_holds_no_place_and_is_not_listed_as_waiting(world: World) -> None:
    root = world.open_root()
    made = [ask_for_more(world, root, world.engineer, 2)["approval_id"] for _ in range(2)]
    with transaction(world.make_session) as session:
        for approval_id in made:
            over = database_now(session) - timedelta(seconds=1)
            session.get_one(Approval, UUID(approval_id)).expires_at = over
    kept = ask_for_more(world, root, world.engineer, 2)["approval_id"]
    listed = Approvals(world.make_session).list(world.engineer, None, None, 50)
    states = {each["id"]: each["state"] for each in listed}
    assert states == {made[0]: "expired", made[1]: "expired", kept: "pending"}
    shown = Approvals(world.make_session).list(world.people["auditor"], "pending", None, 50)
    assert [each["id"] for each in shown] == [kept]


def test_a_registration_without_a_place_to_wait_leaves_nothing(world: World) -> None:
    officer = world.people["officer"]
    ask_for_more(world, world.open_root(), officer, 1)
    (world.home / "data" / "copy.csv").write_text("value\n4\n")
    declaration = {
        "name": "copy",
        "access": "public",
        "source": {"connection": "files", "path": "copy.csv", "format": "csv"},
        "columns": [{"name": "value", "type": "int64"}],
    }
    datasets = Datasets(world.make_session, 1)
    with pytest.raises(TooManyPending):
        datasets.register(
            officer, DatasetRequest(declaration, {}), keyed(officer, "datasets", "copy")
        )
    assert [row["name"] for row in datasets.list(officer, None, 50)] == ["table"]
    assert waiting(world) == 1
