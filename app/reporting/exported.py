"""An exported ledger as a report's check reads it: one dataset's chains, prices, checkpoints.

Only for bundles in which the verifier has found nothing wrong: forms are not checked again.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.checkpoints import checkpoint_hash
from app.domain.ledger import ChainedEntry, canonical_bytes


@dataclass(frozen=True, slots=True)
class ExportedCheckpoint:
    """One signed checkpoint: how long each chain was then.

    key: the fingerprint of the key that signed it.
    """

    seq: int
    hash: str
    at: str
    key: str
    lengths: Mapping[str, int]


@dataclass(slots=True)
class Exported:
    """What a bundle says of one dataset.

    kinds: by budget, its kind. keys: by fingerprint, the key that was given and those that it, and
        the ones after it, have named (R23).
    """

    chains: dict[str, list[ChainedEntry]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    prices: dict[str, dict[str, Any]] = field(default_factory=dict)
    checkpoints: dict[int, ExportedCheckpoint] = field(default_factory=dict)
    keys: dict[str, bytes] = field(default_factory=dict)

    def chains_at(self, checkpoint: ExportedCheckpoint) -> dict[str, list[ChainedEntry]]:
        """The chains as they stood at a checkpoint, in the order of their ids."""
        found = {}
        for budget, chain in sorted(self.chains.items()):
            length = checkpoint.lengths.get(budget, 0)
            if length:
                found[budget] = chain[:length]
        return found


def read_exported(bundle: bytes, public_key: bytes, dataset_id: str) -> Exported:
    """What a bundle without a fault says of a dataset.

    Args:
        bundle: its lines.
        public_key: the raw key that is trusted.
        dataset_id: whose budgets are kept; a chain names its dataset in its first entry.
    """
    found = Exported(keys={fingerprint(public_key): public_key})
    for line in bundle.splitlines():
        document = json.loads(line)
        if "entry" in document:
            _take_entry(found, document["entry"], dataset_id)
        elif "price" in document:
            found.prices[document["price"]["digest"]] = document["price"]["document"]
        elif "checkpoint" in document:
            _take_checkpoint(found, document["checkpoint"])
    return found


def fingerprint(raw_key: bytes) -> str:
    """How checkpoints and reports name a key."""
    return hashlib.sha256(raw_key).hexdigest()


def _take_entry(found: Exported, entry: Mapping[str, Any], dataset_id: str) -> None:
    budget, body = entry["budget"], entry["body"]
    if entry["seq"] == 1 and body["facts"].get("dataset") == dataset_id:
        found.chains[budget] = []
        found.kinds[budget] = body["facts"]["kind"]
    if budget in found.chains:
        text = canonical_bytes(body).decode()
        found.chains[budget].append(ChainedEntry(budget, entry["seq"], text, entry["hash"]))


def _take_checkpoint(found: Exported, checkpoint: Mapping[str, Any]) -> None:
    body, heads = checkpoint["body"], checkpoint["heads"]
    found.checkpoints[body["seq"]] = ExportedCheckpoint(
        seq=body["seq"],
        hash=checkpoint_hash(canonical_bytes(body)),
        at=body["at"],
        key=body["key"],
        lengths=_lengths(heads),
    )
    if "next_key" in body and body["key"] in found.keys:
        following = base64.b64decode(body["next_key"])
        found.keys[fingerprint(following)] = following


def _lengths(heads: Iterable[Any]) -> dict[str, int]:
    return {budget: seq for budget, seq, _ in heads}
