"""Ledgers as earlier versions have left them: every row of every table, as text that git can show.

A recording is made by the code of its time, on SQLite, and put into either database at the schema
that it was made under: `python -m tests.migrations.recorded FILE` writes one by the code of now.
Names of kinds, codes and columns stand in it as that code wrote them, so it is never written anew.
"""

import json
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    DateTime,
    Integer,
    MetaData,
    Uuid,
    func,
    select,
    text,
)
from sqlalchemy.types import TypeEngine

from app.db import migrate
from app.db.session import make_engine

FOLDER = Path(__file__).parents[1] / "data" / "ledgers"
# a house with a plan, windows and most kinds of entries, divided into blocks: tests/histories.py
SEED, STEPS = 100, 70
EARLIER, LATER = datetime(2027, 3, 1, tzinfo=UTC), datetime(2027, 4, 1, tzinfo=UTC)
# what a rule of the database wants of a row that is made up
WANTED: dict[str, dict[str, Any]] = {
    "sign_in_failures": {"kind": "name"},
    "linked_identities": {"subject": "somebody"},
    "deliveries": {"state": "due"},
    "reports": {"state": "queued"},
}
AMOUNTS = ("limit", "committed", "reserved", "consumed", "remaining")

Recording = dict[str, Any]


def recordings() -> dict[str, Recording]:
    """All that there are by name, the oldest first."""
    return {
        path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))
    }


def rows_of(database: Path) -> dict[str, dict[str, Any]]:
    """Every table of a SQLite file but the migrations' own: its columns and rows."""
    with closing(sqlite3.connect(database)) as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            " AND name <> 'alembic_version' ORDER BY name"
        )
        found = {}
        for (name,) in names.fetchall():
            cursor = connection.execute(f"SELECT * FROM {name} ORDER BY 1")
            columns = [each[0] for each in cursor.description]
            rows = [[_written(value) for value in row] for row in cursor]
            found[name] = {"columns": columns, "rows": rows}
    return found


def _written(value: Any) -> Any:
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def put(url: str, recording: Mapping[str, Any]) -> None:
    """A database without a schema becomes the one that was recorded, under its schema."""
    migrate.upgrade(url, recording["schema"])
    engine = make_engine(url)
    with engine.begin() as connection, _unfenced(connection):
        schema = MetaData()
        schema.reflect(connection)
        for name, table in recording["tables"].items():
            connection.execute(schema.tables[name].delete())
            kinds = {column.name: column.type for column in schema.tables[name].columns}
            rows = [
                {
                    column: _value(value, kinds[column])
                    for column, value in zip(table["columns"], row, strict=True)
                }
                for row in table["rows"]
            ]
            if rows:
                connection.execute(schema.tables[name].insert(), rows)
        if engine.dialect.name == "postgresql":
            _go_on_counting(connection, recording)
    engine.dispose()


def all_rows(url: str) -> dict[str, list[dict[str, str]]]:
    """Every row of a database of either kind, its values as texts that compare."""
    engine = make_engine(url)
    with engine.connect() as connection:
        schema = MetaData()
        schema.reflect(connection)
        found = {
            table.name: [
                {name: repr(value) for name, value in row.items()}
                for row in connection.execute(table.select()).mappings()
            ]
            for table in schema.sorted_tables
            if table.name != "alembic_version"
        }
    engine.dispose()
    return found


