"""The chain: what an entry says, its canonical bytes and its hash, and how to check them (L4).

An entry is RFC 8785 canonical JSON that holds strings, small counts and lists of these: amounts
are decimal strings, so no reader's number type can bend them. hash = SHA-256(tag, prev, bytes).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

from app.domain.accounting.block_sums import BlockReplay, BlockSums
from app.domain.accounting.plan_units import PLAN_ACCOUNTANT, PlanReplay, PlanUnits
from app.domain.privacy import Loss

ENTRY_VERSION = 1
ENTRY_TAG = b"epsilon-ledger/entry/1\n"
GENESIS_HASH = "0" * 64
_NO_CHARGE = b'"charge":null'
INTEGER_MAX = 2**53 - 1

EntryKind = Literal[
    "opened",
    "reserved",
    "posted",
    "voided",
    "opening",
    "refreshed",
    "raised",
    "lowered",
    "frozen",
    "thawed",
    "closed",
    "transferred",
    "rate_limited",
    "published",
    "purged",
]

ENTRY_FIELDS = frozenset(
    {
        "v",
        "ledger",
        "seq",
        "prev",
        "at",
        "id",
        "kind",
        "actor",
        "reservation",
        "resolves",
        "job",
        "parts",
        "charge",
        "facts",
    }
)
# the entries that move a budget into another state
STATES: Mapping[str, str] = {
    "opened": "open",
    "frozen": "frozen",
    "thawed": "open",
    "closed": "closed",
}


def canonical_bytes(document: object) -> bytes:
    """RFC 8785 bytes of a document of strings, booleans, null, small integers, lists and objects.

    Object keys must be ASCII, where sorting by code point and by UTF-16 unit agree.

    Raises:
        ValueError: a float, an integer past 2^53 - 1, a key that is not ASCII, a lone surrogate.
    """
    _require_canonical(document)
    text = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8")


def document_sha256(document: object) -> str:
    """SHA-256 over the canonical bytes: how changes, bodies and specs are named by content."""
    return hashlib.sha256(canonical_bytes(document)).hexdigest()


def entry_hash(body: bytes) -> str:
    """The hash of an entry; its body names the hash before it, so the chain is one value."""
    return hashlib.sha256(ENTRY_TAG + body).hexdigest()


def time_text(at: datetime) -> str:
    """A UTC time as the chain writes it, to the microsecond."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True, slots=True)
class EntryDraft:
    """An entry before its place in the chain is known.

    parts: [{"mechanism": ..., "price": digest, "units": n}], what `charge` was computed from; with
        the `slot` of a frozen plan (R10), and `stated` where it was converted to this unit (R7).
    facts: more public fields of this kind, such as the policy of an `opened` entry.
    """

    id: str
    kind: EntryKind
    charge: Loss
    actor: str
    reservation: str | None = None
    resolves: str | None = None
    job: str | None = None
    parts: Sequence[Mapping[str, Any]] = ()
    facts: Mapping[str, Any] | None = None


def entry_body(
    draft: EntryDraft, *, budget_id: str, seq: int, previous_hash: str, at: datetime
) -> bytes:
    """The canonical bytes of an entry in its place."""
    around = canonical_bytes(
        {
            "v": ENTRY_VERSION,
            "ledger": budget_id,
            "seq": seq,
            "prev": previous_hash,
            "at": time_text(at),
            "id": draft.id,
            "kind": draft.kind,
            "actor": draft.actor,
            "reservation": draft.reservation,
            "resolves": draft.resolves,
            "job": draft.job,
            "parts": [dict(part) for part in draft.parts],
            "charge": None,
            "facts": dict(draft.facts or {}),
        }
    )
    # only actor and at stand before it, and a quote inside a text is escaped: the first is the one
    return around.replace(_NO_CHARGE, b'"charge":' + _charge_bytes(draft.charge), 1)


@lru_cache(maxsize=4096)
def _charge_bytes(charge: Loss) -> bytes:
    """A charge's canonical bytes; jobs of one shape have the same, and it is most of an entry."""
    return canonical_bytes(charge.to_json())


@dataclass(frozen=True, slots=True)
class ChainedEntry:
    """A stored entry: the bytes that were hashed, and the hash."""

    budget_id: str
    seq: int
    body: str
    hash: str


