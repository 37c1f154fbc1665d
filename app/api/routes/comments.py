"""Comments on approvals: added to, never edited."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter

from app.api import pagination
from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.deps import KeyedDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.comments import CommentCreate, CommentPage, CommentRead
from app.domain.errors import IdempotencyKeyMissing, IdempotencyKeyReused, NotFound

router = APIRouter(prefix="/approvals", tags=["approvals"], route_class=StrictRoute)


@router.post(
    "/{approval_id}/comments",
    status_code=201,
    response_model=CommentRead,
    responses=problems(NotFound, IdempotencyKeyMissing, IdempotencyKeyReused),
)
def comment_on_approval(
    approval_id: UUID,
    body: CommentCreate,
    caller: CallerDep,
    keyed: KeyedDep,
    services: ServicesDep,
) -> dict[str, Any]:
    """Say something of a change; it decides nothing."""
    return services.comments.add(caller, approval_id, body.text, keyed)


@router.get("/{approval_id}/comments", response_model=CommentPage, responses=problems(NotFound))
def list_comments(
    approval_id: UUID,
    caller: CallerDep,
    services: ServicesDep,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """Comments of an approval, oldest first, for whoever may read it."""
    after = pagination.read_number(cursor, "id")
    items = services.comments.list(caller, approval_id, after, limit)
    return pagination.page(items, limit, "id")
