"""DP-SGD as an engine: prepared without a private row, charged chunk by chunk, then released."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from app.domain.datasets import Dataset
from app.domain.decimals import decimal_text, float_down
from app.domain.errors import DomainError
from app.domain.training import parse_training
from app.domain.training.installed import base_of
from app.domain.training.lora import Base
from app.domain.training.offer import OURS, Offer
from app.domain.training.spec import TrainSpec, features_width
from kernels.noise.in_place import best as best_noise
from kernels.noise.source import NoiseSource
from kernels.private.model import PrivateModel
from kernels.private.spec import ModelRefused
from workers.engines.api import (
    EngineRefused,
    Input,
    JobCancelled,
    JobLedger,
    Outcome,
    ReservedPart,
    Work,
)
from workers.engines.files import check_input
from workers.engines.rows import RowsUnreadable
from workers.engines.train.audit import audit_report
from workers.engines.train.card import model_card
from workers.engines.train.card_text import card_markdown
from workers.engines.train.checkpoints import RunState, kept_clip_norm
from workers.engines.train.clip_profile import choose, gradient_norms
from workers.engines.train.data import Examples, Table, columns_of, read_examples, read_records
from workers.engines.train.examination import examined
from workers.engines.train.networks import (
    accuracy,
    losses_in,
    made_up,
    size,
    start,
    trained,
)
from workers.engines.train.noise import Stream
from workers.engines.train.optimizers import make_optimizer, set_rate, tell_noise
from workers.engines.train.steps import NoisyGradients, clip_of
from workers.engines.train.zeroth_order import NoisyDifferences

WEIGHTS = "model.safetensors"
CARD = "card.json"
CARD_TEXT = "card.md"
SPILL = "spill"
Steps = NoisyGradients | NoisyDifferences
PROFILE_PART = 0
COUNTS_NOT_COVERED = "the noisy counts by which C moves: canaries stay out of them"


@dataclass(frozen=True, slots=True)
class TrainingEngine:
    """Runs `train` jobs.

    make_noise: a fresh source, with a key of its own, for each run.
    offer: what may be trained here.
    """

    make_noise: Callable[[], NoiseSource] = field(default=NoiseSource)
    offer: Offer = OURS

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
            spec = parse_training(work.spec, private.dataset, public, offer=self.offer)
            asked = spec.parts()
        except DomainError as refusal:
            raise EngineRefused(f"the stored spec is not valid: {refusal}") from refusal
        reserved = [(part.mechanism, part.max_units) for part in work.parts]
        if reserved != [(part.mechanism, part.max_units) for part in asked]:
            raise EngineRefused("the reservation does not cover what this spec runs")
        if spec.device == "gpu":
            # the layers' forms for it stand in kernels.layers and no device has run them
            raise EngineRefused("this worker cannot train on a GPU")
        if not private.has_file():
            raise EngineRefused("the dataset version has no file")
        check_input(private)
        is_chosen = kept_clip_norm(work.checkpoints) is not None
        if spec.clip_profile and work.parts[PROFILE_PART].started_units and not is_chosen:
            # spent, and the reservation has one unit: a second draw would be one too many (R14)
            raise EngineRefused("the clip profile was started before and its choice is lost")
        model, optimizer = _examined(spec, private.dataset)
        return TrainingPlan(
            work=work,
            spec=spec,
            evaluation=_read_evaluation(spec, private.dataset, work),
            private=model,
            optimizer=optimizer,
            kernels={**model.report(), "noise": best_noise().name},
            make_noise=self.make_noise,
        )


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """A prepared run.

    evaluation: the public set in memory, or None.
    private: the model, examined on made-up records, its weights not yet those of a start.
    optimizer: holds what is trained, and nothing else.
    kernels: the paths and plans of its layers, as they were chosen on the made-up records: what the
        card says of them is said whether or not a record is ever drawn (R17).
    """

    work: Work
    spec: TrainSpec
    evaluation: Table | None
    private: PrivateModel
    optimizer: torch.optim.Optimizer
    kernels: dict[str, Any]
    make_noise: Callable[[], NoiseSource]

    def run(self, ledger: JobLedger) -> Outcome:
        """Start each chunk, then run its steps; release the weights and their card.

        Units that were started by an earlier claim are spent and are not run again; the run goes on
        from the last checkpoint, with a key of its own (R14). A stop that is asked for between
        chunks ends the run with the weights it has.

        Raises:
            JobCancelled: the stop came before there was anything to release; nothing was read.
            ClaimLost: somebody else holds the job; nothing more was read.
            EngineRefused: all is spent and no checkpoint fits; there is nothing to release.
        """
        noise = self.make_noise()
        self._start_weights(noise)
        spec, table = self._with_clip_norm(ledger)
        steps = NoisyDifferences if spec.algorithm == "dp_zo" else NoisyGradients
        gradients: Steps = steps.of(spec, self.private, noise)
        tell_noise(self.optimizer, (gradients.standard_deviation / gradients.divisor) ** 2)
        state = RunState(self.private.model, self.optimizer, gradients.canaries, spec.clip_norm_l2)
        state.go_on(self.work.checkpoints)
        done, cancelled = self._part.started_units, False
        if done == spec.steps and not state.steps_run:
            raise EngineRefused("every step was started before and no checkpoint fits")
        if table is not None and self.work.checkpoints is not None:
            # the choice of C is paid for: a kill before the first chunk must not lose it
            self.work.checkpoints.keep(self._units(done), state.save)
        while done < spec.steps:
            # Chunks lie on a grid that the spec fixes, wherever a run begins (R13).
            until = min((done // spec.chunk_steps + 1) * spec.chunk_steps, spec.steps)
            try:
                ledger.start(spec.steps_place, until)  # durable before rows and noise (L2, L6)
            except JobCancelled:
                if not state.steps_run and spec.clip_profile is None:
                    raise  # nothing was paid for: a chosen C is, and is released
                cancelled = True
                break
            table = self._read() if table is None else table
            said = self._run_chunk(gradients, table, range(done + 1, until + 1))
            state.steps_run += until - done
            if gradients.follower is not None:
                state.clip_norm_l2 = Decimal(repr(self.private.spec.bound))
            done = until
            self._keep(state, done)
            ledger.progress({"step": done, "steps": spec.steps, **said})
        return self._release(
            spec,
            gradients,
            steps_run=state.steps_run,
            steps_started=done,
            cancelled=cancelled,
        )

    def _start_weights(self, noise: NoiseSource) -> None:
        """Give the model the weights of a start; a checkpoint puts its own in their place."""
        normals = torch.zeros(size(self.private.model))
        noise.add_gaussian_([normals], 1.0, stream=Stream.INITIAL_WEIGHTS, step=0)
        start(self.private.model, normals)

    def _with_clip_norm(self, ledger: JobLedger) -> tuple[TrainSpec, Examples | None]:
        """The spec with its C, which the model clips to from here on.

        It is as the spec gives it, or as a charged look chooses it, once whatever kills come
        between (R27); of a C that follows the norms it is the one that an earlier claim came to.

        Returns:
            And the rows, where this claim took that look.
        """
        spec, table = self.spec, None
        kept = kept_clip_norm(self.work.checkpoints)
        if spec.clip_profile is not None:
            if kept is None:
                ledger.start(PROFILE_PART, 1)  # durable before rows and noise (L2, L6)
                table = self._read()
                kept = choose(spec.clip_profile, self._norms(table))
            spec = spec.with_clip_norm(kept)
            self.private.set_bound(clip_of(spec).bound)
        elif spec.clip_adaptive is not None and kept is not None:
            self.private.set_bound(float_down(kept))
        return spec, table

    def _run_chunk(self, gradients: Steps, table: Examples, steps: range) -> dict[str, Any]:
        """Steps whose start is durable; what is public of them, for the progress row (R13)."""
        said: dict[str, Any] = {}
        for step in steps:
            gradients.step(table, step)
            set_rate(self.optimizer, self.spec.optimizer.rate_at(step, self.spec.steps))
            self.optimizer.step()
            if self._evaluates_at(step):
                said["test_accuracy"] = self._accuracy()
        return said

    @property
    def _part(self) -> ReservedPart:
        return self.work.parts[self.spec.steps_place]

    def _read(self) -> Examples:
        source = self.work.inputs[0]
        spill = self.work.scratch / SPILL
        return read_examples(self.spec, source.dataset, source, salt=self.work.salt, spill=spill)

    def _norms(self, table: Examples) -> Tensor:
        """Of every record, at the weights as they are. Private."""
        example, _ = made_up(self.spec.model, _width(self.spec, self.work.inputs[0].dataset))
        return gradient_norms(self.private, example, losses_in(self.spec.precision), table)

    def _keep(self, state: RunState, done: int) -> None:
        """Keep a checkpoint where the spec says, at the end, and where the worker is to stop."""
        kept = self.work.checkpoints
        if kept is None:
            return
        is_due = done % self.spec.checkpoint_every_steps == 0 or done == self.spec.steps
        if is_due or kept.is_stopping():
            kept.keep(self._units(done), state.save)

    def _units(self, done: int) -> list[int]:
        """Of each part, what was started by then: the look that chose C, where there is one."""
        return [
            done if place == self.spec.steps_place else part.max_units
            for place, part in enumerate(self.work.parts)
        ]

    def _evaluates_at(self, step: int) -> bool:
        return self.spec.evaluation is not None and step % self.spec.evaluation.every_steps == 0

    def _accuracy(self) -> float | None:
        """Accuracy on the public set, or None where there is none."""
        if self.evaluation is None:
            return None
        return accuracy(self.private.model, *self.evaluation.rows(slice(None)))

    def _audit(self, gradients: Steps, steps_run: int) -> dict[str, Any] | None:
        """What the run's canaries say; None where it carried none."""
        if self.spec.audit is None or gradients.canaries is None:
            return None
        relation = str(self.work.inputs[0].dataset.relation)
        part = self.spec.parts()[self.spec.steps_place]
        return audit_report(
            self.spec.audit,
            gradients.canaries,
            part,
            relation=relation,
            steps_run=steps_run,
            not_covered=() if gradients.follower is None else (COUNTS_NOT_COVERED,),
        )

    def _release(
        self,
        spec: TrainSpec,
        gradients: Steps,
        *,
        steps_run: int,
        steps_started: int,
        cancelled: bool,
    ) -> Outcome:
        """Write the artifacts; everything in them is noisy, charged, public or a canary's."""
        audit = self._audit(gradients, steps_run)
        found = self._accuracy()
        save_file(_state(self.private.model, base_of(spec.model)), self.work.scratch / WEIGHTS)
        norm = spec.clip_norm_l2
        if gradients.follower is not None:
            norm = Decimal(repr(gradients.follower.last_norm))
        if norm is None:
            raise ValueError("the profile of this spec has not chosen C")
        card = model_card(
            spec,
            self.work.inputs[0],
            norm_l2=norm,
            steps_run=steps_run,
            steps_started=steps_started,
            test_accuracy=found,
            audit=audit,
            kernels={**self.kernels, **self.private.bounds()},
        )
        (self.work.scratch / CARD).write_text(
            json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )
        (self.work.scratch / CARD_TEXT).write_text(card_markdown(card), encoding="utf-8")
        noise = spec.noise_multiplier
        return Outcome(
            result={
                "steps": spec.steps,
                "steps_run": steps_run,
                "cancelled": cancelled,
                "noise_multiplier": None if noise is None else decimal_text(noise),
                "clip_norm_l2": decimal_text(norm),
                "test_accuracy": found,
                "audit": audit,
                "artifacts": [WEIGHTS, CARD, CARD_TEXT],
            },
            artifacts=(WEIGHTS, CARD, CARD_TEXT),
        )


