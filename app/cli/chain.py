"""Commands on the root chain: its key, its checkpoints, and a restored database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.terminal import EVIDENCE, console, errors, fail, program, read_settings

if TYPE_CHECKING:
    from app.services.checkpoints import Checkpoints


@program.command(rich_help_panel=EVIDENCE)
def create_key(
    *,
    if_missing: Annotated[
        bool, typer.Option("--if-missing", help="leave a usable key that is there")
    ] = False,
) -> None:
    """Make the key that signs checkpoints, with its public half beside it."""
    from app.services import signing

    path = read_settings().key_file
    try:
        if if_missing and path.exists():
            signing.load(path)
            return
        key = signing.create(path).public
    except signing.KeyRefused as refused:
        fail(str(refused))
    signing.write_public(path, key)
    console.print(f"{path} signs; verify with {signing.public_path(path)}", markup=False)


@program.command(rich_help_panel=EVIDENCE)
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


@program.command(rich_help_panel=EVIDENCE)
def rotate_key() -> None:
    """Let the key that signs name a new one, which signs from then on."""
    from app.services import signing

    with open_checkpoints() as checkpoints:
        made = checkpoints.rotate()
        public = signing.public_path(checkpoints.key_file)
    console.print(f"checkpoint {made.seq} names the next key; verify with {public}", markup=False)


@program.command(rich_help_panel=EVIDENCE)
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
