"""Jobs that run elsewhere: the ledger as a service (R15).

We cannot see what an outside tool touched, so it is charged in full at commit or lapse, unless a
registered runner reported its started units chunk by chunk.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Budget, Reservation
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.errors import (
    AlreadyResolved,
    AlreadyTouched,
    InvalidParameter,
    LeaseLost,
    NotAllowed,
    NotFound,
    NothingStarted,
    ScopeClosed,
)
from app.services import access, audit, explanation, settlement, windows
from app.services.access import Caller
from app.services.parts import part_json
from app.services.witness import WitnessJournal, touches_of

NOTHING_READ = "no private row was read"
LEASE_MOST_S = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Reservations:
    """Use cases on outside reservations; each repeats without a second effect."""

    make_session: SessionMaker
    journal: WitnessJournal

    def get(self, caller: Caller, reservation_id: UUID) -> dict[str, Any]:
        """One reservation of the caller's, or any for officers and auditors."""
        with snapshot(self.make_session) as session:
            return reservation_json(_own(session, caller, reservation_id))

    def start(
        self, caller: Caller, reservation_id: UUID, fence: int, part: int, started_units: int
    ) -> dict[str, Any]:
        """Make units durable as started, cumulative per part; lower or equal changes nothing.

        Raises:
            LeaseLost: the fence is stale or the lease is over.
            AlreadyResolved: posted or voided.
            NotAllowedAnyMore: the right to charge the leaf has ended; what was started is owed.
        """
        try:
            with transaction(self.make_session) as session:
                now = database_now(session)
                row = _held(session, caller, reservation_id, fence, now=now)
                _require_runner(row, caller)
                settlement.start_units(session, row, part, started_units, job_id=None, now=now)
                touches = touches_of(row, fence=row.fence, at=now, part=part)
                document = reservation_json(row)
        except ScopeClosed as closed:
            with snapshot(self.make_session) as session:
                raise explanation.as_seen(session, caller, closed) from None
        # the runner reads its rows when it has this answer, so the witness knows before (R22)
        self.journal.record(touches)
        return document

    def heartbeat(
        self, caller: Caller, reservation_id: UUID, fence: int, lease_s: int
    ) -> dict[str, Any]:
        """Move the lease on from now.

        Raises:
            LeaseLost: the fence is stale or the lease is over.
        """
        with transaction(self.make_session) as session:
            now = database_now(session)
            row = _held(session, caller, reservation_id, fence, now=now)
            lease_until = _lease_until(lease_s, now=now)
            if not row.is_runner:
                held = [session.get_one(Budget, UUID(text)) for text in row.budget_ids]
                lease_until = windows.latest_lease(session, held, lease_until)
            row.lease_until = lease_until
            return reservation_json(row)

    def resume(self, caller: Caller, reservation_id: UUID, lease_s: int) -> dict[str, Any]:
        """Go on with a registered runner's reservation in another process, behind what has started.

        The fence moves on with the read of the started units, so the process before finds its
        lease lost at its next start: no unit is drawn by two under one charge (L6, R14). It takes
        no fence: whoever resumes last holds it, and a repeat after a lost answer resumes anew.

        Raises:
            NotAllowed: made or asked for by another than a registered runner. Nobody knows what its
                first process has read, and a second draw would be uncharged (R15).
            LeaseLost: the lease is over; what was started is settled.
            AlreadyResolved: posted or voided.
        """
        with transaction(self.make_session) as session:
            now = database_now(session)
            row = _own(session, caller, reservation_id, lock=True)
            if not (row.is_runner and caller.is_runner):
                raise NotAllowed("resume a reservation", "a registered runner that made it")
            _require_held(row, row.fence, now=now)
            row.fence += 1
            row.lease_until = _lease_until(lease_s, now=now)
            audit.record(
                session,
                actor_id=caller.principal_id,
                action="reservation.resumed",
                subject=str(row.id),
                facts={"fence": row.fence, "started_units": list(row.started_units)},
                at=now,
            )
            return reservation_json(row)

    def commit(
        self, caller: Caller, reservation_id: UUID, fence: int, output_sha256: str | None
    ) -> dict[str, Any]:
        """Charge: a registered runner pays what it started, everybody else the whole.

        Raises:
            LeaseLost: the fence is stale or the lease is over.
            AlreadyResolved: voided, or posted under another output.
        """
        with transaction(self.make_session) as session:
            now = database_now(session)
            row = _own(session, caller, reservation_id, lock=True)
            if row.state != "posted" or row.output_sha256 != output_sha256:
                _require_held(row, fence, now=now)
                _require_runner(row, caller)
                if row.is_runner and not any(row.started_units):
                    raise NothingStarted
                row.output_sha256 = output_sha256
                post_outside(session, row, actor=str(caller.principal_id), now=now)
            touches = touches_of(row, fence=row.fence, at=now)
            document = reservation_json(row)
        # of a tool that reports no starts this is the first that anybody hears of its rows
        self.journal.record(touches)
        return document

    def void(
        self, caller: Caller, reservation_id: UUID, fence: int, statement: str
    ) -> dict[str, Any]:
        """Give everything back, on the signed sentence that no private row was read (R15).

        Raises:
            AlreadyTouched: units were started (L6).
            InvalidParameter: the sentence is not the one that is asked for.
        """
        if statement != NOTHING_READ:
            raise InvalidParameter("/statement", f"The sentence is: {NOTHING_READ}")
        with transaction(self.make_session) as session:
            now = database_now(session)
            row = _own(session, caller, reservation_id, lock=True)
            if row.state == "voided":
                return reservation_json(row)
            if any(row.started_units):
                raise AlreadyTouched
            _require_held(row, fence, now=now)
            row.void_statement = statement
            settlement.void(session, row, str(caller.principal_id), None, now=now)
            _audit(session, row, caller.principal_id, now=now)
            return reservation_json(row)


