"""PostgreSQL databases at the newest schema, each as good as new when a test gets it.

Making and dropping a database forces the server to write everything out, which costs a test more
than most tests do. So a database is emptied and given to the next test, but only where its schema,
rights and settings are still those that the migrations made; any other is left to be dropped.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import URL, Connection, create_engine, text

# Everything of the catalog that a test could have changed and a plain DELETE does not undo.
FINGERPRINT = """
SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM (
    SELECT 'class ' || c.relname || c.relkind::text || coalesce(c.relacl::text, '')
        || c.relowner || coalesce(c.reloptions::text, '') || c.relrowsecurity AS line
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'column ' || attrelid::regclass || attname || atttypid || attnotnull
        || coalesce(attacl::text, '') || attisdropped
    FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
    WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'default ' || adrelid::regclass || adnum || pg_get_expr(adbin, adrelid) FROM pg_attrdef
    UNION ALL
    SELECT 'constraint ' || conrelid::regclass || conname || convalidated
        || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'index ' || indexrelid::regclass || indisvalid || pg_get_indexdef(indexrelid)
    FROM pg_index JOIN pg_class c ON c.oid = indexrelid
    WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'trigger ' || tgrelid::regclass || tgname || tgenabled::text || pg_get_triggerdef(oid)
    FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT 'internal trigger ' || tgrelid::regclass || tgtype || tgfoid || tgenabled::text
    FROM pg_trigger WHERE tgisinternal
    UNION ALL
    SELECT 'function ' || proname || coalesce(proacl::text, '') || proowner || prosecdef
        || coalesce(proconfig::text, '') || prosrc
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'namespace ' || nspname || nspowner || coalesce(nspacl::text, '')
    FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'
    UNION ALL
    SELECT 'database ' || datdba || coalesce(datacl::text, '') || datconnlimit || datallowconn
    FROM pg_database WHERE datname = current_database()
    UNION ALL
    SELECT 'setting ' || setrole || setconfig::text
    FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
    WHERE d.datname = current_database()
    UNION ALL
    SELECT 'extension ' || extname FROM pg_extension
) AS lines
"""
# Triggers that refuse to forget rows are what the tests are about; here they sleep.
EMPTY = """
DO $$ DECLARE found record; BEGIN
    SET LOCAL session_replication_role = replica;
    FOR found IN
        SELECT oid::regclass AS name FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    LOOP EXECUTE 'DELETE FROM ' || found.name; END LOOP;
    FOR found IN
        SELECT seqrelid::regclass AS name, seqstart FROM pg_sequence
    LOOP PERFORM setval(found.name, found.seqstart, false); END LOOP;
END $$
"""
LEAVE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
TABLES = """
SELECT oid::regclass::text FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


@dataclass(slots=True)
class CleanDatabases:
    """Databases cloned from one that is never written to.

    server: an address on the server, of any database but these.
    template: name of the database at the newest schema.
    """

    server: URL
    template: str
    fingerprint: str = ""
    seeds: dict[str, str] = field(default_factory=dict)  # what the migrations wrote, as JSON
    free: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        with self._connected(self.template) as connection:
            self.fingerprint = self._fingerprint(connection)
            for table in connection.scalars(text(TABLES)).all():
                rows = f"SELECT jsonb_agg(to_jsonb(t))::text FROM {table} t"
                held = connection.scalar(text(rows))
                if held is not None:
                    self.seeds[table] = held

    def lease(self, name: str) -> str:
        """A database with nothing in it but what the migrations wrote; `name` if one is made."""
        if self.free:
            return self.free.pop()
        with self._connected(self.server.database) as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {self.template}"))
        self.made.append(name)
        return name

    def give_back(self, name: str) -> None:
        """Empty a database for the next test, unless this one changed more than rows."""
        with self._connected(name) as connection:
            connection.execute(text(LEAVE))
            if self._fingerprint(connection) != self.fingerprint:
                return
            connection.execute(text(EMPTY))
            for table, rows in self.seeds.items():
                filled = f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset("
                connection.execute(text(filled + f"NULL::{table}, :rows)"), {"rows": rows})
        self.free.append(name)

    def drop_all(self) -> None:
        """Drop every database that was made here."""
        with self._connected(self.server.database) as connection:
            for name in self.made:
                connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))

    @contextmanager
    def _connected(self, database: str | None) -> Iterator[Connection]:
        engine = create_engine(self.server.set(database=database), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()

    @staticmethod
    def _fingerprint(connection: Connection) -> str:
        found: Any = connection.scalar(text(FINGERPRINT))
        return str(found)
