"""Engines and transactions. One factory, so that no engine can forget the rules of its database.

SQLAlchemy's default over SQLite lets two read-check-write transactions interleave and overspend;
every write transaction here opens with BEGIN IMMEDIATE, and `assert_durable` proves it at start-up.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.orm import Session, sessionmaker

SessionMaker = sessionmaker[Session]

SQLITE_BUSY_TIMEOUT_MS = 30_000
# FastAPI's threads plus writer, relay and sweeper; a smaller pool would make them wait for a slot
POOL_SIZE = 48


def make_engine(url: str) -> Engine:
    """An engine for SQLite or PostgreSQL with durable commits.

    Raises:
        ValueError: another database.
    """
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        engine = create_engine(
            parsed, pool_size=POOL_SIZE, hide_parameters=True, connect_args={"timeout": 30}
        )
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if backend == "postgresql":
        return create_engine(
            parsed,
            pool_size=POOL_SIZE,
            pool_pre_ping=True,
            # an error's text reaches logs; the values of a statement must not
            hide_parameters=True,
            isolation_level="READ COMMITTED",
            connect_args={"options": "-c synchronous_commit=on -c timezone=UTC"},
        )
    raise ValueError(f"the ledger runs on SQLite or PostgreSQL, not on {backend!r}")


def make_session_maker(engine: Engine) -> SessionMaker:
    """Sessions whose rows stay readable after their transaction has ended."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def transaction(make_session: SessionMaker) -> Iterator[Session]:
    """One write transaction: commits at the end of the block, rolls back on any exception."""
    with make_session() as session, session.begin():
        yield session


@contextmanager
def snapshot(make_session: SessionMaker) -> Iterator[Session]:
    """One moment of the database, without blocking a writer; changes in it are thrown away."""
    with make_session() as session:
        options: dict[str, Any] = {"is_snapshot": True}
        if session.get_bind().dialect.name == "postgresql":
            # otherwise each statement would see a moment of its own, and a chain that grows
            # between two of them would look broken
            options["isolation_level"] = "REPEATABLE READ"
        session.connection(execution_options=options)
        yield session
        session.rollback()


def database_now(session: Session, *, lock_timeout: str | None = None) -> datetime:
    """UTC by the database's clock, so that processes on several machines share one time.

    lock_timeout: from here on the transaction gives up on a row that somebody else holds for this
        long; PostgreSQL only, in the same round trip. SQLite has its busy timeout.
    """
    if session.get_bind().dialect.name == "sqlite":
        raw = session.execute(text("SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')")).scalar_one()
        return datetime.fromisoformat(raw).replace(tzinfo=UTC)
    if lock_timeout is None:
        at: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
    else:
        asked = text("SELECT clock_timestamp(), set_config('lock_timeout', :lock_timeout, true)")
        at = session.execute(asked, {"lock_timeout": lock_timeout}).one()[0]
    return at.astimezone(UTC)


def assert_durable(engine: Engine) -> None:
    """Refuse to start where an acknowledged charge could be forgotten or two writers interleave.

    Raises:
        RuntimeError: names the setting that is wrong.
    """
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            _assert_sqlite(engine, connection)
            return
        for name in ("synchronous_commit", "fsync"):
            value = connection.execute(text(f"SHOW {name}")).scalar_one()
            if value != "on":
                raise RuntimeError(f"PostgreSQL {name} is {value!r}; the ledger needs 'on'")


def _assert_sqlite(engine: Engine, connection: Connection) -> None:
    for pragma, wanted in (
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("recursive_triggers", 1),
    ):
        value = connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one()
        if value != wanted:
            raise RuntimeError(f"SQLite {pragma} is {value!r}; the ledger needs {wanted!r}")
    # this connection is inside a transaction: a second writer must not be able to begin
    raw: Any = engine.raw_connection()
    try:
        raw.dbapi_connection.execute("PRAGMA busy_timeout = 0")
        try:
            raw.dbapi_connection.execute("BEGIN IMMEDIATE")
        except Exception as refused:
            if "locked" not in str(refused):
                raise
            return
        raw.dbapi_connection.execute("ROLLBACK")
        raise RuntimeError("SQLite write transactions do not begin IMMEDIATE; two could overspend")
    finally:
        raw.dbapi_connection.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_TIMEOUT_MS}")
        raw.close()


def _set_up_sqlite(dbapi_connection: Any, _record: Any) -> None:
    # the driver's own BEGIN is switched off: it is deferred, and comes only before a write
    dbapi_connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {SQLITE_BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        # without it INSERT OR REPLACE deletes a row and no delete trigger sees it (R21)
        "recursive_triggers = ON",
    ):
        dbapi_connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    is_snapshot = connection.get_execution_options().get("is_snapshot", False)
    connection.exec_driver_sql("BEGIN" if is_snapshot else "BEGIN IMMEDIATE")
