"""Risk: what a budget means for a person in the data, and who else publishes the like."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter

from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.risk import ComparisonRead, RiskRead
from app.domain.errors import NotFound, ScopeClosed
from app.services.risk import comparison, risk

router = APIRouter(prefix="/budgets/{budget_id}", tags=["budgets"], route_class=StrictRoute)


@router.get("/risk", response_model=RiskRead, responses=problems(NotFound, ScopeClosed))
def read_risk(budget_id: UUID, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """The risk as the budget stands, at its limit and at other epsilons; all at one delta."""
    return risk(services.make_session, caller, budget_id)


@router.get("/deployments", response_model=ComparisonRead, responses=problems(NotFound))
def compare_deployments(
    budget_id: UUID, caller: CallerDep, services: ServicesDep
) -> dict[str, Any]:
    """Published deployments beside the dataset's lifetime figure, and why the others are not."""
    return comparison(services.make_session, caller, budget_id)
