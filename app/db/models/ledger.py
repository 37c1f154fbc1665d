"""Reservations, the append-only entries they leave, and the prices they were charged at."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import Base, GrowingInteger, JsonText, LossText, UtcDateTime
from app.domain.privacy import Loss


class Reservation(Base):
    """Worst-case loss held in every scope of a path: reserved -> touched -> posted, or voided."""

    __tablename__ = "reservations"
    __table_args__ = (
        CheckConstraint("state IN ('reserved', 'touched', 'posted', 'voided')", name="state"),
        # the sweeper's look-up of outside jobs that have lapsed
        Index("ix_reservations_state_lease_until", "state", "lease_until"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principals.id"), index=True)
    state: Mapped[str] = mapped_column(String(20))
    # one object a part: mechanism, price (a digest), max_units
    parts: Mapped[list[dict[str, Any]]] = mapped_column(JsonText)
    started_units: Mapped[list[int]] = mapped_column(JsonText)
    reserved: Mapped[Loss] = mapped_column(LossText)
    posted: Mapped[Loss | None] = mapped_column(LossText)
    # leaf and ancestors of every input, without repeats, in id order
    budget_ids: Mapped[list[str]] = mapped_column(JsonText)
    # of a period that a run has moved into: the units a part had started before it (R9)
    period_bases: Mapped[dict[str, list[int]]] = mapped_column(JsonText)
    inputs: Mapped[list[dict[str, Any]]] = mapped_column(JsonText)
    # set on reservations of jobs that run elsewhere (R15)
    is_outside: Mapped[bool] = mapped_column(Boolean)
    is_runner: Mapped[bool] = mapped_column(Boolean)
    tool: Mapped[str | None] = mapped_column(String(200))
    fence: Mapped[int] = mapped_column(Integer)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    output_sha256: Mapped[str | None] = mapped_column(String(64))
    void_statement: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    # when its first unit was on record as started
    touched_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    resolved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Entry(Base):
    """One append-only row of a budget's chain. Triggers refuse UPDATE, DELETE, REPLACE (R21)."""

    __tablename__ = "entries"
    __table_args__ = (
        # a reservation is resolved once in each scope, by the database's word (L6)
        UniqueConstraint("resolves_id"),
        UniqueConstraint("id"),
        CheckConstraint("seq >= 1", name="seq_counts_from_one"),
        CheckConstraint(
            "kind IN ('opened', 'reserved', 'posted', 'voided', 'opening', 'refreshed', 'raised',"
            " 'lowered', 'frozen', 'thawed', 'closed', 'transferred', 'rate_limited',"
            " 'published', 'purged')",
            name="kind",
        ),
        CheckConstraint(
            "(kind IN ('posted', 'voided')) = (resolves_id IS NOT NULL)", name="resolution_shape"
        ),
    )

    budget_id: Mapped[UUID] = mapped_column(ForeignKey("budgets.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(GrowingInteger, primary_key=True)
    id: Mapped[UUID] = mapped_column(Uuid)
    kind: Mapped[str] = mapped_column(String(20))
    reservation_id: Mapped[UUID | None] = mapped_column(ForeignKey("reservations.id"), index=True)
    resolves_id: Mapped[UUID | None] = mapped_column(Uuid)
    # RFC 8785 canonical JSON, the very bytes that are hashed
    body: Mapped[str] = mapped_column(Text)
    hash: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PriceRow(Base):
    """The exact price of one mechanism in one relation, by digest; never rewritten (R1)."""

    __tablename__ = "prices"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    document: Mapped[dict[str, Any]] = mapped_column(JsonText)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
