"""Gathers the public facts of a budget for its statement."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Text, cast, exists, func, select
from sqlalchemy.orm import Session

from app.db.models import Approval, Budget, DatasetRow, Entry, Job, Reservation
from app.db.repositories import budgets as budget_rows
from app.db.session import SessionMaker, database_now, snapshot
from app.domain.datasets import Dataset, UnitOfPrivacy, dataset_from_json
from app.domain.errors import InvalidParameter, ScopeClosed
from app.domain.forecast import PACE_DAYS, Point
from app.domain.privacy import Loss
from app.reporting.statements import (
    AuditorFacts,
    Description,
    Forecast,
    LimitChange,
    OfficerFacts,
    StatementFacts,
    auditor_statement,
    officer_statement,
    subject_statement,
)
from app.reporting.statements.native import native_figures
from app.reporting.statements.pace import forecast_of
from app.reporting.statements.plans import (
    PlanFacts,
    auditor_plan_statement,
    officer_plan_statement,
    subject_plan_statement,
)
from app.reporting.statements.wording import OUTSIDE_CAPS
from app.services import plans, policies, publications, windows
from app.services.access import Caller
from app.services.budgets import readable
from app.services.timeline import SPENDING

AUDIENCES: Final = ("subject", "officer", "auditor")
# of so many charges within the days of the pace it is still asked where they lead
CHARGES_MOST: Final = 5_000
PLAN_WRITERS: Final[Mapping[str, Callable[[PlanFacts], dict[str, Any]]]] = {
    "subject": subject_plan_statement,
    "officer": officer_plan_statement,
    "auditor": auditor_plan_statement,
}


def statement(
    make_session: SessionMaker, caller: Caller, budget_id: UUID, audience: str
) -> dict[str, Any]:
    """The statement of a budget for an audience.

    That for the person in the data is written to be handed on: whoever may read the budget may
    read it, and of the lifetime it says what was promised and not what others have spent. The
    other two show what the lifetime has consumed, so who may not read that gets none of them.

    Raises:
        NotFound: no such budget, or none that this caller may know of.
        InvalidParameter: an audience for which no statement is written.
        ScopeClosed: a plan that was never frozen, about which nothing can be said.
    """
    if audience not in AUDIENCES:
        raise InvalidParameter(
            "/audience", f"The statement is written for: {', '.join(AUDIENCES)}."
        )
    with snapshot(make_session) as session:
        budget = readable(session, caller, budget_id)
        if audience != "subject":
            readable(session, caller, budget_rows.path_of(session, budget)[-1].id)
        if plans.is_plan(budget):
            if budget.opened_at is None:
                raise ScopeClosed(windows.scope_of(budget), budget.state)
            return PLAN_WRITERS[audience](_plan_facts(session, budget))
        facts = _facts(session, budget)
        if audience == "subject":
            return subject_statement(facts)
        scope = _counted_in(session, budget)
        if audience == "officer":
            return officer_statement(facts, _officer_facts(session, budget, scope))
        return auditor_statement(facts, _auditor_facts(session, scope))


def _facts(session: Session, budget: Budget) -> StatementFacts:
    row = session.get_one(DatasetRow, budget.dataset_id)
    dataset = dataset_from_json(row.document, id=str(row.id))
    scope = _counted_in(session, budget)
    root = budget_rows.path_of(session, budget)[-1]
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
        as_of=database_now(session).date().isoformat(),
        entries=scope.last_seq,
        head_hash=scope.head_hash,
        bound_delta=_bound_delta(scope),
        limit_changes=_limit_changes(session, budget),
        openings=[_date(body) for body in _bodies(session, budget, ("opening",))],
        span=None
        if scope.starts_at is None or scope.ends_at is None
        else (scope.starts_at.isoformat(), scope.ends_at.isoformat()),
        period=_period(session, budget),
        lifetime=None if root.id == budget.id else _lifetime(root),
        lifetime_bound_delta=None if root.id == budget.id else _bound_delta(root),
        lifetime_changes=[] if root.id == budget.id else _limit_changes(session, root),
        assumptions=_caps_of_others(session, budget),
        blocks=dataset.blocks,
        published_from=_published_from(session, row),
        description=_description(row),
    )


def _officer_facts(session: Session, budget: Budget, scope: Budget) -> OfficerFacts:
    """Where the pace leads, and what waits for a second person."""
    waiting = session.execute(
        select(Approval.id, Approval.action)
        .where(Approval.budget_id == budget.id, Approval.state == "pending")
        .order_by(Approval.requested_at, Approval.id)
    )
    return OfficerFacts(
        forecast=_forecast(session, scope, now=database_now(session)),
        decisions=[f"approval:{row.id} ({row.action.replace('_', ' ')})" for row in waiting],
    )


def _forecast(session: Session, scope: Budget, *, now: datetime) -> Forecast | None:
    """The straight line of the last days; None where it would take long to draw.

    Of a budget with blocks the worst block may change on the way: its timeline draws that.
    """
    if scope.block_sums is not None:
        return None
    since, spending = now - timedelta(days=PACE_DAYS), Entry.kind.in_(SPENDING)
    bodies = session.scalars(
        select(Entry.body)
        .where(Entry.budget_id == scope.id, spending, Entry.created_at > since)
        .limit(CHARGES_MOST + 1)
    ).all()
    if len(bodies) > CHARGES_MOST:
        return None
    recent = sum((Loss.from_json(json.loads(body)["charge"]) for body in bodies), Loss.zero())
    policy = policies.policy_of(scope)
    before = Decimal(policy.consumed(scope.committed - recent).epsilon)
    latest = Decimal(policy.consumed(scope.committed).epsilon)
    first_at = session.scalar(
        select(func.min(Entry.created_at)).where(Entry.budget_id == scope.id, spending)
    )
    began = min(now, max(since, first_at or now))
    points = [Point(began, latest)] if began > since else [Point(since, before), Point(now, latest)]
    return forecast_of(points, before, policy.limit.epsilon, now)


def _auditor_facts(session: Session, scope: Budget) -> AuditorFacts:
    """What the accountant sums, and the caps that are enforced before noise is drawn."""
    row = session.get_one(DatasetRow, scope.dataset_id)
    unit = row.document["unit_of_privacy"]
    return AuditorFacts(
        native=native_figures(policies.held_by_worst(scope).loss),
        policy_version=policies.policy_of(scope).version,
        caps={name: cap for name, cap in unit.items() if name.startswith("max_")},
    )


def _plan_facts(session: Session, budget: Budget) -> PlanFacts:
    row = session.get_one(DatasetRow, budget.dataset_id)
    dataset = dataset_from_json(row.document, id=str(row.id))
    plan, root = plans.plan_json(budget), budget_rows.path_of(session, budget)[-1]
    return PlanFacts(
        dataset=row.name,
        budget=budget.name,
        unit=_unit(dataset),
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
        as_of=database_now(session).date().isoformat(),
        entries=budget.last_seq,
        head_hash=budget.head_hash,
        lifetime=_lifetime(root),
        lifetime_bound_delta=_bound_delta(root),
        lifetime_changes=_limit_changes(session, root),
        outside_slots=[_date(body) for body in _bodies(session, budget, ("opening",))],
        assumptions=_caps_of_others(session, budget),
        blocks=dataset.blocks,
        published_from=_published_from(session, row),
        description=_description(row),
    )


def _published_from(session: Session, row: DatasetRow) -> str | None:
    published = publications.published_since(session, row.id)
    return None if published is None else published.date().isoformat()


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


def _period(session: Session, budget: Budget) -> str | None:
    """How long the periods of a window are; also asked of one of them."""
    window = budget
    if budget.kind == "period" and budget.parent_id is not None:
        window = session.get_one(Budget, budget.parent_id)
    return None if window.window is None else str(window.window["period"])


def _lifetime(root: Budget) -> Mapping[str, Mapping[str, str]]:
    """What stands beside every figure of a scope below the root."""
    amounts = policies.balances(root)
    return {"limit": amounts["limit"], "consumed": amounts["consumed"]}


def _bound_delta(scope: Budget) -> str:
    return policies.bound_delta(policies.policy_of(scope), policies.held_by_worst(scope).delta_atto)


def _description(row: DatasetRow) -> Description:
    """What the owner says of the dataset, as far as it was said."""
    said = row.description
    return Description(
        purpose=said.get("purpose"),
        trust_model=said.get("trust_model"),
        raw_viewers=tuple(said.get("raw_viewers") or ()),
        retain_until=said.get("retain_until"),
    )


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


def _unit(dataset: Dataset) -> UnitOfPrivacy:
    """What is protected; a budget is of a private dataset, which declares it (L8)."""
    if dataset.unit is None:
        raise RuntimeError(f"dataset {dataset.id} has a budget and no unit of privacy")
    return dataset.unit


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
