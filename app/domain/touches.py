"""The lines of the witness journal: what was started, told outside the database (R22).

A line is canonical JSON that names the hash of the line before it, so an edit shows. It holds ids
and public parameters, enough to charge the touch again where the database has forgotten it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.domain.ledger import GENESIS_HASH, canonical_bytes

TOUCH_TAG = b"epsilon-ledger/touch/1\n"
TOUCH_VERSION = 1
LINE_BYTES_MOST = 1_000_000
FIELDS = frozenset(
    {
        "v",
        "prev",
        "at",
        "reservation",
        "part",
        "started_units",
        "max_units",
        "mechanism",
        "price",
        "fence",
        "budgets",
        "hash",
    }
)


@dataclass(frozen=True, slots=True)
class Touch:
    """Units of one part of a reservation that were made durable as started.

    started_units: cumulative. max_units: what the reservation holds of this part.
    mechanism, price: of one unit, the price by digest. budgets: every scope that is charged.
    """

    reservation: str
    part: int
    started_units: int
    max_units: int
    mechanism: Mapping[str, Any]
    price: str
    fence: int
    budgets: tuple[str, ...]
    at: str


@dataclass(frozen=True, slots=True)
class Journal:
    """One journal file as it was read.

    fault: why it cannot be believed whole; None where it can. A last line that is torn is no
        fault: nobody read a row before his line was on the disk.
    """

    touches: tuple[Touch, ...]
    fault: str | None


def touch_line(touch: Touch, previous_hash: str) -> tuple[bytes, str]:
    """The line of a touch, and its hash for the next one."""
    document = {
        "v": TOUCH_VERSION,
        "prev": previous_hash,
        "at": touch.at,
        "reservation": touch.reservation,
        "part": touch.part,
        "started_units": touch.started_units,
        "max_units": touch.max_units,
        "mechanism": dict(touch.mechanism),
        "price": touch.price,
        "fence": touch.fence,
        "budgets": list(touch.budgets),
    }
    digest = _hash(document)
    return canonical_bytes({**document, "hash": digest}) + b"\n", digest


def read_journal(lines: Iterable[bytes]) -> Journal:
    """All touches of one file that can be read, and the first thing that is wrong with it.

    lines: as a file gives them, each with its line end but for a last one that is torn.
    """
    touches: list[Touch] = []
    fault: str | None = None
    previous, waiting = GENESIS_HASH, None
    for number, line in enumerate(lines, start=1):
        if waiting is not None:
            # what cannot be read and is not the last line was not torn by a crash
            fault = fault or waiting
            waiting = None
        read = _read(line)
        if read is None:
            waiting = f"line {number} cannot be read"
            continue
        touch, named, digest = read
        if named != previous:
            fault = fault or f"line {number} does not follow the one before it"
        touches.append(touch)
        previous = digest
    return Journal(tuple(touches), fault)


def _read(line: bytes) -> tuple[Touch, str, str] | None:
    if not line.endswith(b"\n") or len(line) > LINE_BYTES_MOST:
        return None
    try:
        document = json.loads(line)
        if set(document) != FIELDS or canonical_bytes(document) + b"\n" != line:
            return None
        digest, previous = document.pop("hash"), document.pop("prev")
        if digest != _hash({**document, "prev": previous}):
            return None
        if document.pop("v") != TOUCH_VERSION or not _is_shaped(document):
            return None
        document["budgets"] = tuple(document["budgets"])
        return Touch(**document), previous, digest
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _is_shaped(document: Mapping[str, Any]) -> bool:
    numbers = [document[name] for name in ("part", "started_units", "max_units", "fence")]
    texts = [document["price"], document["at"]]
    ids = [document["reservation"], *document["budgets"]]
    return (
        all(isinstance(number, int) and number >= 0 for number in numbers)
        and all(isinstance(text, str) for text in texts)
        and all(str(UUID(each)) == each for each in ids)
        and isinstance(document["mechanism"], Mapping)
    )


def _hash(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(TOUCH_TAG + canonical_bytes(document)).hexdigest()
