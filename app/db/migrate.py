"""Schema migrations, run in process: no command line, no configuration file."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from app.db.models import Base
from app.db.session import make_engine

LOCK_TIMEOUT = "5s"


def upgrade(url: str) -> None:
    """Bring a database to the newest schema."""
    _run(url, lambda config: command.upgrade(config, "head"))


def downgrade(url: str, revision: str = "base") -> None:
    """Take a database back to a revision."""
    _run(url, lambda config: command.downgrade(config, revision))


def revision(url: str, message: str, revision_id: str) -> None:
    """Draft a migration from what the models say and the database has not."""
    _run(
        url,
        lambda config: command.revision(
            config, message=message, autogenerate=True, rev_id=revision_id
        ),
    )


def differences(url: str) -> list[Any]:
    """What the models say and the database has not, or the other way round; [] is equal."""
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            return list(compare_metadata(context, Base.metadata))
    finally:
        engine.dispose()


def is_at_head(engine: Engine) -> bool:
    """Whether a database has every migration of this version of the service."""
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_heads()
    return set(current) == set(ScriptDirectory(_folder()).get_heads())


def _run(url: str, step: Callable[[Config], object]) -> None:
    engine = make_engine(url)
    try:
        with engine.begin() as connection:
            _wait_briefly(connection)
            config = Config()
            config.set_main_option("script_location", _folder())
            config.attributes["connection"] = connection
            step(config)
    finally:
        engine.dispose()


def _wait_briefly(connection: Connection) -> None:
    # a migration that queues behind a long transaction would block everybody who comes after it
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))


def _folder() -> str:
    spec = find_spec("migrations")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the package `migrations` is missing from this installation")
    return spec.submodule_search_locations[0]
