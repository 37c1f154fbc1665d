"""Where rows lie, and whether they already have a ledger under any name (L3, R18).

Location and schema are named by digests. What is known stays known for ever: retired datasets and
every version of each dataset count as much as active ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.db.models.dataset import Connection, DatasetRow, DatasetVersion
from app.domain.connections import require_fitting
from app.domain.datasets import Column, Dataset, Source, dataset_from_json, schema_digest
from app.domain.errors import InvalidParameter, SourceAlreadyRegistered
from app.domain.object_stores import object_location, require_object
from app.services.connections import store_of

# One reason for every path that is not served, so that it tells nothing of what else is there.
NO_FILE = "no plain file lies at this path below the connection's root"

# begins the fingerprint of a registration that a second person did not agree to
WITHDRAWN = "withdrawn:"


def resolve_source(connection_root: str | Path, path: str, pointer: str = "/source/path") -> Path:
    """The real file behind a path below a connection's root.

    Asked at registration and again by the worker before it reads: links may change meanwhile.

    Raises:
        InvalidParameter: absolute, with `..` or NUL, led out of the root by a link, missing, or
        not a plain file; with one reason for all of these.
    """
    parts = path.split("/")
    if not path or "\x00" in path or "\\" in path or ".." in parts or Path(path).is_absolute():
        raise InvalidParameter(pointer, NO_FILE)
    try:
        root = Path(connection_root).resolve(strict=True)
        file = (root / path).resolve(strict=True)
        is_inside = file.is_relative_to(root) and file.is_file()
    except (OSError, RuntimeError, ValueError):  # missing, a loop of links, a name it cannot have
        is_inside = False
    if not is_inside:
        raise InvalidParameter(pointer, NO_FILE)
    return file


@dataclass(frozen=True, slots=True)
class Place:
    """Where rows lie.

    location: a file's real path, the database and the table, or the store and the object.
    file: of a folder; None of anything else.
    """

    location: str
    file: Path | None


def resolve_place(
    connection: Connection, source: Source, pointer: str = "/source", *, path: str | None = None
) -> Place:
    """The place behind what a dataset names of a connection; asks no database and no store.

    A table is located by the secret's name, an object by its store's host: two names of one
    database or store are two places here, which the likeness of schemas and unit columns is there
    for (R18).

    Args:
        connection: a folder, a database or a bucket.
        source: what is named.
        pointer: to the source in the request.
        path: the pointer to its path, where that is not below the source's.

    Raises:
        InvalidParameter: a path that is not served, or one of the other kind.
    """
    require_fitting(connection.kind, source.format, source.path, pointer)
    at = f"{pointer}/path" if path is None else path
    if connection.kind == "folder":
        file = resolve_source(connection.root, source.path, at)
        return Place(str(file), file)
    if connection.kind == "s3":
        require_object(source.path, at)
    return Place(_location(connection, source.path), None)


def _location(connection: Connection, path: str) -> str:
    """Where a table or an object lies, in words."""
    store = store_of(connection)
    if store is None:
        return f"{connection.kind}:{connection.root}:{path}"
    return object_location(store, connection.root, path)


def location_sha256(location: Path | str) -> str:
    """The name of a location: SHA-256 over its real path, or over the database and the table."""
    return sha256(str(location).encode("utf-8", "surrogateescape")).hexdigest()


def source_fingerprint(location: str, columns: Sequence[Column]) -> str:
    """The name of a source: `sha256:` over its location and its schema's digest (R18)."""
    name = f"{location}\n{schema_digest(columns)}"
    return f"sha256:{sha256(name.encode()).hexdigest()}"


def forbid_registrations(session: Session) -> None:
    """Make registrations one after the other until this transaction ends.

    The rules below compare with every row, which no unique index can; SQLite's write transactions
    are already alone. Readers, and jobs that lock single rows, are not held up.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("LOCK TABLE datasets, dataset_versions IN SHARE ROW EXCLUSIVE MODE"))


@dataclass(frozen=True, slots=True)
class Likeness:
    """A dataset that a new one looks like, and by what: `location`, `schema`, `unit_column`."""

    dataset_id: UUID
    by: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The form that an approval shows."""
        return {"dataset_id": str(self.dataset_id), "by": list(self.by)}


def require_new_place(session: Session, place: Place, *, but_of: UUID | None = None) -> None:
    """Refuse a place that any version of any dataset names, through whatever path or link.

    but_of: the dataset that may name it again, since new rows may replace old ones in place.

    Raises:
        SourceAlreadyRegistered: the location is known (R18).
    """
    if _datasets_at(session, place) - {but_of}:
        raise SourceAlreadyRegistered(reason="a dataset with this location is registered")


def likenesses(session: Session, dataset: Dataset, place: Place) -> list[Likeness]:
    """The datasets whose people may be those of a new one, oldest first (R18).

    Same location, or the same schema or a column of one that names the users of the other, whether
    it is active, retired or still proposed. One of the two is private: rows that are called public
    cost nothing to read, so a private table under a public name would be a way around its ledger.
    That the people are new, or the rows public, all the same takes two people.

    Raises:
        SourceAlreadyRegistered: one of them has the same location and the same schema.
    """
    digest = schema_digest(dataset.columns)
    located = _datasets_at(session, place)
    rows = session.scalars(
        select(DatasetRow)
        .where(DatasetRow.source_fingerprint.not_like(f"{WITHDRAWN}%"))
        .order_by(DatasetRow.created_at, DatasetRow.id)
    )
    found = []
    for row in rows:
        known = dataset_from_json(row.document, id=str(row.id))
        has_schema = schema_digest(known.columns) == digest
        if row.id in located and has_schema:
            raise SourceAlreadyRegistered(
                reason="a dataset with this location and this schema is registered"
            )
        shared = {
            "location": row.id in located,
            "schema": has_schema and "private" in (row.access, dataset.access),
            "unit_column": _share_unit_column(dataset, known),
        }
        by = tuple(name for name, is_shared in shared.items() if is_shared)
        if by:
            found.append(Likeness(row.id, by))
    return found


def _datasets_at(session: Session, place: Place) -> set[UUID]:
    """The datasets one of whose versions names this place."""
    named = select(DatasetVersion.dataset_id, DatasetVersion.path, Connection).join(
        Connection, Connection.id == DatasetVersion.connection_id
    )
    found = set()
    for id_, path, connection in session.execute(named):
        if connection.kind != "folder":
            is_here = _location(connection, path) == place.location
        else:
            at = Path(connection.root) / path
            is_here = place.file is not None and _is_same(place.file, at)
        if is_here:
            found.add(id_)
    digest = location_sha256(place.location)
    located = select(DatasetRow.id).where(DatasetRow.location_sha256 == digest)
    return found.union(session.scalars(located))


def _share_unit_column(one: Dataset, other: Dataset) -> bool:
    """Whether both name their users alike, or one is public and has the other's column for them."""
    unit, other_unit = _unit_column(one), _unit_column(other)
    if "public" not in (one.access, other.access):
        return unit is not None and unit == other_unit
    public = one if one.access == "public" else other
    return (unit or other_unit) in {column.name.lower() for column in public.columns}


def _unit_column(dataset: Dataset) -> str | None:
    if dataset.unit is None or dataset.unit.column is None:
        return None
    return dataset.unit.column.lower()


def _is_same(file: Path, place: Path) -> bool:
    try:
        # the same inode: also through a hard link, or a folder that is mounted twice
        return file.samefile(place)
    except (OSError, ValueError):
        return False
