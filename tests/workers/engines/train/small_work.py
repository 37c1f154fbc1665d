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
SPEC: dict[str, Any] = {
    "v": 1,
    "algorithm": "dp_sgd",
    "model": {"name": "logistic"},
    "features": ["width", "height"],
    "label": "kind",
    "loss": "cross_entropy",
    "sampling": {"kind": "poisson", "rate": "0.5"},
    "normalise_by": 100,
    "steps": 6,
    "chunk_steps": 3,
    "clip": {"mode": "flat", "norm_l2": "1"},
    "noise": {"noise_multiplier": "2"},
    "optimizer": {"name": "sgd", "learning_rate": 1.0},
    "audit": {"canaries": 1000},
}


def small_work(folder: Path, records: int = 200, **changes: Any) -> Work:
    """A job whose first class is wide and whose second is high."""
    file = folder / "leaves.csv"
    rows = [f"{(k % 2) * 0.8 + 0.1},{(1 - k % 2) * 0.7 + 0.2},{k % 2}" for k in range(records)]
    file.write_text("\n".join(["width,height,kind", *rows]) + "\n")
    spec = parse_training(SPEC | changes, DATASET, {})
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return Work(
        job_id=UUID(int=1),
        kind="train",
        spec=spec.to_json(),
        inputs=(Input(DATASET, 1, file),),
        parts=tuple(ReservedPart(part.mechanism, part.max_units) for part in spec.parts()),
        salt=bytes(16),
        scratch=scratch,
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
