"""The service's role on PostgreSQL runs the whole service and cannot alter what was (R21)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import DatabaseError

from app.db.grants import APPEND_ONLY, RoleRefused, grant
from app.db.migrate import is_at_head
from app.db.session import make_engine, make_session_maker, snapshot, transaction
from app.services.sweep import sweep
from tests.conftest import address, new_database_name, run_outside_transaction
from tests.services.test_checkpoints import notary
from tests.services.test_recovery import compare, start
from tests.world import World, new_world

PURE = {"type": "pure", "epsilon": "0.01"}


@pytest.fixture
def role(postgresql: URL) -> Iterator[str]:
    with new_role(postgresql) as name:
        yield name


@contextmanager
def new_role(postgresql: URL) -> Iterator[str]:
    """A role that may log in and nothing else; a name that has to be quoted."""
    name = f"epsilon Service {os.urandom(4).hex()}"
    run_outside_transaction(postgresql, f"CREATE ROLE \"{name}\" LOGIN PASSWORD 'of-a-test'")
    yield name
    run_outside_transaction(postgresql, f'DROP OWNED BY "{name}"')
    run_outside_transaction(postgresql, f'DROP ROLE "{name}"')


@pytest.fixture
def granted_url(postgresql_url: str, role: str) -> Iterator[str]:
    """The database as the role reaches it, after the command of the owner."""
    owner = make_engine(postgresql_url)
    grant(owner, role)
    grant(owner, role)  # again after every migration
    yield (
        make_url(postgresql_url)
        .set(username=role, password="of-a-test")
        .render_as_string(hide_password=False)
    )
    run_outside_transaction(make_url(postgresql_url), f'DROP OWNED BY "{role}"')
    owner.dispose()


@pytest.fixture(scope="module")
def refusing(
    postgresql: URL, migrated_postgresql: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A house with some history, for attempts that are all refused: nothing changes in it."""
    name = new_database_name()
    run_outside_transaction(postgresql, f"CREATE DATABASE {name} TEMPLATE {migrated_postgresql}")
    try:
        with new_role(postgresql) as role:
            owner = make_engine(address(postgresql, name))
            grant(owner, role)
            url = make_url(address(postgresql, name)).set(username=role, password="of-a-test")
            engine = make_engine(url.render_as_string(hide_password=False))
            home = tmp_path_factory.mktemp("refusing")
            with new_world(make_session_maker(engine), home) as made:
                made.reserve(made.open_root(), PURE, 1)
                notary(made).make()
                yield made
            engine.dispose()
            with owner.begin() as connection:
                connection.execute(text(f'DROP OWNED BY "{role}"'))
            owner.dispose()
    finally:
        run_outside_transaction(postgresql, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def world(granted_url: str, tmp_path: Path) -> Iterator[World]:
    engine = make_engine(granted_url)
    with new_world(make_session_maker(engine), tmp_path) as made:
        yield made
    engine.dispose()


def test_the_role_runs_the_whole_life_of_the_service(world: World, role: str) -> None:
    with transaction(world.make_session) as session:
        assert session.scalar(text("SELECT current_user")) == role
    assert is_at_head(world.make_session.kw["bind"])
    root = world.open_root("pure/1", "2")
    team = world.open_allocation(root, "1")
    held = world.reserve(team, PURE, 3)
    start(world, held, 2)
    world.reservations.commit(world.engineer, UUID(held["id"]), held["fence"], None)
    world.submit(team)
    world.change(team, "freeze")
    world.change(team, "thaw")
    world.change(team, "lower", epsilon=Decimal("0.5"))
    assert notary(world).make().checkpoint is not None
    assert compare(world).missing == 0
    sweep(world.make_session, resend_after_s=0)
    assert world.verified()


@pytest.mark.parametrize("table", sorted(APPEND_ONLY))
@pytest.mark.parametrize(
    "attempt",
    [
        "UPDATE {table} SET {column} = {column}",
        "DELETE FROM {table}",
        "TRUNCATE {table} CASCADE",
        "ALTER TABLE {table} DISABLE TRIGGER ALL",
        "ALTER TABLE {table} DISABLE TRIGGER USER",
        "DROP TRIGGER {table}_no_update ON {table}",
        "CREATE TRIGGER mine BEFORE INSERT ON {table} EXECUTE FUNCTION {table}_append_only()",
        "CREATE OR REPLACE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN NULL; END $$",
        "SET session_replication_role = replica",
        "ALTER TABLE {table} RENAME TO other",
        "CREATE RULE mine AS ON INSERT TO {table} DO INSTEAD NOTHING",
        "DROP TABLE {table} CASCADE",
        "SELECT * FROM {table} FOR UPDATE",
        "INSERT INTO {table} SELECT * FROM {table} ON CONFLICT DO UPDATE SET {column} = NULL",
    ],
)
def test_the_role_cannot_alter_history(refusing: World, table: str, attempt: str) -> None:
    columns = {"audit_events": "action", "prices": "document", "publications": "reason"}
    columns["approval_comments"] = "text"
    column = columns.get(table, "body")
    keys = {"prices": "digest", "checkpoints": "seq", "publications": "job_id"}
    key = keys.get(table, "id")
    statement = attempt.format(table=table, column=column).replace(
        "ON CONFLICT DO", f"ON CONFLICT ({key}) DO"
    )
    # refused for want of a right, before any trigger is asked
    with (
        pytest.raises(DatabaseError, match=r"permission denied|must be owner"),
        transaction(refusing.make_session) as session,
    ):
        session.connection().exec_driver_sql(statement.replace("%", "%%"))
    assert refusing.verified()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE standing SET changes = 0",
        "UPDATE idempotency_keys SET outcome = 'done'",
        "DELETE FROM idempotency_keys",
    ],
)
def test_the_role_sets_no_count_of_rights_back_and_alters_no_decision(
    refusing: World, statement: str
) -> None:
    with (
        pytest.raises(DatabaseError, match="permission denied"),
        transaction(refusing.make_session) as session,
    ):
        session.execute(text(statement))


