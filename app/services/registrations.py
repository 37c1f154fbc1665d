"""Registering rows: once for the same people, and in view of two where they look known (R18, L3).

A known file with a known schema is refused. A private dataset whose location, schema or unit column
is known waits as `proposed` until a second officer has agreed that its people are new; nothing can
be charged to it before. So does a public one that looks like a private one, until two people call
its rows public. `continues` names the dataset whose people these are: its next version.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.db.models import Approval, Connection, DatasetRow, DatasetVersion
from app.db.session import SessionMaker
from app.domain.datasets import Dataset, Source, dataset_from_json, dataset_to_json
from app.domain.errors import (
    AlreadyExists,
    AlreadyResolved,
    InvalidParameter,
    NotFound,
    SourceAlreadyRegistered,
    VersionMismatch,
)
from app.domain.partitions import TimeBlocks
from app.services import audit, proposals
from app.services.access import Caller, require_role
from app.services.closing import NOTHING_STATED, VersionFacts, closed_blocks, require_new_rows
from app.services.idempotency import Keyed, decide_once
from app.services.sources import (
    WITHDRAWN,
    Likeness,
    Place,
    forbid_registrations,
    likenesses,
    location_sha256,
    require_new_place,
    resolve_place,
    source_fingerprint,
)

STORED = (AlreadyExists, SourceAlreadyRegistered, AlreadyResolved)
# of a declaration; the name and the source may differ in the dataset that is continued
LASTING = ("access", "columns", "unit_of_privacy", "relation", "nominal_size", "blocks")
NAME_MOST = 150
# a record in two lines would be two records: charged as one, and capped as none of its user's
NOT_WHOLE_LINES = (
    "true is expected for a CSV file with texts: a line is one record there, so no text may hold a"
    " line break; Parquet needs no such word"
)
# what the second person agrees to, by access: its key in the change, and in words
CLAIMS = {
    "private": ("new_people", "these people are new"),
    "public": ("public_rows", "these rows are public"),
}


@dataclass(frozen=True, slots=True)
class DatasetRequest:
    """A registration.

    declaration: name, access, source, columns, and for private ones unit_of_privacy, relation,
    nominal_size and blocks; read strictly by `dataset_from_json`.
    description: purpose, trust_model, raw_viewers, retain_until; they bind nothing.
    new_people: the officer's word that nobody in these rows is in another dataset (R18).
    continues: the dataset whose people these are; its ledger goes on.
    """

    declaration: Mapping[str, Any]
    description: Mapping[str, Any]
    population: str | None = None
    version: VersionFacts = NOTHING_STATED
    new_people: bool | None = None
    continues: str | None = None


def register(
    make_session: SessionMaker,
    caller: Caller,
    request: DatasetRequest,
    keyed: Keyed,
    *,
    pending_most: int,
) -> dict[str, Any]:
    """Register a dataset with its first version, or continue one with its next.

    pending_most: how many changes of one person may wait for a second one at once.

    Returns:
        `state` is `active`, or `proposed` with the approval's id where people look known.

    Raises:
        InvalidParameter: with the pointer to the value that is wrong.
        NotFound: there is no dataset to continue.
        AlreadyExists: the name is taken.
        SourceAlreadyRegistered: these rows have a ledger (R18).
        AlreadyResolved: what would be continued is not active.
        TooManyPending: people look known, and the caller has as much waiting as may wait.
    """
    require_role(caller, "compliance_officer", action="register datasets")
    dataset = dataset_from_json(request.declaration, id="")
    _check_request(request, dataset)

    def decide(session: Session, now: datetime) -> dict[str, Any]:
        forbid_registrations(session)
        connection = connection_named(session, dataset.source.connection)
        place = resolve_place(connection, dataset.source)
        if request.continues is not None:
            target = UUID(request.continues)
            return _continue(session, caller, request, target, dataset, connection, place, now=now)
        if session.scalar(select(DatasetRow.id).where(DatasetRow.name == dataset.name)):
            raise AlreadyExists(kind="dataset", name=dataset.name)
        if dataset.access == "public":
            require_new_place(session, place)
        known = likenesses(session, dataset, place)
        row = _add(session, caller, request, dataset, connection, place, known, now=now)
        if not known:
            return _document(row)
        return _propose(session, caller, row, known, now=now, most=pending_most)

    return decide_once(make_session, keyed, decide, stored=STORED)


def lock_dataset(session: Session, approval: Approval) -> DatasetRow:
    """The dataset that an approval is about, locked in everybody's order."""
    forbid_registrations(session)
    return session.get_one(DatasetRow, approval.dataset_id, with_for_update=True)


