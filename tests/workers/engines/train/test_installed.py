"""A run of an installed model: examined once more for its own options, before a row is read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from safetensors.torch import load_file

from app.domain.columns import Column
from app.domain.datasets import Dataset, Source, UnitOfPrivacy
from app.domain.training import parse_training
from app.domain.training.offer import Offer
from app.services.models import read_installed
from tests.installing import install, reached
from workers.engines.api import EngineRefused, Input, ReservedPart, Work
from workers.engines.train.engine import TrainingEngine

COLUMNS = (
    Column("x", "float64", low=Decimal(0), high=Decimal(1)),
    Column("y", "int64", domain=(0, 1), domain_source="public"),
)
DATASET = Dataset(
    *("d", "rows", "private", COLUMNS, Source("files", "rows.csv", "csv")),
    *(UnitOfPrivacy("record"), "add_remove", 20),
)


@dataclass
class _Ledger:
    """Remembers what was started."""

    started: list[int] = field(default_factory=list)

    def start(self, part: int, started_units: int) -> None:
        self.started.append(started_units)

    def progress(self, fields: Mapping[str, Any]) -> None:
        """Nobody looks."""


@pytest.fixture
def offer(tmp_path: Path) -> Iterator[Offer]:
    install(tmp_path / "packages")
    with reached(tmp_path / "packages"):
        yield Offer(read_installed().models)


def _work(folder: Path, name: str, offer: Offer) -> Work:
    file = folder / "rows.csv"
    file.write_text("x,y\n" + "".join(f"0.{n},{n % 2}\n" for n in range(10)))
    document = {
        "v": 1,
        "algorithm": "dp_sgd",
        "model": {"name": name},
        "features": ["x"],
        "label": "y",
        "loss": "cross_entropy",
        "sampling": {"kind": "poisson", "rate": "0.5"},
        "steps": 3,
        "clip": {"mode": "flat", "norm_l2": "1"},
        "noise": {"noise_multiplier": "2"},
        "optimizer": {"name": "sgd", "learning_rate": 0.5},
        "audit": None,
    }
    spec = parse_training(document, DATASET, {}, offer=offer)
    scratch = folder / "scratch"
    scratch.mkdir()
    return Work(
        job_id=UUID(int=1),
        kind="train",
        spec=spec.to_json(),
        inputs=(Input(DATASET, 1, file),),
        parts=tuple(ReservedPart(part.mechanism, part.max_units) for part in spec.parts()),
        salt=bytes(16),
        scratch=scratch,
    )


def test_an_installed_model_trains_and_is_released(offer: Offer, tmp_path: Path) -> None:
    work, ledger = _work(tmp_path, "tried_good", offer), _Ledger()
    outcome = TrainingEngine(offer=offer).prepare(work).run(ledger)
    assert ledger.started == [3]
    assert outcome.result["steps_run"] == 3
    state = load_file(work.scratch / "model.safetensors")
    assert tuple(state["first.weight"].shape) == (4, 1)
    assert float(state["last.weight"].abs().sum()) > 0


@pytest.mark.parametrize(
    "name", ["tried_batch_norm", "tried_batch_mean", "tried_uncovered", "tried_memory"]
)
def test_a_model_that_mixes_rows_is_refused_before_anything_is_started(
    offer: Offer, tmp_path: Path, name: str
) -> None:
    with pytest.raises(EngineRefused):
        TrainingEngine(offer=offer).prepare(_work(tmp_path, name, offer))


def test_a_worker_where_the_package_is_not_installed_refuses_the_job(
    offer: Offer, tmp_path: Path
) -> None:
    work = _work(tmp_path, "tried_good", offer)
    with pytest.raises(EngineRefused, match="not valid"):
        TrainingEngine().prepare(work)
