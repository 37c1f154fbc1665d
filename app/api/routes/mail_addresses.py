"""Where people are written to; an administrator's work."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter

from app.api import pagination
from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.mail_addresses import MailAddressPage, MailAddressRead, MailAddressWrite
from app.domain.errors import NotFound

router = APIRouter(tags=["notifications"], route_class=StrictRoute)


@router.get("/mail-addresses", response_model=MailAddressPage, responses=problems(NotFound))
def list_mail_addresses(
    caller: CallerDep,
    services: ServicesDep,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """Who has an address, by name."""
    after = pagination.read_id(cursor, "principal_id")
    items = services.mail_addresses.list(caller, after, limit)
    return pagination.page(items, limit, "principal_id")


@router.put(
    "/people/{principal_id}/mail-address",
    response_model=MailAddressRead,
    responses=problems(NotFound),
)
def write_mail_address(
    principal_id: UUID, body: MailAddressWrite, caller: CallerDep, services: ServicesDep
) -> dict[str, Any]:
    """Write to somebody at this address, or no more where it is null; a repeat changes nothing."""
    return services.mail_addresses.write(caller, principal_id, body.address)
