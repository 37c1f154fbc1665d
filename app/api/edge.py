"""The outermost layer: every answer has a name, the same headers, and comes at a bounded pace.

Plain ASGI around the whole application, so that it also holds for what a route never sees.
"""

import json
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID, uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import MEDIA_TYPE, too_fast
from app.logs import about
from app.services import metrics

log = logging.getLogger(__name__)

REQUEST_ID: Final = "X-Request-Id"
REQUEST_ID_FORM: Final = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
# where an answer says that something was made: /v1/jobs/<id>
MADE: Final = re.compile(r"/v1/(?P<noun>[a-z-]+)s/(?P<id>[0-9a-f-]{36})", re.ASCII)

# what no route sets for itself; a page that shows something says so by its own policy
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
TRANSPORT: Final = "max-age=31536000"
# amounts and results are for who asked, and stay in no cache on their way
PRIVATE_PREFIX: Final = "/v1/"
# asked every few seconds by what watches the service, and of no interest when answered
PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
CALLERS_KEPT_MOST: Final = 10_000
BURST_S: Final = 2.0


class Pace:
    """How fast one caller may ask: so many requests a second, and twice as many at once.

    A brake on loops that run away, counted in this process alone; no bound on privacy. Callers are
    known by a digest of what they present, or by their address, so nobody can slow another down
    by naming him. The least recently seen are forgotten where there are too many.
    """

    def __init__(self, per_second_most: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second_most
        self._burst = max(1.0, per_second_most * BURST_S)
        self._clock = clock
        self._left: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def wait_s(self, caller: bytes) -> float:
        """Take one request of a caller: 0 where it may pass, else how long until one may."""
        if self._rate <= 0:
            return 0.0
        now = self._clock()
        left, seen = self._left.pop(caller, (self._burst, now))
        left = min(self._burst, left + (now - seen) * self._rate)
        passes = left >= 1.0
        self._left[caller] = (left - 1.0 if passes else left, now)
        if len(self._left) > CALLERS_KEPT_MOST:
            self._left.popitem(last=False)
        return 0.0 if passes else (1.0 - left) / self._rate


class Edge:
    """Names each exchange, keeps the pace, puts the headers on every answer, and logs its end."""

    def __init__(self, app: ASGIApp, per_second_most: float = 0.0) -> None:
        self._app = app
        self._pace = Pace(per_second_most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; other protocols pass as they are."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        began_s = time.perf_counter()
        answered: dict[str, Any] = {"status": None, "location": ""}

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                _complete(given, scope, request_id)
                answered.update(status=message["status"], location=given.get("location", ""))
                metrics.RESPONSES.add(f"{message['status'] // 100}xx")
            await send(message)

        with about(request_id=request_id):
            try:
                wait_s = self._pace.wait_s(_caller(scope, headers))
                if wait_s > 0:
                    await _answer_too_fast(send_named, wait_s, request_id)
                else:
                    await self._app(scope, receive, send_named)
            finally:
                _log_end(scope, answered, time.perf_counter() - began_s)


def _log_end(scope: Scope, answered: Mapping[str, Any], took_s: float) -> None:
    """One line for an exchange: what was asked by its operation's name, never by what was sent."""
    level = logging.DEBUG if scope["path"] in PROBES else logging.INFO
    if not log.isEnabledFor(level):
        return
    # the names of parameters are ours, and of their values only ids are written
    ids = {name: value for name, value in scope.get("path_params", {}).items() if _is_id(value)}
    made = MADE.fullmatch(answered["location"])
    if made is not None:
        ids[f"{made['noun']}_id".replace("-", "_")] = made["id"]
    with about(**ids):
        log.log(
            level,
            "request.ended operation=%s status=%s ms=%s",
            getattr(scope.get("route"), "name", None) or "-",
            answered["status"],
            round(took_s * 1000, 1),
        )


def _is_id(value: object) -> bool:
    try:
        return str(UUID(str(value))) == value
    except ValueError:
        return False


def _request_id(headers: Headers) -> str:
    """The caller's own name for the exchange, where it has a plain form; else a fresh one."""
    given = headers.get(REQUEST_ID, "")
    return given if REQUEST_ID_FORM.fullmatch(given) else uuid4().hex


def _caller(scope: Scope, headers: Headers) -> bytes:
    presented = headers.get("authorization") or headers.get("cookie")
    if presented is None:
        client = scope.get("client")
        presented = "" if client is None else str(client[0])
    return blake2b(presented.encode(), digest_size=16).digest()


def _complete(headers: MutableHeaders, scope: Scope, request_id: str) -> None:
    headers[REQUEST_ID] = request_id
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if str(scope["path"]).startswith(PRIVATE_PREFIX):
        headers.setdefault("Cache-Control", "no-store")
    if scope["scheme"] == "https":
        headers.setdefault("Strict-Transport-Security", TRANSPORT)


async def _answer_too_fast(send: Send, wait_s: float, request_id: str) -> None:
    seconds = max(1, round(wait_s + 0.5))
    body = json.dumps(too_fast(seconds, request_id)).encode()
    head = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(seconds).encode()),
    ]
    await send({"type": "http.response.start", "status": 429, "headers": head})
    await send({"type": "http.response.body", "body": body})
