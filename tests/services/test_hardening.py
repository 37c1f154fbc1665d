"""Faults that were found by reading the ledger as an attacker, each with its proof."""

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.orm import Session

from app.db.models import Budget, Entry, Job, Project, Reservation
from app.db.session import database_now, transaction
from app.domain.accounting import prices
from app.domain.accounting.prices import Price, price
from app.domain.errors import (
    BudgetExceeded,
    DomainError,
    InvalidParameter,
    NotAllowed,
    NotFound,
    NothingStarted,
    RateLimited,
    ScopeClosed,
)
from app.domain.ledger import entry_hash
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Loss
from app.services import parts, pricing, settlement
from app.services.admission import Admissions
from app.services.batches import Asked
from app.services.datasets import Datasets
from app.services.settlement import Claim
from app.services.statements import statement
from app.services.sweep import sweep
from app.services.writer import AdmissionWriter, WriterBusy
from tests.world import World, keyed
from workers.claimed import ClaimedLedger
from workers.engines.api import ClaimLost, Outcome

PURE = {"type": "pure", "epsilon": "0.01"}
GAUSSIAN = {"type": "gaussian", "noise_multiplier": "20"}


def on_another_machine(found: Price) -> Price:
    """The same mechanism as another processor prices it: a last bit differs in every order."""
    terms = tuple(
        (count, tuple(math.nextafter(value, math.inf) for value in vector))
        for count, vector in found.terms
    )
    return replace(found, terms=terms)


def test_prices_that_differ_in_a_last_bit_are_different_prices() -> None:
    here = price(parse_mechanism(GAUSSIAN), "add_remove")
    there = on_another_machine(here)
    assert here.digest != there.digest
    assert Price.from_json(there.to_json()) == there


def test_machines_that_price_differently_settle_each_other_s_jobs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = world.open_root("rdp-mix/1", "8", "1e-6")
    here = UUID(world.reserve(root, GAUSSIAN, 300)["id"])
    monkeypatch.setattr(pricing, "price", lambda *asked: on_another_machine(prices.price(*asked)))
    there = UUID(world.reserve(root, GAUSSIAN, 300)["id"])
    for reserved in (here, there):
        world.reservations.commit(world.engineer, reserved, 1, None)
    assert world.budget(root).reserved == Loss.zero()
    assert world.verified()


def test_a_charge_above_what_was_held_changes_nothing(world: World) -> None:
    root = world.open_root("rdp-mix/1", "8", "1e-6")
    reserved = UUID(world.reserve(root, GAUSSIAN, 10)["id"])
    with pytest.raises(ValueError, match="units"), transaction(world.make_session) as session:
        row = session.get_one(Reservation, reserved)
        settlement.post_units(session, row, [11], "a bug", None, now=database_now(session))
    assert world.budget(root).committed == Loss.zero()
    assert world.verified()


def test_one_job_that_cannot_be_ended_keeps_no_other_waiting(world: World) -> None:
    root = world.open_root()
    jobs = [UUID(world.submit(root)["id"]) for _ in range(3)]
    for job_id in jobs:
        with transaction(world.make_session) as session:
            now = database_now(session)
            settlement.claim(session, job_id, owner="me", lease_s=-1, now=now)
            settlement_row = session.get_one(Job, job_id)
            reservation = session.get_one(Reservation, settlement_row.reservation_id)
            reservation.state, reservation.started_units = "touched", [1]
            if job_id == jobs[0]:
                reservation.parts = [{**reservation.parts[0], "price": "0" * 64}]
    assert set(sweep(world.make_session).failed) == set(jobs[1:])
    states = [world.jobs.get(world.engineer, job_id)["state"] for job_id in jobs]
    assert states == ["running", "failed", "failed"]


