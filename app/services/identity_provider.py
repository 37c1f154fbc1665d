"""The identity provider of the house, by OpenID Connect: code flow with PKCE, state and nonce.

What belongs to one sign-in is derived from a secret that the browser holds in a cookie, so nothing
of it is kept here, and an answer that another browser brings fits no secret. What the provider
answers is believed after its signature, issuer, audience, nonce and times have been looked at.
"""

import hmac
import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from app.domain.sign_in import IdentityProviderFailed

SCOPE: Final = "openid email"
# none that would take the client's secret, or nothing at all, for a key
ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
TIMEOUT_S: Final = 5.0
ANSWER_BYTES_MOST: Final = 1_000_000
# the provider's description and keys are asked for again after so long; an unknown key, sooner
KEPT_S: Final = 3600.0
KEYS_AGAIN_S: Final = 30.0
CLOCKS_DIFFER_S: Final = 60
SUBJECT_MOST: Final = 255
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """Which provider, and as whom we are known to it; without a secret as a public client."""

    issuer: str
    client_id: str
    client_secret: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is by the provider's word.

    email: lower case; None unless the provider says that it has verified it.
    """

    issuer: str
    subject: str
    email: str | None


class IdentityProvider:
    """One provider, asked over HTTPS, or over HTTP on this very machine."""

    def __init__(self, settings: ProviderSettings) -> None:
        self.issuer = settings.issuer
        self._settings = settings
        self._lock = threading.Lock()
        self._metadata: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def authorization_url(self, secret: str, redirect_uri: str) -> str:
        """Where the browser goes to sign in.

        secret: of this one sign-in, with at least 128 bits.

        Raises:
            IdentityProviderFailed: it cannot be reached, or is not the one that was configured.
        """
        endpoint = self._endpoint("authorization_endpoint")
        url: str = prepare_grant_uri(
            endpoint,
            self._settings.client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=SCOPE,
            state=state_of(secret),
            nonce=_derived(secret, "nonce"),
            code_challenge=create_s256_code_challenge(_derived(secret, "verifier")),
            code_challenge_method="S256",
        )
        return url

    def identify(self, code: str, secret: str, redirect_uri: str) -> Identity:
        """Who came back with a code.

        Raises:
            IdentityProviderFailed: the code is not taken, or its token is not what was asked for.
        """
        body = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": _derived(secret, "verifier"),
        }
        answer = self._ask("POST", self._endpoint("token_endpoint"), body, what="token")
        id_token = answer.get("id_token")
        if not isinstance(id_token, str):
            raise IdentityProviderFailed("it gave no id_token")
        claims = self._verified(id_token, _derived(secret, "nonce"), answer.get("access_token"))
        subject, email = claims.get("sub"), claims.get("email")
        if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_MOST:
            raise IdentityProviderFailed("its token names nobody")
        is_verified = claims.get("email_verified") is True and isinstance(email, str)
        return Identity(self.issuer, subject, str(email).strip().lower() if is_verified else None)

    def _verified(self, id_token: str, nonce: str, access_token: object) -> CodeIDToken:
        try:
            token = self._decoded(id_token)
            claims = CodeIDToken(
                token.claims,
                token.header,
                options={
                    "iss": {"essential": True, "value": self.issuer},
                    "aud": {"essential": True, "value": self._settings.client_id},
                },
                params={
                    "nonce": nonce,
                    "client_id": self._settings.client_id,
                    "access_token": access_token,
                },
            )
            claims.validate(now=int(time.time()), leeway=CLOCKS_DIFFER_S)
        except (JoseError, ValueError, TypeError, KeyError) as refused:
            # the class only: the text of such an error can quote the token
            raise IdentityProviderFailed(
                f"its token is not to be believed ({type(refused).__name__})"
            ) from None
        return claims

    def _decoded(self, id_token: str) -> jwt.Token:
        try:
            return jwt.decode(id_token, self._key_set(KEPT_S), algorithms=ALGORITHMS)
        except InvalidKeyIdError:
            # signed by a key that is newer than what we hold, perhaps
            return jwt.decode(id_token, self._key_set(KEYS_AGAIN_S), algorithms=ALGORITHMS)

    def _key_set(self, kept_s: float) -> KeySet:
        with self._lock:
            known = self._keys
        if known is not None and time.monotonic() - known[0] < kept_s:
            return known[1]
        document = self._ask("GET", self._endpoint("jwks_uri"), None, what="keys")
        try:
            keys = KeySet.import_key_set(document)  # type: ignore[arg-type]  # looked at by it
        except (JoseError, ValueError, TypeError, KeyError):
            raise IdentityProviderFailed("its keys cannot be read") from None
        with self._lock:
            self._keys = (time.monotonic(), keys)
        return keys

    def _endpoint(self, name: str) -> str:
        url = self._described().get(name)
        if not isinstance(url, str) or not is_secure_url(url):
            raise IdentityProviderFailed(f"it describes no usable {name}")
        return url

    def _described(self) -> dict[str, Any]:
        with self._lock:
            known = self._metadata
        if known is not None and time.monotonic() - known[0] < KEPT_S:
            return known[1]
        url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        document = self._ask("GET", url, None, what="description")
        if document.get("issuer") != self.issuer:
            raise IdentityProviderFailed("it calls itself by another issuer")
        with self._lock:
            self._metadata = (time.monotonic(), document)
        return document

    def _ask(
        self, method: str, url: str, body: Mapping[str, str] | None, *, what: str
    ) -> dict[str, Any]:
        """One JSON object from the provider; no redirect is followed."""
        try:
            with (
                httpx.Client(timeout=TIMEOUT_S, follow_redirects=False) as client,
                client.stream(
                    method,
                    url,
                    data=None if body is None else {**body, **self._client_in_body()},
                    auth=None if body is None else self._client_in_header(),
                    headers={"Accept": "application/json"},
                ) as answer,
            ):
                taken = b""
                for piece in answer.iter_bytes():
                    taken += piece
                    if len(taken) > ANSWER_BYTES_MOST:
                        raise IdentityProviderFailed(f"its {what} is too long")
                status = answer.status_code
            document = json.loads(taken) if status == 200 else None
        except (httpx.HTTPError, ValueError, RecursionError):
            raise IdentityProviderFailed(f"its {what} cannot be had") from None
        if not isinstance(document, dict):
            raise IdentityProviderFailed(f"its {what} was refused")
        return document

    def _by_header(self) -> bool:
        methods = self._described().get("token_endpoint_auth_methods_supported")
        return not isinstance(methods, list) or "client_secret_basic" in methods

    def _client_in_header(self) -> tuple[str, str] | None:
        if not self._settings.client_secret or not self._by_header():
            return None
        # RFC 6749, 2.3.1: both are form-encoded before they are joined
        return quote(self._settings.client_id, ""), quote(self._settings.client_secret, "")

    def _client_in_body(self) -> dict[str, str]:
        who = {"client_id": self._settings.client_id}
        if self._settings.client_secret and not self._by_header():
            who["client_secret"] = self._settings.client_secret
        return who


def state_of(secret: str) -> str:
    """What the provider has to give back with its answer to this sign-in."""
    return _derived(secret, "state")


def is_state(given: str, secret: str) -> bool:
    """Whether an answer is to the sign-in that this secret is of, in constant time."""
    return hmac.compare_digest(given.encode(), state_of(secret).encode())


def is_secure_url(url: str) -> bool:
    """Whether what goes there is seen by nobody on the way."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK))


def _derived(secret: str, name: str) -> str:
    digest = hmac.digest(secret.encode(), f"epsilon-ledger sign-in {name} v1".encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
