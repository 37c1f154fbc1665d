"""Connections: an admin opens folders, databases and buckets."""

from typing import Any

from fastapi import APIRouter, Response

from app.api import pagination
from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.deps import KeyedDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.datasets import ConnectionCreate, ConnectionPage, ConnectionRead
from app.domain.errors import AlreadyExists, IdempotencyKeyMissing, IdempotencyKeyReused, NotFound

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


@router.get("", response_model=ConnectionPage, responses=problems(NotFound))
def list_connections(
    caller: CallerDep,
    services: ServicesDep,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """Connections by name; where their rows lie for admins only."""
    after = pagination.read_id(cursor, "id")
    items = services.connections.list(caller, after, limit)
    return pagination.page(items, limit, "id")
