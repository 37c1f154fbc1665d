"""Start-up compares the database with its witness; a database that has forgotten is frozen (R22).

Two witnesses stand outside the database: the journal of touches, and the last signed checkpoint.
What they know and the database does not becomes a discrepancy of every root that it belongs to, or
of all roots where nobody can say to which. The root is frozen and stays so until two people have
posted what was forgotten (`services.discrepancies`).

A reservation that the database still holds, but at fewer units than its journal, is ended at once
at the units that it holds: were its job run again, rows would be drawn twice under one charge.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db.models import Budget, Discrepancy, Entry, Job, Reservation
from app.db.repositories import budgets as budget_rows
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.checkpoints import Head
from app.domain.ledger import document_sha256
from app.domain.touches import Touch
from app.services import audit, notifications, settlement
from app.services.checkpoints import Checkpoints
from app.services.parts import PARTS_MOST
from app.services.pricing import UNITS_MOST
from app.services.states import write_state
from app.services.sweep import GAVE_UP
from app.services.witness import journals

log = logging.getLogger(__name__)

ACTOR: Final = "recovery"
BEHIND: Final = "the database is behind its witness"
HELD: Final = ("reserved", "touched")
ASKED_AT_ONCE: Final = 500
# journals and the database are timed by two clocks
CLOCKS_DIFFER: Final = timedelta(hours=1)
T = TypeVar("T")


class LedgerForgotten(Exception):
    """The witness knows of a ledger and the database has none; there is no root to freeze."""


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that the witness knows and the database does not.

    kind: `touch`, `head` or `journal` (a file that cannot be believed whole).
    budgets: what it was charged to or is about; empty where nobody can say.
    """

    kind: str
    said: Mapping[str, Any]
    budgets: tuple[str, ...]

    @property
    def name(self) -> str:
        """The same for the same thing at every look."""
        return document_sha256({"kind": self.kind, "said": dict(self.said)})

    def to_json(self) -> dict[str, Any]:
        """As it stands in the evidence."""
        return {"kind": self.kind, "name": self.name, **self.said}


@dataclass(frozen=True, slots=True)
class Compared:
    """What one look found.

    touches: how many the journals hold. missing: how many things the database does not know.
    frozen: roots that were frozen now. discrepancies: what is not settled yet, by root.
    """

    touches: int
    missing: int
    frozen: int
    unsettled: int


@dataclass(frozen=True, slots=True)
class Recovery:
    """The comparison; safe in several processes at once and repeated without a second effect."""

    make_session: SessionMaker
    folder: Path
    checkpoints: Checkpoints | None

    def compare(self, *, everything: bool = False) -> Compared:
        """Look at what the witness knows; freeze the roots of what the database does not.

        A database that holds its own checkpoint knows every touch from before it, since nothing is
        restored in part; so older journals are read only where `everything` is asked for.

        Raises:
            LedgerForgotten: the database has no ledger at all.
            KeyRefused, RootChainRefused: the checkpoints cannot be read.
        """
        mine = None if self.checkpoints is None else self.checkpoints.newest()
        filed = None if self.checkpoints is None else self.checkpoints.newest_file()
        since = None if mine is None or everything else mine.at - CLOCKS_DIFFER
        touches, missing = self._journals(since)
        with snapshot(self.make_session) as session:
            missing += _unknown_touches(session, touches)
            heads = {head for each in (mine, filed) if each is not None for head in each.heads}
            missing += _unknown_heads(session, sorted(heads))
            news = _by_root(session, missing)
        frozen = sum(
            self._freeze(root_id, found)
            for root_id, all_found in news.items()
            for found in _askable(all_found)
        )
        unsettled = self._end_forgotten()
        if self.checkpoints is not None:
            # last: a checkpoint of its own makes the database look as new as that
            self.checkpoints.take_back()
        return Compared(len(touches), len(missing), frozen, unsettled)

    def _journals(self, since: datetime | None) -> tuple[list[Touch], list[Missing]]:
        """The most that was started of each part, and the files that cannot be believed."""
        most: dict[tuple[str, int], Touch] = {}
        damaged = []
        for path, journal in journals(self.folder, since=since):
            for touch in journal.touches:
                known = most.get((touch.reservation, touch.part))
                if known is None or known.started_units < touch.started_units:
                    most[touch.reservation, touch.part] = touch
            if journal.fault is not None:
                log.error("witness.damaged file=%s reason=%s", path.name, journal.fault)
                said = {"file": path.name, "fault": journal.fault}
                damaged.append(Missing("journal", said, ()))
        return list(most.values()), damaged

    def _freeze(self, root_id: UUID, missing: Sequence[Missing]) -> bool:
        evidence = {"v": 1, "missing": [each.to_json() for each in missing]}
        try:
            with transaction(self.make_session) as session:
                return _freeze(session, root_id, evidence, now=database_now(session))
        except IntegrityError:
            return False  # another process found the same, and froze it

    def _end_forgotten(self) -> int:
        """End what is still held of reservations that had gone on; says what is not settled."""
        with snapshot(self.make_session) as session:
            open_rows = session.scalars(
                select(Discrepancy).where(Discrepancy.approval_id.is_(None))
            ).all()
            named = {
                (each["reservation"], each["part"])
                for row in open_rows
                for each in row.evidence["missing"]
                if each["kind"] == "touch"
            }
        for reservation_id in sorted({reservation for reservation, _ in named}):
            parts = {part for reservation, part in named if reservation == reservation_id}
            with transaction(self.make_session) as session:
                _end_at_most(session, UUID(reservation_id), parts, now=database_now(session))
        return len(open_rows)


