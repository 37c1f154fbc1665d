"""DP-SGD as an engine: prepared without a private row, charged chunk by chunk, then released."""

import json
from dataclasses import dataclass, field
from typing import Any

from safetensors.torch import save_file

from app.domain.columns import Column
from app.domain.datasets import Dataset
from app.domain.decimals import decimal_text
from app.domain.errors import DomainError
from app.domain.training import parse_training
from app.domain.training.spec import TrainSpec, features_width
from kernels.clip.api import ClipKernel
from kernels.clip.fused_cpu import FusedCpuClip
from kernels.noise.api import NoiseKernel
from kernels.noise.fused_cpu import FusedCpuNoise
from workers.engines.api import (
    EngineRefused,
    Input,
    JobCancelled,
    JobLedger,
    Outcome,
    ReservedPart,
    Work,
)
from workers.engines.rows import RowsUnreadable, check_part
from workers.engines.train.audit import audit_report
from workers.engines.train.card import model_card
from workers.engines.train.data import Table, read_table
from workers.engines.train.models import Network
from workers.engines.train.noise import RunNoise, Stream
from workers.engines.train.optimizers import make_optimizer
from workers.engines.train.steps import NoisyGradients

WEIGHTS = "model.safetensors"
CARD = "card.json"
SPILL = "spill"


