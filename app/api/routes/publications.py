"""Publishing of results: an officer's decision, for good."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter

from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.deps import KeyedDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.publications import PublicationCreate, PublicationRead
from app.domain.errors import (
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    NotFound,
    ResultNotReady,
    ResultPurged,
)

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=StrictRoute)


@router.post(
    "/{job_id}/publish",
    response_model=PublicationRead,
    responses=problems(
        NotFound, ResultNotReady, ResultPurged, IdempotencyKeyMissing, IdempotencyKeyReused
    ),
)
def publish_job(
    job_id: UUID,
    body: PublicationCreate,
    caller: CallerDep,
    keyed: KeyedDep,
    services: ServicesDep,
) -> dict[str, Any]:
    """Let others read a released result; from then on the lifetime root is the only true figure."""
    return services.publications.publish(caller, job_id, body.to_request(), keyed)
