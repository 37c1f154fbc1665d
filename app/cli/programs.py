"""The programs that run beside the API where the service is no single tree."""

from typing import TYPE_CHECKING, Final

import typer

from app.cli.terminal import RUNNING, console, fail, program, read_settings

ANOTHER_SCHEMA: Final = "the schema is not this version's: run `migrate`"

if TYPE_CHECKING:
    from app.loops import Loops


@program.command(rich_help_panel=RUNNING)
def dispatch() -> None:
    """Bring committed work to workers, and take it back from those that went silent."""
    from app.loops import dispatching

    _run(dispatching, "dispatch")


@program.command(rich_help_panel=RUNNING)
def send() -> None:
    """Bring notices to webhooks and mailboxes."""
    from app.loops import sending

    _run(sending, "sender")


@program.command(rich_help_panel=RUNNING)
def check_schema() -> None:
    """Whether the database has the schema of this version; exits 1 if not, for who waits for it."""
    from app.db.migrate import is_at_head
    from app.db.session import make_engine

    engine = make_engine(read_settings().database_url)
    try:
        if not is_at_head(engine):
            fail(ANOTHER_SCHEMA)
    finally:
        engine.dispose()
    console.print("the schema is this version's")


@program.command(rich_help_panel=RUNNING)
def first_admin() -> None:
    """Make the first administrator of an empty database; the key is shown this once."""
    from app.db.session import make_engine, make_session_maker
    from app.services.principals import bootstrap_admin

    engine = make_engine(read_settings().database_url)
    try:
        key = bootstrap_admin(make_session_maker(engine))
    finally:
        engine.dispose()
    if key is None:
        fail("there are people already: an administrator of theirs makes keys")
    typer.echo(key)


def _run(loops: "Loops", name: str) -> None:
    from app import logs
    from app.loops import SchemaIsAnother, run_until_told

    settings = read_settings()
    logs.configure(settings.log_level, settings.log_format, program=name)
    try:
        run_until_told(settings, loops)
    except SchemaIsAnother:
        fail(ANOTHER_SCHEMA)
