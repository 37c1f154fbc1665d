"""Building a report in a worker: claim, gather, assemble, keep; it has no key and signs nothing.

What it keeps waits for a process that holds the ledger's key (`report_signing`). A report reads
records alone, so it may be begun again as often as a worker dies over it.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.orm import Session

from app.db.models import OutboxMessage, ReportRow
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain import tasks
from app.domain.errors import DomainError
from app.domain.ledger import canonical_bytes
from app.reporting.criteria.catalogue import read_mapping
from app.reporting.report import build as assembled
from app.services import audit
from app.services.evidence import OwnTerms, gather

log = logging.getLogger(__name__)

LEASE_S: Final = 120.0
ATTEMPTS_MOST: Final = 3
TELL_EVERY_S: Final = 0.5
TERMS_BYTES_MOST: Final = 1_000_000
DOUBLINGS_MOST: Final = 6
GAVE_UP: Final = "gave-up"
NOT_BUILT: Final = "report-not-built"
TERMS_REFUSED: Final = "report-terms-refused"


class TermsRefused(Exception):
    """The organisation's file of bounds and names cannot be read; the text says where."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A report that this worker builds, by fence, until its lease ends."""

    report_id: UUID
    fence: int
    dataset_id: UUID
    checkpoint_seq: int


def build(
    make_session: SessionMaker,
    report_id: UUID,
    *,
    owner: str,
    terms_file: Path,
    embedded: bool,
) -> None:
    """Build a queued report and leave it to be signed, or let it fail with a code.

    terms_file: `Path()` where the organisation has none.
    """
    held = _claimed(make_session, report_id, owner=owner)
    if held is None:
        return  # another delivery of the same message got here first
    try:
        terms = read_terms(terms_file, embedded=embedded)
        with snapshot(make_session) as session:
            evidence = gather(
                session,
                held.dataset_id,
                held.checkpoint_seq,
                terms=terms,
                told=_teller(make_session, held),
            )
        _tell(make_session, held, "building", 0, 1)
        document = canonical_bytes(assembled(evidence))
    except TermsRefused as refused:
        log.critical("report.terms_refused reason=%s", refused)
        _fail(make_session, held, TERMS_REFUSED)
    except DomainError as refused:
        _fail(make_session, held, refused.code)
    except Exception as failed:
        # the same records fail the same way again: nothing is gained by another attempt
        log.exception("report.failed report_id=%s error=%s", report_id, type(failed).__name__)
        _fail(make_session, held, NOT_BUILT)
    else:
        _keep(make_session, held, document)


def read_terms(file: Path, *, embedded: bool) -> OwnTerms:
    """The organisation's own terms.

    Raises:
        TermsRefused: the file is missing, too long, or not of the form that the catalogue takes.
    """
    if file == Path():
        return OwnTerms(embedded=embedded)
    try:
        with file.open("rb") as stream:
            text = stream.read(TERMS_BYTES_MOST + 1)
        if len(text) > TERMS_BYTES_MOST:
            raise TermsRefused(f"{file.name} is longer than {TERMS_BYTES_MOST} bytes")
        mapping, policy = read_mapping(json.loads(text))
    except (OSError, ValueError, RecursionError) as error:
        raise TermsRefused(f"{file.name} cannot be read ({type(error).__name__})") from None
    except DomainError as refused:
        raise TermsRefused(f"{file.name}: {refused}") from None
    return OwnTerms(policy=policy, mapping=mapping, embedded=embedded)


def wake(session: Session, report_id: UUID, *, now: datetime) -> None:
    """Let a worker know of a queued report; a step."""
    session.add(
        OutboxMessage(
            task=tasks.BUILD_REPORT,
            queue=tasks.REPORTS_QUEUE,
            report_id=report_id,
            created_at=now,
            due_at=now,
        )
    )


def sweep(session: Session, resend_after_s: float, *, now: datetime, limit: int) -> int:
    """Queue again what a worker died over, and wake what nobody heard of; a step.

    Returns:
        How many messages were written.
    """
    return _requeue_lapsed(session, now=now, limit=limit) + _wake_forgotten(
        session, resend_after_s, now=now, limit=limit
    )


