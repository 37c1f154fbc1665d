"""Signing in and out, and the sessions that somebody has."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response

from app.api import browser
from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.deps import KeyedDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.sign_in import (
    InvitationMade,
    PasswordSet,
    SessionList,
    SessionRead,
    SessionStarted,
    SignIn,
    WaysRead,
)
from app.domain.errors import IdempotencyKeyMissing, IdempotencyKeyReused, NotFound
from app.domain.sign_in import (
    CrossSiteRequest,
    InsecureTransport,
    InvitationNotUsable,
    SignInRefused,
    TooManyAttempts,
    WayNotOffered,
)
from app.services.sessions import request_token

router = APIRouter(tags=["sign-in"], route_class=StrictRoute)


@router.get("/auth/ways", response_model=WaysRead)
def list_ways(services: ServicesDep) -> dict[str, Any]:
    """How people sign in here."""
    return {way: way in services.sessions.ways for way in ("password", "oidc")}


@router.post(
    "/auth/sign-in",
    response_model=SessionStarted,
    responses=problems(
        CrossSiteRequest, InsecureTransport, SignInRefused, TooManyAttempts, WayNotOffered
    ),
)
def sign_in(
    body: SignIn, request: Request, services: ServicesDep, response: Response
) -> dict[str, Any]:
    """Sign in with a password: the answer sets the session's cookie."""
    browser.require_secure(request)
    browser.require_own_origin(request)
    started = services.local_accounts.sign_in(body.name, body.password, browser.address_of(request))
    browser.keep_session(response, started)
    return {
        "session_id": started.id,
        "request_token": request_token(started.secret),
        "expires_at": started.expires_at.isoformat(),
    }


@router.post("/auth/sign-out", response_model=SessionRead, responses=problems(NotFound))
def sign_out(caller: CallerDep, services: ServicesDep, response: Response) -> dict[str, Any]:
    """End the session that asks."""
    ended = services.sessions.end(caller, caller.key_id, because="signed-out")
    browser.drop_session(response)
    return ended


@router.get("/auth/sessions", response_model=SessionList, responses=problems())
def list_sessions(caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """The caller's sessions that are good now, newest first."""
    return {"items": services.sessions.list(caller)}


@router.post(
    "/auth/sessions/{session_id}/revoke",
    response_model=SessionRead,
    responses=problems(NotFound),
)
def revoke_session(
    session_id: Annotated[str, Path(pattern=r"^s[0-9a-f]{12}$")],
    caller: CallerDep,
    services: ServicesDep,
) -> dict[str, Any]:
    """End a session of the caller at once; a repeat changes nothing."""
    return services.sessions.end(caller, session_id)


@router.post(
    "/people/{principal_id}/invitations",
    status_code=201,
    response_model=InvitationMade,
    responses=problems(NotFound, WayNotOffered, IdempotencyKeyMissing, IdempotencyKeyReused),
)
def invite_person(
    principal_id: UUID,
    caller: CallerDep,
    keyed: KeyedDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Make a token by which somebody sets a password, and show it, once."""
    # a secret must not stay in a cache on its way
    response.headers["Cache-Control"] = "no-store"
    return services.local_accounts.invite(caller, principal_id, keyed)


@router.post(
    "/auth/password",
    status_code=204,
    responses=problems(InvitationNotUsable, WayNotOffered),
)
def set_password(body: PasswordSet, services: ServicesDep) -> None:
    """Set a password by an invitation, which is then used; every open session ends."""
    services.local_accounts.set_password(body.token, body.password)
