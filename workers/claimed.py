"""A claimed job's ledger: the engine spends through it, and a heartbeat keeps the claim alive."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from typing import Any, Self, TypeVar

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from app.db.session import SessionMaker, database_now, transaction
from app.domain.errors import LeaseLost, NotAllowedAnyMore, ScopeClosed
from app.domain.jobs import NamedCheckpoint
from app.services import policies, resume, settlement
from app.services.settlement import Claim, Stopped
from app.services.witness import WitnessJournal
from workers import stopping
from workers.engines.api import ClaimLost, JobCancelled, Outcome

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
T = TypeVar("T")


class ClaimedLedger:
    """`JobLedger` under one claim. Inside its `with` block the lease is extended in time.

    Once the claim is lost every call raises ClaimLost, so a run that was swept starts nothing.
    """

    def __init__(
        self, make_session: SessionMaker, held: Claim, lease_s: float, journal: WitnessJournal
    ) -> None:
        self._make_session = make_session
        self._journal = journal
        self._held = held
        self._lease_s = lease_s
        self._ended = threading.Event()
        self._lost = threading.Event()
        # in a copy of this context, so that its lines name the job too
        run = copy_context().run
        self._thread = threading.Thread(
            target=run, args=(self._keep_alive,), name="heartbeat", daemon=True
        )

    def __enter__(self) -> Self:
        """Begin to extend the lease."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop extending it."""
        self._ended.set()
        self._thread.join()

    def start(self, part: int, started_units: int) -> None:
        """Make units durable as started (L6), and tell the witness (R22); see `JobLedger.start`.

        A worker that was told to stop starts nothing more where another one can go on: it gives
        the job back here, and its claim is over (R14).
        """
        if stopping.is_asked() and self._transact(self._hand_back):
            log.info("job.handed_back")
            self._lost.set()
            raise ClaimLost
        touches = self._transact(
            lambda session: settlement.start(
                session, self._held, part, started_units, now=database_now(session)
            )
        )
        log.info("job.started part=%s units=%s", part, started_units)
        # no row was read yet: where this fails the run fails, and its started units are charged
        self._journal.record(touches)

    def progress(self, fields: Mapping[str, Any]) -> None:
        """Publish a progress row with the epsilon that the job has started so far (R13).

        Beside it stands the delta at which that epsilon holds, which is the budget's.
        """

        def write(session: Session) -> None:
            budget, loss = settlement.started_loss(session, self._held.job_id)
            policy = policies.policy_of(budget)
            row = {
                **fields,
                "epsilon": policies.alone(policy, loss).epsilon,
                "delta": policies.bound_delta(policy, loss.delta_atto),
            }
            settlement.progress(session, self._held, row, now=database_now(session))

        self._transact(write)

    def name_checkpoint(self, checkpoint: NamedCheckpoint) -> list[NamedCheckpoint]:
        """Let a later claim go on from a checkpoint; says what the row names now (R14)."""
        return self._transact(
            lambda session: resume.name_checkpoint(session, self._held, checkpoint)
        )

    def post(self, outcome: Outcome, artifacts: Sequence[Mapping[str, Any]]) -> None:
        """Post the spend and its result, together (L2)."""

        def write(session: Session) -> None:
            # an earlier try may have been committed though its answer was lost
            if not settlement.is_posted(session, self._held):
                settlement.post(
                    session,
                    self._held,
                    document=outcome.result,
                    artifacts=artifacts,
                    now=database_now(session),
                )

        self._transact(write)

    def fail(self, code: str) -> None:
        """End the job without a result: what was started is charged, nothing else."""
        self._transact(
            lambda session: settlement.fail(session, self._held, code, now=database_now(session))
        )

    def _hand_back(self, session: Session) -> bool:
        return resume.hand_back(session, self._held, now=database_now(session))

    def _transact(self, write: Callable[[Session], T]) -> T:
        """One write under the claim, tried again while the claim lives.

        A deadlock or a connection that broke is no reason to throw a paid result away. Each write
        is fenced, and repeats without a second effect.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return self._try(write)
            except (DBAPIError, PoolTimeout) as failed:
                if isinstance(failed, IntegrityError | DataError | ProgrammingError):
                    raise  # ours to mend: trying again would say the same
                log.warning("claim.write_failed error=%s", type(failed).__name__)
                if self._ended.wait(pause_s) or self._lost.is_set():
                    raise ClaimLost from None
                pause_s = min(2 * pause_s, self._lease_s / 3)

    def _try(self, write: Callable[[Session], T]) -> T:
        if self._lost.is_set():
            raise ClaimLost
        try:
            with transaction(self._make_session) as session:
                return write(session)
        except LeaseLost:
            self._lost.set()
            raise ClaimLost from None
        except Stopped:
            raise JobCancelled from None
        except (ScopeClosed, NotAllowedAnyMore) as stopped:
            # frozen, closed, or over without room in the next window (R9), or no longer its
            # owner's to ask for: the run stops here, and what it has started is settled
            raise JobCancelled from stopped

    def _keep_alive(self) -> None:
        # a third of the lease: two beats may miss before the sweeper comes
        extended_s = time.monotonic()
        while not self._ended.wait(self._lease_s / 3):
            try:
                with transaction(self._make_session) as session:
                    settlement.extend(
                        session, self._held, lease_s=self._lease_s, now=database_now(session)
                    )
                extended_s = time.monotonic()
            except LeaseLost:
                self._lost.set()
                return
            except Exception as failed:
                # the database may come back before the lease ends
                log.warning("heartbeat.failed error=%s", type(failed).__name__)
                if time.monotonic() - extended_s > self._lease_s:
                    # nobody can say any more that this claim is ours
                    self._lost.set()
                    return
