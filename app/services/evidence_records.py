"""The records beside the chains, as they stood at a checkpoint's time as far as their times say.

Nothing in them was computed from rows: results are kept by `released.public_facts`, datasets
without the place where their rows lie (R13, R17).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any, Final
from uuid import UUID

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from app.db.models import (
    Approval,
    AttestationRow,
    AuditEvent,
    Budget,
    DatasetRow,
    DatasetVersion,
    Job,
    Result,
)
from app.domain.checkpoints import Head
from app.domain.decimals import decimal_text
from app.domain.ledger import time_text
from app.reporting.evidence import (
    Amount,
    ApprovalEvidence,
    AttestationEvidence,
    BudgetEvidence,
    DatasetEvidence,
    JobEvidence,
    RefusalEvidence,
    ReservationEvidence,
)
from app.reporting.released import canonical, public_facts
from app.services import policies
from app.services.evidence_ledger import portions, read_chains
from app.services.sources import WITHDRAWN

REFUSED: Final = "refused."
DESCRIBED: Final = "dataset.described"
SUM_DIGITS: Final = 100


def dataset_of(
    session: Session,
    row: DatasetRow,
    budgets: Sequence[BudgetEvidence],
    heads: Mapping[str, Head],
    *,
    as_of: datetime,
) -> DatasetEvidence:
    """The dataset without the place where its rows lie; heads of the checkpoint, by budget."""
    root = next((each for each in budgets if each["parent_id"] is None), None)
    # its root is closed in the transaction that retires it
    was_retired = row.state == "retired" and (root is None or root["state"] == "closed")
    versions = select(func.count()).where(
        DatasetVersion.dataset_id == row.id, DatasetVersion.created_at <= as_of
    )
    beside = _of_population(session, row, as_of=as_of)
    return {
        "id": str(row.id),
        "name": row.name,
        "state": row.state if row.state != "retired" or was_retired else "active",
        "access": row.access,
        "registered_at": time_text(row.created_at),
        "versions": session.scalar(versions) or 0,
        "population": row.population,
        "population_datasets": len(beside),
        "population_sum": _sum_of(session, row, beside, root, heads),
        "document": public_document(row),
        "description": canonical(_described(session, row, as_of=as_of)),
    }


def public_document(row: DatasetRow) -> dict[str, Any]:
    """The registered form without connection and path: where rows lie is in no report."""
    document: dict[str, Any] = canonical(row.document)
    return {**document, "source": {"format": document["source"]["format"]}}


def jobs_of(
    session: Session, reservations: Sequence[ReservationEvidence], *, as_of: datetime
) -> list[JobEvidence]:
    """The jobs of some reservations, in the order in which they were asked for."""
    ended = {each["id"] for each in reservations if each["resolved_at"] is not None}
    touched = {each["id"] for each in reservations if each["touched_at"] is not None}
    of_jobs = sorted(each["job"] for each in reservations if each["job"] is not None)
    rows = [
        row
        for ids in portions(of_jobs)
        for row in session.execute(
            select(Job, Result.document)
            # of a purged one nothing is left to say (R20)
            .outerjoin(Result, and_(Result.job_id == Job.id, Result.purged_at.is_(None)))
            .where(Job.id.in_([UUID(each) for each in ids]))
        )
    ]
    tables = _tables(session, (job for job, _ in rows))
    found = [
        _job(
            job,
            document,
            {id_: tables[id_] for id_ in _further(job) if id_ in tables},
            has_ended=str(job.reservation_id) in ended,
            is_touched=str(job.reservation_id) in touched,
        )
        for job, document in rows
        if job.created_at <= as_of or str(job.reservation_id) in ended
    ]
    return sorted(found, key=lambda each: (each["created_at"], each["id"]))


def approvals_of(
    session: Session, dataset_id: UUID, budgets: Sequence[BudgetEvidence], *, as_of: datetime
) -> list[ApprovalEvidence]:
    """The changes of a dataset and its scopes that took two people, oldest first (R19)."""
    ids = [UUID(each["id"]) for each in budgets]
    rows = session.scalars(
        select(Approval)
        .where(
            or_(Approval.budget_id.in_(ids), Approval.dataset_id == dataset_id),
            Approval.requested_at <= as_of,
        )
        .order_by(Approval.requested_at, Approval.id)
    )
    return [_approval(row, as_of=as_of) for row in rows]


def attestations_of(
    session: Session, dataset_id: UUID, *, as_of: datetime
) -> list[AttestationEvidence]:
    """What people attested to of a dataset by then, oldest first."""
    rows = session.scalars(
        select(AttestationRow)
        .where(AttestationRow.dataset_id == dataset_id, AttestationRow.made_at <= as_of)
        .order_by(AttestationRow.made_at, AttestationRow.id)
    )
    found = [attestation_json(row) for row in rows]
    for each in found:
        if each["revoked_at"] is not None and each["revoked_at"] > time_text(as_of):
            each["revoked_at"] = None
    return found


def attestation_json(row: AttestationRow) -> AttestationEvidence:
    """An attestation in the form that is signed, handed out and carried by reports."""
    kind: Any = row.kind
    return {
        "id": str(row.id),
        "kind": kind,
        "statement": row.statement,
        "facts": row.facts,
        "person": str(row.person_id),
        "person_name": row.person_name,
        "role": row.role,
        "made_at": time_text(row.made_at),
        "expires_at": time_text(row.expires_at),
        "revoked_at": None if row.revoked_at is None else time_text(row.revoked_at),
        "signature": row.signature,
        "signed_by": row.signed_by,
    }


def refusals_of(session: Session, dataset_id: UUID, *, as_of: datetime) -> RefusalEvidence:
    """How many requests were refused in the scopes of a dataset, by the trail (R12)."""
    rows = session.execute(
        select(AuditEvent.action, AuditEvent.facts).where(
            AuditEvent.action.like(f"{REFUSED}%"), AuditEvent.at <= as_of
        )
    )
    codes: dict[str, int] = {}
    for action, facts in rows:
        if str(dataset_id) in facts.get("dataset_ids", ()):
            code = action.removeprefix(REFUSED)
            codes[code] = codes.get(code, 0) + 1
    return {"total": sum(codes.values()), "by_code": dict(sorted(codes.items()))}


def _job(
    job: Job,
    document: Mapping[str, Any] | None,
    tables: dict[str, dict[str, Any]],
    *,
    has_ended: bool,
    is_touched: bool,
) -> JobEvidence:
    state = job.state if has_ended else "running" if is_touched else "queued"
    return {
        "id": str(job.id),
        "kind": job.kind,
        "state": state,
        "purpose": job.purpose,
        "reservation": str(job.reservation_id),
        "failure_code": job.failure_code if has_ended else None,
        # of work that had not begun by then, whatever became of it since
        "attempts": job.attempts if has_ended or is_touched else 0,
        "lapses_after_touch": job.lapses_after_touch if has_ended or is_touched else 0,
        "spec": canonical(job.spec),
        "inputs": canonical(job.inputs),
        "tables": tables,
        "result": public_facts(job.kind, document) if has_ended and document is not None else None,
        "created_at": time_text(job.created_at),
        "finished_at": time_text(job.finished_at)
        if has_ended and job.finished_at is not None
        else None,
    }


def _further(job: Job) -> list[str]:
    """The datasets that a job reads beside the one it is charged to first."""
    named = {item["dataset_id"] for item in job.inputs[1:]} | set(job.public_versions or {})
    return sorted(named)


def _tables(session: Session, jobs: Iterable[Job]) -> dict[str, dict[str, Any]]:
    ids = sorted({id_ for job in jobs for id_ in _further(job)})
    return {
        str(row.id): public_document(row)
        for some in portions(ids)
        for row in session.scalars(
            select(DatasetRow).where(DatasetRow.id.in_([UUID(each) for each in some]))
        )
    }


def _approval(row: Approval, *, as_of: datetime) -> ApprovalEvidence:
    was_decided = row.decided_at is not None and row.decided_at <= as_of
    state = row.state if was_decided else "pending"
    if state == "pending" and row.expires_at <= as_of:
        state = "expired"
    found: ApprovalEvidence = {
        "id": str(row.id),
        "action": row.action,
        "budget": None if row.budget_id is None else str(row.budget_id),
        "state": state,
        "reason": row.reason,
        "requested_by": str(row.requested_by),
        "requested_at": time_text(row.requested_at),
        "decided_by": str(row.decided_by) if was_decided else None,
        "decided_at": time_text(row.decided_at)
        if was_decided and row.decided_at is not None
        else None,
    }
    if was_decided and row.on_behalf_of is not None:
        found["on_behalf_of"] = str(row.on_behalf_of)
    return found


def _described(session: Session, row: DatasetRow, *, as_of: datetime) -> dict[str, Any]:
    """What the owner said of a dataset by then: what was said anew since is taken back."""
    said = dict(row.description)
    events = session.scalars(
        select(AuditEvent.facts)
        .where(
            AuditEvent.action == DESCRIBED,
            AuditEvent.subject == str(row.id),
            AuditEvent.at > as_of,
        )
        .order_by(AuditEvent.id.desc())
    )
    for facts in events:
        said |= {key: change["from"] for key, change in facts.items()}
    return {key: value for key, value in said.items() if value is not None}


def _of_population(session: Session, row: DatasetRow, *, as_of: datetime) -> list[DatasetRow]:
    """The private datasets of the same people, this one among them (R18)."""
    if row.population is None:
        return [row]
    rows = session.scalars(
        select(DatasetRow)
        .where(
            DatasetRow.population == row.population,
            DatasetRow.access == "private",
            DatasetRow.source_fingerprint.not_like(f"{WITHDRAWN}%"),
            DatasetRow.created_at <= as_of,
        )
        .order_by(DatasetRow.created_at, DatasetRow.id)
    )
    return list(rows)


def _sum_of(
    session: Session,
    row: DatasetRow,
    beside: Sequence[DatasetRow],
    root: BudgetEvidence | None,
    heads: Mapping[str, Head],
) -> Amount | None:
    """What the roots of a population have consumed together; None where they do not add up (L8)."""
    if root is None or root["figures"] is None or root["bound_delta"] is None:
        return None
    unit = row.document.get("unit_of_privacy", {}).get("kind")
    total = [(root["figures"]["consumed"]["epsilon"], root["bound_delta"])]
    for other in beside:
        if other.id == row.id:
            continue
        is_alike = other.relation == row.relation and (
            other.document.get("unit_of_privacy", {}).get("kind") == unit
        )
        amount = _consumed_by_root(session, other, heads) if is_alike else None
        if amount is None:
            return None
        total.append(amount)
    with localcontext(prec=SUM_DIGITS):
        epsilon = sum((Decimal(each) for each, _ in total), Decimal(0))
        delta = sum((Decimal(each) for _, each in total), Decimal(0))
        if not epsilon.is_finite():
            return None
        return {"epsilon": decimal_text(epsilon), "delta": decimal_text(delta)}


def _consumed_by_root(
    session: Session, dataset: DatasetRow, heads: Mapping[str, Head]
) -> tuple[str, str] | None:
    root_id = session.scalar(
        select(Budget.id).where(
            Budget.dataset_id == dataset.id,
            Budget.kind == "lifetime",
            Budget.opened_at.is_not(None),
        )
    )
    head = heads.get(str(root_id))
    if head is None:
        # nothing was ever released of it by us
        return ("0", "0")
    chains = read_chains(session, [head], lambda _done, _of: None)
    walked = chains.replays[head.budget_id]
    if chains.faults or walked.policy is None:
        return None
    policy = policies.policy_in(walked.policy)
    worst = policies.worst_of(policy, walked.committed + walked.reserved, walked.block_sums)
    return worst.consumed.epsilon, policies.bound_delta(policy, worst.delta_atto)
