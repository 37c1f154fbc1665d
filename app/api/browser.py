"""What only browsers send: the cookie of a session, and what keeps other sites from using it.

Every unsafe request of a session names our own origin and carries the session's token. A cookie
alone is sent by whatever page makes the browser ask.
"""

from typing import Final
from urllib.parse import urlsplit

from fastapi import Request, Response

from app.domain.sign_in import CrossSiteRequest, InsecureTransport, TwoCredentials
from app.services.sessions import LONGEST, Started, is_request_token

# the prefix makes browsers refuse it with a domain, another path, or without TLS; they count an
# address of the machine itself as secure, so it holds for the embedded service too
SESSION_COOKIE: Final = "__Host-epsilon-session"
TOKEN_HEADER: Final = "X-Epsilon-Request-Token"  # noqa: S105 - a name
SESSION_SECRET_MOST: Final = 100
HARMLESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def session_secret(request: Request) -> str | None:
    """The secret in the session's cookie, if there is one of a plausible length."""
    secret = request.cookies.get(SESSION_COOKIE)
    return secret if secret and len(secret) <= SESSION_SECRET_MOST and secret.isascii() else None


def address_of(request: Request) -> str:
    """Where a request comes from, for what slows guessing."""
    return "nowhere" if request.client is None else request.client.host


def require_one_credential(request: Request, secret: str | None) -> None:
    """Refuse a request that carries a key beside its session.

    Raises:
        TwoCredentials: nobody says which of the two is meant.
    """
    if secret is not None and "authorization" in request.headers:
        raise TwoCredentials


def own_origin(request: Request) -> str:
    """Where browsers reach us: as it was configured, else as this request was addressed."""
    configured: str = request.app.state.services.public_origin
    return configured or f"{request.url.scheme}://{request.headers.get('host', '')}".lower()


def require_own_page(request: Request, secret: str) -> None:
    """Refuse an unsafe request that another site's page could have made.

    Raises:
        CrossSiteRequest: no Origin, another one, or not the token of the session.
    """
    if request.method in HARMLESS:
        return
    require_own_origin(request, must_be_there=True)
    if not is_request_token(request.headers.get(TOKEN_HEADER, ""), secret):
        raise CrossSiteRequest(f"The session's token is expected in {TOKEN_HEADER}.")


def require_own_origin(request: Request, *, must_be_there: bool = False) -> None:
    """Refuse a request that a page of another origin made.

    must_be_there: refuse one without an Origin too; every browser sends it with a POST.

    Raises:
        CrossSiteRequest: it is not our own.
    """
    origin = request.headers.get("origin")
    if origin is None and not must_be_there:
        return
    if origin != own_origin(request):
        raise CrossSiteRequest("The request has to come from a page of this service.")


def require_secure(request: Request) -> None:
    """Refuse to sign in where the browser would not keep the cookie.

    Raises:
        InsecureTransport: plain HTTP, and not from this machine itself.
    """
    origin = urlsplit(own_origin(request))
    if origin.scheme != "https" and origin.hostname not in LOOPBACK:
        raise InsecureTransport


def keep_session(response: Response, started: Started) -> None:
    """Give the browser its session."""
    response.set_cookie(
        SESSION_COOKIE,
        started.secret,
        max_age=int(LONGEST.total_seconds()),
        path="/",
        secure=True,
        httponly=True,
        samesite="lax",
    )
    # a secret must not stay in a cache on its way
    response.headers["Cache-Control"] = "no-store"


def drop_session(response: Response) -> None:
    """Have the browser forget its session."""
    response.delete_cookie(SESSION_COOKIE, path="/", secure=True, httponly=True, samesite="lax")
