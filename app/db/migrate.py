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


def upgrade(url: str, revision: str = "head") -> None:
    """Bring a database to the newest schema, or up to a revision."""
    _run(url, lambda config: command.upgrade(config, revision))


def upgrade_over(connection: Connection, revision: str = "head") -> None:
    """The same in the transaction of a caller, who may still take it back."""
    command.upgrade(_config(connection), revision)


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
    """Whether a database has every migration of this version of the service, and no other."""
    return _current(engine) == set(ScriptDirectory(_folder()).get_heads())


def has_gone_on(engine: Engine) -> bool:
    """Whether a newer version, whose migrations are unknown here, has brought its schema since.

    Migrations only add, so a process that began at its own schema works on until it is replaced;
    one that begins now does not.
    """
    known = {script.revision for script in ScriptDirectory(_folder()).walk_revisions()}
    return not _current(engine) <= known


def _current(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(MigrationContext.configure(connection).get_current_heads())


def knows(revision: str) -> bool:
    """Whether this version of the service can bring a schema of that revision to the newest."""
    known = {script.revision for script in ScriptDirectory(_folder()).walk_revisions()}
    return revision in known


def current(connection: Connection) -> str:
    """The revision of a database's schema; empty where it has none."""
    return MigrationContext.configure(connection).get_current_revision() or ""


def _run(url: str, step: Callable[[Config], object]) -> None:
    engine = make_engine(url)
    try:
        with engine.begin() as connection:
            _wait_briefly(connection)
            step(_config(connection))
    finally:
        engine.dispose()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", _folder())
    config.attributes["connection"] = connection
    return config


def _wait_briefly(connection: Connection) -> None:
    # a migration that queues behind a long transaction would block everybody who comes after it
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))


def _folder() -> str:
    spec = find_spec("migrations")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the package `migrations` is missing from this installation")
    return spec.submodule_search_locations[0]
