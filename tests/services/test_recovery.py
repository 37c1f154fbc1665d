"""A database put back from a backup is noticed, frozen and put right by two people (R22)."""

import os
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DatabaseError

from app.db.models import AuditEvent, Budget, Discrepancy, Entry, Job, Notification
from app.db.session import database_now, snapshot, transaction
from app.domain.accounting.prices import price
from app.domain.errors import (
    BudgetExceeded,
    LedgerBehind,
    NotAllowed,
    NotFound,
    OwnChange,
    ScopeClosed,
)
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Loss
from app.domain.touches import Touch
from app.services import plans
from app.services.discrepancies import Discrepancies, RecoveryRequest
from app.services.recovery import Compared, LedgerForgotten, Recovery
from app.services.sweep import sweep
from app.services.witness import WitnessJournal
from tests import planned
from tests.restoring import Backup, backup
from tests.services import test_windows
from tests.services.test_checkpoints import notary
from tests.services.test_hardening import claimed
from tests.world import World, keyed
from workers.claimed import ClaimedLedger

__all__ = ["backup"]

PURE = {"type": "pure", "epsilon": "0.1"}


def compare(world: World, *, everything: bool = False) -> Compared:
    return Recovery(world.make_session, world.journal.folder, notary(world)).compare(
        everything=everything
    )


def charge_of(units: int) -> Loss:
    return price(parse_mechanism(PURE), "add_remove").charge(units)


def start(world: World, held: dict[str, Any], units: int) -> None:
    world.reservations.start(world.engineer, UUID(held["id"]), held["fence"], 0, units)


def evidence(world: World) -> list[dict[str, Any]]:
    return Discrepancies(world.make_session).list(world.people["auditor"])


def ask(world: World, root: UUID, digest: str, who: str = "officer") -> dict[str, Any]:
    caller = world.people[who]
    return Discrepancies(world.make_session).ask(
        caller,
        root,
        RecoveryRequest("the backup of Monday", digest),
        if_version=world.budget(root).version,
        keyed=keyed(caller, "recovery", {"evidence": digest}),
    )


def settle(world: World, root: UUID) -> None:
    for row in evidence(world):
        if row["approval_id"] is None and row["budget_id"] == str(root):
            asked = ask(world, root, row["evidence_sha256"])
            world.decide(UUID(asked["approval_id"]), "approve")


def thaw(world: World, root: UUID) -> None:
    asked = world.change(root, "thaw")
    world.decide(UUID(asked["approval_id"]), "approve")


def test_a_touch_that_the_database_forgot_freezes_its_root_until_two_people_post_it_whole(
    world: World, backup: Backup
) -> None:
    root = world.open_root("pure/1", "2")
    team = world.open_allocation(root, "1")
    put_back = backup(world)
    start(world, world.reserve(team, PURE, 5), 3)
    assert compare(world) == Compared(1, 0, 0, 0)

    old = put_back()
    assert old.budget(team).committed + old.budget(team).reserved == Loss.zero()
    assert compare(old) == Compared(1, 1, 1, 1)
    assert [old.budget(each).state for each in (root, team)] == ["frozen", "open"]
    with pytest.raises(ScopeClosed):
        old.reserve(team, PURE, 1)
    # nothing else is found at the next start, and nothing is written twice
    entries = old.budget(root).last_seq
    assert compare(old) == Compared(1, 1, 0, 1)
    assert old.budget(root).last_seq == entries

    with pytest.raises(LedgerBehind) as refused:
        old.change(root, "thaw")
    digest = refused.value.evidence_sha256[0]
    assert [row["evidence_sha256"] for row in evidence(old)] == [digest]
    with pytest.raises(NotFound):
        ask(old, root, "0" * 64)
    with pytest.raises(NotAllowed):
        ask(old, root, digest, who="engineer")
    asked = ask(old, root, digest)
    assert {scope["charge_alone"]["epsilon"] for scope in asked["effect"]["scopes"]} == {"0.5"}
    with pytest.raises(OwnChange):
        old.decide(UUID(asked["approval_id"]), "approve", who="officer")
    assert old.budget(root).committed == Loss.zero()
    old.decide(UUID(asked["approval_id"]), "approve")
    # five were held and three were seen to begin: what could have run is charged
    assert [old.budget(each).committed for each in (root, team)] == [charge_of(5)] * 2
    said = old.bodies(root)[-1]
    assert (said["kind"], said["facts"]["evidence_sha256"]) == ("opening", digest)
    assert said["parts"][0]["units"] == 5
    assert old.budget(root).state == "frozen"
    thaw(old, root)
    assert old.verified()
    assert compare(old) == Compared(1, 1, 0, 0)
    with pytest.raises(BudgetExceeded):
        old.reserve(team, PURE, 6)
    old.reserve(team, PURE, 5)


