"""One DP-SGD step: draw, clip each record, sum, add noise once, divide by a public number (R25)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from app.domain.decimals import float_down, float_up
from app.domain.training.spec import Precision, TrainSpec
from kernels.noise.source import NoiseSource
from kernels.private.model import PrivateModel
from kernels.private.spec import ClipSpec
from workers.engines.train.adaptive_clip import ClipFollower
from workers.engines.train.canaries import Canaries, ShadowCanaries
from workers.engines.train.data import Examples
from workers.engines.train.networks import losses_in
from workers.engines.train.noise import Stream
from workers.engines.train.sampling import PoissonSampler

# Records at a time in the mode for small memory.
STREAM_RECORDS = 4


def clip_of(spec: TrainSpec) -> ClipSpec:
    """How the records of a run are clipped; never to more than C.

    While a profile has not chosen C, the bound is 1 and nothing of a record is clipped to it.
    """
    bound = 1.0 if spec.clip_norm_l2 is None else float_down(spec.clip_norm_l2)
    return ClipSpec(
        mode=spec.clip_mode,
        bound=bound,
        microbatch=STREAM_RECORDS,
        keeps_norms=spec.clip_adaptive is not None,
    )


@dataclass(frozen=True, slots=True)
class NoisyGradients:
    """The private part of training: everything it gives out is charged.

    private: the model, whose backward pass leaves clipped sums.
    noise_multiplier: noise on the SUM over its sensitivity, rounded up.
    divisor: public; the drawn size is never used (R17).
    precision: what the layers multiply in.
    follower: what moves C after each step; None where C stays.
    """

    private: PrivateModel
    sampler: PoissonSampler
    noise: NoiseSource
    noise_multiplier: float
    divisor: float
    physical_batch_max: int
    canaries: Canaries | None = None
    precision: Precision = "float32"
    follower: ClipFollower | None = None

    @classmethod
    def of(cls, spec: TrainSpec, private: PrivateModel, noise: NoiseSource) -> "NoisyGradients":
        """The step of a spec whose noise is fixed; every rounding goes toward more noise."""
        if spec.noise_multiplier is None:
            raise ValueError("the noise of this spec is not calibrated")
        if spec.clip_norm_l2 is None:
            raise ValueError("the profile of this spec has not chosen C")
        multiplier, follower = float_up(spec.noise_multiplier), None
        if spec.clip_adaptive is not None:
            multiplier = float_up(spec.clip_adaptive.gradient_noise(spec.noise_multiplier))
            follower = ClipFollower(spec.clip_adaptive, private, spec.normalise_by)
        return cls(
            private=private,
            sampler=PoissonSampler(spec.rate),
            noise=noise,
            noise_multiplier=multiplier,
            divisor=spec.normalise_by,
            physical_batch_max=spec.physical_batch_max,
            canaries=ShadowCanaries.of(
                spec, multiplier, layers=len(private.layers()), clip=private.spec
            ),
            precision=spec.precision,
            follower=follower,
        )

    @property
    def standard_deviation(self) -> float:
        """Of the noise on the sum: the multiplier times the sensitivity, rounded up."""
        return math.nextafter(self.noise_multiplier * self.private.sensitivity(), math.inf)

    def step(self, table: Examples, step: int) -> None:
        """Leave the noisy mean gradient of one logical batch in the parameters, ready to be used.

        An empty draw gives noise alone. The noise goes on the sum once, whatever the number of
        physical batches; `step` goes up from call to call.
        """
        self.clipped_sum(table, self.sampler.draw(len(table)))
        sums = [total for layer in self.sums() for total in layer]
        self._add_noise(sums, stream=Stream.GRADIENT, step=step)
        if self.canaries is not None:
            self.canaries.step(partial(self._add_noise, stream=Stream.CANARIES, step=step))
        for total in sums:
            total.div_(self.divisor)
        if self.follower is not None:
            bound = self.follower.follow(self.noise, step)
            if self.canaries is not None:
                self.canaries.set_bound(bound)

    def sums(self) -> list[list[Tensor]]:
        """The sums by layer, as they lie in the parameters' gradients, each one dense block."""
        found: list[list[Tensor]] = []
        for layer in self.private.layers():
            found.append([])
            for parameter in layer:
                if parameter.grad is not None:
                    parameter.grad = parameter.grad.contiguous()
                    found[-1].append(parameter.grad)
        return found

    def clipped_sum(self, table: Examples, drawn: Tensor) -> None:
        """Leave the sum of the drawn records' clipped gradients in the parameters. Private."""
        self.private.model.zero_grad(set_to_none=True)
        losses = losses_in(self.precision)
        for rows in torch.split(drawn, self.physical_batch_max):  # one empty part, if none is drawn
            self.private.sum_gradients(losses, *table.rows(rows))

    def _add_noise(self, sums: Sequence[Tensor], *, stream: Stream, step: int) -> None:
        """Noise on a sum, in place, layer by layer: the records' and that of the canaries."""
        self.noise.add_gaussian_(sums, self.standard_deviation, stream=stream, step=step)
