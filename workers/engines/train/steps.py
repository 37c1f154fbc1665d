"""One DP-SGD step: draw, clip each record, sum, add noise once, divide by a public number (R25)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.domain.decimals import float_down, float_up
from app.domain.training.spec import TrainSpec
from kernels.clip.api import ClipKernel
from workers.engines.train.canaries import ShadowCanaries
from workers.engines.train.data import Table
from workers.engines.train.models import Network
from workers.engines.train.noise import RunNoise, Stream
from workers.engines.train.sampling import PoissonSampler


@dataclass(frozen=True, slots=True)
class NoisyGradients:
    """The private part of training: everything it gives out is charged.

    clip_norm: C, the L2 bound on one record's part of the sum; the clip never uses more.
    standard_deviation: of the noise on the SUM, noise_multiplier x C, rounded up.
    divisor: public; the drawn size is never used (R17).
    """

    clip: ClipKernel
    sampler: PoissonSampler
    noise: RunNoise
    clip_norm: float
    standard_deviation: float
    divisor: float
    physical_batch_max: int
    canaries: ShadowCanaries | None = None

    @classmethod
    def of(
        cls, spec: TrainSpec, clip: ClipKernel, noise: RunNoise, groups: int = 1
    ) -> "NoisyGradients":
        """The step of a spec whose noise is fixed; every rounding goes toward more noise.

        groups: of parameters; each has coordinates of the spec's canaries beside it.
        """
        if spec.noise_multiplier is None:
            raise ValueError("the noise of this spec is not calibrated")
        multiplier, norm = float_up(spec.noise_multiplier), float_up(spec.clip_norm_l2)
        canaries = None
        if spec.audit is not None:
            canaries = ShadowCanaries(
                spec.audit.canaries,
                groups=groups,
                rate=float(spec.rate),
                noise_multiplier=multiplier,
                clip_norm=float_down(spec.clip_norm_l2),
                clip=clip,
                # of their own, so that the records' draws are the same without canaries
                sampler=PoissonSampler(spec.rate),
            )
        return cls(
            clip=clip,
            sampler=PoissonSampler(spec.rate),
            noise=noise,
            clip_norm=float_down(spec.clip_norm_l2),
            standard_deviation=math.nextafter(multiplier * norm, math.inf),
            divisor=spec.normalise_by,
            physical_batch_max=spec.physical_batch_max,
            canaries=canaries,
        )

    def step(self, network: Network, table: Table, step: int) -> Tensor:
        """The noisy mean gradient of one logical batch: (P_all,) float32, ready to be used.

        An empty draw gives noise alone. The noise goes on the sum once, whatever the number of
        physical batches; `step` goes up from call to call.
        """
        total = self.clipped_sum(network, table, self.sampler.draw(table.labels.shape[0]))
        self._add_noise(total, network.groups, Stream.GRADIENT, step)
        if self.canaries is not None:
            seen = self.canaries.clipped_sum()
            each = seen.shape[0] // len(network.groups)
            beside = [slice(k * each, (k + 1) * each) for k in range(len(network.groups))]
            self._add_noise(seen, beside, Stream.CANARIES, step)
            self.canaries.observe(seen)
        return total.div_(self.divisor).float()

    def deviation(self, group: int) -> float:
        """Of the noise on one group's part of the sum: all are clipped together, so all alike."""
        del group
        return self.standard_deviation

    def _add_noise(self, total: Tensor, groups: Sequence[slice], stream: Stream, step: int) -> None:
        """Noise on a sum, in place, group by group: the records' sum and that of the canaries."""
        normals = self.noise.standard_normal(stream, step, total.shape[0])
        for group, where in enumerate(groups):
            total[where].add_(normals[where], alpha=self.deviation(group))

    def clipped_sum(self, network: Network, table: Table, drawn: Tensor) -> Tensor:
        """The sum of the drawn records' clipped gradients: (P_all,) float64. Private."""
        total = torch.zeros_like(network.weights, dtype=torch.float64)
        for first in range(0, drawn.shape[0], self.physical_batch_max):
            rows = drawn[first : first + self.physical_batch_max]
            gradients = network.gradients(table.features[rows], table.labels[rows])
            total += self.clip.clip_and_sum_linear(gradients, self.clip_norm).total
        return total