def test_many_forgotten_touches_are_posted_in_entries_that_the_verifier_takes(
    world: World, backup: Backup
) -> None:
    root = world.open_root("pure/1", "90")
    put_back = backup(world)
    alike = [world.reserve(root, PURE, 1) for _ in range(70)]
    kinds = [{"type": "pure", "epsilon": f"0.{100 + each}"} for each in range(70)]
    for each in [*alike, *(world.reserve(root, kind, 1) for kind in kinds)]:
        start(world, each, 1)
    old = put_back()
    # 70 alike are one part; the other 70 do not fit beside it
    assert compare(old) == Compared(140, 140, 1, 2)
    settle(old, root)
    said = [each["parts"] for each in old.bodies(root) if each["kind"] == "opening"]
    assert sorted(len(parts) for parts in said) == [7, 64]
    assert sum(part["units"] for parts in said for part in parts) == 140
    held = world.budget(root).reserved + world.budget(root).committed
    assert old.budget(root).committed.maximum_atto == held.maximum_atto
    assert old.verified()


def test_a_plan_that_the_backup_has_as_proposed_ends_with_the_recovery_of_what_it_ran(
    world: World, backup: Backup
) -> None:
    root = world.open_root("rdp-mix/1", "8", "1e-5")
    plan_id = planned.propose_plan(world, root)
    put_back = backup(world)
    plans.compose(world.make_session, plan_id)
    held = planned.reserve(world, plan_id, planned.part("nightly", 2))
    start(world, held, 1)
    old = put_back()
    compare(old)
    settle(old, root)
    assert old.budget(root).committed == world.budget(root).reserved
    plan = old.budget(plan_id)
    assert (plan.state, plan.last_seq) == ("closed", 0)
    assert plan.plan_refusal is not None
    assert plan.plan_refusal["code"] == "ledger-behind"
    # frozen anew, it would promise the slots that were used once more
    plans.compose(old.make_session, plan_id)
    assert old.budget(plan_id).state == "closed"
    assert old.verified()


def test_officers_are_told_once_and_the_trail_has_it(world: World, backup: Backup) -> None:
    root = world.open_root()
    put_back = backup(world)
    start(world, world.reserve(root, PURE, 1), 1)
    old = put_back()
    for _ in range(3):
        compare(old)
    with snapshot(old.make_session) as session:
        told = session.scalars(
            select(Notification.facts).where(Notification.kind == "behind-witness")
        ).all()
        tracked = session.scalar(select(func.count()).where(AuditEvent.action == "ledger.behind"))
    assert len(told) == tracked == 1
    assert told[0]["budget_id"] == str(root)
    assert told[0]["missing"] == {"touch": 1}


