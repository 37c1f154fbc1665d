"""One job from claim to settlement, in the order that keeps L2 and L6.

claim -> prepare (no private row) -> start units, durably -> rows and noise -> post spend and result
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Connection, DatasetRow, DatasetVersion, Job, Reservation
from app.db.session import database_now, snapshot, transaction
from app.domain.accounting.pld import pld_epsilon
from app.domain.datasets import Dataset, SourceFormat, dataset_from_json
from app.domain.decimals import decimal_text
from app.domain.errors import DomainError, LeaseLost
from app.domain.jobs import KINDS_THAT_CHECKPOINT, NamedCheckpoint
from app.domain.mechanisms.parsing import Part, parse_mechanism
from app.domain.object_stores import object_address
from app.domain.partitions import TimeBlocks, ranges_from_json
from app.domain.queries.joins import named_datasets
from app.domain.training import evaluation_dataset_id
from app.domain.training.offer import Offer
from app.logs import about
from app.services import policies, resume, settlement, tallies
from app.services.connections import store_of
from app.services.jobs import artifact_folder, artifacts_of
from app.services.models import installed_models
from app.services.settlement import Claim
from app.services.signing import sync_folder
from app.services.sources import resolve_source
from workers import stopping
from workers.claimed import ClaimedLedger
from workers.context import Context
from workers.engines.api import (
    ChosenBlocks,
    ClaimLost,
    Engine,
    EngineRefused,
    Input,
    JobCancelled,
    LiveTable,
    ReservedPart,
    RowsFile,
    SourceUnavailable,
    StoredObject,
    Work,
)
from workers.engines.checkpoint_folder import CheckpointFolder
from workers.engines.table_file import keep_table

log = logging.getLogger(__name__)

# below a job's scratch, for as long as it runs: objects of stores, and what memory does not hold
COPIES, SPILL = "copies", "spill"
PLAN_FIGURE = "PLD of this job alone, its parameters fixed before its first output"


def engine_of(kind: str) -> Engine:
    """The engine of a kind; each loads duckdb, opendp or torch, and never in the parent process."""
    if kind == "query":
        from workers.engines.query.engine import QueryEngine

        return QueryEngine()
    if kind == "profile":
        from workers.engines.query.profile import ProfileEngine

        return ProfileEngine()
    if kind == "train":
        from workers.engines.train.engine import TrainingEngine

        return TrainingEngine(offer=Offer(installed_models().models, frozenset({"cpu", "gpu"})))
    raise EngineRefused(f"no engine for {kind!r}")


def run_job(
    context: Context, job_id: UUID, *, engines: Callable[[str], Engine] = engine_of
) -> None:
    """Run a queued job; returns in silence where another delivery of the message was first."""
    make_session = context.make_session
    lease_s = context.settings.job_lease_s
    with transaction(make_session) as session:
        held = settlement.claim(
            session, job_id, owner=context.owner, lease_s=lease_s, now=database_now(session)
        )
        if held is None:
            tallies.add(session, tallies.DUPLICATE_DELIVERIES)
    if held is None:
        with about(job_id=job_id):
            log.info("job.not_claimed")
        return
    with (
        about(job_id=job_id, fence=held.fence),
        ClaimedLedger(make_session, held, lease_s, context.journal) as ledger,
    ):
        log.info("job.claimed")
        try:
            _run_claimed(context, held, ledger, engines)
        except (ClaimLost, LeaseLost):
            # the sweeper settled this job or will; nothing of it may be written from here
            log.warning("job.claim_lost")


def _run_claimed(
    context: Context, held: Claim, ledger: ClaimedLedger, engines: Callable[[str], Engine]
) -> None:
    home = context.settings.home
    scratch = artifact_folder(home, held.job_id, held.fence)
    try:
        tidy_after_earlier_claims(home, held)
        with snapshot(context.make_session) as session:
            work = resolve_work(session, held.job_id, scratch)
            kept = _checkpoints(session, home, held, ledger, work)
        work = replace(work, checkpoints=kept)
        _require_something_left(work)
        scratch.mkdir(parents=True, exist_ok=False)
        try:
            outcome = engines(work.kind).prepare(work).run(ledger)
        finally:
            _remove_copies(scratch)
        if _is_composed(work):
            outcome = replace(
                outcome, result={**outcome.result, **_if_fixed_in_advance(context, work)}
            )
        artifacts = [
            *_artifacts(scratch, outcome.artifacts),
            *_table_artifacts(scratch, outcome.result),
        ]
    except (ClaimLost, LeaseLost):
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    except (Exception, MemoryError) as failed:
        # a stop by a closed scope says which; a stop that was asked for is its own reason
        said = (failed.__cause__ or failed) if isinstance(failed, JobCancelled) else failed
        code = said.code if isinstance(said, DomainError) else "engine-failed"
        # never the text: after a touch it can quote a row, and its kind can depend on one (R13)
        log.warning("job.failed code=%s", code)
        log.debug("job.failed", exc_info=failed)
        ledger.fail(code)
        shutil.rmtree(scratch, ignore_errors=True)
        resume.delete_checkpoints(home, held.job_id)
        return
    ledger.post(outcome, artifacts)
    resume.delete_checkpoints(home, held.job_id)
    log.info("job.posted")


def _remove_copies(scratch: Path) -> None:
    """Remove the rows that this attempt copied."""
    for name in (COPIES, SPILL):
        shutil.rmtree(scratch / name, ignore_errors=True)


def _checkpoints(
    session: Session, home: Path, held: Claim, ledger: ClaimedLedger, work: Work
) -> CheckpointFolder | None:
    """What the job has kept as this claim begins, and where it keeps more; None for other kinds."""
    if work.kind not in KINDS_THAT_CHECKPOINT:
        return None
    named = session.get_one(Job, held.job_id).checkpoints or []
    return CheckpointFolder(
        folder=resume.checkpoint_folder(home, held.job_id),
        fence=held.fence,
        named=tuple(NamedCheckpoint.from_json(each) for each in named),
        started_units=tuple(part.started_units for part in work.parts),
        name=ledger.name_checkpoint,
        is_stopping=stopping.is_asked,
    )


def tidy_after_earlier_claims(home: Path, held: Claim) -> None:
    """Delete what earlier claims have left: one that was killed may have spilled rows there.

    Never a later claim's: if this one is stale by now, that one may have been posted.
    """
    for path in artifacts_of(home, held.job_id).glob("*"):
        if path.name.isdigit() and int(path.name) < held.fence:
            shutil.rmtree(path, ignore_errors=True)


def _require_something_left(work: Work) -> None:
    """Refuse to go on where all units are spent and nothing of them was kept (R14)."""
    is_spent = all(part.started_units == part.max_units for part in work.parts)
    if is_spent and (work.checkpoints is None or work.checkpoints.newest() is None):
        raise EngineRefused("every unit was started before and no checkpoint was kept")


def _is_composed(work: Work) -> bool:
    """Whether a figure of the job as a whole says more than its mechanisms do one by one."""
    return work.kind == "train" or sum(part.max_units for part in work.parts) > 1


def _if_fixed_in_advance(context: Context, work: Work) -> dict[str, Any]:
    """What this job alone comes to by composing its privacy loss distribution (R11).

    It holds for the one job, fixed before its first output, and stands beside the proven bound of
    the ledger, never in its place. Up to half a second for each mechanism on public parameters; a
    run that is paid for is not lost for want of it.
    """
    try:
        with snapshot(context.make_session) as session:
            job = session.get_one(Job, work.job_id)
            reservation = session.get_one(Reservation, job.reservation_id)
            budget, _ = settlement.started_loss(session, work.job_id)
            delta = policies.policy_of(budget).limit.delta
            parts = [
                Part(parse_mechanism(part["mechanism"]), started)
                for part, started in zip(reservation.parts, reservation.started_units, strict=True)
                if started
            ]
        relation = work.inputs[0].dataset.relation
        epsilon = None if relation is None or not delta else pld_epsilon(parts, relation, delta)
    except Exception as failed:
        log.warning("job.no_plan_figure error=%s", type(failed).__name__)
        epsilon = None
    if epsilon is None:
        return {}
    amount = {"epsilon": epsilon, "delta": decimal_text(delta)}
    return {"if_fixed_in_advance": {**amount, "method": PLAN_FIGURE}}


def resolve_work(session: Session, job_id: UUID, scratch: Path) -> Work:
    """Everything public about a claimed job, looked up; opens no file and asks no store.

    Raises:
        SourceUnavailable: a file is missing or its path leads out of its connection.
    """
    job = session.get_one(Job, job_id)
    reservation = session.get_one(Reservation, job.reservation_id)
    parts = tuple(
        ReservedPart(parse_mechanism(part["mechanism"]), part["max_units"], started)
        for part, started in zip(reservation.parts, reservation.started_units, strict=True)
    )
    private = {item["dataset_id"] for item in job.inputs}
    evaluation_id = evaluation_dataset_id(job.spec)
    named = {*named_datasets(job.spec), *(() if evaluation_id is None else (evaluation_id,))}
    public = {}
    for dataset_id in named - private:
        row = session.get_one(DatasetRow, UUID(dataset_id))
        if row.access == "public":
            pinned = job.public_versions or {}
            version = pinned.get(dataset_id, row.latest_version)
            public[dataset_id] = _input(session, row.id, version, scratch)
    return Work(
        job_id=job.id,
        kind=job.kind,
        spec=job.spec,
        inputs=tuple(
            _input(session, UUID(item["dataset_id"]), item["version"], scratch, item["blocks"])
            for item in job.inputs
        ),
        parts=parts,
        salt=bytes.fromhex(job.salt),
        scratch=scratch,
        public=public,
    )


def _input(
    session: Session, dataset_id: UUID, version: int, scratch: Path, blocks: object = "all"
) -> Input:
    row = session.get_one(DatasetRow, dataset_id)
    stored = session.get_one(DatasetVersion, (dataset_id, version))
    dataset = dataset_from_json(row.document, id=str(row.id))
    if stored.format == "table":
        return Input(dataset, version, None, live=_live(session, stored))
    part = _part(session, stored, scratch)
    if dataset.blocks is None:
        # a version may come in another format than the one that was registered
        dataset = replace(dataset, source=replace(dataset.source, format=part.format))
        return Input(dataset, version, part.file, sha256=part.sha256, stored=part.stored)
    ranges = ranges_from_json(cast(Sequence[Sequence[int]], blocks))
    chosen = ChosenBlocks(ranges, _parts(session, dataset, stored, scratch, last=ranges[-1][1]))
    return Input(dataset.of_blocks(ranges), version, part.file, chosen, stored=part.stored)


def _parts(
    session: Session, dataset: Dataset, stored: DatasetVersion, scratch: Path, *, last: int
) -> tuple[RowsFile, ...]:
    """The files in which rows of blocks up to the last can lie, oldest first (R8).

    With time blocks a version is all files up to its own, each with rows that came then. What came
    after the last block had closed lies in later ones.
    """
    if not isinstance(dataset.blocks, TimeBlocks):
        return (_part(session, stored, scratch),)
    versions = session.scalars(
        select(DatasetVersion)
        .where(
            DatasetVersion.dataset_id == stored.dataset_id,
            DatasetVersion.version <= stored.version,
        )
        .order_by(DatasetVersion.version)
    )
    files, open_from = [], 0
    for each in versions:
        if open_from <= last:
            files.append(_part(session, each, scratch, open_from))
        open_from = each.closed_blocks
    return tuple(files)


def _part(session: Session, stored: DatasetVersion, scratch: Path, open_from: int = 0) -> RowsFile:
    """The file of a version; of an object, the place for its copy in the job's own folder."""
    connection = session.get_one(Connection, stored.connection_id)
    form, store = cast(SourceFormat, stored.format), store_of(connection)
    if store is None:
        try:
            file = resolve_source(Path(connection.root), stored.path)
        except DomainError:
            raise SourceUnavailable from None
        return RowsFile(file, form, open_from, stored.sha256)
    copy = scratch / COPIES / f"{stored.dataset_id.hex}-{stored.version}.{form}"
    address = object_address(store, connection.root, stored.path)
    held = StoredObject(address, store.region, store.credentials)
    return RowsFile(copy, form, open_from, stored.sha256, held)