def _examined(spec: TrainSpec, dataset: Dataset) -> tuple[PrivateModel, torch.optim.Optimizer]:
    """The model of a spec, examined on made-up records, and an optimizer of what it trains.

    Raises:
        EngineRefused: it cannot be trained privately; names the module and the remedy.
    """
    try:
        width = _width(spec, dataset)
        private = examined(spec.model, width, clip_of(spec), spec.precision, spec.user)
        optimizer = make_optimizer(spec.optimizer, trained(private.model))
        private.check_optimizer(optimizer)
    except ModelRefused as refusal:
        raise EngineRefused(str(refusal)) from refusal
    return private, optimizer


def _width(spec: TrainSpec, dataset: Dataset) -> int:
    features, label = columns_of(spec, dataset)
    return 0 if label is None else features_width(features)


def _state(model: nn.Module, base: Base | None) -> dict[str, torch.Tensor]:
    """The weights by name, each once: a tied one stands under the first of its names.

    Beside a base those that have learnt: the base is where it was installed from.
    """
    return {
        name: value.detach().clone()
        for name, value in model.named_parameters()
        if base is None or value.requires_grad
    }


def _read_evaluation(spec: TrainSpec, dataset: Dataset, work: Work) -> Table | None:
    """The public set, scaled by the private schema's bounds as the training rows are."""
    if spec.evaluation is None:
        return None
    public: Input = work.public[spec.evaluation.dataset_id]
    if not public.has_file():
        raise EngineRefused("the evaluation set has no file")
    try:
        table = read_records(spec, dataset, public, spill=work.scratch / SPILL)
    except RowsUnreadable as error:
        raise EngineRefused("the evaluation set cannot be read as its schema says") from error
    if len(table) == 0:
        raise EngineRefused("the evaluation set has no row with a known label")
    return table
