"""Who is told of notifications beyond the inbox, and what was sent to them."""

from datetime import datetime
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

from app.db.models.base import Base, JsonText, UtcDateTime


class Webhook(Base):
    """An address that is sent what happens. Its secret is derived and stands nowhere here."""

    __tablename__ = "webhooks"
    __table_args__ = (CheckConstraint("length(secret_sha256) = 64", name="secret_is_a_digest"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    # for administrators alone: a path may hold a token of its receiver
    url: Mapped[str] = mapped_column(Text)
    kinds: Mapped[list[str]] = mapped_column(JsonText)
    secret_sha256: Mapped[str] = mapped_column(String(64))
    created_by: Mapped[UUID] = mapped_column(ForeignKey("principals.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class MailAddress(Base):
    """Where somebody is written to."""

    __tablename__ = "mail_addresses"

    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principals.id"), primary_key=True)
    # None once it was taken back
    address: Mapped[str | None] = mapped_column(String(254))
    changed_by: Mapped[UUID] = mapped_column(ForeignKey("principals.id"))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Delivery(Base):
    """One notification for one receiver: written with it, and tried until it arrives or for a day.

    due_at: when it is tried next; while it is on its way, when another process may try it.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        Index(
            "ix_deliveries_due",
            "due_at",
            sqlite_where=text("state = 'due'"),
            postgresql_where=text("state = 'due'"),
        ),
        CheckConstraint("state IN ('due', 'sent', 'given_up')", name="state"),
        CheckConstraint("(state = 'due') = (ended_at IS NULL)", name="ended"),
        CheckConstraint(
            "(webhook_id IS NULL) <> (principal_id IS NULL)", name="to_one_webhook_or_person"
        ),
        # a line is told to each receiver once
        UniqueConstraint("notification_id", "webhook_id"),
        UniqueConstraint("notification_id", "principal_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    notification_id: Mapped[int] = mapped_column(ForeignKey("notifications.id"))
    webhook_id: Mapped[UUID | None] = mapped_column(ForeignKey("webhooks.id"), index=True)
    principal_id: Mapped[UUID | None] = mapped_column(ForeignKey("principals.id"), index=True)
    state: Mapped[str] = mapped_column(String(10))
    attempts: Mapped[int] = mapped_column(Integer)
    failure: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