def test_the_database_itself_thaws_no_root_that_is_behind(world: World, backup: Backup) -> None:
    root = world.open_root()
    put_back = backup(world)
    start(world, world.reserve(root, PURE, 1), 1)
    old = put_back()
    compare(old)
    digest = evidence(old)[0]["evidence_sha256"]
    forbidden = [
        "UPDATE budgets SET state = 'open'",
        "DELETE FROM discrepancies",
        "UPDATE discrepancies SET evidence = '{}'",
        "UPDATE discrepancies SET evidence_sha256 = 'other'",
    ]
    for statement in forbidden:
        with pytest.raises(DatabaseError), transaction(old.make_session) as session:
            session.execute(text(statement))
    asked = ask(old, root, digest)
    with pytest.raises(DatabaseError, match="two people"), transaction(old.make_session) as session:
        row = session.scalars(select(Discrepancy)).one()
        row.approval_id = UUID(asked["approval_id"])


def test_what_is_still_held_is_ended_at_all_that_it_holds(world: World, backup: Backup) -> None:
    root = world.open_root("pure/1", "2")
    held = world.reserve(root, PURE, 5)
    start(world, held, 1)
    put_back = backup(world)
    start(world, held, 2)
    old = put_back()
    assert compare(old) == Compared(1, 1, 1, 1)
    budget = old.budget(root)
    assert (budget.committed, budget.reserved) == (charge_of(5), Loss.zero())
    # nothing is left to charge; two people still have to look
    settle(old, root)
    assert old.budget(root).committed == charge_of(5)
    thaw(old, root)
    assert old.verified()


def test_a_job_that_had_begun_is_not_run_again_under_the_charge_it_has(
    world: World, backup: Backup
) -> None:
    root = world.open_root()
    job_id = UUID(world.submit(root)["id"])
    put_back = backup(world)
    ledger = ClaimedLedger(world.make_session, claimed(world, job_id), 30, world.journal)
    with ledger:
        ledger.start(0, 1)
    old = put_back()
    assert old.jobs.get(old.engineer, job_id)["state"] == "queued"
    compare(old)
    assert old.jobs.get(old.engineer, job_id)["state"] == "failed"
    sweep(old.make_session, resend_after_s=0)
    with snapshot(old.make_session) as session:
        job = session.get_one(Job, job_id)
        posted = session.scalar(select(func.count()).where(Entry.kind == "posted"))
        assert (job.failure_code, posted) == ("failed-after-touch", 1)
    assert old.budget(root).reserved == Loss.zero()
    assert old.budget(root).committed != Loss.zero()


def test_heads_of_a_signed_checkpoint_are_missed_without_any_touch(
    world: World, backup: Backup
) -> None:
    root = world.open_root()
    other = world.open_allocation(root, "0.5")
    checkpoints = notary(world)
    checkpoints.make()
    put_back = backup(world)
    for _ in range(3):
        world.reserve(root, PURE, 1)
        checkpoints.make()

    old = put_back()
    checkpoints = notary(old)
    assert checkpoints.is_behind_folder()
    assert compare(old) == Compared(0, 1, 1, 1)
    missing = evidence(old)[0]["evidence"]["missing"]
    assert [(each["kind"], each["budget_id"]) for each in missing] == [("head", str(root))]
    # the root chain is one again; what was lost stays where it was signed until it is settled
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.seq == 4
    made = checkpoints.make()
    assert made.faults.keys() == {root}
    settle(old, root)
    thaw(old, root)
    made = checkpoints.make()
    assert made.faults == {}
    assert made.checkpoint is not None
    assert made.checkpoint.seq == 5
    assert {head.budget_id: head.seq for head in made.checkpoint.heads} == {
        str(each): old.budget(each).last_seq for each in (root, other)
    }
    assert compare(old) == Compared(0, 0, 0, 0)
    assert old.verified()


def test_a_touch_of_which_nobody_can_say_to_which_root_freezes_all(world: World) -> None:
    root = world.open_root()
    stray = Touch(str(uuid4()), 0, 1, 9, PURE, "d" * 64, 1, (str(uuid4()),), "then")
    world.journal.record([stray])
    assert compare(world) == Compared(1, 1, 1, 1)
    assert world.budget(root).state == "frozen"
    settle(world, root)
    # it is no charge of this root; people register what is missing and put it on record there
    assert world.budget(root).committed == Loss.zero()
    thaw(world, root)
    assert compare(world) == Compared(1, 1, 0, 0)


