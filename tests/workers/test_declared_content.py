"""A version's declared digest: compared when rows are read, so after the touch and never before."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.db.session import snapshot
from app.services.closing import VersionFacts
from app.services.datasets import Datasets
from app.services.placement import JobRequest
from app.services.pricing import InputRequest
from app.settings import Settings
from tests.world import COUNT_QUERY, World, keyed, new_world
from workers.context import Context
from workers.engines.query.engine import QueryEngine
from workers.running import resolve_work, run_job

NEWER = b"value\n1\n2\n3\n4\n5\n"
EXACT: dict[str, Any] = {
    **COUNT_QUERY,
    "privacy": {"epsilon": "50", "delta": "0", "noise": "discrete_laplace"},
}


@pytest.fixture
def world(make_session: sessionmaker[Session], tmp_path: Path) -> Iterator[World]:
    """A world whose second version says what its file holds."""
    with new_world(make_session, tmp_path) as made:
        (made.home / "data" / "newer.csv").write_bytes(NEWER)
        officer, datasets = made.people["officer"], Datasets(make_session)
        datasets.add_version(
            officer,
            made.dataset_id,
            path="newer.csv",
            format="csv",
            if_version=datasets.get(officer, made.dataset_id)["revision"],
            keyed=keyed(officer, "versions", "newer"),
            stated=VersionFacts(sha256=hashlib.sha256(NEWER).hexdigest()),
        )
        yield made


def submitted(world: World, root: UUID) -> UUID:
    inputs = (InputRequest(world.dataset_id, 2, root, "all"),)
    request = JobRequest("query", inputs, EXACT, "a test", reuse=False)
    asked = keyed(world.engineer, "jobs", "newer")
    return UUID(world.admissions.submit(world.engineer, request, asked)["id"])


def ran(world: World, root: UUID) -> dict[str, Any]:
    job_id = submitted(world, root)
    settings = Settings(database_url="sqlite://", home=world.home / "worker")
    run_job(Context(settings, world.make_session, "a worker", world.journal), job_id)
    return world.jobs.get(world.engineer, job_id)


def test_a_file_that_is_not_the_declared_one_gives_no_number_and_is_paid_for(world: World) -> None:
    root = world.open_root(epsilon="500")
    first = ran(world, root)
    result = world.jobs.result(world.engineer, UUID(first["id"]))
    assert result["rows"][0]["cells"][0]["value"] == 5

    with (world.home / "data" / "newer.csv").open("ab") as file:
        file.write(b"6\n")
    second = ran(world, root)
    assert (second["state"], second["failure_code"]) == ("failed", "failed-after-touch")
    spent = world.budgets.get(world.people["auditor"], root)
    assert spent["committed"]["epsilon"] == "100"
    assert world.verified()


def test_whether_a_file_is_the_declared_one_is_not_looked_at_before_the_touch(
    world: World, tmp_path: Path
) -> None:
    root = world.open_root(epsilon="500")
    job_id = submitted(world, root)
    (world.home / "data" / "newer.csv").write_bytes(b"something else")
    with snapshot(world.make_session) as session:
        work = resolve_work(session, job_id, tmp_path / "scratch")
    assert work.inputs[0].files[0].sha256 == hashlib.sha256(NEWER).hexdigest()
    # a refusal here would be free, and would tell that rows have changed
    QueryEngine().prepare(work)
