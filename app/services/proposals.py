"""What waits for a second person: made here, bound to its hash and version, expiring (R19)."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4, uuid5

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.models import Approval, Budget, DatasetRow, Principal
from app.domain.errors import InvalidParameter, TooManyPending
from app.domain.ledger import document_sha256
from app.services import audit, names, notifications

APPROVAL_DAYS: Final = 14
APPROVAL_DAYS_MOST: Final = 90
# of one requester, over all budgets and datasets, where the settings do not say otherwise
PENDING_MOST: Final = 50


def propose(
    session: Session,
    subject: Budget | DatasetRow,
    *,
    change: Mapping[str, Any],
    reason: str,
    requested_by: UUID,
    now: datetime,
    expires_at: datetime | None = None,
    most: int = PENDING_MOST,
) -> Approval:
    """Let a change wait for a second person; `change` names its `action` and all that it will do.

    most: how many changes of one requester may wait at once, so that nobody can bury the officers'
    list under requests of his own.

    Raises:
        InvalidParameter: it would expire at once, or later than 90 days from now.
        TooManyPending: the requester has as much waiting as may wait.
    """
    _require_place(session, requested_by, most, now=now)
    until = now + timedelta(days=APPROVAL_DAYS) if expires_at is None else expires_at
    if not now < until <= now + timedelta(days=APPROVAL_DAYS_MOST):
        raise InvalidParameter("/expires_at", f"a time within {APPROVAL_DAYS_MOST} days from now")
    is_budget = isinstance(subject, Budget)
    approval = Approval(
        id=uuid4(),
        action=change["action"],
        budget_id=subject.id if is_budget else None,
        dataset_id=None if is_budget else subject.id,
        subject_version=subject.version,
        change=dict(change),
        change_sha256=document_sha256(change),
        state="pending",
        version=1,
        reason=reason,
        requested_by=requested_by,
        requested_at=now,
        expires_at=until,
    )
    session.add(approval)
    session.flush()
    notifications.notice_proposal(session, approval, now=now)
    return approval


def ask(
    session: Session,
    budget: Budget,
    change: Mapping[str, Any],
    *,
    requested_by: UUID,
    now: datetime,
    expires_at: datetime | None,
    most: int,
) -> dict[str, Any]:
    """Let a change of a locked budget wait, with its line in the trail; gives what the asker reads.

    Raises:
        InvalidParameter, TooManyPending: as `propose`.
    """
    approval = propose(
        session,
        budget,
        change=change,
        reason=change["reason"],
        requested_by=requested_by,
        now=now,
        expires_at=expires_at,
        most=most,
    )
    audit.record(
        session,
        actor_id=requested_by,
        action=f"budget.{change['action']}-asked",
        subject=str(budget.id),
        facts={"change": dict(change)},
        at=now,
    )
    return {
        "state": "pending",
        "approval_id": str(approval.id),
        "budget_id": str(budget.id),
        "budget_version": budget.version,
        "change_sha256": approval.change_sha256,
        "expires_at": approval.expires_at.isoformat(),
    }


def _require_place(session: Session, requested_by: UUID, most: int, *, now: datetime) -> None:
    """Count what waits and is in time, under a lock on the requester: two requests at once are two.

    The lock leaves room for rows that name the requester, which every event of theirs does.
    """
    session.execute(
        select(Principal.id).where(Principal.id == requested_by).with_for_update(key_share=True)
    )
    waiting = select(func.count()).where(
        Approval.requested_by == requested_by,
        Approval.state == "pending",
        Approval.expires_at > now,
    )
    if (session.scalar(waiting) or 0) >= most:
        raise TooManyPending(most)


def approvals_json(session: Session, approvals: Sequence[Approval]) -> list[dict[str, Any]]:
    """Approvals in the wire form, with the names of their people and of what they are about."""
    people = names.people(
        session,
        [i for each in approvals for i in (each.requested_by, each.decided_by, each.on_behalf_of)],
    )
    budgets = names.budgets(session, [each.budget_id for each in approvals])
    datasets = names.datasets(session, [each.dataset_id for each in approvals])
    documents = []
    for each in approvals:
        about, dataset = (
            budgets.get(each.budget_id, (None, None)) if each.budget_id else (None, None)
        )
        named = {
            "budget_name": about,
            "dataset_name": dataset or (datasets.get(each.dataset_id) if each.dataset_id else None),
            "requested_by_name": people.get(each.requested_by),
            "decided_by_name": people.get(each.decided_by) if each.decided_by else None,
            "on_behalf_of_name": people.get(each.on_behalf_of) if each.on_behalf_of else None,
        }
        documents.append({**_approval_json(each), **named})
    return documents


def _approval_json(approval: Approval) -> dict[str, Any]:
    return {
        "id": str(approval.id),
        "action": approval.action,
        "budget_id": _text(approval.budget_id),
        "budget_version": None if approval.budget_id is None else approval.subject_version,
        "dataset_id": _text(approval.dataset_id),
        "dataset_revision": None if approval.dataset_id is None else approval.subject_version,
        "change": approval.change,
        "change_sha256": approval.change_sha256,
        "state": approval.state,
        "version": approval.version,
        "reason": approval.reason,
        "requested_by": str(approval.requested_by),
        "requested_at": approval.requested_at.isoformat(),
        "expires_at": approval.expires_at.isoformat(),
        "decided_by": _text(approval.decided_by),
        "on_behalf_of": _text(approval.on_behalf_of),
        "decided_at": None if approval.decided_at is None else approval.decided_at.isoformat(),
        "decision_reason": approval.decision_reason,
    }


def entry_id(approval: Approval | None, budget: Budget) -> str:
    """The id of the entry that a decision writes in a budget's chain.

    An approval gives each chain one id, and ids are unique by the database's word, so that it has
    no second effect whoever tries (R19).
    """
    return str(uuid4() if approval is None else uuid5(approval.id, str(budget.id)))


def decision_facts(approval: Approval) -> dict[str, Any]:
    """Both people, their reasons and the exact change, for the entry that a decision writes."""
    return {
        "approval": str(approval.id),
        "change_sha256": approval.change_sha256,
        "requested_by": str(approval.requested_by),
        "requested_reason": approval.reason,
        "decided_by": str(approval.decided_by),
        **_delegator(approval),
        "reason": approval.decision_reason or "",
    }


def _delegator(approval: Approval) -> dict[str, str]:
    return {} if approval.on_behalf_of is None else {"on_behalf_of": str(approval.on_behalf_of)}


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
