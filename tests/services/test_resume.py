"""Resume: a kill costs what was started since; nothing is charged twice, nothing is free (R14).

No engine runs here: the claims are made by hand, so that each race happens where it is wanted.
"""

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from app.db.models import Budget, DatasetRow, Entry, Job, OutboxMessage, Reservation
from app.db.session import database_now, snapshot, transaction
from app.domain.errors import LeaseLost, NotAllowedAnyMore, ScopeClosed
from app.domain.jobs import NamedCheckpoint
from app.domain.privacy import Limit, Loss
from app.domain.windows import Window
from app.services import failures, resume, settlement, windows
from app.services.budgets import BudgetRequest
from app.services.datasets import Datasets
from app.services.failures import FAILURES_MOST
from app.services.holdings import Holding
from app.services.resume import ATTEMPTS_MOST, CHECKPOINTS_MOST
from app.services.settlement import Claim
from app.services.sweep import Swept, sweep, sweep_files
from tests.services.test_settlement import (
    charge_of,
    claimed,
    job_of,
    lapse,
    post,
    root,
    start,
    submitted,
    world,
)
from tests.world import World, keyed

__all__ = ["root", "world"]

FIRST = date(2026, 1, 1)


def lost(world: World, job_id: UUID, held: Claim, units: int) -> Swept:
    """The worker of a claim starts units and is never heard of again."""
    if units:
        start(world, held, units)
    lapse(world, job_id)
    return sweep(world.make_session)


def entries(world: World, job_id: UUID) -> list[str]:
    with snapshot(world.make_session) as session:
        reservation = session.get_one(Job, job_id).reservation_id
        statement = select(Entry.kind).where(Entry.reservation_id == reservation)
        return list(session.scalars(statement.order_by(Entry.seq)))


def named(units: int, name: str = "") -> NamedCheckpoint:
    return NamedCheckpoint(name or f"1-{units}", (units,), "0" * 64)


def keep(world: World, held: Claim, checkpoint: NamedCheckpoint) -> list[NamedCheckpoint]:
    with transaction(world.make_session) as session:
        return resume.name_checkpoint(session, held, checkpoint)


def hand_back(world: World, held: Claim) -> bool:
    with transaction(world.make_session) as session:
        return resume.hand_back(session, held, now=database_now(session))


def fail(world: World, held: Claim, code: str) -> None:
    with transaction(world.make_session) as session:
        settlement.fail(session, held, code, now=database_now(session))


def test_a_touched_run_goes_on_under_a_new_claim_and_is_charged_once_for_all_it_started(
    world: World, root: UUID
) -> None:
    job_id = submitted(world, root)
    held = claimed(world, job_id)
    assert lost(world, job_id, held, 10) == Swept(requeued=1)
    assert job_of(world, job_id).state == "queued"
    # nothing is given back and nothing more is taken meanwhile: the reservation is the same
    assert (world.budget(root).committed, world.budget(root).reserved) == (
        Loss.zero(),
        charge_of(40),
    )
    again = claimed(world, job_id)
    assert again.fence > held.fence
    start(world, again, 20)
    start(world, again, 40)
    post(world, again)
    assert world.budget(root).committed == charge_of(40)
    assert world.budget(root).reserved == Loss.zero()
    assert entries(world, job_id) == ["reserved", "posted"]
    assert world.verified()


def test_what_was_started_before_the_kill_stays_charged_where_the_resumed_run_stops_early(
    world: World, root: UUID
) -> None:
    job_id = submitted(world, root)
    lost(world, job_id, claimed(world, job_id), 30)
    again = claimed(world, job_id)
    # an engine that asks for less than was started changes nothing
    start(world, again, 10)
    post(world, again)
    assert world.budget(root).committed == charge_of(30)
    assert world.verified()


def test_the_job_is_woken_when_it_is_queued_again(world: World, root: UUID) -> None:
    job_id = submitted(world, root)
    lost(world, job_id, claimed(world, job_id), 10)
    with snapshot(world.make_session) as session:
        count = select(func.count()).where(OutboxMessage.job_id == job_id)
        assert session.scalar(count) == 2


