"""The root chain's bytes, and a walk that goes on from a head that is believed."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from app.domain.checkpoints import (
    Checkpoint,
    Head,
    checkpoint_body,
    checkpoint_hash,
    follow,
    heads_json,
    heads_root,
    read_checkpoint,
    signed_bytes,
)
from app.domain.ledger import GENESIS_HASH, ChainedEntry, ChainFault, EntryDraft, entry_body
from app.domain.ledger import entry_hash as hash_of
from app.domain.privacy import Loss

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
HEADS = (Head("b", 2, "22" * 32), Head("a", 7, "11" * 32))
BUDGET = str(uuid4())


def made(seq: int = 1, heads: tuple[Head, ...] = HEADS) -> Checkpoint:
    body = checkpoint_body(
        seq=seq, previous_hash=GENESIS_HASH, at=AT, heads=heads, key_sha256="ab" * 32
    )
    return Checkpoint(body.decode(), base64.b64encode(b"s" * 64).decode(), heads)


def chain(length: int) -> list[ChainedEntry]:
    entries, previous = [], GENESIS_HASH
    for seq in range(1, length + 1):
        kind = "opened" if seq == 1 else "refreshed"
        draft = EntryDraft(id=str(uuid4()), kind=kind, charge=Loss.zero(), actor="a")  # type: ignore[arg-type]
        body = entry_body(draft, budget_id=BUDGET, seq=seq, previous_hash=previous, at=AT)
        previous = hash_of(body)
        entries.append(ChainedEntry(BUDGET, seq, body.decode(), previous))
    return entries


def test_a_checkpoint_is_these_bytes_and_no_others() -> None:
    listed = '[["a",7,"' + "11" * 32 + '"],["b",2,"' + "22" * 32 + '"]]'
    root = hashlib.sha256(b"epsilon-ledger/heads/1\n" + listed.encode()).hexdigest()
    body = (
        '{"at":"2026-11-22T12:00:00.000000Z","heads":{"count":2,"root":"' + root + '"},"key":"'
        + "ab" * 32 + '","prev":"' + "0" * 64 + '","seq":1,"v":1}'
    )  # fmt: skip
    assert made().body == body
    assert made().hash == hashlib.sha256(signed_bytes(body.encode())).hexdigest()
    assert signed_bytes(b"x") == b"epsilon-ledger/checkpoint/1\nx"
    assert heads_root(HEADS) == heads_root(HEADS[::-1]) == root


def test_a_checkpoint_comes_back_from_its_file() -> None:
    read = read_checkpoint(json.loads(json.dumps(made(3).to_json())))
    assert (read.seq, read.hash, read.heads) == (3, made(3).hash, tuple(sorted(HEADS)))


@pytest.mark.parametrize(
    "change",
    [
        {"heads": []},
        {"heads": heads_json([Head("a", 6, "11" * 32), HEADS[0]])},
        {"heads": [["a", 7]]},
        {"heads": [["a", "7", "11" * 32]]},
        {"heads": None},
        {"body": made().body.replace('"v":1', '"v": 1')},
        {"body": made().body.replace('"v":1', '"v":1,"x":1')},
        {"body": made().body.replace('"seq":1', '"seq":"1"')},
        {"body": made().body.replace('"seq":1', '"seq":0')},
        {"body": "[" * 100_000},
        {"body": None},
        {"signature": 1},
    ],
)
def test_a_file_that_is_not_whole_in_itself_is_no_checkpoint(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"checkpoint|root"):
        read_checkpoint({**made().to_json(), **change})


@pytest.mark.parametrize("other", [None, [], "text", 1, {}])
def test_something_else_is_no_checkpoint(other: object) -> None:
    with pytest.raises(ValueError, match="not a checkpoint"):
        read_checkpoint(other)


def test_a_walk_goes_on_from_any_head_and_ends_at_the_last() -> None:
    entries = chain(6)
    last = Head(BUDGET, 6, entries[-1].hash)
    assert follow(BUDGET, entries, None) == last
    for seq in range(1, 7):
        after = Head(BUDGET, seq, entries[seq - 1].hash)
        assert follow(BUDGET, entries[seq:], after) == last


@pytest.mark.parametrize("bad", ["edit", "drop", "swap", "other head", "other ledger", "garbage"])
def test_a_walk_stops_where_an_entry_does_not_follow(bad: str) -> None:
    entries, after = chain(6), None
    if bad == "edit":
        entries[3] = ChainedEntry(BUDGET, 4, entries[3].body.replace('"a"', '"b"'), entries[3].hash)
    elif bad == "drop":
        del entries[3]
    elif bad == "swap":
        entries[3], entries[4] = entries[4], entries[3]
    elif bad == "other head":
        entries, after = entries[3:], Head(BUDGET, 3, "33" * 32)
    elif bad == "garbage":
        entries[3] = ChainedEntry(BUDGET, 4, "[]", hash_of(b"[]"))
    name = str(uuid4()) if bad == "other ledger" else BUDGET
    found = follow(name, entries, after)
    assert isinstance(found, ChainFault)
    assert found.seq == (1 if bad == "other ledger" else 4)


def test_the_hash_of_a_checkpoint_is_not_that_of_an_entry() -> None:
    assert checkpoint_hash(b"{}") != hash_of(b"{}")
