"""The admission writer: takes what waits, decides it in order of arrival, commits once (L1).

While one batch is being made durable the next one gathers, so the batch grows with the load and a
lonely request waits for nobody. What a batch could not commit is decided again one by one.
"""

import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from app.db.session import SessionMaker, transaction
from app.services import metrics
from app.services.batches import Asked, Batch

WRITER_QUEUE_MOST: Final = 1024
BATCH_MOST: Final = 256
ATTEMPTS_MOST: Final = 3
# PostgreSQL's lock_not_available
LOCK_NOT_AVAILABLE: Final = "55P03"
# who waits alone has waited with his batch before
PATIENCE_ALONE: Final = "100ms"
HELD: Final = "a scope is held by somebody else"

Outcome = dict[str, Any] | Exception


class WriterBusy(RuntimeError):
    """The writer's queue is full, it is stopped, or a scope is held by somebody else for long.

    Nothing was decided; the same key may be tried again.
    """


@dataclass(frozen=True, slots=True)
class _Waiting:
    asked: Asked
    answer: "Future[dict[str, Any]]" = field(default_factory=Future)

    def end(self, outcome: Outcome) -> None:
        _count(self.asked, outcome)
        with suppress(InvalidStateError):  # whoever asked has gone; the decision stands
            if isinstance(outcome, Exception):
                self.answer.set_exception(outcome)
            else:
                self.answer.set_result(outcome)


