"""Jobs that our workers run, their progress and what they released."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Index, Integer, String, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import Base, GrowingInteger, JsonText, UtcDateTime


class Job(Base):
    """One admitted piece of work. The fence makes every stale holder's write miss (DESIGN 5)."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint("kind IN ('query', 'train', 'profile')", name="kind"),
        CheckConstraint(
            "state IN ('queued', 'running', 'settled', 'cancelled', 'failed')", name="state"
        ),
        CheckConstraint(
            "(state = 'running') = (lease_until IS NOT NULL)", name="running_has_lease"
        ),
        Index("ix_jobs_state_lease_until", "state", "lease_until"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(20))
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principals.id"), index=True)
    reservation_id: Mapped[UUID] = mapped_column(ForeignKey("reservations.id"), unique=True)
    purpose: Mapped[str] = mapped_column(Text)
    spec: Mapped[dict[str, Any]] = mapped_column(JsonText)
    inputs: Mapped[list[dict[str, Any]]] = mapped_column(JsonText)
    salt: Mapped[str] = mapped_column(String(64))
    # of a query: an equal one is answered by what this one released
    release_sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    # by id, of each public dataset that it reads; None where the latest is read
    public_versions: Mapped[dict[str, int] | None] = mapped_column(JsonText)
    fence: Mapped[int] = mapped_column(Integer)
    attempts: Mapped[int] = mapped_column(Integer)
    owner: Mapped[str | None] = mapped_column(String(200))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cancel_requested: Mapped[bool] = mapped_column(Boolean)
    failure_code: Mapped[str | None] = mapped_column(String(60))
    # [{"name", "started_units", "sha256"}], oldest first; what a later claim may go on from (R14)
    checkpoints: Mapped[list[dict[str, Any]] | None] = mapped_column(JsonText)
    # how often a worker went silent after a touch and the job went on; counted as failures (R13)
    lapses_after_touch: Mapped[int] = mapped_column(Integer, default=0)
    lapsed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Result(Base):
    """What a settled job released; written in the transaction that posts its spend (L2)."""

    __tablename__ = "results"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    fence: Mapped[int] = mapped_column(Integer)
    document: Mapped[dict[str, Any]] = mapped_column(JsonText)
    # [{"name", "sha256", "size_bytes"}], files of (job, fence); nothing else is ever served
    artifacts: Mapped[list[dict[str, Any]]] = mapped_column(JsonText)
    # the dataset that it profiles, so that a quote finds the newest one; None for other kinds
    profile_of: Mapped[UUID | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    # since when document and artifacts are empty, because its dataset was purged (R20)
    purged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Progress(Base):
    """A public line about a running job (R13). Ids grow, so a reader can resume after one."""

    __tablename__ = "progress"

    id: Mapped[int] = mapped_column(GrowingInteger, primary_key=True, autoincrement=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), index=True)
    fence: Mapped[int] = mapped_column(Integer)
    document: Mapped[dict[str, Any]] = mapped_column(JsonText)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
