"""A small world for tests: people with roles, one project, one dataset, budgets, an open writer."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.db.models import ApiKey, Approval, Budget, Principal, ProjectMember
from app.db.session import database_now, snapshot, transaction
from app.domain.ledger import document_sha256
from app.domain.partitions import AskedBlocks
from app.domain.privacy import Limit
from app.services.access import Caller
from app.services.admission import Admissions
from app.services.approvals import Approvals
from app.services.budgets import BudgetRequest, Budgets
from app.services.changes import Action, ChangeRequest, Changes
from app.services.closing import VersionFacts
from app.services.connections import Connections
from app.services.datasets import Datasets
from app.services.entries import Entries
from app.services.idempotency import Keyed
from app.services.jobs import Jobs
from app.services.placement import JobRequest, ReservationRequest
from app.services.pricing import InputRequest
from app.services.projects import Projects
from app.services.registrations import DatasetRequest
from app.services.reservations import Reservations
from app.services.witness import WitnessJournal
from app.services.writer import AdmissionWriter

ROLES = {
    "admin": ["admin"],
    "officer": ["compliance_officer"],
    "second_officer": ["compliance_officer"],
    "engineer": ["ml_engineer"],
    "outsider": ["ml_engineer"],
    "auditor": ["auditor"],
}
COUNT_QUERY: dict[str, Any] = {
    "v": 1,
    "where": [],
    "group_by": [],
    "measures": [{"fn": "count"}],
    "privacy": {"epsilon": "0.01", "delta": "0", "noise": "discrete_laplace"},
}


def api_key(key_id: str, owner: UUID, now: datetime) -> ApiKey:
    """A key that nobody holds: callers that tests make name it."""
    return ApiKey(id=key_id, principal_id=owner, secret_sha256="0" * 64, created_at=now)


def keyed(caller: Caller, route: str, body: object, key: str | None = None) -> Keyed:
    """A request under an Idempotency-Key; a fresh key unless one is given."""
    return Keyed(caller.principal_id, route, key or uuid4().hex, document_sha256(body))


@dataclass(slots=True)
class World:
    """Everything that a service test needs; made by `new_world`."""

    make_session: sessionmaker[Session]
    home: Path
    people: dict[str, Caller]
    project_id: UUID
    dataset_id: UUID
    writer: AdmissionWriter
    journal: WitnessJournal

    @property
    def engineer(self) -> Caller:
        return self.people["engineer"]

    @property
    def admissions(self) -> Admissions:
        return Admissions(self.make_session, self.writer)

    @property
    def reservations(self) -> Reservations:
        return Reservations(self.make_session, self.journal)

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.make_session, self.home)

    @property
    def budgets(self) -> Budgets:
        return Budgets(self.make_session)

    def propose_root(
        self, accountant: str = "pure/1", epsilon: str = "1", delta: str = "0"
    ) -> dict[str, Any]:
        officer = self.people["officer"]
        request = BudgetRequest(
            kind="lifetime",
            dataset_id=self.dataset_id,
            parent_id=None,
            name="for life",
            limit=Limit(Decimal(epsilon), Decimal(delta)),
            accountant=accountant,
            delta_split=Decimal("0.9"),
            milestones=(),
            holder_project_id=None,
            expires_at=None,
            reason="a policy",
        )
        return self.budgets.create(officer, request, keyed(officer, "budgets", {"a": 1}))

    def open_root(self, accountant: str = "pure/1", epsilon: str = "1", delta: str = "0") -> UUID:
        proposed = self.propose_root(accountant, epsilon, delta)
        self.decide(UUID(proposed["approval_id"]), "approve")
        return UUID(proposed["id"])

    def decide(self, approval_id: UUID, decision: str, who: str = "second_officer") -> Any:
        with snapshot(self.make_session) as session:
            sha256 = session.get_one(Approval, approval_id).change_sha256
        return Approvals(self.make_session).decide(
            self.people[who],
            approval_id,
            decision=decision,
            change_sha256=sha256,
            reason="read",
            if_version=1,
        )

    def open_allocation(
        self, parent_id: UUID, epsilon: str, *, accountant: str = "pure/1", delta: str = "0"
    ) -> UUID:
        officer = self.people["officer"]
        request = BudgetRequest(
            kind="allocation",
            dataset_id=None,
            parent_id=parent_id,
            name=f"allocation {uuid4().hex[:6]}",
            limit=Limit(Decimal(epsilon), Decimal(delta)),
            accountant=accountant,
            delta_split=Decimal("0.9"),
            milestones=(),
            holder_project_id=self.project_id,
            expires_at=None,
            reason="a team",
        )
        opened = self.budgets.create(officer, request, keyed(officer, "budgets", {"b": 1}))
        return UUID(opened["id"])

    def change(
        self,
        budget_id: UUID,
        action: Action,
        *,
        who: str = "officer",
        key: str | None = None,
        if_version: int | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """A change of a budget at the version that it has now, unless another is named."""
        version = self.budget(budget_id).version if if_version is None else if_version
        request = ChangeRequest(action=action, reason="a policy", **fields)
        caller = self.people[who]
        body = {"action": action, **{name: str(value) for name, value in fields.items()}}
        return Changes(self.make_session).make(
            caller,
            budget_id,
            request,
            if_version=version,
            keyed=keyed(caller, "changes", body, key),
        )

    def approval(self, approval_id: str | UUID) -> Approval:
        with snapshot(self.make_session) as session:
            approval = session.get_one(Approval, UUID(str(approval_id)))
            session.expunge(approval)
            return approval

    def bodies(self, budget_id: UUID) -> list[dict[str, Any]]:
        """The entries of a budget's chain, as they were hashed."""
        rows = Entries(self.make_session).list(self.people["auditor"], budget_id, 0, 200)
        return [json.loads(row["body"]) for row in rows]

    def inputs(
        self, budget_id: UUID, blocks: AskedBlocks = "all", version: int = 1
    ) -> tuple[InputRequest, ...]:
        return (InputRequest(self.dataset_id, version, budget_id, blocks),)

    def submit(
        self,
        budget_id: UUID,
        spec: Mapping[str, Any] | None = None,
        *,
        kind: str = "query",
        key: str | None = None,
        blocks: AskedBlocks = "all",
        reuse: bool | None = None,
    ) -> dict[str, Any]:
        asked = dict(spec or COUNT_QUERY)
        request = JobRequest(kind, self.inputs(budget_id, blocks), asked, "a test", reuse)
        return self.admissions.submit(
            self.engineer, request, keyed(self.engineer, "jobs", asked["privacy"], key)
        )

    def reserve(
        self,
        budget_id: UUID,
        mechanism: Mapping[str, Any],
        max_units: int,
        *,
        who: Caller | None = None,
        key: str | None = None,
        lease_s: int = 900,
        blocks: AskedBlocks = "all",
    ) -> dict[str, Any]:
        caller = who or self.engineer
        parts = [{"mechanism": dict(mechanism), "max_units": max_units}]
        inputs = self.inputs(budget_id, blocks)
        request = ReservationRequest(inputs, parts, lease_s, "a tool 1.0")
        return self.admissions.reserve(caller, request, keyed(caller, "reservations", parts, key))

    def budget(self, budget_id: UUID) -> Budget:
        with snapshot(self.make_session) as session:
            budget = session.get_one(Budget, budget_id)
            session.expunge(budget)
            return budget

    def verified(self) -> bool:
        verified = self.budgets.verification(self.people["auditor"])["verified"]
        assert isinstance(verified, bool)
        return verified


