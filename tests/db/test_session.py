"""Transactions on both databases: durable, exclusive where they write, and one clock."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.orm import Session, sessionmaker

from app.db.session import (
    assert_durable,
    database_now,
    make_engine,
    make_session_maker,
    snapshot,
    transaction,
)

CAP = 100
THREADS = 8
TRIES_EACH = 30


def test_a_fresh_database_is_durable(engine: Engine) -> None:
    assert_durable(engine)


def test_an_engine_of_another_database_is_refused() -> None:
    with pytest.raises(ValueError, match="SQLite or PostgreSQL"):
        make_engine("mysql+pymysql://root@127.0.0.1/test")


def test_the_start_up_check_finds_an_engine_that_begins_deferred(sqlite_url: str) -> None:
    careless = create_engine(sqlite_url)

    @event.listens_for(careless, "connect")
    def set_up(dbapi_connection: object, _record: object) -> None:
        for pragma in ("foreign_keys = ON", "recursive_triggers = ON", "synchronous = FULL"):
            dbapi_connection.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]

    with pytest.raises(RuntimeError, match="do not begin IMMEDIATE"):
        assert_durable(careless)
    careless.dispose()


def test_read_check_write_never_passes_a_cap(make_session: sessionmaker[Session]) -> None:
    """SQLAlchemy's own way over SQLite admitted 385 of a cap of 100 in this very race."""
    with transaction(make_session) as session:
        session.execute(text("CREATE TABLE counters (id INTEGER PRIMARY KEY, spent INTEGER)"))
        session.execute(text("INSERT INTO counters VALUES (1, 0)"))
    admitted = []

    def spend() -> None:
        for _ in range(TRIES_EACH):
            with transaction(make_session) as session:
                lock = "" if session.get_bind().dialect.name == "sqlite" else " FOR UPDATE"
                spent = session.scalar(text(f"SELECT spent FROM counters WHERE id = 1{lock}"))
                if spent < CAP:
                    session.execute(text("UPDATE counters SET spent = :new"), {"new": spent + 1})
                    admitted.append(spent)

    threads = [threading.Thread(target=spend) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(admitted) == list(range(CAP))


def test_a_snapshot_changes_nothing_and_waits_for_no_writer(
    make_session: sessionmaker[Session],
) -> None:
    with transaction(make_session) as writer:
        now = database_now(writer)
        writer.execute(
            text("INSERT INTO projects (id, name, created_at) VALUES (:id, 'p', :at)"),
            {"id": "0" * 32, "at": now.isoformat()},
        )
        with snapshot(make_session) as reader:
            assert reader.scalar(text("SELECT count(*) FROM projects")) == 0
    with snapshot(make_session) as reader:
        reader.execute(text("DELETE FROM projects"))
    with snapshot(make_session) as reader:
        assert reader.scalar(text("SELECT count(*) FROM projects")) == 1


def test_the_database_clock_is_utc_and_moves_on(make_session: sessionmaker[Session]) -> None:
    with snapshot(make_session) as session:
        first, second = database_now(session), database_now(session)
    assert first.utcoffset() == timedelta(0)
    assert first <= second < first + timedelta(minutes=1)


def test_two_engines_of_one_database_share_its_rules(database_url: str) -> None:
    engines = [make_engine(database_url) for _ in range(2)]
    for engine in engines:
        assert_durable(engine)
        with snapshot(make_session_maker(engine)) as session:
            assert session.scalar(text("SELECT count(*) FROM entries")) == 0
        engine.dispose()
