"""The servers of the tests are real, fresh and apart."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from app.dispatch import broker
from tests.servers import database_of, leased_database, redis_client, redis_server

pytestmark = pytest.mark.own_servers


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_empty_database_answers_and_holds_no_table(
    empty_database_url: Callable[[str], str], kind: str
) -> None:
    engine = create_engine(empty_database_url(kind))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x integer)"))
        assert connection.execute(text("SELECT count(*) FROM t")).scalar_one() == 0
    engine.dispose()


def test_two_leases_of_a_broker_never_share_a_message(redis_address: str) -> None:
    with (
        leased_database(redis_address) as one,
        leased_database(redis_address) as two,
        redis_client(one) as first,
        redis_client(two) as second,
    ):
        first.set("message", "x")
        assert second.get("message") is None
    with redis_client(one) as client:
        assert client.get("message") is None


def test_the_wheels_broker_serves_its_owner_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_REDIS_URL", raising=False)
    assert broker.find_server_of_wheel() is not None
    with redis_server() as url:
        path = url.removeprefix("redis+socket://").partition("?")[0]
        assert stat.S_IMODE(Path(path).stat().st_mode) & 0o077 == 0
        with redis_client(url) as client:
            assert client.config_get("port") == {"port": "0"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}


def test_a_broker_address_keeps_its_password_when_its_database_changes() -> None:
    assert database_of("redis://:secret@h:1/0", 7) == "redis://:secret@h:1/7"
    assert (
        database_of("redis+socket:///a/b?virtual_host=0", 7) == "redis+socket:///a/b?virtual_host=7"
    )
