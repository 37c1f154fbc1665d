"""Tables of databases that others run: the same plan, in their dialect, in one read-only look.

The database computes the bounded integers and nothing else; noise and thresholds stay here. Before
anything is spent its catalog is compared with the declared schema, and every statement is planned
by it without being run (`EXPLAIN`): what it cannot do is refused there. Rows are read afterwards,
in one snapshot and within a time limit.

A value that is not of its declared type has none, as in files: no error may depend on one row.
PostgreSQL keeps its types, so columns are held against their declarations; SQLite does not, so each
value is looked at. Texts compare by their bytes, since a collation could make one unit of two.
"""

import hashlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from sqlglot import exp

from app.domain.columns import Column
from workers.engines.api import EngineRefused, LiveTable
from workers.engines.credentials import read_secret
from workers.engines.query.dialects import POSTGRES, SQLITE, Dialect
from workers.engines.rows import TABLE, RowsUnreadable

Row = tuple[Any, ...]

DIALECTS: Final[dict[str, Dialect]] = {"postgresql": POSTGRES, "sqlite": SQLITE}
TIME_LIMIT_S: Final = 1800
_CONNECT_S: Final = 10
# What the catalog may say of a column, and the type that all of these fit into.
_POSTGRESQL_TYPES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "int64": ("BIGINT", ("bigint", "integer", "smallint")),
    "float64": ("DOUBLE", ("double precision", "real")),
    "float32": ("DOUBLE", ("double precision", "real")),
    "string": ("TEXT", ("text", "character varying")),
    "bool": ("BOOLEAN", ("boolean",)),
    "date": ("DATE", ("date",)),
    "timestamp": ("TIMESTAMP", ("timestamp without time zone",)),
}
_SQLITE_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "int64": ("integer",),
    "float64": ("real", "integer"),
    "float32": ("real", "integer"),
    "bool": ("integer",),
}
_ENCRYPTED: Final = ("require", "verify-ca", "verify-full")
_CATALOG: Final = (
    "SELECT column_name, data_type FROM information_schema.columns"
    " WHERE table_schema = %s AND table_name = %s"
)
_MAY_DO_MORE: Final = (
    "SELECT rolsuper OR has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')"
    " FROM pg_catalog.pg_roles, pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE rolname = current_user AND n.nspname = %s AND c.relname = %s"
)


class Database(Protocol):
    """One open, read-only look at a database."""

    def columns(self) -> dict[str, str]:
        """The columns of the table and their types, by the catalog; empty where there is none."""

    def plan(self, sql: str) -> None:
        """Have a statement planned, which reads no row of the table."""

    def run(self, sql: str) -> list[Row]:
        """The rows of a statement."""


def live_columns(table: LiveTable, columns: Sequence[Column]) -> exp.Select:
    """The wanted columns in their declared types; a value of another type is NULL."""
    value = _postgresql_value if table.kind == "postgresql" else _sqlite_value
    selected = [exp.alias_(value(column), column.name, quoted=True) for column in columns]
    query = exp.select(*(selected or [exp.alias_(exp.Literal.number(1), "row")]))
    schema, _, name = table.name.rpartition(".")
    return query.from_(exp.table_(name, db=schema or None, quoted=True))


def over_live(
    query: exp.Select, table: LiveTable, columns: Sequence[Column], dialect: Dialect
) -> str:
    """A statement of the plan with the live table in the place of the attached one."""
    named = exp.CTE(
        this=live_columns(table, columns), alias=exp.TableAlias(this=exp.to_identifier(TABLE))
    )
    # Those that read it are after it.
    query.args["with_"].expressions.insert(0, named)
    return query.sql(dialect=dialect.name)


def check_live(table: LiveTable, columns: Sequence[Column], statements: Sequence[str]) -> None:
    """Refuse what the database cannot do, by its catalog and its planner; reads no row.

    Raises:
        EngineRefused: there is no secret, no connection, no such column of such a type, or a
            statement that the database does not plan.
    """
    if any(column.shape for column in columns):
        raise EngineRefused("a live table has plain columns only")
    try:
        with open_live(table, time_limit_s=_CONNECT_S) as database:
            _check_columns(database.columns(), table, columns)
            for sql in statements:
                database.plan(sql)
    except RowsUnreadable:
        # its own words can hold an address or a name, so none
        raise EngineRefused("the database does not answer, or cannot run this plan") from None


def _check_columns(found: dict[str, str], table: LiveTable, columns: Sequence[Column]) -> None:
    for column in columns:
        kind = found.get(column.name)
        if kind is None:
            raise EngineRefused(f"the live table shows no column {column.name!r} to this role")
        if table.kind == "postgresql" and kind not in _POSTGRESQL_TYPES[column.type][1]:
            fitting = " or ".join(_POSTGRESQL_TYPES[column.type][1])
            raise EngineRefused(f"the column {column.name!r} is not of type {fitting}")


@contextmanager
def open_live(table: LiveTable, *, time_limit_s: int = TIME_LIMIT_S) -> Iterator[Database]:
    """A read-only look at the database of a table: one snapshot, and an end to every statement.

    Raises:
        EngineRefused: the secret is not on this worker, or the connection is not what it must be.
        RowsUnreadable: any failure of the database, here or in the body, with no text.
    """
    opened = _open_postgresql if table.kind == "postgresql" else _open_sqlite
    with opened(table, time_limit_s) as database:
        yield database


