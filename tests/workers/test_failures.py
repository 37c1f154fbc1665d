"""A query that fails says nothing of its rows: one code, no text of an engine, no count (R13)."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.db.session import make_engine, make_session_maker
from app.domain.errors import ResultNotReady
from app.domain.privacy import Loss
from app.services.datasets import Datasets
from app.services.placement import JobRequest
from app.settings import Settings
from tests.world import COUNT_QUERY, World, keyed, new_world
from workers.context import Context
from workers.running import run_job

SECRET = "secret-4711"


@pytest.fixture
def world(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    engine = make_engine(sqlite_url)
    with new_world(make_session_maker(engine), tmp_path) as made:
        yield made
    engine.dispose()


def ended(world: World, url: str, *, version: int = 1) -> tuple[UUID, dict[str, Any]]:
    """A count that was run by a worker."""
    inputs = world.inputs(world.open_root(), version=version)
    request = JobRequest("query", inputs, COUNT_QUERY, "a test")
    made = world.admissions.submit(world.engineer, request, keyed(world.engineer, "jobs", "one"))
    job_id = UUID(made["id"])
    settings = Settings(database_url=url, home=world.home)
    run_job(Context(settings, world.make_session, "w", world.journal), job_id)
    return job_id, world.jobs.get(world.engineer, job_id)


def test_rows_that_no_engine_can_read_fail_in_one_word_and_stay_charged(
    world: World, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    (world.home / "data" / "rows.parquet").write_text(f"{SECRET} is no such file")
    officer = world.people["officer"]
    Datasets(world.make_session).add_version(
        officer,
        world.dataset_id,
        path="rows.parquet",
        format="parquet",
        if_version=1,
        keyed=keyed(officer, "versions", "parquet"),
    )
    job_id, job = ended(world, sqlite_url, version=2)
    assert (job["state"], job["failure_code"]) == ("failed", "failed-after-touch")
    with pytest.raises(ResultNotReady) as refused:
        world.jobs.result(world.engineer, job_id)
    told = [json.dumps(job), str(refused.value)]
    told += [json.dumps(each) for each in world.jobs.progress_after(world.engineer, job_id, 0)]
    told += [each.getMessage() for each in caplog.records if each.levelno > logging.DEBUG]
    assert SECRET not in " ".join(told)
    budget = world.budget(UUID(job["inputs"][0]["budget_id"]))
    assert (budget.reserved, budget.committed != Loss.zero()) == (Loss.zero(), True)


def test_a_file_that_is_gone_before_the_touch_costs_nothing(world: World, sqlite_url: str) -> None:
    (world.home / "data" / "rows.csv").unlink()
    _, job = ended(world, sqlite_url)
    assert (job["state"], job["failure_code"]) == ("failed", "source-unavailable")
    assert str(world.home) not in json.dumps(job)
    budget = world.budget(UUID(job["inputs"][0]["budget_id"]))
    assert budget.reserved == budget.committed == Loss.zero()
    assert "reused_from" not in world.submit(budget.id)
