"""Who is asking, and what they may see or charge. Steps only: nothing here commits.

One answer for everybody: routes check the role, services check the scope, and both ask here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, false, or_, select, true
from sqlalchemy.orm import Session

from app.db.models.budget import Budget
from app.db.models.dataset import DatasetRow
from app.db.models.principal import DatasetGrant, Principal, ProjectMember
from app.db.repositories import standing as standing_rows
from app.domain.errors import NotAllowed, NotAllowedAnyMore

Role = Literal["ml_engineer", "compliance_officer", "auditor", "admin", "worker"]
ROLES: tuple[Role, ...] = get_args(Role)
# what a key may be kept to, beside the roles of its owner: look; ask for room and run jobs; change
# datasets, budgets and approvals; keep people, keys, projects and connections
Right = Literal["read", "submit", "govern", "administer"]
RIGHTS: tuple[Right, ...] = get_args(Right)

SEES_EVERY_BUDGET: frozenset[str] = frozenset({"compliance_officer", "auditor"})


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated principal and the key that spoke for it.

    key_id: the public part of the key or session, for the audit trail.
    is_runner: the key belongs to a registered outside system, settled at started units (R15).
    project_ids: the projects that the principal is a member of, read with the key.
    standing: the count of changes under which all of this was read; see `services.standing`.
    expires_at: when the key ends by itself.
    rights: what the key was kept to; all that the roles allow where None.
    is_session: a browser's session spoke, and `key_id` is its id.
    """

    principal_id: UUID
    name: str
    roles: frozenset[str]
    key_id: str
    is_runner: bool
    project_ids: frozenset[UUID]
    standing: int | None = field(default=None, compare=False)
    expires_at: datetime | None = field(default=None, compare=False)
    rights: frozenset[str] | None = None
    is_session: bool = False


@dataclass(frozen=True, slots=True)
class Credential:
    """What spoke for a principal: a key or a session, whose fields `Caller` explains."""

    id: str
    expires_at: datetime | None
    is_session: bool = False
    is_runner: bool = False
    rights: Sequence[str] | None = None


def caller_of(session: Session, principal: Principal, credential: Credential) -> Caller:
    """The caller that a credential speaks for, as everything stands in this transaction."""
    rights = credential.rights
    return Caller(
        principal_id=principal.id,
        name=principal.name,
        roles=frozenset(principal.roles),
        key_id=credential.id,
        is_runner=credential.is_runner,
        project_ids=projects_of(session, principal.id),
        standing=standing_rows.changes(session),
        expires_at=credential.expires_at,
        rights=None if rights is None else frozenset(rights),
        is_session=credential.is_session,
    )


def projects_of(session: Session, principal_id: UUID) -> frozenset[UUID]:
    """The projects that a principal is a member of."""
    return frozenset(
        session.scalars(
            select(ProjectMember.project_id).where(ProjectMember.principal_id == principal_id)
        )
    )


def require_role(caller: Caller, *roles: str, action: str) -> None:
    """Let a caller with one of the roles pass.

    Raises:
        NotAllowed: the caller has none of them; it names what would be needed.
    """
    if caller.roles.isdisjoint(roles):
        raise NotAllowed(action=action, needs=" or ".join(roles))


def may_read_budget(session: Session, caller: Caller, budget: Budget) -> bool:
    """Whether the figures of a budget may be shown to the caller (L5, R12).

    Officers and auditors read all of them. An engineer reads what one of his projects holds, and
    what nobody holds on a dataset granted to one of his projects. An admin keeps people and
    connections and reads no budget.
    """
    if not caller.roles.isdisjoint(SEES_EVERY_BUDGET):
        return True
    if "ml_engineer" not in caller.roles:
        return False
    if budget.holder_project_id is not None:
        return budget.holder_project_id in caller.project_ids
    return is_granted(session, caller, budget.dataset_id)


def budgets_readable(caller: Caller) -> ColumnElement[bool]:
    """`may_read_budget` as a condition on budgets, for lists that come in pages."""
    if not caller.roles.isdisjoint(SEES_EVERY_BUDGET):
        return true()
    if "ml_engineer" not in caller.roles or not caller.project_ids:
        return false()
    return or_(
        Budget.holder_project_id.in_(caller.project_ids),
        and_(Budget.holder_project_id.is_(None), Budget.dataset_id.in_(_granted(caller))),
    )


