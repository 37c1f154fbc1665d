"""Datasets: registered once, versioned on one ledger, retired; never registered a second time (L3).

A registration reads no row. It finds the file, names its location and its schema by digests, and
refuses what is known under any other name, so that no new ledger can forget an old one (R18).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.db.models import Budget
from app.db.models.dataset import DatasetRow, DatasetVersion
from app.db.models.principal import DatasetGrant, Project
from app.db.pages import PAGE_MOST, page_of
from app.db.repositories import budgets as budget_rows
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.datasets import dataset_from_json, parse_source
from app.domain.errors import AlreadyResolved, NotFound, SourceAlreadyRegistered, VersionMismatch
from app.services import registrations
from app.services.access import (
    SEES_EVERY_BUDGET,
    Caller,
    datasets_readable,
    may_read_dataset,
    require_role,
)
from app.services.closing import NOTHING_STATED, VersionFacts
from app.services.idempotency import Keyed, decide_once
from app.services.listing import listed
from app.services.proposals import PENDING_MOST
from app.services.registrations import DatasetRequest, connection_named
from app.services.sources import forbid_registrations, resolve_place
from app.services.states import write_state

RETIRED = "the dataset was retired"


class Datasets:
    """Registered, versioned, granted and retired by a compliance officer."""

    def __init__(self, make_session: SessionMaker, pending_most: int = PENDING_MOST) -> None:
        self._make_session = make_session
        self._pending_most = pending_most

    def register(self, caller: Caller, request: DatasetRequest, keyed: Keyed) -> dict[str, Any]:
        """Register a dataset with its first version; see `registrations.register` (R18)."""
        return registrations.register(
            self._make_session, caller, request, keyed, pending_most=self._pending_most
        )

    def get(self, caller: Caller, dataset_id: UUID) -> dict[str, Any]:
        """One dataset.

        Raises:
            NotFound: there is none, or the caller may not know of it.
        """
        with snapshot(self._make_session) as session:
            row = _readable(session, caller, dataset_id)
            return dataset_document(session, caller, row)

    def versions(
        self, caller: Caller, dataset_id: UUID, after: int | None = None, limit: int = PAGE_MOST
    ) -> list[dict[str, Any]]:
        """Versions of a dataset, oldest first, the page after `after`; paths for overseers only.

        Raises:
            NotFound: there is none, or the caller may not know of it.
        """
        with snapshot(self._make_session) as session:
            row = _readable(session, caller, dataset_id)
            of_it = select(DatasetVersion).where(DatasetVersion.dataset_id == row.id)
            last = None if after is None else (after,)
            return [
                version_document(version, with_path=_sees_sources(caller))
                for version in session.scalars(
                    page_of(of_it, [DatasetVersion.version], last, limit)
                )
            ]

    def add_version(
        self,
        caller: Caller,
        dataset_id: UUID,
        *,
        path: str,
        format: str,
        if_version: int,
        keyed: Keyed,
        stated: VersionFacts = NOTHING_STATED,
    ) -> dict[str, Any]:
        """Say that more rows lie at a path of the same connection: same schema, same ledger.

        Where the dataset has time blocks, the file holds the new rows alone, and what is stated
        of it says which blocks are closed with them (R8).

        Raises:
            InvalidParameter: a block cannot be closed.
            VersionMismatch: the dataset changed since the caller read it.
            SourceAlreadyRegistered: another dataset has these rows.
            AlreadyResolved: the dataset is retired.
        """
        require_role(caller, "compliance_officer", action="make dataset versions")

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            forbid_registrations(session)
            row = _changeable(session, dataset_id, if_version)
            if row.state != "active":
                raise AlreadyResolved(state=row.state)
            name = row.document["source"]["connection"]
            source = parse_source({"connection": name, "path": path, "format": format}, "")
            connection = connection_named(session, name)
            place = resolve_place(connection, source, "", path="/path")
            dataset = dataset_from_json(row.document, id=str(row.id))
            registrations.require_place_of_version(session, row, dataset, place)
            row.latest_version += 1
            row.version += 1
            version = registrations.add_version(
                session, row, connection, source, caller, now, stated
            )
            facts = {"version": version.version, "closed_blocks": version.closed_blocks}
            facts |= stated.words()
            registrations.record(
                session, caller.principal_id, "dataset.version-added", row.id, facts, now
            )
            session.flush()
            return version_document(version, with_path=True)

        return decide_once(
            self._make_session, keyed, decide, stored=(SourceAlreadyRegistered, AlreadyResolved)
        )

    def describe(
        self, caller: Caller, dataset_id: UUID, changes: Mapping[str, Any], *, if_version: int
    ) -> dict[str, Any]:
        """Change what is said of a dataset and binds nothing: purpose, viewers, retention.

        Unit, relation, schema and blocks never change (L8). What was said before stays in the
        audit trail, since statements and reports repeat it.

        Args:
            caller: a compliance officer.
            dataset_id: of a dataset that is not retired.
            changes: field by field; None takes one away, what is absent stays.
            if_version: the revision that the caller read.

        Raises:
            VersionMismatch: the dataset changed since the caller read it.
            AlreadyResolved: the dataset is retired.
        """
        require_role(caller, "compliance_officer", action="describe datasets")
        with transaction(self._make_session) as session:
            row = _changeable(session, dataset_id, if_version)
            if row.state == "retired":
                raise AlreadyResolved(state=row.state)
            said = {**row.description, **changes}
            said = {key: value for key, value in said.items() if value is not None}
            if said != row.description:
                now = database_now(session)
                facts = {
                    key: {"from": row.description.get(key), "to": said.get(key)} for key in changes
                }
                row.description, row.version = said, row.version + 1
                registrations.record(
                    session, caller.principal_id, "dataset.described", row.id, facts, now
                )
                session.flush()
            return dataset_document(session, caller, row)

    def retire(self, caller: Caller, dataset_id: UUID, *, if_version: int) -> dict[str, Any]:
        """End a dataset for new jobs and close its root. Its loss and its fingerprint stay (R20).

        Raises:
            VersionMismatch: the dataset changed since the caller read it.
        """
        require_role(caller, "compliance_officer", action="retire datasets")
        with transaction(self._make_session) as session:
            # before the row, as registrations do: the other order would wait for itself
            forbid_registrations(session)
            roots = _lock_roots(session, dataset_id)
            row = _changeable(session, dataset_id, if_version, state_done="retired")
            if row.state != "retired":
                now = database_now(session)
                row.state = "retired"
                row.version += 1
                facts = {"reason": RETIRED, "decided_by": str(caller.principal_id)}
                for root in roots:
                    actor = str(caller.principal_id)
                    write_state(session, root, "close", actor=actor, facts=facts, now=now)
                registrations.record(
                    session, caller.principal_id, "dataset.retired", row.id, {}, now
                )
                session.flush()
            return dataset_document(session, caller, row)

    def grant(self, caller: Caller, dataset_id: UUID, project_id: UUID) -> dict[str, Any]:
        """Let a project ask about a dataset; a repeat changes nothing.

        Raises:
            NotFound: no such dataset or project.
        """
        require_role(caller, "compliance_officer", action="grant datasets")
        with transaction(self._make_session) as session:
            row = _existing(session, dataset_id)
            if session.get(Project, project_id) is None:
                raise NotFound(kind="project", id=str(project_id))
            grant = session.get(DatasetGrant, (project_id, dataset_id))
            if grant is None:
                now = database_now(session)
                grant = DatasetGrant(
                    project_id=project_id,
                    dataset_id=row.id,
                    granted_by=caller.principal_id,
                    granted_at=now,
                )
                session.add(grant)
                facts = {"project_id": str(project_id)}
                registrations.record(
                    session, caller.principal_id, "dataset.granted", row.id, facts, now
                )
                session.flush()
            return {
                "dataset_id": str(dataset_id),
                "project_id": str(project_id),
                "granted_at": grant.granted_at.isoformat(),
            }

    def withdraw(self, caller: Caller, dataset_id: UUID, project_id: UUID) -> None:
        """Take a grant back; what was spent under it stays spent. A repeat changes nothing.

        Raises:
            NotFound: no such dataset.
        """
        require_role(caller, "compliance_officer", action="withdraw grants")
        with transaction(self._make_session) as session:
            row = _existing(session, dataset_id)
            if session.get(DatasetGrant, (project_id, dataset_id)) is None:
                return
            session.execute(
                delete(DatasetGrant).where(
                    DatasetGrant.project_id == project_id, DatasetGrant.dataset_id == dataset_id
                )
            )
            facts = {"project_id": str(project_id)}
            now = database_now(session)
            registrations.record(
                session, caller.principal_id, "dataset.grant-withdrawn", row.id, facts, now
            )

    def list(
        self,
        caller: Caller,
        after: UUID | None,
        limit: int,
        *,
        state: str | None = None,
        access: str | None = None,
        newest_first: bool = False,
    ) -> list[dict[str, Any]]:
        """A page of the datasets that the caller may know, of a state or an access.

        Raises:
            NotFound: the dataset to go on after is none that this caller may know of.
        """
        with snapshot(self._make_session) as session:
            last = None
            if after is not None:
                last = session.get(DatasetRow, after)
                if last is None or not may_read_dataset(session, caller, after):
                    raise NotFound("dataset", str(after))
            statement = listed(
                select(DatasetRow).where(datasets_readable(caller)),
                (DatasetRow.created_at, DatasetRow.id),
                equal=((DatasetRow.state, state), (DatasetRow.access, access)),
                newest_first=newest_first,
                last=last,
                limit=limit,
            )
            return [dataset_document(session, caller, row) for row in session.scalars(statement)]


def dataset_document(session: Session, caller: Caller, row: DatasetRow) -> dict[str, Any]:
    """The wire form of a dataset, without what this caller may not see."""
    declaration = {key: value for key, value in row.document.items() if key != "source"}
    document = {
        "id": str(row.id),
        **declaration,
        "state": row.state,
        "version": row.latest_version,
        "revision": row.version,
        "population": row.population,
        **row.description,
        "created_at": row.created_at.isoformat(),
    }
    if row.access == "private":
        document.setdefault("blocks", {"kind": "none"})
    if "blocks" in row.document:
        latest = session.get_one(DatasetVersion, (row.id, row.latest_version))
        document["closed_blocks"] = latest.closed_blocks
    if row.purged_at is not None:
        document["purged_at"] = row.purged_at.isoformat()
    if _sees_sources(caller):
        granted = select(DatasetGrant.project_id).where(DatasetGrant.dataset_id == row.id)
        document["source"] = row.document["source"]
        document["source_fingerprint"] = row.source_fingerprint
        document["granted_project_ids"] = sorted(map(str, session.scalars(granted)))
    return document


def version_document(row: DatasetVersion, *, with_path: bool) -> dict[str, Any]:
    """The wire form of a version."""
    document: dict[str, Any] = {
        "dataset_id": str(row.dataset_id),
        "version": row.version,
        "closed_blocks": row.closed_blocks,
        "created_at": row.created_at.isoformat(),
    }
    if not with_path:
        return document
    return {**document, "path": row.path, "format": row.format, "sha256": row.sha256}


def _existing(session: Session, dataset_id: UUID) -> DatasetRow:
    row = session.get(DatasetRow, dataset_id, with_for_update=True)
    if row is None:
        raise NotFound(kind="dataset", id=str(dataset_id))
    return row


def _lock_roots(session: Session, dataset_id: UUID) -> list[Budget]:
    """The dataset's root if it was opened and is not closed, locked before the dataset's row."""
    roots = select(Budget.id).where(
        Budget.dataset_id == dataset_id, Budget.kind == "lifetime", Budget.opened_at.is_not(None)
    )
    locked = budget_rows.lock(session, session.scalars(roots))
    return [root for root in locked if root.state != "closed"]


def _readable(session: Session, caller: Caller, dataset_id: UUID) -> DatasetRow:
    row = session.get(DatasetRow, dataset_id)
    if row is None or not may_read_dataset(session, caller, dataset_id):
        raise NotFound(kind="dataset", id=str(dataset_id))
    return row


def _changeable(
    session: Session, dataset_id: UUID, if_version: int, *, state_done: str | None = None
) -> DatasetRow:
    row = _existing(session, dataset_id)
    if row.version != if_version and row.state != state_done:
        raise VersionMismatch(kind="dataset", current=row.version)
    return row


def _sees_sources(caller: Caller) -> bool:
    return not caller.roles.isdisjoint(SEES_EVERY_BUDGET)
