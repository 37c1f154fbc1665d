"""Connections: doors to folders and databases, and secrets that only their names are kept of."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from app.db import migrate
from app.db.session import transaction
from app.domain.errors import InvalidParameter, SourceAlreadyRegistered
from app.services.closing import VersionFacts
from app.services.connections import Connections
from app.services.datasets import Datasets
from app.services.registrations import DatasetRequest
from tests.world import World, keyed, new_world

DSN = "postgresql://me:hunter2@db/x"


STORE = {
    "endpoint": "https://store.example",
    "region": "eu-central-1",
    "credentials": "env:EPSILON_SOURCE_LAKE",
}


def opened(
    world: World, kind: str, root: str, name: str = "live", store: dict[str, Any] | None = None
) -> dict[str, Any]:
    admin = world.people["admin"]
    asked = keyed(admin, "connections", [name, root])
    return Connections(world.make_session).create(
        admin, name=name, kind=kind, root=root, store=store, keyed=asked
    )


def registered(world: World, connection: str, **changes: Any) -> dict[str, Any]:
    officer = world.people["officer"]
    declaration = {
        "name": "visits",
        "access": "private",
        "source": {"connection": connection, "path": "public.visits", "format": "table"},
        "columns": [{"name": "a_column", "type": "int64"}],
        "unit_of_privacy": {"kind": "record"},
        "relation": "add_remove",
        "nominal_size": 10,
        **changes,
    }
    version = VersionFacts(sha256=declaration.pop("sha256", None))
    request = DatasetRequest(declaration, {}, version=version, new_people=True)
    return Datasets(world.make_session).register(
        officer, request, keyed(officer, "datasets", repr(changes))
    )


@pytest.mark.parametrize(
    "root",
    [DSN, "env:HOME", "env:EPSILON_SOURCE_a", "env:SOURCE_A", "file:secret", "EPSILON_SOURCE_A"],
)
def test_what_is_no_reference_is_refused_and_not_repeated(
    make_session: sessionmaker[Session], tmp_path: Path, root: str
) -> None:
    with new_world(make_session, tmp_path) as world:
        with pytest.raises(InvalidParameter) as refused:
            opened(world, "postgresql", root)
        assert root not in str(refused.value)


def test_a_database_has_tables_and_a_folder_has_files(
    make_session: sessionmaker[Session], tmp_path: Path
) -> None:
    file = tmp_path / "clinic.sqlite3"
    with new_world(make_session, tmp_path) as world:
        with pytest.raises(InvalidParameter, match="exists"):
            opened(world, "sqlite", str(file))
        file.touch()
        opened(world, "sqlite", str(file), "small")
        opened(world, "postgresql", "env:EPSILON_SOURCE_CLINIC", "large")
        wrong = [
            ("files", "rows.csv", "table"),
            ("small", "visits", "csv"),
            ("small", "main.visits", "table"),
            ("small", 'visits" --', "table"),
            ("large", "visits", "table"),
            ("large", "public.Visits", "table"),
            ("large", "public.visits", "parquet"),
        ]
        for connection, path, form in wrong:
            source = {"connection": connection, "path": path, "format": form}
            with pytest.raises(InvalidParameter):
                registered(world, connection, source=source)
        source = {"connection": "small", "path": "visits", "format": "table"}
        assert registered(world, "small", source=source)["state"] == "active"


def test_a_bucket_has_a_store_and_nothing_else_has(
    make_session: sessionmaker[Session], tmp_path: Path
) -> None:
    with new_world(make_session, tmp_path) as world:
        with pytest.raises(InvalidParameter):
            opened(world, "s3", "s3://lake")
        with pytest.raises(InvalidParameter):
            opened(world, "s3", "https://store.example/lake", store=STORE)
        with pytest.raises(InvalidParameter):
            opened(world, "folder", str(tmp_path), store=STORE)
        opened(world, "s3", "s3://lake/clinic/", "lake", STORE)
        for path, form in (("public.visits", "table"), ("../visits.csv", "csv"), ("a//b", "csv")):
            source = {"connection": "lake", "path": path, "format": form}
            with pytest.raises(InvalidParameter):
                registered(world, "lake", source=source)
        broken = "UPDATE connections SET credentials = NULL WHERE kind = 's3'"
        with pytest.raises(IntegrityError), transaction(make_session) as session:
            session.execute(text(broken))
        with pytest.raises(IntegrityError), transaction(make_session) as session:
            session.execute(text("UPDATE connections SET kind = 's3' WHERE name = 'files'"))


def test_a_live_table_has_one_ledger_and_says_nothing_of_versions(
    make_session: sessionmaker[Session], tmp_path: Path
) -> None:
    with new_world(make_session, tmp_path) as world:
        opened(world, "postgresql", "env:EPSILON_SOURCE_CLINIC")
        opened(world, "postgresql", "env:EPSILON_SOURCE_CLINIC", "again")
        with pytest.raises(InvalidParameter, match="content"):
            registered(world, "live", sha256="0" * 64)
        blocks = {"kind": "unit_hash", "count": 4}
        unit = {"kind": "user", "column": "a_column", "max_rows_per_user": 1}
        with pytest.raises(InvalidParameter, match="blocks"):
            registered(world, "live", blocks=blocks, unit_of_privacy=unit)
        assert registered(world, "live")["state"] == "active"
        with pytest.raises(SourceAlreadyRegistered):
            registered(world, "again", name="other")
        # another column, so another schema: the place is known all the same
        more = [{"name": "another", "type": "int64"}]
        assert registered(world, "again", name="other", columns=more)["state"] == "proposed"


def test_connections_and_what_leads_to_them_survive_the_migration_that_opens_databases(
    database_url: str, make_session: sessionmaker[Session], tmp_path: Path
) -> None:
    with new_world(make_session, tmp_path) as world:
        before = Connections(make_session).list(world.people["admin"])
        migrate.downgrade(database_url, "0009")
        with pytest.raises(IntegrityError), transaction(make_session) as session:
            session.execute(text("UPDATE connections SET kind = 'postgresql'"))
        migrate.upgrade(database_url)
        assert migrate.differences(database_url) == []
        assert Connections(make_session).list(world.people["admin"]) == before
        assert len(Datasets(make_session).versions(world.people["auditor"], world.dataset_id)) == 1
        opened(world, "postgresql", "env:EPSILON_SOURCE_CLINIC")
        opened(world, "s3", "s3://lake", "lake", STORE)
        with pytest.raises(IntegrityError), transaction(make_session) as session:
            session.execute(text("DELETE FROM connections"))
        with pytest.raises(IntegrityError):
            migrate.downgrade(database_url, "0011")
        with pytest.raises(IntegrityError):
            migrate.downgrade(database_url, "0009")
