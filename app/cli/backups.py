"""Commands on backups: make one while the service runs, and put one back where nothing stands."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.chain import open_checkpoints
from app.cli.terminal import RUNNING, Ended, console, errors, fail, program, read_settings

Unsigned = Annotated[
    bool, typer.Option("--unsigned", help="without a key: nothing then proves whose it is")
]


@program.command(rich_help_panel=RUNNING)
def backup(
    folder: Annotated[Path, typer.Argument(help="a new folder; not replaced")],
    *,
    unsigned: Unsigned = False,
) -> None:
    """Copy the database as it is now, with a signed manifest; the service goes on meanwhile.

    Keys, artifacts and the witness folder are no part of it.
    """
    from app.services.backups import BackupRefused, back_up

    with open_checkpoints() as checkpoints:
        signed = checkpoints.signed()
        if signed is None and not unsigned:
            fail("no key signs the backup: make one with create-key, or say --unsigned")
        try:
            made = back_up(
                checkpoints.make_session.kw["bind"], folder, None if unsigned else signed
            )
        except BackupRefused as refused:
            fail(str(refused))
    named = made.said["checkpoint"]
    behind = "no checkpoint" if named is None else f"checkpoint {named['seq']} {named['hash']}"
    console.print(f"{folder}: {len(made.said['files'])} files, {behind}", markup=False)


@program.command(rich_help_panel=RUNNING)
def restore(
    folder: Annotated[Path, typer.Argument(help="what `backup` made")],
    *,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="a key that is trusted besides our own")
    ] = None,
    unsigned: Unsigned = False,
) -> None:
    """Put a backup back into an empty database, once all its chains are replayed.

    Then the witness is asked: what was touched after the backup freezes its roots until two people
    have settled it, and the exit code is 1.
    """
    from app.services import signing
    from app.services.backups import BackupRefused
    from app.services.backups import restore as put_back
    from app.services.recovery import Recovery

    settings = read_settings()
    with open_checkpoints() as checkpoints:
        keys = checkpoints.known_keys() if checkpoints.signed() is not None else {}
        if public_key is not None:
            given = signing.read_public(public_key)
            keys[given.sha256] = given
        try:
            found = put_back(settings.database_url, folder, keys, may_be_unsigned=unsigned)
        except BackupRefused as refused:
            fail(str(refused))
        console.print(
            f"put back as of {found.manifest.said['at']}: {found.budgets} chains, "
            f"{found.entries} entries replayed",
            markup=False,
        )
        compared = Recovery(
            checkpoints.make_session, settings.witness_dir, checkpoints.signed()
        ).compare(everything=True)
    if compared.unsettled:
        errors.print(f"{compared.missing} things were done after this backup", markup=False)
        fail(f"{compared.unsettled} roots are frozen until two people settle them", Ended.FAILED)
    console.print("the database knows all that its witness knows")
