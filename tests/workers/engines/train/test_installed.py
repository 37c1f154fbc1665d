"""A run of an installed model: examined once more for its own options, before a row is read."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from app.domain.training.offer import Offer
from app.services.models import read_installed
from tests.installing import install, reached
from tests.workers.engines.train.small_work import Ledger, small_work
from workers.engines.api import EngineRefused
from workers.engines.train.engine import TrainingEngine


@pytest.fixture
def offer(tmp_path: Path) -> Iterator[Offer]:
    install(tmp_path / "packages")
    with reached(tmp_path / "packages"):
        yield Offer(read_installed().models)


def test_an_installed_model_trains_and_is_released(offer: Offer, tmp_path: Path) -> None:
    work, ledger = small_work(tmp_path, offer=offer, model={"name": "tried_good"}), Ledger()
    outcome = TrainingEngine(offer=offer).prepare(work).run(ledger)
    assert ledger.started == [(0, 3), (0, 6)]
    assert outcome.result["steps_run"] == 6
    state = load_file(work.scratch / "model.safetensors")
    assert tuple(state["first.weight"].shape) == (4, 2)
    assert float(state["last.weight"].abs().sum()) > 0


@pytest.mark.parametrize(
    "name", ["tried_batch_norm", "tried_batch_mean", "tried_uncovered", "tried_memory"]
)
def test_a_model_that_mixes_rows_is_refused_before_anything_is_started(
    offer: Offer, tmp_path: Path, name: str
) -> None:
    with pytest.raises(EngineRefused):
        TrainingEngine(offer=offer).prepare(small_work(tmp_path, offer=offer, model={"name": name}))


def test_a_worker_where_the_package_is_not_installed_refuses_the_job(
    offer: Offer, tmp_path: Path
) -> None:
    work = small_work(tmp_path, offer=offer, model={"name": "tried_good"})
    with pytest.raises(EngineRefused, match="not valid"):
        TrainingEngine().prepare(work)
