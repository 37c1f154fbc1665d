"""Whom a provider's subjects are here: links that an admin makes, and nothing else.

No sign-in makes a person or gives a role. A link names a subject, or a verified e-mail address
whose first subject it then belongs to, so that who gets that address later gets nothing.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import LinkedIdentity
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.documents import read_text
from app.domain.errors import AlreadyExists, InvalidParameter, NotFound
from app.domain.sign_in import (
    FailureKind,
    IdentityNotLinked,
    IdentityProviderFailed,
    WayNotOffered,
    address_group,
)
from app.services import audit, sessions, sign_in_failures
from app.services.access import Caller, require_role
from app.services.idempotency import Keyed, decide_once
from app.services.identity_provider import SUBJECT_MOST, Identity, IdentityProvider
from app.services.principals import held_person
from app.services.sessions import Started

EMAIL_MOST: Final = 320


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """Who somebody is at the provider: by subject, or by the address that it has verified."""

    principal_id: UUID
    subject: str | None = None
    email: str | None = None


class Identities:
    """Use cases on links, and signing in by one. `provider`: None where none is configured."""

    def __init__(self, make_session: SessionMaker, provider: IdentityProvider | None) -> None:
        self._make_session = make_session
        self._provider = provider

    @property
    def provider(self) -> IdentityProvider:
        """The provider of the house.

        Raises:
            WayNotOffered: there is none.
        """
        if self._provider is None:
            raise WayNotOffered("oidc")
        return self._provider

    def link(self, caller: Caller, request: LinkRequest, keyed: Keyed) -> dict[str, Any]:
        """Let a subject of the provider be somebody here.

        Raises:
            WayNotOffered: no provider is configured.
            NotFound: no such person, or one that has left.
            AlreadyExists: the subject or the address is linked already, to whomever.
        """
        require_role(caller, "admin", action="link identities")
        issuer = self.provider.issuer
        subject, email = request.subject, request.email
        if (subject is None) == (email is None):
            raise InvalidParameter("", "one of subject and email is expected")
        if subject is not None:
            read_text(subject, "/subject", most=SUBJECT_MOST)
        if email is not None:
            email = read_text(email, "/email", most=EMAIL_MOST).strip().lower()

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            person = held_person(session, request.principal_id)
            if not person.active:
                raise NotFound(kind="person", id=str(person.id))
            if _taken(session, issuer, subject, email):
                raise AlreadyExists(kind="identity", name=subject or email or "")
            row = LinkedIdentity(
                id=secrets.token_hex(6),
                principal_id=person.id,
                issuer=issuer,
                subject=subject,
                email=email,
                linked_by=caller.principal_id,
                created_at=now,
            )
            session.add(row)
            _record(session, caller.principal_id, "identity.linked", row, now)
            session.flush()
            return identity_document(row)

        return decide_once(self._make_session, keyed, decide, stored=(AlreadyExists,))

    def list(self, caller: Caller, principal_id: UUID) -> list[dict[str, Any]]:
        """Somebody's links, oldest first; empty where there is no such person."""
        require_role(caller, "admin", action="list identities")
        with snapshot(self._make_session) as session:
            rows = session.scalars(
                select(LinkedIdentity)
                .where(LinkedIdentity.principal_id == principal_id)
                .order_by(LinkedIdentity.created_at, LinkedIdentity.id)
            )
            return [identity_document(row) for row in rows]

    def unlink(self, caller: Caller, principal_id: UUID, identity_id: str) -> None:
        """End a link, and every session of the person that was opened by the provider.

        Raises:
            NotFound: no such link of this person.
        """
        require_role(caller, "admin", action="end links of identities")
        with transaction(self._make_session) as session:
            person = held_person(session, principal_id)
            row = session.get(LinkedIdentity, identity_id, with_for_update=True)
            if row is None or row.principal_id != person.id:
                raise NotFound(kind="identity", id=identity_id)
            now = database_now(session)
            _record(session, caller.principal_id, "identity.unlinked", row, now)
            sessions.end_all(
                session,
                person.id,
                actor_id=caller.principal_id,
                because="identity-unlinked",
                now=now,
                way="oidc",
            )
            session.delete(row)

    def sign_in(self, code: str, secret: str, *, redirect_uri: str, address: str) -> Started:
        """Start a session for whom the provider names.

        code: what the provider gave the browser; secret: of the sign-in that it is an answer to.
        address: where the browser is.

        Raises:
            TooManyAttempts: this address has to wait.
            IdentityProviderFailed: the provider did not name anybody.
            IdentityNotLinked: nobody active here is linked to whom it named.
        """
        subjects: Mapping[FailureKind, str] = {"address": address_group(address)}
        sign_in_failures.count(self._make_session, subjects)
        try:
            identity = self.provider.identify(code, secret, redirect_uri)
        except IdentityProviderFailed as failed:
            with transaction(self._make_session) as session:
                _refused(session, None, {"reason": failed.reason}, database_now(session))
            raise
        started = None
        with transaction(self._make_session) as session:
            now = database_now(session)
            row = _link_of(session, identity)
            if row is not None:
                person = held_person(session, row.principal_id)
                if person.active:
                    if row.subject is None:
                        row.subject, row.bound_at = identity.subject, now
                        _record(session, person.id, "identity.bound", row, now)
                    sign_in_failures.forgive(session, subjects)
                    started = sessions.start(session, person, "oidc", now=now)
            if started is None:
                whose = None if row is None else row.principal_id
                _refused(session, whose, {"identity": identity.subject}, now)
        if started is None:
            raise IdentityNotLinked(identity.subject)
        return started


def _refused(
    session: Session, principal_id: UUID | None, facts: Mapping[str, str], now: datetime
) -> None:
    audit.record(
        session,
        actor_id=None,
        action="sign-in.refused",
        subject=None if principal_id is None else str(principal_id),
        facts={"way": "oidc", **facts},
        at=now,
    )


def identity_document(row: LinkedIdentity) -> dict[str, Any]:
    """The wire form of a link."""
    return {
        "id": row.id,
        "principal_id": str(row.principal_id),
        "issuer": row.issuer,
        "subject": row.subject,
        "email": row.email,
        "created_at": row.created_at.isoformat(),
        "bound_at": None if row.bound_at is None else row.bound_at.isoformat(),
    }


def _link_of(session: Session, identity: Identity) -> LinkedIdentity | None:
    """The link of this subject, else one of its address that belongs to no subject yet."""
    links = select(LinkedIdentity).where(LinkedIdentity.issuer == identity.issuer)
    locked = {"populate_existing": True}
    row = session.scalars(
        links.where(LinkedIdentity.subject == identity.subject)
        .with_for_update()
        .execution_options(**locked)
    ).one_or_none()
    if row is not None or identity.email is None:
        return row
    return session.scalars(
        links.where(LinkedIdentity.email == identity.email, LinkedIdentity.subject.is_(None))
        .with_for_update()
        .execution_options(**locked)
    ).one_or_none()


def _taken(session: Session, issuer: str, subject: str | None, email: str | None) -> bool:
    links = select(LinkedIdentity.id).where(LinkedIdentity.issuer == issuer)
    same = (
        LinkedIdentity.subject == subject if subject is not None else LinkedIdentity.email == email
    )
    return session.scalar(links.where(same).limit(1)) is not None


def _record(
    session: Session, actor_id: UUID, action: str, row: LinkedIdentity, now: datetime
) -> None:
    audit.record(
        session,
        actor_id=actor_id,
        action=action,
        subject=str(row.principal_id),
        facts={"link": row.id, "by": "email" if row.email is not None else "subject"},
        at=now,
    )
