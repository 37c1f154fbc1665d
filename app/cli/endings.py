"""The end of a dataset: it takes no new work, and then what its jobs have kept is deleted (R20)."""

from typing import Annotated

import typer

from app.cli.signing_in import signed_in
from app.cli.terminal import GOVERNING, AsJson, Ended, console, fail, program, show_json

Dataset = Annotated[str, typer.Argument(metavar="DATASET", help="by name or id")]
Yes = Annotated[bool, typer.Option("--yes", help="do not ask again")]


@program.command(rich_help_panel=GOVERNING)
def retire(dataset: Dataset, *, yes: Yes = False, as_json: AsJson = False) -> None:
    """End a dataset for new work and close its root for good; its loss and its ledger stay."""
    with signed_in(as_json=as_json) as ledger:
        found = ledger.dataset(dataset)
        _ask(f"close {found['name']} for good?", is_answered=yes)
        path = f"/v1/datasets/{found['id']}/retire"
        answer = ledger.post(path, if_match=found["revision"])
    if as_json:
        show_json(answer)
    else:
        console.print(f"{answer['name']} is {answer['state']}", markup=False)


@program.command(rich_help_panel=GOVERNING)
def purge(
    dataset: Dataset,
    reason: Annotated[str, typer.Option(help="why; it is kept in the chain")],
    *,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete what the jobs of a retired dataset released and kept; what they cost stays charged."""
    with signed_in(as_json=as_json) as ledger:
        found = ledger.dataset(dataset)
        _ask(f"delete every result of {found['name']} for good?", is_answered=yes)
        path = f"/v1/datasets/{found['id']}/purge"
        answer = ledger.post(path, {"reason": reason}, if_match=found["revision"])
    if as_json:
        show_json(answer)
        return
    console.print(f"nothing is kept of {found['name']} since {answer['purged_at']}", markup=False)
    console.print("its ledger stays; backups, and what others took away, are not deleted by this")


def _ask(question: str, *, is_answered: bool) -> None:
    if not is_answered and not typer.confirm(question, err=True):
        fail("nothing was done", Ended.STOPPED)
