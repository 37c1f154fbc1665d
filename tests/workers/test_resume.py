"""A run goes on where another worker left it, through the worker's own code (R14).

The engine is a small one that counts: what it releases says which steps shaped it, so a step that
was run twice, or counted without being started, would show.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app.db.models import Reservation
from app.db.session import snapshot
from app.domain.privacy import Loss
from app.services import resume
from app.services.jobs import artifact_folder, artifacts_of
from app.services.settlement import Claim
from app.services.sweep import sweep
from app.settings import Settings
from tests.services.test_settlement import charge_of, job_of, lapse, root, submitted, world
from tests.world import World
from workers import stopping
from workers.context import Context
from workers.engines.api import Engine, JobLedger, Outcome, Work
from workers.running import run_job, tidy_after_earlier_claims

__all__ = ["root", "world"]

CHUNK = 10
STEPS = 40


class Killed(BaseException):
    """The worker ends here: no code of ours sees it, as with kill -9."""


Disaster = Callable[[str, int], None]


def nothing_happens(_moment: str, _step: int) -> None:
    pass


def killed_at(moment: str, step: int) -> Disaster:
    def happen(at: str, units: int) -> None:
        if (at, units) == (moment, step):
            raise Killed

    return happen


@dataclass
class Counting:
    """Counts the steps that shaped it; `ran` is every step that was run, under any claim."""

    ran: list[int] = field(default_factory=list)
    disaster: Disaster = nothing_happens
    every: int = 1

    def prepare(self, work: Work) -> "CountingPlan":
        return CountingPlan(self, work)


@dataclass
class CountingPlan:
    engine: Counting
    work: Work

    def run(self, ledger: JobLedger) -> Outcome:
        shaped: list[int] = []
        kept = self.work.checkpoints
        assert kept is not None
        found = kept.newest()
        if found is not None:
            shaped = json.loads((found.folder / "steps").read_text())
        (self.work.scratch / "rows").write_text("private")
        done = self.work.parts[0].started_units
        self.engine.disaster("before", done)
        while done < STEPS:
            until = done + CHUNK
            ledger.start(0, until)
            self.engine.disaster("touched", until)
            for step in range(done + 1, until + 1):
                self.engine.disaster("step", step)
                self.engine.ran.append(step)
                shaped.append(step)
            done = until
            if done % (CHUNK * self.engine.every) == 0 or kept.is_stopping():

                def write(folder: Path) -> None:
                    (folder / "steps").write_text(json.dumps(shaped))

                kept.keep([done], write)
            self.engine.disaster("kept", done)
        self.engine.disaster("after", done)
        return Outcome({"shaped": shaped})


def context(world: World) -> Context:
    settings = Settings(database_url="sqlite://", home=world.home, job_lease_s=30)
    return Context(settings, world.make_session, "w", world.journal)


def run(world: World, job_id: UUID, engine: Engine) -> None:
    run_job(context(world), job_id, engines=lambda _kind: engine)


def run_and_kill(world: World, job_id: UUID, engine: Counting, disaster: Disaster) -> None:
    engine.disaster = disaster
    with pytest.raises(Killed):
        run(world, job_id, engine)
    engine.disaster = nothing_happens
    lapse(world, job_id)
    assert sweep(world.make_session).requeued == 1


MOMENTS = [
    # moment, at, units that are charged by then, steps that are kept by then
    ("before", 0, 0, 0),
    ("touched", 10, 10, 0),
    ("step", 1, 10, 0),
    ("step", 15, 20, 10),
    ("kept", 20, 20, 20),
    ("touched", 40, 40, 30),
    ("after", 40, 40, 40),
]


@pytest.mark.parametrize(("moment", "at", "charged", "kept"), MOMENTS)
def test_a_killed_run_goes_on_from_what_it_kept_and_runs_no_step_twice(
    world: World, root: UUID, moment: str, at: int, charged: int, kept: int
) -> None:
    job_id, engine = submitted(world, root), Counting()
    run_and_kill(world, job_id, engine, killed_at(moment, at))
    with snapshot(world.make_session) as session:
        row = session.get_one(Reservation, job_of(world, job_id).reservation_id)
        assert row.started_units == [charged]
    run(world, job_id, engine)
    assert world.jobs.result(world.engineer, job_id)["shaped"] == [
        *range(1, kept + 1),
        *range(charged + 1, STEPS + 1),
    ]
    # no step was ever run twice, whoever ran it
    assert len(engine.ran) == len(set(engine.ran))
    assert world.budget(root).committed == charge_of(STEPS)
    assert world.budget(root).reserved == Loss.zero()
    assert not resume.checkpoint_folder(world.home, job_id).exists()
    assert world.verified()


def test_each_kill_costs_the_steps_since_the_last_checkpoint_and_no_charge(
    world: World, root: UUID
) -> None:
    job_id, engine = submitted(world, root), Counting(every=2)
    run_and_kill(world, job_id, engine, killed_at("step", 12))
    run_and_kill(world, job_id, engine, killed_at("touched", 30))
    run(world, job_id, engine)
    # 1..10 were kept by nobody (every second chunk is), 11 and 12..30 were started and lost
    assert world.jobs.result(world.engineer, job_id)["shaped"] == [*range(31, STEPS + 1)]
    assert world.budget(root).committed == charge_of(STEPS)


def test_a_run_of_which_all_is_spent_and_nothing_was_kept_fails_and_says_nothing_more(
    world: World, root: UUID
) -> None:
    job_id, engine = submitted(world, root), Counting(every=100)
    run_and_kill(world, job_id, engine, killed_at("touched", STEPS))
    run(world, job_id, engine)
    job = job_of(world, job_id)
    assert (job.state, job.failure_code) == ("failed", "failed-after-touch")
    assert world.budget(root).committed == charge_of(STEPS)


def test_checkpoints_that_were_lost_leave_a_run_to_the_units_that_are_left(
    world: World, root: UUID
) -> None:
    job_id, engine = submitted(world, root), Counting()
    run_and_kill(world, job_id, engine, killed_at("kept", 20))
    for path in resume.checkpoint_folder(world.home, job_id).glob("*/steps"):
        path.write_text("[1]")
    run(world, job_id, engine)
    assert world.jobs.result(world.engineer, job_id)["shaped"] == [*range(21, STEPS + 1)]
    assert world.budget(root).committed == charge_of(STEPS)


def test_a_worker_that_wakes_up_while_another_goes_on_changes_nothing(
    world: World, root: UUID
) -> None:
    job_id, engine = submitted(world, root), Counting()
    second = Counting()

    def asleep(moment: str, units: int) -> None:
        if (moment, units) == ("touched", 20):
            # this worker sleeps past its lease, after its start and before its steps
            lapse(world, job_id)
            assert sweep(world.make_session).requeued == 1
            second.disaster = killed_at("step", 25)
            with pytest.raises(Killed):
                run(world, job_id, second)

    engine.disaster = asleep
    # it wakes up, runs the steps it has paid for, and may keep, start and post nothing any more
    run(world, job_id, engine)
    assert engine.ran == [*range(1, 21)]
    assert job_of(world, job_id).state == "running"
    assert job_of(world, job_id).checkpoints == [
        {**each, "started_units": [10]} for each in job_of(world, job_id).checkpoints or []
    ]
    lapse(world, job_id)
    sweep(world.make_session)
    third = Counting()
    run(world, job_id, third)
    # from the 10 steps that were kept under the first claim while it held the job
    shaped = world.jobs.result(world.engineer, job_id)["shaped"]
    assert shaped == [*range(1, 11), *range(31, STEPS + 1)]
    assert world.budget(root).committed == charge_of(STEPS)
    assert world.verified()


def test_a_failure_of_an_engine_after_its_touch_is_not_tried_again(
    world: World, root: UUID
) -> None:
    job_id, engine = submitted(world, root), Counting()

    def fails(moment: str, units: int) -> None:
        if (moment, units) == ("step", 15):
            raise MemoryError("row 4711 is too long")

    engine.disaster = fails
    run(world, job_id, engine)
    job = job_of(world, job_id)
    assert (job.state, job.failure_code) == ("failed", "failed-after-touch")
    assert world.budget(root).committed == charge_of(20)
    assert not resume.checkpoint_folder(world.home, job_id).exists()


def test_what_a_killed_worker_had_spilled_is_gone_when_the_next_one_has_begun(
    world: World, root: UUID
) -> None:
    job_id, engine = submitted(world, root), Counting()
    run_and_kill(world, job_id, engine, killed_at("step", 15))
    left = artifact_folder(world.home, job_id, 1) / "rows"
    assert left.exists()
    seen: list[bool] = []
    engine.disaster = lambda _moment, _units: seen.append(left.exists())
    run(world, job_id, engine)
    assert not any(seen)


def test_a_stale_claim_that_tidies_late_deletes_nothing_of_later_ones(tmp_path: Path) -> None:
    job_id = uuid4()
    for fence in ("1", "2", "3", "5"):
        (artifact_folder(tmp_path, job_id, int(fence)) / "spill").mkdir(parents=True)
    tidy_after_earlier_claims(tmp_path, Claim(job_id, 3))
    assert {path.name for path in artifacts_of(tmp_path, job_id).iterdir()} == {"3", "5"}


@pytest.fixture
def told_to_stop(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """As the worker's parent process tells its children; undone after the test."""
    byte = bytearray(1)
    monkeypatch.setattr(stopping, "_asked", byte)
    return stopping.ask


