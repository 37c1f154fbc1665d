"""Break-glass: one officer stops everything at once, and nothing else.

L10 knows no emergency. To raise or thaw alone is refused whatever the reason, for a gate that one
person opens in a hurry is open for whoever steals that person's key; officers read every scope as
it is, so there is nothing hidden to open to them. What an emergency does need is to stop, and to
lower and to freeze always took one person: here for all lifetime roots, which everything is charged
to, in one transaction. It is loud: a reason in each chain, a line to all officers and auditors, an
event, and an exception that stays open until two people have thawed the root.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.models import Budget, DatasetRow, Entry
from app.db.repositories import budgets as budget_rows
from app.db.session import SessionMaker, snapshot
from app.reporting.ledger_facts import BREAK_GLASS
from app.services import access, audit, notifications
from app.services.access import Caller
from app.services.idempotency import Keyed, decide_once
from app.services.states import write_state


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """Use cases of an emergency."""

    make_session: SessionMaker

    def freeze_all(self, caller: Caller, reason: str, keyed: Keyed) -> dict[str, Any]:
        """Freeze every open lifetime root; no unit starts from here on until two people thaw it.

        What runs ends at its next touch; what was started stays charged (L6).
        """
        access.require_role(caller, "compliance_officer", action="freeze everything")

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            open_ids = session.scalars(
                select(Budget.id).where(Budget.kind == "lifetime", Budget.state == "open")
            )
            alarm_id = str(uuid4())
            facts = {
                "cause": BREAK_GLASS,
                "alarm": alarm_id,
                "decided_by": str(caller.principal_id),
                "reason": reason,
            }
            frozen = []
            for root in budget_rows.lock(session, open_ids):
                if root.state == "open":
                    write_state(
                        session, root, "freeze", actor=facts["decided_by"], facts=facts, now=now
                    )
                    frozen.append(str(root.id))
            audit.record(
                session,
                actor_id=caller.principal_id,
                action="break-glass.frozen",
                subject=alarm_id,
                facts={"reason": reason, "budget_ids": frozen},
                at=now,
            )
            notifications.notice_break_glass(
                session,
                alarm_id,
                {"decided_by": facts["decided_by"], "reason": reason, "budgets": len(frozen)},
                now=now,
            )
            return {"id": alarm_id, "at": now.isoformat(), "frozen_budget_ids": frozen}

        return decide_once(self.make_session, keyed, decide)

    def exceptions(self, caller: Caller) -> list[dict[str, Any]]:
        """What is open of all emergencies; see `open_exceptions`."""
        access.require_role(caller, "compliance_officer", "auditor", action="list exceptions")
        with snapshot(self.make_session) as session:
            return open_exceptions(session)


def open_exceptions(
    session: Session, dataset_ids: Sequence[UUID] | None = None
) -> list[dict[str, Any]]:
    """Roots that an emergency has frozen and nobody has thawed yet, by their own chains; a step.

    dataset_ids: of these alone; of all where None. A report lists what this gives.
    """
    newest = (
        select(func.max(Entry.seq))
        .where(Entry.budget_id == Budget.id, Entry.kind == "frozen")
        .correlate(Budget)
        .scalar_subquery()
    )
    statement = (
        select(Budget, DatasetRow.name, Entry)
        .join(DatasetRow, DatasetRow.id == Budget.dataset_id)
        .join(Entry, (Entry.budget_id == Budget.id) & (Entry.seq == newest))
        .where(Budget.kind == "lifetime", Budget.state == "frozen")
        .order_by(Entry.created_at, Budget.id)
    )
    if dataset_ids is not None:
        statement = statement.where(Budget.dataset_id.in_(dataset_ids))
    found = []
    for budget, dataset_name, entry in session.execute(statement):
        facts = json.loads(entry.body)["facts"]
        if facts.get("cause") == BREAK_GLASS:
            found.append(
                {
                    "alarm_id": facts["alarm"],
                    "budget_id": str(budget.id),
                    "dataset_id": str(budget.dataset_id),
                    "dataset": dataset_name,
                    "entry_seq": entry.seq,
                    "at": entry.created_at.isoformat(),
                    "by": facts["decided_by"],
                    "reason": facts["reason"],
                }
            )
    return found