def may_charge(session: Session, caller: Caller, budget: Budget) -> bool:
    """Whether the caller may name this budget as the leaf of a job.

    Only an engineer may, only in a scope that he may read as an engineer, and only while the
    dataset is granted to one of his projects: a held allocation alone opens no rows.
    """
    if "ml_engineer" not in caller.roles:
        return False
    if budget.holder_project_id is not None and budget.holder_project_id not in caller.project_ids:
        return False
    return is_granted(session, caller, budget.dataset_id)


def may_read_jobs_of(session: Session, caller: Caller, leaf_ids: Iterable[UUID]) -> bool:
    """Whether the caller may read every job on these leaf budgets, whoever asked for it (R12).

    Those who oversee budgets may. An engineer may where a project of his holds each of them and he
    may charge it: what his project has paid for he could have asked for himself. On a budget that
    nobody holds, people read their own jobs alone.
    """
    if not caller.roles.isdisjoint(SEES_EVERY_BUDGET):
        return True
    leaves = [session.get_one(Budget, leaf_id) for leaf_id in leaf_ids]
    return all(
        leaf.holder_project_id is not None and may_charge(session, caller, leaf) for leaf in leaves
    )


def require_right_in_force(
    session: Session, principal_id: UUID, inputs: Sequence[Mapping[str, Any]]
) -> None:
    """Ask again, before admitted work starts units, whether its owner may charge its leaves.

    A grant that was withdrawn, or a person who left the project, ends what was admitted before:
    queued work before its first touch, running work at the next boundary of a chunk.

    inputs: of a reservation, as stored.

    Raises:
        NotAllowedAnyMore: names the first leaf that may no longer be charged.
    """
    owner = session.execute(
        select(Principal.name, Principal.roles).where(
            Principal.id == principal_id, Principal.active
        )
    ).one_or_none()
    name, roles = ("", []) if owner is None else owner
    caller = Caller(
        principal_id=principal_id,
        name=name,
        roles=frozenset(roles),
        key_id="",
        is_runner=False,
        project_ids=projects_of(session, principal_id),
    )
    for item in inputs:
        leaf = session.get_one(Budget, UUID(item["budget_id"]))
        if not may_charge(session, caller, leaf):
            raise NotAllowedAnyMore(str(leaf.id))


def datasets_readable(caller: Caller) -> ColumnElement[bool]:
    """The condition on `DatasetRow` that `may_read_dataset` asks of one, for lists."""
    if not caller.roles.isdisjoint(SEES_EVERY_BUDGET):
        return true()
    if "ml_engineer" not in caller.roles:
        return false()
    return or_(DatasetRow.access == "public", DatasetRow.id.in_(_granted(caller)))


def _granted(caller: Caller) -> Select[UUID]:
    """The datasets that are granted to one of the caller's projects."""
    return select(DatasetGrant.dataset_id).where(DatasetGrant.project_id.in_(caller.project_ids))


def may_read_dataset(session: Session, caller: Caller, dataset_id: UUID) -> bool:
    """Whether the caller may know the public facts of a dataset.

    Officers and auditors know all of them, an engineer those granted to one of his projects and
    those that are public by declaration.
    """
    if not caller.roles.isdisjoint(SEES_EVERY_BUDGET):
        return True
    if "ml_engineer" not in caller.roles:
        return False
    access = session.scalar(select(DatasetRow.access).where(DatasetRow.id == dataset_id))
    return access == "public" or is_granted(session, caller, dataset_id)


def is_granted(session: Session, caller: Caller, dataset_id: UUID) -> bool:
    """Whether the dataset is granted to one of the caller's projects."""
    if not caller.project_ids:
        return False
    grant = select(DatasetGrant.project_id).where(
        DatasetGrant.dataset_id == dataset_id, DatasetGrant.project_id.in_(caller.project_ids)
    )
    return session.scalar(grant.limit(1)) is not None
