"""Signing what a worker has built, where the ledger's key lies and in no worker (R23).

A worker could write whatever it likes. So nothing is signed but a report on a checkpoint that this
key's chain has signed, about the very heads that stand in it, whose hashes are those of its parts.
What the records between say is the word of the service, as a checkpoint's is.
"""

import json
import logging
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import undefer

from app.db.models import Budget, ReportRow
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.ledger import canonical_bytes
from app.reporting.report import SCHEMA_VERSION, content_sha256, signed
from app.services import audit, report_building
from app.services.checkpoints import Checkpoints

log = logging.getLogger(__name__)

AT_ONCE: Final = 4
NOT_OURS: Final = "report-not-ours"


def sign_built(make_session: SessionMaker, checkpoints: Checkpoints | None) -> int:
    """Sign the reports that wait for it; says how many were signed or refused.

    Safe in several processes: the same key gives the same signature, and one of them keeps it.

    Raises:
        KeyRefused: the key cannot be used; what waits goes on waiting.
    """
    if checkpoints is None:
        return 0
    with snapshot(make_session) as session:
        ids = session.scalars(
            select(ReportRow.id)
            .where(ReportRow.state == "running", ReportRow.lease_until.is_(None))
            .order_by(ReportRow.requested_at, ReportRow.id)
            .limit(AT_ONCE)
        ).all()
    return sum(_sign(make_session, checkpoints, report_id) for report_id in ids)


def _sign(make_session: SessionMaker, checkpoints: Checkpoints, report_id: UUID) -> bool:
    with snapshot(make_session) as session:
        row = session.get_one(ReportRow, report_id, options=[undefer(ReportRow.document)])
        document, fence, seq = row.document, row.fence, row.checkpoint_seq
        mine = {
            str(budget_id)
            for budget_id in session.scalars(
                select(Budget.id).where(Budget.dataset_id == row.dataset_id)
            )
        }
        dataset_id = str(row.dataset_id)
    if document is None:
        return False
    checkpoint = checkpoints.believed(seq)
    report = json.loads(document)
    stands_on = None
    if checkpoint is not None:
        stands_on = {
            "seq": checkpoint.seq,
            "hash": checkpoint.hash,
            "heads": {
                head.budget_id: (head.seq, head.hash)
                for head in checkpoint.heads
                if head.budget_id in mine
            },
        }
    whole = None
    if stands_on is not None and _is_about(report, dataset_id, stands_on):
        key = checkpoints.key()
        whole = canonical_bytes(signed(report, key.sign, key.public.sha256))
    with transaction(make_session) as session:
        now = database_now(session)
        locked = session.scalars(
            select(ReportRow)
            .where(
                ReportRow.id == report_id,
                ReportRow.fence == fence,
                ReportRow.state == "running",
                ReportRow.lease_until.is_(None),
            )
            .with_for_update()
            .execution_options(populate_existing=True)
        ).one_or_none()
        if locked is None:
            return False  # another process was first
        if whole is None:
            log.error("report.not_ours report_id=%s", report_id)
            report_building.end(session, locked, NOT_OURS, now=now)
            return True
        locked.document = whole
        locked.sha256 = sha256(whole).hexdigest()
        locked.state = "ready"
        locked.progress = report_building.progress("ready", 1, 1)
        locked.finished_at = now
        audit.record(
            session,
            actor_id=None,
            action="report.signed",
            subject=str(report_id),
            facts={"dataset_id": dataset_id, "sha256": locked.sha256, "checkpoint_seq": seq},
            at=now,
        )
    return True


def _is_about(report: Any, dataset_id: str, stands_on: Mapping[str, Any]) -> bool:
    """Whether a built report is of this form, about this dataset, and on this checkpoint."""
    try:
        evidence, integrity = report["evidence"], report["integrity"]
        record = evidence["ledger"]
        chains = {each["budget"]: (each["entries"], each["head_hash"]) for each in record["chains"]}
        return bool(
            report["schema_version"] == SCHEMA_VERSION
            and evidence["dataset"]["id"] == dataset_id
            and (record["checkpoint_seq"], record["checkpoint_hash"])
            == (stands_on["seq"], stands_on["hash"])
            and chains == stands_on["heads"]
            and integrity["evidence_sha256"] == sha256(canonical_bytes(evidence)).hexdigest()
            and integrity["content_sha256"] == content_sha256(report)
        )
    except (KeyError, TypeError, ValueError):
        return False