@dataclass(frozen=True, slots=True)
class ChainFault:
    """The first thing wrong with a chain."""

    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Replay:
    """A chain walked from genesis: its sums, its head, and its first fault if it has one.

    policy, state: the limit in force and the budget's state, as the entries alone have them.
    plan_units: of a frozen plan, the units of its slots (R10).
    block_sums: of a dataset with blocks, what each of them holds (R8).
    """

    entries: int
    head_hash: str
    committed: Loss
    reserved: Loss
    policy: Mapping[str, Any] | None
    state: str
    fault: ChainFault | None
    plan_units: PlanUnits | None = None
    block_sums: BlockSums | None = None


def replay(budget_id: str, entries: Iterable[ChainedEntry]) -> Replay:
    """Recompute every hash and every balance of one budget from its entries alone (L4)."""
    committed, held = Loss.zero(), dict[str, Loss]()
    policy: Mapping[str, Any] | None = None
    state = "proposed"
    plan: PlanReplay | None = None
    blocks: BlockReplay | None = None
    resolved, released, published = set[str](), set[str](), set[str]()
    is_purged = False
    count, head = 0, GENESIS_HASH

    def ended(fault: ChainFault | None) -> Replay:
        units = None if plan is None else plan.units
        sums = None if blocks is None else blocks.sums()
        reserved = sum(held.values(), Loss.zero())
        return Replay(count, head, committed, reserved, policy, state, fault, units, sums)

    def stop(reason: str) -> Replay:
        return ended(ChainFault(seq=count + 1, reason=reason))

    for entry in entries:
        if entry_hash(entry.body.encode("utf-8", "surrogatepass")) != entry.hash:
            return stop("the entry does not match its hash")
        try:
            body = json.loads(entry.body)
            charge = Loss.from_json(body["charge"])
            is_canonical = canonical_bytes(body) == entry.body.encode()
        except (ValueError, KeyError, TypeError, RecursionError):
            return stop("the stored bytes are not an entry")
        if not is_canonical or set(body) != ENTRY_FIELDS:
            return stop("the stored bytes are not an entry in canonical form")
        if body["prev"] != head:
            return stop("the entry does not follow the one before it")
        if (body["seq"], entry.seq) != (count + 1, count + 1):
            return stop("a sequence number is missing or repeated")
        if body["ledger"] != budget_id or entry.budget_id != budget_id:
            return stop("the entry belongs to another budget")
        if (body["kind"] == "opened") != (count == 0):
            return stop("a chain begins with one opening entry")

        policy = body["facts"].get("policy", policy)
        state = STATES.get(body["kind"], state)
        if body["kind"] == "reserved":
            held[body["id"]] = charge
        elif body["kind"] in ("posted", "voided"):
            if body["resolves"] in resolved or body["resolves"] not in held:
                return stop("the entry resolves nothing that is open")
            resolved.add(body["resolves"])
            held.pop(body["resolves"])
            if body["kind"] == "posted":
                committed = committed + charge
                released.add(body["job"])
            elif charge != Loss.zero():
                return stop("a voided entry charges something")
        elif body["kind"] == "opening":
            committed = committed + charge
        elif charge != Loss.zero():
            return stop(f"an entry of kind {body['kind']} charges something")
        elif body["kind"] == "published":
            job = body["facts"].get("job")
            if job not in released or job in published:
                return stop("a result is published once, and only what was released")
            published.add(job)
        elif body["kind"] == "purged":
            if state != "closed" or is_purged:
                return stop("what was released is purged once, after the budget was closed")
            is_purged = True
        if count == 0 and policy is not None and policy.get("accountant") == PLAN_ACCOUNTANT:
            plan = PlanReplay(policy)
        if plan is not None and (reason := plan.fault_of(body)) is not None:
            return stop(reason)
        if count == 0 and "partition" in body["facts"]:
            blocks = BlockReplay()
        if blocks is not None and (reason := blocks.fault_of(body, charge)) is not None:
            return stop(reason)
        if blocks is None and "blocks" in body["facts"]:
            return stop("an entry names blocks where there are none")
        count, head = count + 1, entry.hash

    return ended(None)


def _require_canonical(value: object) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        value.encode("utf-8")  # a lone surrogate has no bytes: UnicodeEncodeError is a ValueError
        return
    if isinstance(value, int):
        if abs(value) > INTEGER_MAX:
            raise ValueError(f"integer past 2^53 - 1 in a canonical document: {value}")
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise ValueError(f"a key of a canonical document is ASCII text, got {key!r}")
            _require_canonical(item)
        return
    if isinstance(value, list | tuple):
        for item in value:
            _require_canonical(item)
        return
    raise ValueError(f"{type(value).__name__} has no place in a canonical document")
