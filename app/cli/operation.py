"""The operator's commands: run the service, move its schema, write its contract."""

import json
import subprocess
import tempfile
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.terminal import (
    PASSED_ON,
    RUNNING,
    AsJson,
    Ended,
    console,
    errors,
    fail,
    program,
    read_settings,
)

if TYPE_CHECKING:
    from app.embedded import House

CONTRACT = Path("openapi.yaml")


@program.command(rich_help_panel=RUNNING)
def up(
    host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on; 0 takes a free one")] = None,
    home: Annotated[
        Path | None, typer.Option(help="folder of the state, .epsilon if unset")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Run the service with its own database, broker and worker until it is told to stop."""
    from app.embedded import HouseRefused, running
    from app.supervision import ChildFailed

    given = {"EPSILON_HOST": host, "EPSILON_PORT": port, "EPSILON_HOME": home}
    settings = read_settings(
        {name: str(value) for name, value in given.items() if value is not None}
    )
    try:
        with running(settings) as house:
            _announce(house, as_json=as_json)
            house.serve()
    except (HouseRefused, ChildFailed) as refusal:
        fail(str(refusal))
    except KeyboardInterrupt:
        fail("stopped while starting", Ended.STOPPED)


def _announce(house: "House", *, as_json: bool) -> None:
    if as_json:
        said = {
            "url": house.url,
            "home": str(house.settings.home),
            "admin_key": house.admin_key,
            "public_key": None if house.public_key is None else str(house.public_key),
        }
        typer.echo(json.dumps(said))  # one line: the output stays open
        return
    if house.admin_key is not None:
        console.print("The first administrator's key, shown this once:", house.admin_key)
    if house.public_key is not None:
        console.print("Checkpoints are signed; verify them with", house.public_key)
    console.print(f"Serving at {house.url} (state in {house.settings.home}); Ctrl-C stops it.")


@program.command(rich_help_panel=RUNNING)
def migrate(
    role: Annotated[
        str | None,
        typer.Option(help="an existing role to give what the service needs, as `grant-role` does"),
    ] = None,
) -> None:
    """Bring the database to the newest schema; run by the owner of its tables."""
    from app.db.migrate import upgrade

    upgrade(read_settings().database_url)
    if role is not None:
        # at once: until then the service may not read what the migration has made
        grant_role(role)


@program.command(rich_help_panel=RUNNING)
def grant_role(role: Annotated[str, typer.Argument(help="an existing role of PostgreSQL")]) -> None:
    """Give a role what the service needs, and nothing by which history could be altered."""
    from app.db.grants import RoleRefused, grant
    from app.db.session import make_engine

    engine = make_engine(read_settings().database_url)
    try:
        grant(engine, role)
    except RoleRefused as refused:
        fail(str(refused))
    finally:
        engine.dispose()
    console.print(f"{role} may run the service; history it can read and add to", markup=False)


@program.command(rich_help_panel=RUNNING)
def check_migrations() -> None:
    """Say what the models declare and the migrated schema does not hold; exits 1 if anything."""
    from app.db.migrate import differences, upgrade

    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/migrated.sqlite3"
        upgrade(url)
        found = differences(url)
    for difference in found:
        errors.print(repr(difference), markup=False)
    if found:
        fail(f"{len(found)} differences between the models and the migrations")
    console.print("models and migrations agree")


@program.command(rich_help_panel=RUNNING)
def openapi(
    *,
    write: Annotated[bool, typer.Option("--write", help="write openapi.yaml here")] = False,
) -> None:
    """The contract of the API, as YAML."""
    from app.main import openapi_yaml

    text = openapi_yaml()
    if write:
        CONTRACT.write_text(text, encoding="utf-8")
        console.print(f"wrote {CONTRACT}")
    else:
        typer.echo(text, nl=False)


@program.command(context_settings=PASSED_ON, rich_help_panel=RUNNING)
def sort_copy(context: typer.Context) -> None:
    """Write a copy of rows, sorted by user: SOURCE TARGET --unit COLUMN; --help says more."""
    from app.programs import sorter_command

    # a command line of our own, without a shell
    raise typer.Exit(subprocess.call(sorter_command(context.args)))  # noqa: S603


@program.command(context_settings=PASSED_ON, rich_help_panel=RUNNING)
def check_models(context: typer.Context) -> None:
    """Examine the models of installed packages, where torch is; exits 1 if one is refused."""
    from app.programs import examiner_command

    # a command line of our own, without a shell
    raise typer.Exit(subprocess.call(examiner_command(context.args)))  # noqa: S603


@program.command(rich_help_panel=RUNNING)
def version() -> None:
    """The installed version."""
    try:
        console.print(installed_version("epsilon-ledger"))
    except PackageNotFoundError:
        fail("not installed: this runs from a bare checkout")
