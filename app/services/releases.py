"""Releases that answer again: an equal query gets the result that stands, at no charge (L2, R12).

Reading what was released is post-processing. So nothing is reserved, no scope has to be open and
none needs room; what the caller may not read, or what is not posted yet, answers nobody. Steps
only: nothing here commits.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import AuditEvent, Budget, Job, Reservation, Result
from app.db.repositories import budgets as budget_rows
from app.services import access, audit
from app.services.access import Caller
from app.services.batches import Asked, Batch
from app.services.idempotency import Keyed


def find(
    session: Session, caller: Caller, release_sha256: str, leaf_ids: Iterable[UUID]
) -> Job | None:
    """The first settled job that released just this and that the caller may read.

    Always the first, so that asking again is no way to choose among draws of noise. A job that was
    cancelled as it ended answers nobody.

    leaf_ids: the budgets that the request names; equal requests name the same.
    """
    statement = (
        select(Job)
        .join(Result, Result.job_id == Job.id)
        .join(Reservation, Reservation.id == Job.reservation_id)
        .where(
            Job.release_sha256 == release_sha256,
            Job.state == "settled",
            Reservation.state == "posted",
        )
        .order_by(Job.finished_at, Job.id)
        .limit(1)
    )
    if not access.may_read_jobs_of(session, caller, leaf_ids):
        statement = statement.where(Job.principal_id == caller.principal_id)
    return session.scalars(statement).one_or_none()


def answer(
    session: Session, caller: Caller, job: Job, budget_ids: Sequence[UUID]
) -> dict[str, Any]:
    """What a request is told that a release answers: that job, and a charge of nothing.

    budget_ids: leaf and ancestors, as of an admission.
    """
    reservation = session.get_one(Reservation, job.reservation_id)
    ids = [*budget_ids, *budget_rows.windows_of(session, budget_ids)]
    scopes = [session.get_one(Budget, budget_id) for budget_id in ids]
    return {
        "id": str(job.id),
        "state": job.state,
        "kind": job.kind,
        "reservation_id": str(job.reservation_id),
        "max_units": sum(part["max_units"] for part in reservation.parts),
        "spec": job.spec,
        "charges": [
            {"budget_id": str(budget.id), **_nothing(budget)}
            for budget in scopes
            if access.may_read_budget(session, caller, budget)
        ],
        "reused_from": str(job.id),
    }


def asked_again(keyed: Keyed, document: Mapping[str, Any], purpose: str) -> Asked:
    """The answer for the writer: one idempotency row and one audit row, no job and no entry (R16).

    Where an equal request was decided meanwhile under the same key, its answer is the one.
    """

    def decide(batch: Batch) -> dict[str, Any]:
        if (stored := batch.replay(keyed)) is not None:
            return stored
        batch.remember(keyed, document)
        batch.add(
            AuditEvent,
            audit.event(
                actor_id=keyed.principal_id,
                action="job.reused",
                subject=document["id"],
                facts={"key": keyed.key, "purpose": purpose},
                at=batch.now,
            ),
        )
        return dict(document)

    return Asked(keyed, (), decide)


def _nothing(budget: Budget) -> dict[str, Any]:
    if budget.plan_units is not None:
        return {"asked": None, "units": {}}
    return {"asked": {"epsilon": "0", "delta": "0"}}
