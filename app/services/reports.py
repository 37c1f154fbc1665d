"""Reports as those who oversee a dataset see them: ask for one, follow it, read it in a form.

A report stands on a signed checkpoint. Without a number in the request one is made first, so that
it covers all that was committed before; where nothing has moved, the newest is taken, and an equal
report that was made or is under way is the answer.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID, uuid4

from sqlalchemy import or_, select, tuple_
from sqlalchemy.orm import Session, undefer

from app.db.models import AttestationRow, AuditEvent, Budget, CheckpointRow, DatasetRow, ReportRow
from app.db.session import SessionMaker, snapshot
from app.domain.errors import LedgerNotSigned, NotFound, NothingOnRecord, ReportNotReady
from app.reporting.rendering import to_html, to_pdf
from app.reporting.report import SCHEMA_VERSION
from app.services import access, audit, report_building
from app.services.access import Caller
from app.services.checkpoints import Checkpoints, RootChainRefused
from app.services.evidence import NEVER_SIGNED, gather, service_version
from app.services.evidence_records import DESCRIBED
from app.services.idempotency import Keyed, decide_once, replay
from app.services.signing import KeyRefused

__all__ = ["Reports", "gather"]

log = logging.getLogger(__name__)

Form = Literal["json", "html", "pdf"]
FORMS: Final[Mapping[str, Callable[[Mapping[str, Any]], bytes]]] = {
    "html": to_html,
    "pdf": to_pdf,
}
MAKES_NO_CHECKPOINT: Final = "No checkpoint can be signed now; the service's log says why."
PAGE_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Reports:
    """Use cases on reports.

    checkpoints: of this process, which holds the key; None where it holds none.
    """

    make_session: SessionMaker
    checkpoints: Checkpoints | None

    def ask(
        self, caller: Caller, dataset_id: UUID, checkpoint_seq: int | None, keyed: Keyed
    ) -> dict[str, Any]:
        """Queue a report of a dataset, or give the equal one that there is.

        checkpoint_seq: the checkpoint to stand on; None is where the ledger stands now.

        Raises:
            NotAllowed: the caller is neither a compliance officer nor an auditor.
            NotFound: no such dataset or checkpoint.
            LedgerNotSigned: nothing covers the ledger, and no checkpoint can be made.
            NothingOnRecord: no budget of the dataset was open at the checkpoint.
        """
        access.require_role(caller, "compliance_officer", "auditor", action="ask for a report")
        with snapshot(self.make_session) as session:
            first = replay(session, keyed)
            if first is not None:
                return first
            if session.get(DatasetRow, dataset_id) is None:
                raise NotFound("dataset", str(dataset_id))
        seq = self._standing(dataset_id) if checkpoint_seq is None else checkpoint_seq

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            _require_chain(session, dataset_id, seq)
            row = _equal(session, dataset_id, seq)
            if row is None:
                row = _queued(session, caller, dataset_id, seq, now=now)
            return report_json(row)

        return decide_once(self.make_session, keyed, decide)

    def get(self, caller: Caller, report_id: UUID) -> dict[str, Any]:
        """One report, without its document.

        Raises:
            NotFound: no such report.
        """
        with snapshot(self.make_session) as session:
            return report_json(_row(session, caller, report_id))

    def list(
        self, caller: Caller, dataset_id: UUID | None, after: UUID | None, limit: int
    ) -> list[dict[str, Any]]:
        """Reports, newest first; of one dataset where it is named."""
        access.require_role(caller, "compliance_officer", "auditor", action="read reports")
        statement = select(ReportRow).order_by(ReportRow.requested_at.desc(), ReportRow.id.desc())
        if dataset_id is not None:
            statement = statement.where(ReportRow.dataset_id == dataset_id)
        with snapshot(self.make_session) as session:
            if after is not None:
                last = _row(session, caller, after)
                place = tuple_(ReportRow.requested_at, ReportRow.id)
                statement = statement.where(place < tuple_(last.requested_at, last.id))
            rows = session.scalars(statement.limit(min(limit, PAGE_MOST)))
            return [report_json(row) for row in rows]

    def document(self, caller: Caller, report_id: UUID, form: Form) -> tuple[bytes, str]:
        """A ready report in a form, rendered from its JSON alone, and the SHA-256 of that JSON.

        Raises:
            NotFound: no such report.
            ReportNotReady: it is not signed yet, or could not be built.
            ExtraMissing: what renders this form is not installed here.
        """
        with snapshot(self.make_session) as session:
            row = _row(session, caller, report_id, with_document=True)
            if row.state != "ready" or row.document is None or row.sha256 is None:
                raise ReportNotReady(row.state, row.failure_code)
            stored, digest = row.document, row.sha256
        return (stored if form == "json" else FORMS[form](json.loads(stored))), digest

    def _standing(self, dataset_id: UUID) -> int:
        """The number of a checkpoint that covers the ledger and the attestations of now."""
        checkpoints = self.checkpoints
        if checkpoints is None:
            raise LedgerNotSigned(NEVER_SIGNED)
        try:
            checkpoints.make()
            newest = checkpoints.newest()
            if newest is not None and self._has_said_more(dataset_id, newest.at):
                checkpoints.make(even_if_unmoved=True)
                newest = checkpoints.newest()
        except (KeyRefused, RootChainRefused) as refused:
            log.critical("report.no_checkpoint reason=%s", refused)
            raise LedgerNotSigned(MAKES_NO_CHECKPOINT) from refused
        if newest is None:
            raise LedgerNotSigned(MAKES_NO_CHECKPOINT)
        return newest.seq

    def _has_said_more(self, dataset_id: UUID, at: datetime) -> bool:
        """Whether somebody attested, took that back, or described the dataset since then."""
        attested = select(AttestationRow.id).where(
            AttestationRow.dataset_id == dataset_id,
            or_(AttestationRow.made_at > at, AttestationRow.revoked_at > at),
        )
        described = select(AuditEvent.id).where(
            AuditEvent.action == DESCRIBED,
            AuditEvent.subject == str(dataset_id),
            AuditEvent.at > at,
        )
        with snapshot(self.make_session) as session:
            return bool(session.scalar(select(or_(attested.exists(), described.exists()))))


def report_json(row: ReportRow) -> dict[str, Any]:
    """A report in the wire form, without its document."""
    return {
        "id": str(row.id),
        "dataset_id": str(row.dataset_id),
        "checkpoint_seq": row.checkpoint_seq,
        "builder": row.builder,
        "state": row.state,
        "progress": row.progress,
        "attempts": row.attempts,
        "sha256": row.sha256,
        "failure_code": row.failure_code,
        "requested_by": str(row.requested_by),
        "requested_at": row.requested_at.isoformat(),
        "finished_at": None if row.finished_at is None else row.finished_at.isoformat(),
    }


def builder() -> str:
    """What builds reports here: another version may say more of the same records."""
    return f"{SCHEMA_VERSION} {service_version()}"


def _queued(
    session: Session, caller: Caller, dataset_id: UUID, seq: int, *, now: datetime
) -> ReportRow:
    row = ReportRow(
        id=uuid4(),
        dataset_id=dataset_id,
        checkpoint_seq=seq,
        builder=builder(),
        state="queued",
        progress=report_building.progress("queued", 0, 0),
        fence=0,
        attempts=0,
        requested_by=caller.principal_id,
        requested_at=now,
    )
    session.add(row)
    session.flush()
    report_building.wake(session, row.id, now=now)
    audit.record(
        session,
        actor_id=caller.principal_id,
        action="report.requested",
        subject=str(row.id),
        facts={"dataset_id": str(dataset_id), "checkpoint_seq": seq},
        at=now,
    )
    return row


def _equal(session: Session, dataset_id: UUID, seq: int) -> ReportRow | None:
    return session.scalars(
        select(ReportRow).where(
            ReportRow.dataset_id == dataset_id,
            ReportRow.checkpoint_seq == seq,
            ReportRow.builder == builder(),
            ReportRow.state != "failed",
        )
    ).one_or_none()


def _require_chain(session: Session, dataset_id: UUID, seq: int) -> None:
    row = session.get(CheckpointRow, seq)
    if row is None:
        raise NotFound("checkpoint", str(seq))
    heads = {head[0] for head in row.heads}
    ids = session.scalars(select(Budget.id).where(Budget.dataset_id == dataset_id))
    if not any(str(budget_id) in heads for budget_id in ids):
        raise NothingOnRecord(str(dataset_id), seq)


def _row(
    session: Session, caller: Caller, report_id: UUID, *, with_document: bool = False
) -> ReportRow:
    access.require_role(caller, "compliance_officer", "auditor", action="read reports")
    options = [undefer(ReportRow.document)] if with_document else []
    row = session.get(ReportRow, report_id, options=options)
    if row is None:
        raise NotFound("report", str(report_id))
    return row
