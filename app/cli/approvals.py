"""Approvals: what waits for a second person, and that person's word (L10, R19)."""

import json
from typing import Annotated, Any

import typer

from app.cli.signing_in import signed_in
from app.cli.terminal import GOVERNING, AsJson, Ended, console, fail, program, show_json

Document = dict[str, Any]


@program.command(rich_help_panel=GOVERNING)
def approvals(
    state: Annotated[str, typer.Option(help="pending, approved, rejected, expired or used")] = (
        "pending"
    ),
    *,
    as_json: AsJson = False,
) -> None:
    """Changes that wait for a second person, or waited."""
    with signed_in(as_json=as_json) as ledger:
        found = list(ledger.pages("/v1/approvals", state=state))
    if as_json:
        show_json(found)
        return
    if not found:
        console.print(f"no change is {state}", markup=False)
    for each in found:
        console.print(f"{each['id']}  {_said_of(each)}", markup=False)


@program.command(rich_help_panel=GOVERNING)
def approve(
    approval_id: Annotated[str, typer.Argument(metavar="ID", help="of the approval")],
    reason: Annotated[str, typer.Option(help="why; it is kept with the decision")],
    *,
    on_behalf_of: Annotated[
        str | None, typer.Option(help="id of the officer who has handed you this right")
    ] = None,
    reject: Annotated[bool, typer.Option("--reject", help="say no instead")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask again")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a change exactly as it would be made, and decide it."""
    decision = "reject" if reject else "approve"
    with signed_in(as_json=as_json) as ledger:
        found = ledger.get(f"/v1/approvals/{approval_id}")
        if not as_json:
            console.print(_said_of(found), markup=False)
            console.print(json.dumps(found["change"], indent=2), markup=False)
        if not yes and not typer.confirm(f"{decision} exactly this?", err=True):
            fail("nothing was decided", Ended.STOPPED)
        body = {
            "decision": decision,
            "change_sha256": found["change_sha256"],
            "reason": reason,
            **({} if on_behalf_of is None else {"on_behalf_of": on_behalf_of}),
        }
        path = f"/v1/approvals/{approval_id}/decision"
        answer = ledger.post(path, body, if_match=found["version"])
    if as_json:
        show_json(answer)
    else:
        console.print(f"the approval is {answer['state']}", markup=False)


def _said_of(approval: Document) -> str:
    subject = approval["budget_id"] or approval["dataset_id"]
    return (
        f"{approval['action']} of {subject}, asked {approval['requested_at'][:16]} UTC by "
        f"{approval['requested_by']}: {approval['reason']}"
    )
