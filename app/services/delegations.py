"""Delegation: for a time, an officer decides on approvals in another officer's place.

R19 asks for a compliance officer as the second person, so the right goes from officer to officer
and to nobody else: a delegation gives no role, and no way past whoever keeps people. What it gives
is a place on record: such a decision names both, in the approval, in the chain and in reports.
Neither of the two may be who asked (L10), and nobody hands on what was handed to him. Whether it is
in force, and both are still officers, is asked when a decision is made, here and by the database.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from app.db.models import Approval, Delegation, Principal
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.errors import InvalidParameter, NotAllowed, NotDelegated, NotFound, OwnChange
from app.services import access, audit, names, notifications
from app.services.access import Caller
from app.services.idempotency import Keyed, decide_once
from app.services.listing import listed

OFFICER: Final = "compliance_officer"
LONGEST: Final = timedelta(days=90)
LATEST_START: Final = timedelta(days=365)
OPEN_MOST: Final = 20


@dataclass(frozen=True, slots=True)
class DelegationRequest:
    """To whom, from when (now where None), until when, and why."""

    delegate_id: UUID
    starts_at: datetime | None
    ends_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Delegations:
    """Use cases on delegations."""

    make_session: SessionMaker

    def make(self, caller: Caller, request: DelegationRequest, keyed: Keyed) -> dict[str, Any]:
        """Let another officer decide in the caller's place for a time.

        Raises:
            InvalidParameter: no officer who is somebody else, a time that is over or too long, or
                one delegation too many.
        """
        access.require_role(caller, OFFICER, action="delegate decisions")

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            starts_at = _read_start(request, now)
            if not _is_officer(session, caller.principal_id):
                raise NotAllowed(action="delegate decisions", needs=OFFICER)
            if request.delegate_id == caller.principal_id:
                raise InvalidParameter("/delegate_id", "somebody else decides in one's place")
            # the same words for whoever is nobody: people are listed by admins alone
            if not _is_officer(session, request.delegate_id):
                raise InvalidParameter("/delegate_id", "an active compliance officer is expected")
            mine = select(func.count()).where(
                Delegation.delegator_id == caller.principal_id,
                Delegation.ended_at.is_(None),
                Delegation.ends_at > now,
            )
            if (session.scalar(mine) or 0) >= OPEN_MOST:
                raise InvalidParameter("/delegate_id", f"at most {OPEN_MOST} are open at once")
            row = Delegation(
                id=uuid4(),
                delegator_id=caller.principal_id,
                delegate_id=request.delegate_id,
                starts_at=starts_at,
                ends_at=request.ends_at,
                reason=request.reason,
                made_at=now,
            )
            session.add(row)
            session.flush()
            _tell(session, row, "made", caller.principal_id, now=now)
            return delegations_json(session, [row], now)[0]

        return decide_once(self.make_session, keyed, decide)

    def end(self, caller: Caller, delegation_id: UUID) -> dict[str, Any]:
        """End a delegation before its time, by either of its two; what is over stays as it is.

        Raises:
            NotFound: no such delegation.
            NotAllowed: the caller is neither of the two.
        """
        access.require_role(caller, OFFICER, action="end a delegation")
        with transaction(self.make_session) as session:
            row = session.get(Delegation, delegation_id, with_for_update=True)
            if row is None:
                raise NotFound("delegation", str(delegation_id))
            if caller.principal_id not in (row.delegator_id, row.delegate_id):
                raise NotAllowed(action="end a delegation", needs="one of its two people")
            now = database_now(session)
            if row.ended_at is None and row.ends_at > now:
                _end(session, row, caller.principal_id, now=now)
            return delegations_json(session, [row], now)[0]

    def list(self, caller: Caller, after: UUID | None, limit: int) -> list[dict[str, Any]]:
        """A page of all delegations, oldest first; officers and auditors see all of them.

        Raises:
            NotFound: the delegation to go on after is none.
        """
        access.require_role(caller, *sorted(access.SEES_EVERY_BUDGET), action="list delegations")
        with snapshot(self.make_session) as session:
            last = None if after is None else session.get(Delegation, after)
            if after is not None and last is None:
                raise NotFound("delegation", str(after))
            statement = listed(
                select(Delegation),
                (Delegation.made_at, Delegation.id),
                newest_first=False,
                last=last,
                limit=limit,
            )
            now = database_now(session)
            return delegations_json(session, session.scalars(statement).all(), now)


def require_in_force(
    session: Session, caller: Caller, approval: Approval, on_behalf_of: UUID, *, now: datetime
) -> None:
    """Let the caller decide in somebody's place, while that one has handed it to him; a step.

    Raises:
        InvalidParameter: in his own place, for which nobody needs a delegation.
        OwnChange: in the place of whoever asked for this change (L10).
        NotDelegated: nothing in force says so, or that one is no officer any more.
    """
    if on_behalf_of == caller.principal_id:
        raise InvalidParameter("/on_behalf_of", "one's own decision is on behalf of nobody")
    if on_behalf_of == approval.requested_by:
        raise OwnChange
    found = select(Delegation.id).where(
        Delegation.delegator_id == on_behalf_of,
        Delegation.delegate_id == caller.principal_id,
        Delegation.ended_at.is_(None),
        Delegation.starts_at <= now,
        Delegation.ends_at > now,
    )
    # held: who ends it meanwhile waits, or has ended it before this
    held = session.scalars(found.limit(1).with_for_update(read=True)).one_or_none()
    if held is None or not _is_officer(session, on_behalf_of):
        raise NotDelegated


def end_of(session: Session, principal_id: UUID, *, ended_by: UUID, now: datetime) -> None:
    """End what somebody who leaves has handed out or was handed; a step."""
    rows = session.scalars(
        select(Delegation)
        .where(
            or_(Delegation.delegator_id == principal_id, Delegation.delegate_id == principal_id),
            Delegation.ended_at.is_(None),
            Delegation.ends_at > now,
        )
        .order_by(Delegation.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    for row in rows.all():
        _end(session, row, ended_by, now=now)


def delegations_json(
    session: Session, rows: Sequence[Delegation], now: datetime
) -> list[dict[str, Any]]:
    """Delegations in the wire form, with the names of their people."""
    people = names.people(session, [i for row in rows for i in (row.delegator_id, row.delegate_id)])
    return [
        {
            **_delegation_json(row, now),
            "delegator_name": people.get(row.delegator_id),
            "delegate_name": people.get(row.delegate_id),
        }
        for row in rows
    ]


def _delegation_json(row: Delegation, now: datetime) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "delegator_id": str(row.delegator_id),
        "delegate_id": str(row.delegate_id),
        "starts_at": row.starts_at.isoformat(),
        "ends_at": row.ends_at.isoformat(),
        "reason": row.reason,
        "made_at": row.made_at.isoformat(),
        "ended_at": None if row.ended_at is None else row.ended_at.isoformat(),
        "ended_by": None if row.ended_by is None else str(row.ended_by),
        "is_in_force": row.ended_at is None and row.starts_at <= now < row.ends_at,
    }


def _read_start(request: DelegationRequest, now: datetime) -> datetime:
    starts_at = request.starts_at or now
    if not now <= starts_at <= now + LATEST_START:
        days = LATEST_START.days
        raise InvalidParameter("/starts_at", f"it begins within {days} days, and not before now")
    if not starts_at < request.ends_at <= starts_at + LONGEST:
        raise InvalidParameter("/ends_at", f"it ends after it begins, within {LONGEST.days} days")
    return starts_at


def _is_officer(session: Session, principal_id: UUID) -> bool:
    person = session.get(Principal, principal_id)
    return person is not None and person.active and OFFICER in person.roles


def _end(session: Session, row: Delegation, ended_by: UUID, *, now: datetime) -> None:
    row.ended_at, row.ended_by = now, ended_by
    session.flush()
    _tell(session, row, "ended", ended_by, now=now)


def _tell(session: Session, row: Delegation, what: str, actor_id: UUID, *, now: datetime) -> None:
    two = {"delegator_id": str(row.delegator_id), "delegate_id": str(row.delegate_id)}
    audit.record(
        session,
        actor_id=actor_id,
        action=f"delegation.{what}",
        subject=str(row.id),
        facts={**two, "ends_at": row.ends_at.isoformat(), "reason": row.reason},
        at=now,
    )
    notifications.notice_delegation(
        session,
        str(row.id),
        what,
        {**two, "state": what, "ends_at": row.ends_at.isoformat()},
        now=now,
    )
