"""People who are signed in with a browser: sessions that the service can end at any moment.

The browser holds 256 bits in a cookie that no script reads; the database holds their SHA-256. The
token against forged requests is derived from the same secret, so it is bound to the session and
nothing more has to be kept.
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.db.models import BrowserSession, Principal
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.errors import NotAuthenticated, NotFound
from app.services import audit
from app.services.access import Caller, Credential, caller_of

Way = Literal["password", "oidc"]

IDLE: Final = timedelta(hours=1)
LONGEST: Final = timedelta(hours=12)
# the time of the last look is written no oftener
SEEN_EVERY: Final = timedelta(minutes=1)
FORGERY_TOKEN: Final = b"epsilon-ledger request token v1"


@dataclass(frozen=True, slots=True)
class Started:
    """A new session, with the secret that only the browser keeps."""

    id: str
    secret: str
    expires_at: datetime


def request_token(secret: str) -> str:
    """What a page has to send with every unsafe request of its session."""
    digest = hmac.digest(secret.encode(), FORGERY_TOKEN, "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def is_request_token(given: str, secret: str) -> bool:
    """Whether a token is that of the session, in constant time."""
    return hmac.compare_digest(given.encode(), request_token(secret).encode())


def start(session: Session, person: Principal, way: Way, *, now: datetime) -> Started:
    """Sign somebody in; a step. The row of the person is locked, and says that he is active."""
    secret = secrets.token_urlsafe(32)
    row = BrowserSession(
        id=f"s{secrets.token_hex(6)}",
        principal_id=person.id,
        secret_sha256=_digest(secret),
        way=way,
        created_at=now,
        seen_at=now,
        expires_at=now + LONGEST,
    )
    session.add(row)
    _record(session, person.id, "session.started", row, {"way": way}, now)
    session.flush()
    return Started(row.id, secret, row.expires_at)


def authenticate(session: Session, secret: str, ways: frozenset[Way], now: datetime) -> Caller:
    """The caller whose session a cookie is of.

    Raises:
        NotAuthenticated: no such session, or it is over, or was opened in a way that is no longer
        offered, or is of somebody inactive; the same answer for all of these.
    """
    row, person = _found(session, secret)
    until = _good_until(row)
    if row.ended_at is not None or until <= now or row.way not in ways or not person.active:
        raise NotAuthenticated
    return caller_of(session, person, Credential(row.id, expires_at=until, is_session=True))


def end_all(
    session: Session,
    principal_id: UUID,
    *,
    actor_id: UUID,
    because: str,
    now: datetime,
    way: Way | None = None,
) -> list[str]:
    """End every session of somebody, or those of one way; a step. Returns their ids."""
    statement = (
        select(BrowserSession)
        .where(BrowserSession.principal_id == principal_id, BrowserSession.ended_at.is_(None))
        .order_by(BrowserSession.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if way is not None:
        statement = statement.where(BrowserSession.way == way)
    rows = session.scalars(statement).all()
    for row in rows:
        _end(session, row, actor_id=actor_id, because=because, now=now)
    return [row.id for row in rows]


def end_everybodys(make_session: SessionMaker) -> int:
    """End every session of everybody, as when cookies may have got about; says how many.

    For who runs the service. No key signs sessions: each is a secret of its own, so this is what
    takes the place of a rotation.
    """
    with transaction(make_session) as session:
        now = database_now(session)
        rows = session.scalars(
            select(BrowserSession)
            .where(BrowserSession.ended_at.is_(None))
            .order_by(BrowserSession.id)
            .with_for_update()
        ).all()
        for row in rows:
            _end(session, row, actor_id=None, because="operator", now=now)
        return len(rows)


class Sessions:
    """Use cases on sessions. `ways`: how people sign in here."""

    def __init__(self, make_session: SessionMaker, ways: frozenset[Way]) -> None:
        self._make_session = make_session
        self.ways = ways

    def authenticate(self, secret: str) -> Caller:
        """The caller of a cookie; keeps the session from going idle.

        Raises:
            NotAuthenticated: see the step `authenticate`.
        """
        with snapshot(self._make_session) as session:
            now = database_now(session)
            caller = authenticate(session, secret, self.ways, now)
            row = session.get_one(BrowserSession, caller.key_id)
            is_due = now - row.seen_at >= SEEN_EVERY
        if is_due:
            with transaction(self._make_session) as session:
                session.execute(
                    update(BrowserSession)
                    .where(BrowserSession.id == caller.key_id, BrowserSession.ended_at.is_(None))
                    .values(seen_at=database_now(session))
                )
        return caller

    def list(self, caller: Caller) -> list[dict[str, Any]]:
        """The caller's sessions that are good now, newest first."""
        with snapshot(self._make_session) as session:
            now = database_now(session)
            rows = session.scalars(
                select(BrowserSession)
                .where(
                    BrowserSession.principal_id == caller.principal_id,
                    BrowserSession.ended_at.is_(None),
                    BrowserSession.expires_at > now,
                )
                .order_by(BrowserSession.created_at.desc(), BrowserSession.id)
            )
            return [_document(row, caller) for row in rows if _good_until(row) > now]

    def end(self, caller: Caller, session_id: str, *, because: str = "revoked") -> dict[str, Any]:
        """End a session of the caller; a repeat changes nothing.

        Raises:
            NotFound: no such session of this caller.
        """
        with transaction(self._make_session) as session:
            row = session.get(BrowserSession, session_id, with_for_update=True)
            if row is None or row.principal_id != caller.principal_id:
                raise NotFound(kind="session", id=session_id)
            if row.ended_at is None:
                now = database_now(session)
                _end(session, row, actor_id=caller.principal_id, because=because, now=now)
            return _document(row, caller)


def _found(session: Session, secret: str) -> tuple[BrowserSession, Principal]:
    # by the digest of 256 bits: how long the look-up takes tells nothing about any of them
    found = session.execute(
        select(BrowserSession, Principal)
        .join(Principal, Principal.id == BrowserSession.principal_id)
        .where(BrowserSession.secret_sha256 == _digest(secret))
    ).one_or_none()
    if found is None:
        raise NotAuthenticated
    return found[0], found[1]


def _good_until(row: BrowserSession) -> datetime:
    return min(row.expires_at, row.seen_at + IDLE)


def _end(
    session: Session, row: BrowserSession, *, actor_id: UUID | None, because: str, now: datetime
) -> None:
    row.ended_at = now
    row.ended_because = because
    _record(session, actor_id, "session.ended", row, {"because": because}, now)


def _record(
    session: Session,
    actor_id: UUID | None,
    action: str,
    row: BrowserSession,
    facts: dict[str, Any],
    now: datetime,
) -> None:
    audit.record(
        session,
        actor_id=actor_id,
        action=action,
        subject=row.id,
        facts={"principal_id": str(row.principal_id), **facts},
        at=now,
    )


def _document(row: BrowserSession, caller: Caller) -> dict[str, Any]:
    return {
        "id": row.id,
        "way": row.way,
        "is_this_one": row.id == caller.key_id,
        "created_at": row.created_at.isoformat(),
        "seen_at": row.seen_at.isoformat(),
        "expires_at": row.expires_at.isoformat(),
        "ended_at": None if row.ended_at is None else row.ended_at.isoformat(),
    }


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
