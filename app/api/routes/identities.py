"""Signing in by the identity provider of the house, and who its subjects are here."""

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute

from app.api import browser
from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.deps import KeyedDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.identities import IdentityLink, IdentityList, IdentityRead
from app.domain.errors import (
    AlreadyExists,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    InvalidParameter,
    NotFound,
)
from app.domain.sign_in import (
    IdentityNotLinked,
    IdentityProviderFailed,
    InsecureTransport,
    SignInNotStarted,
    TooManyAttempts,
    WayNotOffered,
)
from app.services.identities import LinkRequest
from app.services.identity_provider import is_state

router = APIRouter(tags=["sign-in"], route_class=StrictRoute)

# holds the secret of one sign-in while the browser is at the provider
FLOW_COOKIE: Final = "__Host-epsilon-sign-in"
FLOW_S: Final = 600
# a page of our own: no scheme, no host, and nothing that a browser could take for one
LOCAL_PATH: Final = re.compile(r"/(?![/\\])[!-\[\]-~]{0,1000}")
AFTERWARDS: Final = "/v1/me"
CALLBACK: Final = "/v1/auth/oidc/callback"

Next = Annotated[
    str, Query(max_length=1001, description="Where to go afterwards: a path of this service.")
]
IdentityId = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")]


@router.get(
    "/auth/oidc/start",
    status_code=303,
    response_class=RedirectResponse,
    responses=problems(WayNotOffered, InsecureTransport, IdentityProviderFailed),
)
def start_sign_in(
    request: Request, services: ServicesDep, next: Next = AFTERWARDS
) -> RedirectResponse:
    """Go to the identity provider, and come back signed in."""
    provider = services.identities.provider
    browser.require_secure(request)
    if not LOCAL_PATH.fullmatch(next):
        raise InvalidParameter("/next", "a path of this service is expected")
    secret = secrets.token_urlsafe(32)
    url = provider.authorization_url(secret, browser.own_origin(request) + CALLBACK)
    answer = RedirectResponse(url, 303)
    place = urlsafe_b64encode(next.encode()).decode()
    answer.set_cookie(
        FLOW_COOKIE,
        f"{secret}.{place}",
        max_age=FLOW_S,
        path="/",
        secure=True,
        httponly=True,
        samesite="lax",
    )
    return answer


def finish_sign_in(
    request: Request,
    services: ServicesDep,
    code: Annotated[str | None, Query(max_length=4096)] = None,
    state: Annotated[str, Query(max_length=200)] = "",
    iss: Annotated[str | None, Query(max_length=500)] = None,
) -> RedirectResponse:
    """Where the identity provider sends the browser back to."""
    provider = services.identities.provider
    secret, place = _flow(request)
    if not is_state(state, secret):
        raise SignInNotStarted
    if iss is not None and iss != provider.issuer:  # RFC 9207
        raise IdentityProviderFailed("another issuer answered")
    if code is None:
        raise IdentityProviderFailed("it did not let this person in")
    started = services.identities.sign_in(
        code,
        secret,
        redirect_uri=browser.own_origin(request) + CALLBACK,
        address=browser.address_of(request),
    )
    answer = RedirectResponse(place, 303)
    browser.keep_session(answer, started)
    answer.delete_cookie(FLOW_COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return answer


# a plain route: providers add parameters of their own to what they were asked for
router.add_api_route(
    "/auth/oidc/callback",
    finish_sign_in,
    methods=["GET"],
    status_code=303,
    response_class=RedirectResponse,
    responses=problems(
        WayNotOffered,
        SignInNotStarted,
        TooManyAttempts,
        IdentityProviderFailed,
        IdentityNotLinked,
    ),
    route_class_override=APIRoute,
)


@router.post(
    "/people/{principal_id}/identities",
    status_code=201,
    response_model=IdentityRead,
    responses=problems(
        NotFound, AlreadyExists, WayNotOffered, IdempotencyKeyMissing, IdempotencyKeyReused
    ),
)
def link_identity(
    principal_id: UUID,
    body: IdentityLink,
    caller: CallerDep,
    keyed: KeyedDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Let a subject of the identity provider be somebody here."""
    response.headers["Location"] = f"/v1/people/{principal_id}/identities"
    request = LinkRequest(principal_id, body.subject, body.email)
    return services.identities.link(caller, request, keyed)


@router.get("/people/{principal_id}/identities", response_model=IdentityList, responses=problems())
def list_identities(principal_id: UUID, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """Somebody's links, oldest first."""
    return {"items": services.identities.list(caller, principal_id)}


@router.delete(
    "/people/{principal_id}/identities/{identity_id}",
    status_code=204,
    responses=problems(NotFound),
)
def unlink_identity(
    principal_id: UUID, identity_id: IdentityId, caller: CallerDep, services: ServicesDep
) -> None:
    """End a link, and every session of the person that was opened by the provider."""
    services.identities.unlink(caller, principal_id, identity_id)


def _flow(request: Request) -> tuple[str, str]:
    """The secret of the sign-in that this browser has begun, and where it goes afterwards.

    Raises:
        SignInNotStarted: this browser has begun none, or too long ago.
    """
    secret, _, place = request.cookies.get(FLOW_COOKIE, "").partition(".")
    try:
        path = urlsafe_b64decode(place.encode()).decode()
    except (NotBase64, ValueError):
        raise SignInNotStarted from None
    if len(secret) != 43 or not secret.isascii() or not LOCAL_PATH.fullmatch(path):
        raise SignInNotStarted
    return secret, path
