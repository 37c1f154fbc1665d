"""The chain: canonical bytes as RFC 8785 has them, and no change of an entry goes unseen (L4)."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from app.domain.ledger import (
    GENESIS_HASH,
    ChainedEntry,
    EntryDraft,
    EntryKind,
    canonical_bytes,
    entry_body,
    entry_hash,
    replay,
)
from app.domain.privacy import ORDERS, Loss

BUDGET = str(uuid4())
AT = datetime(2026, 1, 1, tzinfo=UTC)

ascii_keys = st.text(st.characters(max_codepoint=127), max_size=8)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ascii_keys, inner, max_size=4),
    max_leaves=20,
)


def loss(nats: int) -> Loss:
    return Loss((nats,) * len(ORDERS), (0,) * len(ORDERS), nats, 0, 1, nats, 0)


def chain_of(
    *steps: tuple[EntryKind, int, int | None], facts: Sequence[dict[str, Any]] = ()
) -> list[ChainedEntry]:
    """Entries of (kind, nats charged, index of the entry that is resolved), each with its facts."""
    entries: list[ChainedEntry] = []
    ids = [str(uuid4()) for _ in steps]
    for seq, (kind, nats, resolved) in enumerate(steps, start=1):
        draft = EntryDraft(
            id=ids[seq - 1],
            kind=kind,
            charge=loss(nats) if nats else Loss.zero(),
            actor="somebody",
            resolves=None if resolved is None else ids[resolved],
            facts=facts[seq - 1] if facts else None,
        )
        body = entry_body(
            draft,
            budget_id=BUDGET,
            seq=seq,
            previous_hash=entries[-1].hash if entries else GENESIS_HASH,
            at=AT + timedelta(seconds=seq),
        )
        entries.append(ChainedEntry(BUDGET, seq, body.decode(), entry_hash(body)))
    return entries


HONEST: Sequence[tuple[EntryKind, int, int | None]] = (
    ("opened", 0, None),
    ("reserved", 50, None),
    ("reserved", 70, None),
    ("posted", 20, 1),
    ("voided", 0, 2),
    ("reserved", 9, None),
)


@given(documents)
def test_canonical_bytes_are_those_of_rfc_8785(document: object) -> None:
    assert canonical_bytes(document) == rfc8785.dumps(document)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [1.5, float("nan"), 2**53, {"é": 1}, {1: 2}, "\ud800", b"x", {1}])
def test_what_readers_could_read_differently_has_no_canonical_form(bad: object) -> None:
    with pytest.raises(ValueError):
        canonical_bytes({"value": bad} if not isinstance(bad, dict) else bad)


def test_an_honest_chain_replays_to_its_balances() -> None:
    walked = replay(BUDGET, chain_of(*HONEST))
    assert walked.fault is None
    assert (walked.committed, walked.reserved) == (loss(20), loss(9))
    assert walked.entries == len(HONEST)


@pytest.mark.parametrize("index", range(len(HONEST)))
@pytest.mark.parametrize("field", ["at", "kind", "charge", "actor", "resolves", "prev", "seq"])
def test_an_edited_field_is_found_even_with_its_own_hash_made_anew(index: int, field: str) -> None:
    entries = chain_of(*HONEST)
    body = json.loads(entries[index].body)
    edits: dict[str, object] = {
        "at": "2020-01-01T00:00:00.000000Z",
        "kind": "opened" if body["kind"] != "opened" else "reserved",
        "charge": loss(1).to_json(),
        "actor": "somebody else",
        "resolves": str(uuid4()),
        "prev": "f" * 64,
        "seq": 99,
    }
    body[field] = edits[field]
    forged = canonical_bytes(body)
    entries[index] = ChainedEntry(BUDGET, entries[index].seq, forged.decode(), entry_hash(forged))
    entries.append(
        ChainedEntry(BUDGET, len(entries) + 1, *_next(entries, head=chain_of(*HONEST)[-1].hash))
    )
    assert replay(BUDGET, entries).fault is not None


@pytest.mark.parametrize("index", range(len(HONEST) - 1))
def test_a_removed_a_doubled_and_a_swapped_entry_are_found(index: int) -> None:
    entries = chain_of(*HONEST)
    removed = entries[:index] + entries[index + 1 :]
    doubled = entries[: index + 1] + entries[index:]
    swapped = [*entries[:index], entries[index + 1], entries[index], *entries[index + 2 :]]
    for tampered in (removed, doubled, swapped):
        assert replay(BUDGET, tampered).fault is not None


def test_a_body_that_is_not_canonical_is_found_though_it_says_the_same() -> None:
    entries = chain_of(*HONEST)
    spaced = json.dumps(json.loads(entries[2].body))
    entries[2] = replace(entries[2], body=spaced, hash=entry_hash(spaced.encode()))
    fault = replay(BUDGET, entries).fault
    assert fault is not None and fault.seq == 3


def test_an_opening_entry_counts_as_spent_and_a_decision_never_charges() -> None:
    walked = replay(BUDGET, chain_of(*HONEST, ("opening", 5, None), ("raised", 0, None)))
    assert walked.fault is None
    assert walked.committed == loss(20) + loss(5)
    fault = replay(BUDGET, chain_of(*HONEST, ("raised", 5, None))).fault
    assert fault is not None
    assert "charges something" in fault.reason


def test_a_second_resolution_of_one_reservation_is_found() -> None:
    fault = replay(BUDGET, chain_of(*HONEST, ("posted", 20, 1))).fault
    assert fault is not None and "resolves nothing" in fault.reason


def _next(entries: list[ChainedEntry], *, head: str) -> tuple[str, str]:
    draft = EntryDraft(id=str(uuid4()), kind="reserved", charge=loss(1), actor="somebody")
    body = entry_body(draft, budget_id=BUDGET, seq=len(entries) + 1, previous_hash=head, at=AT)
    return body.decode(), entry_hash(body)


PARTITION: dict[str, Any] = {"partition": {"kind": "unit_hash", "count": 4}}


def test_a_chain_with_blocks_gives_back_what_each_of_them_holds() -> None:
    some, others = {"blocks": [[0, 1]]}, {"blocks": [[1, 1], [3, 3]]}
    walked = replay(
        BUDGET,
        chain_of(
            ("opened", 0, None),
            ("reserved", 5, None),
            ("reserved", 7, None),
            ("posted", 2, 1),
            ("opening", 1, None),
            facts=[PARTITION, some, others, some, some],
        ),
    )
    assert walked.fault is None
    assert walked.committed == loss(2) + loss(1)
    sums = walked.block_sums
    assert sums is not None
    committed = [sums.committed.loss_of(block) for block in range(len(sums))]
    assert committed == [loss(2) + loss(1), loss(2) + loss(1), Loss.zero(), Loss.zero()]
    held = [sums.held.loss_of(block) for block in range(len(sums))]
    assert held[1:] == [loss(2) + loss(1) + loss(7), Loss.zero(), loss(7)]


@pytest.mark.parametrize(
    "facts",
    [
        [PARTITION, {"blocks": [[0, 1]]}, {"blocks": [[0, 0]]}],
        [PARTITION, {"blocks": [[0, 1]]}, {}],
        [PARTITION, {}, {}],
        [{}, {"blocks": [[0, 1]]}, {"blocks": [[0, 1]]}],
    ],
)
def test_a_charge_in_other_blocks_than_it_says_is_a_fault(facts: list[dict[str, Any]]) -> None:
    steps: list[tuple[EntryKind, int, int | None]] = [
        ("opened", 0, None),
        ("reserved", 5, None),
        ("posted", 2, 1),
    ]
    assert replay(BUDGET, chain_of(*steps, facts=facts)).fault is not None