def test_a_journal_that_was_tampered_with_freezes_all_roots_once(world: World) -> None:
    root = world.open_root()
    held = world.reserve(root, PURE, 5)
    for units in (1, 2, 3):
        start(world, held, units)
    world.journal.close()
    path = next(world.journal.folder.glob("*.jsonl"))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[2]]))
    assert compare(world) == Compared(1, 1, 1, 1)
    assert evidence(world)[0]["evidence"]["missing"][0]["kind"] == "journal"
    settle(world, root)
    thaw(world, root)
    assert compare(world, everything=True) == Compared(1, 1, 0, 0)


def test_a_torn_last_line_and_a_touch_that_never_reached_the_journal_alarm_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = world.open_root()
    held = world.reserve(root, PURE, 5)
    start(world, held, 1)
    with monkeypatch.context() as patch:
        # killed between the commit and the journal
        patch.setattr(WitnessJournal, "record", lambda *_: None)
        start(world, held, 2)
    world.journal.close()
    path = next(world.journal.folder.glob("*.jsonl"))
    path.write_bytes(path.read_bytes() + b'{"at":"2026-')
    assert compare(world) == Compared(1, 0, 0, 0)
    assert world.budget(root).state == "open"


def test_a_database_without_any_ledger_is_refused_beside_the_witness_of_one(
    world: World, backup: Backup
) -> None:
    put_back = backup(world)
    root = world.open_root()
    start(world, world.reserve(root, PURE, 1), 1)
    old = put_back()
    with pytest.raises(LedgerForgotten, match="EPSILON_WITNESS_DIR"):
        compare(old)


def test_an_honest_history_alarms_nobody(world: World, backup: Backup) -> None:
    root = world.open_root("pure/1", "100")
    team = world.open_allocation(root, "50")
    checkpoints = notary(world)
    for number in range(6):
        held = world.reserve(team if number % 2 else root, PURE, 4)
        for units in range(number % 4):
            start(world, held, units + 1)
        reservation, fence = UUID(held["id"]), held["fence"]
        if number % 4 == 0:
            world.reservations.void(world.engineer, reservation, fence, "no private row was read")
        elif number % 3 == 0:
            world.reservations.commit(world.engineer, reservation, fence, None)
        if number % 2:
            checkpoints.make()
    put_back = backup(world)
    for each in (world, put_back()):
        found = compare(each, everything=True)
        assert (found.missing, found.frozen, found.unsettled) == (0, 0, 0)
        assert found.touches > 0


def test_a_journal_from_before_the_last_checkpoint_is_read_only_when_everything_is(
    world: World,
) -> None:
    root = world.open_root()
    start(world, world.reserve(root, PURE, 1), 1)
    notary(world).make()
    world.journal.close()
    path = next(world.journal.folder.glob("*.jsonl"))
    with snapshot(world.make_session) as session:
        then = database_now(session).timestamp() - 2 * 3600
    os.utime(path, (then, then))
    assert compare(world).touches == 0
    assert compare(world, everything=True).touches == 1


def test_a_forgotten_touch_of_a_window_is_charged_to_its_period(
    world: World, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_windows, "FIRST", date(2020, 1, 1))
    root = world.open_root("pure/1", "2")
    window = test_windows.open_window(world, root, "1")
    world.reserve(root, PURE, 1)
    put_back = backup(world)
    start(world, world.reserve(root, PURE, 4), 2)
    old = put_back()
    compare(old)
    settle(old, root)
    with snapshot(old.make_session) as session:
        period = session.scalars(select(Budget).where(Budget.kind == "period")).one()
        assert period.committed == charge_of(4)
    assert old.budget(root).committed == charge_of(4)
    assert old.budget(window).committed == Loss.zero()
    assert old.verified()
