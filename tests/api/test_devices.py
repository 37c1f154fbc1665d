"""Where a job goes: the queue of the device that it asks for, or a refusal and nothing held."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from app.db.models import Job, OutboxMessage
from app.db.session import SessionMaker, database_now, transaction
from app.services.sweep import sweep
from app.settings import Settings
from tests.api.conftest import app_over
from tests.api.training import training_house, training_job, training_spec
from tests.api.world import TestClient, World, build


@pytest.fixture
def with_gpu(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    """A house whose settings name a worker with a GPU."""
    folder = tmp_path / "files"
    folder.mkdir()
    settings = Settings(database_url=sqlite_url, home=tmp_path / "home", gpu_workers=1)
    with TestClient(app_over(settings)) as client:
        yield build(client, folder)


def _sessions(world: World) -> SessionMaker:
    services = world.client.app.state.services  # type: ignore[attr-defined]
    make_session: SessionMaker = services.make_session
    return make_session


def _queues(world: World, job_id: str) -> list[str]:
    with transaction(_sessions(world)) as session:
        statement = select(OutboxMessage.queue).where(OutboxMessage.job_id == UUID(job_id))
        return list(session.scalars(statement.order_by(OutboxMessage.id)))


def test_a_device_without_a_worker_is_refused_at_quote_and_at_submit(on_sqlite: World) -> None:
    inputs = training_house(on_sqlite)
    quote = {"inputs": [inputs], "spec": training_spec(device="gpu")}
    for path, body in (("/quotes", quote), ("/jobs", training_job(inputs, device="gpu"))):
        answer = on_sqlite.ask("POST", path, body)
        assert answer.status_code == 409
        assert answer.json()["code"] == "device-unavailable"
        assert answer.json()["available"] == ["cpu"]
    assert on_sqlite.ask("GET", "/jobs").json()["items"] == []


def test_a_job_goes_to_the_queue_of_its_device(with_gpu: World) -> None:
    inputs = training_house(with_gpu)
    for device in ("gpu", "cpu"):
        job = with_gpu.made("/jobs", training_job(inputs, device=device), by="ml_engineer")
        assert job["spec"]["device"] == device
        assert _queues(with_gpu, job["id"]) == [device]


def test_a_job_that_lost_its_worker_is_queued_again_for_its_device(with_gpu: World) -> None:
    job = with_gpu.made(
        "/jobs", training_job(training_house(with_gpu), device="gpu"), by="ml_engineer"
    )
    make_session = _sessions(with_gpu)
    with transaction(make_session) as session:
        row, now = session.get_one(Job, UUID(job["id"])), database_now(session)
        row.state, row.fence, row.owner, row.lease_until = "running", 1, "gone", now
    sweep(make_session)
    assert _queues(with_gpu, job["id"]) == ["gpu", "gpu"]
