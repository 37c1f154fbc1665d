"""Bundles: the whole ledger as lines that anyone can check without the service (R23).

JSON lines in canonical form: a header, the prices by digest, the entries budget by budget in chain
order, the signed checkpoints with the heads that each of them saw, and a last line that covers all
of it. One snapshot, streamed: memory does not grow with the ledger. No rows, no names: ids alone.

A bundle ends where the newest checkpoint does, so that every entry in it is signed for; what came
after is left for the next one, unless it is asked for.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.models import CheckpointRow, Entry, PriceRow
from app.db.session import SessionMaker, database_now, snapshot
from app.domain.errors import NotFound
from app.domain.ledger import canonical_bytes, time_text
from app.services import access
from app.services.access import Caller

BUNDLE_VERSION: Final = 1
BUNDLE_KIND: Final = "epsilon-ledger/bundle"
ROWS_AT_ONCE: Final = 1000
CHUNK_BYTES: Final = 2**16


@dataclass(frozen=True, slots=True)
class Exports:
    """Use cases on bundles."""

    make_session: SessionMaker

    def bundle(self, caller: Caller, *, with_tail: bool = False) -> Iterator[bytes]:
        """The bundle in chunks of whole lines; the role is asked before anything is read.

        Args:
            caller: an auditor or a compliance officer.
            with_tail: also what no checkpoint covers yet.

        Raises:
            NotAllowed: neither of the two.
        """
        access.require_role(caller, "auditor", "compliance_officer", action="export the ledger")
        return chunks(lines(self.make_session, with_tail=with_tail))

    def checkpoint(self, caller: Caller) -> dict[str, Any]:
        """The newest checkpoint as its row has it: a reader checks it by himself.

        Raises:
            NotAllowed: neither an auditor nor a compliance officer.
            NotFound: none was ever signed.
        """
        access.require_role(caller, "auditor", "compliance_officer", action="read a checkpoint")
        with snapshot(self.make_session) as session:
            row = session.scalar(select(CheckpointRow).order_by(CheckpointRow.seq.desc()).limit(1))
            if row is None:
                raise NotFound("checkpoint", "newest")
            return {
                "seq": row.seq,
                "at": row.created_at.isoformat(),
                "body": row.body,
                "hash": row.hash,
                "signature": row.signature,
                "heads": [
                    {"budget_id": budget, "seq": seq, "hash": digest}
                    for budget, seq, digest in row.heads
                ],
            }


def lines(make_session: SessionMaker, *, with_tail: bool = False) -> Iterator[bytes]:
    """The lines of a bundle of the whole ledger, each with its end."""
    with snapshot(make_session) as session:
        yield from _with_end(_lines(session, with_tail=with_tail))


def chunks(bundle: Iterable[bytes]) -> Iterator[bytes]:
    """Lines in pieces that are worth sending."""
    waiting, size = [], 0
    for line in bundle:
        waiting.append(line)
        size += len(line)
        if size >= CHUNK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def price_line(document: dict[str, Any]) -> bytes:
    """One price; its digest is that of its facts."""
    return canonical_bytes({"price": {"digest": document["digest"], "document": document}}) + b"\n"


def entry_line(budget_id: str, seq: int, body: str, entry_hash: str) -> bytes:
    """One entry: the very bytes that were hashed, and where they stand."""
    text = f'{{"entry":{{"body":{body},"budget":"{budget_id}","hash":"{entry_hash}","seq":{seq}}}}}'
    return text.encode("utf-8", "surrogatepass") + b"\n"


def checkpoint_line(body: str, heads: list[list[Any]], signature: str) -> bytes:
    """One checkpoint: the very bytes that were signed, the heads of its root, and the signature."""
    text = json.dumps(heads, separators=(",", ":"))
    line = f'{{"checkpoint":{{"body":{body},"heads":{text},"signature":"{signature}"}}}}'
    return line.encode() + b"\n"


def _lines(session: Session, *, with_tail: bool) -> Iterator[tuple[bytes, bytes]]:
    """Each line with what stands for it in the last one."""
    newest = session.scalar(select(CheckpointRow.heads).order_by(CheckpointRow.seq.desc()).limit(1))
    ends = None if newest is None or with_tail else {head[0]: head[1] for head in newest}
    header = {
        "v": BUNDLE_VERSION,
        "kind": BUNDLE_KIND,
        "made_at": time_text(database_now(session)),
        "counts": _counts(session, ends),
    }
    yield _itself(canonical_bytes(header) + b"\n")
    prices = select(PriceRow.document).order_by(PriceRow.digest)
    for (document,) in _streamed(session, prices):
        yield _itself(price_line(document))
    entries = select(Entry.budget_id, Entry.seq, Entry.body, Entry.hash)
    for budget_id, seq, body, digest in _streamed(
        session, entries.order_by(Entry.budget_id, Entry.seq)
    ):
        budget = str(budget_id)
        if ends is None or seq <= ends.get(budget, 0):
            # the hash stands for the entry: it covers the body, and a reader compares the rest
            yield entry_line(budget, seq, body, digest), digest.encode()
    checkpoints = select(CheckpointRow.body, CheckpointRow.heads, CheckpointRow.signature)
    for body, heads, signature in _streamed(session, checkpoints.order_by(CheckpointRow.seq)):
        yield _itself(checkpoint_line(body, heads, signature))


def _counts(session: Session, ends: dict[str, int] | None) -> dict[str, int]:
    if ends is None:
        entries = session.scalar(select(func.count()).select_from(Entry)) or 0
        budgets = session.scalar(select(func.count(Entry.budget_id.distinct()))) or 0
    else:
        entries, budgets = sum(ends.values()), len(ends)
    return {
        "budgets": budgets,
        "checkpoints": session.scalar(select(func.count()).select_from(CheckpointRow)) or 0,
        "entries": entries,
        "prices": session.scalar(select(func.count()).select_from(PriceRow)) or 0,
    }


def _streamed(session: Session, statement: Any) -> Iterator[Any]:
    """Rows as the database sends them, a bounded number at a time."""
    return iter(session.execute(statement.execution_options(yield_per=ROWS_AT_ONCE)))


def _itself(line: bytes) -> tuple[bytes, bytes]:
    return line, line


def _with_end(bundle: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """All lines and the last one, which says how many there are and hashes what stands for them."""
    written, count = hashlib.sha256(), 1
    for line, stands_for_it in bundle:
        written.update(stands_for_it)
        count += 1
        yield line
    yield canonical_bytes({"end": {"lines": count, "sha256": written.hexdigest()}}) + b"\n"