@contextmanager
def _unfenced(connection: Connection) -> Iterator[None]:
    """Within the block rows may be put in any order, as a restore does it."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("PRAGMA defer_foreign_keys = ON"))
        fences = connection.execute(
            text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        ).all()
        for name, _ in fences:
            connection.execute(text(f"DROP TRIGGER {name}"))
        yield
        for _, statement in fences:
            connection.exec_driver_sql(statement)
        return
    connection.execute(text("SET LOCAL session_replication_role = replica"))
    yield


def _value(value: Any, kind: TypeEngine[Any]) -> Any:
    if value is None:
        return None
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    if isinstance(kind, Uuid):
        return UUID(value)
    if isinstance(kind, Boolean):
        return bool(value)
    if isinstance(kind, DateTime):
        return datetime.fromisoformat(value)
    if isinstance(kind, JSON):
        return json.loads(value)
    return value


def _go_on_counting(connection: Connection, recording: Mapping[str, Any]) -> None:
    for name, table in recording["tables"].items():
        for column in table["columns"]:
            asked = {"name": name, "column": column}
            counter = connection.scalar(
                text("SELECT pg_get_serial_sequence(:name, :column)"), asked
            )
            if counter is not None:
                connection.execute(
                    text(
                        f"SELECT setval(:counter, (SELECT coalesce(max({column}), 1) FROM {name}))"
                    ),
                    {"counter": counter},
                )


def fill(connection: Connection) -> None:
    """Put a row into each table that a history leaves empty: made up, and by the schema's rules."""
    from app.db.models import Base

    for table in Base.metadata.sorted_tables:
        if connection.scalar(select(func.count()).select_from(table)):
            continue
        needed = [
            each for each in table.columns if not each.nullable and each.autoincrement is not True
        ]
        row = {each.name: _made_up(connection, each) for each in needed}
        row |= WANTED.get(table.name, {})
        if table.name == "delegations":
            officers = connection.scalars(
                text("SELECT id FROM principals WHERE roles LIKE '%compliance_officer%'")
            )
            row |= dict(zip(("delegator_id", "delegate_id"), map(UUID, officers), strict=False))
        if table.name == "deliveries":
            row["webhook_id"] = UUID(connection.scalar(text("SELECT id FROM webhooks")))
        connection.execute(table.insert(), row)


def _made_up(connection: Connection, column: Column[Any]) -> Any:
    for reference in column.foreign_keys:
        return connection.scalar(select(reference.column).limit(1))
    if column.name.endswith("_sha256"):
        return "0" * 64
    if column.name.endswith("_at"):
        return LATER if column.name in ("ends_at", "expires_at") else EARLIER
    if isinstance(column.type, Uuid):
        return uuid4()
    if isinstance(column.type, Boolean | Integer):
        return 1
    kind = type(column.type).__name__
    if "Json" in kind or "JSON" in kind:
        return {}
    return EARLIER if "Time" in kind or "Utc" in kind else "made up"


def written(recording: Recording) -> str:
    """The file of a recording, a line for each row."""
    head = json.dumps({name: recording[name] for name in ("schema", "key", "told")}, indent=1)
    tables = [
        f'{json.dumps(name)}: {{"columns": {json.dumps(table["columns"])}, "rows": [\n'
        + ",\n".join(map(json.dumps, table["rows"]))
        + "]}"
        for name, table in recording["tables"].items()
    ]
    return head.removesuffix("\n}") + ',\n"tables": {\n' + ",\n".join(tables) + "}}\n"


def record(folder: Path) -> Recording:
    """A history by the code of now, and what that code says of its budgets."""
    from app.db.migrate import upgrade
    from tests.histories import history

    empty = folder / "migrated.sqlite3"
    upgrade(f"sqlite:///{empty}")
    with history(SEED, folder / "house", empty) as made:
        made.go(STEPS)
        made.sign()
        with made.world.make_session() as session, session.begin():
            fill(session.connection())
        auditor = made.world.people["auditor"]
        told = {
            str(each): made.world.budgets.get(auditor, each) for each in (made.root, *made.below)
        }
        with closing(sqlite3.connect(folder / "house" / "ledger.sqlite3")) as connection:
            (schema,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return {
            "schema": schema,
            "key": made.key.hex(),
            "told": {
                each: {name: figures[name] for name in AMOUNTS} for each, figures in told.items()
            },
            "tables": rows_of(folder / "house" / "ledger.sqlite3"),
        }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        made = record(Path(scratch))
    Path(sys.argv[1]).write_text(written(made), "utf-8")
