"""Evaluation reports: have one built by the running service, and write it to a file."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from app.cli.signing_in import read_login, signed_in
from app.cli.terminal import EVIDENCE, AsJson, Ended, console, errors, fail, program, show_json

NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")


class Form(StrEnum):
    """What a report can be written as."""

    JSON = "json"
    HTML = "html"
    PDF = "pdf"


@program.command(rich_help_panel=EVIDENCE)
def report(
    dataset: Annotated[str, typer.Option(help="of which dataset, by name or id")],
    form: Annotated[
        Form, typer.Option("--format", help="json is what is signed, the others show it")
    ] = Form.JSON,
    out: Annotated[
        Path | None, typer.Option(help="where it is written; else here, by the dataset's name")
    ] = None,
    checkpoint: Annotated[
        int | None, typer.Option(help="the signed checkpoint to stand on; else the ledger of now")
    ] = None,
    url: Annotated[str | None, typer.Option(help="address of the service")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Have an evaluation report built and signed, and write it to a file.

    Officers and auditors may. `verify-report` checks the JSON without the service.
    """
    with signed_in(read_login(url), as_json=as_json) as ledger:
        # what is underway is for the person who looks on, so it goes where errors go
        with errors.status("waiting for a worker") as status:
            found = ledger.report(
                dataset,
                on_progress=lambda line: status.update(progress_line(line)),
                checkpoint_seq=checkpoint,
            )
        if found["state"] != "ready":
            if as_json:
                show_json(found)
            fail(f"report {found['id']} failed: {found['failure_code']}", Ended.WITHOUT_RESULT)
        target = out or Path(f"{NOT_IN_A_NAME.sub('-', dataset)}.report.{form.value}")
        ledger.save_report(found["id"], target, form=form.value)
    if as_json:
        show_json({**found, "file": str(target)})
        return
    console.print(f"{target} shows report {found['id']}", markup=False)
    console.print(
        f"at checkpoint {found['checkpoint_seq']}; sha256 of its JSON {found['sha256']}",
        markup=False,
        style="dim",
    )


def progress_line(line: dict[str, Any]) -> str:
    """How far a report is, as one line of text."""
    if line["stage"] == "gathering" and line["of"]:
        return f"gathering, {line['done']} of {line['of']} entries"
    return "waiting for a worker" if line["stage"] == "queued" else str(line["stage"])
