"""What a retired dataset's jobs kept is deleted, with an entry; what it cost is not (R20)."""

import io
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from app import verifier
from app.db.models import AuditEvent, Entry, Job, Progress, Result
from app.db.session import database_now, snapshot, transaction
from app.domain.errors import (
    NotAllowed,
    PurgeRefused,
    ResultPurged,
    VersionMismatch,
)
from app.services import export, resume, settlement, signing
from app.services.datasets import Datasets
from app.services.jobs import artifact_folder
from app.services.publications import PublicationRequest, Publications
from app.services.purging import Purging
from tests.reported import gathered, signed_by
from tests.services.test_publications import publish
from tests.world import World, keyed

REASON = "kept until the end of the study"


def released(world: World, root: UUID, key: str) -> UUID:
    """A settled job with a progress row, an artifact and a checkpoint that a kill left behind."""
    job_id = UUID(world.submit(root, key=key, reuse=False)["id"])
    with transaction(world.make_session) as session:
        now = database_now(session)
        held = settlement.claim(session, job_id, owner="me", lease_s=30, now=now)
        assert held is not None
        settlement.start(session, held, 0, 1, now=now)
        row = {"step": 1, "epsilon": "0.01", "delta": "0"}
        settlement.progress(session, held, row, now=now)
        file = artifact_folder(world.home, job_id, held.fence) / "model.safetensors"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"weights")
        named = [{"name": file.name, "sha256": "0" * 64, "size_bytes": 7}]
        settlement.post(session, held, document={"rows": [7]}, artifacts=named, now=now)
    left = resume.checkpoint_folder(world.home, job_id) / "1"
    left.mkdir(parents=True)
    (left / "state").write_bytes(b"state")
    return job_id


def revision(world: World) -> int:
    found = Datasets(world.make_session).get(world.people["officer"], world.dataset_id)
    version: int = found["revision"]
    return version


def retire(world: World) -> None:
    officer = world.people["officer"]
    Datasets(world.make_session).retire(officer, world.dataset_id, if_version=revision(world))


def purge(world: World, who: str = "officer", if_version: int | None = None) -> dict[str, Any]:
    version = revision(world) if if_version is None else if_version
    return Purging(world.make_session, world.home).purge(
        world.people[who], world.dataset_id, REASON, if_version=version
    )


def files(folder: Path) -> list[str]:
    kept = [folder / name for name in ("artifacts", "job-checkpoints")]
    return [str(path) for each in kept for path in each.rglob("*") if path.is_file()]


def test_results_files_and_progress_go_and_every_balance_and_entry_stays(world: World) -> None:
    root = world.open_root("pure/1", "4")
    checkpoints = signed_by(world, world.home)
    one, other = released(world, root, "one"), released(world, root, "other")
    publish(world, str(one))
    retire(world)
    before, held = world.bodies(root), world.budget(root)
    assert len(files(world.home)) == 4
    said = purge(world)
    assert files(world.home) == []
    for job_id in (one, other):
        with pytest.raises(ResultPurged, match=said["purged_at"][:10]):
            world.jobs.result(world.engineer, job_id)
        with pytest.raises(ResultPurged):
            world.jobs.artifact(world.engineer, job_id, "model.safetensors")
        assert world.jobs.progress_after(world.engineer, job_id, 0) == []
        assert world.jobs.get(world.engineer, job_id)["state"] == "settled"
    after = world.bodies(root)
    assert after[:-1] == before
    assert after[-1]["kind"] == "purged"
    assert after[-1]["facts"] == {
        "results": 2,
        "reason": REASON,
        "decided_by": str(world.people["officer"].principal_id),
    }
    assert (world.budget(root).committed, world.budget(root).reserved) == (
        held.committed,
        held.reserved,
    )
    assert world.verified()
    with snapshot(world.make_session) as session:
        assert session.scalars(select(Result.document)).all() == [{}, {}]
        assert session.scalar(select(func.count()).select_from(Progress)) == 0
        assert set(session.scalars(select(Job.release_sha256))) == {None}
        told = session.scalars(
            select(AuditEvent).where(AuditEvent.action == "dataset.purged")
        ).one()
        assert told.facts == {"results": 2, "reason": REASON}
    checkpoints.make()
    bundle = b"".join(export.lines(world.make_session))
    key = signing.load(world.home / "signing.key").public.raw
    assert verifier.verify(io.BytesIO(bundle), key).fault is None
    # a report of the dataset is still made, and says nothing of what is gone
    assert [job["result"] for job in gathered(world)["jobs"]] == [None, None]


def test_only_an_officer_purges_and_only_what_is_retired_and_has_come_to_rest(
    world: World,
) -> None:
    root = world.open_root("pure/1", "4")
    running = UUID(world.submit(root)["id"])
    with pytest.raises(NotAllowed):
        purge(world, "engineer")
    with pytest.raises(PurgeRefused, match="retire it first"):
        purge(world)
    retire(world)
    with pytest.raises(PurgeRefused, match="have not ended"):
        purge(world)
    world.jobs.cancel(world.engineer, running)
    with pytest.raises(VersionMismatch):
        purge(world, if_version=77)
    assert purge(world)["purged_at"]


def test_a_second_purge_writes_nothing_and_deletes_what_a_crash_had_left(world: World) -> None:
    root = world.open_root("pure/1", "4")
    job_id = released(world, root, "one")
    retire(world)
    first = purge(world)
    file = artifact_folder(world.home, job_id, 1) / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    assert purge(world, if_version=1) == first
    assert files(world.home) == []
    with snapshot(world.make_session) as session:
        kinds = session.scalars(select(Entry.kind).where(Entry.budget_id == root)).all()
    assert kinds.count("purged") == 1


def test_what_was_purged_is_published_to_nobody(world: World) -> None:
    root = world.open_root("pure/1", "4")
    job_id = released(world, root, "one")
    retire(world)
    purge(world)
    officer = world.people["officer"]
    with pytest.raises(ResultPurged):
        Publications(world.make_session).publish(
            officer, job_id, PublicationRequest("late"), keyed(officer, "publish", {})
        )
