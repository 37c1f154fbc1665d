"""What a posted result names is on the disk, and so is its name (L2)."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from app.db.session import make_engine, make_session_maker
from app.services import settlement
from app.settings import Settings
from tests.world import World, new_world
from workers.context import Context
from workers.engines.api import JobLedger, Outcome, Work
from workers.running import run_job

NAME = "weights"


class Writes:
    """An engine that starts its unit and writes one artifact."""

    def prepare(self, work: Work) -> "Writes":
        self.scratch = work.scratch
        return self

    def run(self, ledger: JobLedger) -> Outcome:
        ledger.start(0, 1)
        (self.scratch / NAME).write_bytes(b"released")
        return Outcome({}, (NAME,))


@pytest.fixture
def world(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    engine = make_engine(sqlite_url)
    with new_world(make_session_maker(engine), tmp_path) as made:
        yield made
    engine.dispose()


def test_an_artifact_and_the_folders_on_its_way_are_on_the_disk_before_its_post(
    world: World, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = UUID(world.submit(world.open_root())["id"])
    settings = Settings(database_url=sqlite_url, home=world.home)
    synced: set[tuple[int, int]] = set()
    really_sync, really_post = os.fsync, settlement.post
    before: list[set[tuple[int, int]]] = []

    def fsync(descriptor: int) -> None:
        really_sync(descriptor)
        found = os.fstat(descriptor)
        synced.add((found.st_dev, found.st_ino))

    def post(*args: object, **named: object) -> None:
        before.append(set(synced))
        really_post(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(settlement, "post", post)
    context = Context(settings, world.make_session, "w", world.journal)
    run_job(context, job_id, engines=lambda _kind: Writes())
    file = world.jobs.artifact(world.engineer, job_id, NAME)
    assert stat.S_ISREG(file.stat().st_mode)
    # the file, then each folder that holds a new name: fence, job, artifacts, home
    for path in (file, *file.parents[:4]):
        assert (path.stat().st_dev, path.stat().st_ino) in before[0], path.name
    assert file.parents[3] == world.home