def _live(session: Session, stored: DatasetVersion) -> LiveTable:
    connection = session.get_one(Connection, stored.connection_id)
    if connection.kind not in ("sqlite", "postgresql"):
        raise SourceUnavailable
    kind = cast(Literal["sqlite", "postgresql"], connection.kind)
    return LiveTable(kind, connection.root, stored.path)


def _artifacts(scratch: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """What the result will say of its files; they and their names are on the disk by then."""
    artifacts = [_artifact(scratch, name) for name in names]
    if artifacts:
        # every folder that may have got a new name: of a file, the fence, the job, all artifacts
        for folder in (scratch, *scratch.parents[:3]):
            sync_folder(folder)
    return artifacts


def _table_artifacts(scratch: Path, result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The result's table as a file, where it has one and the disk takes it."""
    try:
        return _artifacts(scratch, keep_table(result, scratch))
    except OSError as failed:
        # a second form of what is released is no reason to lose the first
        log.warning("job.no_table_file error=%s", type(failed).__name__)
        return []


def _artifact(scratch: Path, name: str) -> dict[str, Any]:
    """What the result will say of a file; the file is on the disk before the post names it."""
    with (scratch / name).open("rb") as file:
        content = file.read()
        os.fsync(file.fileno())
    return {
        "name": name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
    }
