"""What the chains of a dataset say up to a signed checkpoint, in the form of the evidence (L4).

Entries after it do not count: not in a sum, not in a state. Whoever holds a bundle that ends at the
same checkpoint reads the same facts by the same functions (`app.reporting.ledger_facts`).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Budget, Entry, PriceRow, Reservation
from app.domain.checkpoints import Head
from app.domain.ledger import ChainedEntry, Replay, replay, time_text
from app.reporting.evidence import BudgetEvidence, ReservationEvidence
from app.reporting.ledger_facts import ENDINGS, budget_facts, reservation_facts
from app.services import plans, policies

ROWS_AT_ONCE: Final = 2000
IDS_AT_ONCE: Final = 500
RATE_LIMITED: Final = "rate_limited"
ELSEWHERE: Final = "the chain does not pass through the head that was signed"

Told = Callable[[int, int], None]

_RESERVED: Final = (
    Reservation.id,
    Reservation.is_outside,
    Reservation.is_runner,
    Reservation.tool,
    Reservation.started_units,
    Reservation.created_at,
    Reservation.touched_at,
    Reservation.resolved_at,
    Reservation.output_sha256,
)


@dataclass(slots=True)
class Chains:
    """The chains of one dataset up to their signed heads, in the order in which they were opened.

    entries: by budget, as far as they follow from each other. replays: of these.
    faults: [{budget, seq, reason}], what does not follow or ends elsewhere than at its head.
    """

    heads: dict[str, Head] = field(default_factory=dict)
    entries: dict[str, list[ChainedEntry]] = field(default_factory=dict)
    replays: dict[str, Replay] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)


def read_chains(session: Session, heads: Sequence[Head], told: Told) -> Chains:
    """Replay each chain from genesis to its head (L4).

    told: how many entries were read, of how many.
    """
    found, done, whole = Chains(), 0, sum(head.seq for head in heads)
    for head in heads:
        entries = _entries(session, head)
        walked = replay(head.budget_id, entries)
        fault, reason = walked.fault, None
        if fault is not None:
            entries = entries[: walked.entries]
            # a fault is found after the sums have moved: what they were before it is asked again
            walked, reason = replay(head.budget_id, entries), fault.reason
        elif (walked.entries, walked.head_hash) != (head.seq, head.hash):
            reason = ELSEWHERE
        if reason is not None:
            seq = walked.entries if fault is None else fault.seq
            found.faults.append({"budget": head.budget_id, "seq": seq, "reason": reason})
        found.heads[head.budget_id] = head
        found.entries[head.budget_id] = entries
        found.replays[head.budget_id] = walked
        done += head.seq
        told(done, whole)
    return found


def budgets_of(session: Session, chains: Chains) -> list[BudgetEvidence]:
    """Every scope with an entry that can be read, in the order in which they were opened."""
    ids = [UUID(each) for each in chains.heads]
    rows = {str(row.id): row for row in session.scalars(select(Budget).where(Budget.id.in_(ids)))}
    found = [
        _budget(rows[id_], entries, chains.replays[id_])
        for id_, entries in chains.entries.items()
        if entries
    ]
    return sorted(found, key=lambda each: (str(each["opened_at"]), each["id"]))


def reservations_of(
    session: Session, chains: Chains, budgets: Sequence[BudgetEvidence], *, as_of: datetime
) -> list[ReservationEvidence]:
    """Every reservation that an entry names, in the order in which they were made."""
    kinds = {each["id"]: each["kind"] for each in budgets}
    facts = reservation_facts(chains.entries, kinds)
    found = [
        _reservation(row, facts[str(row.id)], as_of=as_of)
        for ids in portions(sorted(facts))
        for row in session.execute(
            select(*_RESERVED).where(Reservation.id.in_([UUID(each) for each in ids]))
        )
    ]
    return sorted(found, key=lambda each: (each["created_at"], each["id"]))


def prices_of(
    session: Session, reservations: Sequence[ReservationEvidence]
) -> dict[str, dict[str, Any]]:
    """By digest, the stored price of every part."""
    digests = sorted({part["price"] for each in reservations for part in each["parts"]})
    return {
        row.digest: row.document
        for some in portions(digests)
        for row in session.execute(
            select(PriceRow.digest, PriceRow.document).where(PriceRow.digest.in_(some))
        )
    }


def portions(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """A list in pieces that one statement may name."""
    for start in range(0, len(ids), IDS_AT_ONCE):
        yield ids[start : start + IDS_AT_ONCE]


def _entries(session: Session, head: Head) -> list[ChainedEntry]:
    # columns alone: a row of the session would cost more than all that is done with it here
    statement = (
        select(Entry.seq, Entry.body, Entry.hash)
        .where(Entry.budget_id == UUID(head.budget_id), Entry.seq <= head.seq)
        .order_by(Entry.seq)
        .execution_options(yield_per=ROWS_AT_ONCE)
    )
    return [
        ChainedEntry(head.budget_id, seq, body, digest)
        for seq, body, digest in session.execute(statement)
    ]


def _budget(row: Budget, entries: Sequence[ChainedEntry], walked: Replay) -> BudgetEvidence:
    facts: dict[str, Any] = budget_facts(str(row.id), entries, walked)
    figures, plan, bound_delta = None, None, None
    if walked.plan_units is not None:
        plan = plans.frozen_json(facts["policy"], walked.plan_units)
    else:
        policy = policies.policy_in(facts["policy"])
        committed, reserved, sums = walked.committed, walked.reserved, walked.block_sums
        worst = policies.worst_of(policy, committed + reserved, sums)
        bound_delta = policies.bound_delta(policy, worst.delta_atto)
        figures = policies.balances_of(policy, committed, reserved, sums)
    document: Any = {
        **facts,
        "name": row.name,
        "reason": row.reason,
        "figures": figures,
        "bound_delta": bound_delta,
        "plan": plan,
        "rate_limits": _rate_limits(entries),
    }
    found: BudgetEvidence = document
    return found


def _rate_limits(entries: Sequence[ChainedEntry]) -> dict[str, int]:
    """What the last entry about them says; a budget begins without any."""
    for entry in reversed(entries):
        # looked for in the text first: most entries say nothing of it, and reading one costs more
        if f'"kind":"{RATE_LIMITED}"' in entry.body:
            limits: dict[str, int] = json.loads(entry.body)["facts"]["to"]
            return limits
    return {}


def _reservation(row: Any, facts: Mapping[str, Any], *, as_of: datetime) -> ReservationEvidence:
    has_ended = facts["state"] in ENDINGS
    # not kept of rows from before it was: then the earliest that it can be
    touched_at = row.touched_at or (row.created_at if any(row.started_units) else None)
    is_touched = touched_at is not None and (has_ended or touched_at <= as_of)
    started = row.started_units if is_touched else [0] * len(row.started_units)
    parts: Any = [
        {**part, "started_units": units}
        for part, units in zip(facts["parts"], started, strict=True)
    ]
    return {
        "id": facts["id"],
        "state": facts["state"] or ("touched" if is_touched else "reserved"),
        "is_outside": row.is_outside,
        "is_runner": row.is_runner,
        "tool": row.tool,
        "job": facts["job"],
        "parts": parts,
        "entries": facts["entries"],
        "created_at": time_text(row.created_at),
        "touched_at": time_text(touched_at) if is_touched and touched_at is not None else None,
        "resolved_at": time_text(row.resolved_at) if has_ended else None,
        "output_sha256": row.output_sha256 if has_ended else None,
    }
