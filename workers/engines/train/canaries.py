"""Shadow canaries: made-up records whose gradients lie where no layer reads (R26).

Each canary is in the run or not by a fair coin, and where it is in, it is drawn, clipped, summed
and noised by the code that does so with the records. It owns one coordinate beside each layer, so
it can harm no weight and no two of them meet: what an attack on them achieves bounds what the run's
mechanism really is. They are nobody's data, so what is said of them costs nothing, and they are in
no divisor, no nominal size and no cap.

Not covered: data that leaks past the gradients (R13), and a wrong neighbouring relation.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from app.domain.canaries import CanaryScores
from kernels.private.model import PrivateModel, privatize
from kernels.private.spec import ClipSpec
from workers.engines.train.sampling import PoissonSampler

# Canaries that stand side by side in one pass, at the most and at the least.
SIDE_BY_SIDE = 1024
_SIDE_BY_SIDE_LEAST = 32
# A canary's own norm over C: far enough above it that a run without clipping shows.
LOUDNESS = 3.0
# Beyond this a likelihood ratio only says the same more loudly.
_LARGEST_EXPONENT = 60.0


@dataclass(frozen=True, slots=True)
class GroupNoise:
    """The noise seen beside one layer, over what was claimed.

    sum_of_squares: of `count` independent values, each over the claimed standard deviation.
    """

    sum_of_squares: float
    count: int

    @property
    def ratio(self) -> float:
        """The measured standard deviation over the claimed one."""
        return math.sqrt(self.sum_of_squares / self.count)


class _Beside(nn.Module):
    """As many layers as the model has, each with a number for every canary of one pass.

    A layer reads 0 and adds its bias, so a canary's gradient is what it brings, and no weight's.
    """

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(1, width) for _ in range(layers))

    def forward(self, own: Tensor) -> Tensor:
        """(B, width), what each canary brings -> (B,)."""
        nothing = own.new_zeros(own.shape[0], 1)
        total: Tensor = self.layers[0](nothing)
        for layer in self.layers[1:]:
            total = total + layer(nothing)
        return (total * own).sum(dim=1)


def _brought(model: nn.Module, own: Tensor) -> Tensor:
    losses: Tensor = model(own)
    return losses


class ShadowCanaries:
    """The canaries of one run. Made fresh for each: their coins are drawn here."""

    def __init__(
        self,
        count: int,
        *,
        layers: int,
        rate: float,
        noise_multiplier: float,
        clip: ClipSpec,
        sampler: PoissonSampler,
        private: Callable[[nn.Module, ClipSpec, tuple[Tensor]], PrivateModel] = privatize,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Toss the coins.

        Args:
            count: how many canaries.
            layers: of the model; C is shared evenly among a canary's coordinates.
            rate: as claimed: the scores are what the claim makes of the noisy sums.
            noise_multiplier: as claimed.
            clip: how the records are clipped; the canaries are clipped so by the same code.
            sampler: what draws the records.
            private: what makes the records' model clip.
            random_bytes: n fresh secret bytes.
        """
        coins = np.unpackbits(np.frombuffer(random_bytes(-(-count // 8)), dtype=np.uint8))
        is_member = torch.from_numpy(coins[:count].astype(bool))
        self._members = is_member.nonzero().flatten()
        self._others = (~is_member).float()
        self._rate, self._noise, self._bound = rate, noise_multiplier, clip.bound
        self._sampler, self._layers = sampler, layers
        expected = max(1.0, rate * self._members.shape[0])
        self._width = 2 ** math.ceil(math.log2(expected * 1.25))
        self._width = min(max(self._width, _SIDE_BY_SIDE_LEAST), SIDE_BY_SIDE)
        self._beside = private(
            _Beside(layers, self._width),
            replace(clip, microbatch=self._width, keeps_norms=False),
            (torch.eye(3, self._width),),
        )
        self._score = torch.zeros(count, dtype=torch.float64)
        self._squares = torch.zeros(layers, dtype=torch.float64)
        self._steps = 0

    @property
    def layers(self) -> int:
        """Of how many layers the noise is seen."""
        return self._layers

    def set_bound(self, bound: float) -> None:
        """Follow the records' C: a canary is as loud as before, in units of C."""
        self._bound = bound
        self._beside.set_bound(bound)

    def clipped_sum(self) -> Tensor:
        """The sum of the drawn canaries' clipped gradients: (layers, canaries) float32."""
        total = torch.zeros(self._layers, self._score.shape[0])
        drawn = self._members[self._sampler.draw(self._members.shape[0])]
        loud = LOUDNESS * self._bound / math.sqrt(self._layers)
        for places in torch.split(drawn, self._width):
            rows = places.shape[0]
            own = torch.zeros(rows, self._width)
            own.diagonal().fill_(loud)
            self._beside.model.zero_grad(set_to_none=True)
            self._beside.sum_gradients(_brought, own)
            for layer, (_, bias) in enumerate(self._beside.layers()):
                assert bias.grad is not None  # noqa: S101 - a sum leaves one
                total[layer, places] = bias.grad[:rows]
        return total

    def observe(self, noisy: Tensor) -> None:
        """Take one step's noisy sum: (layers, canaries); it is what a release would be.

        The score is the log likelihood ratio of a member under the claim, over the sum of a
        canary's coordinates weighted by what it adds to each.
        """
        values = noisy / self._bound
        seen = values.sum(dim=0).mul_(1.0 / math.sqrt(self._layers))
        exponent = seen.mul_(2.0).sub_(1.0).div_(2.0 * self._noise**2)
        exponent.clamp_(-_LARGEST_EXPONENT, _LARGEST_EXPONENT)
        self._score += torch.log1p(exponent.expm1_().mul_(self._rate))
        self._squares += values.div_(self._noise).square_() @ self._others
        self._steps += 1

    def seen(self) -> dict[str, Tensor]:
        """What they have seen so far, and who is in, for a checkpoint; nobody's data."""
        return {"others": self._others, "score": self._score, "squares": self._squares}

    def go_on(self, seen: Mapping[str, Tensor], *, steps: int) -> None:
        """Be the canaries of an earlier claim, with their coins, after that many steps (R14)."""
        self._others = seen["others"]
        self._members = (self._others == 0.0).nonzero().flatten()
        self._score, self._squares, self._steps = seen["score"], seen["squares"], steps

    def scores(self) -> CanaryScores:
        """What an attack knows at the end."""
        is_member = self._others == 0.0
        scores = self._score.numpy()
        return CanaryScores(scores[is_member.numpy()], scores[~is_member.numpy()])

    def noise(self) -> list[GroupNoise]:
        """The noise beside each layer, from canaries that were never in."""
        count = self._steps * int(self._others.sum())
        return [GroupNoise(float(squares), count) for squares in self._squares]
