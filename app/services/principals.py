"""People, outside systems and the keys that speak for them.

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
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db.models.principal import ApiKey, Principal, ProjectMember
from app.db.repositories import standing as standing_rows
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.documents import read_choice, read_text, under
from app.domain.errors import (
    AlreadyExists,
    InvalidParameter,
    NotAllowed,
    NotAuthenticated,
    NotFound,
)
from app.services import audit
from app.services.access import ROLES, Caller, require_role
from app.services.idempotency import Keyed, decide_once

KEY_PATTERN = re.compile(r"el_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
NO_DIGEST = "0" * 64
# Each of these looks over somebody's shoulder; held together with another role it would be
# looking over its own.
STANDS_ALONE = frozenset({"admin", "auditor", "worker"})


@dataclass(frozen=True, slots=True)
class PersonRequest:
    """Somebody new. Names are unique, so that an approval's two people can be told apart (R19)."""

    name: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A new key of a principal; without `expires_at` it is good until it is revoked."""

    principal_id: UUID
    is_runner: bool = False
    expires_at: datetime | None = None


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
    is_over = key.expires_at is not None and key.expires_at <= now
    if is_over or key.revoked_at is not None or not principal.active:
        raise NotAuthenticated
    projects = session.scalars(
        select(ProjectMember.project_id).where(ProjectMember.principal_id == principal.id)
    )
    return Caller(
        principal_id=principal.id,
        name=principal.name,
        roles=frozenset(principal.roles),
        key_id=key.id,
        is_runner=key.is_runner,
        project_ids=frozenset(projects),
        standing=standing_rows.changes(session),
        expires_at=key.expires_at,
    )


def bootstrap_admin(make_session: SessionMaker) -> str | None:
    """Make the first admin of an empty database and give its key, once; None where people exist."""
    try:
        with transaction(make_session) as session:
            return _first_admin(session)
    except IntegrityError:
        # another process made the same admin at the same moment and shows the key
        return None


def _first_admin(session: Session) -> str | None:
    if session.scalar(select(Principal.id).limit(1)) is not None:
        return None
    now = database_now(session)
    principal = Principal(id=uuid4(), name="admin", roles=["admin"], active=True, created_at=now)
    session.add(principal)
    session.flush()
    key = new_key()
    _add_key(session, key, KeyRequest(principal.id), now)
    audit.record(
        session,
        actor_id=None,
        action="admin.bootstrapped",
        subject=str(principal.id),
        facts={"key_id": key.id},
        at=now,
    )
    return key.text


class Principals:
    """People: made and listed by an admin."""

    def __init__(self, make_session: SessionMaker) -> None:
        self._make_session = make_session

    def authenticate(self, text: str) -> Caller:
        """The caller that a key speaks for, read in a transaction of its own.

        Raises:
            NotAuthenticated: see the step `authenticate`.
        """
        with snapshot(self._make_session) as session:
            return authenticate(session, text, database_now(session))

    def create(self, caller: Caller, request: PersonRequest, keyed: Keyed) -> dict[str, Any]:
        """Make a principal with roles. It has no key yet.

        Raises:
            AlreadyExists: the name is taken.
            InvalidParameter: a name or a set of roles that is not usable.
        """
        require_role(caller, "admin", action="make people")
        name = read_text(request.name, "/name", most=200)
        roles = _read_roles(request.roles)

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            if session.scalar(select(Principal.id).where(Principal.name == name)) is not None:
                raise AlreadyExists(kind="person", name=name)
            principal = Principal(id=uuid4(), name=name, roles=roles, active=True, created_at=now)
            session.add(principal)
            audit.record(
                session,
                actor_id=caller.principal_id,
                action="person.created",
                subject=str(principal.id),
                facts={"roles": roles},
                at=now,
            )
            session.flush()
            return person_document(principal)

        return decide_once(self._make_session, keyed, decide, stored=(AlreadyExists,))

    def list(self, caller: Caller) -> list[dict[str, Any]]:
        """All principals, by name."""
        require_role(caller, "admin", action="list people")
        with snapshot(self._make_session) as session:
            rows = session.scalars(select(Principal).order_by(Principal.name))
            return [person_document(row) for row in rows]

    def me(self, caller: Caller) -> dict[str, Any]:
        """What the service knows of the caller."""
        return {
            "id": str(caller.principal_id),
            "name": caller.name,
            "roles": sorted(caller.roles),
            "key_id": caller.key_id,
            "is_runner": caller.is_runner,
            "project_ids": sorted(str(project) for project in caller.project_ids),
        }


class ApiKeys:
    """Keys: made, listed and revoked by an admin; the text is shown once and never kept."""

    def __init__(self, make_session: SessionMaker) -> None:
        self._make_session = make_session

    def create(self, caller: Caller, request: KeyRequest, keyed: Keyed) -> dict[str, Any]:
        """Make a key. A repeat of the request answers with the same key id and no text.

        Raises:
            NotFound: no such principal.
            InvalidParameter: it would expire before it is made, or is a runner's key of somebody
            who may not charge.
        """
        require_role(caller, "admin", action="make API keys")
        shown: list[str] = []

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            principal = session.get(Principal, request.principal_id)
            if principal is None:
                raise NotFound(kind="person", id=str(request.principal_id))
            if request.expires_at is not None and request.expires_at <= now:
                raise InvalidParameter("/expires_at", "a time to come is expected")
            if request.is_runner and "ml_engineer" not in principal.roles:
                raise InvalidParameter("/is_runner", "a runner is an ml_engineer")
            key = new_key()
            row = _add_key(session, key, request, now)
            shown[:] = [key.text]
            audit.record(
                session,
                actor_id=caller.principal_id,
                action="api-key.created",
                subject=str(key.id),
                facts={"principal_id": str(principal.id), "is_runner": request.is_runner},
                at=now,
            )
            return key_document(row)

        document = decide_once(self._make_session, keyed, decide)
        return {**document, "key": shown[0] if shown else None}

    def list(self, caller: Caller) -> list[dict[str, Any]]:
        """All keys without their secrets, newest first."""
        require_role(caller, "admin", action="list API keys")
        with snapshot(self._make_session) as session:
            rows = session.scalars(select(ApiKey).order_by(ApiKey.created_at.desc(), ApiKey.id))
            return [key_document(row) for row in rows]

    def revoke(self, caller: Caller, key_id: str) -> dict[str, Any]:
        """End a key at once; a repeat changes nothing.

        Raises:
            NotFound: no such key.
            NotAllowed: it is the last usable key of any admin, and nobody could make another.
        """
        require_role(caller, "admin", action="revoke API keys")
        with transaction(self._make_session) as session:
            # all rows in id order: two admins who end each other's keys come one after the other
            keys = session.scalars(select(ApiKey).order_by(ApiKey.id).with_for_update())
            row = next((key for key in keys if key.id == key_id), None)
            if row is None:
                raise NotFound(kind="api-key", id=key_id)
            if row.revoked_at is not None:
                return key_document(row)
            now = database_now(session)
            if not _leaves_an_admin(session, row, now):
                raise NotAllowed(action="revoke the last admin key", needs="another admin key")
            row.revoked_at = now
            audit.record(
                session,
                actor_id=caller.principal_id,
                action="api-key.revoked",
                subject=str(key_id),
                facts={"principal_id": str(row.principal_id)},
                at=now,
            )
            return key_document(row)


def person_document(principal: Principal) -> dict[str, Any]:
    """The wire form of a principal."""
    return {
        "id": str(principal.id),
        "name": principal.name,
        "roles": list(principal.roles),
        "active": principal.active,
        "created_at": principal.created_at.isoformat(),
    }


def key_document(row: ApiKey) -> dict[str, Any]:
    """The wire form of a key: all but the secret, which is not known here."""
    return {
        "id": row.id,
        "principal_id": str(row.principal_id),
        "is_runner": row.is_runner,
        "created_at": row.created_at.isoformat(),
        "expires_at": row.expires_at.isoformat() if row.expires_at else None,
        "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
    }


def _add_key(session: Session, key: NewKey, request: KeyRequest, now: datetime) -> ApiKey:
    row = ApiKey(
        id=key.id,
        principal_id=request.principal_id,
        secret_sha256=key.secret_sha256,
        is_runner=request.is_runner,
        created_at=now,
        expires_at=request.expires_at,
        revoked_at=None,
    )
    session.add(row)
    session.flush()
    return row


def _read_roles(roles: Sequence[str]) -> list[str]:
    known = [read_choice(role, under("/roles", i), ROLES) for i, role in enumerate(roles)]
    if not known or len(set(known)) != len(known):
        raise InvalidParameter("/roles", "at least one role, each once")
    alone = STANDS_ALONE.intersection(known)
    if alone and len(known) > 1:
        raise InvalidParameter("/roles", f"{min(alone)} goes with no other role")
    return sorted(known)


def _leaves_an_admin(session: Session, leaving: ApiKey, now: datetime) -> bool:
    rows = session.execute(
        select(ApiKey, Principal).join(Principal, Principal.id == ApiKey.principal_id)
    ).all()
    usable = [
        key.id
        for key, principal in rows
        if "admin" in principal.roles
        and principal.active
        and key.revoked_at is None
        and (key.expires_at is None or key.expires_at > now)
    ]
    return leaving.id not in usable or len(usable) > 1
