"""A resumed run is the run it was, with fresh draws; what it keeps undoes no noise (R14, L7)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from app.domain.columns import Column
from app.domain.datasets import Dataset, Source, UnitOfPrivacy
from app.domain.jobs import NamedCheckpoint
from app.domain.training import parse_training
from app.domain.training.models import ModelSpec
from app.domain.training.spec import AuditSpec, OptimizerSpec
from kernels.noise.source import NoiseSource
from tests.workers.engines.train import runs
from workers.engines.api import EngineRefused, Input, JobCancelled, Outcome, ReservedPart, Work
from workers.engines.checkpoint_folder import CheckpointFolder
from workers.engines.train.checkpoints import DoesNotFit, RunState
from workers.engines.train.engine import TrainingEngine
from workers.engines.train.optimizers import make_optimizer

X = Column("x", "float64", low=Decimal(0), high=Decimal(1))
Y = Column("y", "int64", domain=(0, 1), domain_source="public")
PRIVATE = Dataset(
    "d1",
    "table",
    "private",
    (X, Y),
    Source("demo", "rows.csv", "csv"),
    UnitOfPrivacy("record"),
    "add_remove",
    4000,
)
SPEC: dict[str, Any] = {
    "v": 1,
    "algorithm": "dp_sgd",
    "model": {"name": "mlp", "hidden": [3], "classes": 2},
    "features": ["x"],
    "label": "y",
    "loss": "cross_entropy",
    "sampling": {"kind": "poisson", "rate": "1"},
    "steps": 60,
    "clip": {"mode": "flat", "norm_l2": "1"},
    "noise": {"noise_multiplier": "1.5"},
    "optimizer": {"name": "sgd", "learning_rate": 0.5, "momentum": 0.9},
    "chunk_steps": 10,
    "checkpoint_every_steps": 20,
    "audit": {"canaries": 1000, "delta": "1e-5"},
}
ADAM = {
    "name": "adam",
    "learning_rate": 0.01,
    "noise_bias_correction": True,
    "schedule": {"name": "cosine", "warm_up_steps": 5},
}


class Killed(BaseException):
    """kill -9, as far as the engine can see it."""


@dataclass
class Ledger:
    """Lets units start, up to where the worker is killed or the job is stopped."""

    killed_at: int | None = None
    stopped_at: int | None = None
    started: list[int] = field(default_factory=list)
    has_look: bool = False
    looks: int = 0

    def start(self, part: int, started_units: int) -> None:
        if self.has_look and part == 0:
            self.looks += 1
            return
        assert part == int(self.has_look)
        if self.stopped_at is not None and started_units >= self.stopped_at:
            raise JobCancelled
        self.started.append(started_units)
        if self.killed_at is not None and started_units >= self.killed_at:
            raise Killed

    def progress(self, fields: Any) -> None:
        pass


class Repeating(NoiseSource):
    """Noise that is the same for the same step of any run; never for a private row."""

    def add_gaussian_(
        self, sums: Sequence[Tensor], standard_deviation: float, *, stream: int, step: int
    ) -> None:
        draw = torch.Generator().manual_seed(1000 * stream + step)
        for total in sums:
            total.add_(torch.randn(total.shape, generator=draw), alpha=standard_deviation)


@dataclass
class Job:
    """A job's row and folders, claim after claim."""

    home: Path
    changes: dict[str, Any] = field(default_factory=dict)
    named: list[NamedCheckpoint] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    stopping: bool = False
    fence: int = 0

    def work(self, *started_units: int) -> Work:
        self.fence += 1
        scratch = self.home / f"scratch-{self.fence}"
        scratch.mkdir(parents=True)
        rows = self.home / "rows.csv"
        rows.write_text("x,y\n0.1,0\n0.9,1\n0.4,0\n0.7,1\n")
        spec = parse_training(SPEC | self.changes, PRIVATE, {})
        parts = spec.parts()
        started_units = started_units or (0,) * len(parts)
        return Work(
            job_id=UUID(int=1),
            kind="train",
            spec=spec.to_json(),
            inputs=(Input(PRIVATE, 1, rows),),
            parts=tuple(
                ReservedPart(part.mechanism, part.max_units, started)
                for part, started in zip(parts, started_units, strict=True)
            ),
            salt=bytes(16),
            scratch=scratch,
            checkpoints=CheckpointFolder(
                folder=self.home / "kept",
                fence=self.fence,
                named=tuple(self.named),
                started_units=started_units,
                name=self._name,
                is_stopping=lambda: self.stopping,
            ),
        )

    def _name(self, checkpoint: NamedCheckpoint) -> list[NamedCheckpoint]:
        self.named = [*self.named, checkpoint][-2:]
        self.kept.append(checkpoint.started_units[-1])
        return self.named

    def run(
        self,
        ledger: Ledger,
        *,
        started: int | tuple[int, ...] = 0,
        noise: type[NoiseSource] = NoiseSource,
    ) -> tuple[Outcome, dict[str, Tensor], dict[str, Any]]:
        """What is released: the result, the weights and the card."""
        work = self.work(*(started if isinstance(started, tuple) else (started,)))
        outcome = TrainingEngine(noise).prepare(work).run(ledger)
        card = json.loads((work.scratch / "card.json").read_text())
        return outcome, load_file(work.scratch / "model.safetensors"), card

    def killed(self, at: int, *, noise: type[NoiseSource] = NoiseSource) -> None:
        with pytest.raises(Killed):
            self.run(Ledger(killed_at=at), noise=noise)


