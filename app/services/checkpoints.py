"""Checkpoints: the heads of all ledgers, signed, in the database and in a folder outside it (R23).

A checkpoint is made of chains that were walked from the one before it, so that no signature stands
under a chain that does not follow. The folder's copy is what a restored database cannot forget.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Self
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db.models import Budget, CheckpointRow, Discrepancy
from app.db.repositories import entries as entry_rows
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.checkpoints import (
    Checkpoint,
    Head,
    checkpoint_body,
    follow,
    heads_json,
    read_checkpoint,
    signed_bytes,
)
from app.domain.ledger import GENESIS_HASH, ChainFault, canonical_bytes
from app.services import signing
from app.services.signing import KeyRefused, PublicKey, SigningKey

log = logging.getLogger(__name__)

FILE_NAME: Final = "checkpoint-{seq:012d}.json"
FILES: Final = "checkpoint-*.json"
FILE_BYTES_MOST: Final = 64_000_000


class RootChainRefused(Exception):
    """The root chain cannot go on from where it stands; the text says why."""


@dataclass(frozen=True, slots=True)
class Made:
    """A new checkpoint, or None where nothing has moved or another process was first.

    faults: budgets whose chains do not follow; their heads stay where they were believed last.
    """

    checkpoint: Checkpoint | None
    faults: Mapping[UUID, ChainFault]


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Makes, keeps and reads checkpoints; safe in several processes, since numbers are unique.

    folder: outside the database. key_file: read anew each time, so that a rotation reaches all.
    """

    make_session: SessionMaker
    folder: Path
    key_file: Path

    def make(self, *, even_if_unmoved: bool = False) -> Made:
        """Sign where all ledgers stand now, if any has moved since the last checkpoint.

        even_if_unmoved: sign the same heads again at a later time, for records beside the ledger
            that stand at the time of a checkpoint.
        A key that was named and has signed nothing yet signs even where nothing has moved.

        Raises:
            KeyRefused: the key file is missing, open to others, or not the key of this chain.
            RootChainRefused: the database has fewer checkpoints than the folder, or a broken one.
        """
        return self._make(next_key=None, even_if_unmoved=even_if_unmoved)

    def key(self) -> SigningKey:
        """The key that signs next; what it signs begins with a tag of its kind.

        Raises:
            KeyRefused: as for `make`.
        """
        return self._key()

    def believed(self, seq: int) -> Checkpoint | None:
        """A checkpoint of the database that a key of ours has signed; None where there is none.

        Raises:
            RootChainRefused: its row is not what was signed.
        """
        with snapshot(self.make_session) as session:
            row = session.get(CheckpointRow, seq)
            return None if row is None else self._believed(row)

    def rotate(self) -> Checkpoint:
        """Let the old key name the next one, which signs at once and from then on (R23).

        Who holds the new key alone can verify nothing before it has signed. The next key lies
        beside the key file before the old one names it, so that a crash loses neither: `_key` ends
        a rotation that was signed, and the next `make` signs with the new key if this one did not.

        Returns:
            The checkpoint in which the old key names the new one.

        Raises:
            KeyRefused, RootChainRefused: as for `make`.
        """
        self._key()
        waiting = self._next_file
        # a file that no checkpoint named is of a rotation that never happened
        waiting.unlink(missing_ok=True)
        key = signing.create(waiting)
        made = self._make(next_key=key.public)
        if made.checkpoint is None:
            raise RootChainRefused("another process made a checkpoint meanwhile; rotate again")
        self.make()
        return made.checkpoint

    def signed(self) -> Self | None:
        """These, or None where no key was ever made to sign any."""
        return self if self.key_file.exists() else None

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint of the database."""
        with snapshot(self.make_session) as session:
            row = _last(session)
            return None if row is None else from_row(row)

    def newest_file(self) -> Checkpoint | None:
        """The newest checkpoint of the folder that is whole and signed by a key of ours."""
        for path in sorted(self.folder.glob(FILES), reverse=True):
            found = self._file(path)
            if found is not None:
                return found
        return None

    def is_behind_folder(self) -> bool:
        """Whether the folder tells of checkpoints that the database has not."""
        newest = self.newest_file()
        mine = self.newest()
        return newest is not None and (mine is None or mine.seq < newest.seq)

    def take_back(self) -> int:
        """Put checkpoints that the database has lost back into it, and say how many.

        Each is signed by a key of ours and names the one before it, so the root chain goes on as
        one and nobody can be shown two.
        """
        count = 0
        while (found := self._file(self._path(self._last_seq() + 1))) is not None:
            with transaction(self.make_session) as session:
                last = _last(session)
                if found.said["prev"] != (GENESIS_HASH if last is None else last.hash):
                    raise RootChainRefused(f"checkpoint {found.seq} of the folder does not follow")
                session.add(_row(found, now=database_now(session)))
            count += 1
        return count

    def write_missing(self) -> None:
        """Write the files that a crash left out, newest first, until one is there."""
        with snapshot(self.make_session) as session:
            for row in _backwards(session):
                if self._path(row.seq).exists():
                    return
                self._write(from_row(row))

    def drop_old(self, *, before_s: float) -> int:
        """Delete files from before a time, but never the newest nor one that names a key."""
        count = 0
        for path in sorted(self.folder.glob(FILES))[:-1]:
            if path.stat().st_mtime >= before_s:
                continue
            found = self._file(path)
            if found is None or "next_key" not in found.said:
                path.unlink()
                count += 1
        return count

    def known_keys(self) -> dict[str, PublicKey]:
        """Public keys of ours by their SHA-256: this one, and those that came before it.

        Raises:
            KeyRefused: one of the files cannot be used.
        """
        files = [self.key_file, *([self._next_file] if self._next_file.exists() else [])]
        keys = [signing.load(path).public for path in files]
        keys += map(signing.read_public, self.key_file.parent.glob(f"{self.key_file.name}.*.pub"))
        return {key.sha256: key for key in keys}

    @property
    def _next_file(self) -> Path:
        return self.key_file.with_name(self.key_file.name + ".next")

    def _path(self, seq: int) -> Path:
        return self.folder / FILE_NAME.format(seq=seq)

    def _last_seq(self) -> int:
        newest = self.newest()
        return 0 if newest is None else newest.seq

    def _key(self) -> SigningKey:
        """The key that signs next; a rotation that was signed and not ended is ended here."""
        key = signing.load(self.key_file)
        newest = self.newest()
        if newest is None:
            return key
        named = newest.said.get("next_key")
        if named is not None and PublicKey.from_base64(named) != key.public:
            waiting = signing.load(self._next_file)
            if waiting.public != PublicKey.from_base64(named):
                raise KeyRefused(f"{self._next_file} is not the key that the rotation named")
            name = f"{self.key_file.name}.{key.public.sha256[:16]}.pub"
            signing.write_whole(self.key_file.with_name(name), key.public.pem)
            self._next_file.replace(self.key_file)
            signing.sync_folder(self.key_file.parent)
            signing.write_public(self.key_file, waiting.public)
            return waiting
        if named is None and newest.said["key"] != key.public.sha256:
            raise KeyRefused(
                f"{self.key_file} is not the key of this ledger: the last checkpoint is signed by "
                f"{newest.said['key'][:16]}, and no rotation names another"
            )
        return key

    def _make(self, *, next_key: PublicKey | None, even_if_unmoved: bool = False) -> Made:
        if self.is_behind_folder():
            raise RootChainRefused("the database has fewer checkpoints than the folder outside it")
        key = self._key()
        with snapshot(self.make_session) as session:
            now = database_now(session)
            row = _last(session)
            last = None if row is None else self._believed(row)
            settled = _settled_heads(session)
            believed = () if last is None else last.heads
            heads, faults = _heads(session, tuple(h for h in believed if h not in settled))
        if last is not None and key.public.sha256 != _next_signer(last):
            # another process rotated between the two looks: what we hold signs nothing more
            return Made(None, faults)
        is_new = last is not None and key.public.sha256 != last.said["key"]
        is_asked = next_key is not None or is_new or even_if_unmoved
        if not is_asked and heads == (() if last is None else last.heads):
            return Made(None, faults)
        checkpoint = _signed(key, last, heads, next_key, now=now)
        try:
            with transaction(self.make_session) as session:
                session.add(_row(checkpoint, now=now))
        except IntegrityError:
            # its number is taken: another process was first, and the next one will see further
            return Made(None, faults)
        self.write_missing()
        return Made(checkpoint, faults)

    def _believed(self, row: CheckpointRow) -> Checkpoint:
        """A row whose signature is ours: what no key of ours has signed is built upon by nobody."""
        checkpoint = from_row(row)
        signer = self.known_keys().get(checkpoint.said["key"])
        message = signed_bytes(checkpoint.body.encode())
        if signer is None or not signer.verifies(checkpoint.signature, message):
            raise RootChainRefused(f"checkpoint {row.seq} of the database is not signed by us")
        return checkpoint

    def _write(self, checkpoint: Checkpoint) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        signing.write_whole(self._path(checkpoint.seq), canonical_bytes(checkpoint.to_json()))

    def _file(self, path: Path) -> Checkpoint | None:
        try:
            if path.stat().st_size > FILE_BYTES_MOST:
                return None
            found = read_checkpoint(json.loads(path.read_bytes()))
        except (OSError, ValueError, RecursionError) as error:
            if not isinstance(error, FileNotFoundError):
                log.warning("checkpoint.unreadable file=%s", path.name)
            return None
        signer = self.known_keys().get(found.said["key"])
        if (
            signer is None
            or self._path(found.seq) != path
            or not signer.verifies(found.signature, signed_bytes(found.body.encode()))
        ):
            log.warning("checkpoint.not_ours file=%s", path.name)
            return None
        return found


def from_row(row: CheckpointRow) -> Checkpoint:
    """A stored checkpoint.

    Raises:
        RootChainRefused: the row is not one.
    """
    document = {"body": row.body, "signature": row.signature, "heads": row.heads}
    try:
        return read_checkpoint(document)
    except ValueError as error:
        raise RootChainRefused(f"checkpoint {row.seq}: {error}") from None


def _last(session: Session) -> CheckpointRow | None:
    return session.scalars(
        select(CheckpointRow).order_by(CheckpointRow.seq.desc()).limit(1)
    ).one_or_none()


def _next_signer(last: Checkpoint) -> str:
    """The fingerprint of the one key that may sign after a checkpoint."""
    named = last.said.get("next_key")
    return str(last.said["key"]) if named is None else PublicKey.from_base64(named).sha256


def _backwards(session: Session) -> Iterator[CheckpointRow]:
    seq = None
    while True:
        statement = select(CheckpointRow).order_by(CheckpointRow.seq.desc()).limit(1)
        if seq is not None:
            statement = statement.where(CheckpointRow.seq < seq)
        row = session.scalars(statement).one_or_none()
        if row is None:
            return
        yield row
        seq = row.seq


def _row(checkpoint: Checkpoint, *, now: datetime) -> CheckpointRow:
    return CheckpointRow(
        seq=checkpoint.seq,
        body=checkpoint.body,
        hash=checkpoint.hash,
        signature=checkpoint.signature,
        heads=heads_json(checkpoint.heads),
        created_at=now,
    )


def _signed(
    key: SigningKey,
    last: Checkpoint | None,
    heads: tuple[Head, ...],
    next_key: PublicKey | None,
    *,
    now: datetime,
) -> Checkpoint:
    body = checkpoint_body(
        seq=1 if last is None else last.seq + 1,
        previous_hash=GENESIS_HASH if last is None else last.hash,
        at=now,
        heads=heads,
        key_sha256=key.public.sha256,
        next_key=None if next_key is None else next_key.base64,
    )
    return Checkpoint(body.decode(), key.sign(signed_bytes(body)), heads)


def _settled_heads(session: Session) -> set[Head]:
    """Heads that a restored database has lost, and two people have settled (R22).

    Their chains go on from what is left, and are walked from genesis once more.
    """
    rows = session.scalars(select(Discrepancy).where(Discrepancy.approval_id.is_not(None)))
    return {
        Head(each["budget_id"], each["seq"], each["hash"])
        for row in rows
        for each in row.evidence["missing"]
        if each["kind"] == "head"
    }


def _heads(
    session: Session, believed: tuple[Head, ...]
) -> tuple[tuple[Head, ...], dict[UUID, ChainFault]]:
    """Where each chain stands, walked from the head that was signed last."""
    known = {head.budget_id: head for head in believed}
    heads: dict[str, Head] = {}
    faults: dict[UUID, ChainFault] = {}
    statement = select(Budget.id, Budget.last_seq, Budget.head_hash).where(Budget.last_seq > 0)
    for budget_id, seq, digest in session.execute(statement).all():
        name = str(budget_id)
        last = known.get(name)
        if last is not None and (last.seq, last.hash) == (seq, digest):
            heads[name] = last
            continue
        after = 0 if last is None else last.seq
        reached = follow(name, entry_rows.chain(session, budget_id, after_seq=after), last)
        if isinstance(reached, Head) and (reached.seq, reached.hash) != (seq, digest):
            reached = ChainFault(reached.seq, "the chain ends elsewhere than at the budget's head")
        if isinstance(reached, ChainFault):
            faults[budget_id] = reached
        else:
            heads[name] = reached
    # a chain that does not follow, or is gone, keeps the head that was believed last
    return tuple(sorted((known | heads).values())), faults