def test_equal_keys_at_the_edge_get_one_answer_from_two_processes(world: World) -> None:
    other = AdmissionWriter(world.make_session)
    other.start()
    root = world.open_root(epsilon="1")
    try:
        for round_ in range(8):
            held = world.budget(root).reserved.maximum_atto
            filler = (10**18 - held) // 10**16 - 1
            blocking = world.reserve(root, PURE, filler)
            answers: list[str] = []

            def ask(writer: AdmissionWriter, key: str, answers: list[str] = answers) -> None:
                own = replace_writer(world, writer)
                try:
                    answers.append(own.reserve(root, PURE, 1, key=key)["id"])
                except BudgetExceeded:
                    answers.append("refused")

            threads = [
                threading.Thread(target=ask, args=(writer, f"edge {round_}"))
                for writer in (world.writer, other)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(set(answers)) == 1, answers
            for name in (blocking["id"], answers[0]):
                world.reservations.void(world.engineer, UUID(name), 1, "no private row was read")
    finally:
        other.stop()


def replace_writer(world: World, writer: AdmissionWriter) -> World:
    return replace(world, writer=writer)


def test_a_start_in_a_hidden_frozen_scope_names_nobody_s_secret(world: World) -> None:
    root = world.open_root()
    hidden = world.open_allocation(root, "1")
    mine = world.open_allocation(hidden, "1")
    with transaction(world.make_session) as session:
        project = Project(id=UUID(int=7), name="other", created_at=database_now(session))
        session.add(project)
        session.flush()
        session.get_one(Budget, hidden).holder_project_id = project.id
    reserved = UUID(world.reserve(mine, PURE, 3)["id"])
    with transaction(world.make_session) as session:
        session.get_one(Budget, hidden).state = "frozen"
    with pytest.raises(ScopeClosed) as refused:
        world.reservations.start(world.engineer, reserved, 1, 0, 1)
    assert refused.value.scope == {"kind": "an ancestor"}


def test_an_honest_ledger_raises_no_alarm_while_others_write(world: World) -> None:
    root = world.open_root()
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            reserved = UUID(world.reserve(root, PURE, 1)["id"])
            world.reservations.void(world.engineer, reserved, 1, "no private row was read")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(world.verified() for _ in range(25))
    finally:
        stop.set()
        writer.join()


def disarm(session: Session, table: str) -> None:
    """Take a table's fences down, as somebody who owns the database can."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))
        return
    names = session.scalars(
        text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table"),
        {"table": table},
    ).all()
    for name in names:
        session.execute(text(f"DROP TRIGGER {name}"))


TAMPERINGS: dict[str, Callable[[str], str]] = {
    "cut": lambda body: body[:-1],
    "a float": lambda body: body.replace('"seq":2', '"seq":2.0'),
    "nested": lambda body: "[" * 100_000 + "]" * 100_000,
    "another shape": lambda body: '{"v":1}',
    "another key": lambda body: body.replace('"actor"', '"actress"'),
}


@pytest.mark.parametrize("how", TAMPERINGS)
def test_a_tampered_entry_is_found_and_does_not_hide_the_rest(world: World, how: str) -> None:
    root = world.open_root()
    world.reserve(root, PURE, 1)
    with transaction(world.make_session) as session:
        disarm(session, "entries")
        entry = session.scalars(select(Entry).where(Entry.seq == 2)).one()
        entry.body = TAMPERINGS[how](entry.body)
        entry.hash = entry_hash(entry.body.encode())
    found = world.budgets.verification(world.people["auditor"])
    assert not found["verified"]
    assert found["faults"][0]["seq"] == 2


def test_a_limit_that_was_changed_behind_the_chain_is_found(world: World) -> None:
    root = world.open_root()
    with transaction(world.make_session) as session:
        disarm(session, "budgets")
        budget = session.get_one(Budget, root)
        limit = {**budget.policy["limit"], "epsilon": "9999"}
        budget.policy = {**budget.policy, "limit": limit}
    faults = world.budgets.verification(world.people["auditor"])["faults"]
    assert "limit or state" in faults[0]["reason"]


def claimed(world: World, job_id: UUID) -> Claim:
    with transaction(world.make_session) as session:
        held = settlement.claim(session, job_id, owner="me", lease_s=30, now=database_now(session))
    assert held is not None
    return held


@pytest.fixture
def failing_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes a step fail as a database does that breaks off, once, after its work was done."""

    def arm(name: str, *, committed: bool) -> list[str]:
        step, calls = getattr(settlement, name), list[str]()

        def broken(session: Session, *args: Any, **kwargs: Any) -> Any:
            done = step(session, *args, **kwargs)
            calls.append(name)
            if len(calls) == 1:
                if committed:
                    session.commit()
                raise OperationalError("connection lost", None, Exception())
            return done

        monkeypatch.setattr(settlement, name, broken)
        return calls

    return arm  # type: ignore[return-value]


@pytest.mark.parametrize("step", ["start", "post", "fail"])
@pytest.mark.parametrize("committed", [False, True])
def test_a_connection_that_breaks_loses_no_result_and_doubles_no_charge(
    world: World, failing_once: Any, step: str, committed: bool
) -> None:
    root = world.open_root()
    job_id = UUID(world.submit(root)["id"])
    ledger = ClaimedLedger(world.make_session, claimed(world, job_id), 30, world.journal)
    failing_once(step, committed=committed)
    with ledger:
        ledger.start(0, 1)
        if step == "fail":
            # committed though its answer was lost: the claim is gone, the charge is there
            with suppress(ClaimLost) if committed else nullcontext():
                ledger.fail("engine-failed")
        else:
            ledger.post(Outcome({"value": 1}), [])
    state = world.jobs.get(world.engineer, job_id)["state"]
    assert state == ("failed" if step == "fail" else "settled")
    assert world.budget(root).committed.maximum_atto == 10**16
    assert world.verified()


def test_a_progress_row_takes_no_field_that_is_not_on_the_list(world: World) -> None:
    root = world.open_root()
    held = claimed(world, UUID(world.submit(root)["id"]))
    for field in ("train_loss", "rows_drawn", "norm"):
        with (
            pytest.raises(ValueError, match="progress"),
            transaction(world.make_session) as session,
        ):
            settlement.progress(session, held, {"step": 1, field: 1}, now=database_now(session))


def test_a_runner_s_reservation_listens_to_the_runner_s_key_alone(world: World) -> None:
    root = world.open_root()
    runner = replace(world.engineer, is_runner=True)
    reserved = UUID(world.reserve(root, PURE, 3, who=runner)["id"])
    with pytest.raises(NotAllowed):
        world.reservations.start(world.engineer, reserved, 1, 0, 1)
    with pytest.raises(NothingStarted):
        world.reservations.commit(runner, reserved, 1, "a" * 64)
    world.reservations.start(runner, reserved, 1, 0, 2)
    with pytest.raises(NotAllowed):
        world.reservations.commit(world.engineer, reserved, 1, "a" * 64)
    assert world.reservations.commit(runner, reserved, 1, "a" * 64)["charged_units"] == [2]


def test_a_request_after_the_writer_s_end_is_answered(world: World) -> None:
    def asked(answer: dict[str, Any]) -> Asked:
        return Asked(keyed(world.engineer, "a route", {}), (), lambda _batch: answer)

    writer = AdmissionWriter(world.make_session)
    with pytest.raises(WriterBusy):
        writer.decide(asked({}))
    writer.start()
    assert writer.decide(asked({"a": 1})) == {"a": 1}
    writer.stop()
    with pytest.raises(WriterBusy):
        Admissions(world.make_session, writer).writer.decide(asked({}))


def test_a_tree_that_is_too_deep_is_refused_when_it_is_built(world: World) -> None:
    leaf = world.open_root()
    with pytest.raises(InvalidParameter) as refused:
        for _ in range(40):
            leaf = world.open_allocation(leaf, "1")
    assert refused.value.pointer == "/parent_id"
    world.reserve(leaf, PURE, 1)


def test_many_parts_are_no_way_around_the_bound_on_one_mechanism(world: World) -> None:
    root = world.open_root("rdp-mix/1", "8", "1e-6")
    nested = {"type": "composed", "of": [GAUSSIAN] * 20}
    with pytest.raises(InvalidParameter):
        request = [{"mechanism": nested, "max_units": 1}] * 10
        parts.parse_parts(json.loads(json.dumps(request)))
    world.reserve(root, nested, 1)


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE entries SET hash = 'x'",
        "UPDATE entries SET seq = seq + 100",
        "DELETE FROM entries",
    ],
)
def test_an_entry_cannot_be_changed_or_deleted(world: World, tampering: str) -> None:
    world.open_root()
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction(world.make_session) as session,
    ):
        session.execute(text(tampering))


