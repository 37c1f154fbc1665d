"""People and outside systems, their keys, and the projects that hold them together."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, String, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import Base, JsonText, UtcDateTime


class Principal(Base):
    """Somebody who may act. A person has one principal, however many keys (R19)."""

    __tablename__ = "principals"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    roles: Mapped[list[str]] = mapped_column(JsonText)
    active: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deactivated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ApiKey(Base):
    """A secret that speaks for a principal. Only the SHA-256 of its 256 bits is kept."""

    __tablename__ = "api_keys"
    __table_args__ = (CheckConstraint("length(secret_sha256) = 64", name="secret_is_a_digest"),)

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principals.id"), index=True)
    secret_sha256: Mapped[str] = mapped_column(String(64))
    is_runner: Mapped[bool] = mapped_column(Boolean, default=False)
    # what it was kept to, of what the roles of its owner allow; all of that where None
    rights: Mapped[list[str] | None] = mapped_column(JsonText)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Project(Base):
    """A team: its members may use the datasets granted to it and the allocations it holds."""

    __tablename__ = "projects"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ProjectMember(Base):
    """A principal in a project."""

    __tablename__ = "project_members"

    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    principal_id: Mapped[UUID] = mapped_column(
        ForeignKey("principals.id"), primary_key=True, index=True
    )


class DatasetGrant(Base):
    """A project that may ask about a dataset."""

    __tablename__ = "dataset_grants"

    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    dataset_id: Mapped[UUID] = mapped_column(
        ForeignKey("datasets.id"), primary_key=True, index=True
    )
    granted_by: Mapped[UUID] = mapped_column(ForeignKey("principals.id"))
    granted_at: Mapped[datetime] = mapped_column(UtcDateTime)
