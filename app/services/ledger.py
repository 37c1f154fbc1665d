"""The ledger's steps: append an entry, hold a reservation, resolve it. None of them commits.

Each step works on budget rows that its caller has locked, so sums, sequence numbers and hashes
move together or not at all (L1, L4).
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from app.db.models import Budget, Entry, Reservation
from app.db.repositories import budgets as budget_rows
from app.db.repositories import entries as entry_rows
from app.domain.accounting.plan_units import units_by_slot
from app.domain.accounting.prices import Price, charge_parts
from app.domain.ledger import GENESIS_HASH, EntryDraft, entry_body, entry_hash
from app.domain.privacy import Loss
from app.services import block_holdings

# of a part beside what it is charged for: its slot in a plan (R10), and what was stated (R7)
SAID_OF_A_PART: Final = ("slot", "stated")


def append(session: Session, budget: Budget, draft: EntryDraft, *, now: datetime) -> Entry:
    """Add an entry to the end of a locked budget's chain; see `chained`."""
    entry = Entry(**chained(budget, draft, now=now))
    session.add(entry)
    return entry


def chained(budget: Budget, draft: EntryDraft, *, now: datetime) -> dict[str, Any]:
    """The next entry of a locked budget's chain, whose head moves on; the caller writes the row.

    Its time is the database's, but never before the last entry's: a clock that steps back must
    not reorder a ledger (DESIGN section 8).
    """
    at = now if budget.last_entry_at is None else max(now, budget.last_entry_at)
    seq = budget.last_seq + 1
    body = entry_body(
        draft, budget_id=str(budget.id), seq=seq, previous_hash=budget.head_hash, at=at
    )
    digest = entry_hash(body)
    values = {
        "budget_id": budget.id,
        "seq": seq,
        "id": UUID(draft.id),
        "kind": draft.kind,
        "reservation_id": None if draft.reservation is None else UUID(draft.reservation),
        "resolves_id": None if draft.resolves is None else UUID(draft.resolves),
        "body": body.decode(),
        "hash": digest,
        "created_at": at,
    }
    budget.last_seq = seq
    budget.head_hash = digest
    budget.last_entry_at = at
    return values


def open_chain(
    session: Session, budget: Budget, *, actor: UUID, now: datetime, facts: Mapping[str, Any]
) -> None:
    """Open a budget: its first entry says all that a reader of the chain needs to know of it.

    The whole policy, so that a replay needs nothing else; the dataset, the kind and the budget
    above, so that who holds the entries alone knows the tree; of a window its calendar.
    """
    if budget.last_seq != 0 or budget.head_hash != GENESIS_HASH:
        raise RuntimeError(f"budget {budget.id} was opened before")
    budget.state = "open"
    budget.opened_at = now
    draft = EntryDraft(
        id=str(uuid4()),
        kind="opened",
        charge=Loss.zero(),
        actor=str(actor),
        facts={
            "policy": budget.policy,
            "dataset": str(budget.dataset_id),
            "kind": budget.kind,
            "parent": None if budget.parent_id is None else str(budget.parent_id),
            **({} if budget.window is None else {"calendar": budget.window}),
            **block_holdings.partition_facts(session, budget),
            **facts,
        },
    )
    append(session, budget, draft, now=now)


def hold(
    session: Session,
    locked: Sequence[Budget],
    reservation: Reservation,
    *,
    loss: Loss,
    job_id: UUID | None,
    now: datetime,
) -> None:
    """Reserve a loss in every scope of a locked path; the caller has asked every filter."""
    held = holding_entries(locked, reservation, loss=loss, job_id=job_id, now=now)
    session.add_all(Entry(**values) for values in held)


