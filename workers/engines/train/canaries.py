"""Shadow canaries: made-up records whose gradients lie where no layer reads (R26).

Each canary is in the run or not by a fair coin, and where it is in, it is drawn, clipped, summed
and noised by the code that does so with the records. It owns one coordinate beside each group of
parameters, so it can harm no weight and no two of them meet: what an attack on them achieves bounds
what the run's mechanism really is. They are nobody's data, so what is said of them costs nothing,
and they are in no divisor, no nominal size and no cap.

Not covered: data that leaks past the gradients (R13), and a wrong neighbouring relation.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.domain.canaries import CanaryScores
from kernels.clip.api import ClipKernel, LinearGradients
from workers.engines.train.sampling import PoissonSampler

# Canaries that stand side by side in one call of the clipping kernel.
SIDE_BY_SIDE = 1024
# A canary's own norm over C: far enough above it that a run without clipping shows.
LOUDNESS = 3.0
# Beyond this a likelihood ratio only says the same more loudly.
_LARGEST_EXPONENT = 60.0


@dataclass(frozen=True, slots=True)
class GroupNoise:
    """The noise seen beside one group of parameters, over what was claimed.

    sum_of_squares: of `count` independent values, each over the claimed standard deviation.
    """

    sum_of_squares: float
    count: int

    @property
    def ratio(self) -> float:
        """The measured standard deviation over the claimed one."""
        return math.sqrt(self.sum_of_squares / self.count)


class ShadowCanaries:
    """The canaries of one run. Made fresh for each: their coins are drawn here."""

    def __init__(
        self,
        count: int,
        *,
        groups: int,
        rate: float,
        noise_multiplier: float,
        clip_norm: float,
        clip: ClipKernel,
        sampler: PoissonSampler,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Toss the coins.

        Args:
            count: how many canaries.
            groups: groups of parameters; C is shared evenly among a canary's coordinates.
            rate: as claimed: the scores are what the claim makes of the noisy sums.
            noise_multiplier: as claimed.
            clip_norm: C.
            clip: what clips the records.
            sampler: what draws the records.
            random_bytes: n fresh secret bytes.
        """
        coins = np.unpackbits(np.frombuffer(random_bytes(-(-count // 8)), dtype=np.uint8))
        self._is_member = coins[:count].astype(bool)
        self._members = torch.from_numpy(np.flatnonzero(self._is_member))
        self._groups, self._rate, self._noise = groups, rate, noise_multiplier
        self._clip, self._clip_norm, self._sampler = clip, clip_norm, sampler
        self._score = np.zeros(count)
        self._squares = np.zeros(groups)
        self._steps = 0

    @property
    def coordinates(self) -> int:
        """How many coordinates a step's sum has for them: group by group, canary by canary."""
        return self._groups * self._score.shape[0]

    def clipped_sum(self) -> Tensor:
        """The sum of the drawn canaries' clipped gradients: (groups x canaries,) float64."""
        count = self._score.shape[0]
        total = torch.zeros(self._groups, count, dtype=torch.float64)
        drawn = self._members[self._sampler.draw(self._members.shape[0])]
        for first in range(0, count, SIDE_BY_SIDE):
            last = min(first + SIDE_BY_SIDE, count)
            here = drawn[(drawn >= first) & (drawn < last)] - first
            if here.shape[0]:
                total[:, first:last] = self._clipped(here, last - first)
        return total.flatten()

    def observe(self, noisy: Tensor) -> None:
        """Take one step's noisy sum: (groups x canaries,) float64; it is what a release would be.

        The score is the log likelihood ratio of a member under the claim, over the sum of a
        canary's coordinates weighted by what it adds to each.
        """
        count = self._score.shape[0]
        values = noisy.view(self._groups, count).numpy() / self._clip_norm
        share = 1.0 / math.sqrt(self._groups)
        seen = values.sum(axis=0) * share
        exponent = (2.0 * seen - 1.0) / (2.0 * self._noise**2)
        ratio = np.clip(exponent, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)
        self._score += np.log1p(self._rate * np.expm1(ratio))
        others = values[:, ~self._is_member] / self._noise
        self._squares += (others * others).sum(axis=1)
        self._steps += 1

    def scores(self) -> CanaryScores:
        """What an attack knows at the end."""
        return CanaryScores(self._score[self._is_member], self._score[~self._is_member])

    def noise(self) -> list[GroupNoise]:
        """The noise beside each group, from canaries that were never in."""
        count = self._steps * int((~self._is_member).sum())
        return [GroupNoise(float(squares), count) for squares in self._squares]

    def _clipped(self, places: Tensor, width: int) -> Tensor:
        """Rows of one loud coordinate a group, through the kernel that clips the records."""
        loud = LOUDNESS * self._clip_norm / math.sqrt(self._groups)
        rows = places.shape[0]
        own = torch.zeros(rows, width)
        own[torch.arange(rows), places] = loud
        # the bias of a layer whose input is 0: its gradient is the row itself
        layer = LinearGradients(torch.zeros(rows, 1), own)
        total = self._clip.clip_and_sum_linear([layer] * self._groups, self._clip_norm).total
        return total.view(self._groups, 2, width)[:, 1]
