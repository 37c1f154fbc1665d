"""Jobs: what one would cost, asking for one, following it, and what it released."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from app.cli.given import dataset_of_sql, read_document
from app.cli.signing_in import signed_in
from app.cli.terminal import (
    ASKING,
    AsJson,
    Ended,
    console,
    errors,
    fail,
    new_table,
    program,
    show_json,
)
from app.client import EpsilonLedger
from app.reporting.result_table import ResultTable, has_table, result_table

Document = dict[str, Any]

jobs = typer.Typer(no_args_is_help=True, help="Jobs that were asked for.")
program.add_typer(jobs, name="jobs", rich_help_panel=ASKING)

ROWS_SHOWN: Final = 40
ID_WIDTH: Final = 36
# said once below the table, or beside the value
OUT_OF_TABLE: Final = (" half_width_95", " mechanism")

Budget = Annotated[
    str | None, typer.Option(help="which budget pays; by name or id, the only open leaf if unset")
]
Epsilon = Annotated[str, typer.Option(help="of the whole query, a decimal")]
Delta = Annotated[str, typer.Option(help="of the whole query, a decimal")]
Purpose = Annotated[str, typer.Option(help="why; it is kept with the job")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="stay until the job has ended")]


@program.command(rich_help_panel=ASKING)
def quote(
    what: Annotated[str, typer.Argument(help='a file with a job, - for stdin, or "SELECT ..."')],
    epsilon: Epsilon = "1",
    delta: Delta = "0",
    budget: Budget = None,
    *,
    as_json: AsJson = False,
) -> None:
    """What a job would cost and whether it fits; no data is touched and nothing is charged."""
    with signed_in(as_json=as_json) as ledger:
        if what.lstrip().lower().startswith("select"):
            asked = _of_sql(ledger, what, epsilon, delta, budget)
        else:
            asked = _of_file(ledger, what, budget)
        answer = ledger.quote(inputs=asked["inputs"], spec=asked["spec"], kind=asked.get("kind"))
    if as_json:
        show_json(answer)
    else:
        _print_quote(answer)


@program.command(rich_help_panel=ASKING)
def query(
    sql: Annotated[str, typer.Argument(metavar='"SELECT ..."', help="over one dataset")],
    epsilon: Epsilon,
    purpose: Purpose,
    delta: Delta = "0",
    budget: Budget = None,
    csv: Annotated[Path | None, typer.Option(help="write the whole table there")] = None,
    *,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Ask a question in SQL, pay for it, and print what was released with its error."""
    with signed_in(as_json=as_json) as ledger:
        asked = _of_sql(ledger, sql, epsilon, delta, budget)
        _ask(ledger, {**asked, "purpose": purpose}, wait=wait, as_json=as_json, csv=csv)