@pytest.mark.parametrize("same", ["seq", "id", "resolves_id"])
def test_sqlite_replaces_no_entry_by_any_of_its_keys(world: World, same: str) -> None:
    if world.make_session().get_bind().dialect.name != "sqlite":
        return  # REPLACE is SQLite's own
    root = world.open_root()
    reserved = UUID(world.reserve(root, PURE, 1)["id"])
    world.reservations.commit(world.engineer, reserved, 1, None)
    values = {
        "seq": "3 AS seq, lower(hex(randomblob(16))) AS id, NULL AS resolves_id, 'opened' AS kind",
        "id": "99 AS seq, id, NULL AS resolves_id, 'opened' AS kind",
        "resolves_id": "99 AS seq, lower(hex(randomblob(16))) AS id, resolves_id, kind",
    }[same]
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction(world.make_session) as session,
    ):
        session.execute(text("PRAGMA recursive_triggers = OFF"))
        session.execute(
            text(
                "INSERT OR REPLACE INTO entries"
                " (budget_id, seq, id, resolves_id, kind, body, hash, created_at)"
                f" SELECT budget_id, {values.replace(' AS kind', '')}, 'forged', hash, created_at"
                " FROM entries WHERE kind = 'posted'"
            )
        )


def failed_after_touch(world: World, root: UUID, code: str, *, cancelled: bool) -> dict[str, Any]:
    job_id = UUID(world.submit(root)["id"])
    held = claimed(world, job_id)
    with transaction(world.make_session) as session:
        settlement.start(session, held, 0, 1, now=database_now(session))
    if cancelled:
        world.jobs.cancel(world.engineer, job_id)
    with transaction(world.make_session) as session:
        settlement.fail(session, held, code, now=database_now(session))
    return world.jobs.get(world.engineer, job_id)


