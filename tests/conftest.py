"""Fixtures of databases and brokers: real servers, one fresh database per test."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.orm import Session, sessionmaker

# several processes share the cores; threads that spin for each other in all of them cost most
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.clean_databases import CleanDatabases
from tests.servers import leased_database, postgresql_server, redis_server

# The machine may be busy: a slow example is no fault of the law under test.
hypothesis_settings.register_profile("house", deadline=None)
hypothesis_settings.load_profile("house")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[URL]:
    """A PostgreSQL server; the address is of a database that stays as it is."""
    with postgresql_server() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql: URL) -> Iterator[str]:
    """Name of a database at the newest schema, to be cloned and never written to."""
    from app.db.migrate import upgrade

    name = new_database_name()
    run_outside_transaction(postgresql, f"CREATE DATABASE {name}")
    try:
        upgrade(address(postgresql, name))
        yield name
    finally:
        run_outside_transaction(postgresql, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file at the newest schema, to be copied and never written to."""
    from app.db.migrate import upgrade

    path = tmp_path_factory.mktemp("sqlite") / "migrated.sqlite3"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """Address of a fresh SQLite database at the newest schema."""
    path = tmp_path / "ledger.sqlite3"
    with (
        closing(sqlite3.connect(migrated_sqlite)) as source,
        closing(sqlite3.connect(path)) as target,
    ):
        source.backup(target)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def clean_databases(postgresql: URL, migrated_postgresql: str) -> Iterator[CleanDatabases]:
    """PostgreSQL databases at the newest schema, given from test to test as good as new."""
    databases = CleanDatabases(postgresql, migrated_postgresql)
    yield databases
    databases.drop_all()


@pytest.fixture
def postgresql_url(postgresql: URL, clean_databases: CleanDatabases) -> Iterator[str]:
    """Address of a PostgreSQL database at the newest schema in which nothing has been done yet."""
    name = clean_databases.lease(new_database_name())
    yield address(postgresql, name)
    clean_databases.give_back(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Address of a fresh database at the newest schema; the test runs once on each of the two."""
    url = request.getfixturevalue(f"{request.param}_url")
    assert isinstance(url, str)
    return url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on `database_url`, made the way the service makes it."""
    from app.db.session import make_engine

    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def make_session(engine: Engine) -> sessionmaker[Session]:
    """The session maker on `engine`, made the way the service makes it."""
    from app.db.session import make_session_maker

    return make_session_maker(engine)


@pytest.fixture
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Makes the address of a database without any schema, of the kind asked for: for migrations."""

    def make(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path / 'empty.sqlite3'}"
        server: URL = request.getfixturevalue("postgresql")
        name = new_database_name()
        run_outside_transaction(server, f"CREATE DATABASE {name}")
        request.addfinalizer(
            lambda: run_outside_transaction(server, f"DROP DATABASE {name} WITH (FORCE)")
        )
        return address(server, name)

    return make


@pytest.fixture(scope="session")
def redis_address() -> Iterator[str]:
    """A Redis or Valkey server."""
    with redis_server() as url:
        yield url


@pytest.fixture
def redis_url(redis_address: str) -> Iterator[str]:
    """Address of an empty broker database that this test has to itself."""
    with leased_database(redis_address) as url:
        yield url


def new_database_name() -> str:
    """A name no other run uses."""
    return f"epsilon_test_{os.getpid()}_{os.urandom(5).hex()}"


def address(server: URL, database: str) -> str:
    """The address of one database of the server, password included."""
    return server.set(database=database).render_as_string(hide_password=False)


def run_outside_transaction(server: URL, statement: str) -> None:
    """Run one statement that takes no transaction, such as CREATE DATABASE."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
