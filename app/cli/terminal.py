"""What all commands share: the program they belong to, where they write, and how they end."""

import json
import os
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Annotated, Any, Final, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from app.settings import SettingRefused, Settings


class Ended(IntEnum):
    """How a command ends: its exit code. 2 is also that of a command line that cannot be read."""

    WELL = 0
    FAILED = 1
    UNREADABLE = 2
    REFUSED = 3
    NOT_ALLOWED = 4
    OUT_OF_REACH = 5
    WITHOUT_RESULT = 6
    STOPPED = 130


EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 failed, or something wrong was found; 2 the command line or a file "
    "cannot be read; 3 refused by the service, which charged nothing; 4 not signed in or not "
    "allowed; 5 the service is out of reach; 6 the job ended without a result; 130 stopped."
)


class _Program(TyperGroup):
    """Ends in one line where a file or the database that was named is not as it has to be."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.filename is None:
                raise  # of no file: a fault of ours
            fail(f"{error.filename}: {error.strerror}")
        except Exception as error:
            if not _is_of_database(error):
                raise
            fail(f"the database does not answer as the ledger's ({type(error).__name__})")


program = typer.Typer(
    name="epsilon-ledger",
    cls=_Program,
    add_completion=False,  # `completion` prints it
    help="Epsilon Ledger: govern privacy budgets.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals may hold keys
)
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="print the answer as JSON")]

# the panels of `--help`
SETTING_UP: Final = "Set up"
ASKING: Final = "Ask and follow"
GOVERNING: Final = "Govern"
EVIDENCE: Final = "Evidence"
RUNNING: Final = "Run the service"

# of a command that hands its command line on as it stands
PASSED_ON: Final[dict[str, Any]] = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}


def show_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print a document for a program to read: nothing else stands on the output."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def read_settings(given: dict[str, str] | None = None) -> Settings:
    """Settings of the environment under those of the command line; a mistake ends here."""
    try:
        return Settings.from_environment({**os.environ, **(given or {})})
    except SettingRefused as refusal:
        fail(str(refusal))


def new_table(*headers: str, whole: Sequence[str] = ()) -> Table:
    """A table that stays readable at 80 columns.

    whole: the columns that are never broken: an id or a number in two lines can be neither copied
        nor compared.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for header in headers:
        table.add_column(Text(header), overflow="fold", no_wrap=header in whole)
    return table


def fail(reason: str, code: int = Ended.FAILED) -> NoReturn:
    """End the command with one line on stderr."""
    errors.print(f"epsilon-ledger: {reason}", markup=False)
    raise typer.Exit(code)


def _is_of_database(error: Exception) -> bool:
    from sqlalchemy.exc import OperationalError  # only here: it takes long to load

    return isinstance(error, OperationalError)