@pytest.mark.parametrize("optimizer", [SPEC["optimizer"], ADAM])
@pytest.mark.parametrize("mode", ["flat", "per_layer"])
def test_a_run_that_goes_on_makes_the_very_weights_of_one_that_was_never_interrupted(
    tmp_path: Path, optimizer: dict[str, Any], mode: str
) -> None:
    changes = {"optimizer": optimizer, "clip": {"mode": mode, "norm_l2": "1"}}
    whole = Job(tmp_path / "whole", changes)
    _, unbroken, _ = whole.run(Ledger(), noise=Repeating)
    broken = Job(tmp_path / "broken", changes)
    broken.killed(50, noise=Repeating)
    # the fault is planted where nothing is lost: 40 steps were started, and all 40 were kept
    outcome, resumed, _ = broken.run(Ledger(), started=40, noise=Repeating)
    assert outcome.result["steps_run"] == 60
    assert all(torch.equal(resumed[name], unbroken[name]) for name in unbroken)
    assert any(bool(value.abs().max() > 0) for value in unbroken.values())


def test_steps_since_the_last_checkpoint_are_lost_and_the_card_says_so(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.killed(50)
    ledger = Ledger()
    outcome, _, card = job.run(ledger, started=50)
    assert ledger.started == [60]
    assert outcome.result["steps_run"] == 50
    training = card["training"]
    assert training["steps_reserved"] == training["steps_started"] == 60
    assert training["steps_that_shaped_the_model"] == 50
    # the canaries went through the steps that shaped the model, those of both claims
    assert card["audit"]["steps"] == 50
    assert all(0.9 < ratio < 1.1 for ratio in card["audit"]["noise_ratios"])


def test_canaries_keep_their_coins_and_what_they_have_seen(tmp_path: Path) -> None:
    asked = runs.spec(audit=AuditSpec(1000, Decimal("1e-5")))
    first, second = (runs.gradients(asked) for _ in range(2))
    table = runs.table(20)
    for step in range(1, 6):
        first.step(table, step)
    before, after = first.canaries, second.canaries
    assert before is not None
    assert after is not None
    assert not torch.equal(before.seen()["others"], after.seen()["others"])
    state(first, asked.optimizer, steps_run=5).save(tmp_path)
    state(second, asked.optimizer).load(tmp_path)
    assert (before.scores().members == after.scores().members).all()
    assert (before.scores().others == after.scores().others).all()
    assert before.noise() == after.noise()
    second.step(table, 1)
    assert after.noise()[0].count == 6 * int(before.seen()["others"].sum())


def state(found: Any, optimizer: OptimizerSpec, steps_run: int = 0) -> RunState:
    model = found.private.model
    return RunState(
        model,
        make_optimizer(optimizer, list(model.parameters())),
        found.canaries,
        Decimal(1),
        steps_run,
    )


@pytest.mark.parametrize("model", runs.MODELS, ids=lambda model: model.name)
@pytest.mark.parametrize(
    "optimizer",
    [OptimizerSpec("sgd", 0.1), OptimizerSpec("sgd", 0.1, 0.9), OptimizerSpec("adam", 0.01)],
)
def test_every_model_and_optimizer_reads_back_as_it_was(
    tmp_path: Path, model: ModelSpec, optimizer: OptimizerSpec
) -> None:
    asked = runs.spec(model=model, optimizer=optimizer)
    first, second = (runs.gradients(asked) for _ in range(2))
    written, read = state(first, optimizer), state(second, optimizer)
    for step in (1, 2):
        first.step(runs.table(8, model), step)
        written.optimizer.step()
    written.steps_run = 2
    written.save(tmp_path)
    read.load(tmp_path)
    assert read.steps_run == 2
    for one, other in zip(
        first.private.model.parameters(), second.private.model.parameters(), strict=True
    ):
        assert torch.equal(one, other)
        other.grad = None if one.grad is None else one.grad.clone()
    # and the next step is the same one
    for each in (written, read):
        each.optimizer.step()
    for one, other in zip(
        first.private.model.parameters(), second.private.model.parameters(), strict=True
    ):
        assert torch.equal(one, other)


class Remembered(NoiseSource):
    """Real noise whose key the test sees."""

    keys: list[bytes] = []  # noqa: RUF012 - the test's own

    def __init__(self) -> None:
        super().__init__()
        self.keys.append(self._key)


def test_no_key_is_ever_in_a_checkpoint_and_no_claim_has_the_key_of_another(
    tmp_path: Path,
) -> None:
    Remembered.keys.clear()
    job = Job(tmp_path)
    job.killed(50, noise=Remembered)
    files = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"state.json", "state.safetensors"}
    job.run(Ledger(), started=50, noise=Remembered)
    first, second = Remembered.keys
    assert first != second
    for path in files:
        content = path.read_bytes() if path.exists() else b""
        for key in (first, second):
            assert key not in content
            assert key.hex().encode() not in content


