"""Models: what a training job may name."""

from typing import Any

from fastapi import APIRouter

from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.models import ModelList

router = APIRouter(prefix="/models", tags=["models"], route_class=StrictRoute)


@router.get("", response_model=ModelList, responses=problems())
def list_models(caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """The models that a training spec may name, with the options that each takes."""
    return {"items": services.models.list(caller)}
