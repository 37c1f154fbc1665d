"""The states of a budget: frozen, thawed and closed, each with the entry that says so."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Budget, Discrepancy
from app.domain.errors import LedgerBehind, ThawRefused
from app.domain.ledger import EntryDraft, EntryKind
from app.domain.privacy import Loss
from app.services import ledger as ledger_steps
from app.services import policies, proposals

StateAction = Literal["freeze", "thaw", "close"]
# to what each goes, and what its entry is called
STATES: Final[Mapping[str, tuple[str, EntryKind]]] = {
    "freeze": ("frozen", "frozen"),
    "thaw": ("open", "thawed"),
    "close": ("closed", "closed"),
}


def write_state(
    session: Session,
    budget: Budget,
    action: StateAction,
    *,
    actor: str,
    facts: Mapping[str, Any],
    now: datetime,
    entry_id: str | None = None,
) -> None:
    """Freeze, thaw or close a locked budget, with the entry that says so; a step."""
    state, kind = STATES[action]
    budget.version += 1
    budget.state = state
    draft = EntryDraft(
        id=entry_id or proposals.entry_id(None, budget),
        kind=kind,
        charge=Loss.zero(),
        actor=actor,
        facts=facts,
    )
    ledger_steps.append(session, budget, draft, now=now)


def require_passing(budget: Budget) -> None:
    """Refuse to thaw what holds more than its limit: raise first (L1).

    Raises:
        ThawRefused: with the least epsilon at which the balance passes.
    """
    if budget.plan_units is not None:
        # its units were within its slots when it was frozen, and none were added since
        return
    if not policies.passes(budget):
        raise ThawRefused(policies.held_by_worst(budget).consumed.epsilon)


def require_settled(session: Session, budget: Budget) -> None:
    """Refuse to thaw what the database has forgotten something of: that is posted first (R22).

    Raises:
        LedgerBehind: with the digest of each evidence that two people have not settled.
    """
    statement = (
        select(Discrepancy.evidence_sha256)
        .where(Discrepancy.budget_id == budget.id, Discrepancy.approval_id.is_(None))
        .order_by(Discrepancy.found_at, Discrepancy.evidence_sha256)
    )
    unsettled = list(session.scalars(statement))
    if unsettled:
        raise LedgerBehind(unsettled)