class AdmissionWriter:
    """One thread that decides admissions a batch at a time, in order of arrival.

    A single writer a process keeps SQLite's busy handler from starving anybody; several processes
    stay correct because balances are read again under the row lock.

    batch_most: how many requests one transaction decides at most; 0 lets every request's own thread
        lock the rows and commit, which is how a service without a writer would do it.
    """

    def __init__(self, make_session: SessionMaker, *, batch_most: int = BATCH_MOST) -> None:
        self._make_session = make_session
        self._batch_most = batch_most
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(WRITER_QUEUE_MOST)
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._is_ending = False
        self._known_prices: set[str] = set()  # stored, and never rewritten (R1)

    def start(self) -> None:
        """Begin to take requests."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="admission-writer", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Finish what waits, then end; a request that comes later is told so."""
        if self._thread is not None:
            self._stopped.set()
            self._queue.put(None)
            self._thread.join()
            self._thread = None
            # whatever slipped in behind the mark must be answered too
            while not self._queue.empty():
                left = self._queue.get_nowait()
                if left is not None:
                    left.end(WriterBusy("the admission writer has stopped"))

    @property
    def is_grouping(self) -> bool:
        """Whether requests that wait are decided together."""
        return self._batch_most > 0

    @property
    def is_alive(self) -> bool:
        """Whether requests are being taken."""
        alive = self._thread is not None and self._thread.is_alive()
        return alive and not self._stopped.is_set()

    @property
    def waiting(self) -> int:
        """How many requests wait now."""
        return self._queue.qsize()

    def decide(self, asked: Asked) -> dict[str, Any]:
        """Have one request decided; returns when the decision is durable.

        Raises:
            WriterBusy: nothing was decided.
            DomainError, or what else `asked.decide` raises: a refusal; it left nothing behind.
        """
        if not self.is_grouping and self.is_alive:
            return self._decide_alone(asked)
        answer = self.submit(asked, wait_s=1)
        while True:
            try:
                return answer.result(timeout=1)
            except FutureTimeout:
                if answer.done():
                    # the wait was not what timed out
                    return answer.result()
                if self._thread is None:
                    raise WriterBusy("the admission writer has stopped") from None

    def submit(self, asked: Asked, *, wait_s: float = 0) -> "Future[dict[str, Any]]":
        """Put one request into the queue; the answer comes when its decision is durable.

        wait_s: how long to wait for a place in a full queue.

        Raises:
            WriterBusy: nothing was decided.
        """
        if not self.is_alive:
            raise WriterBusy("the admission writer is not running")
        waiting = _Waiting(asked)
        try:
            self._queue.put(waiting, block=wait_s > 0, timeout=wait_s or None)
        except queue.Full:
            full = WriterBusy("the admission queue is full")
            _count(asked, full)
            raise full from None
        return waiting.answer

    def _run(self) -> None:
        while batch := self._take():
            try:
                outcomes = self._decide_together([waiting.asked for waiting in batch])
            except Exception as failure:
                outcomes = self._one_by_one([waiting.asked for waiting in batch], failure)
            except BaseException as end:
                for waiting in batch:
                    waiting.answer.set_exception(end)
                continue
            for waiting, outcome in zip(batch, outcomes, strict=True):
                waiting.end(outcome)

    def _take(self) -> list[_Waiting]:
        """What waits, in order; one at least, and none at the end. Nobody is waited for."""
        if self._is_ending:
            return []
        first = self._queue.get()
        batch = [] if first is None else [first]
        while batch and len(batch) < self._batch_most:
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                break
            if waiting is None:
                # never put back: nobody but this thread would make room for it
                self._is_ending = True
                break
            batch.append(waiting)
        return batch

    def _decide_together(
        self, asked: Sequence[Asked], *, patience: str | None = None
    ) -> list[Outcome]:
        """One transaction for all of them; a refusal disturbs nobody.

        Raises:
            Exception: nothing is durable, or nobody knows; each is to be decided alone, where its
                key is looked for first.
        """
        outcomes: list[Outcome] = []
        with transaction(self._make_session) as session:
            batch = Batch.over(session, asked, self._known_prices, lock_timeout=patience)
            for each in asked:
                batch.has_written = False
                try:
                    outcomes.append(each.decide(batch))
                except Exception as refused:
                    if batch.has_written or isinstance(refused, DBAPIError):
                        raise  # half a request must not be committed with the others
                    outcomes.append(refused)
            batch.end()
            decided_s = time.monotonic()
        metrics.COMMIT_SECONDS.observe(time.monotonic() - decided_s)
        metrics.BATCH_SIZE.observe(len(asked))
        self._known_prices |= batch.prices
        return outcomes

    def _one_by_one(self, asked: Sequence[Asked], failure: Exception) -> list[Outcome]:
        """Each decided alone, after all of them together have failed.

        Where they failed because somebody holds a row for long, nobody waits as long once more: not
        for the same scopes, and for others only to see that they are free.
        """
        if _is_locked_whole(failure):
            return [WriterBusy(HELD) for _ in asked]
        patience = PATIENCE_ALONE if _is_held(failure) else None
        held: set[tuple[UUID, ...]] = set()
        outcomes: list[Outcome] = []
        for each in asked:
            if each.budget_ids in held:
                outcomes.append(WriterBusy(HELD))
                continue
            try:
                outcomes.append(self._decide_durably(each, patience=patience))
            except Exception as refused:
                outcomes.append(refused)
                if isinstance(refused, WriterBusy) and each.budget_ids:
                    held.add(each.budget_ids)
        return outcomes

    def _decide_alone(self, asked: Asked) -> dict[str, Any]:
        try:
            outcome = self._decide_durably(asked)
        except Exception as refused:
            _count(asked, refused)
            raise
        _count(asked, outcome)
        return outcome

    def _decide_durably(self, asked: Asked, *, patience: str | None = None) -> dict[str, Any]:
        """One transaction; a lost race for a key or an unknown commit is read back and retried."""
        for attempt in range(1, ATTEMPTS_MOST + 1):
            try:
                outcome = self._decide_together([asked], patience=patience)[0]
            except (IntegrityError, OperationalError) as failure:
                if _is_held(failure) or _is_locked_whole(failure):
                    raise WriterBusy(HELD) from failure
                # every decision looks for its idempotency key first, so a commit that did happen
                # is found and answered, and one that did not is made once (R16)
                if attempt == ATTEMPTS_MOST:
                    raise
            else:
                if isinstance(outcome, Exception):
                    raise outcome
                return outcome
        raise AssertionError("unreachable")


def _count(asked: Asked, outcome: Outcome) -> None:
    """Count what became of a request for room; what only remembers a refusal has no scopes."""
    if not asked.budget_ids:
        return
    if not isinstance(outcome, Exception):
        metrics.ADMISSIONS.add("admitted")
    elif isinstance(outcome, WriterBusy):
        metrics.ADMISSIONS.add("busy")
    else:
        # of a refusal its code; nothing is said of what failed
        metrics.ADMISSIONS.add(str(getattr(outcome, "code", "") or "not-decided"))


def _is_held(failure: Exception) -> bool:
    """Whether a row was not to be had in time."""
    origin = failure.orig if isinstance(failure, DBAPIError) else None
    return getattr(origin, "sqlstate", None) == LOCK_NOT_AVAILABLE


def _is_locked_whole(failure: Exception) -> bool:
    """Whether another process held all of a SQLite file for longer than its busy timeout.

    It is told at the BEGIN IMMEDIATE of a transaction, so nothing was decided in it.
    """
    origin = failure.orig if isinstance(failure, DBAPIError) else None
    return getattr(origin, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