def test_fences_that_the_owner_put_aside_still_leave_the_role_without_a_right(
    world: World, postgresql_url: str
) -> None:
    world.reserve(world.open_root(), PURE, 1)
    owner = make_engine(postgresql_url)
    with owner.begin() as connection:
        for table in APPEND_ONLY:
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
    owner.dispose()
    for statement in ("UPDATE entries SET body = '{}'", "DELETE FROM entries"):
        with (
            pytest.raises(DatabaseError, match="permission denied"),
            transaction(world.make_session) as session,
        ):
            session.execute(text(statement))
    assert world.verified()


def test_what_runs_as_the_owner_runs_nothing_of_the_role_s(world: World) -> None:
    """A temporary table is found before any other, and its triggers run as whoever writes to it."""
    takes_the_trail = (
        "CREATE TEMPORARY TABLE standing AS SELECT id, changes FROM standing",
        "GRANT ALL ON pg_temp.standing TO PUBLIC",
        "CREATE FUNCTION pg_temp.take() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " ALTER TABLE public.audit_events DISABLE TRIGGER USER;"
        " DELETE FROM public.audit_events; RETURN NULL; END $$",
        "CREATE TRIGGER take BEFORE UPDATE ON pg_temp.standing"
        " FOR EACH ROW EXECUTE FUNCTION pg_temp.take()",
        # the change of a right, which is counted as the owner of the tables
        "UPDATE principals SET name = 'else' WHERE name = 'outsider'",
    )
    with transaction(world.make_session) as session:
        for statement in takes_the_trail:
            session.connection().exec_driver_sql(statement)
    with snapshot(world.make_session) as session:
        assert session.scalar(text("SELECT count(*) FROM audit_events"))
        trigger = "SELECT tgenabled FROM pg_trigger WHERE tgname = 'audit_events_no_delete'"
        assert session.scalar(text(trigger)) in ("O", b"O")


def test_a_fence_asks_no_table_of_the_role_s_own(world: World) -> None:
    proposed = world.propose_root()["id"]
    answers = (
        "CREATE TEMPORARY TABLE approvals AS SELECT budget_id, 'used' AS state, subject_version,"
        " action FROM public.approvals"
    )
    opens = (
        "UPDATE budgets SET state = 'open', version = version + 1, opened_at = now()"
        f" WHERE id = '{proposed}'"
    )
    with (
        pytest.raises(DatabaseError, match="takes two people"),
        transaction(world.make_session) as session,
    ):
        for statement in (answers, opens):
            session.connection().exec_driver_sql(statement)


def test_every_fence_looks_for_tables_in_its_own_schema_first(world: World) -> None:
    with snapshot(world.make_session) as session:
        paths = session.execute(
            text(
                "SELECT p.proname, array_to_string(p.proconfig, ';') FROM pg_proc p"
                " WHERE p.pronamespace = current_schema()::regnamespace"
                " AND p.prorettype = 'trigger'::regtype"
            )
        ).all()
    assert paths
    assert {path for _, path in paths} == {"search_path=public, pg_temp"}


@pytest.mark.parametrize(
    ("made_by", "why"),
    [
        ("ALTER ROLE {role} SUPERUSER", "superuser"),
        ("ALTER ROLE {role} CREATEROLE", "superuser"),
        ("ALTER TABLE prices OWNER TO {role}", "owns tables"),
        ("GRANT {owner} TO {role}", "superuser|member"),
        ("GRANT pg_execute_server_program TO {role}", "superuser"),
        ("GRANT pg_write_all_data TO {role}", "member of 'pg_write_all_data'"),
        ("CREATE ROLE {group} SUPERUSER; GRANT {group} TO {role}", "superuser"),
        (
            "CREATE ROLE {group}; GRANT {group} TO {role}; ALTER ROLE {role} NOINHERIT;"
            " GRANT UPDATE ON entries TO {group}",
            "may alter entries",
        ),
        (
            "CREATE ROLE {group}; GRANT {group} TO {role};"
            " GRANT UPDATE (body) ON entries TO {group}",
            "may alter entries",
        ),
    ],
)
def test_a_role_that_could_alter_history_anyway_is_refused(
    postgresql_url: str, role: str, made_by: str, why: str
) -> None:
    engine = make_engine(postgresql_url)
    group = f"{role} group"
    with engine.begin() as connection:
        owner = connection.execute(text("SELECT current_user")).scalar_one()
        names = {"role": f'"{role}"', "owner": f'"{owner}"', "group": f'"{group}"'}
        connection.exec_driver_sql(made_by.format(**names))
    with pytest.raises(RoleRefused, match=why):
        grant(engine, role)
    with engine.begin() as connection:
        connection.execute(text(f'REASSIGN OWNED BY "{role}" TO CURRENT_USER'))
        connection.execute(text(f'DROP OWNED BY "{role}"'))
        if "{group}" in made_by:
            connection.execute(text(f'DROP OWNED BY "{group}"'))
            connection.execute(text(f'DROP ROLE "{group}"'))
    engine.dispose()


def test_a_role_that_is_not_there_is_refused(postgresql_url: str) -> None:
    engine = make_engine(postgresql_url)
    with pytest.raises(RoleRefused, match="no role"):
        grant(engine, 'no"body')
    engine.dispose()


def test_sqlite_has_no_roles(sqlite_url: str) -> None:
    engine = make_engine(sqlite_url)
    with pytest.raises(RoleRefused, match="SQLite"):
        grant(engine, "anybody")
    engine.dispose()
