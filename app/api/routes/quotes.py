"""Quotes: what a request would cost, without asking for it."""

from typing import Any

from fastapi import APIRouter

from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.jobs import QuoteCreate, QuoteRead
from app.domain.errors import (
    BlockNotClosed,
    BoundsRequired,
    DeltaRequired,
    DeviceUnavailable,
    MechanismNotPriced,
    ModelNotAccepted,
    NominalSizeTooSmall,
    NotFound,
    RangeTooWide,
    RefusedByName,
    SqlNotAccepted,
    TooManyGroups,
)

PRICING = (
    NotFound,
    BlockNotClosed,
    MechanismNotPriced,
    ModelNotAccepted,
    DeviceUnavailable,
    RefusedByName,
    BoundsRequired,
    DeltaRequired,
    TooManyGroups,
    RangeTooWide,
    NominalSizeTooSmall,
    SqlNotAccepted,
)

router = APIRouter(prefix="/quotes", tags=["quotes"], route_class=StrictRoute)


@router.post("", response_model=QuoteRead, responses=problems(*PRICING))
def quote(body: QuoteCreate, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """Price a job or parts: the loss, whether it fits, what remains. Touches no data."""
    return services.admissions.quote(caller, body.to_request())
