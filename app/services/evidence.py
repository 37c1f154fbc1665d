"""Gathers what a report rests on: one snapshot, as of a signed checkpoint, in one order.

The same checkpoint and the same records give the same document: no clock is asked, every list has
an order of its own, and what came after the checkpoint does not count.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.models import ApiKey, AuditEvent, Budget, CheckpointRow, DatasetRow, Principal
from app.domain.checkpoints import Checkpoint
from app.domain.errors import LedgerNotSigned, NotFound, NothingOnRecord
from app.domain.ledger import time_text
from app.domain.queries.calibration import SAMPLER
from app.domain.training.spec import NOISE_SAMPLER
from app.reporting.criteria.catalogue import default_policy
from app.reporting.evidence import (
    EVIDENCE_VERSION,
    Evidence,
    LedgerEvidence,
    ReportPolicy,
    ServiceEvidence,
)
from app.services.checkpoints import from_row
from app.services.evidence_ledger import (
    Chains,
    Told,
    budgets_of,
    prices_of,
    read_chains,
    reservations_of,
)
from app.services.evidence_records import (
    approvals_of,
    attestations_of,
    dataset_of,
    jobs_of,
    refusals_of,
)

PACKAGE: Final = "epsilon-ledger"
LIBRARIES: Final = ("dp-accounting", "duckdb", "numpy", "opendp", "safetensors", "torch")
NEVER_SIGNED: Final = "No checkpoint was ever signed; make a key with `create-key`."


@dataclass(frozen=True, slots=True)
class OwnTerms:
    """What an organisation says for itself: its bounds, its names of criteria, how it runs."""

    policy: ReportPolicy = field(default_factory=default_policy)
    mapping: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    embedded: bool = False


def gather(
    session: Session,
    dataset_id: UUID,
    checkpoint_seq: int | None = None,
    *,
    terms: OwnTerms | None = None,
    told: Told = lambda _done, _of: None,
) -> Evidence:
    """The evidence of one dataset; a step that reads, in a snapshot of its caller's.

    Args:
        session: in a snapshot, so that everything is of one moment.
        dataset_id: a private dataset with an open or closed root.
        checkpoint_seq: of the checkpoint to stand on; the newest where None.
        terms: the organisation's own; the catalogue's bounds where None.
        told: how many entries were read, of how many.

    Raises:
        NotFound: no such dataset or checkpoint.
        LedgerNotSigned: there is no checkpoint at all.
        NothingOnRecord: no budget of the dataset was open at the checkpoint.
    """
    terms = terms or OwnTerms()
    dataset = session.get(DatasetRow, dataset_id)
    if dataset is None:
        raise NotFound("dataset", str(dataset_id))
    checkpoint = _checkpoint(session, checkpoint_seq)
    as_of = checkpoint.at
    heads = {head.budget_id: head for head in checkpoint.heads}
    mine = [
        heads[str(budget_id)]
        for budget_id in session.scalars(
            select(Budget.id)
            .where(Budget.dataset_id == dataset_id)
            .order_by(Budget.opened_at, Budget.id)
        )
        if str(budget_id) in heads
    ]
    if not mine:
        raise NothingOnRecord(str(dataset_id), checkpoint.seq)
    chains = read_chains(session, mine, told)
    budgets = budgets_of(session, chains)
    reservations = reservations_of(session, chains, budgets, as_of=as_of)
    evidence: Evidence = {
        "v": EVIDENCE_VERSION,
        "as_of": time_text(as_of),
        "dataset": dataset_of(session, dataset, budgets, heads, as_of=as_of),
        "budgets": budgets,
        "reservations": reservations,
        "prices": prices_of(session, reservations),
        "jobs": jobs_of(session, reservations, as_of=as_of),
        "approvals": approvals_of(session, dataset_id, budgets, as_of=as_of),
        "attestations": attestations_of(session, dataset_id, as_of=as_of),
        "refusals": refusals_of(session, dataset_id, as_of=as_of),
        "service": _service(session, terms, as_of=as_of),
        "policy": terms.policy,
        "ledger": _ledger(checkpoint, chains),
    }
    if terms.mapping:
        evidence["mapping"] = {id_: dict(said) for id_, said in terms.mapping.items()}
    return evidence


def service_version() -> str:
    """The version of this service as it is installed."""
    return version(PACKAGE)


def _checkpoint(session: Session, seq: int | None) -> Checkpoint:
    statement = select(CheckpointRow).order_by(CheckpointRow.seq.desc()).limit(1)
    if seq is not None:
        statement = statement.where(CheckpointRow.seq == seq)
    row = session.scalars(statement).one_or_none()
    if row is not None:
        return from_row(row)
    if seq is None:
        raise LedgerNotSigned(NEVER_SIGNED)
    raise NotFound("checkpoint", str(seq))


def _ledger(checkpoint: Checkpoint, chains: Chains) -> LedgerEvidence:
    return {
        "checkpoint_seq": checkpoint.seq,
        "checkpoint_hash": checkpoint.hash,
        "checkpoint_at": checkpoint.said["at"],
        "public_key_fingerprint": checkpoint.said["key"],
        "chains": [
            {"budget": head.budget_id, "entries": head.seq, "head_hash": head.hash}
            for head in chains.heads.values()
        ],
        "entries": sum(head.seq for head in chains.heads.values()),
        "faults": chains.faults,
    }


def _service(session: Session, terms: OwnTerms, *, as_of: datetime) -> ServiceEvidence:
    events = select(func.count()).select_from(AuditEvent).where(AuditEvent.at <= as_of)
    return {
        "version": service_version(),
        "libraries": _libraries(),
        "library_digests": _digests(),
        "query_sampler": SAMPLER,
        "training_sampler": NOISE_SAMPLER,
        "key_source": "os-csprng",
        "runs_analyst_code": False,
        "errors_are_redacted": True,
        "pads_responses": False,
        "embedded": terms.embedded,
        "people": _people(session, as_of=as_of),
        "officers_can_approve_alone": False,
        "keys": _keys(session, as_of=as_of),
        "audit_events": session.scalar(events) or 0,
    }


def _people(session: Session, *, as_of: datetime) -> dict[str, int]:
    """How many held each role; of roles that were changed since, the present ones are known."""
    counts: dict[str, int] = {}
    rows = session.execute(
        select(Principal.roles, Principal.active, Principal.deactivated_at).where(
            Principal.created_at <= as_of
        )
    )
    for roles, is_active, left_at in rows:
        if is_active or (left_at is not None and left_at > as_of):
            for role in roles:
                counts[role] = counts.get(role, 0) + 1
    return dict(sorted(counts.items()))


def _keys(session: Session, *, as_of: datetime) -> dict[str, int]:
    rows = session.execute(
        select(ApiKey.created_at, ApiKey.revoked_at, ApiKey.expires_at).where(
            ApiKey.created_at <= as_of
        )
    )
    live = [
        row.created_at
        for row in rows
        if (row.revoked_at is None or row.revoked_at > as_of)
        and (row.expires_at is None or row.expires_at > as_of)
    ]
    oldest = (as_of - min(live, default=as_of)) // timedelta(days=1)
    return {"live": len(live), "oldest_days": oldest}


@cache
def _libraries() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES if _record(name) is not None}


@cache
def _digests() -> dict[str, str]:
    """Of the list of a library's files with their hashes, as model cards have it."""
    records: dict[str, Any] = {name: _record(name) for name in LIBRARIES}
    return {
        name: f"sha256:{sha256(text.encode()).hexdigest()}"
        for name, text in records.items()
        if text is not None
    }


def _record(library: str) -> str | None:
    try:
        return distribution(library).read_text("RECORD") or ""
    except PackageNotFoundError:
        return None
