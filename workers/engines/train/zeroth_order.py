"""DP-ZO: each record says one number, how its loss changes along a random direction of a step.

Forward passes alone, so it needs the memory of inference and no rule for any layer's gradient. It
learns more slowly than DP-SGD at the same price, and nothing here says otherwise.

A step draws a direction v of independent normals, the same for all records, and releases

    sum over drawn records of clamp((L(w + h v) - L(w - h v)) / 2h, -C, C), with noise z C,

over the public divisor; the gradient is that number times v. Proof: whatever v is, it is drawn
without looking at a row, and a record moves the sum by at most C, so a step is a Poisson-sampled
Gaussian release of one number at multiplier z, as a step of DP-SGD is of many (R6, R25); the rest
is post-processing. The direction may be known to everybody. It is taken from the run's own stream,
beside the first weights, because then no second key is there to be used twice (R14).

Losses are taken in float64: a difference of two is divided by 2h, and with them their rounding,
which may depend on the rows beside a record. In float32 that would be 1e-4 of a loss a record.

Source: Tang et al. 2024, Private fine-tuning of large language models with zeroth-order
optimization, Algorithm 1; Malladi et al. 2023 for the estimate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from app.domain.decimals import float_down, float_up
from app.domain.training.spec import TrainSpec
from kernels.noise.source import NoiseSource
from kernels.private.model import PrivateModel
from workers.engines.train.canaries import LOUDNESS, Canaries
from workers.engines.train.data import Examples
from workers.engines.train.networks import losses, trained
from workers.engines.train.noise import Stream
from workers.engines.train.sampling import PoissonSampler


def clamped(differences: Tensor, bound: float) -> Tensor:
    """Each record's number within [-C, C]; one that is not finite becomes exactly zero."""
    known = differences.masked_fill(~torch.isfinite(differences), 0.0)
    return known.clamp(-bound, bound)


class ShadowScalars(Canaries):
    """Canaries whose one number is far above C: clamped as the records' are, and noised so."""

    def clipped_sum(self) -> Tensor:
        """Each drawn canary's clamped number, where no record's is: (1, canaries) float32."""
        drawn, total = self.drawn(), torch.zeros(1, self._score.shape[0])
        loud = torch.full((drawn.shape[0],), LOUDNESS * self._bound, dtype=torch.float64)
        total[0, drawn] = clamped(loud, self._bound).float()
        return total


@dataclass(frozen=True, slots=True)
class NoisyDifferences:
    """The private part of training without gradients: everything it gives out is charged.

    model: whose weights move. twin: the same in float64, where losses are taken.
    bound: C, rounded down. noise_multiplier: rounded up.
    half_step: h.
    """

    model: nn.Module
    twin: nn.Module
    sampler: PoissonSampler
    noise: NoiseSource
    bound: float
    noise_multiplier: float
    half_step: float
    divisor: float
    physical_batch_max: int
    canaries: ShadowScalars | None = None
    follower: None = None

    @classmethod
    def of(cls, spec: TrainSpec, private: PrivateModel, noise: NoiseSource) -> "NoisyDifferences":
        """The step of a spec whose noise is fixed; every rounding goes toward more noise."""
        if spec.noise_multiplier is None or spec.clip_norm_l2 is None:
            raise ValueError("noise and C of this spec are not fixed")
        multiplier, bound = float_up(spec.noise_multiplier), float_down(spec.clip_norm_l2)
        return cls(
            model=private.model,
            twin=private.plain_copy().double(),
            sampler=PoissonSampler(spec.rate),
            noise=noise,
            bound=bound,
            noise_multiplier=multiplier,
            half_step=spec.difference_step,
            divisor=spec.normalise_by,
            physical_batch_max=spec.physical_batch_max,
            canaries=ShadowScalars.of(spec, multiplier, layers=1, bound=bound),
        )

    @property
    def standard_deviation(self) -> float:
        """Of the noise on the sum, rounded up."""
        return math.nextafter(self.noise_multiplier * self.bound, math.inf)

    def step(self, table: Examples, step: int) -> None:
        """Leave the estimate of one logical batch's gradient in the parameters.

        An empty draw gives noise alone; `step` goes up from call to call.
        """
        direction = self.direction(step)
        released = self.clamped_sum(table, self.sampler.draw(len(table)), direction).float()[None]
        self._add_noise([released], stream=Stream.GRADIENT, step=step)
        if self.canaries is not None:
            self.canaries.step(partial(self._add_noise, stream=Stream.CANARIES, step=step))
        estimate = float(released) / self.divisor
        for parameter, part in zip(trained(self.model), direction, strict=True):
            parameter.grad = part * estimate

    def direction(self, step: int) -> list[Tensor]:
        """v: a standard normal for each weight that is trained."""
        drawn = [torch.zeros_like(parameter) for parameter in trained(self.model)]
        self.noise.add_gaussian_(drawn, 1.0, stream=Stream.DIRECTIONS, step=step)
        return drawn

    @torch.no_grad()
    def clamped_sum(self, table: Examples, drawn: Tensor, direction: list[Tensor]) -> Tensor:
        """The sum of the drawn records' clamped differences: () float64. Private."""
        total = torch.zeros((), dtype=torch.float64)
        for rows in torch.split(drawn, self.physical_batch_max):
            # asked for once: of a user, which record it is may be drawn anew each time
            examples = _widened(table, rows)
            change = torch.zeros(rows.shape[0], dtype=torch.float64)
            for side in (1.0, -1.0):
                self._stand(direction, side * self.half_step)
                change += side * losses(self.twin, *examples)
            total += clamped(change / (2.0 * self.half_step), self.bound).sum()
        return total

    def _stand(self, direction: list[Tensor], far: float) -> None:
        """Put the twin so far along the direction from the weights."""
        weights, places = trained(self.model), trained(self.twin)
        for weight, place, part in zip(weights, places, direction, strict=True):
            place.copy_(weight).add_(part.double(), alpha=far)

    def _add_noise(self, sums: Sequence[Tensor], *, stream: Stream, step: int) -> None:
        self.noise.add_gaussian_(sums, self.standard_deviation, stream=stream, step=step)


def _widened(table: Examples, rows: Tensor) -> tuple[Tensor, Tensor]:
    inputs, labels = table.rows(rows)
    return inputs.double() if inputs.is_floating_point() else inputs, labels