def apply_approved(session: Session, approval: Approval, *, now: datetime) -> None:
    """Let a proposed dataset take part, now that two people call its people new or rows public."""
    row = lock_dataset(session, approval)
    if row.state != "proposed":
        raise VersionMismatch(kind="dataset", current=row.version)
    row.state = "active"
    row.version += 1
    facts = proposals.decision_facts(approval)
    actor_id = UUID(str(approval.decided_by))
    record(session, actor_id, "dataset.registered", row.id, facts, now)


def withdraw(session: Session, approval: Approval) -> None:
    """Take back a proposed dataset: its name and its rows are free, the row stays as a trace.

    Nothing was ever charged to it, so nothing is forgotten (L3).
    """
    row = lock_dataset(session, approval)
    if row.state != "proposed":
        return
    session.execute(delete(DatasetVersion).where(DatasetVersion.dataset_id == row.id))
    row.state = "retired"
    row.version += 1
    row.name = f"{row.name[:NAME_MOST]} (withdrawn {row.id.hex[:12]})"
    row.source_fingerprint = f"{WITHDRAWN}{row.id}"
    row.location_sha256 = row.id.hex


def add_version(
    session: Session,
    row: DatasetRow,
    connection: Connection,
    source: Source,
    caller: Caller,
    now: datetime,
    stated: VersionFacts,
) -> DatasetVersion:
    """The row of a dataset's latest version, with the blocks that it closes (R8).

    Raises:
        InvalidParameter, SourceAlreadyRegistered: see `closing`.
        InvalidParameter: a CSV file with texts, and nobody says that none holds a line break.
    """
    dataset = dataset_from_json(row.document, id=str(row.id))
    before = session.get(DatasetVersion, (row.id, row.latest_version - 1))
    has_texts = any(column.type == "string" for column in dataset.columns)
    if source.format == "csv" and has_texts and not stated.no_line_breaks_in_texts:
        raise InvalidParameter("/no_line_breaks_in_texts", NOT_WHOLE_LINES)
    if source.format == "table":
        _require_live(dataset, stated)
    require_new_rows(session, row, dataset, source, stated.sha256)
    version = DatasetVersion(
        dataset_id=row.id,
        version=row.latest_version,
        connection_id=connection.id,
        path=source.path,
        format=source.format,
        closed_blocks=closed_blocks(
            dataset, stated, before=0 if before is None else before.closed_blocks, now=now
        ),
        sha256=stated.sha256,
        created_by=caller.principal_id,
        created_at=now,
    )
    session.add(version)
    return version


def _require_live(dataset: Dataset, stated: VersionFacts) -> None:
    """A live table is what it is when a job reads it; nothing can be said of a version of it."""
    if dataset.blocks is not None:
        raise InvalidParameter("/blocks", "the rows of blocks come in files, not in a live table")
    if stated.sha256 is not None:
        raise InvalidParameter("/sha256", "a live table has no content to name")


def require_place_of_version(
    session: Session, row: DatasetRow, dataset: Dataset, place: Place
) -> None:
    """Refuse a file that another dataset has; with time blocks, also one that a version has.

    Such a version holds new rows in a file of its own, so that the old rows stay as they are (R8).

    Raises:
        SourceAlreadyRegistered: the location is known.
    """
    is_its_own = isinstance(dataset.blocks, TimeBlocks)
    require_new_place(session, place, but_of=None if is_its_own else row.id)


def record(
    session: Session,
    actor_id: UUID,
    action: str,
    dataset_id: UUID,
    facts: dict[str, Any],
    now: datetime,
) -> None:
    """One event of a dataset in the trail."""
    audit.record(
        session, actor_id=actor_id, action=action, subject=str(dataset_id), facts=facts, at=now
    )


