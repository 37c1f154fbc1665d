"""Settlement: touched is spent, and a result is readable only once its spend is posted (L2, L6).

Every step carries the fence of its claim. A worker that was swept finds its fence stale and writes
nothing; the unique resolution of a reservation makes the database the judge of every race.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Budget, Job, PriceRow, Progress, Reservation, Result
from app.db.repositories import budgets as budget_rows
from app.db.repositories import jobs as job_rows
from app.domain.accounting.prices import Price, charge_parts
from app.domain.errors import (
    AlreadyResolved,
    InvalidParameter,
    LeaseLost,
    NotAllowedAnyMore,
    ScopeClosed,
)
from app.domain.privacy import Loss
from app.domain.touches import Touch
from app.services import access, audit, failures, refutations, windows
from app.services import ledger as ledger_steps
from app.services.admission import require_open
from app.services.failures import FAILED_AFTER_TOUCH
from app.services.witness import touches_of

# nothing else of a run is ever published: no training loss, no norm, no draw size, no row count
PROGRESS_FIELDS = frozenset({"step", "steps", "epsilon", "delta", "test_accuracy"})
CANCELLED = "cancelled"
STOPPED_BY_PARAMETERS = frozenset({CANCELLED, ScopeClosed.code, NotAllowedAnyMore.code})
WORKER = "worker"
SWEEPER = "sweeper"


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this worker holds, by fence, until its lease ends."""

    job_id: UUID
    fence: int


class Stopped(Exception):
    """A stop was asked for; nothing further may start. What was started stays spent."""


def claim(
    session: Session, job_id: UUID, *, owner: str, lease_s: float, now: datetime
) -> Claim | None:
    """Take a queued job for this worker, or None: another delivery got here first."""
    fence = job_rows.claim(
        session, job_id, owner=owner, now=now, lease_until=now + timedelta(seconds=lease_s)
    )
    return None if fence is None else Claim(job_id, fence)


def extend(session: Session, held: Claim, *, lease_s: float, now: datetime) -> None:
    """Keep a claim alive.

    Raises:
        LeaseLost: somebody else holds the job now.
    """
    if not job_rows.extend(session, held.job_id, held.fence, now + timedelta(seconds=lease_s)):
        raise LeaseLost


def start(
    session: Session, held: Claim, part: int, started_units: int, *, now: datetime
) -> list[Touch]:
    """Make units durable as started: from here on they are spent whatever happens (L6).

    `started_units` is cumulative; a value that is not higher changes nothing. The first start is
    the touch, and asks once more whether every scope is open.

    Returns:
        What the witness is to be told once this is committed, and before a row is read (R22).

    Raises:
        LeaseLost: the fence is stale.
        Stopped: the job's owner asked for a stop.
        ScopeClosed: a scope was frozen or closed since admission.
        NotAllowedAnyMore: the job's owner lost the right to it since admission.
    """
    job = _held(session, held)
    if job.cancel_requested:
        raise Stopped
    reservation = _reservation(session, job.reservation_id)
    start_units(session, reservation, part, started_units, job_id=job.id, now=now)
    return touches_of(reservation, fence=held.fence, at=now, part=part)


def start_units(
    session: Session,
    reservation: Reservation,
    part: int,
    started_units: int,
    *,
    job_id: UUID | None,
    now: datetime,
) -> None:
    """The touch itself, for jobs of ours and for jobs elsewhere.

    Raises:
        AlreadyResolved: the reservation was posted or voided.
        InvalidParameter: no such part, or more units than were reserved.
        ScopeClosed: a scope was frozen or closed since admission, or its window is over and the
            next one has no room (R9).
        NotAllowedAnyMore: the owner lost the right to charge its leaves since admission.
    """
    if reservation.state not in ("reserved", "touched"):
        raise AlreadyResolved(reservation.state)
    if not 0 <= part < len(reservation.parts):
        raise InvalidParameter("/part", "The reservation has no such part.")
    most = reservation.parts[part]["max_units"]
    if not 0 <= started_units <= most:
        raise InvalidParameter("/started_units", f"A whole number from 0 to {most}.")
    if started_units <= reservation.started_units[part]:
        return
    access.require_right_in_force(session, reservation.principal_id, reservation.inputs)
    # the scopes' rows are locked, so a freeze either comes before this touch or after it
    ids = [UUID(text) for text in reservation.budget_ids]
    # all windows of the path, those too that were opened since this was admitted: a unit belongs to
    # the window in which it starts (R9)
    locked = budget_rows.lock(session, [*ids, *budget_rows.windows_of(session, ids)])
    prices = [_price(session, each["price"]) for each in reservation.parts]
    for budget in windows.move_over_boundary(
        session, reservation, locked, prices, job_id=job_id, now=now
    ):
        require_open(session, budget, now=now)
    units = list(reservation.started_units)
    units[part] = started_units
    reservation.started_units = units
    reservation.state = "touched"
    reservation.touched_at = reservation.touched_at or now


