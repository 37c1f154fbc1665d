"""What an admission writes: the reservation, its job, its prices and its entries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from app.db.models import Budget, Entry, Job, OutboxMessage, Reservation
from app.domain import tasks
from app.services import ledger as ledger_steps
from app.services import windows
from app.services.access import Caller
from app.services.batches import Batch, values_of
from app.services.pricing import InputRequest, PricedRequest


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job as asked for; the spec is parsed strictly by the domain.

    reuse: whether a query may be answered by what an equal one has released; else it is drawn and
        charged afresh. None: it may, but not where rows lie in a live table.
    """

    kind: str
    inputs: tuple[InputRequest, ...]
    spec: Any
    purpose: str
    reuse: bool | None = None


@dataclass(frozen=True, slots=True)
class ReservationRequest:
    """Room for a job that runs elsewhere (R15)."""

    inputs: tuple[InputRequest, ...]
    parts: Any
    lease_s: int
    tool: str


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that every filter has admitted, inside the batch that holds the locks."""

    batch: Batch
    priced: PricedRequest
    locked: list[Budget]

    @property
    def now(self) -> datetime:
        """The time of the decision."""
        return self.batch.now

    def hold(self, reservation: Reservation, job: Job | None) -> None:
        """Write the reservation, its job, its prices and its entries in every scope."""
        for budget in self.locked:
            self.batch.charge(budget)
        self.batch.add(Reservation, values_of(reservation))
        if job is not None:
            self.batch.add(Job, values_of(job))
        for priced in self.priced.prices:
            self.batch.add_price(priced.digest, priced.to_json)
        entries = ledger_steps.holding_entries(
            self.locked,
            reservation,
            loss=self.priced.loss,
            job_id=None if job is None else job.id,
            now=self.now,
        )
        self.batch.add(Entry, *entries)


@dataclass(frozen=True, slots=True)
class Place:
    """What an admission writes beside its entries, in the transaction that decides it.

    write: gives the answer's document, without the charges.
    """

    action: str
    write: Callable[[Admitted], dict[str, Any]]


def job_place(caller: Caller, request: JobRequest) -> Place:
    """What admitting a job writes beside its entries, and what it answers."""

    def place(admitted: Admitted) -> dict[str, Any]:
        priced, now = admitted.priced, admitted.now
        reservation = reservation_of(caller, priced, admitted.locked, now=now)
        job = job_of(caller, request.kind, request.purpose, priced, reservation, now=now)
        admitted.hold(reservation, job)
        wake_up = {
            "task": tasks.RUN_JOB,
            "queue": tasks.queue_of(priced.spec),
            "job_id": job.id,
            "created_at": now,
            "due_at": now,
        }
        admitted.batch.add(OutboxMessage, wake_up)
        return {
            "id": str(job.id),
            "state": job.state,
            "kind": job.kind,
            "reservation_id": str(reservation.id),
            "max_units": priced.max_units,
            "spec": dict(priced.spec),
        }

    return Place("job.admitted", place)


def reservation_place(caller: Caller, request: ReservationRequest) -> Place:
    """What admitting a reservation for a job elsewhere writes, and what it answers (R15)."""

    def place(admitted: Admitted) -> dict[str, Any]:
        priced, now = admitted.priced, admitted.now
        reservation = reservation_of(caller, priced, admitted.locked, now=now)
        reservation.is_outside = True
        reservation.is_runner = caller.is_runner
        reservation.tool = request.tool
        lease_until = now + timedelta(seconds=request.lease_s)
        if not caller.is_runner:
            lease_until = windows.latest_lease(admitted.batch.session, admitted.locked, lease_until)
        reservation.lease_until = lease_until
        admitted.hold(reservation, None)
        return {
            "id": str(reservation.id),
            "state": reservation.state,
            "fence": reservation.fence,
            "started_units": 0,
            "max_units": priced.max_units,
            "lease_until": lease_until.isoformat(),
        }

    return Place("reservation.admitted", place)


def place_of(caller: Caller, request: JobRequest | ReservationRequest) -> Place:
    """What admitting a request writes and answers."""
    if isinstance(request, JobRequest):
        return job_place(caller, request)
    return reservation_place(caller, request)


def reservation_of(
    caller: Caller, priced: PricedRequest, locked: Sequence[Budget], *, now: datetime
) -> Reservation:
    """The row that holds a priced request in its scopes; outside jobs add what is theirs."""
    return Reservation(
        id=uuid4(),
        principal_id=caller.principal_id,
        state="reserved",
        parts=priced.parts_json(),
        started_units=[0] * len(priced.parts),
        reserved=priced.loss,
        posted=None,
        budget_ids=[str(budget.id) for budget in locked],
        period_bases={},
        inputs=[item.to_json() for item in priced.inputs],
        is_outside=False,
        is_runner=False,
        tool=None,
        fence=1,
        lease_until=None,
        created_at=now,
    )


def job_of(
    caller: Caller,
    kind: str,
    purpose: str,
    priced: PricedRequest,
    reservation: Reservation,
    *,
    now: datetime,
) -> Job:
    """The job of a reservation, queued."""
    return Job(
        id=uuid4(),
        kind=kind,
        state="queued",
        principal_id=caller.principal_id,
        reservation_id=reservation.id,
        purpose=purpose,
        spec=dict(priced.spec),
        inputs=reservation.inputs,
        salt=priced.salt,
        release_sha256=priced.release_sha256,
        public_versions=dict(priced.public_versions),
        fence=0,
        attempts=0,
        owner=None,
        lease_until=None,
        cancel_requested=False,
        failure_code=None,
        checkpoints=None,
        lapses_after_touch=0,
        lapsed_at=None,
        created_at=now,
        finished_at=None,
    )
