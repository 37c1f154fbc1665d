"""The schema: up, equal to the models, down and up again; append-only by the database (R21)."""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from app.db import migrate
from app.db.session import make_engine, transaction
from app.services.publications import PublicationRequest, Publications
from tests.reported import settle
from tests.world import keyed, new_world

PRICE = "INSERT INTO prices (digest, document, created_at) VALUES ('d', '{}', '2026-01-01')"
VALUE = {"col": "value", "lo": "0", "hi": "9", "q": ["0.5"]}
BEFORE_PROFILES = "0010"
BEFORE_PUBLISHED = "0021"
TAMPERINGS = [
    "UPDATE prices SET document = '[]'",
    "DELETE FROM prices",
    "UPDATE audit_events SET action = 'nothing'",
    "DELETE FROM audit_events",
]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_every_migration_goes_up_down_and_up_and_ends_at_the_models(
    kind: str, empty_database_url: Callable[[str], str]
) -> None:
    url = empty_database_url(kind)
    engine = make_engine(url)
    assert not migrate.is_at_head(engine)
    migrate.upgrade(url)
    assert migrate.is_at_head(engine)
    assert migrate.differences(url) == []
    migrate.downgrade(url)
    migrate.upgrade(url)
    assert migrate.differences(url) == []
    engine.dispose()


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_an_append_only_row_cannot_be_changed_or_deleted(
    make_session: sessionmaker[Session], tampering: str
) -> None:
    with transaction(make_session) as session:
        session.execute(text(PRICE))
        session.execute(
            text("INSERT INTO audit_events (at, action, facts) VALUES ('2026-01-01', 'a', '{}')")
        )
    with pytest.raises(DatabaseError, match="append-only"), transaction(make_session) as session:
        session.execute(text(tampering))


def test_sqlite_cannot_replace_an_append_only_row(sqlite_url: str) -> None:
    engine = make_engine(sqlite_url)
    with engine.begin() as connection:
        connection.execute(text(PRICE))
    for pragma in ("ON", "OFF"):
        # without recursive triggers a REPLACE deletes unseen; the insert trigger is there for that
        with pytest.raises(DatabaseError, match="append-only"), engine.begin() as connection:
            connection.exec_driver_sql(f"PRAGMA recursive_triggers = {pragma}")
            connection.execute(text(PRICE.replace("INSERT", "INSERT OR REPLACE")))
    engine.dispose()


def test_postgresql_cannot_truncate_the_ledger(postgresql_url: str) -> None:
    engine = make_engine(postgresql_url)
    with pytest.raises(DatabaseError, match="append-only"), engine.begin() as connection:
        connection.execute(text("TRUNCATE entries CASCADE"))
    engine.dispose()


def test_a_new_kind_of_entry_keeps_the_entries_and_their_fences(
    database_url: str, make_session: sessionmaker[Session], tmp_path: Path
) -> None:
    with new_world(make_session, tmp_path) as world:
        root = world.open_root()
        world.reserve(root, {"type": "pure", "epsilon": "0.1"}, 2)
        before = world.bodies(root)
        migrate.downgrade(database_url, "0005")
        with pytest.raises(IntegrityError, match="kind"):
            world.change(root, "limit_rate", rate_limits={"jobs_per_hour": 5})
        migrate.upgrade(database_url)
        assert migrate.differences(database_url) == []
        assert world.bodies(root) == before
        for tampering in ("UPDATE entries SET hash = 'h'", "DELETE FROM entries"):
            with (
                pytest.raises(DatabaseError, match="append-only"),
                transaction(make_session) as session,
            ):
                session.execute(text(tampering))
        world.change(root, "limit_rate", rate_limits={"jobs_per_hour": 5})
        assert [body["kind"] for body in world.bodies(root)][-1] == "rate_limited"
        assert world.verified()
        # what such an entry says is not forgotten for the sake of an older schema
        with pytest.raises(IntegrityError):
            migrate.downgrade(database_url, "0005")
        assert world.verified()


def test_a_publication_needs_its_kind_of_entry_and_no_older_schema_forgets_it(
    database_url: str, make_session: sessionmaker[Session], tmp_path: Path
) -> None:
    with new_world(make_session, tmp_path) as world:
        root = world.open_root()
        job = world.submit(root)
        settle(world, job["id"])
        before = world.bodies(root)
        officer = world.people["officer"]
        publications = Publications(make_session)
        asked = (officer, UUID(job["id"]), PublicationRequest("done"), keyed(officer, "p", {}))
        migrate.downgrade(database_url, BEFORE_PUBLISHED)
        with (
            # by hand: what the service asks of results, that schema has not
            pytest.raises(IntegrityError, match="kind"),
            transaction(make_session) as session,
        ):
            columns = "budget_id, id, hash, body, created_at"
            session.execute(
                text(
                    f"INSERT INTO entries ({columns}, seq, kind) SELECT {columns}, 99, 'published'"
                    " FROM entries WHERE seq = 1"
                )
            )
        migrate.upgrade(database_url)
        assert migrate.differences(database_url) == []
        assert world.bodies(root) == before
        publications.publish(*asked)
        for tampering in ("UPDATE entries SET hash = 'h'", "DELETE FROM entries"):
            with (
                pytest.raises(DatabaseError, match="append-only"),
                transaction(make_session) as session,
            ):
                session.execute(text(tampering))
        with pytest.raises(IntegrityError):
            migrate.downgrade(database_url, BEFORE_PUBLISHED)
        assert world.verified()


def test_a_new_kind_of_job_keeps_the_jobs_and_what_points_at_them(
    database_url: str, make_session: sessionmaker[Session], tmp_path: Path
) -> None:
    with new_world(make_session, tmp_path) as world:
        root = world.open_root()
        kept = [world.submit(root)["id"] for _ in range(3)]
        with transaction(make_session) as session:
            session.execute(
                text(
                    "INSERT INTO results (job_id, fence, document, artifacts, created_at)"
                    " SELECT id, 1, '{}', '[]', '2026-01-01' FROM jobs"
                )
            )
        before = [world.jobs.get(world.engineer, UUID(job_id)) for job_id in kept]
        profile = {"v": 1, "privacy": {"epsilon": "0.5", "delta": "0"}, "values": [VALUE]}
        migrate.downgrade(database_url, BEFORE_PROFILES)
        with make_session() as session, pytest.raises(IntegrityError, match="kind"):
            session.execute(text("UPDATE jobs SET kind = 'profile'"))
        migrate.upgrade(database_url)
        assert migrate.differences(database_url) == []
        assert [world.jobs.get(world.engineer, UUID(job_id)) for job_id in kept] == before
        with transaction(make_session) as session:
            # jobs are still what results and wake-ups point at
            for child in ("results", "outbox"):
                joined = f"SELECT count(*) FROM {child} c JOIN jobs j ON j.id = c.job_id"
                assert session.execute(text(joined)).scalar_one() == 3
            with pytest.raises(IntegrityError), session.begin_nested():
                session.execute(text("DELETE FROM jobs"))
        world.submit(root, profile, kind="profile")
        # a profile that was paid for is not forgotten for the sake of an older schema
        with pytest.raises(IntegrityError):
            migrate.downgrade(database_url, BEFORE_PROFILES)
        assert migrate.differences(database_url) == []
        assert world.verified()
