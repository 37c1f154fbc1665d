"""Changes of budgets and spend from before the service: four eyes where the rules ask for them."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response

from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.deps import KeyedDep, VersionDep, set_etag
from app.api.problems import problems
from app.api.reading import StrictRoute, in_order
from app.api.schemas.changes import ChangeCreate, ChangeRead, OpeningCreate, RecoveryCreate
from app.domain.errors import (
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    LedgerBehind,
    LowerRefused,
    MechanismNotPriced,
    NotFound,
    RefusedByName,
    ScopeClosed,
    ThawRefused,
    TooManyPending,
    VersionMismatch,
    VersionMissing,
)

router = APIRouter(prefix="/budgets/{budget_id}", tags=["budgets"], route_class=StrictRoute)


@router.post(
    "/changes",
    response_model=ChangeRead,
    response_model_exclude_unset=True,
    responses={
        202: {"model": ChangeRead, "description": "Pending; a second person decides"},
        **problems(
            NotFound,
            ScopeClosed,
            LowerRefused,
            ThawRefused,
            LedgerBehind,
            TooManyPending,
            VersionMismatch,
            VersionMissing,
            IdempotencyKeyMissing,
            IdempotencyKeyReused,
        ),
    },
)
def change_budget(
    budget_id: UUID,
    body: ChangeCreate,
    caller: CallerDep,
    keyed: KeyedDep,
    version: VersionDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Raise, lower, freeze, thaw, close, transfer or limit the rate; an engineer asks for more."""
    request = body.to_request()
    document = in_order(
        services.changes.make(caller, budget_id, request, if_version=version, keyed=keyed)
    )
    if document["state"] == "pending":
        response.status_code = 202
        response.headers["Location"] = f"/v1/approvals/{document['approval_id']}"
    set_etag(response, document["budget_version"])
    return document


@router.post(
    "/opening-entries",
    status_code=202,
    response_model=ChangeRead,
    response_model_exclude_unset=True,
    responses=problems(
        NotFound,
        ScopeClosed,
        MechanismNotPriced,
        RefusedByName,
        TooManyPending,
        VersionMismatch,
        VersionMissing,
        IdempotencyKeyMissing,
        IdempotencyKeyReused,
    ),
)
def add_opening_entry(
    budget_id: UUID,
    body: OpeningCreate,
    caller: CallerDep,
    keyed: KeyedDep,
    version: VersionDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Put spend from before the service on record; charged when a second person has agreed."""
    request = body.to_request()
    document = in_order(
        services.openings.ask(caller, budget_id, request, if_version=version, keyed=keyed)
    )
    response.headers["Location"] = f"/v1/approvals/{document['approval_id']}"
    set_etag(response, document["budget_version"])
    return document


@router.post(
    "/recovery-entries",
    status_code=202,
    response_model=ChangeRead,
    response_model_exclude_unset=True,
    responses=problems(
        NotFound,
        MechanismNotPriced,
        TooManyPending,
        VersionMismatch,
        VersionMissing,
        IdempotencyKeyMissing,
        IdempotencyKeyReused,
    ),
)
def add_recovery_entries(
    budget_id: UUID,
    body: RecoveryCreate,
    caller: CallerDep,
    keyed: KeyedDep,
    version: VersionDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Post what a restored database has forgotten; charged when a second person has agreed."""
    request = body.to_request()
    document = in_order(
        services.discrepancies.ask(caller, budget_id, request, if_version=version, keyed=keyed)
    )
    response.headers["Location"] = f"/v1/approvals/{document['approval_id']}"
    set_etag(response, document["budget_version"])
    return document
