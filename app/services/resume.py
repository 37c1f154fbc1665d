"""Resume: a job whose worker is gone goes on under a new claim, where that is sound (R14).

An untouched job is simply run again. A touched one goes on only where its kind keeps checkpoints:
what was started stays spent and is not run again, and the new claim starts further units of the
same reservation, with samples and keys of its own. So nothing is charged twice, nothing runs
uncharged, and the job ends at the units that were reserved, of which fewer were useful.

Which checkpoint a claim may go on from is decided by the job's row and by nothing on a disk. A
checkpoint counts once the row names it, and the row is written under the fence: a worker that was
swept can write files for as long as it likes, and none of them is ever named. What is named was
whole and on the disk by then, and holds started units alone; its digest stands beside its name.
"""

import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Budget, Job, OutboxMessage, Reservation
from app.db.repositories import budgets as budget_rows
from app.db.repositories import jobs as job_rows
from app.db.session import SessionMaker, snapshot
from app.domain import tasks
from app.domain.errors import LeaseLost, ScopeClosed
from app.domain.jobs import KINDS_THAT_CHECKPOINT, NamedCheckpoint
from app.services import audit, failures
from app.services.admission import require_open
from app.services.settlement import Claim
from app.services.windows import require_open_window

ATTEMPTS_MOST: Final = 5
# the newest may turn out to be unreadable; then the one before it serves
CHECKPOINTS_MOST: Final = 2
HOLDS_FILES: Final = ("queued", "running")


def may_go_on(session: Session, job: Job, *, now: datetime) -> bool:
    """Whether a job that has lost its worker is queued again on the same reservation.

    A scope that is closed by then ends it here; one that closes later stops its next start.
    """
    if job.cancel_requested or job.attempts >= ATTEMPTS_MOST:
        return False
    reservation = session.get_one(Reservation, job.reservation_id)
    if reservation.state != "touched":
        return True
    return job.kind in KINDS_THAT_CHECKPOINT and _is_open(session, reservation, now=now)


def go_on(session: Session, job: Job, *, now: datetime) -> None:
    """Queue a job again after its worker went silent; its fence has moved on already.

    After a touch a silence may tell something of the rows, as a failure does, so it counts among
    the day's failures though the job lives (R13).
    """
    reservation = session.get_one(Reservation, job.reservation_id)
    queue(session, job, now=now)
    if reservation.state != "touched":
        return
    job.lapses_after_touch += 1
    job.lapsed_at = now
    _record(session, job, reservation, by="sweeper", now=now)
    for item in job.inputs:
        failures.freeze_after_failures(session, UUID(item["dataset_id"]), now=now)


def hand_back(session: Session, held: Claim, *, now: datetime) -> bool:
    """Give a job to another worker because this one was told to stop; False where it has to end.

    A stop that an operator asked for tells nothing of the rows and is no attempt that failed, so it
    counts as neither.

    Raises:
        LeaseLost: the fence is stale.
    """
    job = job_rows.held(session, held.job_id, held.fence)
    if job is None:
        raise LeaseLost
    reservation = session.get_one(Reservation, job.reservation_id)
    touched = reservation.state == "touched"
    if job.cancel_requested or (touched and job.kind not in KINDS_THAT_CHECKPOINT):
        return False
    job.fence += 1
    job.attempts -= 1
    queue(session, job, now=now)
    _record(session, job, reservation, by="worker", now=now)
    return True


def queue(session: Session, job: Job, *, now: datetime) -> None:
    """Let another worker have a job."""
    job.state = "queued"
    job.owner = None
    job.lease_until = None
    wake(session, job, now=now)


def wake(session: Session, job: Job, *, now: datetime) -> None:
    """Tell the workers once more that a job is queued."""
    session.add(
        OutboxMessage(
            task=tasks.RUN_JOB,
            queue=tasks.queue_of(job.spec),
            job_id=job.id,
            created_at=now,
            due_at=now,
        )
    )


def name_checkpoint(
    session: Session, held: Claim, checkpoint: NamedCheckpoint
) -> list[NamedCheckpoint]:
    """Let a later claim go on from a checkpoint; its files are whole and on the disk.

    Returns:
        What the row names now, oldest first; files of others are of no use any more.

    Raises:
        LeaseLost: the fence is stale; nobody will ever read the files.
        ValueError: it holds units that were never started; a bug that must not be resumed from.
    """
    job = job_rows.held(session, held.job_id, held.fence)
    if job is None:
        raise LeaseLost
    started = session.get_one(Reservation, job.reservation_id).started_units
    if not is_started(checkpoint, started):
        raise ValueError("a checkpoint holds started units alone (L6)")
    # the same again where the answer to the first try was lost
    others = [each for each in job.checkpoints or [] if each["name"] != checkpoint.name]
    job.checkpoints = [*others, checkpoint.to_json()][-CHECKPOINTS_MOST:]
    return [NamedCheckpoint.from_json(each) for each in job.checkpoints]


def is_started(checkpoint: NamedCheckpoint, started_units: Sequence[int]) -> bool:
    """Whether all that a checkpoint holds was started, and so is charged for ever."""
    return len(checkpoint.started_units) == len(started_units) and all(
        0 <= held <= started
        for held, started in zip(checkpoint.started_units, started_units, strict=True)
    )


def checkpoint_folder(home: Path, job_id: UUID) -> Path:
    """Where the claims of one job keep what the next one may go on from."""
    return home / "job-checkpoints" / str(job_id)


def delete_checkpoints(home: Path, job_id: UUID) -> None:
    """Delete the checkpoints of a job that has ended; what is left, the sweeper deletes."""
    shutil.rmtree(checkpoint_folder(home, job_id), ignore_errors=True)


def delete_unheld_checkpoints(make_session: SessionMaker, home: Path) -> int:
    """Delete checkpoints of jobs that nobody will run again, and say of how many.

    A worker that was swept may write after its job has ended; that is why this is done for ever.
    """
    # the folders are read first: whatever is in this list and not held by then has ended
    folders = {}
    for path in (home / "job-checkpoints").glob("*"):
        try:
            folders[UUID(path.name)] = path
        except ValueError:
            continue  # not ours to delete
    if not folders:
        return 0
    with snapshot(make_session) as session:
        statement = select(Job.id).where(Job.id.in_(folders), Job.state.in_(HOLDS_FILES))
        unheld = set(folders).difference(session.scalars(statement))
    for job_id in unheld:
        delete_checkpoints(home, job_id)
    return len(unheld)


def _is_open(session: Session, reservation: Reservation, *, now: datetime) -> bool:
    ids = [UUID(text) for text in reservation.budget_ids]
    try:
        wanted = [*ids, *budget_rows.windows_of(session, ids)]
        for budget in session.scalars(select(Budget).where(Budget.id.in_(wanted))):
            if budget.kind == "window":
                require_open_window(budget)
            else:
                require_open(session, budget, now=now)
    except ScopeClosed:
        return False
    return True


def _record(
    session: Session, job: Job, reservation: Reservation, *, by: str, now: datetime
) -> None:
    audit.record(
        session,
        actor_id=None,
        action="job.queued-again",
        subject=str(job.id),
        facts={"by": by, "started_units": list(reservation.started_units)},
        at=now,
    )
