"""The trail of who did what. Written with its cause, in the same transaction; never edited."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models.operation import AuditEvent
from app.db.session import SessionMaker, snapshot
from app.services.access import Caller, require_role


def record(
    session: Session,
    *,
    actor_id: UUID | None,
    action: str,
    subject: str | None,
    facts: Mapping[str, Any],
    at: datetime,
) -> None:
    """Add one event to the transaction of its cause; see `event`."""
    session.add(
        AuditEvent(**event(actor_id=actor_id, action=action, subject=subject, facts=facts, at=at))
    )


def event(
    *,
    actor_id: UUID | None,
    action: str,
    subject: str | None,
    facts: Mapping[str, Any],
    at: datetime,
) -> dict[str, Any]:
    """One event as the values of its row.

    actor_id: None for what the service did by itself, such as a sweep.
    action: `noun.event`, for example `budget.open`; refusals are `refused.<code>`.
    subject: the id of what was acted on; of a refusal the route.
    facts: ids and public parameters only; no row, no result, no secret.
    """
    return {
        "actor_id": actor_id,
        "action": action,
        "subject": subject,
        "facts": dict(facts),
        "at": at,
    }


class AuditEvents:
    """The trail, for those who look over others' shoulders."""

    def __init__(self, make_session: SessionMaker) -> None:
        self._make_session = make_session

    def list(
        self,
        caller: Caller,
        before_id: int | None,
        limit: int,
        *,
        action: str | None = None,
        actor_id: UUID | None = None,
        subject: str | None = None,
    ) -> list[dict[str, Any]]:
        """Events with smaller ids, newest first; of one action, one person or one subject."""
        require_role(
            caller, "auditor", "compliance_officer", "admin", action="read the audit trail"
        )
        statement = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit)
        wanted = (
            (AuditEvent.action, action),
            (AuditEvent.actor_id, actor_id),
            (AuditEvent.subject, subject),
        )
        for column, value in wanted:
            if value is not None:
                statement = statement.where(column == value)
        if before_id is not None:
            statement = statement.where(AuditEvent.id < before_id)
        with snapshot(self._make_session) as session:
            return [
                {
                    "id": row.id,
                    "at": row.at.isoformat(),
                    "actor_id": str(row.actor_id) if row.actor_id else None,
                    "action": row.action,
                    "subject": row.subject,
                    "facts": row.facts,
                }
                for row in session.scalars(statement)
            ]
