"""The program `epsilon-ledger`: one file for each noun that it has commands about."""

from app.cli import (
    approvals,
    backups,
    budgets,
    bundles,
    chain,
    completion,
    delegations,
    endings,
    jobs,
    keys,
    operation,
    programs,
    reports,
    setting_up,
    signing_in,
)
from app.cli.terminal import program

__all__ = [
    "approvals",
    "backups",
    "budgets",
    "bundles",
    "chain",
    "completion",
    "delegations",
    "endings",
    "jobs",
    "keys",
    "main",
    "operation",
    "program",
    "programs",
    "reports",
    "setting_up",
    "signing_in",
]


def main() -> None:
    """The program `epsilon-ledger`."""
    program()
