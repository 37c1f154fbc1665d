"""Released results that others than their project may read."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import Base, JsonText, UtcDateTime


class Publication(Base):
    """A result that was published, once and for good. Triggers refuse UPDATE, DELETE, REPLACE."""

    __tablename__ = "publications"

    # of a result, so that nothing is published that was not released (L2)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("results.job_id"), primary_key=True)
    # ids of the projects whose members may read it; null is everybody in the house
    project_ids: Mapped[list[Any] | None] = mapped_column(JsonText)
    reason: Mapped[str] = mapped_column(Text)
    published_by: Mapped[UUID] = mapped_column(ForeignKey("principals.id"))
    published_at: Mapped[datetime] = mapped_column(UtcDateTime)
