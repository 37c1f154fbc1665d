"""Keys and sessions that who runs the service replaces or ends, in its own database and files."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.terminal import RUNNING, AsJson, console, fail, program, read_settings, show_json

if TYPE_CHECKING:
    from app.db.session import SessionMaker
    from app.settings import Settings


@program.command(rich_help_panel=RUNNING)
def rotate_webhook_key(
    *,
    finish: Annotated[
        bool, typer.Option("--finish", help="every receiver has its new secret: forget the old key")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Replace the key of webhooks, and show each new secret; until --finish both keys sign."""
    from app.services import webhooks
    from app.services.signing import KeyRefused

    with opened() as (settings, make_session):
        try:
            if finish:
                count = webhooks.end_rotation(make_session, settings.webhook_key_file)
                console.print(f"the new key signs alone, for {count} webhooks")
                return
            told = webhooks.rotate_key(make_session, settings.webhook_key_file)
        except KeyRefused as refused:
            fail(str(refused))
    if as_json:
        show_json([{"id": str(e.webhook_id), "host": e.host, "secret": e.secret} for e in told])
        return
    for each in told:
        typer.echo(f"{each.webhook_id}  {each.host}  {each.secret}")
    console.print("tell each receiver its new secret, then `rotate-webhook-key --finish`")


@program.command(rich_help_panel=RUNNING)
def end_sessions() -> None:
    """End every session of everybody: all people sign in again. Keys of programs stay good."""
    from app.services.sessions import end_everybodys

    with opened() as (_, make_session):
        count = end_everybodys(make_session)
    console.print(f"{count} sessions have ended")


@contextmanager
def opened() -> "Iterator[tuple[Settings, SessionMaker]]":
    """The settings and the database that they name."""
    from app.db.session import make_engine, make_session_maker

    settings = read_settings()
    engine = make_engine(settings.database_url)
    try:
        yield settings, make_session_maker(engine)
    finally:
        engine.dispose()
