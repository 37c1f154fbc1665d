"""An emergency: one officer stops everything; only two people let it go on (L10)."""

from typing import Any

from fastapi import APIRouter

from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.deps import KeyedDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.break_glass import AlarmRead, BreakGlassCreate, ExceptionList
from app.domain.errors import IdempotencyKeyMissing, IdempotencyKeyReused

router = APIRouter(prefix="/ledger", tags=["oversight"], route_class=StrictRoute)


@router.post(
    "/break-glass",
    response_model=AlarmRead,
    responses=problems(IdempotencyKeyMissing, IdempotencyKeyReused),
)
def break_glass(
    body: BreakGlassCreate, caller: CallerDep, keyed: KeyedDep, services: ServicesDep
) -> dict[str, Any]:
    """Freeze every open lifetime root at once; nothing starts until two people thaw it."""
    return services.break_glass.freeze_all(caller, body.reason, keyed)


@router.get("/exceptions", response_model=ExceptionList, responses=problems())
def list_exceptions(caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """What an emergency has frozen and nobody has thawed yet, oldest first."""
    return {"items": services.break_glass.exceptions(caller)}
