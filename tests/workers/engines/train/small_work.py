"""A small training job on a file of its own, and a ledger that remembers what was said to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from app.domain.columns import Column
from app.domain.datasets import Dataset, Source, UnitOfPrivacy
from app.domain.training import parse_training
from app.domain.training.offer import OURS, Offer
from tests.training_document import training_document
from workers.engines.api import Input, JobCancelled, ReservedPart, Work

COLUMNS = (
    Column("width", "float64", low=Decimal(0), high=Decimal(1)),
    Column("height", "float64", low=Decimal(0), high=Decimal(1)),
    Column("kind", "int64", domain=(0, 1), domain_source="public"),
)
DATASET = Dataset(
    *("d1", "leaves", "private", COLUMNS, Source("demo", "leaves.csv", "csv")),
    *(UnitOfPrivacy("record"), "add_remove", 2000),
)
SPEC = training_document(
    ["width", "height"],
    "kind",
    normalise_by=100,
    steps=6,
    chunk_steps=3,
    optimizer={"name": "sgd", "learning_rate": 1.0},
    audit={"canaries": 1000},
)


def small_work(
    folder: Path,
    records: int = 200,
    *,
    offer: Offer = OURS,
    public: Mapping[str, Input] | None = None,
    **changes: Any,
) -> Work:
    """A job whose first class is wide and whose second is high."""
    file = folder / "leaves.csv"
    rows = [f"{(k % 2) * 0.8 + 0.1},{(1 - k % 2) * 0.7 + 0.2},{k % 2}" for k in range(records)]
    file.write_text("\n".join(["width,height,kind", *rows]) + "\n")
    return work_of(SPEC | changes, DATASET, file, folder / "scratch", offer=offer, public=public)


def work_of(
    document: Mapping[str, Any],
    dataset: Dataset,
    file: Path,
    scratch: Path,
    *,
    offer: Offer = OURS,
    public: Mapping[str, Input] | None = None,
) -> Work:
    """A job of a spec on one file, as a worker would claim it."""
    datasets = {name: each.dataset for name, each in (public or {}).items()}
    spec = parse_training(document, dataset, datasets, offer=offer)
    scratch.mkdir(exist_ok=True)
    return Work(
        job_id=UUID(int=1),
        kind="train",
        spec=spec.to_json(),
        inputs=(Input(dataset, 1, file),),
        parts=tuple(ReservedPart(part.mechanism, part.max_units) for part in spec.parts()),
        salt=bytes(16),
        scratch=scratch,
        public=public or {},
    )


@dataclass
class Ledger:
    """What was started, in order; a stop may be asked for at one of the starts."""

    started: list[tuple[int, int]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    cancel_at: tuple[int, int] | None = None

    def start(self, part: int, started_units: int) -> None:
        """Durable from here on."""
        if (part, started_units) == self.cancel_at:
            raise JobCancelled
        self.started.append((part, started_units))

    def progress(self, fields: Mapping[str, Any]) -> None:
        """Kept."""
        self.rows.append(dict(fields))
