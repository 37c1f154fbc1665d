"""Guessing is slowed by name and by address, in the database, so in every process at once.

An attempt is counted as a failure before its password is looked at, and taken off again when it
was right: however many guesses come at the same moment, only so many are looked at.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db.models import SignInFailures
from app.db.session import SessionMaker, database_now, transaction
from app.domain.sign_in import (
    FORGOTTEN_AFTER_S,
    FREE_FAILURES,
    FailureKind,
    TooManyAttempts,
    wait_s,
)

ATTEMPTS_MOST: Final = 3
FORGOTTEN_MOST: Final = 100
KINDS: Final[Mapping[str, FailureKind]] = {kind: kind for kind in FREE_FAILURES}


def count(make_session: SessionMaker, subjects: Mapping[FailureKind, str]) -> None:
    """Count an attempt against a name and an address, in a transaction of its own.

    Raises:
        TooManyAttempts: one of the two has to wait; nothing was counted.
    """
    for attempt in range(1, ATTEMPTS_MOST + 1):
        try:
            with transaction(make_session) as session:
                _count(session, subjects, now=database_now(session))
                return
        except IntegrityError:
            # somebody else failed first by this very name at the same moment
            if attempt == ATTEMPTS_MOST:
                raise


def forgive(session: Session, subjects: Mapping[FailureKind, str]) -> None:
    """Take the counted attempt off again: the password was right; a step.

    A name begins anew. An address loses this one only, or who has one account could go on guessing
    at the others.
    """
    for kind, subject in sorted(subjects.items()):
        row = session.get(
            SignInFailures, (kind, _digest(subject)), with_for_update=True, populate_existing=True
        )
        if row is not None:
            row.failures = 0 if kind == "name" else max(0, row.failures - 1)
            row.blocked_until = None


def _count(session: Session, subjects: Mapping[FailureKind, str], *, now: datetime) -> None:
    rows = [_row(session, kind, subject, now=now) for kind, subject in sorted(subjects.items())]
    blocked = [row.blocked_until for row in rows if row.blocked_until is not None]
    wait = max((until - now for until in blocked), default=timedelta(0))
    if wait > timedelta(0):
        raise TooManyAttempts(retry_after_s=int(wait.total_seconds()) + 1)
    forgotten = now - timedelta(seconds=FORGOTTEN_AFTER_S)
    for row in rows:
        row.failures = 1 + (row.failures if row.last_at > forgotten else 0)
        row.last_at = now
        until = wait_s(KINDS[row.kind], row.failures)
        row.blocked_until = now + timedelta(seconds=until) if until else None
    session.flush()
    _forget(session, forgotten)


def _row(session: Session, kind: FailureKind, subject: str, *, now: datetime) -> SignInFailures:
    """The row of a subject, locked; a new one where it never failed."""
    key = (kind, _digest(subject))
    row = session.get(SignInFailures, key, with_for_update=True, populate_existing=True)
    if row is None:
        row = SignInFailures(kind=kind, subject_sha256=key[1], failures=0, last_at=now)
        session.add(row)
    return row


def _forget(session: Session, before: datetime) -> None:
    old = session.execute(
        select(SignInFailures.kind, SignInFailures.subject_sha256)
        .where(SignInFailures.last_at <= before)
        .limit(FORGOTTEN_MOST)
        .with_for_update(skip_locked=True)
    ).all()
    for kind, digest in old:
        session.execute(
            delete(SignInFailures).where(
                SignInFailures.kind == kind, SignInFailures.subject_sha256 == digest
            )
        )


def _digest(subject: str) -> str:
    return hashlib.sha256(subject.encode()).hexdigest()
