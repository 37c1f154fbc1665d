"""The role that the service has on PostgreSQL: it adds to history and cannot alter it (R21).

Migrations run as the owner of the tables. The service's own role has no UPDATE, DELETE, TRUNCATE or
TRIGGER on what is append-only, and owns nothing, so it can neither change a row there nor put a
trigger aside. Run again after a migration, since a new table is nobody's but its owner's.
"""

from typing import Final

from sqlalchemy import Connection, Engine, text

from app.db.models import Base

APPEND_ONLY: Final = frozenset(
    {"entries", "checkpoints", "prices", "audit_events", "publications", "approval_comments"}
)
# no trigger says so, but a decision is answered for ever as it was made (R16)
ADDED_TO: Final = APPEND_ONLY | {"idempotency_keys"}
# what the service takes rows out of: memberships and grants end, a withdrawn version never was
# a link of an identity too; failures to sign in are forgotten, workers that are gone, and the
# progress of jobs whose dataset is purged
SHRINKING: Final = frozenset(
    {
        "project_members",
        "dataset_grants",
        "dataset_versions",
        "linked_identities",
        "progress",
        "sign_in_failures",
        "worker_beats",
    }
)
# triggers count standing: whoever could set it back would give ended rights their force again (L5)
READ_ALONE: Final = frozenset({"alembic_version", "standing"})
# who is a member of one of these can reach the server's files or programs, and so everything
REACH_THE_SERVER: Final = ("pg_execute_server_program", "pg_write_server_files")


class RoleRefused(Exception):
    """The role cannot be the service's; the text says why."""


def grant(engine: Engine, role: str) -> None:
    """Give an existing role what the service needs, and take away whatever else it had.

    Raises:
        RoleRefused: this is no PostgreSQL; there is no such role; or it could alter history
            whatever is granted, as a superuser, an owner, or a member of one, or by what was
            granted to a role that it is a member of.
    """
    if engine.dialect.name != "postgresql":
        raise RoleRefused("roles are of PostgreSQL; a SQLite file belongs to whoever may write it")
    with engine.begin() as connection:
        _require_harmless(connection, role)
        name = engine.dialect.identifier_preparer.quote(role)
        for statement in _statements(connection, name):
            connection.execute(text(statement))
        _require_no_other_way(connection, role)


def _require_harmless(connection: Connection, role: str) -> None:
    known = connection.execute(
        text("SELECT count(*) FROM pg_roles WHERE rolname = :role"), {"role": role}
    ).scalar_one()
    if not known:
        raise RoleRefused(f"there is no role {role!r}: CREATE ROLE it with LOGIN first")
    # a member may SET ROLE, whatever it inherits
    mighty = connection.execute(
        text(
            "SELECT count(*) FROM pg_roles r WHERE pg_has_role(:role, r.oid, 'MEMBER')"
            " AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolreplication"
            " OR rolname = ANY(:server))"
        ),
        {"role": role, "server": list(REACH_THE_SERVER)},
    ).scalar_one()
    if mighty:
        raise RoleRefused(f"{role!r} is a superuser, or may make itself one")
    owns = connection.execute(
        text(
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = current_schema() AND pg_has_role(:role, c.relowner, 'MEMBER')"
        ),
        {"role": role},
    ).scalar_one()
    if owns:
        raise RoleRefused(f"{role!r} owns tables here, or is a member of a role that does")


def _require_no_other_way(connection: Connection, role: str) -> None:
    """What was granted to somebody else reaches the members of that role too."""
    found = connection.execute(
        text(
            "SELECT r.rolname, c.relname FROM pg_roles r, pg_class c"
            " WHERE pg_has_role(:role, r.oid, 'MEMBER')"
            " AND c.relnamespace = current_schema()::regnamespace AND c.relname = ANY(:tables)"
            " AND (has_table_privilege(r.oid, c.oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER')"
            " OR has_any_column_privilege(r.oid, c.oid, 'UPDATE')) LIMIT 1"
        ),
        {"role": role, "tables": sorted(ADDED_TO | READ_ALONE)},
    ).one_or_none()
    if found is not None:
        raise RoleRefused(f"{role!r} may alter {found.relname} as a member of {found.rolname!r}")


def _statements(connection: Connection, name: str) -> list[str]:
    schema = connection.execute(text("SELECT quote_ident(current_schema())")).scalar_one()
    database = connection.execute(text("SELECT quote_ident(current_database())")).scalar_one()
    statements = [
        f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {name}",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM PUBLIC",
        f"REVOKE ALL ON SCHEMA {schema} FROM {name}",
        f"GRANT CONNECT ON DATABASE {database} TO {name}",
        f"GRANT USAGE ON SCHEMA {schema} TO {name}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {name}",
    ]
    for table in sorted({*Base.metadata.tables, *READ_ALONE}):
        if table in READ_ALONE:
            rights = "SELECT"
        elif table in ADDED_TO:
            rights = "SELECT, INSERT"
        elif table in SHRINKING:
            rights = "SELECT, INSERT, UPDATE, DELETE"
        else:
            rights = "SELECT, INSERT, UPDATE"
        statements.append(f"GRANT {rights} ON {schema}.{table} TO {name}")
    return statements