def test_a_checkpoint_holds_no_gradient_and_no_state_of_a_generator(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.killed(50)
    (path,) = (tmp_path / "kept").glob("*-40/state.safetensors")
    kinds = {name.partition(".")[0] for name in load_file(path)}
    assert kinds == {"weight", "optimizer", "canary"}
    names = {name.rpartition(".")[2] for name in load_file(path)}
    assert names == {"weight", "bias", "momentum_buffer", "others", "score", "squares"}
    numbers = json.loads(path.with_name("state.json").read_text())
    assert set(numbers) == {"v", "steps_run", "clip_norm_l2", "optimizer"}


def test_checkpoints_are_kept_where_the_spec_says_and_at_the_end(tmp_path: Path) -> None:
    job = Job(tmp_path / "twenty")
    job.run(Ledger())
    assert job.kept == [20, 40, 60]
    sparse = Job(tmp_path / "forty", {"checkpoint_every_steps": 40})
    sparse.run(Ledger())
    assert sparse.kept == [40, 60]


def test_a_worker_that_is_to_stop_keeps_the_chunk_that_it_ended(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.stopping = True
    job.killed(30)
    assert job.kept == [10, 20]


def test_a_stop_before_a_resumed_run_s_first_step_releases_what_was_kept(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.killed(50)
    outcome, _, card = job.run(Ledger(stopped_at=60), started=50)
    assert (outcome.result["steps_run"], outcome.result["cancelled"]) == (40, True)
    assert card["training"]["steps_started"] == 50


def test_a_stop_where_nothing_was_kept_releases_nothing(tmp_path: Path) -> None:
    with pytest.raises(JobCancelled):
        Job(tmp_path).run(Ledger(stopped_at=60), started=50)


def test_a_run_that_was_killed_after_its_last_step_is_released_whole(tmp_path: Path) -> None:
    job = Job(tmp_path)
    _, before, _ = job.run(Ledger())
    ledger = Ledger()
    outcome, after, _ = job.run(ledger, started=60)
    assert (ledger.started, outcome.result["steps_run"]) == ([], 60)
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize(
    "other",
    [
        {"model": {"name": "mlp", "hidden": [4], "classes": 2}},
        {"model": {"name": "logistic", "classes": 2}},
        {"audit": None},
        {"audit": {"canaries": 2000, "delta": "1e-5"}},
    ],
)
def test_a_checkpoint_of_another_shape_is_passed_over_and_changes_nothing(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    job = Job(tmp_path)
    job.killed(50)
    job.changes = other
    outcome, _, _ = job.run(Ledger(), started=50)
    assert outcome.result["steps_run"] == 10
    with pytest.raises(EngineRefused, match="no checkpoint fits"):
        job.named = job.named[:1]
        replaced = Job(tmp_path / "other")
        replaced.named, replaced.home = job.named, tmp_path
        replaced.fence, replaced.changes = 9, {"model": {"name": "logistic", "classes": 2}}
        replaced.run(Ledger(), started=60)


def test_moments_of_another_shape_are_refused(tmp_path: Path) -> None:
    momentum = OptimizerSpec("sgd", 0.1, 0.9)
    first = runs.gradients(runs.spec())
    written = state(first, momentum)
    first.step(runs.table(8), 1)
    written.optimizer.step()
    written.save(tmp_path)
    tensors = load_file(tmp_path / "state.safetensors")
    name = next(name for name in tensors if name.startswith("optimizer."))
    save_file({**tensors, name: torch.zeros(3, 3)}, tmp_path / "state.safetensors")
    with pytest.raises(DoesNotFit):
        state(runs.gradients(runs.spec()), momentum).load(tmp_path)


def test_a_job_without_a_folder_for_checkpoints_runs_as_before(tmp_path: Path) -> None:
    work = replace(Job(tmp_path).work(), checkpoints=None)
    assert TrainingEngine().prepare(work).run(Ledger()).result["steps_run"] == 60


LOOK = {"clip": {"mode": "flat", "profile": {"quantile": "0.5", "epsilon": "0.1"}}}


@pytest.mark.parametrize(("killed_at", "kept"), [(10, 0), (50, 40)])
def test_the_charged_look_that_chose_c_is_never_repeated(
    tmp_path: Path, killed_at: int, kept: int
) -> None:
    job = Job(tmp_path, LOOK)
    first = Ledger(killed_at=killed_at, has_look=True)
    with pytest.raises(Killed):
        job.run(first, started=(0, 0))
    chosen = json.loads((tmp_path / "kept" / job.named[-1].name / "state.json").read_text())
    again = Ledger(has_look=True)
    outcome, _, card = job.run(again, started=(1, killed_at))
    assert (first.looks, again.looks) == (1, 0)
    assert card["privacy"]["clip"]["norm_l2"] == chosen["clip_norm_l2"]
    assert outcome.result["steps_run"] == 60 - killed_at + kept


def test_a_look_whose_choice_was_lost_ends_the_job(tmp_path: Path) -> None:
    with pytest.raises(EngineRefused, match="choice is lost"):
        Job(tmp_path, LOOK).run(Ledger(has_look=True), started=(1, 0))
