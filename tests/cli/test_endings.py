"""From a shell: a dataset is retired and purged, each after a question."""

from collections.abc import Callable

from tests.api.world import World, open_root, register
from tests.cli.conftest import Terminal, on_sqlite, sign_in, url

__all__ = ["on_sqlite", "sign_in", "url"]


def test_a_dataset_is_retired_and_purged_where_its_officer_says_yes(
    on_sqlite: World, sign_in: Callable[[str], Terminal]
) -> None:
    root = open_root(on_sqlite, register(on_sqlite))
    officer = sign_in("compliance_officer")
    why = ("--reason", "kept until the end of the study")
    assert officer.run("retire", "trips", typed="n\n").exit_code == 130
    assert officer.run("purge", "trips", *why, "--yes").exit_code == 3
    assert officer.json("retire", "trips", "--yes")["state"] == "retired"
    said = officer.run("purge", "trips", *why, typed="y\n")
    assert said.exit_code == 0, said.output
    assert "its ledger stays" in said.output
    entries = on_sqlite.ask("GET", f"/budgets/{root}/entries", by="auditor").json()["items"]
    assert entries[-1]["kind"] == "purged"
