"""Bundles: the whole ledger as one file, and what holds a bundle or a report against itself."""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from app.cli.signing_in import read_login, signed_in
from app.cli.terminal import (
    EVIDENCE,
    PASSED_ON,
    AsJson,
    Ended,
    console,
    errors,
    fail,
    program,
    read_settings,
    show_json,
)

Document = dict[str, Any]

# the last line says that nothing is missing; it is far shorter than this
LAST_LINE: Final = b'{"end":'
LAST_BYTES: Final = 4096


@program.command(rich_help_panel=EVIDENCE)
def export(
    file: Annotated[Path, typer.Argument(help="where the bundle goes; not replaced")],
    url: Annotated[str | None, typer.Option(help="address of the service")] = None,
    *,
    with_tail: Annotated[
        bool, typer.Option("--with-tail", help="also entries that no checkpoint has signed yet")
    ] = False,
    from_database: Annotated[
        bool,
        typer.Option(
            "--from-database",
            help="read EPSILON_DATABASE_URL instead, without service and key, as its operator",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the whole ledger as one file that `verify` checks without the service.

    Officers and auditors may; the operator of the database by --from-database, also where the
    service is down.
    """
    if from_database and url is not None:
        fail("--from-database asks no service: leave out --url", Ended.UNREADABLE)
    if file.exists():
        fail(f"{file} is there already")
    if from_database:
        with _lines_of_database(with_tail=with_tail) as lines:
            written = _write(file, lines)
    else:
        with signed_in(read_login(url), as_json=as_json) as ledger:
            written = _write(file, ledger.bundle(with_tail=with_tail))
    if as_json:
        show_json(written)
        return
    console.print(f"wrote {written['lines']} lines to {file}", markup=False)
    console.print(f"sha256 {written['sha256']}", markup=False, style="dim")


@program.command(context_settings=PASSED_ON, rich_help_panel=EVIDENCE)
def verify(context: typer.Context) -> None:
    """Check an exported ledger: BUNDLE --public-key FILE; --help says more."""
    from app import verifier

    raise typer.Exit(verifier.main(context.args))


@program.command(rich_help_panel=EVIDENCE)
def verify_report(
    report: Annotated[Path, typer.Argument(help="the report's JSON form")],
    bundle: Annotated[Path, typer.Option("--bundle", help="an export, as new as the report")],
    public_key: Annotated[Path, typer.Option("--public-key", help="the key that you trust")],
    *,
    as_json: AsJson = False,
) -> None:
    """Check a report against an exported ledger; names the first thing that differs.

    Exits 0 where nothing differs, 1 where something does, 2 where a file cannot be read.
    """
    from app import verifier
    from app.reporting import verification

    try:
        key = verifier.read_public_key(public_key)
        found = verification.verify_report(report.read_bytes(), bundle.read_bytes(), key)
    except (verifier.Unreadable, verification.Unreadable, OSError) as error:
        errors.print(f"verify-report: {error}", markup=False)
        raise typer.Exit(Ended.UNREADABLE) from None
    text = json.dumps(found.to_json(), indent=2) + "\n" if as_json else found.in_words()
    sys.stdout.write(text)
    raise typer.Exit(Ended.WELL if found.difference is None else Ended.FAILED)


@contextmanager
def _lines_of_database(*, with_tail: bool) -> Iterator[Iterator[bytes]]:
    from app.db.migrate import is_at_head
    from app.db.session import make_engine, make_session_maker
    from app.services.export import lines

    engine = make_engine(read_settings().database_url)
    try:
        if not is_at_head(engine):
            fail("the database has not the schema of this version: run `migrate`")
        yield lines(make_session_maker(engine), with_tail=with_tail)
    finally:
        engine.dispose()


def _write(file: Path, pieces: Iterable[bytes]) -> Document:
    """Write a bundle beside its place and put it there once its last line has come."""
    beside = file.with_name(f"{file.name}.part")
    digest, size, count, last = hashlib.sha256(), 0, 0, b""
    try:
        with beside.open("wb") as written:
            for piece in pieces:
                written.write(piece)
                digest.update(piece)
                size += len(piece)
                count += piece.count(b"\n")
                last = (last + piece)[-LAST_BYTES:]
        if not last.endswith(b"\n") or not last.splitlines()[-1].startswith(LAST_LINE):
            fail("what came is no whole bundle; nothing was written", Ended.OUT_OF_REACH)
        beside.replace(file)
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}")
    finally:
        beside.unlink(missing_ok=True)
    return {"file": str(file), "lines": count, "bytes": size, "sha256": digest.hexdigest()}
