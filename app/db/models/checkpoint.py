"""What the ledger is held against: its signed checkpoints, and where it was found to be behind."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import Base, GrowingInteger, JsonText, UtcDateTime


class CheckpointRow(Base):
    """One link of the root chain. Triggers refuse UPDATE, DELETE, REPLACE (R21)."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        UniqueConstraint("hash"),
        CheckConstraint("seq >= 1", name="seq_counts_from_one"),
    )

    # two processes that make one at once make one, not two: the chain has no fork
    seq: Mapped[int] = mapped_column(GrowingInteger, primary_key=True, autoincrement=False)
    # RFC 8785 canonical JSON, the very bytes that are signed under their tag
    body: Mapped[str] = mapped_column(Text)
    hash: Mapped[str] = mapped_column(String(64))
    signature: Mapped[str] = mapped_column(String(100))
    # [[budget_id, seq, hash], ...], what the root in the body was made of
    heads: Mapped[list[list[Any]]] = mapped_column(JsonText)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Discrepancy(Base):
    """A root whose database is behind its witness; it stays frozen until two people settle it.

    evidence: what the witness knows and the database does not, by `services.recovery`.
    """

    __tablename__ = "discrepancies"
    __table_args__ = (
        # the same finding is written once, however many processes look (L3)
        UniqueConstraint("budget_id", "evidence_sha256"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    budget_id: Mapped[UUID] = mapped_column(ForeignKey("budgets.id"), index=True)
    evidence: Mapped[dict[str, Any]] = mapped_column(JsonText)
    evidence_sha256: Mapped[str] = mapped_column(String(64))
    found_at: Mapped[datetime] = mapped_column(UtcDateTime)
    approval_id: Mapped[UUID | None] = mapped_column(ForeignKey("approvals.id"))
