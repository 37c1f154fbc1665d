"""Scopes of the ledger and the approvals that open them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import (
    Base,
    BlockSumsBytes,
    GrowingInteger,
    JsonText,
    LossText,
    PlanUnitsText,
    UtcDateTime,
)
from app.domain.accounting.block_sums import BlockSums
from app.domain.accounting.plan_units import PlanUnits
from app.domain.privacy import Loss


class Budget(Base):
    """A scope: a limit, a frozen policy, and the exact sums of its live entries.

    The sums are a running total of the chain, kept for speed; a replay reproduces them (L4).
    A window holds no loss of its own: each of its periods is a scope below it, with its own chain,
    so that a refresh opens the next one and touches nothing else (R9).
    """

    __tablename__ = "budgets"
    __table_args__ = (
        CheckConstraint("kind IN ('lifetime', 'allocation', 'window', 'period')", name="kind"),
        CheckConstraint("state IN ('proposed', 'open', 'frozen', 'closed')", name="state"),
        CheckConstraint("(kind = 'lifetime') = (parent_id IS NULL)", name="roots_have_no_parent"),
        CheckConstraint("(kind = 'window') = (\"window\" IS NOT NULL)", name="window_has_calendar"),
        CheckConstraint(
            "(kind = 'period') = (starts_at IS NOT NULL AND ends_at IS NOT NULL)",
            name="period_has_bounds",
        ),
        # two processes that refresh one window at once open one period, not two (L1)
        UniqueConstraint("parent_id", "starts_at"),
        CheckConstraint("state IN ('proposed', 'closed') OR opened_at IS NOT NULL", name="opened"),
        # one root per dataset for ever: closing never allows another (R5, L3)
        Index(
            "uq_budgets_one_lifetime_root",
            "dataset_id",
            unique=True,
            sqlite_where=text(
                "kind = 'lifetime' AND (state = 'proposed' OR opened_at IS NOT NULL)"
            ),
            postgresql_where=text(
                "kind = 'lifetime' AND (state = 'proposed' OR opened_at IS NOT NULL)"
            ),
        ),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("datasets.id"), index=True)
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("budgets.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(20))
    version: Mapped[int] = mapped_column(Integer)
    # limit, split, weights, fixed at creation (R3); the form of domain.accounting.policy
    policy: Mapped[dict[str, Any]] = mapped_column(JsonText)
    milestones: Mapped[list[str]] = mapped_column(JsonText)
    holder_project_id: Mapped[UUID | None] = mapped_column(ForeignKey("projects.id"), index=True)
    reason: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # of a window: period, time_zone, first_day, refresh_when
    window: Mapped[dict[str, Any] | None] = mapped_column(JsonText)
    # of a period: the half-open span [starts_at, ends_at) in which units may start
    starts_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # jobs_per_hour, units_per_day; absent means no such limit
    rate_limits: Mapped[dict[str, int]] = mapped_column(JsonText)
    committed: Mapped[Loss] = mapped_column(LossText)
    reserved: Mapped[Loss] = mapped_column(LossText)
    # of a plan alone (R10): the units of its slots, a running total of the chain like the sums
    plan_units: Mapped[PlanUnits | None] = mapped_column(PlanUnitsText)
    # why a proposed plan was refused once it was composed: {"code", "facts"}
    plan_refusal: Mapped[dict[str, Any] | None] = mapped_column(JsonText)
    # of a dataset with blocks alone (R8): what each block holds, a running total like the sums
    block_sums: Mapped[BlockSums | None] = mapped_column(BlockSumsBytes)
    last_seq: Mapped[int] = mapped_column(GrowingInteger)
    head_hash: Mapped[str] = mapped_column(String(64))
    last_entry_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_by: Mapped[UUID] = mapped_column(ForeignKey("principals.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    opened_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Approval(Base):
    """A change that waits for a second person, bound to its exact hash and version (R19)."""

    __tablename__ = "approvals"
    __table_args__ = (
        CheckConstraint(
            "state IN ('pending', 'approved', 'rejected', 'expired', 'used')", name="state"
        ),
        # ends self-approval by any path that forgets to ask the service (L10)
        CheckConstraint("decided_by IS NULL OR decided_by <> requested_by", name="two_people"),
        # nor in one's own place, nor in that of whoever asked: one person would be both sides
        CheckConstraint(
            "on_behalf_of IS NULL OR (decided_by IS NOT NULL AND on_behalf_of <> decided_by"
            " AND on_behalf_of <> requested_by)",
            name="on_behalf_of_a_third",
        ),
        CheckConstraint(
            "state NOT IN ('approved', 'rejected', 'used') OR decided_by IS NOT NULL",
            name="decided_by_somebody",
        ),
        CheckConstraint(
            "(budget_id IS NULL) <> (dataset_id IS NULL)", name="about_one_budget_or_dataset"
        ),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    action: Mapped[str] = mapped_column(String(40))
    # what the change is about: a budget, or a dataset that waits to be registered (R18)
    budget_id: Mapped[UUID | None] = mapped_column(ForeignKey("budgets.id"), index=True)
    dataset_id: Mapped[UUID | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    subject_version: Mapped[int] = mapped_column(Integer)
    change: Mapped[dict[str, Any]] = mapped_column(JsonText)
    change_sha256: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(20), index=True)
    version: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str] = mapped_column(Text)
    requested_by: Mapped[UUID] = mapped_column(ForeignKey("principals.id"))
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    decided_by: Mapped[UUID | None] = mapped_column(ForeignKey("principals.id"))
    # who had handed over this right to decide, where somebody had
    on_behalf_of: Mapped[UUID | None] = mapped_column(ForeignKey("principals.id"))
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    decision_reason: Mapped[str | None] = mapped_column(Text)


class ApprovalComment(Base):
    """What somebody said of a change. Triggers refuse UPDATE, DELETE, REPLACE (R21)."""

    __tablename__ = "approval_comments"

    id: Mapped[int] = mapped_column(GrowingInteger, primary_key=True, autoincrement=True)
    approval_id: Mapped[UUID] = mapped_column(ForeignKey("approvals.id"), index=True)
    author_id: Mapped[UUID] = mapped_column(ForeignKey("principals.id"))
    text: Mapped[str] = mapped_column(Text)
    written_at: Mapped[datetime] = mapped_column(UtcDateTime)
