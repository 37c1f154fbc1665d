"""Accounts of this house: a password by name, for where no identity provider is configured.

An admin invites; who holds the invitation sets the password, once. Every refused attempt gets the
same answer after the same work, whether there is such a name or not.
"""

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.db.models import Invitation, LocalAccount, Principal
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.documents import read_text
from app.domain.errors import InvalidParameter, NotFound
from app.domain.sign_in import (
    FailureKind,
    InvitationNotUsable,
    SignInRefused,
    WayNotOffered,
    address_group,
)
from app.services import audit, sessions, sign_in_failures
from app.services.access import Caller, require_role
from app.services.idempotency import Keyed, decide_once
from app.services.principals import held_person
from app.services.sessions import Started

INVITATION_PATTERN = re.compile(r"ei_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
INVITED_FOR: Final = timedelta(days=3)
PASSWORD_LEAST: Final = 12
PASSWORD_MOST: Final = 256
NO_DIGEST: Final = "0" * 64
NO_PASSWORD: Final = ""

# RFC 9106's second choice: 64 MiB and three passes, some 50 ms
_hasher: Final = PasswordHasher()
# each verification takes 64 MiB: guesses must not take the memory of the service
_at_once: Final = threading.BoundedSemaphore(4)


def close(session: Session, principal_id: UUID, *, now: datetime) -> None:
    """End the password and the open invitations of somebody who leaves; a step.

    Who comes back later comes by a new invitation, not by what he knew before.
    """
    session.execute(
        update(LocalAccount)
        .where(LocalAccount.principal_id == principal_id)
        .values(password_hash=NO_PASSWORD, changed_at=now)
    )
    session.execute(
        update(Invitation)
        .where(Invitation.principal_id == principal_id, Invitation.used_at.is_(None))
        .values(used_at=now)
    )


class LocalAccounts:
    """Use cases on passwords. `is_on`: whether people sign in here by one."""

    def __init__(self, make_session: SessionMaker, *, is_on: bool) -> None:
        self._make_session = make_session
        self._is_on = is_on

    def invite(self, caller: Caller, principal_id: UUID, keyed: Keyed) -> dict[str, Any]:
        """Make a token by which somebody sets a password. A repeat answers without the token.

        Raises:
            WayNotOffered: people sign in by an identity provider here.
            NotFound: no such person, or one that has left.
        """
        require_role(caller, "admin", action="invite people")
        self._require_on()
        shown: list[str] = []

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            person = held_person(session, principal_id)
            if not person.active:
                raise NotFound(kind="person", id=str(principal_id))
            secret = secrets.token_urlsafe(32)
            row = Invitation(
                id=secrets.token_hex(6),
                principal_id=person.id,
                secret_sha256=_digest(secret),
                invited_by=caller.principal_id,
                created_at=now,
                expires_at=now + INVITED_FOR,
            )
            session.add(row)
            _record(session, caller.principal_id, "invitation.created", person.id, row.id, now)
            shown[:] = [f"ei_{row.id}_{secret}"]
            return {
                "id": row.id,
                "principal_id": str(person.id),
                "expires_at": row.expires_at.isoformat(),
            }

        document = decide_once(self._make_session, keyed, decide)
        return {**document, "token": shown[0] if shown else None}

    def set_password(self, token: str, password: str) -> None:
        """Use an invitation: the password is set, and what was open under another one ends.

        Raises:
            WayNotOffered: people sign in by an identity provider here.
            InvitationNotUsable: unknown, expired, used, or of somebody inactive.
            InvalidParameter: the password is too short, too long, or the person's own name.
        """
        self._require_on()
        read_text(password, "/password", least=PASSWORD_LEAST, most=PASSWORD_MOST)
        with snapshot(self._make_session) as session:
            _usable(session, token, now=database_now(session))
        with _at_once:
            hashed = _hasher.hash(password)
        with transaction(self._make_session) as session:
            now = database_now(session)
            invitation = _usable(session, token, now=now, lock=True)
            person = held_person(session, invitation.principal_id)
            if not person.active:
                raise InvitationNotUsable
            if password.casefold() == person.name.casefold():
                raise InvalidParameter("/password", "another password than the name is expected")
            invitation.used_at = now
            account = session.get(LocalAccount, person.id)
            if account is None:
                account = LocalAccount(principal_id=person.id, password_hash=hashed, changed_at=now)
                session.add(account)
            account.password_hash = hashed
            account.changed_at = now
            sessions.end_all(
                session, person.id, actor_id=person.id, because="password-set", now=now
            )
            _record(session, person.id, "password.set", person.id, invitation.id, now)

    def sign_in(self, name: str, password: str, address: str) -> Started:
        """Start a session.

        address: where the attempt comes from.

        Raises:
            WayNotOffered: people sign in by an identity provider here.
            TooManyAttempts: this name or address has to wait.
            SignInRefused: no such name, no password, a wrong one, or somebody inactive.
        """
        self._require_on()
        subjects: Mapping[FailureKind, str] = {"name": name, "address": address_group(address)}
        sign_in_failures.count(self._make_session, subjects)
        with snapshot(self._make_session) as session:
            account = _account(session, name)
        principal_id, hashed = (None, _nobodys_hash()) if account is None else account
        with _at_once:
            is_right = _verify(hashed, password)
        started = None
        with transaction(self._make_session) as session:
            now = database_now(session)
            if principal_id is not None and is_right:
                person = held_person(session, principal_id)
                still = session.get_one(LocalAccount, person.id)
                # looked at again: who left, or was given another password, meanwhile
                if person.active and still.password_hash == hashed:
                    sign_in_failures.forgive(session, subjects)
                    started = sessions.start(session, person, "password", now=now)
            if started is None:
                audit.record(
                    session,
                    actor_id=None,
                    action="sign-in.refused",
                    subject=None if principal_id is None else str(principal_id),
                    facts={"way": "password"},
                    at=now,
                )
        if started is None:
            raise SignInRefused
        return started

    def _require_on(self) -> None:
        if not self._is_on:
            raise WayNotOffered("password")


def _account(session: Session, name: str) -> tuple[UUID, str] | None:
    """Whose account has this name, and its hash."""
    found = session.execute(
        select(LocalAccount.principal_id, LocalAccount.password_hash)
        .join(Principal, Principal.id == LocalAccount.principal_id)
        .where(Principal.name == name, LocalAccount.password_hash != NO_PASSWORD)
    ).one_or_none()
    return None if found is None else (found.principal_id, found.password_hash)


def _usable(session: Session, token: str, *, now: datetime, lock: bool = False) -> Invitation:
    match = INVITATION_PATTERN.fullmatch(token)
    if match is None:
        raise InvitationNotUsable
    row = session.get(Invitation, match[1], with_for_update=lock or None, populate_existing=True)
    expected = NO_DIGEST if row is None else row.secret_sha256
    is_it = hmac.compare_digest(_digest(match[2]), expected)
    if row is None or not is_it or row.used_at is not None or row.expires_at <= now:
        raise InvitationNotUsable
    return row


def _verify(hashed: str, password: str) -> bool:
    try:
        return _hasher.verify(hashed, password)
    except (Argon2Error, InvalidHashError):
        return False


@cache
def _nobodys_hash() -> str:
    """Verified where there is no account, so that both take the same time."""
    return _hasher.hash(secrets.token_urlsafe(32))


def _record(
    session: Session,
    actor_id: UUID,
    action: str,
    principal_id: UUID,
    invitation_id: str,
    now: datetime,
) -> None:
    audit.record(
        session,
        actor_id=actor_id,
        action=action,
        subject=str(principal_id),
        facts={"invitation_id": invitation_id},
        at=now,
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
