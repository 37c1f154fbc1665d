"""Who leaves: keys, sessions and delegations die, changes that wait fall, work is handed over.

All of it in one transaction with the row that says so. What was admitted for a leaver starts no
further unit (`access.require_right_in_force`); what it has started is settled by itself.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from app.db.models import Job, Principal, Reservation
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.errors import NotFound
from app.services import api_keys, approvals, audit, delegations, local_accounts, sessions
from app.services.access import Caller, require_role
from app.services.admins import hold_people, require_admin_left
from app.services.principals import held_person, person_document

LISTED_MOST: Final = 500
LEFT: Final = "the person who asked has left"


@dataclass(frozen=True, slots=True)
class Leavers:
    """Use cases on people who leave."""

    make_session: SessionMaker

    def deactivate(self, caller: Caller, principal_id: UUID) -> dict[str, Any]:
        """End all that somebody may do, at once; a repeat changes nothing and lists again.

        Returns:
            The person, what ended, and the work to be handed over.

        Raises:
            NotFound: no such person.
            NotAllowed: no admin would be left who could undo it.
        """
        require_role(caller, "admin", action="deactivate people")
        with transaction(self.make_session) as session:
            hold_people(session)
            person = held_person(session, principal_id)
            keys: list[str] = []
            ended: list[str] = []
            fallen: list[str] = []
            if person.active:
                now = database_now(session)
                person.active = False
                person.deactivated_at = now
                keys = api_keys.revoke_all(
                    session, person.id, actor_id=caller.principal_id, reason=LEFT, now=now
                )
                ended = sessions.end_all(
                    session, person.id, actor_id=caller.principal_id, because="left", now=now
                )
                local_accounts.close(session, person.id, now=now)
                require_admin_left(session, now, action="deactivate the last admin")
                delegations.end_of(session, person.id, ended_by=caller.principal_id, now=now)
                fallen = approvals.expire_requested_by(session, person.id, reason=LEFT, now=now)
                audit.record(
                    session,
                    actor_id=caller.principal_id,
                    action="person.deactivated",
                    subject=str(person.id),
                    facts={"keys": keys, "sessions": ended, "approvals": fallen},
                    at=now,
                )
            return {
                "person": person_document(person),
                "revoked_key_ids": keys,
                "ended_session_ids": ended,
                "expired_approval_ids": fallen,
                "work": _work(session, person),
            }

    def activate(self, caller: Caller, principal_id: UUID) -> dict[str, Any]:
        """Let somebody act again, by new keys or a new invitation; a repeat changes nothing.

        A link to the identity provider still holds: that one says who may come.

        Raises:
            NotFound: no such person.
        """
        require_role(caller, "admin", action="activate people")
        with transaction(self.make_session) as session:
            hold_people(session)
            person = held_person(session, principal_id)
            if not person.active:
                person.active = True
                person.deactivated_at = None
                audit.record(
                    session,
                    actor_id=caller.principal_id,
                    action="person.activated",
                    subject=str(person.id),
                    facts={},
                    at=database_now(session),
                )
            return person_document(person)

    def work(self, caller: Caller, principal_id: UUID) -> dict[str, Any]:
        """What somebody's jobs and reservations are at; of a leaver also what ended since.

        Raises:
            NotFound: no such person.
        """
        require_role(
            caller, "admin", "compliance_officer", "auditor", action="list somebody's work"
        )
        with snapshot(self.make_session) as session:
            person = session.get(Principal, principal_id)
            if person is None:
                raise NotFound(kind="person", id=str(principal_id))
            return _work(session, person)


def _work(session: Session, person: Principal) -> dict[str, Any]:
    """Ids, states and public words only: an admin reads no budget."""
    jobs = session.scalars(
        select(Job)
        .where(
            Job.principal_id == person.id,
            _goes_on(Job.state.in_(("queued", "running")), Job.finished_at, person),
        )
        .order_by(Job.created_at, Job.id)
        .limit(LISTED_MOST + 1)
    ).all()
    outside = session.scalars(
        select(Reservation)
        .where(
            Reservation.principal_id == person.id,
            Reservation.is_outside,
            _goes_on(
                Reservation.state.in_(("reserved", "touched")), Reservation.resolved_at, person
            ),
        )
        .order_by(Reservation.created_at, Reservation.id)
        .limit(LISTED_MOST + 1)
    ).all()
    return {
        "jobs": [_job_line(job) for job in jobs[:LISTED_MOST]],
        "reservations": [_reservation_line(row) for row in outside[:LISTED_MOST]],
        "is_whole": max(len(jobs), len(outside)) <= LISTED_MOST,
    }


def _goes_on(is_open: ColumnElement[bool], ended_at: Any, person: Principal) -> ColumnElement[bool]:
    since: datetime | None = person.deactivated_at
    return is_open if since is None else or_(is_open, ended_at >= since)


def _job_line(job: Job) -> dict[str, Any]:
    return {
        "id": str(job.id),
        "kind": job.kind,
        "state": job.state,
        "purpose": job.purpose,
        "failure_code": job.failure_code,
        "created_at": job.created_at.isoformat(),
    }


def _reservation_line(row: Reservation) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "state": row.state,
        "tool": row.tool,
        "created_at": row.created_at.isoformat(),
    }
