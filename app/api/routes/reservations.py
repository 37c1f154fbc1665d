"""Reservations: the ledger for jobs that run elsewhere (R15)."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool

from app.api.auth import CallerAgainDep, CallerDep
from app.api.container import ServicesDep
from app.api.deps import KeyedDep, at_once
from app.api.problems import problems
from app.api.reading import StrictRoute, in_order
from app.api.routes.quotes import PRICING
from app.api.schemas.jobs import (
    CommitCreate,
    HeartbeatCreate,
    ReservationCreate,
    ReservationCreated,
    ReservationRead,
    ResumeCreate,
    StartCreate,
    VoidCreate,
)
from app.domain.errors import (
    AlreadyResolved,
    AlreadyTouched,
    BudgetExceeded,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    LeaseLost,
    NotAllowedAnyMore,
    NotFound,
    ScopeClosed,
)

router = APIRouter(prefix="/reservations", tags=["reservations"], route_class=StrictRoute)


@router.post(
    "",
    status_code=201,
    response_model=ReservationCreated,
    responses=problems(
        *PRICING, BudgetExceeded, ScopeClosed, IdempotencyKeyMissing, IdempotencyKeyReused
    ),
)
async def reserve(
    body: ReservationCreate,
    caller: CallerDep,
    caller_again: CallerAgainDep,
    keyed: KeyedDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Hold the worst-case loss of a job that runs elsewhere, in every scope of its path."""
    request, admissions = body.to_request(), services.admissions
    answer = await at_once(admissions, caller, request, keyed)
    if answer is None:
        answer = await run_in_threadpool(lambda: admissions.reserve(caller_again(), request, keyed))
    document = in_order(answer)
    response.headers["Location"] = f"/v1/reservations/{document['id']}"
    return document


@router.get(
    "/{reservation_id}",
    response_model=ReservationRead,
    response_model_exclude_unset=True,
    responses=problems(NotFound),
)
def read_reservation(
    reservation_id: UUID, caller: CallerDep, services: ServicesDep
) -> dict[str, Any]:
    """One reservation."""
    return services.reservations.get(caller, reservation_id)


@router.post(
    "/{reservation_id}/start",
    response_model=ReservationRead,
    response_model_exclude_unset=True,
    responses=problems(NotFound, NotAllowedAnyMore, LeaseLost, AlreadyResolved, ScopeClosed),
)
def start_reservation(
    reservation_id: UUID, body: StartCreate, caller: CallerDep, services: ServicesDep
) -> dict[str, Any]:
    """Make units durable as started, before rows are read for them (L6)."""
    return services.reservations.start(
        caller, reservation_id, body.fence, body.part, body.started_units
    )


@router.post(
    "/{reservation_id}/heartbeat",
    response_model=ReservationRead,
    response_model_exclude_unset=True,
    responses=problems(NotFound, LeaseLost, AlreadyResolved),
)
def extend_reservation(
    reservation_id: UUID, body: HeartbeatCreate, caller: CallerDep, services: ServicesDep
) -> dict[str, Any]:
    """Move the lease on."""
    return services.reservations.heartbeat(caller, reservation_id, body.fence, body.lease_s)


@router.post(
    "/{reservation_id}/resume",
    response_model=ReservationRead,
    response_model_exclude_unset=True,
    responses=problems(NotFound, LeaseLost, AlreadyResolved),
)
def resume_reservation(
    reservation_id: UUID, body: ResumeCreate, caller: CallerDep, services: ServicesDep
) -> dict[str, Any]:
    """Go on in another process of a registered runner: a new fence, and what has started (R15)."""
    return services.reservations.resume(caller, reservation_id, body.lease_s)


@router.post(
    "/{reservation_id}/commit",
    response_model=ReservationRead,
    response_model_exclude_unset=True,
    responses=problems(NotFound, LeaseLost, AlreadyResolved),
)
def commit_reservation(
    reservation_id: UUID, body: CommitCreate, caller: CallerDep, services: ServicesDep
) -> dict[str, Any]:
    """Charge what is owed: a registered runner's started units, everybody else's whole."""
    return services.reservations.commit(caller, reservation_id, body.fence, body.output_sha256)


@router.post(
    "/{reservation_id}/void",
    response_model=ReservationRead,
    response_model_exclude_unset=True,
    responses=problems(NotFound, LeaseLost, AlreadyTouched, AlreadyResolved),
)
def void_reservation(
    reservation_id: UUID, body: VoidCreate, caller: CallerDep, services: ServicesDep
) -> dict[str, Any]:
    """Give everything back, on the sentence that no private row was read."""
    return services.reservations.void(caller, reservation_id, body.fence, body.statement)
