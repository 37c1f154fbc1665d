"""Where a webhook may point, and how what it is sent is signed.

The form is that of the Standard Webhooks specification (standardwebhooks.com, version 1), so that
receivers may use a library: three headers, and HMAC-SHA256 over id, time and body.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal
from urllib.parse import urlsplit

from app.domain.documents import read_text
from app.domain.errors import InvalidParameter

Address = IPv4Address | IPv6Address

URL_CHARACTERS_MOST: Final = 500
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what stands before one
HOST: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\.?")
PRINTABLE: Final = re.compile(r"[!-~]+")
# addresses of IPv4 written as IPv6 (RFC 6052): a translator would bring us to the inner one
TRANSLATED: Final = IPv6Network("64:ff9b::/96")

# the first failure waits this long, each further one twice as long
RETRY_FIRST_S: Final = 5.0
RETRY_MOST_S: Final = 3600.0
GIVE_UP_AFTER_S: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that was read.

    host: as a resolver takes it; of an IPv6 address without brackets.
    path: with the query, as it stands in the request line.
    """

    scheme: Literal["https", "http"]
    host: str
    port: int
    path: str

    @property
    def is_address(self) -> bool:
        """Whether it names its receiver by address: then nothing is resolved."""
        return _literal(self.host) is not None

    @property
    def authority(self) -> str:
        """Host and port as a request names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_usual = self.port == (443 if self.scheme == "https" else 80)
        return host if is_usual else f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it names this very machine, by address or as `localhost`."""
        return self.host == "localhost" or _is_loopback(_literal(self.host))


def parse_url(document: object, pointer: str = "/url") -> Target:
    """Validate where a webhook is sent: https anywhere, http to this machine alone.

    Raises:
        InvalidParameter: another scheme, a user or password, a fragment, or no usable host; what
        was sent is not repeated, a path may hold a secret.
    """
    text = read_text(document, pointer, most=URL_CHARACTERS_MOST)
    expected = "an address such as https://hooks.example/ledger is expected"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidParameter(pointer, expected) from None
    host = (parts.hostname or "").lower()
    is_host = HOST.fullmatch(host) is not None or _literal(host) is not None
    if PRINTABLE.fullmatch(text) is None or not is_host or parts.scheme not in ("https", "http"):
        raise InvalidParameter(pointer, expected)
    if parts.username is not None or parts.password is not None or "#" in text or port == 0:
        raise InvalidParameter(pointer, "no user, password or fragment, and no port 0")
    scheme: Literal["https", "http"] = "https" if parts.scheme == "https" else "http"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    target = Target(scheme, host, port or (443 if scheme == "https" else 80), path)
    if scheme == "http" and not target.is_loopback:
        raise InvalidParameter(pointer, "https is expected; http reaches this machine alone")
    return target


def parse_networks(text: str) -> tuple[str, ...]:
    """The networks of a setting, such as `10.20.0.0/16,fd12::/48`.

    Raises:
        ValueError: one of them is no network.
    """
    return tuple(str(ip_network(part.strip())) for part in text.split(",") if part.strip())


def is_allowed(address: str, target: Target, networks: Sequence[str]) -> bool:
    """Whether a request for a target may be sent to an address that its name resolved to.

    Public addresses may. This machine may only where the URL names it, so that nobody's name
    service leads there. Private, link-local and shared ones (among them the metadata services of
    clouds) may only where a network of the settings holds them.
    """
    real = _unwrapped(ip_address(address))
    if target.is_loopback:
        return real.is_loopback
    if any(real in ip_network(network) for network in networks):
        return True
    return real.is_global and not real.is_multicast and not real.is_reserved


def retry_wait_s(attempts: int) -> float:
    """Seconds until the next attempt, after so many that failed."""
    return min(RETRY_FIRST_S * 2.0 ** min(attempts - 1, 30), RETRY_MOST_S)


def derived_secret(master: bytes, webhook_id: bytes) -> bytes:
    """The 32 bytes that sign for one webhook: of a key outside the database and the id inside."""
    return hmac.digest(master, b"epsilon-ledger webhook secret\x00" + webhook_id, "sha256")


def secret_text(secret: bytes) -> str:
    """A secret as its receiver keeps it."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def secret_sha256(secret: bytes) -> str:
    """What is kept of a secret of 256 bits, to notice that its key is another one."""
    return hashlib.sha256(secret).hexdigest()


def signed_headers(
    secrets: Sequence[bytes], delivery_id: str, timestamp_s: int, body: bytes
) -> dict[str, str]:
    """The three headers of a signed body.

    secrets: what signs; while a key is replaced there are two, and a receiver takes either.
    timestamp_s: Unix time of this attempt; a receiver refuses old ones, so that nobody who has
        seen a request can send it again later, and drops ids that it has seen.
    """
    signed = f"{delivery_id}.{timestamp_s}.".encode() + body
    signatures = [
        base64.b64encode(hmac.digest(secret, signed, "sha256")).decode() for secret in secrets
    ]
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{each}" for each in signatures),
    }


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_loopback(address: Address | None) -> bool:
    return address is not None and _unwrapped(address).is_loopback


def _unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that stands for it."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