def post(
    session: Session,
    held: Claim,
    *,
    document: Mapping[str, Any],
    artifacts: Sequence[Mapping[str, Any]],
    now: datetime,
) -> None:
    """Post what was started and store the result, in one transaction (L2).

    Raises:
        LeaseLost: the fence is stale; the sweeper has settled this job or will.
        RuntimeError: nothing was started, so nothing would be charged for the result; a bug of an
            engine that must not reach the ledger.
    """
    job = _held(session, held)
    if not settle(session, job, now=now, actor=WORKER):
        raise RuntimeError(f"job {job.id} has a result and was never touched (L2)")
    job.state = "cancelled" if job.cancel_requested else "settled"
    session.add(
        Result(
            job_id=job.id,
            fence=held.fence,
            document=dict(document),
            artifacts=[dict(item) for item in artifacts],
            profile_of=UUID(job.inputs[0]["dataset_id"]) if job.kind == "profile" else None,
            created_at=now,
        )
    )
    refutations.judge(session, job, document, now=now)


def is_posted(session: Session, held: Claim) -> bool:
    """Whether this very claim has its result posted already."""
    result = session.get(Result, held.job_id)
    return result is not None and result.fence == held.fence


def fail(session: Session, held: Claim, code: str, *, now: datetime, actor: str = WORKER) -> None:
    """End a job without a result: started units are charged, an untouched job costs nothing.

    Raises:
        LeaseLost: the fence is stale.
    """
    job = _held(session, held)
    end_without_result(session, job, code, now=now, actor=actor)


def end_without_result(session: Session, job: Job, code: str, *, now: datetime, actor: str) -> None:
    """The failure itself. After a touch every failure has one code, whatever its cause (R13).

    A stop that parameters alone decided, by a cancel, a closed scope or a right that has ended, is
    no such failure.
    """
    touched = settle(session, job, now=now, actor=actor)
    failed_on_rows = touched and code not in STOPPED_BY_PARAMETERS
    job.state = "cancelled" if job.cancel_requested else "failed"
    if failed_on_rows:
        # a cancel that came too late to stop anything does not hide it
        job.failure_code = FAILED_AFTER_TOUCH
        for item in job.inputs:
            failures.freeze_after_failures(session, UUID(item["dataset_id"]), now=now)
    elif not job.cancel_requested:
        job.failure_code = code


def settle(session: Session, job: Job, *, now: datetime, actor: str) -> bool:
    """Post started units, or void an untouched reservation; says whether it was touched."""
    reservation = _reservation(session, job.reservation_id)
    touched = reservation.state == "touched"
    if touched:
        post_units(session, reservation, reservation.started_units, actor, job.id, now=now)
    else:
        void(session, reservation, actor, job.id, now=now)
    job.owner = None
    job.lease_until = None
    job.checkpoints = None
    job.finished_at = now
    audit.record(
        session,
        actor_id=None,
        action="reservation.posted" if touched else "reservation.voided",
        subject=str(reservation.id),
        facts={"job_id": str(job.id), "by": actor},
        at=now,
    )
    return touched


def post_units(
    session: Session,
    reservation: Reservation,
    units: Sequence[int],
    actor: str,
    job_id: UUID | None,
    *,
    now: datetime,
) -> None:
    """Charge a number of units of every part and free the rest of what was held."""
    ledger_steps.resolve(
        session,
        reservation,
        kind="posted",
        prices=[_price(session, part["price"]) for part in reservation.parts],
        units=units,
        actor=actor,
        job_id=job_id,
        now=now,
    )


def void(
    session: Session, reservation: Reservation, actor: str, job_id: UUID | None, *, now: datetime
) -> None:
    """Give back everything that was held: nothing was touched.

    Raises:
        RuntimeError: something was touched; a bug that must not reach the ledger.
    """
    if any(reservation.started_units):
        raise RuntimeError(f"reservation {reservation.id} was touched and cannot be voided (L6)")
    ledger_steps.resolve(
        session,
        reservation,
        kind="voided",
        prices=[_price(session, part["price"]) for part in reservation.parts],
        units=[0] * len(reservation.parts),
        actor=actor,
        job_id=job_id,
        now=now,
    )


def progress(session: Session, held: Claim, fields: Mapping[str, Any], *, now: datetime) -> None:
    """Publish a progress row under the claim (R13).

    Raises:
        LeaseLost: the fence is stale.
        ValueError: a field that is not on the list; a bug in an engine, which must not be seen.
    """
    if not PROGRESS_FIELDS.issuperset(fields):
        raise ValueError("a progress row holds steps, epsilon so far and public metrics alone")
    job = _held(session, held)
    session.add(Progress(job_id=job.id, fence=held.fence, document=dict(fields), created_at=now))


def started_loss(session: Session, job_id: UUID) -> tuple[Budget, Loss]:
    """The leaf budget of a job and the loss of what it has started so far.

    Where the leaf is a plan, the budget above it: a plan that is half used has no figure (R10).
    """
    job = session.get_one(Job, job_id)
    reservation = session.get_one(Reservation, job.reservation_id)
    loss = charge_parts(
        [
            (_price(session, part["price"]), count)
            for part, count in zip(reservation.parts, reservation.started_units, strict=True)
        ]
    )
    leaf = session.get_one(Budget, UUID(job.inputs[0]["budget_id"]))
    if leaf.plan_units is not None and leaf.parent_id is not None:
        leaf = session.get_one(Budget, leaf.parent_id)
    return leaf, loss


def _held(session: Session, held: Claim) -> Job:
    job = job_rows.held(session, held.job_id, held.fence)
    if job is None:
        raise LeaseLost
    return job


def _reservation(session: Session, reservation_id: UUID) -> Reservation:
    statement = (
        select(Reservation)
        .where(Reservation.id == reservation_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return session.scalars(statement).one()


def _price(session: Session, digest: str) -> Price:
    return Price.from_json(session.get_one(PriceRow, digest).document)
