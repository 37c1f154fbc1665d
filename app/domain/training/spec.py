"""A DP-SGD run as frozen facts: model, sampling, clipping and noise, and what it costs."""

import math
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

from app.domain.columns import Column
from app.domain.decimals import decimal_text
from app.domain.errors import InvalidParameter
from app.domain.mechanisms.parsing import Gaussian, Part, PoissonSampled
from app.domain.training.clipping import (
    AdaptiveClip,
    ClipMode,
    Clipping,
    ClipProfile,
    read_decimal,
)
from app.domain.training.models import ModelSpec
from app.domain.training.users import UserSpec

# What prices take; said here with the pointer of the spec.
NOISE_RANGE = (Decimal("1e-3"), Decimal("1e9"))
# Names of what draws and what makes noise; statements print them as assumptions.
DRAW_SAMPLER = "os-csprng-bernoulli-64"
NOISE_SAMPLER = "chacha20-box-muller-float32"
CROSS_ENTROPY = "cross_entropy"
NEXT_TOKEN = "next_token"  # noqa: S105 - of a text, and no secret

# h of a difference quotient over 2h, with losses in float64.
DIFFERENCE_STEP_DEFAULT = 1e-3

OptimizerName = Literal["sgd", "adam"]
ScheduleName = Literal["constant", "cosine", "linear"]
# dp_sgd: gradients of records are clipped; dp_zo: changes of their losses along one direction.
Algorithm = Literal["dp_sgd", "dp_zo"]
# Which kind of worker runs it.
Device = Literal["cpu", "gpu"]
# What the layers multiply in; sums, norms and noise are float32 or more whatever it is.
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class NoiseTarget:
    """A target that calibration turns into a multiplier (R11), from an empty budget or from now."""

    epsilon: Decimal
    delta: Decimal
    start: Literal["empty", "now"]


