"""Entries, checkpoints and the ledger's verification on the wire."""

from typing import Any

from app.api.wire import AmountAnswer, IdText, TimeText, WireAnswer


class EntryRead(WireAnswer):
    """One entry of a chain: `body` are the very bytes that `hash` was taken over.

    actor_name: of a person whom the caller may know by name. charge_alone: what the charge would
    consume if it were the only one; null of a plan, of which no part has a figure.
    """

    seq: int
    kind: str
    at: TimeText
    actor: str
    actor_name: str | None
    job: IdText | None
    reservation: IdText | None
    resolves: IdText | None
    parts: list[dict[str, Any]]
    charge_alone: AmountAnswer | None
    hash: str
    prev: str
    body: str


class EntryPage(WireAnswer):
    """Entries in chain order, or from its end back."""

    items: list[EntryRead]
    next: str | None


class HeadRead(WireAnswer):
    """Where the chain of one budget stood: its last number and that entry's hash."""

    budget_id: IdText
    seq: int
    hash: str


class CheckpointRead(WireAnswer):
    """A signed checkpoint: `body` are the very bytes that were hashed and signed under their tag.

    heads: all that the root in the body was made of, in the order of the budgets' ids.
    """

    seq: int
    at: TimeText
    body: str
    hash: str
    signature: str
    heads: list[HeadRead]


class FaultRead(WireAnswer):
    """The first thing wrong with one chain."""

    budget_id: IdText
    seq: int
    reason: str


class VerificationRead(WireAnswer):
    """Every chain walked from its first entry, and compared with the balances."""

    budgets: int
    entries: int
    verified: bool
    faults: list[FaultRead]
