"""Webhooks: where the service sends what officers are told; an administrator's work."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response

from app.api import pagination
from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.deps import KeyedDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.webhooks import (
    DeliveryPage,
    WebhookCreate,
    WebhookCreated,
    WebhookPage,
    WebhookRead,
)
from app.domain.errors import (
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    KeyFileUnusable,
    NotFound,
)

router = APIRouter(prefix="/webhooks", tags=["notifications"], route_class=StrictRoute)


@router.post(
    "",
    status_code=201,
    response_model=WebhookCreated,
    responses=problems(KeyFileUnusable, IdempotencyKeyMissing, IdempotencyKeyReused),
)
def create_webhook(
    body: WebhookCreate,
    caller: CallerDep,
    keyed: KeyedDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Make a webhook and show its secret, once: a repeat of the request answers without it."""
    response.headers["Location"] = "/v1/webhooks"
    # a secret must not stay in a cache on its way
    response.headers["Cache-Control"] = "no-store"
    return services.webhooks.create(caller, body.to_request(), keyed)


@router.get("", response_model=WebhookPage, responses=problems(NotFound))
def list_webhooks(
    caller: CallerDep,
    services: ServicesDep,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """Webhooks without their secrets, newest first."""
    before = pagination.read_id(cursor, "id")
    items = services.webhooks.list(caller, before, limit)
    return pagination.page(items, limit, "id")


@router.delete("/{webhook_id}", response_model=WebhookRead, responses=problems(NotFound))
def end_webhook(webhook_id: UUID, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """Send it nothing any more; its log stays. A repeat changes nothing."""
    return services.webhooks.end(caller, webhook_id)


@router.get("/{webhook_id}/deliveries", response_model=DeliveryPage, responses=problems(NotFound))
def list_deliveries(
    webhook_id: UUID,
    caller: CallerDep,
    services: ServicesDep,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """What was sent to a webhook and what waits, newest first."""
    before = pagination.read_id(cursor, "id")
    items = services.webhooks.deliveries(caller, webhook_id, before, limit)
    return pagination.page(items, limit, "id")
