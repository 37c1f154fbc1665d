"""Reports, built by a worker on a signed checkpoint, and the statements that people sign."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import Base, GrowingInteger, JsonText, UtcDateTime


class ReportRow(Base):
    """One report. A worker builds it without a key; a process that holds one signs it.

    `running` without a lease is a report that is built and waits for its signature.
    """

    __tablename__ = "reports"
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'running', 'ready', 'failed')", name="state"),
        CheckConstraint("(state = 'ready') = (sha256 IS NOT NULL)", name="ready_has_a_hash"),
        CheckConstraint("state <> 'ready' OR document IS NOT NULL", name="ready_has_a_document"),
        CheckConstraint("(state = 'failed') = (failure_code IS NOT NULL)", name="failed_says_why"),
        CheckConstraint(
            "state <> 'running' OR (lease_until IS NOT NULL) <> (document IS NOT NULL)",
            name="running_has_lease_until_built",
        ),
        # two equal requests at once make one report, whichever process answers them
        Index(
            "uq_reports_one_of_a_kind",
            "dataset_id",
            "checkpoint_seq",
            "builder",
            unique=True,
            sqlite_where=text("state <> 'failed'"),
            postgresql_where=text("state <> 'failed'"),
        ),
        Index("ix_reports_state_lease_until", "state", "lease_until"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("datasets.id"), index=True)
    checkpoint_seq: Mapped[int] = mapped_column(GrowingInteger, ForeignKey("checkpoints.seq"))
    # schema and version of what builds it: another one may say more of the same records
    builder: Mapped[str] = mapped_column(String(80))
    state: Mapped[str] = mapped_column(String(10))
    # of the worker: its stage, how much of it is done, of how much
    progress: Mapped[dict[str, Any]] = mapped_column(JsonText)
    fence: Mapped[int] = mapped_column(Integer)
    attempts: Mapped[int] = mapped_column(Integer)
    owner: Mapped[str | None] = mapped_column(String(200))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # RFC 8785 canonical JSON; loaded where it is asked for and by no list
    document: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    sha256: Mapped[str | None] = mapped_column(String(64))
    failure_code: Mapped[str | None] = mapped_column(String(60))
    requested_by: Mapped[UUID] = mapped_column(ForeignKey("principals.id"))
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AttestationRow(Base):
    """A sentence that a named person stands for until a day, under the ledger's signature.

    What is signed is all but the revocation (`app.domain.attestations.signed_bytes`).
    """

    __tablename__ = "attestations"
    __table_args__ = (
        CheckConstraint("expires_at > made_at", name="ends_after_it_began"),
        CheckConstraint("(revoked_at IS NULL) = (revoked_by IS NULL)", name="revoked_by_somebody"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("datasets.id"), index=True)
    kind: Mapped[str] = mapped_column(String(40))
    statement: Mapped[str] = mapped_column(Text)
    facts: Mapped[dict[str, Any]] = mapped_column(JsonText)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("principals.id"))
    # as they were when it was signed; both stand under the signature
    person_name: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(40))
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_by: Mapped[UUID | None] = mapped_column(ForeignKey("principals.id"))
    signature: Mapped[str] = mapped_column(String(100))
    signed_by: Mapped[str] = mapped_column(String(64))