class _PostgreSQL:
    def __init__(self, connection: Any, table: LiveTable) -> None:
        self._connection = connection
        self._place = table.name.split(".")

    def columns(self) -> dict[str, str]:
        more = self._connection.execute(_MAY_DO_MORE, self._place).fetchone()
        if more is not None and more[0]:
            raise EngineRefused("the role of the connection may do more than read this table")
        return dict(self._connection.execute(_CATALOG, self._place).fetchall())

    def plan(self, sql: str) -> None:
        self._connection.execute(f"EXPLAIN {sql}")

    def run(self, sql: str) -> list[Row]:
        rows: list[Row] = self._connection.execute(sql).fetchall()
        return rows


@contextmanager
def _open_postgresql(table: LiveTable, time_limit_s: int) -> Iterator[Database]:
    try:
        import psycopg
    except ImportError:
        raise EngineRefused("psycopg is not installed on this worker") from None
    secret = read_secret(table.root)
    try:
        _require_encryption(psycopg.conninfo.conninfo_to_dict(secret))
        with psycopg.connect(secret, connect_timeout=_CONNECT_S, prepare_threshold=None) as opened:
            opened.read_only = True
            opened.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            limit_ms = 1000 * time_limit_s
            for setting, value in (
                ("statement_timeout", limit_ms),
                ("lock_timeout", 1000 * _CONNECT_S),
                ("idle_in_transaction_session_timeout", limit_ms),
                # no function or type of the owner's stands in for one of the database's
                ("search_path", "pg_catalog"),
                ("TimeZone", "UTC"),
                ("DateStyle", "ISO"),
                # a policy that hid rows would make an answer depend on the role
                ("row_security", "off"),
            ):
                opened.execute(f"SET LOCAL {setting} = '{value}'")
            encoding = opened.execute("SHOW server_encoding").fetchone()
            if encoding is None or encoding[0] != "UTF8":
                raise EngineRefused("the texts of the database are not UTF-8")
            try:
                yield _PostgreSQL(opened, table)
            finally:
                opened.rollback()
    except psycopg.Error:
        raise RowsUnreadable from None


def _require_encryption(options: dict[str, Any]) -> None:
    """Over a network rows travel encrypted, unless the string says in so many words that not."""
    host = str(options.get("host") or options.get("hostaddr") or "")
    is_here = not host or host.startswith(("/", "@")) or host in ("localhost", "127.0.0.1", "::1")
    if not is_here and "sslmode" not in options:
        wanted = ", ".join(_ENCRYPTED)
        raise EngineRefused(f"over a network the connection string states sslmode: {wanted}")


class _SQLite:
    def __init__(self, connection: sqlite3.Connection, table: LiveTable) -> None:
        self._connection = connection
        self._table = table.name

    def columns(self) -> dict[str, str]:
        rows = self._connection.execute(
            "SELECT name, type FROM pragma_table_info(?)", [self._table]
        )
        return dict(rows.fetchall())

    def plan(self, sql: str) -> None:
        self._connection.execute(f"EXPLAIN {sql}").fetchall()

    def run(self, sql: str) -> list[Row]:
        return self._connection.execute(sql).fetchall()


@contextmanager
def _open_sqlite(table: LiveTable, time_limit_s: int) -> Iterator[Database]:
    file = Path(table.root)
    if not file.is_file():
        raise EngineRefused("the file of the database is not on this worker")
    deadline = time.monotonic() + time_limit_s
    try:
        # `ro` creates nothing and changes nothing
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            if connection.execute("PRAGMA encoding").fetchone()[0] != "UTF-8":
                raise EngineRefused("the texts of the database are not UTF-8")
            for name, function in (("MD5", _md5), ("IS_TEXT", _is_text)):
                connection.create_function(name, 1, function, deterministic=True)
            connection.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
            connection.execute("BEGIN")
            yield _SQLite(connection, table)
    except (sqlite3.Error, UnicodeError):
        raise RowsUnreadable from None


def _md5(text: str) -> str:
    # an order as if at random, which every engine has: nothing rests on its strength
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _is_text(raw: bytes) -> bool:
    """Whether a text is one everywhere: of two that are not, a reader could make one."""
    if b"\x00" in raw:
        return False
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _postgresql_value(column: Column) -> exp.Expr:
    to, _ = _POSTGRESQL_TYPES[column.type]
    value = exp.cast(exp.column(column.name, quoted=True), to, dialect="duckdb")
    if column.type != "string":
        return value
    return exp.Collate(this=value, expression=exp.to_identifier("C", quoted=True))


def _sqlite_value(column: Column) -> exp.Expr:
    value = exp.column(column.name, quoted=True)
    kind = exp.Anonymous(this="typeof", expressions=[value.copy()])
    kinds = _SQLITE_KINDS.get(column.type, ("text",))
    conditions: list[exp.Expr] = [
        exp.In(this=kind, expressions=[exp.Literal.string(each) for each in kinds])
    ]
    found: exp.Expr = value
    if kinds == ("text",):
        raw = exp.Cast(this=value.copy(), to=exp.DataType.build("BLOB", dialect="sqlite"))
        conditions.append(exp.Anonymous(this="IS_TEXT", expressions=[raw]))
    elif column.type == "bool":
        digits: list[exp.Expr] = [exp.Literal.number(0), exp.Literal.number(1)]
        conditions.append(exp.In(this=value.copy(), expressions=digits))
    elif column.type != "int64":
        found = exp.cast(value.copy(), "REAL", dialect="sqlite")
    # A CASE has no collation of its column's.
    return exp.Case().when(exp.and_(*conditions), found)
