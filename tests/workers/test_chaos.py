"""kill -9 of workers, broker, database and API while jobs run (L1, L2, L6, R22).

Every job is settled once, nothing has a result without its charge, and no crash looks like a
database that was put back from a backup.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.orm import Session, sessionmaker

from app import embedded
from app.db.migrate import upgrade
from app.db.session import make_engine, make_session_maker
from app.services.api_keys import ApiKeys, KeyRequest
from app.settings import Settings
from tests.chaos import assert_nothing_is_lost_or_doubled, ended, own_broker, own_postgres
from tests.patience import wait_until
from tests.short_forms import on_one_database
from tests.workers.processes import worker
from tests.workers.test_crashes import service_loops
from tests.world import COUNT_QUERY, World, keyed, new_world

pytestmark = pytest.mark.processes

LEASE_S = 5
# a loaded machine takes seconds to start a worker, and a lost wake-up is sent again after 30 s
WITHIN_S = 280.0
FULL = (pytest.mark.long, pytest.mark.chaos)

Workers = list["subprocess.Popen[bytes]"]
Disaster = Callable[[Workers], None]


def kill(pid: int) -> None:
    # parent and children at once, as when a machine is lost
    children = Path(f"/proc/{pid}/task/{pid}/children")
    with suppress(FileNotFoundError, ProcessLookupError):
        for child in map(int, children.read_text().split()):
            os.kill(child, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def settle_through(
    world: World,
    settings: Settings,
    root: UUID,
    *,
    jobs: int,
    disasters: Sequence[Disaster],
) -> int:
    """Submit jobs and let the disasters happen between their settlements; says what has a result.

    A disaster is given the running workers; what it kills of them is started again.
    """
    log = settings.home / "worker.log"
    job_ids = [UUID(world.submit(root)["id"]) for _ in range(jobs)]
    with ExitStack() as stack:

        def start() -> "subprocess.Popen[bytes]":
            return stack.enter_context(worker(settings, log))

        running = [start() for _ in range(min(2, jobs // 4))]
        for number, disaster in enumerate(disasters):
            reached = (number + 1) * jobs // (len(disasters) + 2)
            wait_until(
                lambda reached=reached: ended(world, job_ids) >= reached,  # type: ignore[misc]
                what=log.read_text,
                within_s=WITHIN_S,
            )
            disaster(running)
            running = [each if each.poll() is None else start() for each in running]
        wait_until(lambda: ended(world, job_ids) == jobs, what=log.read_text, within_s=WITHIN_S)
    return assert_nothing_is_lost_or_doubled(world, root, job_ids)


def a_worker_dies(running: Workers) -> None:
    running.append(victim := running.pop(0))
    kill(victim.pid)
    victim.wait()


@pytest.mark.timeout(900)
@on_one_database("sqlite", FULL)
@pytest.mark.parametrize(
    ("jobs", "worker_kills", "broker_kills"),
    [(8, 1, 1), pytest.param(40, 5, 2, marks=FULL)],
)
def test_jobs_are_settled_once_though_workers_and_the_broker_are_killed(
    make_session: sessionmaker[Session],
    database_url: str,
    tmp_path: Path,
    jobs: int,
    worker_kills: int,
    broker_kills: int,
) -> None:
    with own_broker() as server, new_world(make_session, tmp_path) as world:
        settings = Settings(
            database_url=database_url, broker_url=server.url, home=tmp_path, job_lease_s=LEASE_S
        )

        def the_broker_dies(_: Workers) -> None:
            server.kill()
            server.start()

        disasters: list[Disaster] = [a_worker_dies] * worker_kills
        for place in range(broker_kills):
            disasters.insert(2 * place + 1, the_broker_dies)
        root = world.open_root("pure/1", "10")
        with service_loops(world, server.url):
            results = settle_through(world, settings, root, jobs=jobs, disasters=disasters)
        # a kill ends at most the one job that was past its touch
        assert results >= jobs - worker_kills


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [1, pytest.param(4, marks=FULL)])
def test_jobs_are_settled_once_though_the_database_is_killed(
    redis_url: str, tmp_path: Path, kills: int
) -> None:
    with own_postgres() as server:
        server_url = make_url(server.uri).set(drivername="postgresql+psycopg")
        engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("CREATE DATABASE ledger"))
        engine.dispose()
        url = server_url.set(database="ledger").render_as_string(hide_password=False)
        upgrade(url)
        engine = make_engine(url)
        settings = Settings(
            database_url=url, broker_url=redis_url, home=tmp_path, job_lease_s=LEASE_S
        )

        def the_database_dies(_: Workers) -> None:
            server.kill()
            server.start()

        with new_world(make_session_maker(engine), tmp_path) as world:
            root = world.open_root("pure/1", "10")
            with service_loops(world, redis_url):
                settle_through(
                    world,
                    settings,
                    root,
                    jobs=4 * (kills + 1),
                    disasters=[the_database_dies] * kills,
                )
        engine.dispose()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("rounds", [1, pytest.param(3, marks=FULL)])
def test_a_request_is_decided_once_though_the_api_is_killed_under_it(
    tmp_path: Path, rounds: int
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    settings = Settings(home=home, port=embedded.free_port("127.0.0.1"), job_lease_s=LEASE_S)
    upgrade(settings.database_url)
    engine = make_engine(settings.database_url)
    with new_world(make_session_maker(engine), home) as world:
        root = world.open_root("pure/1", "10")
        admin = world.people["admin"]
        made = ApiKeys(world.make_session).create(
            admin,
            KeyRequest(world.engineer.principal_id, is_runner=False, expires_at=None),
            keyed(admin, "keys", {}),
        )
        body = {
            "kind": "query",
            "inputs": [
                {
                    "dataset_id": str(world.dataset_id),
                    "version": 1,
                    "budget_id": str(root),
                    "blocks": "all",
                }
            ],
            "spec": COUNT_QUERY,
            "purpose": "a test",
            "reuse": False,
        }
        answered: dict[str, str] = {}

        def submit_until_answered(url: str, key: str) -> None:
            headers = {"Authorization": f"Bearer {made['key']}", "Idempotency-Key": key}
            while key not in answered:
                with suppress(httpx.HTTPError):
                    answer = httpx.post(f"{url}/v1/jobs", json=body, headers=headers, timeout=30)
                    if answer.status_code == 202:
                        answered[key] = answer.json()["id"]

        with embedded.running(settings) as house:
            for number in range(rounds):
                keys = [uuid4().hex for _ in range(6)]
                threads = [
                    threading.Thread(target=submit_until_answered, args=(house.url, key))
                    for key in keys
                ]
                for thread in threads:
                    thread.start()
                before = house.tree.pids()
                for name in ("api", "worker", "broker"):
                    kill(before[name])
                wait_until(
                    lambda before=before: all(  # type: ignore[misc]
                        house.tree.pids().get(name, pid) != pid for name, pid in before.items()
                    ),
                    what=f"round {number}: nothing was started again",
                    within_s=WITHIN_S,
                )
                for thread in threads:
                    thread.join(WITHIN_S)
                assert len(answered) == 6 * (number + 1)
            job_ids = [UUID(text) for text in answered.values()]
            assert len(set(job_ids)) == len(answered)
            wait_until(
                lambda: ended(world, job_ids) == len(job_ids),
                what="jobs that never end",
                within_s=WITHIN_S,
            )
        assert_nothing_is_lost_or_doubled(world, root, job_ids)
        # a clean stop signs where all ledgers stand
        assert len(list((settings.witness_dir / "checkpoints").glob("*.json"))) >= 1
    engine.dispose()
