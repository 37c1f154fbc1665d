"""A job over a live PostgreSQL table, from the admin's connection to the posted result."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import URL, make_url, text
from sqlalchemy.orm import Session, sessionmaker

from app.db.session import snapshot
from app.services.admission import QuoteRequest
from app.services.connections import Connections
from app.services.datasets import Datasets
from app.services.registrations import DatasetRequest
from app.settings import Settings
from tests.conftest import run_outside_transaction
from tests.world import COUNT_QUERY, World, keyed, new_world
from workers.context import Context
from workers.running import run_job

SECRET = "a-password-of-a-test"
EXACT: dict[str, Any] = {
    **COUNT_QUERY,
    "privacy": {"epsilon": "50", "delta": "0", "noise": "discrete_laplace"},
}
UNIT = {"kind": "user", "column": "who", "max_groups_per_user": 1, "max_rows_per_user_group": 2}


@pytest.fixture
def reader(postgresql: URL) -> Iterator[str]:
    name = f"reader_{os.urandom(4).hex()}"
    run_outside_transaction(postgresql, f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
    yield name
    run_outside_transaction(postgresql, f"DROP ROLE {name}")


@pytest.fixture
def owner(reader: str, empty_database_url: Callable[[str], str]) -> URL:
    """The clinic's own database; the role sees one table of it."""
    url = make_url(empty_database_url("postgresql")).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        for statement in (
            "CREATE TABLE visits (who TEXT, cost INTEGER)",
            "INSERT INTO visits SELECT 'u' || i % 7, i FROM generate_series(1, 35) AS i",
            "INSERT INTO visits VALUES (NULL, 1)",
            f"GRANT SELECT ON visits TO {reader}",
        ):
            connection.execute(statement.encode())
    return url


def register(world: World, root: str, **changes: Any) -> None:
    """Open the connection, register its table, and let the world ask about it."""
    admin, officer = world.people["admin"], world.people["officer"]
    Connections(world.make_session).create(
        admin, name="clinic", kind="postgresql", root=root, keyed=keyed(admin, "connections", root)
    )
    declaration = {
        "name": "visits",
        "access": "private",
        "source": {"connection": "clinic", "path": "public.visits", "format": "table"},
        "columns": [{"name": "who", "type": "string"}, {"name": "cost", "type": "int64"}],
        "unit_of_privacy": UNIT,
        "relation": "add_remove",
        "nominal_size": 10,
        **changes,
    }
    made = Datasets(world.make_session).register(
        officer,
        DatasetRequest(declaration, {}, population="patients", new_people=True),
        keyed(officer, "datasets", "visits"),
    )
    assert made["state"] == "active"
    world.dataset_id = UUID(made["id"])
    Datasets(world.make_session).grant(officer, world.dataset_id, world.project_id)


def ran(world: World, root: UUID, spec: dict[str, Any] = EXACT) -> UUID:
    job_id = UUID(world.submit(root, spec)["id"])
    settings = Settings(database_url="sqlite://", home=world.home / "worker")
    run_job(Context(settings, world.make_session, "a worker", world.journal), job_id)
    return job_id


def every_word(make_session: sessionmaker[Session]) -> str:
    """All rows of all tables of the ledger's database, as text."""
    with snapshot(make_session) as session:
        from app.db.models import Base

        rows = [session.execute(table.select()).all() for table in Base.metadata.sorted_tables]
    return repr(rows)


def test_a_worker_answers_from_a_live_table_and_its_secret_stands_nowhere(
    make_session: sessionmaker[Session],
    tmp_path: Path,
    owner: URL,
    reader: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    address = owner.set(username=reader, password=SECRET)
    monkeypatch.setenv("EPSILON_SOURCE_CLINIC", address.render_as_string(hide_password=False))
    caplog.set_level(logging.DEBUG)
    with new_world(make_session, tmp_path) as world:
        register(world, "env:EPSILON_SOURCE_CLINIC")
        root = world.open_root(epsilon="500")
        job_id = ran(world, root)
        # seven people with five rows each, of which two count
        result = world.jobs.result(world.engineer, job_id)
        assert result["rows"][0]["cells"][0]["value"] == 14
        assert world.verified()
        assert SECRET not in every_word(make_session)
    assert SECRET not in caplog.text


def test_a_live_table_is_asked_anew_unless_an_older_answer_is_asked_for(
    make_session: sessionmaker[Session],
    tmp_path: Path,
    owner: URL,
    reader: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = owner.set(username=reader, password=SECRET)
    monkeypatch.setenv("EPSILON_SOURCE_CLINIC", address.render_as_string(hide_password=False))
    with new_world(make_session, tmp_path) as world:
        register(world, "env:EPSILON_SOURCE_CLINIC")
        root = world.open_root(epsilon="500")
        first = ran(world, root)
        with psycopg.connect(owner.render_as_string(hide_password=False)) as connection:
            connection.execute(b"INSERT INTO visits VALUES ('u8', 1), ('u9', 1)")
        asked = QuoteRequest(world.inputs(root), "query", EXACT)
        assert world.admissions.quote(world.engineer, asked)["reused_from"] is None
        again = ran(world, root)
        assert again != first
        answers = [world.jobs.result(world.engineer, job_id)["rows"] for job_id in (first, again)]
        assert [rows[0]["cells"][0]["value"] for rows in answers] == [14, 16]
        older = world.submit(root, EXACT, reuse=True)
        assert older["reused_from"] == str(first)
        assert world.verified()


def test_a_live_table_that_cannot_be_read_costs_nothing(
    make_session: sessionmaker[Session],
    tmp_path: Path,
    owner: URL,
    reader: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = owner.set(username=reader, password=SECRET)
    with new_world(make_session, tmp_path) as world:
        register(world, "env:EPSILON_SOURCE_CLINIC")
        root = world.open_root(epsilon="500")
        # the secret is not on this worker, then the role loses its right
        assert world.jobs.get(world.engineer, ran(world, root))["state"] == "failed"
        monkeypatch.setenv("EPSILON_SOURCE_CLINIC", address.render_as_string(hide_password=False))
        with psycopg.connect(owner.render_as_string(hide_password=False)) as connection:
            connection.execute(text(f"REVOKE SELECT ON visits FROM {reader}").text.encode())
        job = world.jobs.get(world.engineer, ran(world, root))
        assert (job["state"], job["failure_code"]) == ("failed", "engine-refused")
        spent = world.budgets.get(world.people["auditor"], root)
        assert spent["consumed"]["epsilon"] == "0"
        assert world.verified()
