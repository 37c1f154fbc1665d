"""Settlement and sweep: touched is spent, once; untouched is given back, once (L2, L6)."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from app.db.models import Budget, Entry, Job, OutboxMessage, Reservation, Result
from app.db.session import database_now, snapshot, transaction
from app.domain.accounting.prices import price
from app.domain.errors import (
    AlreadyResolved,
    InvalidParameter,
    LeaseLost,
    ResultNotReady,
    ScopeClosed,
)
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Loss
from app.services import ledger, settlement
from app.services.resume import ATTEMPTS_MOST
from app.services.settlement import Claim, Stopped
from app.services.sweep import Swept, sweep
from tests.world import World, new_world

TRAIN = {
    "v": 1,
    "algorithm": "dp_sgd",
    "model": {"name": "logistic", "classes": 2},
    "features": ["x"],
    "label": "y",
    "loss": "cross_entropy",
    "sampling": {"kind": "poisson", "rate": "0.05"},
    "normalise_by": 50,
    "steps": 40,
    "clip": {"mode": "flat", "norm_l2": "1"},
    "noise": {"noise_multiplier": "2"},
    "optimizer": {"name": "sgd", "learning_rate": 0.5},
    "chunk_steps": 10,
    "privacy": {},
}
STEP = {
    "type": "poisson_sampled",
    "rate": "0.05",
    "of": {"type": "gaussian", "noise_multiplier": "2"},
}


@pytest.fixture
def world(make_session: sessionmaker[Session], tmp_path: Path) -> Iterator[World]:
    columns = (
        {"name": "x", "type": "float64", "bounds": {"low": "0", "high": "1"}},
        {"name": "y", "type": "int64", "domain": [0, 1], "domain_source": "public"},
    )
    with new_world(make_session, tmp_path, columns=columns, rows="x,y\n0.5,1\n") as made:
        yield made


@pytest.fixture
def root(world: World) -> UUID:
    return world.open_root("rdp-mix/1", "8", "1e-5")


def submitted(world: World, root: UUID) -> UUID:
    spec = {name: value for name, value in TRAIN.items() if name != "privacy"}
    from app.services.placement import JobRequest
    from tests.world import keyed

    request = JobRequest("train", world.inputs(root), spec, "a test")
    document = world.admissions.submit(
        world.engineer, request, keyed(world.engineer, "jobs", {"steps": 40})
    )
    return UUID(document["id"])


def claimed(world: World, job_id: UUID, lease_s: float = 30.0) -> Claim:
    with transaction(world.make_session) as session:
        held = settlement.claim(
            session, job_id, owner="me", lease_s=lease_s, now=database_now(session)
        )
    assert held is not None
    return held


def start(world: World, held: Claim, units: int) -> None:
    with transaction(world.make_session) as session:
        settlement.start(session, held, 0, units, now=database_now(session))


def post(world: World, held: Claim) -> None:
    with transaction(world.make_session) as session:
        settlement.post(
            session, held, document={"value": 1}, artifacts=[], now=database_now(session)
        )


def lapse(world: World, job_id: UUID) -> None:
    with transaction(world.make_session) as session:
        job = session.get_one(Job, job_id)
        job.lease_until = database_now(session) - timedelta(seconds=1)


def job_of(world: World, job_id: UUID) -> Job:
    with snapshot(world.make_session) as session:
        job = session.get_one(Job, job_id)
        session.expunge(job)
        return job


def charge_of(units: int) -> Loss:
    return price(parse_mechanism(STEP), "add_remove").charge(units)


def test_what_was_started_is_charged_and_the_rest_is_given_back(world: World, root: UUID) -> None:
    job_id = submitted(world, root)
    assert world.budget(root).reserved == charge_of(40)
    held = claimed(world, job_id)
    start(world, held, 10)
    start(world, held, 30)
    post(world, held)
    budget = world.budget(root)
    assert (budget.committed, budget.reserved) == (charge_of(30), Loss.zero())
    assert world.jobs.result(world.engineer, job_id)["value"] == 1
    assert world.verified()


def test_a_result_cannot_be_read_before_its_spend_is_posted(world: World, root: UUID) -> None:
    job_id = submitted(world, root)
    with pytest.raises(ResultNotReady):
        world.jobs.result(world.engineer, job_id)
    held = claimed(world, job_id)
    start(world, held, 40)
    with pytest.raises(ResultNotReady):
        world.jobs.result(world.engineer, job_id)


def test_a_result_of_a_job_that_started_nothing_is_never_readable(world: World, root: UUID) -> None:
    job_id = submitted(world, root)
    held = claimed(world, job_id)
    start(world, held, 0)
    with pytest.raises(RuntimeError, match="never touched"):
        post(world, held)
    with pytest.raises(ResultNotReady):
        world.jobs.result(world.engineer, job_id)
    assert world.budget(root).reserved == charge_of(40)
    start(world, held, 1)
    post(world, held)
    assert world.budget(root).committed == charge_of(1)


def test_a_result_and_its_spend_are_one_transaction(world: World, root: UUID) -> None:
    job_id = submitted(world, root)
    held = claimed(world, job_id)
    start(world, held, 40)

    class PowerCut(Exception):
        pass

    with pytest.raises(PowerCut), transaction(world.make_session) as session:
        settlement.post(session, held, document={}, artifacts=[], now=database_now(session))
        session.flush()
        raise PowerCut
    with snapshot(world.make_session) as session:
        assert session.get(Result, job_id) is None
    assert world.budget(root).committed == Loss.zero()
    post(world, held)
    assert world.budget(root).committed == charge_of(40)


def test_a_second_settlement_is_refused_by_the_database(world: World, root: UUID) -> None:
    job_id = submitted(world, root)
    held = claimed(world, job_id)
    start(world, held, 40)
    post(world, held)
    with pytest.raises(LeaseLost):
        post(world, held)
    with pytest.raises(IntegrityError), transaction(world.make_session) as session:
        reservation = session.get_one(Reservation, job_of(world, job_id).reservation_id)
        session.get_one(Budget, root).reserved = reservation.reserved
        ledger.resolve(
            session,
            reservation,
            kind="posted",
            prices=[price(parse_mechanism(STEP), "add_remove")],
            units=[40],
            actor="a careless caller",
            job_id=job_id,
            now=database_now(session),
        )
    assert world.budget(root).committed == charge_of(40)


def test_two_deliveries_of_one_message_claim_once(world: World, root: UUID) -> None:
    job_id = submitted(world, root)
    claimed(world, job_id)
    with transaction(world.make_session) as session:
        again = settlement.claim(
            session, job_id, owner="other", lease_s=9, now=database_now(session)
        )
    assert again is None


def test_a_started_count_never_falls_and_never_passes_what_was_reserved(
    world: World, root: UUID
) -> None:
    held = claimed(world, submitted(world, root))
    start(world, held, 20)
    start(world, held, 5)
    for units in (41, -1):
        with pytest.raises(InvalidParameter):
            start(world, held, units)
    post(world, held)
    assert world.budget(root).committed == charge_of(20)


def test_a_worker_that_dies_before_the_touch_costs_nothing_and_runs_again(
    world: World, root: UUID
) -> None:
    job_id = submitted(world, root)
    held = claimed(world, job_id)
    lapse(world, job_id)
    assert sweep(world.make_session).requeued == 1
    with pytest.raises(LeaseLost):
        start(world, held, 10)
    again = claimed(world, job_id)
    assert again.fence > held.fence
    start(world, again, 40)
    post(world, again)
    assert world.budget(root).committed == charge_of(40)


def test_a_worker_that_dies_after_the_touch_has_spent_what_it_started(world: World) -> None:
    # a query has nothing to go on from; what a training run does is in test_resume
    root = world.open_root()
    profile = {
        "v": 1,
        "values": [{"col": "x", "lo": "0", "hi": "1", "q": ["0.5"]}],
        "privacy": {"epsilon": "0.5", "delta": "0"},
    }
    job_id = UUID(world.submit(root, profile, kind="profile")["id"])
    held = claimed(world, job_id)
    start(world, held, 1)
    lapse(world, job_id)
    assert sweep(world.make_session).failed == (job_id,)
    job, budget = job_of(world, job_id), world.budget(root)
    assert (job.state, job.failure_code) == ("failed", "failed-after-touch")
    assert budget.committed != Loss.zero()
    assert budget.reserved == Loss.zero()
    with pytest.raises(LeaseLost):
        post(world, held)
    assert sweep(world.make_session) == Swept()
    assert world.verified()


def test_a_job_that_never_gets_to_its_touch_is_given_up_and_costs_nothing(
    world: World, root: UUID
) -> None:
    job_id = submitted(world, root)
    for _ in range(ATTEMPTS_MOST):
        claimed(world, job_id)
        lapse(world, job_id)
        sweep(world.make_session)
    job, budget = job_of(world, job_id), world.budget(root)
    assert (job.state, job.failure_code) == ("failed", "gave-up")
    assert (budget.committed, budget.reserved) == (Loss.zero(), Loss.zero())


def test_a_failure_after_the_touch_has_one_code_whatever_its_cause(
    world: World, root: UUID
) -> None:
    codes = set()
    for cause in ("out-of-memory", "engine-failed", "source-unavailable"):
        job_id = submitted(world, root)
        held = claimed(world, job_id)
        start(world, held, 10)
        with transaction(world.make_session) as session:
            settlement.fail(session, held, cause, now=database_now(session))
        codes.add(job_of(world, job_id).failure_code)
    assert codes == {"failed-after-touch"}


def test_a_failure_before_the_touch_is_free_and_says_its_cause(world: World, root: UUID) -> None:
    job_id = submitted(world, root)
    held = claimed(world, job_id)
    with transaction(world.make_session) as session:
        settlement.fail(session, held, "source-unavailable", now=database_now(session))
    assert job_of(world, job_id).failure_code == "source-unavailable"
    assert world.budget(root).reserved == Loss.zero()


def test_a_queued_job_is_cancelled_at_no_charge(world: World, root: UUID) -> None:
    job_id = submitted(world, root)
    assert world.jobs.cancel(world.engineer, job_id)["state"] == "cancelled"
    assert world.jobs.cancel(world.engineer, job_id)["state"] == "cancelled"
    assert world.budget(root).reserved == Loss.zero()
    with transaction(world.make_session) as session:
        held = settlement.claim(session, job_id, owner="me", lease_s=9, now=database_now(session))
    assert held is None


def test_a_running_job_stops_at_its_next_chunk_and_pays_for_the_ones_before(
    world: World, root: UUID
) -> None:
    job_id = submitted(world, root)
    held = claimed(world, job_id)
    start(world, held, 10)
    assert world.jobs.cancel(world.engineer, job_id)["state"] == "running"
    with pytest.raises(Stopped):
        start(world, held, 20)
    post(world, held)
    assert job_of(world, job_id).state == "cancelled"
    assert world.budget(root).committed == charge_of(10)
    with pytest.raises(AlreadyResolved):
        done = submitted(world, root)
        finished = claimed(world, done)
        start(world, finished, 40)
        post(world, finished)
        world.jobs.cancel(world.engineer, done)


def test_a_scope_that_was_frozen_meanwhile_stops_the_touch(world: World, root: UUID) -> None:
    held = claimed(world, submitted(world, root))
    with transaction(world.make_session) as session:
        session.get_one(Budget, root).state = "frozen"
    with pytest.raises(ScopeClosed):
        start(world, held, 10)
    with snapshot(world.make_session) as session:
        assert session.scalars(select(Reservation.started_units)).all() == [[0]]


def test_a_job_whose_message_was_lost_is_woken_again(world: World, root: UUID) -> None:
    job_id = submitted(world, root)
    with transaction(world.make_session) as session:
        message = session.scalars(select(OutboxMessage)).one()
        message.sent_at = database_now(session) - timedelta(seconds=31)
    assert sweep(world.make_session).resent == 1
    assert sweep(world.make_session).resent == 0
    with snapshot(world.make_session) as session:
        unsent = select(func.count()).where(OutboxMessage.sent_at.is_(None))
        assert session.scalar(unsent.where(OutboxMessage.job_id == job_id)) == 1


def test_an_outside_job_that_lapses_is_charged_in_full(world: World, root: UUID) -> None:
    document = world.reserve(root, STEP, 40)
    expire(world, document["id"])
    assert sweep(world.make_session).lapsed == 1
    assert world.budget(root).committed == charge_of(40)
    with pytest.raises(AlreadyResolved):
        world.reservations.start(world.engineer, UUID(document["id"]), 1, 0, 5)


def test_a_registered_runner_that_lapses_pays_what_it_started(world: World, root: UUID) -> None:
    from dataclasses import replace

    runner = replace(world.engineer, is_runner=True)
    document = world.reserve(root, STEP, 40, who=runner)
    world.reservations.start(runner, UUID(document["id"]), 1, 0, 15)
    expire(world, document["id"])
    sweep(world.make_session)
    assert world.budget(root).committed == charge_of(15)
    with snapshot(world.make_session) as session:
        kinds = session.scalars(select(Entry.kind).order_by(Entry.seq)).all()
    assert kinds == ["opened", "reserved", "posted"]


def expire(world: World, reservation_id: str) -> None:
    with transaction(world.make_session) as session:
        row = session.get_one(Reservation, UUID(reservation_id))
        row.lease_until = database_now(session) - timedelta(seconds=1)
