"""Plans as budgets: proposed by an officer, composed by a worker, frozen when they open (R10).

Composing takes about half a second for each distinct mechanism, so no request waits for it and no
lock is held over it. A plan is an allocation: the root above it still binds, and one officer makes
it. A root is none: a dataset has one root for ever (R5), and would end with its list of slots. A
window is none either: it limits whatever is charged to the budget that it belongs to.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, ClassVar, Final, cast
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.models import Budget, DatasetRow, OutboxMessage
from app.db.repositories import budgets as budget_rows
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain import tasks
from app.domain.accounting.plan_units import PLAN_ACCOUNTANT, PlanUnits
from app.domain.accounting.plans import (
    LEAST_DELTA,
    Plan,
    Slot,
    make_plan,
    parse_slots,
    plan_from_json,
)
from app.domain.decimals import decimal_text
from app.domain.errors import DomainError, InvalidParameter, ScopeClosed, refusal_document
from app.domain.privacy import Limit, parse_limit
from app.services import audit
from app.services import ledger as ledger_steps

log = logging.getLogger(__name__)

# L9: never shown as the bound of a filter, which holds for jobs that nobody had listed before
METHOD: Final = (
    "PLD of the whole plan, every slot used up; its slots were frozen before its first output"
)
FROZEN: Final = "a plan is frozen before its first output; a new plan is a new budget"
DOUBLINGS_MOST: Final = 6


@dataclass(eq=False)
class PlanWithdrawn(DomainError):
    """An officer closed a proposed plan before it was frozen."""

    code: ClassVar[str] = "plan-withdrawn"


@dataclass(eq=False)
class PlanNotComposed(DomainError):
    """The worker could not compose a proposed plan, though each of its slots has a price."""

    code: ClassVar[str] = "plan-not-composed"


def is_plan(budget: Budget) -> bool:
    """Whether a budget is a plan, frozen or not."""
    return budget.plan_units is not None


def waits(budget: Budget) -> bool:
    """Whether a budget is a plan that nobody has composed yet: it has no chain."""
    return is_plan(budget) and budget.state == "proposed"


def plan_of(budget: Budget) -> Plan:
    """The plan of a budget that was opened, exactly as it was frozen.

    Raises:
        ValueError: the budget is no plan, or none that was ever frozen.
    """
    if budget.opened_at is None:
        raise ValueError(f"budget {budget.id} has no frozen plan")
    return _plan(json.dumps(budget.policy, sort_keys=True))


def units_of(budget: Budget) -> PlanUnits:
    """What the slots of a plan hold.

    Raises:
        ValueError: the budget is no plan.
    """
    if budget.plan_units is None:
        raise ValueError(f"budget {budget.id} is no plan")
    return budget.plan_units


def proposal(slots: Sequence[Slot], limit: Limit) -> dict[str, Any]:
    """The policy of a plan that waits to be composed: what was asked for, and no figure yet.

    Raises:
        InvalidParameter: no slots, two of one name, or a delta that nothing is composed at.
    """
    if not slots:
        raise InvalidParameter("/slots", "a plan has at least one slot")
    if len({slot.name for slot in slots}) < len(slots):
        raise InvalidParameter("/slots", "slots have a name each")
    if limit.delta < LEAST_DELTA:
        raise InvalidParameter("/limit/delta", "must be at least 1e-10 for a plan")
    return {
        "accountant": PLAN_ACCOUNTANT,
        "slots": [slot.to_json() for slot in slots],
        "limit": limit.to_json(),
    }


def ask_for_composition(session: Session, budget: Budget, *, now: datetime) -> dict[str, Any]:
    """Let a worker compose a proposed plan; a step. The answer says that it is under way."""
    _wake(session, budget.id, now=now)
    return {"id": str(budget.id), "state": budget.state, "version": budget.version}


def compose(make_session: SessionMaker, budget_id: UUID) -> None:
    """Compose a proposed plan, then freeze and open it, or close it with its refusal.

    May run twice at once: the first to lock the budget decides, the other finds it decided. The
    opened entry carries the plan whole, its digest included, so that no slot can move later (L4).
    """
    with snapshot(make_session) as session:
        budget = session.get(Budget, budget_id)
        if budget is None or not waits(budget):
            return
        relation = str(session.get_one(DatasetRow, budget.dataset_id).relation)
        asked = dict(budget.policy)
    composed = _composed(parse_slots(asked["slots"]), relation, parse_limit(asked["limit"]))
    with transaction(make_session) as session:
        now = database_now(session)
        ids = [budget_id, cast(UUID, session.get_one(Budget, budget_id).parent_id)]
        locked = {row.id: row for row in budget_rows.lock(session, ids)}
        budget, parent = locked[budget_id], locked[ids[1]]
        if budget.state != "proposed":
            return
        dataset = session.get_one(DatasetRow, budget.dataset_id, with_for_update={"read": True})
        if parent.state == "closed" or dataset.state != "active":
            # the parent is not named: who may read a plan may not know of it (R12)
            state = "closed" if dataset.state == "active" else dataset.state
            composed = ScopeClosed({"kind": "an ancestor"}, state)
        if not isinstance(composed, Plan):
            refuse(session, budget, composed, now=now)
            return
        budget.version += 1
        budget.policy = composed.to_json()
        ledger_steps.open_chain(session, budget, actor=budget.created_by, now=now, facts={})
        _record_state(session, budget, now=now)


def refuse(session: Session, budget: Budget, refusal: DomainError, *, now: datetime) -> None:
    """Close a locked plan that was never frozen; it has no chain and held nothing; a step."""
    budget.version += 1
    budget.state = "closed"
    budget.plan_refusal = refusal_document(refusal)
    _record_state(session, budget, now=now)


def wake_forgotten(session: Session, resend_after_s: float, *, now: datetime, limit: int) -> int:
    """Send again for plans whose message nobody heard, each wait twice as long; a step.

    Returns:
        How many messages were written.
    """
    waiting = (
        select(Budget.id, func.count(OutboxMessage.id), func.max(OutboxMessage.created_at))
        .join(OutboxMessage, OutboxMessage.budget_id == Budget.id)
        .where(Budget.state == "proposed", Budget.plan_units.is_not(None))
        .group_by(Budget.id)
        .limit(limit)
    )
    count = 0
    for budget_id, messages, last_at in session.execute(waiting).all():
        wait_s = resend_after_s * 2 ** min(messages - 1, DOUBLINGS_MOST)
        if last_at <= now - timedelta(seconds=wait_s):
            _wake(session, budget_id, now=now)
            count += 1
    return count


def plan_json(budget: Budget) -> dict[str, Any]:
    """A plan in the wire form: its slots, and the one figure that it has."""
    if budget.opened_at is not None:
        return {**frozen_json(budget.policy, units_of(budget)), "refusal": budget.plan_refusal}
    return {
        "state": "composing" if budget.plan_refusal is None else "refused",
        "slots": _slots_json(budget.policy, units_of(budget)),
        "if_fixed_in_advance": None,
        "digest": None,
        "refusal": budget.plan_refusal,
    }


def frozen_json(policy: Mapping[str, Any], units: PlanUnits) -> dict[str, Any]:
    """A frozen plan by what its chain says: the policy that opened it, the units of its sums."""
    return {
        "state": "frozen",
        "slots": _slots_json(policy, units),
        "if_fixed_in_advance": _figure(_plan(json.dumps(policy, sort_keys=True))),
        "digest": policy["digest"],
    }


def figure(budget: Budget) -> dict[str, str]:
    """What a frozen plan comes to when every slot is used up; it has no smaller figure before."""
    return _figure(plan_of(budget))


def limit_of(budget: Budget) -> Mapping[str, str]:
    """The limit of a plan, as it crosses the wire."""
    return parse_limit(budget.policy["limit"]).to_json()


def _slots_json(policy: Mapping[str, Any], units: PlanUnits) -> list[dict[str, Any]]:
    return [
        {
            **slot.to_json(),
            "used": units.posted.get(slot.name, 0),
            "reserved": units.reserved.get(slot.name, 0),
            "left": slot.count - units.held.get(slot.name, 0),
        }
        for slot in parse_slots(policy["slots"])
    ]


def _figure(plan: Plan) -> dict[str, str]:
    return {
        "epsilon": decimal_text(plan.epsilon),
        "delta": decimal_text(plan.limit.delta),
        "method": METHOD,
    }


def _composed(slots: Sequence[Slot], relation: str, limit: Limit) -> Plan | DomainError:
    try:
        return make_plan(slots, relation, limit)
    except DomainError as refused:
        return refused
    except (Exception, MemoryError) as failed:
        # arithmetic on public parameters: the same again would fail the same way
        log.warning("plan.not_composed error=%s", type(failed).__name__)
        return PlanNotComposed()


def _record_state(session: Session, budget: Budget, *, now: datetime) -> None:
    audit.record(
        session,
        actor_id=None,
        action=f"budget.{budget.state}",
        subject=str(budget.id),
        facts={"kind": budget.kind, "dataset_id": str(budget.dataset_id)},
        at=now,
    )


def _wake(session: Session, budget_id: UUID, *, now: datetime) -> None:
    session.add(
        OutboxMessage(
            task=tasks.COMPOSE_PLAN,
            queue=tasks.REPORTS_QUEUE,
            budget_id=budget_id,
            created_at=now,
            due_at=now,
        )
    )


@lru_cache(maxsize=256)
def _plan(text: str) -> Plan:
    return plan_from_json(json.loads(text))
