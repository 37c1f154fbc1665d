"""People and outside systems, and the roles that they have."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db.models.principal import Principal
from app.db.pages import PAGE_MOST, page_of
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.documents import read_choice, read_text, under
from app.domain.errors import AlreadyExists, InvalidParameter, NotAllowed, NotFound
from app.services import api_keys, audit
from app.services.access import ROLES, Caller, require_role
from app.services.admins import hold_people, require_admin_left
from app.services.idempotency import Keyed, decide_once

# Each of these looks over somebody's shoulder; held together with another role it would be
# looking over its own.
STANDS_ALONE = frozenset({"admin", "auditor", "worker"})


@dataclass(frozen=True, slots=True)
class PersonRequest:
    """Somebody new. Names are unique, so that an approval's two people can be told apart (R19)."""

    name: str
    roles: tuple[str, ...]


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
    key = api_keys.new_key()
    api_keys.add_key(session, key, api_keys.KeyRequest(principal.id), now)
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
    """People: made, listed and given roles by an admin."""

    def __init__(self, make_session: SessionMaker) -> None:
        self._make_session = make_session

    def authenticate(self, text: str) -> Caller:
        """The caller that a key speaks for, read in a transaction of its own.

        Raises:
            NotAuthenticated: see the step `api_keys.authenticate`.
        """
        with snapshot(self._make_session) as session:
            return api_keys.authenticate(session, text, database_now(session))

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

    def change_roles(
        self, caller: Caller, principal_id: UUID, roles: Sequence[str]
    ) -> dict[str, Any]:
        """Give somebody these roles and no other, at once; the same roles again change nothing.

        Raises:
            NotFound: no such person.
            NotAllowed: they are the caller's own, or no admin would be left.
            InvalidParameter: a set of roles that is not usable.
        """
        require_role(caller, "admin", action="change roles")
        wanted = _read_roles(roles)
        with transaction(self._make_session) as session:
            hold_people(session)
            person = held_person(session, principal_id)
            before = list(person.roles)
            if before == wanted:
                return person_document(person)
            if principal_id == caller.principal_id:
                # else an admin could be an officer for an hour, with nobody looking
                raise NotAllowed(action="change one's own roles", needs="another admin")
            now = database_now(session)
            person.roles = wanted
            require_admin_left(session, now, action="take the role from the last admin")
            audit.record(
                session,
                actor_id=caller.principal_id,
                action="person.roles-changed",
                subject=str(person.id),
                facts={"before": before, "after": wanted},
                at=now,
            )
            return person_document(person)

    def list(
        self, caller: Caller, after: UUID | None = None, limit: int = PAGE_MOST
    ) -> list[dict[str, Any]]:
        """Principals by name; the page after `after`.

        Raises:
            NotFound: no principal `after`.
        """
        require_role(caller, "admin", action="list people")
        with snapshot(self._make_session) as session:
            last = None
            if after is not None:
                row = session.get(Principal, after)
                if row is None:
                    raise NotFound(kind="person", id=str(after))
                last = (row.name,)
            statement = page_of(select(Principal), [Principal.name], last, limit)
            return [person_document(row) for row in session.scalars(statement)]

    def me(self, caller: Caller) -> dict[str, Any]:
        """What the service knows of the caller."""
        return {
            "id": str(caller.principal_id),
            "name": caller.name,
            "roles": sorted(caller.roles),
            "rights": None if caller.rights is None else sorted(caller.rights),
            "key_id": None if caller.is_session else caller.key_id,
            "session_id": caller.key_id if caller.is_session else None,
            "is_runner": caller.is_runner,
            "project_ids": sorted(str(project) for project in caller.project_ids),
        }


def held_person(session: Session, principal_id: UUID) -> Principal:
    """The principal with its row locked; a step.

    Raises:
        NotFound: there is none.
    """
    person = session.get(
        Principal, principal_id, with_for_update={"key_share": True}, populate_existing=True
    )
    if person is None:
        raise NotFound(kind="person", id=str(principal_id))
    return person


def person_document(principal: Principal) -> dict[str, Any]:
    """The wire form of a principal."""
    left_at = principal.deactivated_at
    return {
        "id": str(principal.id),
        "name": principal.name,
        "roles": list(principal.roles),
        "active": principal.active,
        "created_at": principal.created_at.isoformat(),
        "deactivated_at": None if left_at is None else left_at.isoformat(),
    }


def _read_roles(roles: Sequence[str]) -> list[str]:
    known = [read_choice(role, under("/roles", i), ROLES) for i, role in enumerate(roles)]
    if not known or len(set(known)) != len(known):
        raise InvalidParameter("/roles", "at least one role, each once")
    alone = STANDS_ALONE.intersection(known)
    if alone and len(known) > 1:
        raise InvalidParameter("/roles", f"{min(alone)} goes with no other role")
    return sorted(known)