def _unknown_touches(session: Session, touches: Sequence[Touch]) -> list[Missing]:
    missing = []
    for some in _portions(touches):
        ids = {UUID(touch.reservation) for touch in some}
        statement = select(Reservation.id, Reservation.started_units).where(Reservation.id.in_(ids))
        started = {str(row.id): row.started_units for row in session.execute(statement)}
        for touch in some:
            # a part that the database has not is one of which it knows nothing
            known = dict(enumerate(started.get(touch.reservation, [])))
            if known.get(touch.part, -1) < touch.started_units:
                said = {**asdict(touch), "budgets": list(touch.budgets)}
                missing.append(Missing("touch", said, touch.budgets))
    return missing


def _unknown_heads(session: Session, heads: Sequence[Head]) -> list[Missing]:
    missing = []
    for some in _portions(heads):
        wanted = [(UUID(head.budget_id), head.seq) for head in some]
        statement = select(Entry.budget_id, Entry.seq, Entry.hash).where(
            tuple_(Entry.budget_id, Entry.seq).in_(wanted)
        )
        known = {(row.budget_id, row.seq): row.hash for row in session.execute(statement)}
        for place, head in zip(wanted, some, strict=True):
            if known.get(place) != head.hash:
                missing.append(Missing("head", asdict(head), (head.budget_id,)))
    return missing


def _askable(missing: Sequence[Missing]) -> Iterator[list[Missing]]:
    """What is missing, in evidences that entries of at most `PARTS_MOST` parts can settle."""
    found: list[Missing] = []
    units: dict[str, int] = {}
    count = 0
    for each in missing:
        if each.kind == "touch":
            like = document_sha256({key: each.said[key] for key in ("mechanism", "price")})
            owed = int(each.said["max_units"])
            is_full = units.get(like, UNITS_MOST) + owed > UNITS_MOST
            if is_full and count == PARTS_MOST:
                yield found
                found, units, count, is_full = [], {}, 0, True
            count += is_full
            units[like] = owed + (0 if is_full else units[like])
        found.append(each)
    if found:
        yield found


def _portions(things: Sequence[T]) -> Iterator[Sequence[T]]:
    for first in range(0, len(things), ASKED_AT_ONCE):
        yield things[first : first + ASKED_AT_ONCE]


def _by_root(session: Session, missing: Sequence[Missing]) -> dict[UUID, list[Missing]]:
    """What is news to each root; a thing of which nobody can say to which belongs to all."""
    if not missing:
        return {}
    statement = select(Budget.id, Budget.dataset_id).where(
        Budget.kind == "lifetime", Budget.opened_at.is_not(None)
    )
    root_of = {row.dataset_id: row.id for row in session.execute(statement)}
    if not root_of:
        raise LedgerForgotten(
            "the witness folder knows of a ledger and this database has none: restore the "
            "database, or give a new ledger a folder of its own (EPSILON_WITNESS_DIR)"
        )
    told = {
        (row.budget_id, each["name"])
        for row in session.scalars(select(Discrepancy))
        for each in row.evidence["missing"]
    }
    found: dict[UUID, list[Missing]] = {}
    for each in missing:
        named = {UUID(text) for text in each.budgets}
        datasets = session.scalars(select(Budget.dataset_id).where(Budget.id.in_(named))).all()
        roots = {root_of[dataset] for dataset in datasets if dataset in root_of}
        for root_id in roots or set(root_of.values()):
            if (root_id, each.name) not in told:
                found.setdefault(root_id, []).append(each)
    return found


def _freeze(session: Session, root_id: UUID, evidence: Mapping[str, Any], *, now: datetime) -> bool:
    """Write a discrepancy down and freeze its root; a step."""
    root = budget_rows.lock(session, [root_id])[0]
    digest = document_sha256(evidence)
    session.add(
        Discrepancy(
            id=uuid4(),
            budget_id=root.id,
            evidence=dict(evidence),
            evidence_sha256=digest,
            found_at=now,
        )
    )
    session.flush()
    kinds = [each["kind"] for each in evidence["missing"]]
    counts = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
    facts = {"evidence_sha256": digest, "reason": BEHIND, "missing": counts}
    log.error("ledger.behind budget_id=%s evidence=%s counts=%s", root.id, digest, counts)
    notifications.notice_behind(session, root, {**facts, "budget_id": str(root.id)}, now=now)
    audit.record(
        session, actor_id=None, action="ledger.behind", subject=str(root.id), facts=facts, at=now
    )
    if root.state != "open":
        return False
    write_state(session, root, "freeze", actor=ACTOR, facts=facts, now=now)
    return True


def _end_at_most(
    session: Session, reservation_id: UUID, parts: Iterable[int], *, now: datetime
) -> None:
    """Post a reservation that is still held at all that it holds of the parts that went on (L6)."""
    job = session.scalars(
        select(Job).where(Job.reservation_id == reservation_id).with_for_update()
    ).one_or_none()
    row = session.scalars(
        select(Reservation).where(Reservation.id == reservation_id).with_for_update()
    ).one_or_none()
    if row is None or row.state not in HELD:
        return
    units = list(row.started_units)
    for part in set(parts).intersection(range(len(units))):
        units[part] = row.parts[part]["max_units"]
    row.started_units = units
    row.state = "touched"
    row.touched_at = row.touched_at or now
    if job is not None:
        # its worker, if one lives, finds its fence stale and writes nothing more
        job.fence += 1
        settlement.end_without_result(session, job, GAVE_UP, now=now, actor=ACTOR)
        return
    settlement.post_units(session, row, units, ACTOR, None, now=now)
    audit.record(
        session,
        actor_id=None,
        action="reservation.posted",
        subject=str(row.id),
        facts={"outside": True, "by": ACTOR},
        at=now,
    )