@pytest.mark.parametrize("step", ["start", "post", "name", "fail", "hand back"])
def test_a_worker_that_wakes_up_after_its_job_went_on_writes_nothing(
    world: World, root: UUID, step: str
) -> None:
    job_id = submitted(world, root)
    stale = claimed(world, job_id)
    steps: dict[str, Callable[[], Any]] = {
        "start": lambda: start(world, stale, 20),
        "post": lambda: post(world, stale),
        "name": lambda: keep(world, stale, named(10)),
        "fail": lambda: fail(world, stale, "engine-failed"),
        "hand back": lambda: hand_back(world, stale),
    }
    lost(world, job_id, stale, 10)
    with pytest.raises(LeaseLost):
        steps[step]()
    again = claimed(world, job_id)
    with pytest.raises(LeaseLost):
        steps[step]()
    job = job_of(world, job_id)
    assert (job.state, job.fence, job.checkpoints) == ("running", again.fence, None)
    with snapshot(world.make_session) as session:
        assert session.get_one(Reservation, job.reservation_id).started_units == [10]


def test_a_run_that_is_lost_again_and_again_ends_at_what_it_started(
    world: World, root: UUID
) -> None:
    job_id = submitted(world, root)
    for attempt in range(1, ATTEMPTS_MOST):
        assert lost(world, job_id, claimed(world, job_id), 5 * attempt).requeued == 1
    last = lost(world, job_id, claimed(world, job_id), 5 * ATTEMPTS_MOST)
    assert last == Swept(failed=(job_id,))
    job, budget = job_of(world, job_id), world.budget(root)
    assert (job.state, job.failure_code) == ("failed", "failed-after-touch")
    assert budget.committed == charge_of(5 * ATTEMPTS_MOST)
    assert budget.reserved == Loss.zero()
    assert entries(world, job_id) == ["reserved", "posted"]
    assert world.verified()


def test_a_kind_that_keeps_no_checkpoint_ends_with_its_touch(world: World) -> None:
    root = world.open_root()
    job_id = UUID(world.submit(root)["id"])
    assert lost(world, job_id, claimed(world, job_id), 1).failed == (job_id,)
    job = job_of(world, job_id)
    assert (job.state, job.failure_code) == ("failed", "failed-after-touch")


def test_a_failure_that_an_engine_reports_is_never_run_again(world: World, root: UUID) -> None:
    # rows decide whether an engine fails; to try again would let them say so again and again (R13)
    job_id = submitted(world, root)
    lost(world, job_id, claimed(world, job_id), 10)
    again = claimed(world, job_id)
    start(world, again, 20)
    fail(world, again, "out-of-memory")
    assert sweep(world.make_session) == Swept()
    job = job_of(world, job_id)
    assert (job.state, job.failure_code) == ("failed", "failed-after-touch")
    assert world.budget(root).committed == charge_of(20)


def test_a_run_that_was_to_be_cancelled_does_not_go_on(world: World, root: UUID) -> None:
    job_id = submitted(world, root)
    held = claimed(world, job_id)
    start(world, held, 10)
    world.jobs.cancel(world.engineer, job_id)
    lapse(world, job_id)
    assert sweep(world.make_session).failed == (job_id,)
    assert job_of(world, job_id).state == "cancelled"
    assert world.budget(root).committed == charge_of(10)


def test_a_cancel_while_a_resumed_run_is_queued_charges_what_was_started(
    world: World, root: UUID
) -> None:
    job_id = submitted(world, root)
    lost(world, job_id, claimed(world, job_id), 10)
    assert world.jobs.cancel(world.engineer, job_id)["state"] == "cancelled"
    budget = world.budget(root)
    assert (budget.committed, budget.reserved) == (charge_of(10), Loss.zero())
    assert entries(world, job_id) == ["reserved", "posted"]


def frozen(world: World, budget_id: UUID) -> None:
    with transaction(world.make_session) as session:
        session.get_one(Budget, budget_id).state = "frozen"


def closed(world: World, budget_id: UUID) -> None:
    with transaction(world.make_session) as session:
        session.get_one(Budget, budget_id).state = "closed"


def expired(world: World, budget_id: UUID) -> None:
    with transaction(world.make_session) as session:
        before = database_now(session) - timedelta(seconds=1)
        session.get_one(Budget, budget_id).expires_at = before