def holding_entries(
    locked: Sequence[Budget],
    reservation: Reservation,
    *,
    loss: Loss,
    job_id: UUID | None,
    now: datetime,
) -> list[dict[str, Any]]:
    """Reserve a loss in every scope of a locked path; the caller writes the entries' rows."""
    entries = []
    for budget in locked:
        bases = _bases(reservation, budget)
        ranges = block_holdings.ranges_in(reservation.inputs, budget)
        draft = EntryDraft(
            id=str(uuid4()),
            kind="reserved",
            charge=loss,
            actor=str(reservation.principal_id),
            reservation=str(reservation.id),
            job=None if job_id is None else str(job_id),
            parts=_counted(
                reservation,
                [
                    part["max_units"] - base
                    for part, base in zip(reservation.parts, bases, strict=True)
                ],
            ),
            facts=block_holdings.facts(ranges),
        )
        entries.append(chained(budget, draft, now=now))
        block_holdings.reserve(budget, loss, ranges)
        if budget.plan_units is not None:
            budget.plan_units = budget.plan_units.reserve(units_by_slot(draft.parts))
    return entries


def release(
    session: Session,
    locked: Sequence[Budget],
    reservation: Reservation,
    *,
    kind: Literal["posted", "voided"],
    prices: Sequence[Price],
    units: Sequence[int],
    actor: str,
    job_id: UUID | None,
    now: datetime,
) -> None:
    """Resolve a reservation in some locked scopes: free what is held, charge what was started.

    A period that a run moved into counts from the units that had started before it (R9).
    The database accepts one resolution per reserved entry (`UNIQUE(resolves_id)`), so a second
    settlement cannot be written whoever tries (L6).
    """
    reserved_entries = entry_rows.reserved_of(session, reservation.id)
    for budget in locked:
        reserved = reserved_entries[budget.id]
        # what was held is what the entry says, never a price worked out again
        body = json.loads(reserved.body)
        held = Loss.from_json(body["charge"])
        ranges = block_holdings.ranges_in(reservation.inputs, budget)
        bases = _bases(reservation, budget)
        counts = [count - base for count, base in zip(units, bases, strict=True)]
        charge = _charge(prices, counts)
        # asked of the units, not of the losses: an order that is dead at all of them holds no
        # number, and may be alive at fewer of them with one (R2)
        if any(n > part["units"] for n, part in zip(counts, body["parts"], strict=True)):
            raise ValueError("more units would be charged than are held")
        draft = EntryDraft(
            id=str(uuid4()),
            kind=kind,
            charge=charge,
            actor=actor,
            reservation=str(reservation.id),
            resolves=str(reserved.id),
            job=None if job_id is None else str(job_id),
            parts=_counted(reservation, counts),
            facts=block_holdings.facts(ranges),
        )
        append(session, budget, draft, now=now)
        block_holdings.resolve(budget, held, charge, ranges)
        if budget.plan_units is not None:
            budget.plan_units = budget.plan_units.resolve(
                units_by_slot(body["parts"]), units_by_slot(draft.parts)
            )


def resolve(
    session: Session,
    reservation: Reservation,
    *,
    kind: Literal["posted", "voided"],
    prices: Sequence[Price],
    units: Sequence[int],
    actor: str,
    job_id: UUID | None,
    now: datetime,
) -> None:
    """End a reservation in every scope that it is held in."""
    locked = budget_rows.lock(session, [UUID(text) for text in reservation.budget_ids])
    release(
        session,
        locked,
        reservation,
        kind=kind,
        prices=prices,
        units=units,
        actor=actor,
        job_id=job_id,
        now=now,
    )
    reservation.state = kind
    reservation.posted = _charge(prices, units)
    reservation.lease_until = None
    reservation.resolved_at = now


def _bases(reservation: Reservation, budget: Budget) -> list[int]:
    """The units of each part that had started before this scope was entered."""
    return reservation.period_bases.get(str(budget.id), [0] * len(reservation.parts))


def _charge(prices: Sequence[Price], units: Sequence[int]) -> Loss:
    return charge_parts(list(zip(prices, units, strict=True)))


def _counted(reservation: Reservation, units: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {
            "mechanism": part["mechanism"],
            "price": part["price"],
            "units": count,
            **{key: part[key] for key in SAID_OF_A_PART if key in part},
        }
        for part, count in zip(reservation.parts, units, strict=True)
    ]
