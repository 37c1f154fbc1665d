"""A whole database as files and back: of one moment, and put back whole or not at all.

SQLite gives its file by its own online copy. PostgreSQL gives a file a table, by COPY within one
snapshot, so that no client program of the server's version is needed on either side. It is put back
into the schema that it was written under, with the triggers and references of that schema put aside
for the load and made anew after it, in one transaction.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import URL, Connection, Engine, make_url, text
from sqlalchemy.orm import Session

from app.db import migrate
from app.db.session import make_engine

SQLITE_FILE: Final = "ledger.sqlite3"
TABLE_SUFFIX: Final = ".copy"
CHUNK_BYTES: Final = 1 << 20
# values are written the same way whatever the server's own habits
HABITS: Final = ("SET LOCAL datestyle = 'ISO, MDY'", "SET LOCAL bytea_output = 'hex'")


class CopyRefused(Exception):
    """A copy cannot be made or put back here; the text says why."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a copy holds. tables: columns of each, in the order of its file; none for SQLite."""

    database: str
    schema: str
    tables: Mapping[str, Sequence[str]]

    @property
    def files(self) -> list[str]:
        """Names of the files, in one order."""
        if self.database == "sqlite":
            return [SQLITE_FILE]
        return [name + TABLE_SUFFIX for name in sorted(self.tables)]


def copy_out(engine: Engine, folder: Path) -> Contents:
    """Write one moment of a database into a folder, without keeping anybody from writing.

    Raises:
        CopyRefused: the database has no schema.
    """
    with engine.connect() as connection:
        options = {"isolation_level": "REPEATABLE READ", "is_snapshot": True}
        if engine.dialect.name == "sqlite":
            del options["isolation_level"]
        connection.execution_options(**options)
        schema = migrate.current(connection)
        if not schema:
            raise CopyRefused("the database has no schema: there is nothing to copy")
        if engine.dialect.name == "sqlite":
            source: Any = connection.connection.driver_connection
            with closing(sqlite3.connect(folder / SQLITE_FILE)) as target:
                source.backup(target)
            return Contents("sqlite", schema, {})
        for habit in HABITS:
            connection.execute(text(habit))
        tables = _columns(connection)
        raw: Any = connection.connection.driver_connection
        for name, columns in tables.items():
            statement = f"COPY {_quoted(name)} ({', '.join(map(_quoted, columns))}) TO STDOUT"
            with (
                (folder / f"{name}{TABLE_SUFFIX}").open("wb") as file,
                raw.cursor() as cursor,
                cursor.copy(statement) as rows,
            ):
                for chunk in rows:
                    file.write(chunk)
        return Contents("postgresql", schema, tables)


