"""Budgets: propose a root, open an allocation, read a scope and its chain."""

from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db.models import Budget, DatasetRow, Project
from app.db.repositories import budgets as budget_rows
from app.db.session import SessionMaker, database_now, snapshot
from app.domain.accounting.filters import make_policy
from app.domain.accounting.milestones import milestones_passed
from app.domain.accounting.plan_units import PLAN_ACCOUNTANT, PlanUnits
from app.domain.accounting.plans import Slot
from app.domain.errors import InvalidParameter, NotFound, RootExists, ScopeClosed, VersionMismatch
from app.domain.ledger import GENESIS_HASH
from app.domain.privacy import Limit, Loss
from app.domain.windows import Window
from app.services import (
    access,
    audit,
    block_holdings,
    plans,
    policies,
    proposals,
    verification,
    windows,
)
from app.services import ledger as ledger_steps
from app.services.access import Caller
from app.services.figures import amounts
from app.services.idempotency import Keyed, decide_once
from app.services.listing import listed

LEVELS_MOST = 32
# creating one of these takes two people (L10)
PROPOSED_KINDS = ("lifetime", "window")


@dataclass(frozen=True, slots=True)
class BudgetRequest:
    """A budget as asked for; `limit` and `delta_split` are exact."""

    kind: str
    dataset_id: UUID | None
    parent_id: UUID | None
    name: str
    limit: Limit
    accountant: str
    delta_split: Decimal
    milestones: tuple[str, ...]
    holder_project_id: UUID | None
    expires_at: datetime | None
    reason: str
    window: Window | None = None
    slots: tuple[Slot, ...] = ()


@dataclass(frozen=True, slots=True)
class Budgets:
    """Use cases on budgets. Roots take two people, allocations one (L10)."""

    make_session: SessionMaker
    pending_most: int = proposals.PENDING_MOST

    def create(self, caller: Caller, request: BudgetRequest, keyed: Keyed) -> dict[str, Any]:
        """Propose a lifetime root, a window or a plan, or open an allocation below a budget.

        Raises:
            NotAllowed: the caller is no compliance officer.
            NotFound: no such dataset, parent or project.
            RootExists: the dataset has its root.
            ScopeClosed: the parent is not open.
            TooManyPending: the caller has as much waiting as may wait.
        """
        access.require_role(caller, "compliance_officer", action="create a budget")
        policy = _policy(request)

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            budget = _draft(session, caller, request, policy, now=now)
            if plans.is_plan(budget):
                document = plans.ask_for_composition(session, budget, now=now)
            elif request.kind in PROPOSED_KINDS:
                document = _propose(session, budget, now=now, most=self.pending_most)
            else:
                document = _open_allocation(session, budget, now=now)
            audit.record(
                session,
                actor_id=caller.principal_id,
                action=f"budget.{budget.state}",
                subject=str(budget.id),
                facts={"kind": budget.kind, "dataset_id": str(budget.dataset_id)},
                at=now,
            )
            return document

        try:
            # a lost race for the key is looked at again, and gets the winner's answer (R16)
            return decide_once(self.make_session, keyed, decide)
        except IntegrityError as conflict:
            if "one_lifetime_root" not in str(conflict) and "dataset_id" not in str(conflict):
                raise
            raise RootExists(str(request.dataset_id)) from conflict

    def get(self, caller: Caller, budget_id: UUID) -> dict[str, Any]:
        """One budget with its amounts.

        Raises:
            NotFound: no such budget, or none that this caller may know of.
        """
        with snapshot(self.make_session) as session:
            return budget_json(session, readable(session, caller, budget_id))

    def verification(self, caller: Caller) -> dict[str, Any]:
        """Replay every chain from genesis and compare hashes, heads and balances (L4)."""
        access.require_role(
            caller, "auditor", "compliance_officer", "admin", action="verify the ledger"
        )
        faults: list[dict[str, Any]] = []
        count = 0
        with snapshot(self.make_session) as session:
            ids = verification.started_ids(session)
            for budget_id in ids:
                found = verification.verify(session, budget_id)
                count += found.entries
                if found.fault is not None:
                    faults.append({"budget_id": str(budget_id), **asdict(found.fault)})
        return {
            "budgets": len(ids),
            "entries": count,
            "verified": not faults,
            "faults": faults,
        }

    def list(
        self,
        caller: Caller,
        dataset_id: UUID | None,
        after: UUID | None,
        limit: int,
        *,
        state: str | None = None,
        kind: str | None = None,
        newest_first: bool = False,
    ) -> list[dict[str, Any]]:
        """A page of the budgets that the caller may read, of a dataset, a state or a kind.

        Its amounts are worked out from the balances budget by budget, so a page has a bounded cost.

        Raises:
            NotFound: the budget to go on after is none that this caller may know of.
        """
        equal = ((Budget.dataset_id, dataset_id), (Budget.state, state), (Budget.kind, kind))
        with snapshot(self.make_session) as session:
            statement = listed(
                select(Budget).where(access.budgets_readable(caller)),
                (Budget.created_at, Budget.id),
                equal=equal,
                newest_first=newest_first,
                last=None if after is None else readable(session, caller, after),
                limit=limit,
            )
            return [budget_json(session, budget) for budget in session.scalars(statement)]


