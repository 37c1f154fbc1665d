"""Delegations: for a time, an officer decides on approvals in another officer's place (R19)."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter

from app.api import pagination
from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.deps import KeyedDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.delegations import DelegationCreate, DelegationPage, DelegationRead
from app.domain.errors import IdempotencyKeyMissing, IdempotencyKeyReused, NotFound

router = APIRouter(prefix="/delegations", tags=["approvals"], route_class=StrictRoute)


@router.post(
    "",
    status_code=201,
    response_model=DelegationRead,
    responses=problems(IdempotencyKeyMissing, IdempotencyKeyReused),
)
def create_delegation(
    body: DelegationCreate, caller: CallerDep, keyed: KeyedDep, services: ServicesDep
) -> dict[str, Any]:
    """Let another officer decide in one's place, for at most 90 days."""
    return services.delegations.make(caller, body.to_request(), keyed)


@router.get("", response_model=DelegationPage, responses=problems(NotFound))
def list_delegations(
    caller: CallerDep,
    services: ServicesDep,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """Delegations, oldest first: those in force, to come and over."""
    after = pagination.read_id(cursor, "id")
    return pagination.page(services.delegations.list(caller, after, limit), limit, "id")


@router.post("/{delegation_id}/end", response_model=DelegationRead, responses=problems(NotFound))
def end_delegation(delegation_id: UUID, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """End a delegation before its time, by either of its two; a repeat changes nothing."""
    return services.delegations.end(caller, delegation_id)
