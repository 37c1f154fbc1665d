"""Projects: the teams that datasets are granted to and that hold allocations."""

from collections import defaultdict
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.db.models.principal import Principal, Project, ProjectMember
from app.db.pages import PAGE_MOST, page_of
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.documents import read_text
from app.domain.errors import AlreadyExists, NotFound
from app.services import audit
from app.services.access import Caller, require_role
from app.services.idempotency import Keyed, decide_once


class Projects:
    """Made and filled by an admin; officers and auditors see all of them, others their own."""

    def __init__(self, make_session: SessionMaker) -> None:
        self._make_session = make_session

    def create(self, caller: Caller, name: str, keyed: Keyed) -> dict[str, Any]:
        """Make a project without members.

        Raises:
            AlreadyExists: the name is taken.
        """
        require_role(caller, "admin", action="make projects")
        name = read_text(name, "/name", most=200)

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            if session.scalar(select(Project.id).where(Project.name == name)) is not None:
                raise AlreadyExists(kind="project", name=name)
            project = Project(id=uuid4(), name=name, created_at=now)
            session.add(project)
            _record(session, caller, "project.created", project.id, {}, now)
            session.flush()
            return project_document(project, [])

        return decide_once(self._make_session, keyed, decide, stored=(AlreadyExists,))

    def list(
        self, caller: Caller, after: UUID | None = None, limit: int = PAGE_MOST
    ) -> list[dict[str, Any]]:
        """The projects that the caller may know, by name, with the ids of their members.

        after: the last of the page before.

        Raises:
            NotFound: no project `after` that the caller may know.
        """
        with snapshot(self._make_session) as session:
            known = select(Project)
            if caller.roles.isdisjoint({"admin", "compliance_officer", "auditor"}):
                known = known.where(Project.id.in_(caller.project_ids))
            last = None
            if after is not None:
                row = session.scalar(known.where(Project.id == after))
                if row is None:
                    raise NotFound(kind="project", id=str(after))
                last = (row.name,)
            rows = session.scalars(page_of(known, [Project.name], last, limit)).all()
            members: defaultdict[UUID, list[UUID]] = defaultdict(list)
            of_these = ProjectMember.project_id.in_([row.id for row in rows])
            for member in session.scalars(select(ProjectMember).where(of_these)):
                members[member.project_id].append(member.principal_id)
            return [project_document(row, members[row.id]) for row in rows]

    def add_member(self, caller: Caller, project_id: UUID, principal_id: UUID) -> dict[str, Any]:
        """Put a principal into a project; a repeat changes nothing.

        Raises:
            NotFound: no such project or principal.
        """
        require_role(caller, "admin", action="change projects")
        with transaction(self._make_session) as session:
            project = _locked(session, project_id)
            if session.get(Principal, principal_id) is None:
                raise NotFound(kind="person", id=str(principal_id))
            if session.get(ProjectMember, (project_id, principal_id)) is None:
                session.add(ProjectMember(project_id=project_id, principal_id=principal_id))
                facts = {"principal_id": str(principal_id)}
                now = database_now(session)
                _record(session, caller, "project.member-added", project_id, facts, now)
                session.flush()
            return project_document(project, _members(session, project_id))

    def remove_member(self, caller: Caller, project_id: UUID, principal_id: UUID) -> dict[str, Any]:
        """Take a principal out of a project; a repeat changes nothing.

        Raises:
            NotFound: no such project.
        """
        require_role(caller, "admin", action="change projects")
        with transaction(self._make_session) as session:
            project = _locked(session, project_id)
            if session.get(ProjectMember, (project_id, principal_id)) is not None:
                session.execute(
                    delete(ProjectMember).where(
                        ProjectMember.project_id == project_id,
                        ProjectMember.principal_id == principal_id,
                    )
                )
                facts = {"principal_id": str(principal_id)}
                now = database_now(session)
                _record(session, caller, "project.member-removed", project_id, facts, now)
            return project_document(project, _members(session, project_id))


def project_document(project: Project, members: list[UUID]) -> dict[str, Any]:
    """The wire form of a project."""
    return {
        "id": str(project.id),
        "name": project.name,
        "member_ids": sorted(str(member) for member in members),
        "created_at": project.created_at.isoformat(),
    }


def _locked(session: Session, project_id: UUID) -> Project:
    project = session.get(Project, project_id, with_for_update=True)
    if project is None:
        raise NotFound(kind="project", id=str(project_id))
    return project


def _members(session: Session, project_id: UUID) -> list[UUID]:
    query = select(ProjectMember.principal_id).where(ProjectMember.project_id == project_id)
    return list(session.scalars(query))


def _record(
    session: Session,
    caller: Caller,
    action: str,
    project_id: UUID,
    facts: dict[str, Any],
    now: datetime,
) -> None:
    audit.record(
        session,
        actor_id=caller.principal_id,
        action=action,
        subject=str(project_id),
        facts=facts,
        at=now,
    )
