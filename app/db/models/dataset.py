"""Where rows lie and what is public about them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Integer, String, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import Base, JsonText, UtcDateTime


class Connection(Base):
    """An admin-made door. A dataset names a path below its root, or a table, and nothing else.

    root: a folder, a database's file, a bucket with a prefix, or where a worker finds a connection
    string; never a secret.
    endpoint, region, credentials: of an object store; the last says where a worker finds the keys.
    """

    __tablename__ = "connections"
    __table_args__ = (
        CheckConstraint("kind IN ('folder', 'sqlite', 'postgresql', 's3')", name="kind"),
        CheckConstraint(
            "(kind = 's3') = (endpoint IS NOT NULL) AND (endpoint IS NULL) = (region IS NULL)"
            " AND (region IS NULL) = (credentials IS NULL)",
            name="store_if_s3",
        ),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    kind: Mapped[str] = mapped_column(String(20))
    root: Mapped[str] = mapped_column(String(1000))
    endpoint: Mapped[str | None] = mapped_column(String(300))
    region: Mapped[str | None] = mapped_column(String(63))
    credentials: Mapped[str | None] = mapped_column(String(1000))
    created_by: Mapped[UUID] = mapped_column(ForeignKey("principals.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class DatasetRow(Base):
    """A registered dataset. Schema, unit, relation and fingerprints never change (L3, L8)."""

    __tablename__ = "datasets"
    __table_args__ = (
        CheckConstraint("access IN ('private', 'public')", name="access"),
        CheckConstraint("state IN ('proposed', 'active', 'retired')", name="state"),
        CheckConstraint(
            "(access = 'private') = (relation IS NOT NULL)", name="relation_if_private"
        ),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    access: Mapped[str] = mapped_column(String(10))
    state: Mapped[str] = mapped_column(String(10))
    relation: Mapped[str | None] = mapped_column(String(20))
    # the form of app.domain.datasets.dataset_to_json
    document: Mapped[dict[str, Any]] = mapped_column(JsonText)
    # purpose, trust model, raw viewers, retention: may be edited, bind nothing
    description: Mapped[dict[str, Any]] = mapped_column(JsonText)
    population: Mapped[str | None] = mapped_column(String(200), index=True)
    # unique: a second registration of the same rows would be a second budget (R18)
    source_fingerprint: Mapped[str] = mapped_column(String(80), unique=True)
    location_sha256: Mapped[str] = mapped_column(String(64), index=True)
    latest_version: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(Integer)
    created_by: Mapped[UUID] = mapped_column(ForeignKey("principals.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    # when all that its jobs had kept was deleted (R20)
    purged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DatasetVersion(Base):
    """One state of the rows; more rows make a new version on the same ledger.

    Where the dataset has time blocks, a version is its own file and those of all versions before.
    """

    __tablename__ = "dataset_versions"

    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("datasets.id"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    connection_id: Mapped[UUID] = mapped_column(ForeignKey("connections.id"))
    path: Mapped[str] = mapped_column(String(1000))
    format: Mapped[str] = mapped_column(String(20))
    # how many blocks, from 0 on, are closed in it; 0 where the dataset has none (R8)
    closed_blocks: Mapped[int] = mapped_column(Integer, default=0)
    # of the file, as the officer declared it; the worker compares before it trusts the rows
    sha256: Mapped[str | None] = mapped_column(String(64))
    created_by: Mapped[UUID] = mapped_column(ForeignKey("principals.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
