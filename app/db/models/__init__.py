"""All tables, imported once so that the metadata is whole."""

from app.db.models.base import Base
from app.db.models.budget import Approval, Budget
from app.db.models.checkpoint import CheckpointRow, Discrepancy
from app.db.models.dataset import Connection, DatasetRow, DatasetVersion
from app.db.models.job import Job, Progress, Result
from app.db.models.ledger import Entry, PriceRow, Reservation
from app.db.models.operation import (
    AuditEvent,
    IdempotencyKey,
    Leadership,
    ModelExamination,
    Notification,
    OutboxMessage,
    Standing,
)
from app.db.models.principal import ApiKey, DatasetGrant, Principal, Project, ProjectMember

__all__ = [
    "ApiKey",
    "Approval",
    "AuditEvent",
    "Base",
    "Budget",
    "CheckpointRow",
    "Connection",
    "DatasetGrant",
    "DatasetRow",
    "DatasetVersion",
    "Discrepancy",
    "Entry",
    "IdempotencyKey",
    "Job",
    "Leadership",
    "ModelExamination",
    "Notification",
    "OutboxMessage",
    "PriceRow",
    "Principal",
    "Progress",
    "Project",
    "ProjectMember",
    "Reservation",
    "Result",
    "Standing",
]
