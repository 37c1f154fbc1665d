"""Connections: the only doors to rows, opened by an admin.

Datasets name paths below a folder or in a bucket, or tables of a database. Of a secret only its
name is kept: `app.domain.connections`. Nothing here asks a database or a store.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models.dataset import Connection
from app.db.pages import PAGE_MOST, page_of
from app.db.session import SessionMaker, snapshot
from app.domain.connections import ConnectionKind, parse_kind, parse_reference
from app.domain.documents import read_text
from app.domain.errors import AlreadyExists, InvalidParameter, NotFound
from app.domain.object_stores import ObjectStore, parse_bucket, parse_store
from app.services import audit
from app.services.access import Caller, require_role
from app.services.idempotency import Keyed, decide_once

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)


class Connections:
    """Made by an admin. Their roots are shown to admins and to nobody else."""

    def __init__(self, make_session: SessionMaker) -> None:
        self._make_session = make_session

    def create(
        self,
        caller: Caller,
        *,
        name: str,
        kind: str,
        root: str,
        keyed: Keyed,
        store: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Open a folder, a database or a bucket to the service.

        store: of a bucket, its endpoint, its region and the name of its keys.

        Raises:
            AlreadyExists: the name is taken.
            InvalidParameter: not a folder or file that exists, a folder that holds the whole
                machine, no reference to a secret, or no store where one is expected.
        """
        require_role(caller, "admin", action="make connections")
        if NAME_PATTERN.fullmatch(name) is None:
            raise InvalidParameter("/name", "1 to 63 of a-z, 0-9, _ and -, no sign at the front")
        parsed = parse_kind(kind)
        place = _read_place(parsed, root)
        held = _read_store(parsed, store)

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            if session.scalar(select(Connection.id).where(Connection.name == name)) is not None:
                raise AlreadyExists(kind="connection", name=name)
            row = Connection(
                id=uuid4(),
                name=name,
                kind=kind,
                root=place,
                **({} if held is None else asdict(held)),
                created_by=caller.principal_id,
                created_at=now,
            )
            session.add(row)
            audit.record(
                session,
                actor_id=caller.principal_id,
                action="connection.created",
                subject=str(row.id),
                facts={"name": name, "kind": kind},
                at=now,
            )
            session.flush()
            return connection_document(row, with_root=True)

        return decide_once(self._make_session, keyed, decide, stored=(AlreadyExists,))

    def list(
        self, caller: Caller, after: UUID | None = None, limit: int = PAGE_MOST
    ) -> list[dict[str, Any]]:
        """Connections by name, with their roots for an admin only; the page after `after`.

        Raises:
            NotFound: no connection `after`.
        """
        require_role(caller, "admin", "compliance_officer", action="list connections")
        with snapshot(self._make_session) as session:
            last = None
            if after is not None:
                row = session.get(Connection, after)
                if row is None:
                    raise NotFound(kind="connection", id=str(after))
                last = (row.name,)
            rows = session.scalars(page_of(select(Connection), [Connection.name], last, limit))
            is_admin = "admin" in caller.roles
            return [connection_document(row, with_root=is_admin) for row in rows]


def connection_document(row: Connection, *, with_root: bool) -> dict[str, Any]:
    """The wire form of a connection; where its rows lie is for admins."""
    document: dict[str, Any] = {
        "id": str(row.id),
        "name": row.name,
        "kind": row.kind,
        "created_at": row.created_at.isoformat(),
    }
    if with_root:
        document["root"] = row.root
        held = store_of(row)
        if held is not None:
            document["store"] = asdict(held)
    return document


def store_of(row: Connection) -> ObjectStore | None:
    """The store behind a connection to a bucket; None of any other."""
    if row.endpoint is None or row.region is None or row.credentials is None:
        return None
    return ObjectStore(row.endpoint, row.region, row.credentials)


def _read_place(kind: ConnectionKind, root: str) -> str:
    if kind == "postgresql":
        return parse_reference(root)
    if kind == "s3":
        return parse_bucket(root)
    return str(_read_root(root) if kind == "folder" else _read_file(root))


def _read_store(kind: ConnectionKind, store: Mapping[str, Any] | None) -> ObjectStore | None:
    if kind == "s3":
        return parse_store(store)
    if store is not None:
        raise InvalidParameter("/store", "only a connection to a bucket has a store")
    return None


def _read_file(root: str) -> Path:
    file = Path(read_text(root, "/root", most=1000))
    try:
        real = file.resolve(strict=True)
        is_there = file.is_absolute() and real.is_file() and len(str(real)) <= 1000
    except (OSError, RuntimeError, ValueError):
        is_there = False
    if not is_there:
        raise InvalidParameter("/root", "the absolute path of a file that exists is expected")
    return real


def _read_root(root: str) -> Path:
    text = read_text(root, "/root", most=1000)
    folder = Path(text)
    if not folder.is_absolute():
        raise InvalidParameter("/root", "an absolute path is expected")
    try:
        real = folder.resolve(strict=True)
        is_folder = real.is_dir()
    except (OSError, RuntimeError, ValueError):
        is_folder = False
    if not is_folder:
        raise InvalidParameter("/root", "a folder that exists is expected")
    if real == real.parent:
        raise InvalidParameter("/root", "a folder below the top of the file system is expected")
    if len(str(real)) > 1000:
        raise InvalidParameter("/root", "the folder's real path is too long")
    return real
