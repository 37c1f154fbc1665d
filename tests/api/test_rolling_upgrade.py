"""While processes are replaced by those of a newer version, its schema is there before they are."""

from pathlib import Path

from sqlalchemy import text

from app.db.session import make_engine
from app.settings import Settings
from tests.api.conftest import app_over
from tests.api.world import TestClient, World

NEWER = "of_a_newer_version"


def stamp(database_url: str, revision: str) -> str:
    """Say that the database is at another revision; the one that it was at."""
    engine = make_engine(database_url)
    with engine.begin() as connection:
        before = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        connection.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})
    engine.dispose()
    return str(before)


def is_ready(client: TestClient) -> bool:
    answer = client.get("/readyz")
    assert answer.json()["ready"] == (answer.status_code == 200)
    return bool(answer.status_code == 200)


def test_a_process_works_on_over_a_newer_schema_and_not_over_an_older_one(
    world: World, database_url: str
) -> None:
    assert is_ready(world.client)
    head = stamp(database_url, NEWER)
    assert is_ready(world.client)
    assert world.ask("GET", "/me").status_code == 200
    stamp(database_url, "0001")
    assert not is_ready(world.client)
    stamp(database_url, head)
    assert is_ready(world.client)


def test_a_process_that_begins_on_a_newer_schema_takes_nothing(
    sqlite_url: str, tmp_path: Path
) -> None:
    stamp(sqlite_url, NEWER)
    settings = Settings(database_url=sqlite_url, home=tmp_path / "home")
    with TestClient(app_over(settings)) as client:
        assert not is_ready(client)
