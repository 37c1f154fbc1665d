"""What moves C after each step: a noisy count of the records that were not clipped.

The count is private until it has its noise, and it is part of what the step is charged for
(`app.domain.training.clipping.AdaptiveClip` has the proof). Canaries are not in it (R26).
"""

from typing import Final

import torch
from torch import Tensor

from app.domain.decimals import float_up
from app.domain.training.clipping import AdaptiveClip
from kernels.noise.source import NoiseSource
from kernels.private.model import PrivateModel
from workers.engines.train.noise import Stream

# Half the width, over C, of the ramp between clipped and not.
RAMP: Final = 1 / 32


def excess(norms: Tensor, bound: float) -> Tensor:
    """The sum of b - 1/2 over records: b is 1 well below C, 0 well above it, and a ramp between.

    Each record moves it by at most 1/2 either way. A ramp in the place of a step, because the norm
    of a record may be rounded otherwise beside other rows: that moves a sum by as little as it
    moves the norms, where of a count it could make whole records. A norm that is not finite is
    above C.

    Args:
        norms: (n,) float64. Private.
        bound: C.
    """
    known = torch.nan_to_num(norms, nan=torch.inf)
    share = ((bound * (1 + RAMP) - known) / (2 * RAMP * bound)).clamp(0.0, 1.0)
    return (share - 0.5).sum()


class ClipFollower:
    """Moves the C of one model. last_norm: the C that the last step clipped to."""

    def __init__(self, spec: AdaptiveClip, private: PrivateModel, expected: float) -> None:
        """Begin at the model's C.

        Args:
            spec: the run's.
            private: keeps norms; those of made-up records are forgotten here.
            expected: the records of a draw, by a public number.
        """
        self._spec, self._private, self._expected = spec, private, expected
        self.last_norm = private.spec.bound
        private.take_norms()

    def follow(self, noise: NoiseSource, step: int) -> float:
        """Take the count of the step that has just been summed, and give the C of the next one."""
        self.last_norm = self._private.spec.bound
        total = excess(self._private.take_norms(), self.last_norm).float()[None]
        noise.add_gaussian_(
            [total], float_up(self._spec.count_noise), stream=Stream.CLIP_COUNTS, step=step
        )
        bound = self._spec.moved(self.last_norm, float(total), self._expected)
        self._private.set_bound(bound)
        return bound
