"""The sweeper: no lease is held for ever, no message is waited for for ever (DESIGN section 5.7).

Untouched work is queued again on the same reservation, five times at most, then voided. Touched
work without a result is queued again too where its kind keeps checkpoints (R14); else it is posted
at its started units: what may have been seen is spent (L6).
"""

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Job, Reservation
from app.db.repositories import jobs as job_rows
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.logs import about
from app.services import approvals, plans, report_building, resume, settlement, tallies
from app.services.jobs import artifacts_of
from app.services.reservations import post_outside

log = logging.getLogger(__name__)

GAVE_UP: Final = "gave-up"
SWEPT_MOST: Final = 100
HELD_STATES: Final = ("reserved", "touched")
# longer than a job usually queues, and doubled with every message: at 4 s a test of 40 jobs sent
# 112 needless messages
RESEND_AFTER_S: Final = 30.0
DOUBLINGS_MOST: Final = 6


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did; `failed` are jobs that ended without a result."""

    requeued: int = 0
    failed: tuple[UUID, ...] = ()
    resent: int = 0
    lapsed: int = 0
    expired: int = 0


def sweep(make_session: SessionMaker, *, resend_after_s: float = RESEND_AFTER_S) -> Swept:
    """One pass, in transactions of its own; safe in several processes at once."""
    with snapshot(make_session) as session:
        now = database_now(session)
        jobs = job_rows.lapsed_ids(session, now=now, limit=SWEPT_MOST)
        outside = _lapsed_outside_ids(session, now=now)
        has_expired = approvals.has_expired(session, now=now)
    ended = [_alone(make_session, job_id, _end_if_lapsed) for job_id in jobs]
    with transaction(make_session) as session:
        now = database_now(session)
        resent = _wake_forgotten(session, resend_after_s, now=now)
        resent += plans.wake_forgotten(session, resend_after_s, now=now, limit=SWEPT_MOST)
        resent += report_building.sweep(session, resend_after_s, now=now, limit=SWEPT_MOST)
    posted = [_alone(make_session, row_id, _post_if_lapsed) for row_id in outside]
    expired = 0
    if has_expired:
        with transaction(make_session) as session:
            expired = approvals.expire_pending(session, now=database_now(session))
    return Swept(
        expired=expired,
        requeued=ended.count("requeued"),
        failed=tuple(job for job, how in zip(jobs, ended, strict=True) if how == "failed"),
        resent=resent,
        lapsed=posted.count("lapsed"),
    )


def _alone(
    make_session: SessionMaker, subject: UUID, end: Callable[[Session, UUID], str | None]
) -> str | None:
    """End one subject in a transaction of its own.

    So locks are taken in everybody's order, and one that cannot be ended keeps nobody waiting.
    """
    try:
        with transaction(make_session) as session:
            return end(session, subject)
    except Exception:
        log.exception("sweep.left_alone subject=%s", subject)
        return None


def _end_if_lapsed(session: Session, job_id: UUID) -> str | None:
    now = database_now(session)
    job = job_rows.lapsed(session, job_id, now=now)
    if job is None:
        return None
    how = "requeued" if end_lapsed_claim(session, job, now=now) else "failed"
    with about(job_id=job.id, fence=job.fence):
        log.warning("sweep.claim_lapsed how=%s", how)
    tallies.add(session, tallies.LEASE_EXPIRIES)
    return how


def _post_if_lapsed(session: Session, reservation_id: UUID) -> str | None:
    now = database_now(session)
    row = _lapsed_outside(session, reservation_id, now=now)
    if row is None:
        return None
    post_outside(session, row, actor=settlement.SWEEPER, now=now)
    tallies.add(session, tallies.LEASE_EXPIRIES)
    return "lapsed"


def end_lapsed_claim(session: Session, job: Job, *, now: datetime) -> bool:
    """Take a job from a worker that went silent; True where it is queued again.

    The fence moves on here, so the old worker's next write misses even before a new claim.
    """
    job.fence += 1
    if resume.may_go_on(session, job, now=now):
        resume.go_on(session, job, now=now)
        return True
    settlement.end_without_result(session, job, GAVE_UP, now=now, actor=settlement.SWEEPER)
    return False


def sweep_files(make_session: SessionMaker, home: Path, swept: Swept) -> None:
    """Delete what workers that are gone have left of jobs that have ended.

    A worker that was killed cannot tidy up, and rows may lie among what it had spilled.
    """
    for job_id in swept.failed:
        shutil.rmtree(artifacts_of(home, job_id), ignore_errors=True)
    resume.delete_unheld_checkpoints(make_session, home)


class Sweeper:
    """Sweeps on a thread of its own until it is stopped; `home` is the folder of jobs' files."""

    def __init__(self, make_session: SessionMaker, home: Path, every_s: float = 2.0) -> None:
        self._make_session = make_session
        self._home = home
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the pass under way."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                swept = sweep(self._make_session)
                sweep_files(self._make_session, self._home, swept)
            except Exception:
                # a database that is away for a moment must not end the sweeping
                log.exception("sweep.failed")
                continue
            if swept != Swept():
                log.info("sweep.done swept=%s", swept)


def _wake_forgotten(session: Session, resend_after_s: float, *, now: datetime) -> int:
    count = 0
    before = now - timedelta(seconds=resend_after_s)
    for job in job_rows.forgotten(session, sent_before=before, limit=SWEPT_MOST):
        messages, last_sent_at = job_rows.wakes(session, job.id)
        waited_s = resend_after_s * 2 ** min(max(messages - 1, 0), DOUBLINGS_MOST)
        if last_sent_at is None or last_sent_at <= now - timedelta(seconds=waited_s):
            resume.wake(session, job, now=now)
            count += 1
    return count


def _lapsed_outside_ids(session: Session, *, now: datetime) -> Sequence[UUID]:
    statement = (
        select(Reservation.id)
        .where(
            Reservation.is_outside,
            Reservation.state.in_(HELD_STATES),
            Reservation.lease_until < now,
        )
        .order_by(Reservation.lease_until)
        .limit(SWEPT_MOST)
    )
    return session.scalars(statement).all()


def _lapsed_outside(session: Session, reservation_id: UUID, *, now: datetime) -> Reservation | None:
    statement = (
        select(Reservation)
        .where(
            Reservation.id == reservation_id,
            Reservation.state.in_(HELD_STATES),
            Reservation.lease_until < now,
        )
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    return session.scalars(statement).one_or_none()
