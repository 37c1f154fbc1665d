"""For those who look over others' shoulders: the trail and the verified chains."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from app.api import pagination
from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.changes import DiscrepancyPage
from app.api.schemas.ledger import VerificationRead
from app.api.schemas.people import AuditEventPage
from app.domain.errors import NotFound

router = APIRouter(tags=["oversight"], route_class=StrictRoute)


@router.get("/audit-events", response_model=AuditEventPage, responses=problems())
def list_audit_events(
    caller: CallerDep,
    services: ServicesDep,
    action: Annotated[str | None, Query(min_length=1, max_length=60)] = None,
    actor_id: Annotated[UUID | None, Query()] = None,
    subject: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """Who did what, newest first."""
    before = pagination.read_number(cursor, "id")
    found = services.audit_events.list(
        caller, before, limit, action=action, actor_id=actor_id, subject=subject
    )
    return pagination.page(found, limit, "id")


@router.get("/ledger/verification", response_model=VerificationRead, responses=problems())
def verify_ledger(caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """Walk every chain from its first entry: hashes, sequence, balances (L4)."""
    return services.budgets.verification(caller)


@router.get("/ledger/discrepancies", response_model=DiscrepancyPage, responses=problems(NotFound))
def list_discrepancies(
    caller: CallerDep,
    services: ServicesDep,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """What the database was found to have forgotten, and who has put it right (R22)."""
    after = pagination.read_id(cursor, "id")
    items = services.discrepancies.list(caller, after, limit)
    return pagination.page(items, limit, "id")