def retired(world: World, _: UUID) -> None:
    with transaction(world.make_session) as session:
        session.get_one(DatasetRow, world.dataset_id).state = "retired"


PLACES = [
    *((shut, place) for shut in (frozen, closed) for place in ("root", "allocation", "window")),
    (expired, "allocation"),
    (retired, "root"),
]


@pytest.mark.parametrize(("shut", "place"), PLACES)
def test_a_run_does_not_go_on_under_a_scope_that_is_not_open(
    world: World, root: UUID, shut: Callable[[World, UUID], None], place: str
) -> None:
    window = open_window(world, root, "8")
    team = world.open_allocation(root, "4", accountant="rdp-mix/1", delta="1e-6")
    job_id = submitted(world, team)
    held = claimed(world, job_id)
    start(world, held, 10)
    shut(world, {"root": root, "allocation": team, "window": window}[place])
    lapse(world, job_id)
    assert sweep(world.make_session).failed == (job_id,)
    # whatever the reason not to go on, a worker went silent after a touch: there is one code (R13)
    assert job_of(world, job_id).failure_code == "failed-after-touch"
    for budget_id in (root, team):
        assert world.budget(budget_id).committed == charge_of(10)
        assert world.budget(budget_id).reserved == Loss.zero()


@pytest.mark.parametrize(("shut", "place"), PLACES)
def test_a_scope_that_closes_while_a_resumed_run_is_queued_stops_its_next_start(
    world: World, root: UUID, shut: Callable[[World, UUID], None], place: str
) -> None:
    window = open_window(world, root, "8")
    team = world.open_allocation(root, "4", accountant="rdp-mix/1", delta="1e-6")
    job_id = submitted(world, team)
    lost(world, job_id, claimed(world, job_id), 10)
    shut(world, {"root": root, "allocation": team, "window": window}[place])
    again = claimed(world, job_id)
    with pytest.raises(ScopeClosed):
        start(world, again, 20)
    fail(world, again, ScopeClosed.code)
    assert world.budget(team).committed == charge_of(10)
    assert world.budget(root).committed == charge_of(10)
    assert world.budget(root).reserved == Loss.zero()


def test_a_resumed_run_whose_owner_lost_the_right_starts_nothing_more(
    world: World, root: UUID
) -> None:
    job_id = submitted(world, root)
    lost(world, job_id, claimed(world, job_id), 10)
    Datasets(world.make_session).withdraw(
        world.people["officer"], world.dataset_id, world.project_id
    )
    again = claimed(world, job_id)
    with pytest.raises(NotAllowedAnyMore):
        start(world, again, 20)


def open_window(world: World, parent: UUID, epsilon: str) -> UUID:
    officer = world.people["officer"]
    request = BudgetRequest(
        kind="window",
        dataset_id=None,
        parent_id=parent,
        name="monthly",
        limit=Limit(Decimal(epsilon), Decimal("1e-5")),
        accountant="rdp-mix/1",
        delta_split=Decimal("0.9"),
        milestones=(),
        holder_project_id=None,
        expires_at=None,
        reason="a pace",
        window=Window("month", "UTC", FIRST, "always"),
    )
    proposed = world.budgets.create(officer, request, keyed(officer, "budgets", {"w": 1}))
    world.decide(UUID(proposed["approval_id"]), "approve")
    return UUID(proposed["id"])


def periods(world: World, window: UUID) -> list[Budget]:
    with snapshot(world.make_session) as session:
        statement = select(Budget).where(Budget.parent_id == window).order_by(Budget.starts_at)
        found = list(session.scalars(statement))
        for each in found:
            session.expunge(each)
        return found


