"""One run's noise: a key from the operating system, and nonces that only go up (L7, R14)."""

import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.noise.api import DEVIATION_MOST, KEY_BYTES, require_standard_deviation
from kernels.noise.in_place import best

# What rounding to the grid adds to the bound: C * 2**-20 unless the sampler's range is too small.
GRID_FINENESS = 2.0**-20


@dataclass(frozen=True, slots=True)
class Grid:
    """An integer grid for one sum, and the noise on it.

    step: a power of two, in the units of the sum.
    sensitivity: of the rounded sum, in the same units: C + sqrt(P) step.
    deviation: of the discrete Gaussian, in steps, rounded up.
    """

    step: float
    sensitivity: float
    deviation: int

    @classmethod
    def of(cls, bound: float, coordinates: int, noise_multiplier: float) -> "Grid":
        """The finest grid for a sum of that L2 sensitivity.

        Two neighbouring sums differ by at most C, and each rounds by at most half a step a
        coordinate, so their roundings differ by at most C + sqrt(P) steps.

        Args:
            bound: C, finite and above 0.
            coordinates: P, all coordinates that share the bound.
            noise_multiplier: noise over sensitivity, finite and above 0.

        Raises:
            ValueError: not finite, or so much noise that no grid holds it.
        """
        require_standard_deviation(bound)
        require_standard_deviation(noise_multiplier)
        root = math.sqrt(max(1, coordinates))
        exponent = math.floor(math.log2(bound * GRID_FINENESS / root))
        while True:
            step = 2.0**exponent
            sensitivity = math.nextafter(bound + math.nextafter(root, math.inf) * step, math.inf)
            # Two roundings of 2**-53 each are below one part in 2**50.
            deviation = math.ceil(noise_multiplier * (sensitivity / step) * (1 + 2.0**-50))
            if deviation <= DEVIATION_MOST:
                return cls(step, sensitivity, deviation)
            exponent += 1
            if step > bound:
                raise ValueError("no grid is wide enough for so much noise")


class NoiseSource:
    """Noise for the steps of one run. A resumed run makes its own source, with another key.

    The key lives in memory only: whoever has it can take the noise off again.
    """

    def __init__(self) -> None:
        """Draw the key."""
        self._key = os.urandom(KEY_BYTES)
        self._last: dict[int, int] = {}

    def add_gaussian_(
        self, sums: Sequence[Tensor], standard_deviation: float, *, stream: int, step: int
    ) -> None:
        """Add float noise to every tensor of a step; they share one nonce and no block.

        Raises:
            ValueError: this step of this stream has had its noise.
        """
        nonce = self._nonce(stream, step)
        counter = 0
        for values in sums:
            counter = best().add_noise_(values, standard_deviation, self._key, nonce, counter)

    def on_grid(self, total: Tensor, grid: Grid, *, stream: int, step: int) -> Tensor:
        """Round a sum to its grid, add exact discrete noise, and scale back: float64, same shape.

        A sum in float64 is meant: the rounding of a float32 sum would come on top of `grid`'s
        sensitivity.

        Raises:
            ValueError: this step of this stream has had its noise, or the sum is not finite.
        """
        nonce = self._nonce(stream, step)
        steps = torch.round(total.double() / grid.step)
        if not bool(torch.isfinite(steps).all()) or float(steps.abs().max()) >= 2.0**62:
            raise ValueError("a clipped sum is finite and fits its grid")
        whole = steps.to(torch.int64).contiguous()
        best().add_discrete_noise_(whole, grid.deviation, self._key, nonce)
        return whole.double() * grid.step

    def _nonce(self, stream: int, step: int) -> bytes:
        """The nonce of a step, given out once: steps of a stream only go up."""
        if step <= self._last.get(stream, -1):
            raise ValueError("a step's noise is drawn once and steps go up")
        self._last[stream] = step
        return struct.pack("<IQ", stream, step)
