"""Attestations: sentences that people sign, with an end; believed and never checked (L9)."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from app.api import pagination
from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.deps import KeyedDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.reports import AttestationCreate, AttestationPage, AttestationRead
from app.domain.errors import (
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    LedgerNotSigned,
    NotFound,
)

router = APIRouter(prefix="/attestations", tags=["reports"], route_class=StrictRoute)


@router.post(
    "",
    status_code=201,
    response_model=AttestationRead,
    responses=problems(NotFound, LedgerNotSigned, IdempotencyKeyMissing, IdempotencyKeyReused),
)
def attest(
    body: AttestationCreate, caller: CallerDep, keyed: KeyedDep, services: ServicesDep
) -> dict[str, Any]:
    """Stand for a sentence about a dataset until a day; it is signed in the caller's name."""
    return services.attestations.make(caller, body.to_request(), keyed)


@router.get("", response_model=AttestationPage, responses=problems(NotFound))
def list_attestations(
    caller: CallerDep,
    services: ServicesDep,
    dataset_id: Annotated[UUID | None, Query()] = None,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """What people attested to, newest first, with whether it counts now."""
    after = pagination.read_id(cursor, "id")
    found = services.attestations.list(caller, dataset_id, after, limit)
    return pagination.page(found, limit, "id")


@router.post(
    "/{attestation_id}/revoke", response_model=AttestationRead, responses=problems(NotFound)
)
def revoke_attestation(
    attestation_id: UUID, caller: CallerDep, services: ServicesDep
) -> dict[str, Any]:
    """Take an attestation back; it stays on record with the time of that."""
    return services.attestations.revoke(caller, attestation_id)