@contextmanager
def new_world(
    make_session: sessionmaker[Session],
    home: Path,
    *,
    columns: Sequence[Mapping[str, Any]] = ({"name": "value", "type": "int64"},),
    unit: Mapping[str, Any] | None = None,
    rows: str = "value\n1\n2\n3\n",
    blocks: Mapping[str, Any] | None = None,
    closes_through: int | None = None,
) -> Iterator[World]:
    """People, a project that is granted one CSV dataset, and a running writer."""
    folder = home / "data"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.csv").write_text(rows)
    ids = {name: uuid4() for name in ROLES}
    with transaction(make_session) as session:
        now = database_now(session)
        for name, roles in ROLES.items():
            session.add(
                Principal(id=ids[name], name=name, roles=roles, active=True, created_at=now)
            )
        session.flush()
        # what the callers below speak by: the writer asks for it where anything has moved
        owners = {f"key{index}": ids[name] for index, name in enumerate(ROLES)}
        owners["key"] = ids["engineer"]
        session.add_all(api_key(key_id, owner, now) for key_id, owner in owners.items())
    people = {
        name: Caller(ids[name], name, frozenset(roles), f"key{index}", False, frozenset())
        for index, (name, roles) in enumerate(ROLES.items())
    }
    admin, officer = people["admin"], people["officer"]
    project = Projects(make_session).create(admin, "team", keyed(admin, "projects", "team"))
    project_id = UUID(project["id"])
    Projects(make_session).add_member(admin, project_id, ids["engineer"])
    Connections(make_session).create(
        admin,
        name="files",
        kind="folder",
        root=str(folder),
        keyed=keyed(admin, "connections", "files"),
    )
    declaration = {
        "name": "table",
        "access": "private",
        "source": {"connection": "files", "path": "rows.csv", "format": "csv"},
        "columns": [dict(column) for column in columns],
        "unit_of_privacy": dict(unit or {"kind": "record"}),
        "relation": "add_remove",
        "nominal_size": 1000,
        "blocks": dict(blocks or {"kind": "none"}),
    }
    registered = Datasets(make_session).register(
        officer,
        DatasetRequest(
            declaration,
            {},
            population="some people",
            version=VersionFacts(closes_through, no_line_breaks_in_texts=True),
            new_people=True,
        ),
        keyed(officer, "datasets", "table"),
    )
    dataset_id = UUID(registered["id"])
    Datasets(make_session).grant(officer, dataset_id, project_id)
    with snapshot(make_session) as session:
        members = session.scalars(
            select(ProjectMember.project_id).where(ProjectMember.principal_id == ids["engineer"])
        )
        people["engineer"] = Caller(
            ids["engineer"],
            "engineer",
            frozenset(ROLES["engineer"]),
            "key",
            False,
            frozenset(members),
        )
    writer = AdmissionWriter(make_session)
    writer.start()
    journal = WitnessJournal(home / "witness")
    try:
        yield World(make_session, home, people, project_id, dataset_id, writer, journal)
    finally:
        journal.close()
        writer.stop()
