"""Gathers the public facts of a budget for its statement."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Text, cast, exists, func, select
from sqlalchemy.orm import Session

from app.db.models import Budget, DatasetRow, Entry, Job, Reservation
from app.db.repositories import budgets as budget_rows
from app.db.session import SessionMaker, database_now, snapshot
from app.domain.datasets import Dataset, dataset_from_json
from app.domain.errors import InvalidParameter, ScopeClosed
from app.domain.partitions import TimeBlocks
from app.reporting.plan_statement import PlanFacts, officer_plan_statement
from app.reporting.statement import OUTSIDE_CAPS, LimitChange, StatementFacts, officer_statement
from app.services import plans, policies, windows
from app.services.access import Caller
from app.services.budgets import readable


def statement(
    make_session: SessionMaker, caller: Caller, budget_id: UUID, audience: str
) -> dict[str, Any]:
    """The statement of a budget.

    Raises:
        NotFound: no such budget, or none that this caller may know of.
        InvalidParameter: an audience for which no statement is written yet.
        ScopeClosed: a plan that was never frozen, about which nothing can be said.
    """
    if audience != "officer":
        raise InvalidParameter("/audience", "The statement is written for: officer.")
    with snapshot(make_session) as session:
        budget = readable(session, caller, budget_id)
        # the lifetime stands beside every figure, so who may not read it gets no statement
        readable(session, caller, budget_rows.path_of(session, budget)[-1].id)
        if plans.is_plan(budget):
            if budget.opened_at is None:
                raise ScopeClosed(windows.scope_of(budget), budget.state)
            return officer_plan_statement(_plan_facts(session, budget))
        return officer_statement(_facts(session, budget))


def _facts(session: Session, budget: Budget) -> StatementFacts:
    row = session.get_one(DatasetRow, budget.dataset_id)
    dataset = dataset_from_json(row.document, id=str(row.id))
    scope = _counted_in(session, budget)
    amounts = policies.balances(scope)
    return StatementFacts(
        dataset=row.name,
        budget=budget.name,
        kind=budget.kind,
        accountant=policies.policy_of(budget).accountant,
        unit=_unit(dataset),
        relation=str(row.relation),
        limit=amounts["limit"],
        consumed=amounts["consumed"],
        committed=amounts["committed"],
        reserved=amounts["reserved"],
        remaining=amounts["remaining"],
        jobs=session.scalar(
            select(func.count()).where(Entry.budget_id == scope.id, Entry.kind == "posted")
        )
        or 0,
        has_training=_charged(session, scope, Job.kind == "train", through_jobs=True),
        has_outside_tools=_charged(session, scope, Reservation.is_outside & ~Reservation.is_runner),
        has_outside_runners=_charged(
            session, scope, Reservation.is_outside & Reservation.is_runner
        ),
        since=(budget.opened_at or budget.created_at).date().isoformat(),
        entries=scope.last_seq,
        head_hash=scope.head_hash,
        bound_delta=policies.bound_delta(
            policies.policy_of(scope), policies.held_by_worst(scope).delta_atto
        ),
        limit_changes=_limit_changes(session, budget),
        openings=[_date(body) for body in _bodies(session, budget, ("opening",))],
        span=None
        if scope.starts_at is None or scope.ends_at is None
        else (scope.starts_at.isoformat(), scope.ends_at.isoformat()),
        lifetime=_lifetime(session, budget),
        assumptions=_caps_of_others(session, budget),
        blocks=dataset.blocks,
    )


def _plan_facts(session: Session, budget: Budget) -> PlanFacts:
    row = session.get_one(DatasetRow, budget.dataset_id)
    plan, lifetime = plans.plan_json(budget), _lifetime(session, budget)
    if lifetime is None:
        raise RuntimeError(f"plan {budget.id} has no budget above it")
    return PlanFacts(
        dataset=row.name,
        budget=budget.name,
        unit=_unit(dataset_from_json(row.document, id=str(row.id))),
        relation=str(row.relation),
        limit=plans.limit_of(budget),
        epsilon=plan["if_fixed_in_advance"]["epsilon"],
        digest=plan["digest"],
        slots=plan["slots"],
        has_training=_charged(session, budget, Job.kind == "train", through_jobs=True),
        has_outside_tools=_charged(
            session, budget, Reservation.is_outside & ~Reservation.is_runner
        ),
        has_outside_runners=_charged(
            session, budget, Reservation.is_outside & Reservation.is_runner
        ),
        since=(budget.opened_at or budget.created_at).date().isoformat(),
        entries=budget.last_seq,
        head_hash=budget.head_hash,
        lifetime=lifetime,
        outside_slots=[_date(body) for body in _bodies(session, budget, ("opening",))],
        assumptions=_caps_of_others(session, budget),
    )


def _caps_of_others(session: Session, budget: Budget) -> list[str]:
    """The caps on a user's rows that outside tools are trusted to keep (R7)."""
    rows = session.scalars(
        select(Reservation.parts)
        .join(Entry, Entry.reservation_id == Reservation.id)
        .where(
            Entry.budget_id == _counted_in(session, budget).id,
            Entry.kind == "reserved",
            Reservation.is_outside,
            cast(Reservation.parts, Text).like('%"stated":%'),
        )
    )
    caps = {part["stated"]["records"] for parts in rows for part in parts if "stated" in part}
    return [OUTSIDE_CAPS.format(records=records) for records in sorted(caps)]


