"""Approvals: a second person reads the exact change and decides (L10, R19)."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response

from app.api import pagination
from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.deps import VersionDep, set_etag
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.budgets import ApprovalPage, ApprovalRead, DecisionCreate, DecisionRead
from app.api.schemas.effects import EffectRead
from app.domain.errors import (
    ApprovalNotPending,
    ChangeMismatch,
    NotDelegated,
    NotFound,
    OwnChange,
    ScopeClosed,
    ThawRefused,
    VersionMismatch,
    VersionMissing,
)
from app.services.effects import effect

router = APIRouter(prefix="/approvals", tags=["approvals"], route_class=StrictRoute)

State = Literal["pending", "approved", "rejected", "expired", "used"]


@router.get("", response_model=ApprovalPage, responses=problems(NotFound))
def list_approvals(
    caller: CallerDep,
    services: ServicesDep,
    state: Annotated[State | None, Query()] = None,
    action: Annotated[str | None, Query(min_length=1, max_length=40)] = None,
    order: pagination.Order = None,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """Approvals, oldest first, in every state or in one; an engineer sees his own."""
    after, newest = pagination.read_id(cursor, "id"), order == "newest"
    found = services.approvals.list(caller, state, after, limit, action=action, newest_first=newest)
    return pagination.page(found, limit, "id")


@router.get("/{approval_id}", response_model=ApprovalRead, responses=problems(NotFound))
def read_approval(
    approval_id: UUID, caller: CallerDep, services: ServicesDep, response: Response
) -> dict[str, Any]:
    """One approval with the exact change and its hash."""
    document = services.approvals.get(caller, approval_id)
    set_etag(response, document["version"])
    return document


@router.get("/{approval_id}/effect", response_model=EffectRead, responses=problems(NotFound))
def read_effect(approval_id: UUID, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """The scopes that a change touches, as they stand and as it would leave them."""
    return effect(services.make_session, caller, approval_id)


@router.post(
    "/{approval_id}/decision",
    response_model=DecisionRead,
    responses=problems(
        NotFound,
        OwnChange,
        NotDelegated,
        ApprovalNotPending,
        ChangeMismatch,
        ScopeClosed,
        ThawRefused,
        VersionMismatch,
        VersionMissing,
    ),
)
def decide_approval(
    approval_id: UUID,
    body: DecisionCreate,
    caller: CallerDep,
    version: VersionDep,
    services: ServicesDep,
) -> dict[str, Any]:
    """Approve or reject; the same decision by the same person repeats without effect."""
    return services.approvals.decide(
        caller,
        approval_id,
        decision=body.decision,
        change_sha256=body.change_sha256,
        reason=body.reason,
        on_behalf_of=body.on_behalf_of,
        if_version=version,
    )
