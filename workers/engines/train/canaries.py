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
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from app.domain.canaries import CanaryScores
from app.domain.training.spec import TrainSpec
from kernels.private.model import PrivateModel, privatize
from kernels.private.spec import ClipSpec, Mode
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
    """Layers with a number for every canary of one pass beside each layer of the model.

    A layer reads 0 and adds its bias, so a canary's gradient is what it brings, and no weight's.
    """

    def __init__(self, parts: Sequence[int], width: int) -> None:
        """Make them.

        Args:
            parts: of how many of the model's layers each of these holds the numbers.
            width: how many canaries there are in one pass.
        """
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(1, part * width) for part in parts)

    def forward(self, own: Tensor) -> Tensor:
        """(B, width), what each canary brings beside each layer -> (B,)."""
        nothing = own.new_zeros(own.shape[0], 1)
        total: Tensor = self._beside(self.layers[0](nothing), own)
        for layer in self.layers[1:]:
            total = total + self._beside(layer(nothing), own)
        return (total * own).sum(dim=1)

    @staticmethod
    def _beside(held: Tensor, own: Tensor) -> Tensor:
        """The sum over the model's layers that one of these stands beside: (B, width)."""
        if held.shape == own.shape:
            return held
        return held.view(own.shape[0], -1, own.shape[1]).sum(dim=1)


def _parts(layers: int, width: int, mode: Mode) -> list[int]:
    """How the model's layers share those beside: few layers are cheap, many numbers are not.

    A layer of the model that is clipped by itself keeps one of its own. Where all are clipped
    together there are at least two, so that they pass through the books as the records' do and
    through no fused layer.
    """
    together = 1 if mode == "per_layer" else min(SIDE_BY_SIDE // width, layers - 1)
    whole, rest = divmod(layers, max(1, together))
    return [max(1, together)] * whole + [rest] * (rest > 0)


def _brought(model: nn.Module, own: Tensor) -> Tensor:
    losses: Tensor = model(own)
    return losses


class Canaries(ABC):
    """The canaries of one run. Made fresh for each: their coins are drawn here."""

    def __init__(
        self,
        count: int,
        *,
        layers: int,
        rate: float,
        noise_multiplier: float,
        bound: float,
        sampler: PoissonSampler,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Toss the coins.

        Args:
            count: how many canaries.
            layers: of the model; C is shared evenly among a canary's coordinates.
            rate: as claimed: the scores are what the claim makes of the noisy sums.
            noise_multiplier: as claimed.
            bound: C.
            sampler: what draws the records.
            random_bytes: n fresh secret bytes.
        """
        coins = np.unpackbits(np.frombuffer(random_bytes(-(-count // 8)), dtype=np.uint8))
        is_member = torch.from_numpy(coins[:count].astype(bool))
        self._members = is_member.nonzero().flatten()
        self._others = (~is_member).float()
        self._rate, self._noise, self._bound = rate, noise_multiplier, bound
        self._sampler, self._layers = sampler, layers
        self._score = torch.zeros(count, dtype=torch.float64)
        self._squares = torch.zeros(layers, dtype=torch.float64)
        self._steps = 0

    @classmethod
    def of(cls, spec: TrainSpec, noise_multiplier: float, **own: Any) -> Self | None:
        """Those that a spec asks for; None where its run carries none.

        They have a sampler of their own, so that the records' draws are the same without them.

        Args:
            spec: the run's.
            noise_multiplier: as claimed of the records' sums.
            own: what else this kind of canary is made of.
        """
        if spec.audit is None:
            return None
        return cls(
            spec.audit.canaries,
            rate=float(spec.rate),
            noise_multiplier=noise_multiplier,
            sampler=PoissonSampler(spec.rate),
            **own,
        )

    @property
    def layers(self) -> int:
        """Of how many layers the noise is seen."""
        return self._layers

    def set_bound(self, bound: float) -> None:
        """Follow the records' C: a canary is as loud as before, in units of C."""
        self._bound = bound

    @abstractmethod
    def clipped_sum(self) -> Tensor:
        """The sum of the drawn canaries' clipped gradients: (layers, canaries) float32."""

    def drawn(self) -> Tensor:
        """The members that one step draws, as the records are drawn: (k,) int64."""
        return self._members[self._sampler.draw(self._members.shape[0])]

    def step(self, add_noise: Callable[[Sequence[Tensor]], None]) -> None:
        """Be in one step of the run.

        Args:
            add_noise: what adds the noise of a sum, layer by layer and in place: the records' own.
        """
        seen = self.clipped_sum()
        add_noise(list(seen))
        self.observe(seen)

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


class ShadowCanaries(Canaries):
    """Canaries whose gradients a model beside the records' one clips and sums, by the same spec."""

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
        """Toss the coins and make the model beside.

        Args:
            count: as in `Canaries`.
            layers: as there.
            rate: as there.
            noise_multiplier: as there.
            sampler: as there.
            random_bytes: as there.
            clip: how the records are clipped; the canaries are clipped so by the same code.
            private: what makes the records' model clip.
        """
        super().__init__(
            count,
            layers=layers,
            rate=rate,
            noise_multiplier=noise_multiplier,
            bound=clip.bound,
            sampler=sampler,
            random_bytes=random_bytes,
        )
        expected = max(1.0, rate * self._members.shape[0])
        self._width = 2 ** math.ceil(math.log2(expected * 1.25))
        self._width = min(max(self._width, _SIDE_BY_SIDE_LEAST), SIDE_BY_SIDE)
        self._parts = _parts(layers, self._width, clip.mode)
        self._beside = private(
            _Beside(self._parts, self._width),
            replace(clip, microbatch=self._width, keeps_norms=False),
            (torch.eye(3, self._width),),
        )
        self._coordinates = [bias for _, bias in self._beside.layers()]
        self._own = self._brings()

    def _brings(self) -> Tensor:
        """(width, width): each canary of a pass has a coordinate of its own, far above C."""
        return torch.eye(self._width).mul_(LOUDNESS * self._bound / math.sqrt(self._layers))

    def set_bound(self, bound: float) -> None:
        """See `Canaries`."""
        super().set_bound(bound)
        self._beside.set_bound(bound)
        self._own = self._brings()

    def clipped_sum(self) -> Tensor:
        """See `Canaries`."""
        total = torch.zeros(self._layers, self._score.shape[0])
        for places in torch.split(self.drawn(), self._width):
            rows = places.shape[0]
            self._beside.drop_gradients()
            self._beside.sum_gradients(_brought, self._own[:rows])
            first = 0
            for part, bias in zip(self._parts, self._coordinates, strict=True):
                assert bias.grad is not None  # noqa: S101 - a sum leaves one
                held = bias.grad.view(part, self._width)[:, :rows]
                total[first : first + part].index_copy_(1, places, held)
                first += part
        return total
