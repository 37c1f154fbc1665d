"""Attestations: what a person stands for until a day, signed where the ledger's key lies (L9).

The service believes none of it and says so: a report names the person, the day and the end. Taking
one back leaves it where it is, with the time at which that was done.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID, uuid4

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from app.db.models import AttestationRow, DatasetRow
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.attestations import DAYS_MOST, AttestationKind, read_facts, signed_bytes
from app.domain.errors import InvalidParameter, LedgerNotSigned, NotFound
from app.services import access, audit
from app.services.access import Caller
from app.services.checkpoints import Checkpoints
from app.services.evidence import NEVER_SIGNED
from app.services.evidence_records import attestation_json
from app.services.idempotency import Keyed, decide_once
from app.services.signing import KeyRefused

# who stands for the organisation; the first that a person holds is named beside the signature
ATTEST: Final = ("compliance_officer", "admin")
READ: Final = ("compliance_officer", "auditor", "admin")
PAGE_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class AttestationRequest:
    """What somebody wants to stand for; `facts` as sent, read by kind."""

    dataset_id: UUID
    kind: AttestationKind
    statement: str
    facts: Any
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Attestations:
    """Use cases on attestations. checkpoints: of the process that holds the key."""

    make_session: SessionMaker
    checkpoints: Checkpoints | None

    def make(self, caller: Caller, request: AttestationRequest, keyed: Keyed) -> dict[str, Any]:
        """Sign a sentence of the caller's, with its facts and its end.

        Raises:
            NotAllowed: the caller is neither a compliance officer nor an admin.
            NotFound: no such dataset.
            InvalidParameter: facts that the kind does not have, or an end that is past or too far.
            LedgerNotSigned: there is no key to sign with.
        """
        access.require_role(caller, *ATTEST, action="attest")
        facts = read_facts(request.kind, request.facts)

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            if session.get(DatasetRow, request.dataset_id) is None:
                raise NotFound("dataset", str(request.dataset_id))
            _require_end(request.expires_at, now)
            row = AttestationRow(
                id=uuid4(),
                dataset_id=request.dataset_id,
                kind=request.kind,
                statement=request.statement,
                facts=facts,
                person_id=caller.principal_id,
                person_name=caller.name,
                role=next(role for role in ATTEST if role in caller.roles),
                made_at=now,
                expires_at=request.expires_at,
            )
            message = signed_bytes(str(row.dataset_id), attestation_json(row))
            row.signature, row.signed_by = self._sign(message)
            session.add(row)
            facts_of = {"kind": row.kind, "dataset_id": str(row.dataset_id)}
            _record(session, caller, "attestation.made", row, facts_of, now=now)
            return attestation_read(row, now=now)

        return decide_once(self.make_session, keyed, decide)

    def revoke(self, caller: Caller, attestation_id: UUID) -> dict[str, Any]:
        """Take an attestation back; one that was taken back before stays as it was then.

        Raises:
            NotFound: no such attestation.
        """
        access.require_role(caller, *ATTEST, action="revoke an attestation")
        with transaction(self.make_session) as session:
            row = session.get(AttestationRow, attestation_id, with_for_update=True)
            if row is None:
                raise NotFound("attestation", str(attestation_id))
            now = database_now(session)
            if row.revoked_at is None:
                row.revoked_at = now
                row.revoked_by = caller.principal_id
                _record(session, caller, "attestation.revoked", row, {"kind": row.kind}, now=now)
            return attestation_read(row, now=now)

    def list(
        self, caller: Caller, dataset_id: UUID | None, after: UUID | None, limit: int
    ) -> list[dict[str, Any]]:
        """Attestations, newest first; of one dataset where it is named."""
        access.require_role(caller, *READ, action="read attestations")
        place = tuple_(AttestationRow.made_at, AttestationRow.id)
        statement = select(AttestationRow).order_by(
            AttestationRow.made_at.desc(), AttestationRow.id.desc()
        )
        if dataset_id is not None:
            statement = statement.where(AttestationRow.dataset_id == dataset_id)
        with snapshot(self.make_session) as session:
            now = database_now(session)
            if after is not None:
                last = session.get(AttestationRow, after)
                if last is None:
                    raise NotFound("attestation", str(after))
                statement = statement.where(place < tuple_(last.made_at, last.id))
            rows = session.scalars(statement.limit(min(limit, PAGE_MOST)))
            return [attestation_read(row, now=now) for row in rows]

    def _sign(self, message: bytes) -> tuple[str, str]:
        if self.checkpoints is None:
            raise LedgerNotSigned(NEVER_SIGNED)
        try:
            key = self.checkpoints.key()
        except KeyRefused as refused:
            raise LedgerNotSigned("The key of the ledger cannot be used now.") from refused
        return key.sign(message), key.public.sha256


def attestation_read(row: AttestationRow, *, now: datetime) -> dict[str, Any]:
    """The wire form: what was signed, the dataset, and whether it counts now."""
    standing = "in force"
    if row.revoked_at is not None:
        standing = "revoked"
    elif row.expires_at <= now:
        standing = "expired"
    said = cast(dict[str, Any], attestation_json(row))
    return {**said, "dataset_id": str(row.dataset_id), "standing": standing}


def _require_end(expires_at: datetime, now: datetime) -> None:
    if expires_at <= now:
        raise InvalidParameter("/expires_at", "The time lies in the past.")
    if expires_at > now + timedelta(days=DAYS_MOST):
        raise InvalidParameter("/expires_at", f"At most {DAYS_MOST} days ahead; say it again then.")


def _record(
    session: Session,
    caller: Caller,
    action: str,
    row: AttestationRow,
    facts: dict[str, Any],
    *,
    now: datetime,
) -> None:
    audit.record(
        session,
        actor_id=caller.principal_id,
        action=action,
        subject=str(row.id),
        facts=facts,
        at=now,
    )
