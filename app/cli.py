"""The operator's commands: run the service, move its schema, write its contract."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from app.settings import SettingRefused, Settings

if TYPE_CHECKING:
    from app.services.checkpoints import Checkpoints

app = typer.Typer(
    name="epsilon-ledger",
    help="Epsilon Ledger: govern privacy budgets.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals may hold keys
)
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

CONTRACT = Path("openapi.yaml")


@app.command()
def up(
    host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on; 0 takes a free one")] = None,
    home: Annotated[
        Path | None, typer.Option(help="folder of the state, .epsilon if unset")
    ] = None,
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
            if house.admin_key is not None:
                console.print("The first administrator's key, shown this once:", house.admin_key)
            if house.public_key is not None:
                console.print("Checkpoints are signed; verify them with", house.public_key)
            console.print(f"Serving at {house.url} (state in {settings.home}); Ctrl-C stops it.")
            house.serve()
    except (HouseRefused, ChildFailed) as refusal:
        fail(str(refusal))
    except KeyboardInterrupt:
        fail("stopped while starting", code=130)


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    from app.db.migrate import upgrade

    upgrade(read_settings().database_url)


@app.command()
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


@app.command()
def create_key() -> None:
    """Make the key that signs checkpoints, with its public half beside it."""
    from app.services import signing

    path = read_settings().key_file
    try:
        key = signing.create(path).public
    except signing.KeyRefused as refused:
        fail(str(refused))
    signing.write_public(path, key)
    console.print(f"{path} signs; verify with {signing.public_path(path)}", markup=False)


@app.command()
def checkpoint() -> None:
    """Sign where all ledgers stand now."""
    with open_checkpoints() as checkpoints:
        made = checkpoints.make()
    for budget_id, fault in made.faults.items():
        errors.print(f"{budget_id} entry {fault.seq}: {fault.reason}", markup=False)
    if made.checkpoint is not None:
        console.print(f"checkpoint {made.checkpoint.seq} {made.checkpoint.hash}")
    elif not made.faults:
        console.print("nothing has moved since the last checkpoint")
    if made.faults:
        fail(f"{len(made.faults)} chains do not follow; their heads stay where they were")


@app.command()
def rotate_key() -> None:
    """Let the key that signs name a new one, which signs from then on."""
    from app.services import signing

    with open_checkpoints() as checkpoints:
        made = checkpoints.rotate()
        public = signing.public_path(checkpoints.key_file)
    console.print(f"checkpoint {made.seq} names the next key; verify with {public}", markup=False)


@app.command()
def restore_check() -> None:
    """Hold the database against its journals and checkpoints, and replay every chain; exits 1.

    What is behind its witness or does not agree is frozen, as at the start of the service.
    """
    from app.services.recovery import LedgerForgotten, Recovery
    from app.services.verification import Verifier

    settings = read_settings()
    with open_checkpoints() as checkpoints:
        recovery = Recovery(checkpoints.make_session, settings.witness_dir, checkpoints.signed())
        try:
            found = recovery.compare(everything=True)
        except LedgerForgotten as forgotten:
            fail(str(forgotten))
        verified = Verifier(checkpoints.make_session).everything()
    faults = {key: each.fault for key, each in verified.items() if each.fault is not None}
    entries = sum(each.entries for each in verified.values())
    console.print(f"{found.touches} touches in journals, {entries} entries replayed")
    for budget_id, fault in faults.items():
        errors.print(f"{budget_id} entry {fault.seq}: {fault.reason}", markup=False)
    if found.unsettled or faults:
        fail(
            f"{found.missing} things that the database does not know, {found.unsettled} roots to "
            f"settle by two people, {len(faults)} budgets whose chain does not agree"
        )
    console.print("the database knows all that its witness knows")


@app.command()
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


@app.command()
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


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="where the bundle goes; not replaced")],
    *,
    with_tail: Annotated[
        bool, typer.Option("--with-tail", help="also entries that no checkpoint has signed yet")
    ] = False,
) -> None:
    """Write the whole ledger as one file that `verify` checks without the service."""
    from app.db.session import make_engine, make_session_maker
    from app.services.export import lines

    if file.exists():
        fail(f"{file} is there already")
    engine = make_engine(read_settings().database_url)
    beside = file.with_name(f"{file.name}.part")
    try:
        with beside.open("wb") as written:
            count = 0
            for line in lines(make_session_maker(engine), with_tail=with_tail):
                written.write(line)
                count += 1
        beside.replace(file)
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}")
    finally:
        beside.unlink(missing_ok=True)
        engine.dispose()
    console.print(f"wrote {count} lines to {file}")


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)
def verify(context: typer.Context) -> None:
    """Check an exported ledger: BUNDLE --public-key FILE; --help says more."""
    from app import verifier

    raise typer.Exit(verifier.main(context.args))


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)
def sort_copy(context: typer.Context) -> None:
    """Write a copy of rows, sorted by user: SOURCE TARGET --unit COLUMN; --help says more."""
    from app.programs import sorter_command

    # a command line of our own, without a shell
    raise typer.Exit(subprocess.call(sorter_command(context.args)))  # noqa: S603


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)
def check_models(context: typer.Context) -> None:
    """Examine the models of installed packages, where torch is; exits 1 if one is refused."""
    from app.programs import examiner_command

    # a command line of our own, without a shell
    raise typer.Exit(subprocess.call(examiner_command(context.args)))  # noqa: S603


@app.command()
def version() -> None:
    """The installed version."""
    try:
        console.print(installed_version("epsilon-ledger"))
    except PackageNotFoundError:
        fail("not installed: this runs from a bare checkout")


@contextmanager
def open_checkpoints() -> Iterator["Checkpoints"]:
    """The root chain of the settings; what it refuses ends the command in one line."""
    from app.db.session import make_engine, make_session_maker
    from app.services.checkpoints import Checkpoints, RootChainRefused
    from app.services.signing import KeyRefused

    settings = read_settings()
    engine = make_engine(settings.database_url)
    folder = settings.witness_dir / "checkpoints"
    try:
        yield Checkpoints(make_session_maker(engine), folder, settings.key_file)
    except (KeyRefused, RootChainRefused) as refused:
        fail(str(refused))
    finally:
        engine.dispose()


def read_settings(given: dict[str, str] | None = None) -> Settings:
    """Settings of the environment under those of the command line; a mistake ends here."""
    try:
        return Settings.from_environment({**os.environ, **(given or {})})
    except SettingRefused as refusal:
        fail(str(refusal))


def fail(reason: str, code: int = 1) -> NoReturn:
    """End the command with one line on stderr."""
    errors.print(f"epsilon-ledger: {reason}")
    raise typer.Exit(code)


def main() -> None:
    """The program `epsilon-ledger`."""
    app()


if __name__ == "__main__":
    main()