def readable(session: Session, caller: Caller, budget_id: UUID) -> Budget:
    """The budget, or the same NotFound whether it is missing or hidden."""
    budget = session.get(Budget, budget_id)
    if budget is None or not access.may_read_budget(session, caller, budget):
        raise NotFound("budget", str(budget_id))
    return budget


def lock_as_read(
    session: Session, caller: Caller, budget_id: UUID, *others: UUID, if_version: int
) -> list[Budget]:
    """A budget as the caller read it, and others beside it: locked in one go, given as named.

    Raises:
        NotFound: no such budget, or none that this caller may know of.
        VersionMismatch: the first of them has changed since the caller read it.
    """
    ids = [readable(session, caller, each).id for each in (budget_id, *others)]
    locked = {budget.id: budget for budget in budget_rows.lock(session, ids)}
    if locked[budget_id].version != if_version:
        raise VersionMismatch("budget", locked[budget_id].version)
    return [locked[each] for each in ids]


def budget_json(session: Session, budget: Budget) -> dict[str, Any]:
    """A budget in the wire form; a window shows the amounts of the period in force."""
    policy = None if plans.is_plan(budget) else policies.policy_of(budget)
    period = None
    if budget.kind == "window":
        period = windows.seen_in_force(session, budget, now=database_now(session))
    return {
        "id": str(budget.id),
        "dataset_id": str(budget.dataset_id),
        "parent_id": None if budget.parent_id is None else str(budget.parent_id),
        "kind": budget.kind,
        "name": budget.name,
        "state": budget.state,
        "version": budget.version,
        "accountant": budget.policy["accountant"],
        "holder": None
        if budget.holder_project_id is None
        else {"project_id": str(budget.holder_project_id)},
        "milestones": budget.milestones,
        "inside_milestones": {}
        if policy is None
        else milestones_passed(policy, budget.milestones, policies.held_by_worst(budget).loss),
        "reason": budget.reason,
        "expires_at": None if budget.expires_at is None else budget.expires_at.isoformat(),
        "created_at": budget.created_at.isoformat(),
        "opened_at": None if budget.opened_at is None else budget.opened_at.isoformat(),
        "entries": budget.last_seq,
        "head_hash": budget.head_hash,
        "rate_limits": budget.rate_limits,
        "window": budget.window,
        "period": None
        if period is None or period.starts_at is None or period.ends_at is None
        else {
            "budget_id": str(period.id),
            "starts_at": period.starts_at.isoformat(),
            "ends_at": period.ends_at.isoformat(),
        },
        **_amounts(budget if period is None else period),
    }


def _amounts(scope: Budget) -> dict[str, Any]:
    """What a filter makes of its balance; a plan has its limit and its slots alone (L9, R10)."""
    if not plans.is_plan(scope):
        return {
            **amounts(scope),
            "worst_block": policies.held_by_worst(scope).block,
            "plan": None,
        }
    none = dict.fromkeys(("committed", "reserved", "consumed", "remaining"))
    shown = {"worst_block": None, "plan": plans.plan_json(scope)}
    return {"limit": plans.limit_of(scope), **none, **shown}


def open_change(budget: Budget) -> dict[str, Any]:
    """The exact change that opening a proposed root makes; approvals are bound to its hash."""
    return {
        "action": "open",
        "budget_id": str(budget.id),
        "dataset_id": str(budget.dataset_id),
        "name": budget.name,
        "policy": budget.policy,
        "milestones": budget.milestones,
        "window": budget.window,
    }


