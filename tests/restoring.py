"""Backups that are put back: the database as it was, with everything since then forgotten."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url
from sqlalchemy.orm import Session, sessionmaker

from app.db.session import make_engine, make_session_maker
from app.services.writer import AdmissionWriter
from tests.conftest import new_database_name, run_outside_transaction
from tests.world import World

# makes a copy of a world's database now; what it gives makes a world over that copy later
Backup = Callable[[World], Callable[[], World]]


@pytest.fixture
def backup(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backup]:
    """Copies of databases, by file on SQLite and by template on PostgreSQL."""
    writers: list[AdmissionWriter] = []

    def copy(world: World) -> Callable[[], World]:
        engine = world.make_session.kw["bind"]
        assert isinstance(engine, Engine)
        # a template has no guests
        engine.dispose()
        url = make_url(engine.url)
        if url.get_backend_name() == "sqlite":
            path = tmp_path / f"backup-{new_database_name()}.sqlite3"
            with (
                closing(sqlite3.connect(str(url.database))) as source,
                closing(sqlite3.connect(path)) as target,
            ):
                source.backup(target)
            copied = f"sqlite:///{path}"
        else:
            name = new_database_name()
            run_outside_transaction(
                url.set(database="postgres"), f"CREATE DATABASE {name} TEMPLATE {url.database}"
            )
            copied = url.set(database=name).render_as_string(hide_password=False)
            request.addfinalizer(
                lambda: run_outside_transaction(
                    url.set(database="postgres"), f"DROP DATABASE {name} WITH (FORCE)"
                )
            )

        def put_back() -> World:
            restored = make_engine(copied)
            request.addfinalizer(restored.dispose)
            make_session: sessionmaker[Session] = make_session_maker(restored)
            writer = AdmissionWriter(make_session)
            writer.start()
            writers.append(writer)
            return replace(world, make_session=make_session, writer=writer)

        return put_back

    yield copy
    for writer in writers:
        writer.stop()