@dataclass(frozen=True, slots=True)
class TrainingEngine:
    """Runs `train` jobs. The kernels may be replaced by other forms of the same operations."""

    clip: ClipKernel = field(default_factory=FusedCpuClip)
    noise: NoiseKernel = field(default_factory=FusedCpuNoise)

    def prepare(self, work: Work) -> "TrainingPlan":
        """Check the job and read the public evaluation set; no private row is read.

        Raises:
            EngineRefused: the spec, the reservation and the files do not fit together.
        """
        if work.kind != "train" or len(work.inputs) != 1:
            raise EngineRefused("a training job has one private dataset")
        private = work.inputs[0]
        public = {id_: input_.dataset for id_, input_ in work.public.items()}
        try:
            spec = parse_training(work.spec, private.dataset, public)
            asked = spec.parts()
        except DomainError as refusal:
            raise EngineRefused(f"the stored spec is not valid: {refusal}") from refusal
        reserved = [(part.mechanism, part.max_units) for part in work.parts]
        if reserved != [(part.mechanism, part.max_units) for part in asked]:
            raise EngineRefused("the reservation does not cover what this spec runs")
        if not private.has_file():
            raise EngineRefused("the dataset version has no file")
        for part in private.files:
            check_part(part)
        return TrainingPlan(
            work=work,
            spec=spec,
            evaluation=_read_evaluation(spec, private.dataset, work),
            clip=self.clip,
            noise=self.noise,
        )


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """A prepared run. evaluation: the public set in memory, or None."""

    work: Work
    spec: TrainSpec
    evaluation: Table | None
    clip: ClipKernel
    noise: NoiseKernel

    def run(self, ledger: JobLedger) -> Outcome:
        """Start each chunk, then run its steps; release the weights and their card.

        Units that were started by an earlier claim are spent and are not run again (R14). A stop
        that is asked for between chunks ends the run with the weights it has.

        Raises:
            JobCancelled: the stop came before anything was started here; nothing was read.
            ClaimLost: somebody else holds the job; nothing more was read.
        """
        spec, private = self.spec, self.work.inputs[0]
        features, label = _columns(spec, private.dataset)
        inputs = features_width(features)
        noise = RunNoise(self.noise)
        size = spec.model.parameters(inputs)
        network = Network(
            spec.model, inputs, noise.standard_normal(Stream.INITIAL_WEIGHTS, 0, size)
        )
        optimizer = make_optimizer(spec.optimizer, size)
        gradients = NoisyGradients.of(spec, self.clip, noise, len(network.groups))
        table: Table | None = None
        first = self._part.started_units
        done, cancelled = first, False
        while done < spec.steps:
            # Chunks lie on a grid that the spec fixes, wherever a run begins (R13).
            until = min((done // spec.chunk_steps + 1) * spec.chunk_steps, spec.steps)
            try:
                ledger.start(0, until)  # durable before a row is read or noise is drawn (L2, L6)
            except JobCancelled:
                if table is None:
                    raise
                cancelled = True
                break
            if table is None:
                table = read_table(private, features, label, spill=self.work.scratch / SPILL)
            fields: dict[str, Any] = {}
            for step in range(done + 1, until + 1):
                optimizer.step(network.weights, gradients.step(network, table, step))
                if self._evaluates_at(step):
                    fields["test_accuracy"] = self._accuracy(network)
            done = until
            ledger.progress({"step": done, "steps": spec.steps, **fields})
        return self._release(network, gradients, steps_run=done - first, cancelled=cancelled)

    @property
    def _part(self) -> ReservedPart:
        return self.work.parts[0]

    def _evaluates_at(self, step: int) -> bool:
        return self.spec.evaluation is not None and step % self.spec.evaluation.every_steps == 0

    def _accuracy(self, network: Network) -> float | None:
        """Accuracy on the public set, or None where there is none."""
        if self.evaluation is None:
            return None
        return network.accuracy(self.evaluation.features, self.evaluation.labels)

    def _audit(self, gradients: NoisyGradients, steps_run: int) -> dict[str, Any] | None:
        """What the run's canaries say; None where it carried none."""
        if self.spec.audit is None or gradients.canaries is None:
            return None
        relation = str(self.work.inputs[0].dataset.relation)
        (part,) = self.spec.parts()
        return audit_report(
            self.spec.audit, gradients.canaries, part, relation=relation, steps_run=steps_run
        )

    def _release(
        self, network: Network, gradients: NoisyGradients, *, steps_run: int, cancelled: bool
    ) -> Outcome:
        """Write the artifacts; everything in them is noisy, charged, public or a canary's."""
        audit = self._audit(gradients, steps_run)
        accuracy = self._accuracy(network)
        save_file(network.state(), self.work.scratch / WEIGHTS)
        card = model_card(
            self.spec,
            self.work.inputs[0],
            self._part,
            steps_run=steps_run,
            test_accuracy=accuracy,
            audit=audit,
            kernels={"clip": self.clip.name, "noise": self.noise.name},
        )
        (self.work.scratch / CARD).write_text(
            json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )
        noise = self.spec.noise_multiplier
        return Outcome(
            result={
                "steps": self.spec.steps,
                "steps_run": steps_run,
                "cancelled": cancelled,
                "noise_multiplier": None if noise is None else decimal_text(noise),
                "test_accuracy": accuracy,
                "audit": audit,
                "artifacts": [WEIGHTS, CARD],
            },
            artifacts=(WEIGHTS, CARD),
        )


def _columns(spec: TrainSpec, dataset: Dataset) -> tuple[tuple[Column, ...], Column]:
    """The feature columns in the spec's order, and the label, as the private schema has them."""
    by_name = {column.name: column for column in dataset.columns}
    return tuple(by_name[name] for name in spec.features), by_name[spec.label]


def _read_evaluation(spec: TrainSpec, dataset: Dataset, work: Work) -> Table | None:
    """The public set, scaled by the private schema's bounds as the training rows are."""
    if spec.evaluation is None:
        return None
    public: Input = work.public[spec.evaluation.dataset_id]
    if not public.has_file():
        raise EngineRefused("the evaluation set has no file")
    features, label = _columns(spec, dataset)
    try:
        table = read_table(public, features, label, spill=work.scratch / SPILL)
    except RowsUnreadable as error:
        raise EngineRefused("the evaluation set cannot be read as its schema says") from error
    if table.labels.shape[0] == 0:
        raise EngineRefused("the evaluation set has no row with a known label")
    return table