def post_outside(session: Session, row: Reservation, *, actor: str, now: datetime) -> None:
    """Resolve an outside reservation at what it owes (R15)."""
    if row.is_runner and not any(row.started_units):
        settlement.void(session, row, actor, None, now=now)
    elif row.is_runner:
        settlement.post_units(session, row, row.started_units, actor, None, now=now)
    else:
        units = [part["max_units"] for part in row.parts]
        row.started_units = units
        row.touched_at = row.touched_at or now
        settlement.post_units(session, row, units, actor, None, now=now)
    _audit(session, row, None, now=now)


def reservation_json(row: Reservation) -> dict[str, Any]:
    """A reservation in the wire form."""
    document: dict[str, Any] = {
        "id": str(row.id),
        "state": row.state,
        "fence": row.fence,
        "tool": row.tool,
        "inputs": row.inputs,
        "lease_until": None if row.lease_until is None else row.lease_until.isoformat(),
        "started_units": sum(row.started_units),
        "parts": [
            {**part_json(part), "started_units": started}
            for part, started in zip(row.parts, row.started_units, strict=True)
        ],
    }
    if row.state == "posted":
        document["charged_units"] = list(row.started_units)
    return document


def _own(
    session: Session, caller: Caller, reservation_id: UUID, *, lock: bool = False
) -> Reservation:
    statement = select(Reservation).where(Reservation.id == reservation_id)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    row = session.scalars(statement).one_or_none()
    reads_all = not lock and not caller.roles.isdisjoint(access.SEES_EVERY_BUDGET)
    if (
        row is None
        or not row.is_outside
        or (row.principal_id != caller.principal_id and not reads_all)
    ):
        raise NotFound("reservation", str(reservation_id))
    return row


def _held(
    session: Session, caller: Caller, reservation_id: UUID, fence: int, *, now: datetime
) -> Reservation:
    row = _own(session, caller, reservation_id, lock=True)
    _require_held(row, fence, now=now)
    return row


def _require_held(row: Reservation, fence: int, *, now: datetime) -> None:
    if row.state in ("posted", "voided"):
        raise AlreadyResolved(row.state)
    if row.fence != fence or row.lease_until is None or row.lease_until <= now:
        raise LeaseLost


def _lease_until(lease_s: int, *, now: datetime) -> datetime:
    return now + timedelta(seconds=min(lease_s, LEASE_MOST_S))


def _require_runner(row: Reservation, caller: Caller) -> None:
    """What a registered runner reserved is reported by its own key alone: its word is the charge.

    Raises:
        NotAllowed: another key of the same principal.
    """
    if row.is_runner and not caller.is_runner:
        raise NotAllowed("report for a registered runner", "the runner's own key")


def _audit(session: Session, row: Reservation, actor: UUID | None, *, now: datetime) -> None:
    audit.record(
        session,
        actor_id=actor,
        action=f"reservation.{row.state}",
        subject=str(row.id),
        facts={"outside": True},
        at=now,
    )