def test_a_worker_that_is_told_to_stop_ends_its_chunk_and_hands_the_run_on(
    world: World, root: UUID, told_to_stop: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, engine = submitted(world, root), Counting(every=100)

    def stop(moment: str, units: int) -> None:
        if (moment, units) == ("step", 15):
            told_to_stop()

    engine.disaster = stop
    run(world, job_id, engine)
    job = job_of(world, job_id)
    # at once, without a lapse of its lease; the chunk that was running is kept
    assert (job.state, job.attempts, job.lapses_after_touch) == ("queued", 0, 0)
    monkeypatch.setattr(stopping, "_asked", bytearray(1))
    engine.disaster = nothing_happens
    run(world, job_id, engine)
    assert world.jobs.result(world.engineer, job_id)["shaped"] == [*range(1, STEPS + 1)]
    assert world.budget(root).committed == charge_of(STEPS)


def test_a_worker_that_is_told_to_stop_before_its_touch_gives_the_job_back_free(
    world: World, root: UUID, told_to_stop: Callable[[], None]
) -> None:
    job_id, engine = submitted(world, root), Counting()
    told_to_stop()
    run(world, job_id, engine)
    assert (job_of(world, job_id).state, engine.ran) == ("queued", [])
    assert world.budget(root).committed == Loss.zero()
