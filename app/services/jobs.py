"""Jobs as their owners see them: state, progress, result, artifacts, cancel."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from app.db.models import Job, Progress, Reservation, Result
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.errors import AlreadyResolved, NotFound, ResultNotReady
from app.services import access, audit, settlement
from app.services.access import Caller
from app.services.parts import part_json

PAGE_MOST = 200


@dataclass(frozen=True, slots=True)
class Jobs:
    """Use cases on jobs. `home` is the folder that holds artifacts, one folder a (job, fence)."""

    make_session: SessionMaker
    home: Path

    def get(self, caller: Caller, job_id: UUID) -> dict[str, Any]:
        """One job."""
        with snapshot(self.make_session) as session:
            return job_json(session, _readable(session, caller, job_id))

    def cancel(self, caller: Caller, job_id: UUID) -> dict[str, Any]:
        """Ask for a stop: a queued job ends now, a running one at its next chunk.

        What it has started stays charged, so one that no worker ever touched costs nothing.

        Raises:
            AlreadyResolved: the job has ended by itself.
        """
        with transaction(self.make_session) as session:
            job = _readable(session, caller, job_id, lock=True)
            if job.principal_id != caller.principal_id:
                raise NotFound("job", str(job_id))
            if job.state in ("settled", "failed"):
                raise AlreadyResolved(job.state)
            if not job.cancel_requested:
                now = database_now(session)
                # the flag comes first: whoever looks at this job next sees it
                job.cancel_requested = True
                audit.record(
                    session,
                    actor_id=caller.principal_id,
                    action="job.cancel",
                    subject=str(job.id),
                    facts={"state": job.state},
                    at=now,
                )
                if job.state == "queued":
                    settlement.end_without_result(
                        session, job, "cancelled", now=now, actor=str(caller.principal_id)
                    )
            return job_json(session, job)

    def result(self, caller: Caller, job_id: UUID) -> dict[str, Any]:
        """What the job released.

        Raises:
            ResultNotReady: nothing is posted for it (L2).
        """
        with snapshot(self.make_session) as session:
            job = _readable(session, caller, job_id)
            result = session.get(Result, job.id)
            if result is None:
                raise ResultNotReady(job.state)
            return {**result.document, "artifacts": result.artifacts}

    def progress_after(self, caller: Caller, job_id: UUID, after_id: int) -> list[dict[str, Any]]:
        """Progress rows with larger ids, in order."""
        with snapshot(self.make_session) as session:
            job = _readable(session, caller, job_id)
            rows = session.scalars(
                select(Progress)
                .where(Progress.job_id == job.id, Progress.id > after_id)
                .order_by(Progress.id)
                .limit(PAGE_MOST)
            )
            return [{"id": row.id, **row.document} for row in rows]

    def artifact(self, caller: Caller, job_id: UUID, name: str) -> Path:
        """The file of an artifact that the posted result names; no other file is ever served.

        Raises:
            ResultNotReady: nothing is posted.
            NotFound: the result names no such artifact.
        """
        with snapshot(self.make_session) as session:
            job = _readable(session, caller, job_id)
            result = session.get(Result, job.id)
            if result is None:
                raise ResultNotReady(job.state)
            if name not in {item["name"] for item in result.artifacts}:
                raise NotFound("artifact", name)
            return artifact_folder(self.home, job.id, result.fence) / name

    def list(self, caller: Caller, after: UUID | None, limit: int) -> list[dict[str, Any]]:
        """The caller's jobs, or everybody's for officers and auditors; newest first."""
        statement = select(Job).order_by(Job.created_at.desc(), Job.id.desc())
        if caller.roles.isdisjoint(access.SEES_EVERY_BUDGET):
            statement = statement.where(Job.principal_id == caller.principal_id)
        with snapshot(self.make_session) as session:
            if after is not None:
                last = _readable(session, caller, after)
                statement = statement.where(
                    tuple_(Job.created_at, Job.id) < tuple_(last.created_at, last.id)
                )
            rows = session.scalars(statement.limit(min(limit, PAGE_MOST)))
            return [job_json(session, row) for row in rows]


def artifact_folder(home: Path, job_id: UUID, fence: int) -> Path:
    """Where one attempt writes; another attempt has another folder."""
    return artifacts_of(home, job_id) / str(fence)


def artifacts_of(home: Path, job_id: UUID) -> Path:
    """The folders of all attempts of a job."""
    return home / "artifacts" / str(job_id)


def job_json(session: Session, job: Job) -> dict[str, Any]:
    """A job in the wire form."""
    reservation = session.get_one(Reservation, job.reservation_id)
    return {
        "id": str(job.id),
        "kind": job.kind,
        "state": job.state,
        "purpose": job.purpose,
        "spec": job.spec,
        "inputs": job.inputs,
        "public_versions": job.public_versions or {},
        "reservation_id": str(job.reservation_id),
        "max_units": sum(part["max_units"] for part in reservation.parts),
        "started_units": sum(reservation.started_units),
        "parts": [
            {**part_json(p), "started_units": n}
            for p, n in zip(reservation.parts, reservation.started_units, strict=True)
        ],
        "attempts": job.attempts,
        "cancel_requested": job.cancel_requested,
        "failure_code": job.failure_code,
        "created_at": job.created_at.isoformat(),
        "finished_at": None if job.finished_at is None else job.finished_at.isoformat(),
    }


def _readable(session: Session, caller: Caller, job_id: UUID, *, lock: bool = False) -> Job:
    statement = select(Job).where(Job.id == job_id)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    job = session.scalars(statement).one_or_none()
    if job is None or not _may_read(session, caller, job):
        raise NotFound("job", str(job_id))
    return job


def _may_read(session: Session, caller: Caller, job: Job) -> bool:
    if job.principal_id == caller.principal_id:
        return True
    leaf_ids = [UUID(item["budget_id"]) for item in job.inputs]
    return access.may_read_jobs_of(session, caller, leaf_ids)
