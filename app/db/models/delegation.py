"""Who decides on approvals in whose place, and until when."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import Base, UtcDateTime


class Delegation(Base):
    """An officer's right to decide, in another's hands. Triggers let it end and nothing else."""

    __tablename__ = "delegations"
    __table_args__ = (
        CheckConstraint("delegator_id <> delegate_id", name="two_people"),
        CheckConstraint("ends_at > starts_at", name="ends_after_it_starts"),
        CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="ended_by_somebody"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    delegator_id: Mapped[UUID] = mapped_column(ForeignKey("principals.id"), index=True)
    delegate_id: Mapped[UUID] = mapped_column(ForeignKey("principals.id"), index=True)
    starts_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(Text)
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)
    # before its time: by one of the two, or by whoever deactivated one of them
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_by: Mapped[UUID | None] = mapped_column(ForeignKey("principals.id"))
