"""Delegations: who decides in whose place, and until when (R19)."""

from typing import Annotated

import typer

from app.cli.signing_in import signed_in
from app.cli.terminal import GOVERNING, AsJson, console, program, show_json


@program.command(rich_help_panel=GOVERNING)
def delegate(
    officer: Annotated[str, typer.Argument(metavar="ID", help="of another officer")],
    until: Annotated[str, typer.Option(help="such as 2027-06-30T00:00:00Z; at most 90 days on")],
    reason: Annotated[str, typer.Option(help="why; it is kept")],
    *,
    since: Annotated[str | None, typer.Option("--from", help="at once without it")] = None,
    as_json: AsJson = False,
) -> None:
    """Let another officer decide on approvals in your place for a time."""
    body = {"delegate_id": officer, "ends_at": until, "reason": reason}
    if since is not None:
        body["starts_at"] = since
    with signed_in(as_json=as_json) as ledger:
        made = ledger.post("/v1/delegations", body)
    if as_json:
        show_json(made)
    else:
        console.print(f"{made['id']}  until {made['ends_at'][:16]} UTC", markup=False)


@program.command(rich_help_panel=GOVERNING)
def delegations(
    end: Annotated[str | None, typer.Option("--end", metavar="ID", help="end one now")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Who decides in whose place; or end one before its time."""
    with signed_in(as_json=as_json) as ledger:
        if end is not None:
            ledger.post(f"/v1/delegations/{end}/end")
        found = list(ledger.pages("/v1/delegations"))
    if as_json:
        show_json(found)
        return
    for each in found:
        state = "in force" if each["is_in_force"] else "not in force"
        console.print(
            f"{each['id']}  {state}: {each['delegate_id']} for {each['delegator_id']},"
            f" {each['starts_at'][:16]} to {each['ends_at'][:16]} UTC: {each['reason']}",
            markup=False,
        )
