"""Reports and attestations on the wire."""

from typing import Annotated, Any, Literal

from pydantic import Field

from app.api.wire import (
    COUNT_MOST,
    DomainDocument,
    Id,
    IdText,
    Time,
    TimeText,
    WireAnswer,
    WireRequest,
    Words,
)
from app.domain.attestations import AttestationKind
from app.services.attestations import AttestationRequest

ReportState = Literal["queued", "running", "ready", "failed"]


class ReportCreate(WireRequest):
    """A report of a dataset, as the ledger stands now or stood at a signed checkpoint."""

    dataset_id: Id
    checkpoint_seq: Annotated[int, Field(ge=1, le=COUNT_MOST)] | None = None


class ReportProgress(WireAnswer):
    """How far it is: entries while it gathers; 0 of 0 where nothing has begun."""

    stage: Literal["queued", "gathering", "building", "signing", "ready"]
    done: int
    of: int


class ReportRead(WireAnswer):
    """A report without its document. `sha256` is of the JSON as it is served."""

    id: IdText
    dataset_id: IdText
    checkpoint_seq: int
    builder: str
    state: ReportState
    progress: ReportProgress
    attempts: int
    sha256: str | None
    failure_code: str | None
    requested_by: IdText
    requested_at: TimeText
    finished_at: TimeText | None


class ReportPage(WireAnswer):
    """Reports, newest first."""

    items: list[ReportRead]
    next: str | None


class AttestationCreate(WireRequest):
    """A sentence that the caller stands for until a day.

    `facts` are of its kind: `releases` of other_releases, `scenarios` of harm_scenarios, `parties`
    of trust_parties, `records_per_person_most` of unit_rationale, `reviewer` and `reviewed_at` of
    expert_review, `groups` of group_effects; other kinds have none.
    """

    dataset_id: Id
    kind: AttestationKind
    statement: Words
    facts: DomainDocument = Field(default_factory=dict)
    expires_at: Time

    def to_request(self) -> AttestationRequest:
        """As the service takes it."""
        return AttestationRequest(
            dataset_id=self.dataset_id,
            kind=self.kind,
            statement=self.statement,
            facts=self.facts,
            expires_at=self.expires_at,
        )


class AttestationRead(WireAnswer):
    """What was signed, by whom, and whether it counts now.

    The Ed25519 `signature` is over the tag `epsilon-ledger/attestation/1` and the canonical JSON of
    all but the revocation; `signed_by` is the SHA-256 of the public key.
    """

    id: IdText
    dataset_id: IdText
    kind: AttestationKind
    statement: str
    facts: dict[str, Any]
    person: IdText
    person_name: str
    role: str
    made_at: TimeText
    expires_at: TimeText
    revoked_at: TimeText | None
    signature: str
    signed_by: str
    standing: Literal["in force", "expired", "revoked"]


class AttestationPage(WireAnswer):
    """Attestations, newest first."""

    items: list[AttestationRead]
    next: str | None
