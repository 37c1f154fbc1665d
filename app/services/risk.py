"""What a budget means for a person in the data: now, at its limit, and at other epsilons.

Every figure is computed here, by the formulas of the statements, so that a reader who moves the
epsilon up and down sees nothing that was worked out in a browser.
"""

from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.models import Budget, DatasetRow
from app.db.repositories import budgets as budget_rows
from app.db.session import SessionMaker, database_now, snapshot
from app.domain.datasets import dataset_from_json
from app.domain.errors import ScopeClosed
from app.reporting.deployments import OwnFigure, by_unit, compare, own_unit
from app.reporting.statements.facts import unit_text
from app.reporting.statements.figures import risk_figures, trade_off_points
from app.reporting.statements.plans import WHOLE_PLAN
from app.reporting.statements.wording import ANY_ORDER
from app.services import plans, policies, windows
from app.services.access import Caller
from app.services.budgets import readable

# round steps from hardly anything to where nearly nothing is hidden
STEPS: Final = (
    *("0.01", "0.02", "0.05", "0.1", "0.2", "0.3", "0.5", "0.7", "1", "1.5", "2", "2.5", "3"),
    *("4", "5", "6", "8", "10", "12", "16", "20"),
)


def risk(make_session: SessionMaker, caller: Caller, budget_id: UUID) -> dict[str, Any]:
    """The risk of a budget as it stands, at its limit and at steps of epsilon, at one delta.

    A window shows the period in force; a plan has one figure, of its whole.

    Raises:
        NotFound: no such budget, or none that this caller may know of.
        ScopeClosed: a plan that was never frozen, about which nothing can be said.
    """
    with snapshot(make_session) as session:
        budget = readable(session, caller, budget_id)
        row = session.get_one(DatasetRow, budget.dataset_id)
        dataset = dataset_from_json(row.document, id=str(row.id))
        if dataset.unit is None:
            raise RuntimeError(f"dataset {row.id} has a budget and no unit of privacy")
        delta, marked, holds_for = _marked(session, budget)
        relation = str(row.relation)
        named = {
            "budget_id": str(budget_id),
            "budget": budget.name,
            "kind": "plan" if plans.is_plan(budget) else budget.kind,
            "dataset": row.name,
        }
    by_epsilon: dict[str, list[str]] = {step: [] for step in STEPS}
    for mark, epsilon in marked.items():
        by_epsilon.setdefault(epsilon, []).append(mark)
    return {
        **named,
        "unit": unit_text(dataset.unit, dataset.blocks),
        "relation": relation,
        "holds_for": holds_for,
        "delta": delta,
        "steps": [
            {
                "marks": by_epsilon[epsilon],
                "risk": risk_figures(epsilon, delta, relation),
                "trade_off": trade_off_points(epsilon, delta),
            }
            for epsilon in sorted(by_epsilon, key=Decimal)
        ],
    }


def comparison(make_session: SessionMaker, caller: Caller, budget_id: UUID) -> dict[str, Any]:
    """Published deployments beside the lifetime of a budget's dataset: like with like alone.

    Raises:
        NotFound: no such budget, or none whose lifetime this caller may know of.
    """
    with snapshot(make_session) as session:
        budget = readable(session, caller, budget_id)
        root = readable(session, caller, budget_rows.path_of(session, budget)[-1].id)
        document = session.get_one(DatasetRow, root.dataset_id).document
        epsilon, delta = _consumed(root)
        budget_id = root.id
    period = (document.get("blocks") or {}).get("period")
    own = OwnFigure(
        unit=own_unit(document["unit_of_privacy"]["kind"], period),
        relation=document["relation"],
        # the service holds the rows while it computes, whatever else the owner says
        model="central",
        epsilon=epsilon,
        delta=delta,
    )
    return {"budget_id": str(budget_id), **compare(own), "published": by_unit()}


def _marked(session: Session, budget: Budget) -> tuple[str, dict[str, str], str]:
    """The delta, the epsilons that have a meaning by what they are, and for what they hold."""
    if plans.is_plan(budget):
        if budget.opened_at is None:
            raise ScopeClosed(windows.scope_of(budget), budget.state)
        whole = plans.plan_json(budget)["if_fixed_in_advance"]["epsilon"]
        limit = plans.limit_of(budget)
        return limit["delta"], {"plan": whole, "limit": limit["epsilon"]}, WHOLE_PLAN
    shown = budget
    if budget.kind == "window":
        shown = windows.seen_in_force(session, budget, now=database_now(session)) or budget
    epsilon, delta = _consumed(shown)
    limit = policies.limit_json(policies.policy_of(shown))
    return delta, {"consumed": epsilon, "limit": limit["epsilon"]}, ANY_ORDER


def _consumed(scope: Budget) -> tuple[str, str]:
    """What is consumed, and the delta at which that is proven."""
    held = policies.held_by_worst(scope)
    delta = policies.bound_delta(policies.policy_of(scope), held.delta_atto)
    return held.consumed.epsilon, delta
