"""The first decision under a key is the only one: stored with its cause, given again (R16).

A key is scoped to a principal and a route. Both steps run inside the transaction that decides, so
a key without its effect, or an effect without its key, is never durable.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db.models.operation import IdempotencyKey
from app.db.session import SessionMaker, database_now, transaction
from app.domain.errors import (
    DomainError,
    IdempotencyKeyReused,
    ReplayedRefusal,
    refusal_document,
)
from app.services import audit, notifications

Decide = Callable[[Session, datetime], dict[str, Any]]

# a lost race for a key or a name is looked at again; the second look sees the winner's row
ATTEMPTS_MOST = 3


@dataclass(frozen=True, slots=True)
class Keyed:
    """One request under its Idempotency-Key.

    route: method and path template, for example `POST /v1/jobs`, with ids filled in.
    body_sha256: over the canonical JSON of the parsed body, so spacing does not make another body.
    """

    principal_id: UUID
    route: str
    key: str
    body_sha256: str


def replay(session: Session, keyed: Keyed) -> dict[str, Any] | None:
    """The document of the first answer under this key, or None where this is the first.

    Raises:
        IdempotencyKeyReused: the key was used with another body.
        ReplayedRefusal: the first answer was a refusal; holds its document.
    """
    row = session.get(IdempotencyKey, _place(keyed))
    if row is None:
        return None
    return answer_of(Decided(row.body_sha256, row.outcome, row.document), keyed)


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision as it is remembered under its key."""

    body_sha256: str
    outcome: str
    document: dict[str, Any]


def answer_of(decided: Decided, keyed: Keyed) -> dict[str, Any]:
    """What a remembered decision answers to a request under its key.

    Raises:
        IdempotencyKeyReused, ReplayedRefusal: see `replay`.
    """
    if decided.body_sha256 != keyed.body_sha256:
        raise IdempotencyKeyReused(key=keyed.key)
    if decided.outcome == "refused":
        raise ReplayedRefusal(document=decided.document)
    return decided.document


def remember(
    session: Session,
    keyed: Keyed,
    document: Mapping[str, Any],
    *,
    now: datetime,
    outcome: Literal["done", "refused"] = "done",
) -> None:
    """Store the decision under its key, in the transaction that makes it.

    document: the answer when done; `refusal_document(error)` when refused. A secret that is shown
    once must not be in it.

    Raises:
        sqlalchemy.exc.IntegrityError: at once, where another transaction used the key meanwhile;
        the caller rolls back and reads the answer of the first (`replay`).
    """
    session.add(IdempotencyKey(**row_of(keyed, document, now=now, outcome=outcome)))
    session.flush()


def row_of(
    keyed: Keyed,
    document: Mapping[str, Any],
    *,
    now: datetime,
    outcome: Literal["done", "refused"],
) -> dict[str, Any]:
    """The row that remembers a decision."""
    return {
        "principal_id": keyed.principal_id,
        "route": keyed.route,
        "key": keyed.key,
        "body_sha256": keyed.body_sha256,
        "outcome": outcome,
        "document": dict(document),
        "created_at": now,
    }


def _place(keyed: Keyed) -> tuple[UUID, str, str]:
    return keyed.principal_id, keyed.route, keyed.key


def decide_once(
    make_session: SessionMaker,
    keyed: Keyed,
    decide: Decide,
    *,
    stored: tuple[type[DomainError], ...] = (),
) -> dict[str, Any]:
    """Run a decision once under its key, in one transaction, or give the first answer again.

    decide: takes the session and the time, gives the answer's document; does not commit. It looks
    for a taken name itself: where a race takes it meanwhile, it is run again and sees it.
    stored: refusals that are decisions; they are kept under the key with one audit row (R12). All
    others leave the key free, so that a mended request may use it.
    """
    for attempt in range(1, ATTEMPTS_MOST + 1):
        try:
            with transaction(make_session) as session:
                first = replay(session, keyed)
                if first is not None:
                    return first
                now = database_now(session)
                document = decide(session, now)
                remember(session, keyed, document, now=now)
                return document
        except DomainError as refusal:
            first = _first_or_remember(make_session, keyed, refusal, stored)
            if first is not None:
                return first
            raise
        except IntegrityError:
            if attempt == ATTEMPTS_MOST:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _first_or_remember(
    make_session: SessionMaker,
    keyed: Keyed,
    refusal: DomainError,
    stored: tuple[type[DomainError], ...],
) -> dict[str, Any] | None:
    """The answer of an equal request that was decided meanwhile; else keep the refusal."""
    try:
        with transaction(make_session) as session:
            # an equal request may have won the race, and be what this one was refused for
            first = replay(session, keyed)
            if first is None and isinstance(refusal, stored):
                document = refusal_document(refusal)
                now = database_now(session)
                remember(session, keyed, document, now=now, outcome="refused")
                audit.record(
                    session,
                    actor_id=keyed.principal_id,
                    action=f"refused.{refusal.code}",
                    subject=keyed.route,
                    facts=document,
                    at=now,
                )
                notifications.notice_refusals(session, keyed.principal_id, now=now)
            return first
    except IntegrityError:
        with transaction(make_session) as session:
            return replay(session, keyed)
