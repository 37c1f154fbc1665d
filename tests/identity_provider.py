"""An identity provider as a process of its own: OpenID Connect's code flow, with its own keys.

`python -m tests.identity_provider PORT CLIENT_ID` says `ready` when it answers; the client's secret
comes by the environment. Whoever is asked for a name may answer with one that ends in `!fault`: the
token is then wrong in that one way. It shares no code with the service.
"""

import base64
import hashlib
import html
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey

CLIENT_ID = "epsilon-ledger"
CLIENT_SECRET = "a secret/with+signs"
# what each fault does to a token that is right
FAULTS: dict[str, dict[str, Any]] = {
    "issuer": {"iss": "https://elsewhere.example"},
    "audience": {"aud": "another-client"},
    "audiences": {"aud": ["another-client", CLIENT_ID], "azp": "another-client"},
    "nonce": {"nonce": "of another sign-in"},
    "expired": {"exp": 1_700_000_000},
    "tomorrow": {"iat": 4_000_000_000},
    "nobody": {"sub": ""},
}
SIGNED_WRONGLY = ("unsigned", "hmac", "stranger", "altered")


@dataclass
class Asked:
    """One authorization request, answered by a code."""

    name: str
    client_id: str
    redirect_uri: str
    nonce: str
    challenge: str


class Provider(ThreadingHTTPServer):
    """keys: the newest last; codes: by their text, each good once."""

    def __init__(self, port: int, client_id: str, client_secret: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.issuer = f"http://127.0.0.1:{self.server_port}"
        self.client = (client_id, client_secret)
        self.keys = [new_key()]
        self.codes: dict[str, Asked] = {}

    def id_token(self, asked: Asked) -> str:
        name, _, fault = asked.name.partition("!")
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": f"subject-of-{name}",
            "aud": asked.client_id,
            "exp": now + 300,
            "iat": now,
            "nonce": asked.nonce,
            "email": f"{name.upper()}@example.org",
            "email_verified": fault != "unverified",
        }
        claims |= FAULTS.get(fault, {})
        if fault == "rotated":
            self.keys.append(new_key())
        key = self.keys[-1]
        header = {"alg": "RS256", "kid": key.kid}
        if fault == "stranger":
            # the name of our key, and another key
            return jwt.encode(header, claims, new_key())
        if fault == "hmac":
            # the public key, as everybody has it, taken for a shared secret
            shared = OctKey.import_key(key.as_pem(private=False))
            return jwt.encode({"alg": "HS256", "kid": key.kid}, claims, shared)
        if fault == "unsigned":
            parts = [{"alg": "none"}, claims]
            return ".".join(_base64(json.dumps(part).encode()) for part in parts) + "."
        token = jwt.encode(header, claims, key)
        if fault == "altered":
            head, _, signature = token.split(".")
            body = json.dumps({**claims, "sub": "subject-of-ada"}).encode()
            return f"{head}.{_base64(body)}.{signature}"
        return token


class Handler(BaseHTTPRequestHandler):
    """The four endpoints."""

    server: Provider

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/.well-known/openid-configuration":
            issuer = self.server.issuer
            self._json(
                {
                    "issuer": issuer,
                    "authorization_endpoint": f"{issuer}/authorize",
                    "token_endpoint": f"{issuer}/token",
                    "jwks_uri": f"{issuer}/keys",
                    "response_types_supported": ["code"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                    "code_challenge_methods_supported": ["S256"],
                }
            )
        elif url.path == "/keys":
            public: Any = KeySet(list(self.server.keys)).as_dict(private=False)
            self._json(public)
        elif url.path == "/authorize" and _is_complete(asked, self.server.client[0]):
            fields = "".join(
                f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
                for name, value in asked.items()
            )
            page = f'<form method="post"><input name="name" id="name">{fields}<button>in</button>'
            self._answer(200, page.encode(), "text/html")
        else:
            self._json({"error": "invalid_request"}, 400)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        sent = {n: v[0] for n, v in parse_qs(self.rfile.read(length).decode()).items()}
        if urlsplit(self.path).path == "/token":
            self._token(sent)
        elif sent.get("name") == "refused":
            self._back(sent["redirect_uri"], {"error": "access_denied", "state": sent["state"]})
        else:
            code = secrets.token_urlsafe(32)
            self.server.codes[code] = Asked(
                name=sent["name"],
                client_id=sent["client_id"],
                redirect_uri=sent["redirect_uri"],
                nonce=sent["nonce"],
                challenge=sent["code_challenge"],
            )
            # with a parameter of our own, as providers do it
            found = {"code": code, "state": sent["state"], "session_state": "x"}
            self._back(sent["redirect_uri"], {**found, "iss": self.server.issuer})

    def _token(self, sent: dict[str, str]) -> None:
        asked = self.server.codes.pop(sent.get("code", ""), None)
        verifier = sent.get("code_verifier", "")
        made = _base64(hashlib.sha256(verifier.encode()).digest())
        if self._client() != self.server.client:
            self._json({"error": "invalid_client"}, 401)
        elif (
            asked is None
            or sent.get("grant_type") != "authorization_code"
            or sent.get("redirect_uri") != asked.redirect_uri
            or made != asked.challenge
        ):
            self._json({"error": "invalid_grant"}, 400)
        else:
            token = {"access_token": "unused", "token_type": "Bearer", "expires_in": 300}
            self._json({**token, "id_token": self.server.id_token(asked)})

    def _client(self) -> tuple[str, str]:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        name, _, secret = base64.b64decode(value).decode().partition(":")
        return (unquote(name), unquote(secret)) if kind == "Basic" else ("", "")

    def _back(self, redirect_uri: str, query: dict[str, str]) -> None:
        self.send_response(303)
        self.send_header("Location", f"{redirect_uri}?{urlencode(query)}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, document: dict[str, Any], status: int = 200) -> None:
        self._answer(status, json.dumps(document).encode(), "application/json")

    def _answer(self, status: int, body: bytes, media_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: addresses hold codes."""


def new_key() -> RSAKey:
    key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"})
    key.ensure_kid()
    return key


def _is_complete(asked: dict[str, str], client_id: str) -> bool:
    return (
        asked.get("response_type") == "code"
        and asked.get("client_id") == client_id
        and "openid" in asked.get("scope", "").split()
        and asked.get("code_challenge_method") == "S256"
        and all(asked.get(name) for name in ("redirect_uri", "state", "nonce", "code_challenge"))
    )


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


@contextmanager
def provider_process() -> Iterator[str]:
    """The provider as a process; gives its issuer."""
    command = [sys.executable, "-m", "tests.identity_provider", "0", CLIENT_ID]
    environment = {**os.environ, "CLIENT_SECRET": CLIENT_SECRET}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline().split()
            assert said[0] == "ready", said
            yield said[1]
        finally:
            process.terminate()


def main() -> None:
    server = Provider(int(sys.argv[1]), sys.argv[2], os.environ["CLIENT_SECRET"])
    print("ready", server.issuer, flush=True)  # noqa: T201 - the process speaks to its parent
    server.serve_forever()


if __name__ == "__main__":
    main()
