"""A DP-SGD run as frozen facts: model, sampling, clipping and noise, and what it costs."""

import math
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

from app.domain.columns import Column
from app.domain.decimals import decimal_text, parse_decimal
from app.domain.errors import InvalidParameter
from app.domain.mechanisms.parsing import Gaussian, Part, PoissonSampled

# What prices take; said here with the pointer of the spec.
NOISE_RANGE = (Decimal("1e-3"), Decimal("1e9"))
# Names of what draws and what makes noise; statements print them as assumptions.
DRAW_SAMPLER = "os-csprng-bernoulli-64"
NOISE_SAMPLER = "chacha20-box-muller-float64"

ModelName = Literal["logistic", "mlp"]
OptimizerName = Literal["sgd", "adam"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model of the registry. hidden: widths of the hidden layers, () for `logistic`."""

    name: ModelName
    hidden: tuple[int, ...]
    classes: int

    def widths(self, inputs: int) -> tuple[int, ...]:
        """Widths from input to output: layer k maps widths[k] to widths[k + 1]."""
        return (inputs, *self.hidden, self.classes)

    def parameters(self, inputs: int) -> int:
        """How many weights and biases the model has on `inputs` features."""
        widths = self.widths(inputs)
        return sum((widths[k] + 1) * widths[k + 1] for k in range(len(widths) - 1))


@dataclass(frozen=True, slots=True)
class NoiseTarget:
    """A target that calibration turns into a multiplier (R11), from an empty budget or from now."""

    epsilon: Decimal
    delta: Decimal
    start: Literal["empty", "now"]


@dataclass(frozen=True, slots=True)
class OptimizerSpec:
    """How the released gradient is applied; it costs no privacy. momentum: for `sgd` only."""

    name: OptimizerName
    learning_rate: float
    momentum: float


@dataclass(frozen=True, slots=True)
class EvaluationSpec:
    """A public dataset on which the accuracy is taken every so many steps and at the end."""

    dataset_id: str
    every_steps: int


@dataclass(frozen=True, slots=True)
class AuditSpec:
    """Canaries that each run carries, and the delta at which its figures are given (R26)."""

    canaries: int
    delta: Decimal


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """A valid DP-SGD spec with every default made explicit.

    rate: probability that one record is in one step's draw.
    normalise_by: public divisor of the noisy sum, in records (R17).
    clip_norm_l2: C, the bound on one record's gradient over all parameters together (R25).
    noise_multiplier: noise standard deviation over C; None while only a target is given.
    chunk_steps: how many steps become durable as started at a time (R13).
    physical_batch_max: records in memory at once; it changes no sum beyond rounding.
    audit: None where the run carries no canaries.
    """

    model: ModelSpec
    features: tuple[str, ...]
    label: str
    rate: Decimal
    normalise_by: float
    steps: int
    clip_norm_l2: Decimal
    noise_multiplier: Decimal | None
    target: NoiseTarget | None
    optimizer: OptimizerSpec
    physical_batch_max: int
    evaluation: EvaluationSpec | None
    chunk_steps: int
    audit: AuditSpec | None = None

    def with_noise(self, noise_multiplier: str) -> "TrainSpec":
        """The spec that a job stores: this one with its noise fixed and its target resolved."""
        noise = read_decimal(noise_multiplier, "/spec/noise/noise_multiplier", *NOISE_RANGE)
        return replace(self, noise_multiplier=noise, target=None)

    def parts(self, noise_multiplier: str | None = None) -> tuple[Part, ...]:
        """What the run costs: one part, `steps` units of a Poisson-sampled Gaussian (R6).

        Args:
            noise_multiplier: a trial value for calibration; the spec's own where None.

        Raises:
            InvalidParameter: the noise is neither given nor fixed yet.
        """
        spec = self if noise_multiplier is None else self.with_noise(noise_multiplier)
        if spec.noise_multiplier is None:
            raise InvalidParameter("/spec/noise", "the target is not resolved to a multiplier yet")
        step = PoissonSampled(
            spec.rate,
            of=Gaussian(spec.noise_multiplier, sampler=NOISE_SAMPLER),
            sampler=DRAW_SAMPLER,
        )
        return (Part(mechanism=step, max_units=spec.steps),)

    def to_json(self) -> dict[str, Any]:
        """The stored form, complete: `parse_training` reads it back to an equal spec."""
        model: dict[str, Any] = {"name": self.model.name, "classes": self.model.classes}
        if self.model.hidden:
            model["hidden"] = list(self.model.hidden)
        optimizer: dict[str, Any] = {
            "name": self.optimizer.name,
            "learning_rate": self.optimizer.learning_rate,
        }
        if self.optimizer.name == "sgd":
            optimizer["momentum"] = self.optimizer.momentum
        divisor = self.normalise_by
        document: dict[str, Any] = {
            "v": 1,
            "algorithm": "dp_sgd",
            "model": model,
            "features": list(self.features),
            "label": self.label,
            "loss": "cross_entropy",
            "sampling": {"kind": "poisson", "rate": decimal_text(self.rate)},
            "normalise_by": int(divisor) if divisor.is_integer() else divisor,
            "steps": self.steps,
            "clip": {"mode": "flat", "norm_l2": decimal_text(self.clip_norm_l2)},
            "noise": self._noise_json(),
            "optimizer": optimizer,
            "physical_batch_max": self.physical_batch_max,
            "chunk_steps": self.chunk_steps,
            "device": "cpu",
            "audit": None,
        }
        if self.audit is not None:
            document["audit"] = {
                "canaries": self.audit.canaries,
                "delta": decimal_text(self.audit.delta),
            }
        if self.evaluation is not None:
            document["evaluation"] = {
                "dataset_id": self.evaluation.dataset_id,
                "every_steps": self.evaluation.every_steps,
            }
        return document

    def _noise_json(self) -> dict[str, Any]:
        if self.noise_multiplier is not None:
            return {"noise_multiplier": decimal_text(self.noise_multiplier)}
        assert self.target is not None  # noqa: S101 - one of the two by construction
        return {
            "target": {
                "epsilon": decimal_text(self.target.epsilon),
                "delta": decimal_text(self.target.delta),
                "from": self.target.start,
            }
        }


def features_width(columns: tuple[Column, ...]) -> int:
    """How many numbers one record feeds to the model: arrays flattened, plain values one each."""
    return sum(math.prod(column.shape) for column in columns)


def read_decimal(document: object, pointer: str, low: Decimal, high: Decimal) -> Decimal:
    """A decimal string in [low, high], exactly.

    Raises:
        InvalidParameter: not a decimal string, or out of range.
    """
    value = parse_decimal(document, pointer)
    if not low <= value <= high:
        raise InvalidParameter(pointer, f"a decimal from {low} to {high} is expected")
    return value
