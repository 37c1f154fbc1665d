"""Four eyes: a change waits here until somebody else has read it and decided (L10, R19).

One row is one change at one version of its subject. Whoever approves makes it take effect in the
same transaction; the database asks the same questions again by its own triggers and constraints.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Approval, DatasetRow
from app.db.repositories import budgets as budget_rows
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.errors import (
    ApprovalNotPending,
    ChangeMismatch,
    NotFound,
    OwnChange,
    ScopeClosed,
    VersionMismatch,
)
from app.services import (
    access,
    audit,
    changes,
    delegations,
    discrepancies,
    opening,
    proposals,
    registrations,
)
from app.services import ledger as ledger_steps
from app.services.access import Caller
from app.services.listing import listed

EXPIRED_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Approvals:
    """Use cases on approvals."""

    make_session: SessionMaker

    def list(
        self,
        caller: Caller,
        state: str | None,
        after: UUID | None,
        limit: int,
        *,
        action: str | None = None,
        newest_first: bool = False,
    ) -> list[dict[str, Any]]:
        """A page of approvals; officers and auditors see all, others their own.

        What is over its time is ended first: what can no more be decided waits for nobody.

        Raises:
            NotFound: the approval to go on after is none that this caller may know of.
        """
        self._expire_overdue()
        statement = select(Approval)
        if not _sees_all(caller):
            statement = statement.where(Approval.requested_by == caller.principal_id)
        with snapshot(self.make_session) as session:
            statement = listed(
                statement,
                (Approval.requested_at, Approval.id),
                equal=((Approval.state, state), (Approval.action, action)),
                newest_first=newest_first,
                last=None if after is None else readable(session, caller, after),
                limit=limit,
            )
            return proposals.approvals_json(session, session.scalars(statement).all())

    def get(self, caller: Caller, approval_id: UUID) -> dict[str, Any]:
        """One approval with the exact change that it is bound to.

        Raises:
            NotFound: no such approval, or one that the caller neither asked for nor oversees.
        """
        with snapshot(self.make_session) as session:
            return proposals.approvals_json(session, [readable(session, caller, approval_id)])[0]

    def decide(
        self,
        caller: Caller,
        approval_id: UUID,
        *,
        decision: str,
        change_sha256: str,
        reason: str,
        if_version: int,
        on_behalf_of: UUID | None = None,
    ) -> dict[str, Any]:
        """Approve or reject a pending change; an approved one takes effect at once.

        The same decision by the same person repeats without effect.

        on_behalf_of: who has handed the right to decide to the caller; his own where None.

        Raises:
            OwnChange: the caller asked for this change, by whatever key, or whose place he takes.
            NotDelegated: that one has not handed him the right, or it is over.
            ApprovalNotPending: decided, used or expired.
            ChangeMismatch: the caller read another change than the one that waits.
            VersionMismatch: the approval or its subject has changed since.
            ThawRefused: the balance of what would be thawed does not pass.
        """
        access.require_role(caller, "compliance_officer", action="decide a change")
        expired = False
        with transaction(self.make_session) as session:
            now = database_now(session)
            approval = _found(session, approval_id, lock=True)
            wanted = {"approve": "used", "reject": "rejected"}[decision]
            said = (approval.decided_by, approval.on_behalf_of, approval.state)
            if said == (caller.principal_id, on_behalf_of, wanted):
                return _decided_json(approval)
            _require_decidable(approval, caller, change_sha256, if_version)
            expired = approval.expires_at <= now
            if expired:
                _expire(session, approval, now=now)
            else:
                if on_behalf_of is not None:
                    delegations.require_in_force(session, caller, approval, on_behalf_of, now=now)
                _decide(
                    session,
                    approval,
                    caller,
                    wanted=wanted,
                    reason=reason,
                    on_behalf_of=on_behalf_of,
                    now=now,
                )
                _record(session, approval, caller.principal_id, now=now)
            document = _decided_json(approval)
        if expired:
            raise ApprovalNotPending("expired")
        return document

    def _expire_overdue(self) -> None:
        with snapshot(self.make_session) as session:
            is_over = has_expired(session, now=database_now(session))
        while is_over:
            with transaction(self.make_session) as session:
                # a part at a time; none where another process is at the last of them
                is_over = expire_pending(session, now=database_now(session)) == EXPIRED_MOST


def has_expired(session: Session, *, now: datetime) -> bool:
    """Whether some approval waits beyond its time; takes no lock."""
    waits = select(Approval.id).where(Approval.state == "pending", Approval.expires_at <= now)
    return session.scalar(waits.limit(1)) is not None


def expire_pending(session: Session, *, now: datetime) -> int:
    """End what nobody decided in time, so that a forgotten proposal holds no place; a step.

    Returns:
        How many approvals it ended.
    """
    statement = (
        select(Approval)
        .where(Approval.state == "pending", Approval.expires_at <= now)
        .order_by(Approval.expires_at)
        .limit(EXPIRED_MOST)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    approvals = session.scalars(statement).all()
    for approval in approvals:
        _expire(session, approval, now=now)
    return len(approvals)


def expire_requested_by(
    session: Session, principal_id: UUID, *, reason: str, now: datetime
) -> list[str]:
    """End what somebody asked for and nobody has decided; a step.

    Returns:
        The ids of the approvals that waited until now.
    """
    statement = (
        select(Approval)
        .where(Approval.state == "pending", Approval.requested_by == principal_id)
        # budgets are locked one by one in this order, which is everybody's
        .order_by(Approval.budget_id, Approval.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    approvals = session.scalars(statement).all()
    for approval in approvals:
        approval.decision_reason = reason
        _expire(session, approval, now=now)
    return [str(approval.id) for approval in approvals]


def _open(session: Session, approval: Approval, *, now: datetime) -> None:
    budget = budget_rows.lock(session, _budget_ids(approval))[0]
    if budget.state != "proposed":
        raise VersionMismatch("budget", budget.version)
    dataset = session.get_one(DatasetRow, budget.dataset_id, with_for_update={"read": True})
    if dataset.state != "active":
        raise ScopeClosed({"kind": "dataset", "name": dataset.name}, dataset.state)
    budget.version += 1
    ledger_steps.open_chain(
        session,
        budget,
        actor=UUID(str(approval.decided_by)),
        now=now,
        facts=proposals.decision_facts(approval),
    )


def _close_proposal(session: Session, approval: Approval) -> None:
    budget = budget_rows.lock(session, _budget_ids(approval))[0]
    if budget.state == "proposed":
        budget.state = "closed"
        budget.version += 1


# what an approved change does, by its action
APPLY: Final[dict[str, Callable[..., None]]] = {
    "open": _open,
    "raise": changes.apply_approved,
    "thaw": changes.apply_approved,
    "opening": opening.apply_approved,
    "recovery": discrepancies.apply_approved,
    "register": registrations.apply_approved,
}
# the scopes that an approved change charges besides its subject
SCOPES: Final[dict[str, Callable[[Session, Approval], list[UUID]]]] = {
    "opening": opening.path_ids,
    "recovery": discrepancies.scope_ids,
}
# what is taken back where a change is rejected or expires
WITHDRAW: Final[dict[str, Callable[[Session, Approval], None]]] = {
    "open": _close_proposal,
    "register": registrations.withdraw,
}


def _decide(
    session: Session,
    approval: Approval,
    caller: Caller,
    *,
    wanted: str,
    reason: str,
    on_behalf_of: UUID | None,
    now: datetime,
) -> None:
    if wanted == "used":
        _require_version(session, approval)
    approval.decided_by = caller.principal_id
    approval.on_behalf_of = on_behalf_of
    approval.decided_at = now
    approval.decision_reason = reason
    approval.state = wanted
    approval.version += 1
    # before its effect: the database asks for the used approval when the subject changes
    session.flush()
    if wanted == "used":
        APPLY[approval.action](session, approval, now=now)
    else:
        _withdraw(session, approval)


def _expire(session: Session, approval: Approval, *, now: datetime) -> None:
    approval.state = "expired"
    approval.version += 1
    _withdraw(session, approval)
    _record(session, approval, None, now=now)


def _withdraw(session: Session, approval: Approval) -> None:
    withdraw = WITHDRAW.get(approval.action)
    if withdraw is not None:
        withdraw(session, approval)


def _record(session: Session, approval: Approval, actor_id: UUID | None, *, now: datetime) -> None:
    facts = {"action": approval.action, "change": approval.change_sha256}
    if approval.budget_id is not None:
        facts["budget_id"] = str(approval.budget_id)
    if approval.dataset_id is not None:
        facts["dataset_id"] = str(approval.dataset_id)
    if approval.on_behalf_of is not None:
        facts["on_behalf_of"] = str(approval.on_behalf_of)
    audit.record(
        session,
        actor_id=actor_id,
        action=f"approval.{approval.state}",
        subject=str(approval.id),
        facts=facts,
        at=now,
    )


def _require_decidable(
    approval: Approval, caller: Caller, change_sha256: str, if_version: int
) -> None:
    if approval.state != "pending":
        raise ApprovalNotPending(approval.state)
    if approval.requested_by == caller.principal_id:
        raise OwnChange
    if approval.version != if_version:
        raise VersionMismatch("approval", approval.version)
    if approval.change_sha256 != change_sha256:
        raise ChangeMismatch(approval.change_sha256)


def _require_version(session: Session, approval: Approval) -> None:
    """Lock the subject and refuse an approval that was asked for at another version of it."""
    if approval.budget_id is not None:
        # all that the change will touch at once, in everybody's order: no two wait for each other
        ids = SCOPES[approval.action](session, approval) if approval.action in SCOPES else []
        locked = budget_rows.lock(session, [*_budget_ids(approval), *ids])
        current = next(each.version for each in locked if each.id == approval.budget_id)
        kind = "budget"
    else:
        current = registrations.lock_dataset(session, approval).version
        kind = "dataset"
    if current != approval.subject_version:
        raise VersionMismatch(kind, current)


def readable(session: Session, caller: Caller, approval_id: UUID) -> Approval:
    """The approval, or the same NotFound whether it is missing or hidden; a step."""
    approval = _found(session, approval_id)
    if not _sees_all(caller) and approval.requested_by != caller.principal_id:
        raise NotFound("approval", str(approval_id))
    return approval


def _found(session: Session, approval_id: UUID, *, lock: bool = False) -> Approval:
    statement = select(Approval).where(Approval.id == approval_id)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    approval = session.scalars(statement).one_or_none()
    if approval is None:
        raise NotFound("approval", str(approval_id))
    return approval


def _decided_json(approval: Approval) -> dict[str, Any]:
    applied = approval.subject_version + (1 if approval.state == "used" else 0)
    return {
        "id": str(approval.id),
        "state": approval.state,
        "version": approval.version,
        "budget_id": _text(approval.budget_id),
        "budget_version": None if approval.budget_id is None else applied,
        "dataset_id": _text(approval.dataset_id),
        "dataset_revision": None if approval.dataset_id is None else applied,
    }


def _budget_ids(approval: Approval) -> list[UUID]:
    if approval.budget_id is None:
        raise RuntimeError(f"approval {approval.id} is about no budget")
    return [approval.budget_id]


def _sees_all(caller: Caller) -> bool:
    return not caller.roles.isdisjoint(access.SEES_EVERY_BUDGET)


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