@dataclass(frozen=True, slots=True)
class OptimizerSpec:
    """How the released gradient is applied; it costs no privacy.

    momentum: for `sgd` only.
    corrects_noise: for `adam` only: the known variance of the noise is taken off the second moment.
    schedule: of the learning rate, from its full height to 0 at the last step; `warm_up_steps`
        climb to it first.
    """

    name: OptimizerName
    learning_rate: float
    momentum: float = 0.0
    corrects_noise: bool = False
    schedule: ScheduleName = "constant"
    warm_up_steps: int = 0

    def to_json(self) -> dict[str, Any]:
        """The stored form."""
        document: dict[str, Any] = {"name": self.name, "learning_rate": self.learning_rate}
        if self.name == "sgd":
            document["momentum"] = self.momentum
        else:
            document["noise_bias_correction"] = self.corrects_noise
        document["schedule"] = {"name": self.schedule, "warm_up_steps": self.warm_up_steps}
        return document

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 1, of a run of so many."""
        if step <= self.warm_up_steps:
            return self.learning_rate * step / self.warm_up_steps
        done = (step - 1 - self.warm_up_steps) / max(1, steps - self.warm_up_steps)
        if self.schedule == "cosine":
            return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))
        if self.schedule == "linear":
            return self.learning_rate * (1.0 - done)
        return self.learning_rate


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

    features: columns that a record feeds to the model: numbers, or the one text or list of tokens
        that a language model learns from.
    label: None for a language model, which predicts the next character or token.
    rate: probability that one unit, a record or a user, is in one step's draw.
    normalise_by: public divisor of the noisy sum, in units (R17).
    clip_norm_l2: C, the bound on one unit's gradient over all parameters together (R25); None
        while the profile has not chosen one.
    clip_mode: what is clipped together; the whole stays within C in each.
    noise_multiplier: noise standard deviation over C; None while only a target is given. Where C is
        followed, that of gradient and count together: what is charged.
    chunk_steps: how many steps become durable as started at a time (R13).
    checkpoint_every_steps: how often a run keeps what it has; a multiple of chunk_steps (R14).
    physical_batch_max: units in memory at once; it changes no sum beyond rounding.
    audit: None where the run carries no canaries.
    user: how users enter, where they are the unit; None for records.
    difference_step: h, for `dp_zo` alone.
    """

    model: ModelSpec
    features: tuple[str, ...]
    label: str | None
    rate: Decimal
    normalise_by: float
    steps: int
    clip_norm_l2: Decimal | None
    noise_multiplier: Decimal | None
    target: NoiseTarget | None
    optimizer: OptimizerSpec
    physical_batch_max: int
    evaluation: EvaluationSpec | None
    chunk_steps: int
    checkpoint_every_steps: int
    audit: AuditSpec | None = None
    clip_mode: ClipMode = "flat"
    clip_profile: ClipProfile | None = None
    clip_adaptive: AdaptiveClip | None = None
    precision: Precision = "float32"
    algorithm: Algorithm = "dp_sgd"
    difference_step: float = DIFFERENCE_STEP_DEFAULT
    device: Device = "cpu"
    user: UserSpec | None = None

    def with_noise(self, noise_multiplier: str) -> "TrainSpec":
        """The spec that a job stores: this one with its noise fixed and its target resolved."""
        fixed = self._tried(noise_multiplier)
        if fixed.clip_adaptive is not None and fixed.noise_multiplier is not None:
            fixed.clip_adaptive.require_noise(fixed.noise_multiplier, "/spec/clip")
        return fixed

    def _tried(self, noise_multiplier: str) -> "TrainSpec":
        noise = read_decimal(noise_multiplier, "/spec/noise/noise_multiplier", *NOISE_RANGE)
        return replace(self, noise_multiplier=noise, target=None)

    def with_clip_norm(self, norm_l2: Decimal) -> "TrainSpec":
        """The spec that a run goes on with once its profile has chosen C."""
        return replace(self, clip_norm_l2=norm_l2)

    @property
    def clipping(self) -> Clipping:
        """How records are clipped."""
        return Clipping(self.clip_mode, self.clip_norm_l2, self.clip_profile, self.clip_adaptive)

    @property
    def steps_place(self) -> int:
        """Which of the parts the steps are; a profile comes before them."""
        return 0 if self.clip_profile is None else 1

    def parts(self, noise_multiplier: str | None = None) -> tuple[Part, ...]:
        """What the run costs: `steps` units of a Poisson-sampled Gaussian (R6).

        A clip profile is a part of its own before them: one unit of an exponential mechanism. The
        noise of the steps is counted in C, so whatever C it chooses, they cost the same.

        Args:
            noise_multiplier: a trial value for calibration; the spec's own where None.

        Raises:
            InvalidParameter: the noise is neither given nor fixed yet.
        """
        spec = self if noise_multiplier is None else self._tried(noise_multiplier)
        if spec.noise_multiplier is None:
            raise InvalidParameter("/spec/noise", "the target is not resolved to a multiplier yet")
        step = PoissonSampled(
            spec.rate,
            of=Gaussian(spec.noise_multiplier, sampler=NOISE_SAMPLER),
            sampler=DRAW_SAMPLER,
        )
        steps = Part(mechanism=step, max_units=spec.steps)
        if self.clip_profile is None:
            return (steps,)
        return Part(mechanism=self.clip_profile.mechanism, max_units=1), steps

    def to_json(self) -> dict[str, Any]:
        """The stored form, complete: `parse_training` reads it back to an equal spec."""
        divisor = self.normalise_by
        document: dict[str, Any] = {
            "v": 1,
            "algorithm": self.algorithm,
            "model": self.model.to_json(),
            "features": list(self.features),
            "loss": NEXT_TOKEN if self.label is None else CROSS_ENTROPY,
            "sampling": {"kind": "poisson", "rate": decimal_text(self.rate)},
            "normalise_by": int(divisor) if divisor.is_integer() else divisor,
            "steps": self.steps,
            "clip": self.clipping.to_json(),
            "noise": self._noise_json(),
            "optimizer": self.optimizer.to_json(),
            "physical_batch_max": self.physical_batch_max,
            "chunk_steps": self.chunk_steps,
            "checkpoint_every_steps": self.checkpoint_every_steps,
            "precision": self.precision,
            "device": self.device,
            "audit": None,
        }
        if self.algorithm == "dp_zo":
            document["difference_step"] = self.difference_step
        if self.label is not None:
            document["label"] = self.label
        if self.audit is not None:
            document["audit"] = {
                "canaries": self.audit.canaries,
                "delta": decimal_text(self.audit.delta),
            }
        if self.user is not None:
            document["user"] = self.user.to_json()
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