def _policy(request: BudgetRequest) -> dict[str, Any]:
    """What a budget decides by, made once; of a plan, what a worker will compose (R10).

    Raises:
        InvalidParameter: a plan that is no allocation, or slots of a budget that is no plan.
    """
    if request.accountant != PLAN_ACCOUNTANT:
        if request.slots:
            raise InvalidParameter("/slots", f"go with {PLAN_ACCOUNTANT}")
        policy = make_policy(request.accountant, request.limit, request.delta_split)
        return policy.to_json()
    if request.kind != "allocation":
        reason = "a plan is an allocation: a root is for ever, and a window is of no list of jobs"
        raise InvalidParameter("/accountant", reason)
    if request.milestones:
        raise InvalidParameter("/milestones", "a plan has one figure, of its whole")
    return plans.proposal(request.slots, request.limit)


def _draft(
    session: Session,
    caller: Caller,
    request: BudgetRequest,
    policy: dict[str, Any],
    *,
    now: datetime,
) -> Budget:
    parent: Budget | None = None
    if request.kind == "lifetime":
        dataset = session.get(DatasetRow, request.dataset_id)
        if dataset is None or dataset.access != "private":
            raise NotFound("dataset", str(request.dataset_id))
        if dataset.state != "active":
            # nothing is opened for people who are not agreed to be new, or whose data has ended
            scope = {"kind": "dataset", "dataset_id": str(dataset.id), "name": dataset.name}
            raise ScopeClosed(scope, dataset.state)
        dataset_id = dataset.id
    else:
        if request.parent_id is None:
            raise InvalidParameter("/parent_id", "It names the budget that it limits.")
        parent = budget_rows.lock(session, [readable(session, caller, request.parent_id).id])[0]
        if parent.state != "open":
            scope = {"kind": parent.kind, "budget_id": str(parent.id), "name": parent.name}
            raise ScopeClosed(scope, parent.state)
        if parent.kind not in ("lifetime", "allocation"):
            raise InvalidParameter("/parent_id", "Nothing lies below a window.")
        if plans.is_plan(parent):
            raise InvalidParameter("/parent_id", "Nothing lies below a plan.")
        if len(budget_rows.path_of(session, parent)) >= LEVELS_MOST:
            raise InvalidParameter("/parent_id", f"A tree has at most {LEVELS_MOST} levels.")
        dataset_id = parent.dataset_id
        if request.holder_project_id and session.get(Project, request.holder_project_id) is None:
            raise NotFound("project", str(request.holder_project_id))
        if request.expires_at is not None and request.expires_at <= now:
            raise InvalidParameter("/expires_at", "The time lies in the past.")
    budget = Budget(
        id=uuid4(),
        dataset_id=dataset_id,
        parent_id=None if parent is None else parent.id,
        kind=request.kind,
        name=request.name,
        state="proposed",
        version=1,
        policy=policy,
        milestones=list(request.milestones),
        # who may read a budget may read the windows that limit it
        holder_project_id=parent.holder_project_id
        if parent is not None and request.kind == "window"
        else request.holder_project_id,
        reason=request.reason,
        expires_at=request.expires_at,
        window=None if request.window is None else request.window.to_json(),
        rate_limits={},
        committed=Loss.zero(),
        reserved=Loss.zero(),
        block_sums=block_holdings.sums_of_new(session.get_one(DatasetRow, dataset_id)),
        plan_units=PlanUnits() if request.slots else None,
        plan_refusal=None,
        last_seq=0,
        head_hash=GENESIS_HASH,
        last_entry_at=None,
        created_by=caller.principal_id,
        created_at=now,
        opened_at=None,
    )
    session.add(budget)
    session.flush()
    return budget


def _propose(session: Session, budget: Budget, *, now: datetime, most: int) -> dict[str, Any]:
    approval = proposals.propose(
        session,
        budget,
        change=open_change(budget),
        reason=budget.reason,
        requested_by=budget.created_by,
        now=now,
        most=most,
    )
    return {
        "id": str(budget.id),
        "state": "proposed",
        "approval_id": str(approval.id),
        "change_sha256": approval.change_sha256,
        "version": budget.version,
    }


def _open_allocation(session: Session, budget: Budget, *, now: datetime) -> dict[str, Any]:
    ledger_steps.open_chain(
        session,
        budget,
        actor=budget.created_by,
        now=now,
        facts={"parent": str(budget.parent_id)},
    )
    return {"id": str(budget.id), "state": "open", "version": budget.version}
