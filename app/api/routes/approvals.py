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
from app.domain.errors import (
    ApprovalNotPending,
    ChangeMismatch,
    NotFound,
    OwnChange,
    ScopeClosed,
    ThawRefused,
    VersionMismatch,
    VersionMissing,
)

router = APIRouter(prefix="/approvals", tags=["approvals"], route_class=StrictRoute)

State = Literal["pending", "approved", "rejected", "expired", "used"]


@router.get("", response_model=ApprovalPage, responses=problems(NotFound))
def list_approvals(
    caller: CallerDep,
    services: ServicesDep,
    state: Annotated[State | None, Query()] = None,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """Approvals, oldest first, in every state or in one; an engineer sees his own."""
    after = pagination.read_id(cursor, "id")
    return pagination.page(services.approvals.list(caller, state, after, limit), limit, "id")


@router.get("/{approval_id}", response_model=ApprovalRead, responses=problems(NotFound))
def read_approval(
    approval_id: UUID, caller: CallerDep, services: ServicesDep, response: Response
) -> dict[str, Any]:
    """One approval with the exact change and its hash."""
    document = services.approvals.get(caller, approval_id)
    set_etag(response, document["version"])
    return document


@router.post(
    "/{approval_id}/decision",
    response_model=DecisionRead,
    responses=problems(
        NotFound,
        OwnChange,
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
        if_version=version,
    )
