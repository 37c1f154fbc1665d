"""What keeps the service running right: outbox, idempotency, audit, leadership."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import Base, GrowingInteger, JsonText, UtcDateTime


class OutboxMessage(Base):
    """A wake-up for a worker, committed with its cause; the broker may lose or double it."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index(
            "ix_outbox_unsent",
            "due_at",
            sqlite_where=text("sent_at IS NULL"),
            postgresql_where=text("sent_at IS NULL"),
        ),
        CheckConstraint(
            "(CASE WHEN job_id IS NULL THEN 0 ELSE 1 END)"
            " + (CASE WHEN budget_id IS NULL THEN 0 ELSE 1 END)"
            " + (CASE WHEN report_id IS NULL THEN 0 ELSE 1 END) = 1",
            name="about_one_thing",
        ),
    )

    id: Mapped[int] = mapped_column(GrowingInteger, primary_key=True, autoincrement=True)
    task: Mapped[str] = mapped_column(String(60))
    queue: Mapped[str] = mapped_column(String(20))
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    # of a plan that waits to be composed (R10)
    budget_id: Mapped[UUID | None] = mapped_column(ForeignKey("budgets.id"), index=True)
    # of a report that waits to be built
    report_id: Mapped[UUID | None] = mapped_column(ForeignKey("reports.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class IdempotencyKey(Base):
    """The first decision under a key, written with it and answered for ever (R16)."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (CheckConstraint("outcome IN ('done', 'refused')", name="outcome"),)

    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principals.id"), primary_key=True)
    route: Mapped[str] = mapped_column(String(100), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    body_sha256: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[str] = mapped_column(String(10))
    document: Mapped[dict[str, Any]] = mapped_column(JsonText)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class AuditEvent(Base):
    """Who did what; append-only. Holds ids and public facts, never rows or results."""

    __tablename__ = "audit_events"

    id: Mapped[int] = mapped_column(GrowingInteger, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    actor_id: Mapped[UUID | None] = mapped_column(ForeignKey("principals.id"))
    action: Mapped[str] = mapped_column(String(60))
    subject: Mapped[str | None] = mapped_column(Text)
    facts: Mapped[dict[str, Any]] = mapped_column(JsonText)


class Notification(Base):
    """A line in the inbox of a role: a threshold passed, a refusal burst, a decision that waits."""

    __tablename__ = "notifications"
    # a threshold of one budget is told once
    __table_args__ = (UniqueConstraint("subject", "kind", "occasion"),)

    id: Mapped[int] = mapped_column(GrowingInteger, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    role: Mapped[str] = mapped_column(String(40), index=True)
    kind: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(80))
    occasion: Mapped[str] = mapped_column(String(80))
    facts: Mapped[dict[str, Any]] = mapped_column(JsonText)
    read_by: Mapped[UUID | None] = mapped_column(ForeignKey("principals.id"))
    read_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Standing(Base):
    """How often anything has changed that a look-up rests on: rights, keys, datasets, scopes.

    One row, counted up by triggers, so that no way of changing these can forget it.
    """

    __tablename__ = "standing"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    changes: Mapped[int] = mapped_column(BigInteger)


class Leadership(Base):
    """Which process runs a loop that must run once, by lease."""

    __tablename__ = "leaderships"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    holder: Mapped[str] = mapped_column(String(100))
    lease_until: Mapped[datetime] = mapped_column(UtcDateTime)


class WorkerBeat(Base):
    """When a worker was last alive; no part of any claim, which its leases decide alone."""

    __tablename__ = "worker_beats"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    # names of the broker's queues, with commas between
    queues: Mapped[str] = mapped_column(String(200))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    beat_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Tally(Base):
    """How often something has happened in any process, which no single one can count."""

    __tablename__ = "tallies"

    name: Mapped[str] = mapped_column(String(60), primary_key=True)
    total: Mapped[int] = mapped_column(BigInteger)


class ModelExamination(Base):
    """What a worker has found of an installed model, by the digest of what was installed."""

    __tablename__ = "model_examinations"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    accepted: Mapped[bool]
    module: Mapped[str] = mapped_column(String(200))
    problem: Mapped[str] = mapped_column(String(500))
    remedy: Mapped[str] = mapped_column(String(500))
    examined_at: Mapped[datetime] = mapped_column(UtcDateTime)
