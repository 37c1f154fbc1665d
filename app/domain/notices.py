"""What the service tells of by itself, and which facts of it may leave the house.

Officers read a line whole in their inbox. A webhook's body or a mail lies on other machines for
years: it holds ids and public facts, and whoever wants the figures asks with a key of his own.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

NoticeKind = Literal[
    "threshold",
    "refusals",
    "frozen",
    "audit",
    "approval",
    "broken-chain",
    "behind-witness",
    "break-glass",
    "delegation",
]
NOTICE_KINDS: Final[tuple[NoticeKind, ...]] = get_args(NoticeKind)

# an allow-list: a fact that is new to a line stays inside until it is named here
FACTS_TOLD: Final[Mapping[str, tuple[str, ...]]] = {
    "threshold": ("budget_id", "percent"),
    "refusals": ("principal_id",),
    "frozen": ("budget_id", "cause"),
    "audit": ("budget_id", "job_id"),
    "approval": ("action", "budget_id", "dataset_id", "requested_by"),
    "broken-chain": ("budget_id",),
    "behind-witness": ("budget_id",),
    "break-glass": ("decided_by",),
    "delegation": ("delegator_id", "delegate_id", "state", "ends_at"),
}

# one line for a person; the subject's id and the facts stand below it
HEADLINES: Final[Mapping[str, str]] = {
    "threshold": "A budget has passed {percent}% of its limit",
    "refusals": "One person is refused again and again",
    "frozen": "The service has frozen a budget",
    "audit": "The canaries of a run do not look like its claim",
    "approval": "A change waits for a second person: {action}",
    "broken-chain": "A ledger does not agree with its replay",
    "break-glass": "An officer has frozen everything",
    "delegation": "A delegation of decisions was {state}",
    "behind-witness": "The database is behind its witness",
}


def told_facts(kind: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a line that may leave the house; none of a kind that is not known."""
    return {name: facts[name] for name in FACTS_TOLD.get(kind, ()) if name in facts}


def headline(kind: str, facts: Mapping[str, Any]) -> str:
    """The line in one sentence, by told facts alone."""
    return HEADLINES.get(kind, kind).format_map(told_facts(kind, facts))