def end(session: Session, row: ReportRow, code: str, *, now: datetime) -> None:
    """Let a report fail; a step."""
    row.state = "failed"
    row.failure_code = code
    row.document = None
    row.lease_until = None
    row.finished_at = now
    audit.record(
        session,
        actor_id=None,
        action="report.failed",
        subject=str(row.id),
        facts={"code": code, "dataset_id": str(row.dataset_id)},
        at=now,
    )


def progress(stage: str, done: int, of: int) -> dict[str, Any]:
    """A line of progress: counts of public entries alone."""
    return {"stage": stage, "done": done, "of": of}


def _claimed(make_session: SessionMaker, report_id: UUID, *, owner: str) -> Claim | None:
    with transaction(make_session) as session:
        now = database_now(session)
        statement = (
            update(ReportRow)
            .where(ReportRow.id == report_id, ReportRow.state == "queued")
            .values(
                state="running",
                fence=ReportRow.fence + 1,
                attempts=ReportRow.attempts + 1,
                owner=owner,
                lease_until=now + timedelta(seconds=LEASE_S),
                progress=progress("gathering", 0, 0),
            )
            .returning(ReportRow.fence, ReportRow.dataset_id, ReportRow.checkpoint_seq)
        )
        row = session.execute(statement).one_or_none()
    return None if row is None else Claim(report_id, *row)


def _teller(make_session: SessionMaker, held: Claim) -> Callable[[int, int], None]:
    told_s = time.monotonic()

    def told(done: int, of: int) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= TELL_EVERY_S:
            told_s = time.monotonic()
            _tell(make_session, held, "gathering", done, of)

    return told


def _tell(make_session: SessionMaker, held: Claim, stage: str, done: int, of: int) -> None:
    """Say how far it is, which also extends the lease."""
    with transaction(make_session) as session:
        until = database_now(session) + timedelta(seconds=LEASE_S)
        _held(session, held, progress=progress(stage, done, of), lease_until=until)


def _keep(make_session: SessionMaker, held: Claim, document: bytes) -> None:
    with transaction(make_session) as session:
        _held(
            session,
            held,
            document=document,
            lease_until=None,
            owner=None,
            progress=progress("signing", 0, 1),
        )


def _fail(make_session: SessionMaker, held: Claim, code: str) -> None:
    with transaction(make_session) as session:
        now = database_now(session)
        if _held(session, held, owner=None):
            end(session, session.get_one(ReportRow, held.report_id), code, now=now)


def _held(session: Session, held: Claim, **values: Any) -> bool:
    """Write to a report under its fence; False where another worker has it now."""
    statement = (
        update(ReportRow)
        .where(
            ReportRow.id == held.report_id,
            ReportRow.fence == held.fence,
            ReportRow.lease_until.is_not(None),
        )
        .values(**values)
    )
    return cast(CursorResult[Any], session.execute(statement)).rowcount == 1


def _requeue_lapsed(session: Session, *, now: datetime, limit: int) -> int:
    lapsed = session.scalars(
        select(ReportRow)
        .where(ReportRow.state == "running", ReportRow.lease_until < now)
        .order_by(ReportRow.lease_until)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    count = 0
    for row in lapsed:
        row.fence += 1
        row.owner = None
        row.lease_until = None
        if row.attempts >= ATTEMPTS_MOST:
            end(session, row, GAVE_UP, now=now)
            continue
        row.state = "queued"
        row.progress = progress("queued", 0, 0)
        wake(session, row.id, now=now)
        count += 1
    return count


def _wake_forgotten(session: Session, resend_after_s: float, *, now: datetime, limit: int) -> int:
    waiting = (
        select(ReportRow.id, func.count(OutboxMessage.id), func.max(OutboxMessage.created_at))
        .join(OutboxMessage, OutboxMessage.report_id == ReportRow.id)
        .where(ReportRow.state == "queued")
        .group_by(ReportRow.id)
        .limit(limit)
    )
    count = 0
    for report_id, messages, last_at in session.execute(waiting).all():
        wait_s = resend_after_s * 2 ** min(messages - 1, DOUBLINGS_MOST)
        if last_at <= now - timedelta(seconds=wait_s):
            wake(session, report_id, now=now)
            count += 1
    return count