@contextmanager
def put_back(url: str, folder: Path, contents: Contents) -> Iterator[Session]:
    """A copy as a database of the newest schema, to be looked at; kept where the block ends well.

    Raises:
        CopyRefused: something stands at the address already, the copy is of another kind of
            database or of a newer version, or cannot be read.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != contents.database:
        raise CopyRefused(f"the copy is of {contents.database}, and EPSILON_DATABASE_URL is not")
    if not migrate.knows(contents.schema):
        raise CopyRefused("the copy has a schema that this version does not know: upgrade first")
    opened = _sqlite_back(parsed, folder) if contents.database == "sqlite" else None
    with opened or _postgresql_back(url, folder, contents) as session:
        yield session


@contextmanager
def _sqlite_back(url: URL, folder: Path) -> Iterator[Session]:
    target = Path(url.database or "")
    if target.exists() or target.with_name(f"{target.name}-wal").exists():
        raise CopyRefused(f"{target} is there already: nothing is put over a database")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid4().hex}.part")
    address = url.set(database=str(part)).render_as_string(hide_password=False)
    try:
        shutil.copyfile(folder / SQLITE_FILE, part)
        part.chmod(0o600)
        try:
            migrate.upgrade(address)
        except Exception as failed:
            raise CopyRefused(f"the copy cannot be read ({type(failed).__name__})") from failed
        engine = make_engine(address)
        try:
            with Session(engine) as session:
                said = session.execute(text("PRAGMA integrity_check")).scalar_one()
                if said != "ok":
                    raise CopyRefused("the copy is damaged: SQLite finds it not whole")
                yield session
            with engine.connect() as connection:
                raw: Any = connection.connection.driver_connection
                connection.rollback()
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            engine.dispose()
        _sync(part)
        # a name that is taken meanwhile is not taken over
        os.link(part, target)
        _sync(target.parent)
    except FileExistsError:
        raise CopyRefused(f"{target} is there already: nothing is put over a database") from None
    finally:
        for left in target.parent.glob(f"{part.name}*"):
            left.unlink()


@contextmanager
def _postgresql_back(url: str, folder: Path, contents: Contents) -> Iterator[Session]:
    engine = make_engine(url)
    try:
        with engine.begin() as connection:
            if _columns(connection):
                raise CopyRefused("the database has tables already: nothing is put over them")
            migrate.upgrade_over(connection, contents.schema)
            if {name: list(each) for name, each in contents.tables.items()} != _columns(connection):
                raise CopyRefused("the copy does not have the tables of its schema")
            _load(connection, folder, contents)
            migrate.upgrade_over(connection)
            with Session(connection, join_transaction_mode="rollback_only") as session:
                yield session
    finally:
        engine.dispose()


def _load(connection: Connection, folder: Path, contents: Contents) -> None:
    for habit in HABITS:
        connection.execute(text(habit))
    references = connection.execute(
        text(
            "SELECT conrelid::regclass::text AS place, quote_ident(conname) AS name,"
            " pg_get_constraintdef(oid) AS said FROM pg_constraint"
            " WHERE contype = 'f' AND connamespace = current_schema()::regnamespace"
        )
    ).all()
    for each in references:
        connection.execute(text(f"ALTER TABLE {each.place} DROP CONSTRAINT {each.name}"))
    for name in contents.tables:
        connection.execute(text(f"ALTER TABLE {_quoted(name)} DISABLE TRIGGER USER"))
        # what a migration itself writes into a new schema
        connection.execute(text(f"DELETE FROM {_quoted(name)}"))  # noqa: S608 - a name of ours
    raw: Any = connection.connection.driver_connection
    for name, columns in contents.tables.items():
        statement = f"COPY {_quoted(name)} ({', '.join(map(_quoted, columns))}) FROM STDIN"
        with (
            (folder / f"{name}{TABLE_SUFFIX}").open("rb") as file,
            raw.cursor() as cursor,
            cursor.copy(statement) as rows,
        ):
            while chunk := file.read(CHUNK_BYTES):
                rows.write(chunk)
    for name in contents.tables:
        connection.execute(text(f"ALTER TABLE {_quoted(name)} ENABLE TRIGGER USER"))
    for each in references:
        added = f"ALTER TABLE {each.place} ADD CONSTRAINT {each.name} {each.said}"
        connection.execute(text(added))
    _go_on_counting(connection, contents)


def _go_on_counting(connection: Connection, contents: Contents) -> None:
    """Let numbers that the database gives go on after the highest that there is."""
    for name, columns in contents.tables.items():
        for column in columns:
            counter = connection.execute(
                text("SELECT pg_get_serial_sequence(:name, :column)"),
                {"name": _quoted(name), "column": column},
            ).scalar_one()
            if counter is not None:
                highest = f"SELECT max({_quoted(column)}) FROM {_quoted(name)}"  # noqa: S608
                connection.execute(
                    text(f"SELECT setval(:counter, coalesce(({highest}), 0) + 1, false)"),
                    {"counter": counter},
                )


def _columns(connection: Connection) -> dict[str, list[str]]:
    """The columns of every table but the migrations' own."""
    found: dict[str, list[str]] = {}
    statement = text(
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'"
        " AND c.relname <> 'alembic_version' AND a.attnum > 0 AND NOT a.attisdropped"
        " ORDER BY c.relname, a.attnum"
    )
    for name, column in connection.execute(statement):
        found.setdefault(name, []).append(column)
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
