"""Connections: an admin opens folders, databases and buckets."""

from typing import Any

from fastapi import APIRouter, Response

from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.deps import KeyedDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.datasets import ConnectionCreate, ConnectionList, ConnectionRead
from app.domain.errors import AlreadyExists, IdempotencyKeyMissing, IdempotencyKeyReused

router = APIRouter(prefix="/connections", tags=["connections"], route_class=StrictRoute)


@router.post(
    "",
    status_code=201,
    response_model=ConnectionRead,
    responses=problems(AlreadyExists, IdempotencyKeyMissing, IdempotencyKeyReused),
)
def create_connection(
    body: ConnectionCreate,
    caller: CallerDep,
    keyed: KeyedDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Open a folder, a database or a bucket. Datasets name its files or tables, nothing else."""
    document = services.connections.create(
        caller,
        name=body.name,
        kind=body.kind,
        root=body.root,
        store=None if body.store is None else body.store.model_dump(),
        keyed=keyed,
    )
    response.headers["Location"] = "/v1/connections"
    return document


@router.get("", response_model=ConnectionList, responses=problems())
def list_connections(caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """All connections; where their rows lie for admins only."""
    return {"items": services.connections.list(caller)}
