"""Where a job stands in the ledger: its entries in every scope that the caller may read (R12)."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Budget, Entry, Job
from app.domain.privacy import Loss
from app.services import access, policies
from app.services.access import Caller


def charges_of(session: Session, caller: Caller, reservation_id: UUID) -> list[dict[str, Any]]:
    """The entries of a reservation, scope by scope in the order of each chain; a step.

    `alone` is what the entry's charge would consume of that budget if it were the only one: zero
    where what was held was given back, None of a plan, no part of which has a figure (R10). Its
    epsilon holds at `at_delta`, and its own delta is the part of that which mechanisms bring.
    """
    rows = session.execute(
        select(Entry, Budget)
        .join(Budget, Budget.id == Entry.budget_id)
        .where(Entry.reservation_id == reservation_id)
        .order_by(Budget.created_at, Budget.id, Entry.seq)
    )
    return [
        _entry_json(entry, budget)
        for entry, budget in rows
        if access.may_read_budget(session, caller, budget)
    ]


def newest_charges(
    session: Session, caller: Caller, jobs: Sequence[Job]
) -> dict[UUID, dict[str, Any]]:
    """By job, its newest entry in the budget that its first input names; a step.

    Without those whose budget the caller may not read any more.
    """
    leaves: dict[UUID | None, UUID] = {
        job.reservation_id: UUID(job.inputs[0]["budget_id"]) for job in jobs
    }
    rows = session.execute(
        select(Entry, Budget)
        .join(Budget, Budget.id == Entry.budget_id)
        .where(Entry.reservation_id.in_(leaves), Entry.budget_id.in_(set(leaves.values())))
        .order_by(Entry.seq)
    )
    newest = {
        entry.reservation_id: (entry, budget)
        for entry, budget in rows
        if leaves[entry.reservation_id] == budget.id
    }
    budgets = {budget.id: budget for _, budget in newest.values()}
    readable = {
        id_ for id_, each in budgets.items() if access.may_read_budget(session, caller, each)
    }
    return {
        job.id: _entry_json(*newest[job.reservation_id])
        for job in jobs
        if job.reservation_id in newest and leaves[job.reservation_id] in readable
    }


def _entry_json(entry: Entry, budget: Budget) -> dict[str, Any]:
    body = json.loads(entry.body)
    alone = at_delta = None
    if budget.plan_units is None:
        policy, charge = policies.policy_of(budget), Loss.from_json(body["charge"])
        alone = policies.amount_json(policies.alone(policy, charge))
        at_delta = policies.bound_delta(policy, charge.delta_atto)
    return {
        "budget_id": str(budget.id),
        "budget_name": budget.name,
        "budget_kind": budget.kind,
        "seq": entry.seq,
        "kind": entry.kind,
        "at": entry.created_at.isoformat(),
        "units": sum(part["units"] for part in body["parts"]),
        "alone": alone,
        "at_delta": at_delta,
    }
