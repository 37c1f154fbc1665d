"""The inbox: thresholds that are passed, changes that wait, refusals that come in bursts.

A line is for a role, told once per occasion by the database's word, and holds only what officers
may read anyway: parameters and balances.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.models import Approval, AuditEvent, Budget, Notification
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.accounting.filters import Policy
from app.domain.decimals import decimal_text
from app.domain.errors import InvalidParameter, NotFound
from app.domain.notices import NoticeKind
from app.domain.privacy import Limit, Loss
from app.services import access, deliveries, policies
from app.services.access import Caller

OFFICERS: Final = "compliance_officer"
# told when the balance would no longer pass at this share of the limit's epsilon; the last one
# stands a thousandth below the limit, which no balance passes
THRESHOLDS: Final[Mapping[str, Decimal]] = {
    "50": Decimal("0.5"),
    "80": Decimal("0.8"),
    "100": Decimal("0.999"),
}
# a burst is this many refusals of one person within these minutes, among the last events
BURST_REFUSALS: Final = 20
BURST_MINUTES: Final = 10
BURST_EVENTS_MOST: Final = 200

# one level of one budget
Place = tuple[UUID, Limit]
PLACES_MOST: Final = 10_000
# a loss that a level refused: arithmetic alone, true whatever becomes of the charge
_refused: Final[dict[Place, Loss]] = {}


@dataclass(frozen=True, slots=True)
class Notifications:
    """Use cases on the inbox. Auditors read it and mark nothing."""

    make_session: SessionMaker

    def list(
        self,
        caller: Caller,
        before_id: int | None,
        limit: int,
        *,
        unread: bool = False,
    ) -> list[dict[str, Any]]:
        """Lines with smaller ids, newest first; all of them, or those that nobody has read."""
        access.require_role(caller, OFFICERS, "auditor", action="read notifications")
        statement = select(Notification).order_by(Notification.id.desc()).limit(limit)
        if before_id is not None:
            statement = statement.where(Notification.id < before_id)
        if unread:
            statement = statement.where(Notification.read_at.is_(None))
        with snapshot(self.make_session) as session:
            return [notification_json(row) for row in session.scalars(statement)]

    def read(self, caller: Caller, notification_id: int) -> dict[str, Any]:
        """Mark a line as read for its role; a repeat keeps the first reader.

        Raises:
            NotFound: there is none.
        """
        access.require_role(caller, OFFICERS, action="mark notifications")
        with transaction(self.make_session) as session:
            row = session.get(Notification, notification_id, with_for_update=True)
            if row is None:
                raise NotFound("notification", str(notification_id))
            if row.read_at is None:
                row.read_at = database_now(session)
                row.read_by = caller.principal_id
            return notification_json(row)


def notification_json(row: Notification) -> dict[str, Any]:
    """A line in the wire form."""
    return {
        "id": row.id,
        "at": row.at.isoformat(),
        "kind": row.kind,
        "subject": row.subject,
        "facts": row.facts,
        "read_by": None if row.read_by is None else str(row.read_by),
        "read_at": None if row.read_at is None else row.read_at.isoformat(),
    }


def notice_thresholds(
    session: Session, budget: Budget, *, now: datetime, before: Loss | None = None
) -> None:
    """Tell officers when a locked budget's balance has passed 50, 80 or 100% of its limit.

    One decision at the next threshold, and no look at the database unless it lies between the two
    balances; nothing is searched for (R4).

    before: what the budget held before this charge; None asks for every threshold.
    """
    if budget.plan_units is not None:
        # a plan has no level below its whole; its slots say what is left
        return
    policy = policies.policy_of(budget)
    held = budget.committed + budget.reserved
    for percent, level in _levels(policy).items():
        place = (budget.id, level.limit)
        if not _is_passed(place, level, held) or policies.passes(budget, level):
            return
        # of blocks only what they hold now is known, so those that were told of are told of again
        has_blocks = budget.block_sums is not None
        if before is None or has_blocks or not _is_passed(place, level, before):
            limit = decimal_text(policy.limit.epsilon)
            _tell_once(
                session,
                kind="threshold",
                subject=str(budget.id),
                occasion=f"{percent}% of {limit}",
                facts={"budget_id": str(budget.id), "percent": percent, "limit": limit},
                now=now,
            )


def notice_proposal(session: Session, approval: Approval, *, now: datetime) -> None:
    """Tell officers that a change waits for one of them."""
    subject = {
        key: str(value)
        for key, value in (
            ("budget_id", approval.budget_id),
            ("dataset_id", approval.dataset_id),
        )
        if value is not None
    }
    _tell_once(
        session,
        kind="approval",
        subject=str(approval.id),
        occasion="asked",
        facts={"action": approval.action, "requested_by": str(approval.requested_by), **subject},
        now=now,
    )


def notice_frozen(session: Session, budget: Budget, cause: str, *, now: datetime) -> None:
    """Tell officers that the service itself froze a budget."""
    _tell_once(
        session,
        kind="frozen",
        subject=str(budget.id),
        occasion=f"entry {budget.last_seq}",
        facts={"budget_id": str(budget.id), "cause": cause},
        now=now,
    )


def notice_audit(
    session: Session, root: Budget, facts: Mapping[str, Any], *, now: datetime
) -> None:
    """Tell officers of a run whose canaries do not look like its claim (R26)."""
    _tell_once(
        session,
        kind="audit",
        subject=str(root.id),
        occasion=f"job {facts['job_id']}",
        facts={"budget_id": str(root.id), **facts},
        now=now,
    )


def notice_broken_chain(
    session: Session, budget: Budget, facts: Mapping[str, Any], *, now: datetime
) -> bool:
    """Tell officers that a replay does not agree with a budget; says whether it is news (L4)."""
    return _tell_once(
        session,
        kind="broken-chain",
        subject=str(budget.id),
        occasion=f"version {budget.version}",
        facts=facts,
        now=now,
    )


def notice_behind(
    session: Session, budget: Budget, facts: Mapping[str, Any], *, now: datetime
) -> None:
    """Tell officers that the database is behind its witness (R22)."""
    _tell_once(
        session,
        kind="behind-witness",
        subject=str(budget.id),
        occasion=str(facts["evidence_sha256"]),
        facts=facts,
        now=now,
    )


def notice_break_glass(
    session: Session, alarm_id: str, facts: Mapping[str, Any], *, now: datetime
) -> None:
    """Tell officers and auditors that one of them has stopped everything."""
    _tell_once(
        session, kind="break-glass", subject=alarm_id, occasion="frozen", facts=facts, now=now
    )


def notice_delegation(
    session: Session, delegation_id: str, what: str, facts: Mapping[str, Any], *, now: datetime
) -> None:
    """Tell the two of a delegation that it was made or has ended; all officers read of it."""
    _tell_once(
        session, kind="delegation", subject=delegation_id, occasion=what, facts=facts, now=now
    )


def notice_refusals(session: Session, principal_id: UUID, *, now: datetime) -> None:
    """Tell officers when one person is refused again and again; called with a stored refusal.

    It looks at a bounded number of the trail's last events, so a flood does not slow itself down.
    """
    session.flush()
    recent = (
        select(AuditEvent.actor_id, AuditEvent.action, AuditEvent.at)
        .order_by(AuditEvent.id.desc())
        .limit(BURST_EVENTS_MOST)
        .subquery()
    )
    refused = session.scalar(
        select(func.count()).where(
            recent.c.actor_id == principal_id,
            recent.c.action.like("refused.%"),
            recent.c.at > now - timedelta(minutes=BURST_MINUTES),
        )
    )
    if refused is not None and refused >= BURST_REFUSALS:
        hour = now.replace(minute=0, second=0, microsecond=0)
        _tell_once(
            session,
            kind="refusals",
            subject=str(principal_id),
            occasion=hour.isoformat(),
            facts={"principal_id": str(principal_id), "refusals": refused},
            now=now,
        )


def _is_passed(place: Place, level: Policy, loss: Loss) -> bool:
    """Whether a level refuses a loss. What it refused once, it refuses with anything on top.

    A refusal costs the filter its longest walk (R4); every charge past a threshold would pay it.
    """
    known = _refused.get(place)
    if known is not None and _contains(loss, known):
        return True
    if level.admits(loss):
        return False
    if len(_refused) >= PLACES_MOST:
        _refused.clear()
    _refused[place] = loss
    return True


def _contains(loss: Loss, other: Loss) -> bool:
    try:
        _ = loss - other
    except ValueError:
        return False
    else:
        return True


@lru_cache(maxsize=1024)
def _levels(policy: Policy) -> dict[str, Policy]:
    try:
        return {
            percent: policy.at_level(policy.limit.epsilon * share)
            for percent, share in THRESHOLDS.items()
        }
    except InvalidParameter:
        # a limit so small that its half is none, or an accountant whose limit has no levels
        return {}


def _tell_once(
    session: Session,
    *,
    kind: NoticeKind,
    subject: str,
    occasion: str,
    facts: Mapping[str, Any],
    now: datetime,
) -> bool:
    # whoever tells of a budget holds its row, so nobody else writes this line meanwhile; other
    # subjects' races end at the unique constraint and are decided again
    told = select(Notification.id).where(
        Notification.subject == subject,
        Notification.kind == kind,
        Notification.occasion == occasion,
    )
    if session.scalar(told) is not None:
        return False
    line = Notification(
        at=now,
        role=OFFICERS,
        kind=kind,
        subject=subject,
        occasion=occasion,
        facts=dict(facts),
    )
    session.add(line)
    deliveries.queue(session, line, now=now)
    return True
