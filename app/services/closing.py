"""Which blocks a new version closes, and that it leaves the old rows alone (R8).

Checked: blocks close in order and for ever, none before its end and its grace have passed; where
blocks are of time, a version names a file of its own, which holds its new rows, and no content that
an earlier version declared. Declared by the officer: that those rows are new, that no row of the
closed blocks will come later, and, by `sha256`, what the file holds. A row that comes late all the
same lies in the first block that was open when it came. No row is read here.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import DatasetRow, DatasetVersion
from app.domain.datasets import Dataset, Source
from app.domain.errors import InvalidParameter, SourceAlreadyRegistered
from app.domain.partitions import HashBlocks, TimeBlocks


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What an officer says of a version's file.

    closes_through: the last block, counted from 0, that no later row belongs to; None closes no
        further one. sha256: of the file's content. no_line_breaks_in_texts: of a CSV file, which
        is read line by line.
    """

    closes_through: int | None = None
    sha256: str | None = None
    no_line_breaks_in_texts: bool = False

    def words(self) -> dict[str, Any]:
        """What stands on the officer's word alone, for the trail."""
        return {"no_line_breaks_in_texts": True} if self.no_line_breaks_in_texts else {}


NOTHING_STATED: Final = VersionFacts()


def closed_blocks(dataset: Dataset, asked: VersionFacts, *, before: int, now: datetime) -> int:
    """How many blocks, from the first on, are closed in a new version.

    Args:
        dataset: as it was declared.
        asked: what the version closes.
        before: how many are closed in the version before it.
        now: by the database's clock.

    Raises:
        InvalidParameter: a block that has not ended, its grace included; one that was closed
            before; a dataset without time blocks.
    """
    pointer, blocks = "/closes_through", dataset.blocks
    if not isinstance(blocks, TimeBlocks):
        if asked.closes_through is not None:
            raise InvalidParameter(pointer, "only blocks of time are closed")
        return blocks.count if isinstance(blocks, HashBlocks) else 0
    if asked.closes_through is None:
        return before
    closed, closable = asked.closes_through + 1, blocks.closable(now)
    if closed < before:
        raise InvalidParameter(pointer, f"block {before - 1} is closed, and stays so")
    if closed > closable:
        last = "no block has" if not closable else f"blocks up to {closable - 1} have"
        raise InvalidParameter(pointer, f"{last} ended, with the days of grace")
    return closed


def require_new_rows(
    session: Session, row: DatasetRow, dataset: Dataset, source: Source, sha256: str | None
) -> None:
    """Refuse a version that would change what earlier ones hold, as far as that can be seen.

    Raises:
        SourceAlreadyRegistered: time blocks, and an earlier version has this content.
        InvalidParameter: hash blocks, and another format, in which an id may be written otherwise.
    """
    if isinstance(dataset.blocks, HashBlocks) and source.format != dataset.source.format:
        raise InvalidParameter("/format", "users are hashed as they are written; keep the format")
    if isinstance(dataset.blocks, TimeBlocks) and sha256 is not None:
        known = select(DatasetVersion.version).where(
            DatasetVersion.dataset_id == row.id, DatasetVersion.sha256 == sha256
        )
        if session.scalar(known.limit(1)) is not None:
            raise SourceAlreadyRegistered(reason="an earlier version holds these rows")
