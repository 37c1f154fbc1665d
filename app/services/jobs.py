"""Jobs as their owners see them: state, progress, result, artifacts, cancel."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Text, cast, select
from sqlalchemy.orm import Session

from app.db.models import Job, Principal, Progress, Reservation, Result
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.errors import AlreadyResolved, NotFound, ResultNotReady, ResultPurged
from app.services import access, audit, publications, settlement
from app.services.access import Caller
from app.services.job_charges import charges_of, newest_charges
from app.services.listing import listed
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
            job = _readable(session, caller, job_id)
            return _jobs_json(session, caller, [job])[0]

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
            return _jobs_json(session, caller, [job])[0]

    def result(self, caller: Caller, job_id: UUID) -> dict[str, Any]:
        """What the job released.

        Raises:
            ResultNotReady: nothing is posted for it (L2).
            ResultPurged: it was deleted with its dataset (R20).
        """
        with snapshot(self.make_session) as session:
            job = _released(session, caller, job_id)
            result = session.get(Result, job.id)
            if result is None:
                raise ResultNotReady(job.state)
            _require_kept(result)
            return {**result.document, "artifacts": result.artifacts}

    def charges(self, caller: Caller, job_id: UUID) -> list[dict[str, Any]]:
        """Its entries in the ledger, of the scopes that the caller may read."""
        with snapshot(self.make_session) as session:
            job = _readable(session, caller, job_id)
            return charges_of(session, caller, job.reservation_id)

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
            ResultPurged: it was deleted with its dataset (R20).
            NotFound: the result names no such artifact.
        """
        with snapshot(self.make_session) as session:
            job = _released(session, caller, job_id)
            result = session.get(Result, job.id)
            if result is None:
                raise ResultNotReady(job.state)
            _require_kept(result)
            if name not in {item["name"] for item in result.artifacts}:
                raise NotFound("artifact", name)
            return artifact_folder(self.home, job.id, result.fence) / name

    def list(
        self,
        caller: Caller,
        after: UUID | None,
        limit: int,
        *,
        state: str | None = None,
        kind: str | None = None,
        dataset_id: UUID | None = None,
        is_mine: bool = False,
        newest_first: bool = True,
    ) -> list[dict[str, Any]]:
        """The caller's jobs, or everybody's for officers and auditors; by what each filter says."""
        statement = select(Job)
        if is_mine or caller.roles.isdisjoint(access.SEES_EVERY_BUDGET):
            statement = statement.where(Job.principal_id == caller.principal_id)
        if dataset_id is not None:
            # inputs are canonical JSON, so that an id stands there in one form
            named = f'"dataset_id":"{dataset_id}"'
            statement = statement.where(cast(Job.inputs, Text).contains(named))
        with snapshot(self.make_session) as session:
            statement = listed(
                statement,
                (Job.created_at, Job.id),
                equal=((Job.state, state), (Job.kind, kind)),
                newest_first=newest_first,
                last=None if after is None else _readable(session, caller, after),
                limit=min(limit, PAGE_MOST),
            )
            rows = session.scalars(statement).all()
            return _jobs_json(session, caller, rows)


def _require_kept(result: Result) -> None:
    if result.purged_at is not None:
        raise ResultPurged(result.purged_at.isoformat())


def artifact_folder(home: Path, job_id: UUID, fence: int) -> Path:
    """Where one attempt writes; another attempt has another folder."""
    return artifacts_of(home, job_id) / str(fence)


def artifacts_of(home: Path, job_id: UUID) -> Path:
    """The folders of all attempts of a job."""
    return home / "artifacts" / str(job_id)


def _jobs_json(session: Session, caller: Caller, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Jobs in the wire form, each with its verdict and its charge."""
    verdicts, charges = _verdicts(session, jobs), newest_charges(session, caller, jobs)
    return [
        {
            **_job_json(session, job),
            "audit_verdict": verdicts.get(job.id),
            "charge": charges.get(job.id),
        }
        for job in jobs
    ]


def _job_json(session: Session, job: Job) -> dict[str, Any]:
    reservation = session.get_one(Reservation, job.reservation_id)
    return {
        "id": str(job.id),
        "requested_by": str(job.principal_id),
        "requested_by_name": session.get_one(Principal, job.principal_id).name,
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


def _verdicts(session: Session, jobs: Sequence[Job]) -> dict[UUID, str]:
    """What the canaries of these trainings came to; a run without canaries, or no run, has none."""
    ids = [job.id for job in jobs if job.kind == "train" and job.state == "settled"]
    if not ids:
        return {}
    found = session.execute(select(Result.job_id, Result.document).where(Result.job_id.in_(ids)))
    audits = {job_id: document.get("audit") for job_id, document in found}
    return {job_id: audit["verdict"] for job_id, audit in audits.items() if audit is not None}


def _readable(session: Session, caller: Caller, job_id: UUID, *, lock: bool = False) -> Job:
    statement = select(Job).where(Job.id == job_id)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    job = session.scalars(statement).one_or_none()
    if job is None or not _may_read(session, caller, job):
        raise NotFound("job", str(job_id))
    return job


def _released(session: Session, caller: Caller, job_id: UUID) -> Job:
    """The job whose result the caller may read: by his own right, or since it was published."""
    job = session.get(Job, job_id)
    if job is not None and publications.may_read(session, caller, job_id):
        return job
    return _readable(session, caller, job_id)


def _may_read(session: Session, caller: Caller, job: Job) -> bool:
    if job.principal_id == caller.principal_id:
        return True
    leaf_ids = [UUID(item["budget_id"]) for item in job.inputs]
    return access.may_read_jobs_of(session, caller, leaf_ids)
