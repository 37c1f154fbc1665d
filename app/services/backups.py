"""Backups: one moment of the ledger under a signed manifest, and its way back (R22, R23).

The manifest names every file with its digest and the newest checkpoint, and is signed by the key of
the root chain. What is put back is believed only where the signature, every digest, every chain and
that checkpoint agree; before that no service can see it. A backup knows nothing of what came after
it: that, the witness folder tells, which is no part of a backup for this very reason.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self
from uuid import uuid4

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.db.copies import Contents, CopyRefused, copy_out, put_back
from app.db.models import CheckpointRow
from app.domain.ledger import canonical_bytes, time_text
from app.services import verification
from app.services.checkpoints import Checkpoints
from app.services.signing import PublicKey, sync_folder, write_whole

KIND: Final = "epsilon-ledger-backup"
TAG: Final = b"epsilon-ledger/backup/1\n"
MANIFEST: Final = "manifest.json"
MANIFEST_BYTES_MOST: Final = 4_000_000
FIELDS: Final = frozenset(
    {"kind", "v", "at", "database", "schema", "tables", "files", "checkpoint", "key"}
)
FILE_NAME: Final = re.compile(r"[a-z0-9_]{1,80}\.(sqlite3|copy)")
CHUNK_BYTES: Final = 1 << 20


class BackupRefused(Exception):
    """A backup cannot be made, believed or put back; the text says why."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself. body: canonical JSON; signature: base64, or None."""

    body: str
    signature: str | None

    @property
    def said(self) -> Mapping[str, Any]:
        """The fields of the body."""
        document: Mapping[str, Any] = json.loads(self.body)
        return document

    @property
    def contents(self) -> Contents:
        """What the files hold."""
        said = self.said
        return Contents(said["database"], said["schema"], said["tables"])

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The manifest of a backup, of the right form; nothing in it is believed yet.

        Raises:
            BackupRefused: there is none, or it has another form.
        """
        try:
            with (folder / MANIFEST).open("rb") as file:
                raw = file.read(MANIFEST_BYTES_MOST + 1)
            document = json.loads(raw)
            found = cls(document["body"], document["signature"])
            said = found.said
            formed = (
                len(raw) <= MANIFEST_BYTES_MOST
                and set(document) == {"body", "signature"}
                and isinstance(found.signature, str | None)
                and (said["kind"], said["v"]) == (KIND, 1)
                and set(said) == FIELDS
                and sorted(each["name"] for each in said["files"]) == sorted(found.contents.files)
                and all(FILE_NAME.fullmatch(name) for name in found.contents.files)
            )
        except OSError:
            raise BackupRefused(f"{folder} holds no backup: there is no {MANIFEST}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            formed = False
        if not formed:
            raise BackupRefused(f"{folder / MANIFEST} is no manifest of a backup")
        return found


@dataclass(frozen=True, slots=True)
class PutBack:
    """What was put back: how many budgets and entries were replayed, and the manifest."""

    budgets: int
    entries: int
    manifest: Manifest


def back_up(engine: Engine, folder: Path, checkpoints: Checkpoints | None) -> Manifest:
    """Write a backup into a new folder, while the service goes on; there whole or not at all.

    checkpoints: with the key that signs it; unsigned where None.

    Raises:
        BackupRefused: the folder is there already or cannot be written, or a chain does not follow.
        KeyRefused, RootChainRefused: nothing can be signed.
    """
    if folder.exists():
        raise BackupRefused(f"{folder} is there already")
    newest = None
    if checkpoints is not None:
        faults = checkpoints.make().faults
        if faults:
            raise BackupRefused(
                f"{len(faults)} chains do not follow: what is wrong is not carried on"
            )
        newest = checkpoints.newest()
    part = folder.with_name(f".{folder.name}.{uuid4().hex}.part")
    try:
        part.mkdir(mode=0o700, parents=True)
        contents = copy_out(engine, part)
        for name in contents.files:
            (part / name).chmod(0o600)
        files = [_told(part / name) for name in contents.files]
        key = None if checkpoints is None else checkpoints.key()
        body = canonical_bytes(
            {
                "kind": KIND,
                "v": 1,
                "at": time_text(datetime.now(UTC)),
                "database": contents.database,
                "schema": contents.schema,
                "tables": {name: list(columns) for name, columns in contents.tables.items()},
                "files": files,
                "checkpoint": None if newest is None else {"seq": newest.seq, "hash": newest.hash},
                "key": None if key is None else key.public.sha256,
            }
        )
        manifest = Manifest(body.decode(), None if key is None else key.sign(TAG + body))
        document = {"body": manifest.body, "signature": manifest.signature}
        write_whole(part / MANIFEST, json.dumps(document, indent=1).encode() + b"\n")
        (part / MANIFEST).chmod(0o600)
        part.rename(folder)
        sync_folder(folder.parent)
    except CopyRefused as refused:
        raise BackupRefused(str(refused)) from None
    except OSError as error:
        raise BackupRefused(f"{folder} cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def restore(
    url: str, folder: Path, keys: Mapping[str, PublicKey], *, may_be_unsigned: bool = False
) -> PutBack:
    """Put a backup back where nothing stands, once all of it agrees; otherwise nothing is there.

    keys: the public keys that are trusted, by their SHA-256.

    Raises:
        BackupRefused: it is not signed by one of them, not what was signed, does not agree with
            itself, or something stands at the address already.
    """
    manifest = Manifest.read(folder)
    if not _is_signed(manifest, keys) and not (may_be_unsigned and manifest.signature is None):
        raise BackupRefused(f"{folder} is not signed by a key that is trusted here")
    for told in manifest.said["files"]:
        try:
            agrees = _told(folder / told["name"]) == told
        except OSError:
            agrees = False
        if not agrees:
            raise BackupRefused(f"{folder / told['name']} is not what was backed up")
    try:
        with put_back(url, folder, manifest.contents) as session:
            budgets, entries = _require_whole(session, manifest)
    except CopyRefused as refused:
        raise BackupRefused(str(refused)) from None
    return PutBack(budgets, entries, manifest)


def _require_whole(session: Session, manifest: Manifest) -> tuple[int, int]:
    """Replay every chain and find the checkpoint that the manifest names (L4)."""
    named = manifest.said["checkpoint"]
    if named is not None:
        row = session.get(CheckpointRow, named["seq"])
        if row is None or row.hash != named["hash"]:
            raise BackupRefused(f"the backup lacks checkpoint {named['seq']}, which it names")
    ids = verification.started_ids(session)
    entries = 0
    for budget_id in ids:
        found = verification.verify(session, budget_id)
        entries += found.entries
        if found.fault is not None:
            raise BackupRefused(f"budget {budget_id} entry {found.fault.seq}: {found.fault.reason}")
    return len(ids), entries


def _is_signed(manifest: Manifest, keys: Mapping[str, PublicKey]) -> bool:
    if manifest.signature is None:
        return False
    key = keys.get(str(manifest.said["key"]))
    return key is not None and key.verifies(manifest.signature, TAG + manifest.body.encode())


def _told(path: Path) -> dict[str, Any]:
    """A file's name, length and digest; made durable on the way."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
        os.fsync(file.fileno())
    return {"name": path.name, "bytes": size, "sha256": digest.hexdigest()}
