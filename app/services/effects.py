"""What an approval would do, before anybody decides: figures as they are and as they would be.

The same steps that would apply the change compute its effect, on rows that are read and never
written. What was decided, has expired or was asked for at another version foretells nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Approval, Budget, DatasetRow
from app.db.repositories import budgets as budget_rows
from app.db.session import SessionMaker, database_now, snapshot
from app.domain.accounting.block_sums import BlockSums
from app.domain.accounting.filters import Policy
from app.domain.errors import DomainError
from app.domain.forecast import PACE_DAYS, Point, exhausted_at
from app.domain.privacy import Loss
from app.domain.risk.proven import best_guess
from app.reporting.statements.rounding import per_100
from app.services import access, approvals, changes, opening, plans, policies, timeline, windows
from app.services.access import Caller

WINDOWS_MOST: Final = 10
BASIS: Final = f"the pace of the last {PACE_DAYS} days, as a straight line; not a promise"


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides the figures of a scope: as it stands, or as a change would leave it."""

    state: str
    policy: Policy
    committed: Loss
    reserved: Loss
    sums: BlockSums | None


def effect(make_session: SessionMaker, caller: Caller, approval_id: UUID) -> dict[str, Any]:
    """The scopes that an approval touches or leaves as they are, now and if it is approved.

    Raises:
        NotFound: no such approval, or one that the caller neither asked for nor oversees.
    """
    with snapshot(make_session) as session:
        approval = approvals.readable(session, caller, approval_id)
        now = database_now(session)
        subject: Budget | None = None
        row: DatasetRow | None = None
        if approval.budget_id is not None:
            subject = session.get_one(Budget, approval.budget_id)
            row = session.get_one(DatasetRow, subject.dataset_id)
        elif approval.dataset_id is not None:
            # what was never agreed to is withdrawn with its proposal
            row = session.get(DatasetRow, approval.dataset_id)
        holder = subject or row
        is_pending = approval.state == "pending" and approval.expires_at > now
        is_stale = is_pending and (holder is None or holder.version != approval.subject_version)
        is_foretold = is_pending and not is_stale
        scopes = [] if subject is None else _scopes(session, caller, approval, subject)
        return {
            "approval_id": str(approval.id),
            "is_stale": is_stale,
            "unit": None if row is None else row.document.get("unit_of_privacy", {}).get("kind"),
            "relation": None if row is None else row.relation,
            "scopes": [
                _scope(session, approval, each, is_foretold=is_foretold, now=now) for each in scopes
            ],
            "basis": BASIS,
        }


def _scopes(
    session: Session, caller: Caller, approval: Approval, subject: Budget
) -> Sequence[Budget]:
    """The subject first, then what is above it, and of a root the windows that stay as they are."""
    path = budget_rows.path_of(session, subject)
    above = [each for each in path if each.id != subject.id]
    if approval.action != "opening":
        above = above[-1:]
    below = session.scalars(
        select(Budget)
        .where(
            Budget.parent_id == subject.id,
            Budget.kind == "window",
            Budget.state.in_(("open", "frozen")),
        )
        .order_by(Budget.created_at, Budget.id)
        .limit(WINDOWS_MOST)
    )
    found = [subject, *above, *(below if subject.kind == "lifetime" else ())]
    return [each for each in found if access.may_read_budget(session, caller, each)]


def _scope(
    session: Session, approval: Approval, budget: Budget, *, is_foretold: bool, now: datetime
) -> dict[str, Any]:
    shown = budget
    if budget.kind == "window":
        shown = windows.seen_in_force(session, budget, now=now) or budget
    standing = None if plans.is_plan(shown) else _standing(shown, budget.state)
    then = None
    if standing is not None and is_foretold:
        then = _then(session, approval, budget, shown, standing, now=now)
    points = [] if standing is None else timeline.consumed_by_day(session, shown, now=now)
    return {
        "budget_id": str(budget.id),
        "name": budget.name,
        "kind": budget.kind,
        "is_subject": budget.id == approval.budget_id,
        "now": None
        if standing is None or budget.state == "proposed"
        else _figures(standing, points, now),
        "if_approved": None if then is None else _figures(then, points, now),
    }


def _standing(shown: Budget, state: str) -> Standing:
    return Standing(
        state, policies.policy_of(shown), shown.committed, shown.reserved, shown.block_sums
    )


def _then(
    session: Session,
    approval: Approval,
    budget: Budget,
    shown: Budget,
    standing: Standing,
    *,
    now: datetime,
) -> Standing | None:
    """How the change would leave a scope; None where that is not foretold."""
    is_subject = budget.id == approval.budget_id
    if approval.action == "opening" and budget.kind != "window":
        return _charged(session, approval, shown, standing, now=now)
    if approval.action == "recovery":
        return None
    if not is_subject:
        return standing
    if approval.action == "raise":
        try:
            return replace(standing, policy=changes.policy_after(shown, approval.change))
        except DomainError:
            # it would be refused when it is decided, which says why
            return None
    if approval.action in ("open", "thaw"):
        return replace(standing, state="open")
    return None


def _charged(
    session: Session, approval: Approval, shown: Budget, standing: Standing, *, now: datetime
) -> Standing:
    loss, ranges = opening.charge_of(session, approval, shown, now=now)
    sums = standing.sums
    if sums is not None and ranges is not None:
        sums = sums.post(loss, ranges)
    after = replace(standing, committed=standing.committed + loss, sums=sums)
    if standing.state == "open" and not policies.is_within(
        after.policy, after.committed + after.reserved, after.sums
    ):
        return replace(after, state="frozen")
    return after


def _figures(standing: Standing, points: Sequence[Point], now: datetime) -> dict[str, Any]:
    amounts = policies.balances_of(
        standing.policy, standing.committed, standing.reserved, standing.sums
    )
    limit = standing.policy.limit
    # spend from before the service is a step up and no part of the pace
    step = Decimal(amounts["committed"]["epsilon"]) - points[-1].epsilon if points else Decimal(0)
    moved = [replace(point, epsilon=point.epsilon + step) for point in points]
    reached = exhausted_at(moved, limit.epsilon, now) if step.is_finite() else now
    return {
        "state": standing.state,
        "limit": amounts["limit"],
        "consumed": amounts["consumed"],
        "remaining": amounts["remaining"],
        "best_guess_per_100": per_100(best_guess(limit.epsilon, limit.delta)),
        "exhausted_at": None if reached is None else reached.isoformat(),
    }
