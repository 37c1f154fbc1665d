"""What the worker's settings promise, held against a real worker on a real broker."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from celery import Celery

from app.db.migrate import upgrade
from app.db.session import database_now, make_engine, make_session_maker, snapshot
from app.programs import worker_child
from app.services import beats
from app.settings import Settings
from tests.patience import PATIENCE_S, wait_until
from tests.servers import redis_client
from workers.celery_app import make_celery

pytestmark = [pytest.mark.processes, pytest.mark.own_servers]


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(broker_url=redis_url, home=tmp_path)


@pytest.fixture
def sender(settings: Settings) -> Iterator[Celery]:
    with closing(make_celery(settings)) as celery:
        yield celery


@pytest.fixture
def start_worker(
    settings: Settings, tmp_path: Path
) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a worker by the embedded tree's own command, with tasks that leave a trace."""
    child = worker_child(replace(settings, log_level="INFO"))
    command = [
        "tests.workers.probe_tasks" if w == "workers.celery_app" else w for w in child.command
    ]
    workers: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "worker.log").open("ab") as log:
            workers.append(
                subprocess.Popen(
                    command,
                    env={**os.environ, **child.environment},
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()


class Trace:
    """What the probe tasks wrote down."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "trace"
        self._log = folder / "worker.log"

    def lines(self, word: str) -> list[str]:
        text = self._file.read_text() if self._file.exists() else ""
        return [line for line in text.splitlines() if line.startswith(word)]

    def wait_for(self, word: str, count: int) -> list[str]:
        wait_until(lambda: len(self.lines(word)) >= count, what=self._log.read_text)
        return self.lines(word)


def test_a_job_whose_process_is_killed_is_delivered_again(
    sender: Celery, start_worker: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    trace = Trace(tmp_path)
    start_worker()
    sender.send_task("probe.trace", args=[str(tmp_path), 0.5], queue="cpu")
    began = trace.wait_for("began", 1)[0]
    os.kill(int(began.split()[1]), signal.SIGKILL)
    again = trace.wait_for("began", 2)[1]
    assert again.split()[1] != began.split()[1]
    trace.wait_for("ended", 1)


def test_a_message_lies_in_the_database_that_the_address_names(
    sender: Celery, redis_url: str
) -> None:
    # a queue that no worker hears, not even one of an earlier test that is still ending
    sender.send_task("probe.trace", args=["nowhere", 0], queue="unheard")
    with redis_client(redis_url) as client:
        assert client.llen("unheard") == 1


def test_a_job_hears_at_once_that_its_worker_is_to_stop(
    sender: Celery, start_worker: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    trace = Trace(tmp_path)
    worker = start_worker()
    sender.send_task("probe.until_stopped", args=[str(tmp_path)], queue="cpu")
    began = trace.wait_for("began", 1)[0]
    worker.terminate()
    worker.wait(PATIENCE_S)
    # the child that runs the job, while Celery still waits for it; it is not asked to end itself
    assert trace.lines("heard") == [began.replace("began", "heard")]


def test_a_worker_told_to_stop_ends_before_its_job_does_and_hands_it_back(
    sender: Celery, start_worker: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    trace = Trace(tmp_path)
    worker = start_worker()
    sender.send_task("probe.trace", args=[str(tmp_path), 120], queue="reports")
    trace.wait_for("began", 1)
    worker.terminate()
    worker.wait(PATIENCE_S)
    start_worker()
    assert len(trace.wait_for("began", 2)) == 2
    assert not trace.lines("ended")


def test_a_worker_beats_for_the_queues_that_it_serves(
    settings: Settings, start_worker: Callable[[], subprocess.Popen[bytes]]
) -> None:
    upgrade(settings.database_url)
    start_worker()
    engine = make_engine(settings.database_url)

    def alive() -> dict[str, int]:
        with snapshot(make_session_maker(engine)) as session:
            return beats.alive(session, now=database_now(session))

    wait_until(lambda: alive() == {"cpu": 1, "reports": 1}, what="a beat")
    engine.dispose()
