"""Purging: of a retired dataset everything goes that its jobs have kept, and its loss stays (R20).

What was released was charged for, and erasing it gives nothing back: entries, prices, checkpoints
of the chain, the audit trail, specs and reports (in which no released value stands) are never
purged. What goes are results, files of artifacts, progress, and what killed runs had kept to go on
from. Copies in backups and in the hands of others are not ours to delete.
"""

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Text, cast, delete, select, update
from sqlalchemy.orm import Session

from app.db.models import Budget, DatasetRow, Job, Progress, Result
from app.db.repositories import budgets as budget_rows
from app.db.session import SessionMaker, database_now, transaction
from app.domain.errors import NotFound, PurgeRefused, VersionMismatch
from app.domain.ledger import EntryDraft
from app.domain.privacy import Loss
from app.services import access, proposals, registrations, resume
from app.services import ledger as ledger_steps
from app.services.access import Caller
from app.services.jobs import artifacts_of
from app.services.sources import forbid_registrations

NOT_RETIRED = "the dataset is not retired: retire it first"
STILL_RUNS = "jobs of the dataset have not ended: cancel them, or wait"
PORTION = 500


@dataclass(frozen=True, slots=True)
class Purging:
    """The use case. `home` is the folder that holds what jobs keep."""

    make_session: SessionMaker
    home: Path

    def purge(
        self, caller: Caller, dataset_id: UUID, reason: str, *, if_version: int
    ) -> dict[str, Any]:
        """Delete what the jobs of a retired dataset have kept; said once in its root's chain.

        Repeated it deletes the files that a crash has left behind, and writes nothing more. Jobs
        that read another dataset too are among them: what they released is of these people as well.

        Raises:
            NotFound: there is no such dataset.
            VersionMismatch: the dataset changed since the caller read it.
            PurgeRefused: it is not retired, or a job of it has not ended.
        """
        access.require_role(caller, "compliance_officer", action="purge datasets")
        with transaction(self.make_session) as session:
            # roots before the dataset's row, as a retirement has them
            forbid_registrations(session)
            roots = _lock_roots(session, dataset_id)
            row = session.get(DatasetRow, dataset_id, with_for_update=True)
            if row is None:
                raise NotFound("dataset", str(dataset_id))
            jobs = _jobs_of(session, dataset_id)
            if row.purged_at is None:
                if row.version != if_version:
                    raise VersionMismatch(kind="dataset", current=row.version)
                _require_ended(row, jobs)
                now = database_now(session)
                ids = [job.id for job in jobs]
                results = _erase(session, ids, now=now)
                row.purged_at, row.version = now, row.version + 1
                facts = {"results": results, "reason": reason}
                for root in roots:
                    _write_entry(session, root, caller, facts, now=now)
                registrations.record(
                    session, caller.principal_id, "dataset.purged", row.id, facts, now
                )
                session.flush()
            said = {
                "dataset_id": str(row.id),
                "revision": row.version,
                "purged_at": row.purged_at.isoformat(),
            }
        # the rows first: a file that nothing names is served to nobody, so a crash shows nothing
        for job in jobs:
            shutil.rmtree(artifacts_of(self.home, job.id), ignore_errors=True)
            resume.delete_checkpoints(self.home, job.id)
        return said


def _lock_roots(session: Session, dataset_id: UUID) -> list[Budget]:
    """The dataset's root where it was ever opened, and so has a chain."""
    roots = select(Budget.id).where(
        Budget.dataset_id == dataset_id, Budget.kind == "lifetime", Budget.opened_at.is_not(None)
    )
    return budget_rows.lock(session, session.scalars(roots))


def _jobs_of(session: Session, dataset_id: UUID) -> list[Job]:
    # inputs are canonical JSON, so that an id stands there in one form
    named = f'"dataset_id":"{dataset_id}"'
    return list(session.scalars(select(Job).where(cast(Job.inputs, Text).contains(named))))


def _require_ended(row: DatasetRow, jobs: list[Job]) -> None:
    if row.state != "retired":
        raise PurgeRefused(NOT_RETIRED)
    # none can begin any more: its root is closed
    if any(job.state in ("queued", "running") for job in jobs):
        raise PurgeRefused(STILL_RUNS)


def _erase(session: Session, job_ids: list[UUID], *, now: datetime) -> int:
    """Empty the results of these jobs and forget what answers again; says how many there were."""
    erased = 0
    for start in range(0, len(job_ids), PORTION):
        ids = job_ids[start : start + PORTION]
        results = session.scalars(
            select(Result).where(Result.job_id.in_(ids), Result.purged_at.is_(None))
        ).all()
        for result in results:
            # the row stays: that something was released, and published, is not forgotten
            result.document, result.artifacts = {}, []
            result.profile_of, result.purged_at = None, now
        session.execute(delete(Progress).where(Progress.job_id.in_(ids)))
        session.execute(
            update(Job).where(Job.id.in_(ids)).values(release_sha256=None, checkpoints=None)
        )
        erased += len(results)
    return erased


def _write_entry(
    session: Session, root: Budget, caller: Caller, facts: dict[str, Any], *, now: datetime
) -> None:
    draft = EntryDraft(
        id=proposals.entry_id(None, root),
        kind="purged",
        charge=Loss.zero(),
        actor=str(caller.principal_id),
        facts={**facts, "decided_by": str(caller.principal_id)},
    )
    ledger_steps.append(session, root, draft, now=now)
