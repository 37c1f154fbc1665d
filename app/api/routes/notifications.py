"""The officers' inbox."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from app.api import pagination
from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.changes import NotificationPage, NotificationRead
from app.domain.errors import NotFound

router = APIRouter(prefix="/notifications", tags=["oversight"], route_class=StrictRoute)


@router.get("", response_model=NotificationPage, responses=problems())
def list_notifications(
    caller: CallerDep,
    services: ServicesDep,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
    unread: Annotated[bool, Query()] = False,  # noqa: FBT002 - a query parameter has a name
) -> dict[str, Any]:
    """Thresholds that were passed, changes that wait, bursts of refusals; newest first."""
    before = pagination.read_number(cursor, "id")
    items = services.notifications.list(caller, before, limit, unread=unread)
    return pagination.page(items, limit, "id")


@router.post(
    "/{notification_id}/read", response_model=NotificationRead, responses=problems(NotFound)
)
def mark_notification(
    notification_id: Annotated[int, Path(ge=1, le=2**53 - 1)],
    caller: CallerDep,
    services: ServicesDep,
) -> dict[str, Any]:
    """Mark a line as read for all officers; a repeat keeps the first reader."""
    return services.notifications.read(caller, notification_id)