def _check_request(request: DatasetRequest, dataset: Dataset) -> None:
    if request.continues is not None and request.new_people is not None:
        raise InvalidParameter("/new_people", "people are continued or new, not both")
    if dataset.access == "public":
        for key in ("new_people", "continues"):
            if getattr(request, key) is not None:
                raise InvalidParameter(f"/{key}", "a public dataset has no people to protect")
        return
    if request.continues is None and request.new_people is not True:
        raise InvalidParameter(
            "/new_people", "true is expected, or `continues`: say whose people these are"
        )


def _continue(
    session: Session,
    caller: Caller,
    request: DatasetRequest,
    target_id: UUID,
    dataset: Dataset,
    connection: Connection,
    place: Place,
    *,
    now: datetime,
) -> dict[str, Any]:
    row = session.get(DatasetRow, target_id, with_for_update=True)
    if row is None:
        raise NotFound("dataset", str(target_id))
    if row.state != "active":
        raise AlreadyResolved(row.state)
    declared = dataset_to_json(dataset)
    for key in LASTING:
        if declared.get(key) != row.document.get(key):
            raise InvalidParameter(f"/{key}", "must be that of the dataset that is continued")
    require_place_of_version(session, row, dataset, place)
    row.latest_version += 1
    row.version += 1
    add_version(session, row, connection, dataset.source, caller, now, request.version)
    facts = {"version": row.latest_version, "continued_by": dataset.name}
    facts |= request.version.words()
    record(session, caller.principal_id, "dataset.version-added", row.id, facts, now)
    session.flush()
    return _document(row)


def _add(
    session: Session,
    caller: Caller,
    request: DatasetRequest,
    dataset: Dataset,
    connection: Connection,
    place: Place,
    known: list[Likeness],
    *,
    now: datetime,
) -> DatasetRow:
    location = location_sha256(place.location)
    row = DatasetRow(
        id=uuid4(),
        name=dataset.name,
        access=dataset.access,
        state="proposed" if known else "active",
        relation=dataset.relation,
        document=dataset_to_json(dataset),
        description=dict(request.description),
        population=request.population,
        source_fingerprint=source_fingerprint(location, dataset.columns),
        location_sha256=location,
        latest_version=1,
        version=1,
        created_by=caller.principal_id,
        created_at=now,
    )
    session.add(row)
    session.flush()
    add_version(session, row, connection, dataset.source, caller, now, request.version)
    facts = {"access": row.access, "source_fingerprint": row.source_fingerprint}
    facts |= request.version.words()
    action = "dataset.proposed" if known else "dataset.registered"
    record(session, caller.principal_id, action, row.id, facts, now)
    session.flush()
    return row


def _propose(
    session: Session,
    caller: Caller,
    row: DatasetRow,
    known: list[Likeness],
    *,
    now: datetime,
    most: int,
) -> dict[str, Any]:
    """Let a registration wait for the second person who agrees to its claim."""
    claim, said = CLAIMS[row.access]
    change = {
        "action": "register",
        "dataset_id": str(row.id),
        "dataset": row.document,
        "population": row.population,
        "source_fingerprint": row.source_fingerprint,
        claim: True,
        "looks_like": [likeness.to_json() for likeness in known],
    }
    approval = proposals.propose(
        session,
        row,
        change=change,
        reason=said,
        requested_by=caller.principal_id,
        now=now,
        most=most,
    )
    return {
        **_document(row),
        "approval_id": str(approval.id),
        "change_sha256": approval.change_sha256,
    }


def _document(row: DatasetRow) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "version": row.latest_version,
        "state": row.state,
        "source_fingerprint": row.source_fingerprint,
        "revision": row.version,
    }


def connection_named(session: Session, name: str) -> Connection:
    """The connection of this name, or the refusal to name one that is not there."""
    connection = session.scalar(select(Connection).where(Connection.name == name))
    if connection is None:
        raise InvalidParameter("/source/connection", "no connection has this name")
    return connection
