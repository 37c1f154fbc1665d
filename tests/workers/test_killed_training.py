"""kill -9 in the middle of training: the charge is exact, no noise comes twice (R14, L6, L7)."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import torch
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.db.models import Entry, Job
from app.db.session import snapshot
from app.domain.privacy import Loss
from app.domain.training import parse_training
from app.services import resume
from app.services.placement import JobRequest
from app.services.recovery import Recovery
from app.services.sweep import sweep
from app.settings import Settings
from kernels.noise.source import NoiseSource
from tests.patience import wait_until
from tests.services.test_settlement import TRAIN, charge_of, job_of, lapse, root, world
from tests.short_forms import on_each_in_turn, on_one_database
from tests.workers.killed_run import POINTS, recording
from tests.workers.processes import worker
from tests.workers.test_crashes import LEASE_S, service_loops, state_of
from tests.world import World, keyed, new_world
from workers.context import Context
from workers.engines.train import engine
from workers.engines.train.adaptive_clip import ClipFollower
from workers.engines.train.data import read_examples
from workers.engines.train.users import UserTable
from workers.running import resolve_work, run_job

__all__ = ["root", "world"]

STEPS, CHUNK = 40, 10
# by point: steps that were started when the process was killed, and steps that were kept by then
AT: dict[str, tuple[int, int]] = {
    "before its start": (0, 0),
    "between a touch and its first step": (20, 10),
    "in the middle of a chunk": (20, 10),
    "between a checkpoint's files and its row": (20, 10),
    "just after a checkpoint": (20, 20),
    "between the last step and the post": (40, 40),
}


def submitted(world: World, root: UUID, **changes: Any) -> UUID:
    spec = {name: value for name, value in TRAIN.items() if name != "privacy"}
    spec |= {
        "steps": STEPS,
        "chunk_steps": CHUNK,
        "checkpoint_every_steps": CHUNK,
        "audit": {"canaries": 1000, "delta": "1e-5"},
        **changes,
    }
    request = JobRequest("train", world.inputs(root), spec, "a test")
    made = world.admissions.submit(world.engineer, request, keyed(world.engineer, "jobs", "t"))
    return UUID(made["id"])


Victims = subprocess.Popen[str]


@pytest.fixture(scope="module")
def victims(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victims]:
    """What runs each claim that is to be killed; see `killed_run`."""
    command = [sys.executable, "-m", "tests.workers.killed_run"]
    pipe, log = subprocess.PIPE, tmp_path_factory.mktemp("victims") / "log"
    with (
        log.open("w") as told,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=told, text=True) as process,
    ):
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def run_and_kill(
    victims: Victims, url: str, world: World, job_id: UUID, point: str, draws: Path
) -> None:
    assert victims.stdin is not None
    assert victims.stdout is not None
    asked = [url, str(world.home), str(job_id), point, str(draws)]
    victims.stdin.write(json.dumps(asked) + "\n")
    victims.stdin.flush()
    assert victims.stdout.readline() == "-9\n"
    lapse(world, job_id)
    assert sweep(world.make_session).requeued == 1


def run_to_the_end(url: str, world: World, job_id: UUID) -> None:
    settings = Settings(database_url=url, home=world.home)
    run_job(Context(settings, world.make_session, "w", world.journal), job_id)


def assert_charged_once(world: World, root: UUID, job_id: UUID) -> None:
    budget = world.budget(root)
    assert (budget.committed, budget.reserved) == (charge_of(STEPS), Loss.zero())
    with snapshot(world.make_session) as session:
        reservation = session.get_one(Job, job_id).reservation_id
        kinds = session.scalars(
            select(Entry.kind).where(Entry.reservation_id == reservation).order_by(Entry.seq)
        ).all()
    assert kinds == ["reserved", "posted"]
    assert world.verified()
    # the journal outside the database knows of nothing that the database does not (R22)
    found = Recovery(world.make_session, world.home / "witness", None).compare(everything=True)
    assert (found.missing, found.unsettled) == (0, 0)


def assert_no_noise_came_twice(draws: Path, *, claims: int) -> None:
    lines = draws.read_text().splitlines()
    assert len(lines) > claims
    assert len(set(lines)) == len(lines)
    assert len({line.split()[0] for line in lines}) == claims


@on_each_in_turn("point", list(POINTS))
def test_a_run_that_was_killed_goes_on_at_no_further_charge_and_under_a_key_of_its_own(
    world: World,
    root: UUID,
    victims: Victims,
    database_url: str,
    tmp_path: Path,
    point: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id, draws = submitted(world, root), tmp_path / "draws"
    run_and_kill(victims, database_url, world, job_id, point, draws)
    started, kept = AT[point]
    assert world.jobs.get(world.engineer, job_id)["started_units"] == started
    monkeypatch.setattr(NoiseSource, "_nonce", recording(draws))
    run_to_the_end(database_url, world, job_id)

    assert job_of(world, job_id).state == "settled"
    result = world.jobs.result(world.engineer, job_id)
    card = json.loads(world.jobs.artifact(world.engineer, job_id, "card.json").read_text())
    # what was started and not kept is lost, and nothing else: at most one chunk
    shaped = STEPS - (started - kept)
    assert shaped >= STEPS - CHUNK
    assert result["steps_run"] == shaped
    assert card["training"]["steps_that_shaped_the_model"] == shaped
    assert card["training"]["steps_started"] == STEPS
    assert card["audit"]["steps"] == shaped
    assert_charged_once(world, root, job_id)
    assert_no_noise_came_twice(draws, claims=2)
    assert not resume.checkpoint_folder(world.home, job_id).exists()


@on_one_database("postgresql")
def test_a_run_that_is_killed_again_and_again_still_ends_at_what_it_reserved(
    world: World,
    root: UUID,
    victims: Victims,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id, draws = submitted(world, root), tmp_path / "draws"
    for point in (
        "between a checkpoint's files and its row",
        "in the middle of a chunk",
        "between the last step and the post",
    ):
        run_and_kill(victims, database_url, world, job_id, point, draws)
    monkeypatch.setattr(NoiseSource, "_nonce", recording(draws))
    run_to_the_end(database_url, world, job_id)
    # 10 kept, 11..20 lost; 21..30 kept, 31..40 lost by a kill in their fifth step; nothing is left
    assert world.jobs.result(world.engineer, job_id)["steps_run"] == 20
    assert_charged_once(world, root, job_id)
    assert_no_noise_came_twice(draws, claims=4)


ADAPTIVE = {"quantile": "0.5", "learning_rate": 0.5, "count_noise": "5"}


@on_one_database("sqlite")
def test_a_c_that_moves_goes_on_from_where_the_checkpoint_has_it(
    world: World,
    root: UUID,
    victims: Victims,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clip = {"mode": "flat", "norm_l2": "1", "adaptive": ADAPTIVE}
    job_id, draws = submitted(world, root, clip=clip), tmp_path / "draws"
    run_and_kill(victims, database_url, world, job_id, "in the middle of a chunk", draws)
    (kept,) = resume.checkpoint_folder(world.home, job_id).iterdir()
    came_to = float(json.loads((kept / "state.json").read_text())["clip_norm_l2"])
    assert came_to != 1.0  # 10 steps have moved it
    monkeypatch.setattr(NoiseSource, "_nonce", recording(draws))
    clipped_to: list[float] = []
    follow = ClipFollower.follow

    def noted(self: ClipFollower, noise: NoiseSource, step: int) -> float:
        found = follow(self, noise, step)
        clipped_to.append(self.last_norm)
        return found

    monkeypatch.setattr(ClipFollower, "follow", noted)
    run_to_the_end(database_url, world, job_id)
    assert clipped_to[0] == pytest.approx(came_to, rel=1e-15)
    assert len(clipped_to) == STEPS - 20
    result = world.jobs.result(world.engineer, job_id)
    assert result["steps_run"] == STEPS - 10
    assert float(result["clip_norm_l2"]) == clipped_to[-1]
    assert result["audit"]["verdict"] == "consistent"
    # gradient and count are one release at the multiplier that is charged
    assert_charged_once(world, root, job_id)
    assert_no_noise_came_twice(draws, claims=2)


@pytest.fixture
def of_users(make_session: sessionmaker[Session], tmp_path: Path) -> Iterator[World]:
    """Records of users, some of whom have more of them than the cap."""
    columns = (
        {"name": "x", "type": "float64", "bounds": {"low": "0", "high": "1"}},
        {"name": "y", "type": "int64", "domain": [0, 1], "domain_source": "public"},
        {"name": "who", "type": "string"},
    )
    rows = "".join(f"0.{n % 9},{n % 2},user {n % 7}\n" for n in range(40))
    unit = {"kind": "user", "column": "who", "max_rows_per_user": 3}
    with new_world(
        make_session, tmp_path / "users", columns=columns, unit=unit, rows=f"x,y,who\n{rows}"
    ) as made:
        yield made


@on_each_in_turn("each_step", ["all", "one"])
def test_a_run_by_users_goes_on_with_the_rows_that_it_kept_of_each(
    of_users: World,
    victims: Victims,
    database_url: str,
    tmp_path: Path,
    each_step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = of_users.open_root("rdp-mix/1", "8", "1e-5")
    user = {"rows_most": 2, "each_step": each_step}
    job_id, draws = submitted(of_users, root, user=user), tmp_path / "draws"
    run_and_kill(victims, database_url, of_users, job_id, "in the middle of a chunk", draws)
    monkeypatch.setattr(NoiseSource, "_nonce", recording(draws))
    tables: list[UserTable] = []

    def noted(*args: Any, **kwargs: Any) -> Any:
        found = read_examples(*args, **kwargs)
        assert isinstance(found, UserTable)
        tables.append(found)
        return found

    monkeypatch.setattr(engine, "read_examples", noted)
    run_to_the_end(database_url, of_users, job_id)
    (table,) = tables
    # the salt is the job's, so a later claim chooses the rows that the first one chose: with two
    # choices a user would have more rows in the run than the cap (R7)
    again = read_again(of_users, job_id, tmp_path / "again")
    assert torch.equal(table.inputs, again.inputs)
    assert torch.equal(table.starts, again.starts)
    assert table.starts.diff().tolist() == [2] * 7
    result = of_users.jobs.result(of_users.engineer, job_id)
    card = json.loads(of_users.jobs.artifact(of_users.engineer, job_id, "card.json").read_text())
    assert result["steps_run"] == STEPS - 10
    assert card["privacy"]["unit_of_privacy"] == "user"
    assert card["privacy"]["user"] == user
    assert_charged_once(of_users, root, job_id)
    assert_no_noise_came_twice(draws, claims=2)


def read_again(world: World, job_id: UUID, scratch: Path) -> UserTable:
    """The rows of a job as one more claim would read them."""
    with snapshot(world.make_session) as session:
        work = resolve_work(session, job_id, scratch)
    source = work.inputs[0]
    asked = parse_training(work.spec, source.dataset, {})
    found = read_examples(asked, source.dataset, source, salt=work.salt, spill=scratch)
    assert isinstance(found, UserTable)
    return found


@pytest.mark.processes
@on_one_database("sqlite")
@pytest.mark.parametrize(
    "point",
    ["after touch", pytest.param("before post", marks=(pytest.mark.long, pytest.mark.chaos))],
)
def test_a_real_worker_takes_over_from_one_that_was_killed(
    point: str,
    world: World,
    root: UUID,
    make_session: sessionmaker[Session],
    database_url: str,
    redis_url: str,
    tmp_path: Path,
) -> None:
    settings = Settings(
        database_url=database_url, broker_url=redis_url, home=tmp_path, job_lease_s=LEASE_S
    )
    with service_loops(world, redis_url):
        job_id = submitted(world, root)
        log = tmp_path / "worker.log"
        with worker(
            settings, log, app="tests.workers.dying", extra={"TEST_DIE_AT": point}
        ) as victim:
            wait_until(lambda: victim.poll() is not None, what=log.read_text)
        with worker(settings, log):
            wait_until(lambda: state_of(world, job_id) in ("settled", "failed"), what=log.read_text)
    assert state_of(world, job_id) == "settled"
    shaped = world.jobs.result(world.engineer, job_id)["steps_run"]
    assert shaped == (STEPS - CHUNK if point == "after touch" else STEPS)
    assert_charged_once(world, root, job_id)
