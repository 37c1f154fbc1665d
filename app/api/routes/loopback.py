"""A key for a program on one's own machine, by the browser beside it (RFC 8252).

The only pages that the API shows by itself: without a script, and with nothing from elsewhere.
"""

import hashlib
from html import escape
from typing import Annotated, Any, Final
from urllib.parse import parse_qs, quote, urlencode

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import TypeAdapter, ValidationError

from app.api import browser
from app.api.container import ServicesDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.identities import LoopbackCode
from app.api.schemas.people import ApiKeyCreated
from app.domain.errors import NotAuthenticated
from app.domain.sign_in import CodeNotUsable, CrossSiteRequest, TwoCredentials, WayNotOffered
from app.services.access import Caller
from app.services.sessions import is_request_token, request_token

router = APIRouter(prefix="/auth/loopback", tags=["sign-in"], route_class=StrictRoute)

PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8">
<title>Sign in a program - Epsilon Ledger</title>
<h1>Sign in a program on this computer?</h1>
<p>It will act as <strong>{name}</strong> for twelve hours, with every role that you have.</p>
<p>Go on only if you have just started it, and it shows this code: <strong>{code}</strong></p>
<form method="post" action="/v1/auth/loopback">{fields}<button>Sign it in</button></form>
</html>"""

Port = Annotated[int, Query(ge=1024, le=65535, description="Where the program listens.")]
Challenge = Annotated[
    str, Query(pattern=r"^[A-Za-z0-9_-]{43}$", description="S256 of the program's verifier.")
]
State = Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{16,100}$")]
TARGET: Final[TypeAdapter[tuple[int, str, str]]] = TypeAdapter(tuple[Port, Challenge, State])
FORM_BYTES_MOST: Final = 2000


@router.get(
    "",
    response_class=HTMLResponse,
    responses={
        303: {"description": "Not signed in yet: to where one signs in, and back here"},
        **problems(WayNotOffered, TwoCredentials),
    },
)
def ask_for_program(
    request: Request, services: ServicesDep, port: Port, challenge: Challenge, state: State
) -> Response:
    """Ask the person whether a program may sign in; where nobody is signed in, sign in first."""
    secret = browser.session_secret(request)
    browser.require_one_credential(request, secret)
    try:
        caller = _caller(services, secret)
    except NotAuthenticated:
        asked = urlencode({"port": port, "challenge": challenge, "state": state})
        place = quote(f"/v1/auth/loopback?{asked}", safe="")
        is_person = "text/html" in request.headers.get("accept", "")
        if is_person and "password" in services.sessions.ways:
            return RedirectResponse(f"/sign-in?next={place}", 303)
        services.identities.provider  # noqa: B018 - refuses where there is no other way in
        return RedirectResponse(f"/v1/auth/oidc/start?next={place}", 303)
    fields = {
        "port": str(port),
        "challenge": challenge,
        "state": state,
        "request_token": request_token(secret or ""),
    }
    page = PAGE.format(
        name=escape(caller.name),
        code=shown_code(challenge),
        fields="".join(
            f'<input type="hidden" name="{name}" value="{escape(value)}">'
            for name, value in fields.items()
        ),
    )
    policy = (
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
        f"form-action 'self' http://127.0.0.1:{port}"
    )
    # without a referrer at all the browser would name no origin with the form
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "same-origin"}
    return HTMLResponse(page, headers=headers)


@router.post(
    "",
    status_code=303,
    response_class=RedirectResponse,
    responses=problems(CrossSiteRequest, TwoCredentials),
)
async def let_program_in(request: Request, services: ServicesDep) -> RedirectResponse:
    """Send the browser back to the program with a code; the form of the page before."""
    secret = browser.session_secret(request)
    if secret is None:
        raise NotAuthenticated
    browser.require_one_credential(request, secret)
    browser.require_own_origin(request, must_be_there=True)
    form = _form(await request.body())
    if not is_request_token(form.get("request_token", ""), secret):
        raise CrossSiteRequest("The form has to come from a page of this session.")
    port, challenge, state = _target(form)
    caller = await run_in_threadpool(_caller, services, secret)
    code = await run_in_threadpool(services.loopback_keys.grant, caller, challenge)
    query = urlencode({"code": code, "state": state})
    return RedirectResponse(f"http://127.0.0.1:{port}/?{query}", 303)


@router.post(
    "/key",
    status_code=201,
    response_model=ApiKeyCreated,
    responses=problems(CodeNotUsable),
)
def fetch_key(body: LoopbackCode, services: ServicesDep) -> dict[str, Any]:
    """Turn the code of the redirect into a key, once; it ends by itself after twelve hours."""
    return services.loopback_keys.key(body.code, body.verifier)


def shown_code(challenge: str) -> str:
    """What the page and the program both show, so that a person sees that they belong together."""
    digest = hashlib.sha256(challenge.encode()).hexdigest()[:8].upper()
    return f"{digest[:4]}-{digest[4:]}"


def _caller(services: ServicesDep, secret: str | None) -> Caller:
    if secret is None:
        raise NotAuthenticated
    return services.sessions.authenticate(secret)


def _form(body: bytes) -> dict[str, str]:
    """The fields of a form as a browser sends it, each once.

    Raises:
        HTTPException: 400, without a word of what was sent.
    """
    try:
        fields = parse_qs(
            body[:FORM_BYTES_MOST].decode("ascii"), strict_parsing=True, max_num_fields=8
        )
    except ValueError:
        raise HTTPException(400, "the form of the page before is expected") from None
    return {name: values[0] for name, values in fields.items() if len(values) == 1}


def _target(form: dict[str, str]) -> tuple[int, str, str]:
    try:
        return TARGET.validate_python((form.get("port"), form.get("challenge"), form.get("state")))
    except ValidationError:
        raise HTTPException(400, "the form of the page before is expected") from None