def test_a_late_cancel_hides_no_failure_from_the_count(world: World) -> None:
    root = world.open_root()
    for _ in range(11):
        job = failed_after_touch(world, root, "engine-failed", cancelled=True)
        assert (job["state"], job["failure_code"]) == ("cancelled", "failed-after-touch")
    assert world.budget(root).state == "frozen"


@pytest.mark.parametrize("code", ["scope-closed", "cancelled"])
def test_a_stop_that_parameters_decided_is_no_failure_and_freezes_nothing(
    world: World, code: str
) -> None:
    root = world.open_root()
    for _ in range(12):
        job = failed_after_touch(world, root, code, cancelled=code == "cancelled")
        assert job["failure_code"] != "failed-after-touch"
    assert world.budget(root).state == "open"


def test_a_rate_limit_of_a_hidden_scope_tells_nothing_of_others(world: World) -> None:
    root = world.open_root()
    hidden = world.open_allocation(root, "1")
    mine = world.open_allocation(hidden, "1")
    world.change(hidden, "limit_rate", rate_limits={"jobs_per_hour": 1})
    world.reserve(hidden, PURE, 1)
    with transaction(world.make_session) as session:
        project = Project(id=UUID(int=7), name="other", created_at=database_now(session))
        session.add(project)
        session.flush()
        session.get_one(Budget, hidden).holder_project_id = project.id
    with pytest.raises(RateLimited) as refused:
        world.reserve(mine, PURE, 1)
    facts = vars(refused.value)
    assert facts["scope"] == {"kind": "an ancestor"}
    assert (facts["limit"], facts["most"], facts["retry_after_s"]) == ("rate", 0, 3600)


def test_a_root_of_a_retired_dataset_is_not_opened(world: World) -> None:
    proposed = world.propose_root()
    officer = world.people["officer"]
    datasets = Datasets(world.make_session)
    revision = datasets.get(officer, world.dataset_id)["revision"]
    datasets.retire(officer, world.dataset_id, if_version=revision)
    with pytest.raises(DomainError):
        world.decide(UUID(proposed["approval_id"]), "approve")
    assert world.budget(UUID(proposed["id"])).state != "open"


def test_who_may_not_read_the_lifetime_gets_no_statement_of_a_part(world: World) -> None:
    root = world.open_root()
    team = world.open_allocation(root, "0.5")
    assert statement(world.make_session, world.engineer, team, "officer")["lifetime"]
    Datasets(world.make_session).withdraw(
        world.people["officer"], world.dataset_id, world.project_id
    )
    for audience in ("officer", "auditor"):
        with pytest.raises(NotFound):
            statement(world.make_session, world.engineer, team, audience)


def test_what_is_handed_on_to_the_people_in_the_data_says_nothing_of_what_others_spent(
    world: World,
) -> None:
    root = world.open_root()
    team = world.open_allocation(root, "0.5")
    told = statement(world.make_session, world.engineer, team, "subject")
    world.reserve(root, PURE, 4)
    Datasets(world.make_session).withdraw(
        world.people["officer"], world.dataset_id, world.project_id
    )
    assert statement(world.make_session, world.engineer, team, "subject") == told
    with pytest.raises(NotFound):
        statement(world.make_session, world.engineer, root, "subject")