def next_month(world: World) -> datetime:
    with snapshot(world.make_session) as session:
        now = database_now(session)
    return datetime(now.year + now.month // 12, now.month % 12 + 1, 2, tzinfo=UTC)


def test_a_run_that_resumes_in_the_next_window_leaves_what_it_started_in_the_old_one(
    world: World, root: UUID
) -> None:
    window = open_window(world, root, "8")
    job_id = submitted(world, root)
    lost(world, job_id, claimed(world, job_id), 10)
    again, later = claimed(world, job_id), next_month(world)
    with transaction(world.make_session) as session:
        settlement.start(session, again, 0, 20, now=later)
    old, new = periods(world, window)
    assert (old.committed, old.reserved) == (charge_of(10), Loss.zero())
    assert (new.committed, new.reserved) == (Loss.zero(), charge_of(30))
    with transaction(world.make_session) as session:
        settlement.start(session, again, 0, 40, now=later)
        settlement.post(session, again, document={}, artifacts=[], now=later)
    old, new = periods(world, window)
    assert (old.committed, new.committed) == (charge_of(10), charge_of(30))
    assert world.budget(root).committed == charge_of(40)
    assert world.verified()


def test_a_run_that_resumes_in_a_window_without_room_stops_at_what_it_started(
    world: World, root: UUID
) -> None:
    window = open_window(world, root, "1.6")
    job_id = submitted(world, root)
    lost(world, job_id, claimed(world, job_id), 10)
    later = next_month(world)
    # somebody else has been admitted in the new month first
    with transaction(world.make_session) as session:
        period = windows.period_in_force(session, session.get_one(Budget, window), now=later)
        period.committed = charge_of(2000)
        assert not Holding.of(period, None).admits(charge_of(30))
    again = claimed(world, job_id)
    with pytest.raises(ScopeClosed) as refused, transaction(world.make_session) as session:
        settlement.start(session, again, 0, 20, now=later)
    assert refused.value.state == "window over"
    fail(world, again, ScopeClosed.code)
    assert world.budget(root).committed == charge_of(10)
    assert job_of(world, job_id).failure_code == ScopeClosed.code


def test_workers_that_go_silent_after_a_touch_count_as_failures_though_their_jobs_go_on(
    world: World, root: UUID
) -> None:
    # else rows that kill a worker could say so five times a job, and be cancelled before the last
    silent = 0
    while silent <= FAILURES_MOST:
        job_id = submitted(world, root)
        for attempt in range(1, ATTEMPTS_MOST):
            assert world.budget(root).state == "open", silent
            lost(world, job_id, claimed(world, job_id), attempt)
            silent += 1
            if silent > FAILURES_MOST:
                break
        if silent <= FAILURES_MOST:
            world.jobs.cancel(world.engineer, job_id)
    assert world.budget(root).state == "frozen"
    again = claimed(world, job_id)
    with pytest.raises(ScopeClosed):
        start(world, again, 30)


def test_a_silence_before_the_touch_or_before_the_last_day_counts_for_nothing(
    world: World, root: UUID
) -> None:
    job_id = submitted(world, root)
    lost(world, job_id, claimed(world, job_id), 0)
    assert job_of(world, job_id).lapses_after_touch == 0
    lost(world, job_id, claimed(world, job_id), 10)
    assert job_of(world, job_id).lapses_after_touch == 1

    def freezes(now: datetime) -> bool:
        with transaction(world.make_session) as session:
            return failures.freeze_after_failures(session, world.dataset_id, now=now, most=0)

    with snapshot(world.make_session) as session:
        now = database_now(session)
    assert not freezes(now + timedelta(days=1, seconds=5))
    assert freezes(now + timedelta(seconds=5))


def test_a_worker_that_was_told_to_stop_hands_its_run_on_at_no_cost(
    world: World, root: UUID
) -> None:
    job_id = submitted(world, root)
    for units in (10, 20, 30, 30, 30, 30, 30):
        held = claimed(world, job_id)
        start(world, held, units)
        assert hand_back(world, held)
        with pytest.raises(LeaseLost):
            start(world, held, 40)
    job = job_of(world, job_id)
    assert (job.state, job.attempts, job.lapses_after_touch) == ("queued", 0, 0)
    last = claimed(world, job_id)
    start(world, last, 40)
    post(world, last)
    assert world.budget(root).committed == charge_of(40)
    assert entries(world, job_id) == ["reserved", "posted"]


def test_what_cannot_go_on_elsewhere_is_not_handed_back(world: World, root: UUID) -> None:
    cancelled = submitted(world, root)
    held = claimed(world, cancelled)
    world.jobs.cancel(world.engineer, cancelled)
    assert not hand_back(world, held)
    assert job_of(world, cancelled).state == "running"


def test_a_query_is_handed_back_before_its_touch_and_never_after(world: World) -> None:
    root = world.open_root()
    job_id = UUID(world.submit(root)["id"])
    assert hand_back(world, claimed(world, job_id))
    held = claimed(world, job_id)
    start(world, held, 1)
    assert not hand_back(world, held)
    assert job_of(world, job_id).state == "running"


def test_a_checkpoint_of_units_that_never_started_is_never_named(world: World, root: UUID) -> None:
    held = claimed(world, submitted(world, root))
    start(world, held, 10)
    for wrong in ((11,), (-1,), (), (10, 0)):
        with pytest.raises(ValueError, match="started units"):
            keep(world, held, NamedCheckpoint("1", wrong, "0" * 64))
    assert keep(world, held, named(10)) == [named(10)]


def test_the_row_names_the_newest_checkpoints_and_each_once(world: World, root: UUID) -> None:
    job_id = submitted(world, root)
    held = claimed(world, job_id)
    start(world, held, 40)
    for units in (10, 20, 30, 30):
        found = keep(world, held, named(units))
    assert found == [named(20), named(30)]
    assert len(found) == CHECKPOINTS_MOST
    # a later claim finds them, and adds its own
    lapse(world, job_id)
    sweep(world.make_session)
    assert keep(world, claimed(world, job_id), named(40, "3-40")) == [named(30), named(40, "3-40")]


def test_checkpoints_are_forgotten_with_the_end_of_their_job(
    world: World, root: UUID, tmp_path: Path
) -> None:
    posted, failed, voided, cancelled, held_still, queued = (
        submitted(world, root) for _ in range(6)
    )
    for job_id in (posted, failed, voided, held_still):
        claim = claimed(world, job_id)
        if job_id != voided:
            start(world, claim, 10)
            keep(world, claim, named(10))
        if job_id == posted:
            post(world, claim)
        elif job_id in (failed, voided):
            fail(world, claim, "engine-failed")
    world.jobs.cancel(world.engineer, cancelled)
    everything = (posted, failed, voided, cancelled, held_still, queued, uuid4())
    for job_id in everything:
        resume.checkpoint_folder(tmp_path, job_id).mkdir(parents=True)
    beside = resume.checkpoint_folder(tmp_path, posted).parent / "not-a-job"
    beside.mkdir()
    sweep_files(world.make_session, tmp_path, Swept())
    left = {each for each in everything if resume.checkpoint_folder(tmp_path, each).exists()}
    assert left == {held_still, queued}
    assert beside.exists()
    assert job_of(world, posted).checkpoints is None
    assert job_of(world, failed).checkpoints is None
    assert job_of(world, held_still).checkpoints == [named(10).to_json()]


def test_what_a_lost_worker_had_spilled_is_deleted_with_its_job(
    world: World, root: UUID, tmp_path: Path
) -> None:
    ended, other = submitted(world, root), submitted(world, root)
    for job_id in (ended, other):
        spilled = tmp_path / "artifacts" / str(job_id) / "1" / "spill"
        spilled.mkdir(parents=True)
        (spilled / "rows").write_text("private")
    sweep_files(world.make_session, tmp_path, Swept(failed=(ended,)))
    assert not (tmp_path / "artifacts" / str(ended)).exists()
    assert (tmp_path / "artifacts" / str(other) / "1" / "spill" / "rows").exists()


def test_sweepers_at_once_queue_a_lost_run_once(world: World, root: UUID) -> None:
    jobs = [submitted(world, root) for _ in range(4)]
    for job_id in jobs:
        start(world, claimed(world, job_id), 10)
        lapse(world, job_id)
    found: list[Swept] = []
    threads = [
        threading.Thread(target=lambda: found.append(sweep(world.make_session))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(each.requeued for each in found) == len(jobs)
    for job_id in jobs:
        job = job_of(world, job_id)
        assert (job.state, job.attempts, job.lapses_after_touch) == ("queued", 1, 1)
        held = claimed(world, job_id)
        start(world, held, 40)
        post(world, held)
    assert world.budget(root).committed == sum([charge_of(40)] * len(jobs), Loss.zero())
    assert world.verified()
