"""One signed POST to a webhook: to an address that was looked at, no further, and not for long.

The connection goes to the very address that was allowed, so a name that answers otherwise a moment
later leads nowhere. No redirect is followed, no proxy of the environment is asked, and of an answer
only its status is read.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import httpcore

from app.domain.webhooks import Target, is_allowed

# of one attempt, from the first look at the name to the status
DEADLINE_S: Final = 5.0
TIMEOUTS: Final = dict.fromkeys(("connect", "read", "write", "pool"), DEADLINE_S)


class AddressRefused(Exception):
    """No address of the name may be reached from here."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one attempt; `failure` is None where the receiver took it."""

    failure: str | None


class AllowedAddresses(httpcore.AsyncNetworkBackend):
    """Connects to the addresses of one target that may be reached, and to no other."""

    def __init__(self, target: Target, networks: tuple[str, ...]) -> None:
        self._target = target
        self._networks = networks
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first allowed address of the host that answers.

        Raises:
            AddressRefused: it has none.
        """
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(each[4][0]) for each in found]
        allowed = [a for a in addresses if is_allowed(a, self._target, self._networks)]
        if not allowed:
            raise AddressRefused
        for address in allowed[:-1]:
            try:
                return await self._plain.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except httpcore.ConnectError:
                continue
        return await self._plain.connect_tcp(
            allowed[-1], port, timeout, local_address, socket_options
        )


async def post(
    target: Target, headers: Mapping[str, str], body: bytes, networks: tuple[str, ...]
) -> Attempt:
    """Send a body and say what came of it, in at most `DEADLINE_S`; the network raises nothing."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            status = await _status(target, headers, body, networks)
    except (TimeoutError, httpcore.TimeoutException):
        return Attempt("timeout")
    except AddressRefused:
        return Attempt("address-refused")
    except socket.gaierror:
        return Attempt("name-unknown")
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError):
        return Attempt("not-reachable")
    return Attempt(None if 200 <= status < 300 else f"status-{status}")


async def _status(
    target: Target, headers: Mapping[str, str], body: bytes, networks: tuple[str, ...]
) -> int:
    url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
    sent = [
        ("host", target.authority),
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("user-agent", "epsilon-ledger"),
        *headers.items(),
    ]
    async with (
        httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context() if target.scheme == "https" else None,
            network_backend=AllowedAddresses(target, networks),
        ) as pool,
        pool.stream(
            "POST", url, headers=sent, content=body, extensions={"timeout": TIMEOUTS}
        ) as answer,
    ):
        return answer.status
