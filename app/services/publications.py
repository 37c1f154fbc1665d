"""Publishing: from then on a released result may be read outside of its project.

It costs nothing: reading a release again is post-processing. But figures of allocations assume that
each project keeps its results; what is published may be put together with all else, so from then on
the lifetime root is the only true figure, and statements say so. It is never taken back: nobody can
make others forget what they have read. So it stands in the chain of every root that paid for the
result, without a charge and without a word of which projects read it: whoever reads the chain need
not know of them (R12).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Budget, Entry, Job, Project, Publication, Reservation, Result
from app.db.repositories import budgets as budget_rows
from app.db.session import SessionMaker
from app.domain.errors import InvalidParameter, NotFound, ResultNotReady, ResultPurged
from app.domain.ledger import EntryDraft
from app.domain.privacy import Loss
from app.services import access, audit
from app.services import ledger as ledger_steps
from app.services.access import Caller
from app.services.idempotency import Keyed, decide_once

PUBLISHED_ONCE = "it was published before, to others: a publication is neither changed nor ended"


@dataclass(frozen=True, slots=True)
class PublicationRequest:
    """To whom a result is published: members of projects, or everybody in the house where None."""

    reason: str
    project_ids: tuple[UUID, ...] | None = None


@dataclass(frozen=True, slots=True)
class Publications:
    """Use cases on publications."""

    make_session: SessionMaker

    def publish(
        self, caller: Caller, job_id: UUID, request: PublicationRequest, keyed: Keyed
    ) -> dict[str, Any]:
        """Let others read a job's released result; the same publication again changes nothing.

        One from before publications stood in the chains is written into them by its repetition.

        Raises:
            NotFound: no such job or project.
            ResultNotReady: nothing is posted for it (L2).
            ResultPurged: it was deleted with its dataset (R20).
            InvalidParameter: no project at all, one twice, or published before to others.
        """
        access.require_role(caller, "compliance_officer", action="publish a result")
        audience = _audience(request.project_ids)

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            # with its row held: two officers at once publish it once
            job = session.get(Job, job_id, with_for_update={"key_share": True})
            if job is None:
                raise NotFound("job", str(job_id))
            result = session.get(Result, job_id)
            if result is None:
                raise ResultNotReady(job.state)
            if result.purged_at is not None:
                raise ResultPurged(result.purged_at.isoformat())
            _require_projects(session, audience)
            row = session.get(Publication, job_id)
            if row is not None:
                if row.project_ids != audience:
                    raise InvalidParameter("/project_ids", PUBLISHED_ONCE)
                _write_entries(session, job, row, now=now)
                return publication_json(row)
            row = Publication(
                job_id=job_id,
                project_ids=audience,
                reason=request.reason,
                published_by=caller.principal_id,
                published_at=now,
            )
            session.add(row)
            audit.record(
                session,
                actor_id=caller.principal_id,
                action="job.published",
                subject=str(job_id),
                facts={"project_ids": audience, "reason": request.reason},
                at=now,
            )
            _write_entries(session, job, row, now=now)
            session.flush()
            return publication_json(row)

        return decide_once(self.make_session, keyed, decide)


def may_read(session: Session, caller: Caller, job_id: UUID) -> bool:
    """Whether a job's result was published to the caller; a step. Admins and workers read none."""
    if caller.roles.isdisjoint({"ml_engineer", *access.SEES_EVERY_BUDGET}):
        return False
    row = session.get(Publication, job_id)
    if row is None:
        return False
    return row.project_ids is None or not {str(each) for each in caller.project_ids}.isdisjoint(
        row.project_ids
    )


def published_since(session: Session, dataset_id: UUID) -> datetime | None:
    """When a result of a dataset was first published, if ever; a step."""
    rows = session.execute(
        select(Publication.published_at, Job.inputs)
        .join(Job, Job.id == Publication.job_id)
        .order_by(Publication.published_at)
    )
    named = str(dataset_id)
    return next(
        (at for at, inputs in rows if any(each["dataset_id"] == named for each in inputs)), None
    )


def publication_json(row: Publication) -> dict[str, Any]:
    """A publication in the wire form."""
    return {
        "job_id": str(row.job_id),
        "project_ids": row.project_ids,
        "reason": row.reason,
        "published_by": str(row.published_by),
        "published_at": row.published_at.isoformat(),
    }


def _write_entries(session: Session, job: Job, row: Publication, *, now: datetime) -> None:
    """One entry in the chain of each lifetime root that the job was charged to, once."""
    reservation = session.get_one(Reservation, job.reservation_id)
    paid = [UUID(each) for each in reservation.budget_ids]
    roots = session.scalars(select(Budget.id).where(Budget.id.in_(paid), Budget.kind == "lifetime"))
    for root in budget_rows.lock(session, roots):
        # ids are unique by the database's word: no publication is written twice whoever tries
        entry_id = uuid5(root.id, f"published {job.id}")
        if session.scalar(select(Entry.seq).where(Entry.id == entry_id)) is not None:
            continue
        draft = EntryDraft(
            id=str(entry_id),
            kind="published",
            charge=Loss.zero(),
            actor=str(row.published_by),
            facts={
                "job": str(job.id),
                "audience": "everybody" if row.project_ids is None else "projects",
                "decided_by": str(row.published_by),
                "reason": row.reason,
            },
        )
        ledger_steps.append(session, root, draft, now=now)


def _audience(project_ids: Sequence[UUID] | None) -> list[str] | None:
    if project_ids is None:
        return None
    if not project_ids or len(set(project_ids)) != len(project_ids):
        raise InvalidParameter("/project_ids", "at least one project, each once; null for all")
    return sorted(str(each) for each in project_ids)


def _require_projects(session: Session, audience: list[str] | None) -> None:
    for each in audience or ():
        if session.get(Project, UUID(each)) is None:
            raise NotFound("project", each)
