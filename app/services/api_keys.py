"""Keys that speak for people and outside systems.

A key is `el_<id>_<secret>`: the id finds the row, the secret has 256 bits from the operating
system, and only its SHA-256 is kept. A slow hash would protect a guessable secret; this one is not.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models.principal import ApiKey, Principal
from app.db.pages import PAGE_MOST, page_of
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.documents import read_choice, under
from app.domain.errors import InvalidParameter, NotAuthenticated, NotFound
from app.services import audit
from app.services.access import RIGHTS, Caller, Credential, caller_of, require_role
from app.services.admins import hold_people, require_admin_left
from app.services.idempotency import Keyed, decide_once

KEY_PATTERN = re.compile(r"el_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
NO_DIGEST = "0" * 64


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A new key of a principal; without `expires_at` it is good until it is revoked.

    rights: what it is kept to; all that the roles of its owner allow where None.
    """

    principal_id: UUID
    is_runner: bool = False
    expires_at: datetime | None = None
    rights: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as it is shown, once."""

    id: str
    text: str
    secret_sha256: str


def new_key() -> NewKey:
    """A fresh key: a 48-bit id to find it by and a secret of 256 bits."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return NewKey(key_id, f"el_{key_id}_{secret}", hashlib.sha256(secret.encode()).hexdigest())


def authenticate(session: Session, text: str, now: datetime) -> Caller:
    """The caller that a key speaks for.

    Raises:
        NotAuthenticated: malformed, unknown, expired, revoked or of somebody inactive; the same
        answer for all of these.
    """
    match = KEY_PATTERN.fullmatch(text)
    if match is None:
        raise NotAuthenticated
    key_id, secret = match.groups()
    found = session.execute(
        select(ApiKey, Principal)
        .join(Principal, Principal.id == ApiKey.principal_id)
        .where(ApiKey.id == key_id)
    ).one_or_none()
    expected = found[0].secret_sha256 if found is not None else NO_DIGEST
    given = hashlib.sha256(secret.encode()).hexdigest()
    if not hmac.compare_digest(given, expected) or found is None:
        raise NotAuthenticated
    key, principal = found
    if not _is_good(key, now) or not principal.active:
        raise NotAuthenticated
    credential = Credential(
        key.id, expires_at=key.expires_at, is_runner=key.is_runner, rights=key.rights
    )
    return caller_of(session, principal, credential)


def add_key(session: Session, key: NewKey, request: KeyRequest, now: datetime) -> ApiKey:
    """Write the row of a key that was made now; a step."""
    row = ApiKey(
        id=key.id,
        principal_id=request.principal_id,
        secret_sha256=key.secret_sha256,
        is_runner=request.is_runner,
        rights=None if request.rights is None else _read_rights(request.rights),
        created_at=now,
        expires_at=request.expires_at,
        revoked_at=None,
    )
    session.add(row)
    session.flush()
    return row


def revoke_all(
    session: Session, principal_id: UUID, *, actor_id: UUID, reason: str, now: datetime
) -> list[str]:
    """End every key of somebody; a step.

    Returns:
        The ids of the keys that were good until now.
    """
    rows = session.scalars(
        select(ApiKey)
        .where(ApiKey.principal_id == principal_id, ApiKey.revoked_at.is_(None))
        .order_by(ApiKey.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    for row in rows:
        row.revoked_at = now
        _record(session, actor_id, "api-key.revoked", row, {"reason": reason}, now)
    return [row.id for row in rows]


class ApiKeys:
    """Keys: made, listed and revoked by an admin; the text is shown once and never kept."""

    def __init__(self, make_session: SessionMaker) -> None:
        self._make_session = make_session

    def create(self, caller: Caller, request: KeyRequest, keyed: Keyed) -> dict[str, Any]:
        """Make a key. A repeat of the request answers with the same key id and no text.

        Raises:
            NotFound: no such principal, or one that has left.
            InvalidParameter: it would expire before it is made, is kept to rights that nobody
            knows, or is a runner's key of somebody who may not charge.
        """
        require_role(caller, "admin", action="make API keys")
        shown: list[str] = []

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            # with its row held: who is deactivated at this moment gets no key behind it
            principal = session.get(
                Principal, request.principal_id, with_for_update={"key_share": True}
            )
            if principal is None or not principal.active:
                raise NotFound(kind="person", id=str(request.principal_id))
            if request.expires_at is not None and request.expires_at <= now:
                raise InvalidParameter("/expires_at", "a time to come is expected")
            if request.is_runner and "ml_engineer" not in principal.roles:
                raise InvalidParameter("/is_runner", "a runner is an ml_engineer")
            key = new_key()
            row = add_key(session, key, request, now)
            shown[:] = [key.text]
            facts = {"is_runner": row.is_runner, "rights": row.rights}
            _record(session, caller.principal_id, "api-key.created", row, facts, now)
            return key_document(row)

        document = decide_once(self._make_session, keyed, decide)
        return {**document, "key": shown[0] if shown else None}

    def list(
        self, caller: Caller, before: str | None = None, limit: int = PAGE_MOST
    ) -> list[dict[str, Any]]:
        """Keys without their secrets, newest first; the page after `before`.

        Raises:
            NotFound: no key `before`.
        """
        require_role(caller, "admin", action="list API keys")
        place = [ApiKey.created_at, ApiKey.id]
        with snapshot(self._make_session) as session:
            last = None
            if before is not None:
                row = session.get(ApiKey, before)
                if row is None:
                    raise NotFound(kind="api-key", id=before)
                last = (row.created_at, row.id)
            statement = page_of(select(ApiKey), place, last, limit, newest_first=True)
            return [key_document(row) for row in session.scalars(statement)]

    def revoke(self, caller: Caller, key_id: str) -> dict[str, Any]:
        """End a key at once; a repeat changes nothing.

        Raises:
            NotFound: no such key.
            NotAllowed: it is the last usable key of any admin, and nobody could make another.
        """
        require_role(caller, "admin", action="revoke API keys")
        with transaction(self._make_session) as session:
            hold_people(session)
            row = session.get(ApiKey, key_id, with_for_update=True)
            if row is None:
                raise NotFound(kind="api-key", id=key_id)
            if row.revoked_at is not None:
                return key_document(row)
            now = database_now(session)
            row.revoked_at = now
            # what has expired by itself was no way in before either
            if row.expires_at is None or row.expires_at > now:
                require_admin_left(session, now, action="revoke the last admin key")
            _record(session, caller.principal_id, "api-key.revoked", row, {}, now)
            return key_document(row)


def key_document(row: ApiKey) -> dict[str, Any]:
    """The wire form of a key: all but the secret, which is not known here."""
    return {
        "id": row.id,
        "principal_id": str(row.principal_id),
        "is_runner": row.is_runner,
        "rights": row.rights,
        "created_at": row.created_at.isoformat(),
        "expires_at": row.expires_at.isoformat() if row.expires_at else None,
        "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
    }


def _is_good(key: ApiKey, now: datetime) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


def _read_rights(rights: Sequence[str]) -> list[str]:
    known = [read_choice(right, under("/rights", i), RIGHTS) for i, right in enumerate(rights)]
    if not known or len(set(known)) != len(known):
        raise InvalidParameter("/rights", "at least one right, each once; null for all")
    return sorted(known)


def _record(
    session: Session,
    actor_id: UUID,
    action: str,
    row: ApiKey,
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
