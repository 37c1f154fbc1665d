"""What routes ask of a request's headers: the key it may be repeated by, the version it changes."""

import asyncio
from typing import Annotated, Any
from uuid import UUID, uuid5

from fastapi import Depends, Header, Request, Response

from app.api.auth import CallerDep
from app.api.reading import body_sha256
from app.services.access import Caller
from app.services.admission import Admissions
from app.services.idempotency import Keyed
from app.services.placement import JobRequest, ReservationRequest

# names requests under a key, so that a repeat is the same request (RFC 9562, version 5)
REQUESTS = UUID("6f1c9a5e-6d0f-5c55-9a55-1f6d5a0f8f0c")

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="Chosen by the caller; a repeat with the same key has no second effect.",
    ),
]
IfMatch = Annotated[
    str,
    Header(
        alias="If-Match",
        pattern=r'^"[0-9]{1,9}"$',
        description="The ETag of what is changed, as it was read.",
    ),
]


async def keyed(request: Request, caller: CallerDep, idempotency_key: IdempotencyKey) -> Keyed:
    """The request under its key, scoped to the caller and the route (R16)."""
    route = f"{request.method} {request.url.path}"
    request.state.request_id = uuid5(REQUESTS, f"{caller.principal_id} {route} {idempotency_key}")
    body = await request.json() if await request.body() else None
    return Keyed(caller.principal_id, route, idempotency_key, body_sha256(body))


async def at_once(
    admissions: Admissions, caller: Caller, request: JobRequest | ReservationRequest, keyed: Keyed
) -> dict[str, Any] | None:
    """The answer to a request that was looked up before; None where it has to be asked in full.

    Whatever went wrong on this way has decided nothing, or is found by its key on the other.
    """
    try:
        answer = admissions.at_once(caller, request, keyed)
        if answer is None:
            return None
        # shielded: a client that goes away takes no answer out of the writer's hand
        document: dict[str, Any] = await asyncio.shield(asyncio.wrap_future(answer))
    except Exception:
        return None
    else:
        return document


def version_read(if_match: IfMatch) -> int:
    """The version that the caller read."""
    return int(if_match.strip('"'))


def set_etag(response: Response, version: int) -> None:
    """Name the version of what is answered."""
    response.headers["ETag"] = f'"{version}"'


KeyedDep = Annotated[Keyed, Depends(keyed)]
VersionDep = Annotated[int, Depends(version_read)]
