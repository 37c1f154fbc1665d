"""A database that is given to another test holds nothing of the one before."""

import pytest
from sqlalchemy import URL, Engine, create_engine, text

from tests.clean_databases import CleanDatabases
from tests.conftest import new_database_name

ADD = "INSERT INTO audit_events (at, action, facts) VALUES (now(), 'done', '{}')"


@pytest.fixture
def databases(postgresql: URL, migrated_postgresql: str) -> CleanDatabases:
    return CleanDatabases(postgresql, migrated_postgresql)


def opened(databases: CleanDatabases, name: str) -> Engine:
    return create_engine(databases.server.set(database=name), isolation_level="AUTOCOMMIT")


def test_a_database_is_given_again_with_its_rows_gone_and_its_seeds_and_counters_back(
    databases: CleanDatabases,
) -> None:
    name = databases.lease(new_database_name())
    try:
        engine = opened(databases, name)
        with engine.connect() as connection:
            connection.execute(text(ADD))
            connection.execute(text("UPDATE standing SET changes = changes + 7"))
        engine.dispose()
        databases.give_back(name)
        assert databases.lease("never_made") == name
        engine = opened(databases, name)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM audit_events")) == 0
            connection.execute(text(ADD))
            assert connection.scalar(text("SELECT id FROM audit_events")) == 1
            seeds = connection.scalar(text("SELECT jsonb_agg(to_jsonb(t))::text FROM standing t"))
            assert seeds == databases.seeds["standing"]
        engine.dispose()
    finally:
        databases.drop_all()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE entries DISABLE TRIGGER entries_no_delete",
        "ALTER TABLE entries DISABLE TRIGGER ALL",
        "DROP TRIGGER entries_no_update ON entries",
        "ALTER TABLE outbox ADD COLUMN more integer",
        "GRANT SELECT ON entries TO public",
        "CREATE TABLE another (id integer)",
        "CREATE FUNCTION another() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA another",
    ],
)
def test_a_database_whose_schema_was_changed_is_given_to_nobody(
    databases: CleanDatabases, change: str
) -> None:
    name = databases.lease(new_database_name())
    try:
        engine = opened(databases, name)
        with engine.connect() as connection:
            connection.execute(text(change))
        engine.dispose()
        databases.give_back(name)
        assert databases.free == []
    finally:
        databases.drop_all()
