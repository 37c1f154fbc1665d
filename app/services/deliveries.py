"""What is on its way to webhooks and mailboxes: written with its notification, in its transaction.

So a line that was rolled back is told to nobody, and one that was committed is tried for a day.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Delivery, MailAddress, Notification, Principal, Webhook

OFFICERS: Final = frozenset({"compliance_officer"})
# whose people get a mail, by kind, where it is not officers alone
MAILED_ROLES: Final[Mapping[str, frozenset[str]]] = {
    "break-glass": OFFICERS | {"auditor"},
}
# whose people are named by these facts, where it is no matter of all officers
MAILED_TO: Final[Mapping[str, tuple[str, ...]]] = {
    "delegation": ("delegator_id", "delegate_id"),
}


def queue(session: Session, line: Notification, *, now: datetime) -> None:
    """Let a line, which is new in this transaction, be sent to all who are to be told; a step."""
    session.flush()
    webhooks = session.execute(
        select(Webhook.id, Webhook.kinds).where(Webhook.ended_at.is_(None)).order_by(Webhook.id)
    )
    for webhook_id, kinds in webhooks:
        if line.kind in kinds:
            session.add(_delivery(line, now, webhook_id=webhook_id))
    people = session.execute(
        select(Principal.id, Principal.roles)
        .join(MailAddress, MailAddress.principal_id == Principal.id)
        .where(Principal.active, MailAddress.address.is_not(None))
        .order_by(Principal.id)
    )
    wanted = MAILED_ROLES.get(line.kind, OFFICERS)
    named = {line.facts.get(fact) for fact in MAILED_TO.get(line.kind, ())}
    for principal_id, roles in people:
        # who asked for a change can be no second person to it (R19)
        has_asked = line.facts.get("requested_by") == str(principal_id)
        is_meant = not named or str(principal_id) in named
        if not wanted.isdisjoint(roles) and is_meant and not has_asked:
            session.add(_delivery(line, now, principal_id=principal_id))


def delivery_json(delivery: Delivery, kind: str) -> dict[str, Any]:
    """A delivery in the wire form; not what it says, and not where it goes."""
    return {
        "id": str(delivery.id),
        "notification_id": delivery.notification_id,
        "kind": kind,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "failure": delivery.failure,
        "created_at": delivery.created_at.isoformat(),
        "due_at": delivery.due_at.isoformat() if delivery.state == "due" else None,
        "ended_at": None if delivery.ended_at is None else delivery.ended_at.isoformat(),
    }


def _delivery(line: Notification, now: datetime, **to: Any) -> Delivery:
    return Delivery(
        id=uuid4(),
        notification_id=line.id,
        state="due",
        attempts=0,
        created_at=now,
        due_at=now,
        **to,
    )