def _counted_in(session: Session, budget: Budget) -> Budget:
    """The scope whose balance a budget's figures are: of a window, the period in force (R9)."""
    if budget.kind != "window":
        return budget
    return windows.seen_in_force(session, budget, now=database_now(session)) or budget


def _lifetime(session: Session, budget: Budget) -> Mapping[str, Mapping[str, str]] | None:
    """What stands beside every figure of a scope below the root."""
    if budget.parent_id is None:
        return None
    amounts = policies.balances(budget_rows.path_of(session, budget)[-1])
    return {"limit": amounts["limit"], "consumed": amounts["consumed"]}


def _limit_changes(session: Session, budget: Budget) -> list[LimitChange]:
    """Every limit that was moved, from the chain itself (R5)."""
    return [
        LimitChange(body["kind"], _date(body), body["facts"]["from"], body["facts"]["to"])
        for body in _bodies(session, budget, ("raised", "lowered", "transferred"))
    ]


def _bodies(session: Session, budget: Budget, kinds: Sequence[str]) -> list[dict[str, Any]]:
    rows = session.scalars(
        select(Entry.body)
        .where(Entry.budget_id == budget.id, Entry.kind.in_(kinds))
        .order_by(Entry.seq)
    )
    return [json.loads(body) for body in rows]


def _date(body: Mapping[str, Any]) -> str:
    return str(body["at"])[:10]


def _unit(dataset: Dataset) -> str:
    if dataset.unit is None or dataset.unit.kind == "record":
        return "record"
    whose, caps = f"all rows of one {dataset.unit.column}", "up to the enforced caps"
    if isinstance(dataset.blocks, TimeBlocks) and dataset.unit.kind == "user_period":
        period = dataset.blocks.calendar.period
        return f"user_period ({whose} that came to one {period}, {caps})"
    return f"user ({whose}, {caps})"


def _charged(
    session: Session, budget: Budget, condition: Any, *, through_jobs: bool = False
) -> bool:
    """Whether some reservation of this budget meets a condition."""
    rows = (
        select(Entry.id)
        .join(Reservation, Reservation.id == Entry.reservation_id)
        .where(Entry.budget_id == budget.id, Entry.kind == "reserved", condition)
    )
    if through_jobs:
        rows = rows.join(Job, Job.reservation_id == Reservation.id)
    return bool(session.scalar(select(exists(rows))))
