"""The first steps of a house: people, teams, where rows lie, datasets, and budgets for them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.given import read_document
from app.cli.signing_in import signed_in
from app.cli.terminal import SETTING_UP, AsJson, Ended, console, fail, program, show_json
from app.client import EpsilonLedger

Document = dict[str, Any]

Name = Annotated[str, typer.Argument(help="unique, as people will call it")]
Reason = Annotated[str, typer.Option(help="why; it is kept with the ledger")]


@program.command(rich_help_panel=SETTING_UP)
def add_person(
    name: Name,
    role: Annotated[
        list[str],
        typer.Option(help="ml_engineer, compliance_officer, auditor, admin or worker; repeatable"),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Make a person with roles and a key, which is shown this once. For administrators."""
    with signed_in(as_json=as_json) as ledger:
        person = ledger.post("/v1/people", {"name": name, "roles": role})
        key = ledger.post("/v1/api-keys", {"principal_id": person["id"]})
    if as_json:
        show_json({"person": person, "key": key})
        return
    console.print(f"{name} ({', '.join(role)}) is {person['id']}", markup=False)
    console.print("the key, shown this once:", markup=False)
    typer.echo(key["key"])


@program.command(rich_help_panel=SETTING_UP)
def add_project(
    name: Name,
    member: Annotated[list[str], typer.Option(help="by name or id; repeatable")],
    *,
    as_json: AsJson = False,
) -> None:
    """Make a team, to which datasets are granted. For administrators."""
    with signed_in(as_json=as_json) as ledger:
        people = {each: _person(ledger, each) for each in member}
        made = ledger.post("/v1/projects", {"name": name})
        for each in people.values():
            made = ledger.post(f"/v1/projects/{made['id']}/members", {"principal_id": each["id"]})
    if as_json:
        show_json(made)
    else:
        console.print(f"{name} is {made['id']}, with {', '.join(member)}", markup=False)


@program.command(rich_help_panel=SETTING_UP)
def add_connection(
    name: Name,
    folder: Annotated[Path, typer.Argument(help="as the workers see it")],
    *,
    as_json: AsJson = False,
) -> None:
    """Name a folder below which datasets may lie. For administrators."""
    body = {"name": name, "kind": "folder", "root": str(folder.absolute())}
    with signed_in(as_json=as_json) as ledger:
        made = ledger.post("/v1/connections", body)
    if as_json:
        show_json(made)
    else:
        console.print(f"{name} is {body['root']}", markup=False)


@program.command(rich_help_panel=SETTING_UP)
def register(
    file: Annotated[str, typer.Argument(help="the registration as JSON or YAML, - for stdin")],
    grant: Annotated[list[str] | None, typer.Option(help="a team that may ask; repeatable")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Register a dataset: what is public of it, never a row. For compliance officers."""
    body = read_document(file)
    with signed_in(as_json=as_json) as ledger:
        teams = [_project(ledger, each) for each in grant or ()]
        made = ledger.post("/v1/datasets", body)
        for team in teams:
            ledger.post(f"/v1/datasets/{made['id']}/grants", {"project_id": team["id"]})
    if as_json:
        show_json(made)
        return
    console.print(f"{body.get('name')} is {made['id']}, {made['state']}", markup=False)
    if made.get("approval_id"):
        console.print(f"a second officer decides: approve {made['approval_id']}", markup=False)


@program.command(rich_help_panel=SETTING_UP)
def open_budget(
    dataset: Annotated[str, typer.Argument(help="by name or id")],
    epsilon: Annotated[str, typer.Option(help="the limit, a decimal")],
    reason: Reason,
    delta: Annotated[str, typer.Option(help="the limit, a decimal; far below 1/users")] = "0",
    below: Annotated[
        str | None, typer.Option(help="a budget to take a share of; the lifetime root if unset")
    ] = None,
    team: Annotated[str | None, typer.Option(help="whose share it is")] = None,
    name: Annotated[str | None, typer.Option(help="how it will be called")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Propose a dataset's lifetime root, which takes a second officer, or open a share of it."""
    body: Document = {"limit": {"epsilon": epsilon, "delta": delta}, "reason": reason}
    if delta.strip("0.") == "":
        body["accountant"] = "pure/1"
    with signed_in(as_json=as_json) as ledger:
        rows = ledger.dataset(dataset)
        if below is None and team is not None:
            fail("a team's share lies --below a budget", Ended.UNREADABLE)
        if below is None:
            body |= {"kind": "lifetime", "dataset_id": rows["id"], "name": name or "lifetime"}
        else:
            parent = ledger.inputs(dataset, below)[0]["budget_id"]
            body |= {"kind": "allocation", "parent_id": parent, "name": name or team or "share"}
            if team is not None:
                body["holder"] = {"project_id": _project(ledger, team)["id"]}
        made = ledger.post("/v1/budgets", body)
    if as_json:
        show_json(made)
        return
    console.print(f"{body['name']} of {rows['name']} is {made['state']}", markup=False)
    if made.get("approval_id"):
        console.print(f"a second officer decides: approve {made['approval_id']}", markup=False)


def _person(ledger: EpsilonLedger, name: str) -> Document:
    return _only(list(ledger.pages("/v1/people")), name, "person")


def _project(ledger: EpsilonLedger, name: str) -> Document:
    return _only(list(ledger.pages("/v1/projects")), name, "team")


def _only(found: list[Document], name: str, kind: str) -> Document:
    matching = [each for each in found if name in (each["id"], each["name"])]
    if len(matching) != 1:
        there = ", ".join(each["name"] for each in found[:20]) or "none"
        fail(f"no single {kind} is called {name}; there are: {there}", Ended.UNREADABLE)
    return matching[0]
