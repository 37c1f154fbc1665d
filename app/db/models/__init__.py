"""All tables, imported once so that the metadata is whole."""

from app.db.models.base import Base
from app.db.models.budget import Approval, ApprovalComment, Budget
from app.db.models.checkpoint import CheckpointRow, Discrepancy
from app.db.models.dataset import Connection, DatasetRow, DatasetVersion
from app.db.models.delegation import Delegation
from app.db.models.delivery import Delivery, MailAddress, Webhook
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
    Tally,
    WorkerBeat,
)
from app.db.models.principal import ApiKey, DatasetGrant, Principal, Project, ProjectMember
from app.db.models.publication import Publication
from app.db.models.report import AttestationRow, ReportRow
from app.db.models.sign_in import (
    BrowserSession,
    Invitation,
    LinkedIdentity,
    LocalAccount,
    LoopbackGrant,
    SignInFailures,
)

__all__ = [
    "ApiKey",
    "Approval",
    "ApprovalComment",
    "AttestationRow",
    "AuditEvent",
    "Base",
    "BrowserSession",
    "Budget",
    "CheckpointRow",
    "Connection",
    "DatasetGrant",
    "DatasetRow",
    "DatasetVersion",
    "Delegation",
    "Delivery",
    "Discrepancy",
    "Entry",
    "IdempotencyKey",
    "Invitation",
    "Job",
    "Leadership",
    "LinkedIdentity",
    "LocalAccount",
    "LoopbackGrant",
    "MailAddress",
    "ModelExamination",
    "Notification",
    "OutboxMessage",
    "PriceRow",
    "Principal",
    "Progress",
    "Project",
    "ProjectMember",
    "Publication",
    "ReportRow",
    "Reservation",
    "Result",
    "SignInFailures",
    "Standing",
    "Tally",
    "Webhook",
    "WorkerBeat",
]
