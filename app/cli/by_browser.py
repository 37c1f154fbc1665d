"""A key by the browser on the same machine: a loopback redirect with PKCE (RFC 8252, RFC 7636).

The program listens on a port of 127.0.0.1 that the system picks, for one answer. What comes back
through the browser is a code that is of no use without the verifier, which never leaves here.
"""

import hashlib
import secrets
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

WAIT_S: Final = 300.0
TIMEOUT_S: Final = 30.0
DONE: Final = b"<!doctype html><title>Epsilon Ledger</title><p>Signed in. You may close this page."
NOT_IT: Final = b"<!doctype html><title>Epsilon Ledger</title><p>Nothing was asked for here."


class SignInFailed(Exception):
    """No key came; the text says why in one line."""


class Listener(HTTPServer):
    """Waits for the one redirect that carries our state; anything else is answered and ignored."""

    def __init__(self, state: str) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.state = state
        self.code: str | None = None
        self.arrived = threading.Event()

    def wait(self, wait_s: float) -> str:
        """The code.

        Raises:
            SignInFailed: nobody came back in time.
        """
        thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            self.arrived.wait(wait_s)
        finally:
            self.shutdown()
            thread.join()
            self.server_close()
        if self.code is None:
            raise SignInFailed(f"nobody came back from the browser within {wait_s:.0f} s")
        return self.code


class _Answer(BaseHTTPRequestHandler):
    server: Listener

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        state, code = query.get("state", [""])[0], query.get("code", [""])[0]
        is_ours = secrets.compare_digest(state.encode(), self.server.state.encode()) and code != ""
        body = DONE if is_ours else NOT_IT
        self.send_response(200 if is_ours else 404)
        for name, value in (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("Content-Security-Policy", "default-src 'none'"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if is_ours and self.server.code is None:
            self.server.code = code
            self.server.arrived.set()

    def log_message(self, *_: object) -> None:
        """Say nothing: the address holds the code."""


def key_by_browser(
    url: str, open_page: Callable[[str, str], object], *, wait_s: float = WAIT_S
) -> str:
    """A key for whom the browser is signed in as; it ends by itself.

    url: of the service, without a slash at its end.
    open_page: takes the address to open, and the code that the page must show too.

    Raises:
        SignInFailed: nobody came back, or the service did not take the code.
        httpx.TransportError: the service does not answer.
    """
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    challenge = _base64(hashlib.sha256(verifier.encode()).digest())
    listener = Listener(state)
    query = {"port": listener.server_port, "challenge": challenge, "state": state}
    open_page(f"{url}/v1/auth/loopback?{urlencode(query)}", shown_code(challenge))
    body = {"code": listener.wait(wait_s), "verifier": verifier}
    answer = httpx.post(f"{url}/v1/auth/loopback/key", json=body, timeout=TIMEOUT_S)
    document: dict[str, Any] = answer.json() if answer.is_success else {}
    if not isinstance(document.get("key"), str):
        raise SignInFailed("the service did not take the code; sign in anew")
    return str(document["key"])


def shown_code(challenge: str) -> str:
    """What the page shows too, so that a person sees that the two belong together."""
    digest = hashlib.sha256(challenge.encode()).hexdigest()[:8].upper()
    return f"{digest[:4]}-{digest[4:]}"


def _base64(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()
