"""Populations: the same people in several datasets."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.changes import PopulationRead
from app.domain.errors import NotFound

router = APIRouter(prefix="/populations", tags=["datasets"], route_class=StrictRoute)


@router.get("/{name}", response_model=PopulationRead, responses=problems(NotFound))
def read_population(
    name: Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")],
    caller: CallerDep,
    services: ServicesDep,
) -> dict[str, Any]:
    """The datasets of a population and the worst-case sums of their lifetime budgets (R18)."""
    return services.populations.get(caller, name)