@program.command(rich_help_panel=ASKING)
def train(
    file: Annotated[str, typer.Argument(help="a job as JSON or YAML, - for stdin")],
    purpose: Annotated[str | None, typer.Option(help="why, where the file does not say")] = None,
    budget: Budget = None,
    folder: Annotated[Path | None, typer.Option(help="where model and card are written")] = None,
    *,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Ask for a training run, follow it, and fetch the model and its card."""
    with signed_in(as_json=as_json) as ledger:
        asked = _of_file(ledger, file, budget)
        reason = purpose or asked.get("purpose")
        if not reason:
            fail("say --purpose", Ended.UNREADABLE)
        job = {**asked, "kind": "train", "purpose": reason}
        _ask(ledger, job, wait=wait, as_json=as_json, folder=folder)


@jobs.command("list")
def list_jobs(*, as_json: AsJson = False) -> None:
    """Your jobs, newest first; everybody's for officers and auditors."""
    with signed_in(as_json=as_json) as ledger:
        found = ledger.get("/v1/jobs", limit=ROWS_SHOWN)["items"]
    if as_json:
        show_json(found)
        return
    _print_jobs(found)


@jobs.command("watch")
def watch_job(
    job_id: Annotated[str, typer.Argument(metavar="ID")], *, as_json: AsJson = False
) -> None:
    """Follow a job to its end and print what it released."""
    with signed_in(as_json=as_json) as ledger:
        _follow(ledger, job_id, as_json=as_json)


@jobs.command("cancel")
def cancel_job(
    job_id: Annotated[str, typer.Argument(metavar="ID")], *, as_json: AsJson = False
) -> None:
    """Ask a job to stop: a queued one costs nothing, of a running one what has started is spent."""
    with signed_in(as_json=as_json) as ledger:
        answer = ledger.post(f"/v1/jobs/{job_id}/cancel")
    if as_json:
        show_json(answer)
    else:
        console.print(f"job {job_id} is {answer['state']}, a stop was asked for", markup=False)


@jobs.command("result")
def print_result(
    job_id: Annotated[str, typer.Argument(metavar="ID")],
    csv: Annotated[Path | None, typer.Option(help="write the whole table there")] = None,
    folder: Annotated[Path | None, typer.Option(help="where its files are written")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """What a settled job released."""
    with signed_in(as_json=as_json) as ledger:
        _deliver(ledger, job_id, as_json=as_json, csv=csv, folder=folder)


def _of_sql(
    ledger: EpsilonLedger, sql: str, epsilon: str, delta: str, budget: str | None
) -> Document:
    privacy = {"epsilon": epsilon, "delta": delta, "noise": "auto"}
    inputs = ledger.inputs(dataset_of_sql(sql), budget)
    return {"kind": "query", "inputs": inputs, "spec": {"sql": sql, "privacy": privacy}}


def _of_file(ledger: EpsilonLedger, file: str, budget: str | None) -> Document:
    """A job as the service takes it, or its short form: `dataset`, `budget` by name and `spec`."""
    job = read_document(file)
    if not isinstance(job.get("spec"), dict):
        fail(f"{file} has no spec", Ended.UNREADABLE)
    if "inputs" not in job:
        if not isinstance(job.get("dataset"), str):
            fail(f"{file} names neither inputs nor a dataset", Ended.UNREADABLE)
        job["inputs"] = ledger.inputs(job["dataset"], budget or job.get("budget"))
    return job


def _ask(
    ledger: EpsilonLedger,
    asked: Document,
    *,
    wait: bool,
    as_json: bool,
    csv: Path | None = None,
    folder: Path | None = None,
) -> None:
    admitted = ledger.submit(
        asked["kind"], inputs=asked["inputs"], spec=asked["spec"], purpose=asked["purpose"]
    )
    if not wait:
        if as_json:
            show_json(admitted)
        else:
            console.print(f"job {admitted['id']} is {admitted['state']}", markup=False)
        return
    if not as_json:
        again = admitted.get("reused_from") is not None
        said = "was released before: nothing is charged" if again else "is admitted"
        errors.print(f"job {admitted['id']} {said}", markup=False, style="dim")
    _follow(ledger, admitted["id"], as_json=as_json, csv=csv, folder=folder)


def _follow(
    ledger: EpsilonLedger,
    job_id: str,
    *,
    as_json: bool,
    csv: Path | None = None,
    folder: Path | None = None,
) -> None:
    job = ledger.watch(job_id)
    if job["state"] != "settled":
        if as_json:
            show_json(job)
        code = f": {job['failure_code']}" if job["failure_code"] else ""
        spent = f"{job['started_units']} of {job['max_units']} units were started and are spent"
        fail(f"job {job_id} is {job['state']}{code}; {spent}", Ended.WITHOUT_RESULT)
    _deliver(ledger, job_id, as_json=as_json, csv=csv, folder=folder)


def _deliver(
    ledger: EpsilonLedger,
    job_id: str,
    *,
    as_json: bool,
    csv: Path | None = None,
    folder: Path | None = None,
) -> None:
    result = ledger.result(job_id)
    if csv is not None:
        ledger.save_result(job_id, csv)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for artifact in result["artifacts"]:
            ledger.download(job_id, artifact["name"], folder)
    if as_json:
        show_json(result)
    else:
        _print_result(result)


def _print_jobs(found: Sequence[Document]) -> None:
    table = new_table("job", "kind", "state", "units", "asked", whole=["asked"])
    table.columns[0].width = ID_WIDTH  # an id in one line, a purpose in several
    for each in found:
        units = f"{each['started_units']} of {each['max_units']}"
        asked = each["created_at"][:16].replace("T", "\n")
        row = [f"{each['id']}\n{each['purpose']}", each["kind"], each["state"], units, asked]
        table.add_row(*map(Text, row))
    console.print(table)


def _print_quote(answer: Document) -> None:
    if answer.get("reused_from"):
        console.print(f"released before by job {answer['reused_from']}: free", markup=False)
    table = new_table("budget", "kind", "asked", "left", "fits", whole=["budget"])
    for charge in answer["charges"]:
        asked, left = charge["asked"], charge["remaining"]
        row = [charge["budget_id"], charge["kind"]]
        row += [
            json.dumps(charge.get("units")) if asked is None else _amount(asked),
            json.dumps(charge.get("slots_left")) if left is None else _amount(left),
            "yes" if charge["fits"] else "no",
        ]
        table.add_row(*map(Text, row))
    console.print(table)
    for each in answer.get("predicted") or []:
        console.print(
            f"{each['measure']}: plus or minus {each['half_width_95']} at 95%", markup=False
        )
    if answer["admitted_now"]:
        console.print("it would be admitted now", markup=False)
    else:
        room = {key: value for key, value in answer["fits"].items() if value is not None}
        console.print(f"it would be refused now; what would fit: {json.dumps(room)}", markup=False)


def _amount(amount: Document) -> str:
    return f"{amount['epsilon']} at {amount['delta']}"


def _print_result(result: Document) -> None:
    if has_table(result):
        _print_table(result_table(result))
    else:
        document = {key: value for key, value in result.items() if key != "artifacts"}
        console.print(json.dumps(document, indent=2, ensure_ascii=False), markup=False)
    for artifact in result["artifacts"]:
        said = f"file {artifact['name']}, {artifact['size_bytes']} bytes"
        console.print(said, style="dim", markup=False)


def _print_table(found: ResultTable) -> None:
    names = [column.name for column in found.columns]
    shown = [name for name in names if not name.endswith(OUT_OF_TABLE)]
    table = new_table(*(name.removesuffix(" value") for name in shown))
    for row in found.rows[:ROWS_SHOWN]:
        cells = dict(zip(names, row, strict=True))
        table.add_row(*(Text(_with_error(cells, name)) for name in shown))
    console.print(table)
    if len(found.rows) > ROWS_SHOWN:
        console.print(f"{len(found.rows) - ROWS_SHOWN} more rows: --csv FILE has all", style="dim")
    noise = {
        value
        for name, values in zip(names, zip(*found.rows, strict=True), strict=False)
        if name.endswith(" mechanism")
        for value in values
        if value is not None
    }
    if noise:
        said = f"plus or minus the half-width of the noise at 95%: {', '.join(sorted(noise))}"
        console.print(said, style="dim", markup=False)
    for note in found.notes:
        console.print(note, style="dim", markup=False)


def _with_error(cells: Mapping[str, Any], name: str) -> str:
    """A released value, and how far the noise may have moved it."""
    said = _cell(cells[name])
    width = cells.get(f"{name.removesuffix(' value')} half_width_95")
    return f"{said} ± {width}" if name.endswith(" value") and width is not None else said


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.7g}"  # the last digits are noise's; --json and --csv have them all
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
