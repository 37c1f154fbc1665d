"""The root chain: checkpoints over the heads of all ledgers, each signed and naming the last (R23).

A checkpoint is RFC 8785 canonical JSON. Who holds one, and the public key, can tell whether a
ledger still passes through the heads that it had then; who holds the database alone cannot make one
that says otherwise. Signing itself is done where the key lies (`services.signing`).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.ledger import (
    GENESIS_HASH,
    ChainedEntry,
    ChainFault,
    canonical_bytes,
    entry_hash,
    time_text,
)

CHECKPOINT_VERSION = 1
CHECKPOINT_TAG = b"epsilon-ledger/checkpoint/1\n"
HEADS_TAG = b"epsilon-ledger/heads/1\n"
FIELDS = frozenset({"v", "seq", "prev", "at", "heads", "key"})
OPTIONAL_FIELDS = frozenset({"next_key"})


@dataclass(frozen=True, slots=True, order=True)
class Head:
    """Where the chain of one budget stood: its last sequence number and that entry's hash."""

    budget_id: str
    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed checkpoint with the heads that its root was made of.

    body: the canonical text that is hashed and signed under the tag; signature: base64.
    """

    body: str
    signature: str
    heads: tuple[Head, ...]

    @property
    def said(self) -> Mapping[str, Any]:
        """The fields of the body."""
        document: Mapping[str, Any] = json.loads(self.body)
        return document

    @property
    def seq(self) -> int:
        """Its place in the root chain, from 1."""
        seq: int = self.said["seq"]
        return seq

    @property
    def at(self) -> datetime:
        """When it was made, by the clock of its database."""
        return datetime.fromisoformat(self.said["at"])

    @property
    def hash(self) -> str:
        """What the next checkpoint names as `prev`."""
        return checkpoint_hash(self.body.encode())

    def to_json(self) -> dict[str, Any]:
        """The form in which it leaves the database."""
        return {
            "body": self.body,
            "hash": self.hash,
            "signature": self.signature,
            "heads": heads_json(self.heads),
        }


def checkpoint_body(
    *,
    seq: int,
    previous_hash: str,
    at: datetime,
    heads: Sequence[Head],
    key_sha256: str,
    next_key: str | None = None,
) -> bytes:
    """The canonical bytes of a checkpoint in its place.

    key_sha256: of the raw public key that signs it. next_key: base64 of the raw public key that
        signs from the next one on; only in the entry of a rotation (R23).
    """
    document: dict[str, Any] = {
        "v": CHECKPOINT_VERSION,
        "seq": seq,
        "prev": previous_hash,
        "at": time_text(at),
        "heads": {"count": len(heads), "root": heads_root(heads)},
        "key": key_sha256,
    }
    if next_key is not None:
        document["next_key"] = next_key
    return canonical_bytes(document)


def signed_bytes(body: bytes) -> bytes:
    """What the signature covers: the body under its tag, so that it is no other kind of message."""
    return CHECKPOINT_TAG + body


def checkpoint_hash(body: bytes) -> str:
    """SHA-256 over the tagged body."""
    return hashlib.sha256(CHECKPOINT_TAG + body).hexdigest()


def heads_root(heads: Iterable[Head]) -> str:
    """One hash over the heads of all budgets, in the order of their ids."""
    return hashlib.sha256(HEADS_TAG + canonical_bytes(heads_json(heads))).hexdigest()


def heads_json(heads: Iterable[Head]) -> list[list[Any]]:
    """[[budget_id, seq, hash], ...] in the order of budget ids."""
    return [[head.budget_id, head.seq, head.hash] for head in sorted(heads)]


def read_checkpoint(document: Any) -> Checkpoint:
    """A checkpoint out of its JSON form, whole in itself; its signature is for the caller to check.

    Raises:
        ValueError: it has another shape, is not canonical, or its root is not that of its heads.
    """
    try:
        body, signature = document["body"], document["signature"]
        heads = tuple(Head(*_head(item)) for item in document["heads"])
        said = json.loads(body)
        is_canonical = canonical_bytes(said) == body.encode()
        fields = set(said)
        root, count = said["heads"]["root"], said["heads"]["count"]
        shaped = isinstance(signature, str) and isinstance(said["seq"], int) and said["seq"] >= 1
        datetime.fromisoformat(said["at"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("not a checkpoint") from None
    if not is_canonical or not FIELDS <= fields <= FIELDS | OPTIONAL_FIELDS or not shaped:
        raise ValueError("not a checkpoint in canonical form")
    if (root, count) != (heads_root(heads), len(heads)):
        raise ValueError("the root is not that of the heads")
    return Checkpoint(body, signature, heads)


def follow(
    budget_id: str, entries: Iterable[ChainedEntry], after: Head | None
) -> Head | ChainFault:
    """Walk on from a head that is believed: hashes, links and numbers, no sums.

    It costs what has been added since, however long the chain; `ledger.replay` starts at genesis
    and knows the sums as well (L4).
    """
    seq, head = (0, GENESIS_HASH) if after is None else (after.seq, after.hash)
    for entry in entries:
        if entry_hash(entry.body.encode("utf-8", "surrogatepass")) != entry.hash:
            return ChainFault(seq + 1, "the entry does not match its hash")
        try:
            said = json.loads(entry.body)
            place = (said["ledger"], said["seq"], said["prev"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return ChainFault(seq + 1, "the stored bytes are not an entry")
        if place != (budget_id, seq + 1, head) or entry.seq != seq + 1:
            return ChainFault(seq + 1, "the entry does not follow the one before it")
        seq, head = entry.seq, entry.hash
    return Head(budget_id, seq, head)


def _head(item: object) -> tuple[str, int, str]:
    if not isinstance(item, list | tuple) or len(item) != 3:
        raise ValueError("a head has three members")
    budget_id, seq, digest = item
    if not (isinstance(budget_id, str) and isinstance(seq, int) and isinstance(digest, str)):
        raise TypeError("a head is an id, a number and a hash")
    return budget_id, seq, digest
