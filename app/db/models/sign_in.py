"""How people come in by a browser: sessions, passwords of this house, and what slows guessing."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import Base, UtcDateTime


class BrowserSession(Base):
    """Somebody who is signed in. The browser holds a secret; its SHA-256 is all that is kept."""

    __tablename__ = "browser_sessions"
    __table_args__ = (
        CheckConstraint("length(secret_sha256) = 64", name="secret_is_a_digest"),
        CheckConstraint("(ended_at IS NULL) = (ended_because IS NULL)", name="ended_for_a_reason"),
    )

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principals.id"), index=True)
    secret_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    # `password` or `oidc`
    way: Mapped[str] = mapped_column(String(10))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    # no oftener than once a minute
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_because: Mapped[str | None] = mapped_column(String(40))


class LocalAccount(Base):
    """The password of a principal, as argon2 keeps it."""

    __tablename__ = "local_accounts"

    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principals.id"), primary_key=True)
    password_hash: Mapped[str] = mapped_column(Text)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Invitation(Base):
    """A token by which somebody sets a password, once."""

    __tablename__ = "invitations"
    __table_args__ = (CheckConstraint("length(secret_sha256) = 64", name="secret_is_a_digest"),)

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principals.id"), index=True)
    secret_sha256: Mapped[str] = mapped_column(String(64))
    invited_by: Mapped[UUID] = mapped_column(ForeignKey("principals.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SignInFailures(Base):
    """How often signing in has failed lately for a name or from an address.

    Both stand here as digests: what people type for a name is now and then a password.
    """

    __tablename__ = "sign_in_failures"
    __table_args__ = (CheckConstraint("kind IN ('name', 'address')", name="kind"),)

    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    subject_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int] = mapped_column(Integer)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    blocked_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


class LinkedIdentity(Base):
    """Who a principal is at an identity provider. A subject is bound once and never changed.

    A link by e-mail waits for the first subject whose address that is, and is that subject's then.
    """

    __tablename__ = "linked_identities"
    __table_args__ = (
        UniqueConstraint("issuer", "subject"),
        UniqueConstraint("issuer", "email"),
        CheckConstraint("subject IS NOT NULL OR email IS NOT NULL", name="names_somebody"),
    )

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principals.id"), index=True)
    issuer: Mapped[str] = mapped_column(String(500))
    subject: Mapped[str | None] = mapped_column(String(255))
    email: Mapped[str | None] = mapped_column(String(320))
    linked_by: Mapped[UUID] = mapped_column(ForeignKey("principals.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    bound_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class LoopbackGrant(Base):
    """A code that a program on the person's own machine turns into a key, once and soon (PKCE)."""

    __tablename__ = "loopback_grants"
    __table_args__ = (CheckConstraint("length(code_sha256) = 64", name="code_is_a_digest"),)

    code_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principals.id"), index=True)
    challenge: Mapped[str] = mapped_column(String(43))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
