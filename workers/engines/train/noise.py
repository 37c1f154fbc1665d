"""The run's own noise: a fresh key from the operating system, and no nonce used twice (L7, R14)."""

import os
import struct
from enum import IntEnum

from torch import Tensor

from kernels.noise.api import KEY_BYTES, NoiseKernel


class Stream(IntEnum):
    """What normals are for; each purpose has its own nonces."""

    INITIAL_WEIGHTS = 0
    GRADIENT = 1
    CANARIES = 2


class RunNoise:
    """Standard normals for one run. A retried or resumed run makes its own, with another key.

    The key lives in memory only: whoever has it can take the noise off again.
    """

    def __init__(self, kernel: NoiseKernel) -> None:
        """Draw the key."""
        self._kernel = kernel
        self._key = os.urandom(KEY_BYTES)
        self._last = dict.fromkeys(Stream, -1)

    def standard_normal(self, stream: Stream, step: int, size: int) -> Tensor:
        """Normals of one step: (size,) float64.

        Args:
            stream: the purpose.
            step: above every step that this stream was asked for before.
            size: how many.

        Raises:
            ValueError: the step does not go up, so its (key, nonce) could be one that was used.
        """
        if step <= self._last[stream]:
            raise ValueError("a step's noise is drawn once and steps go up")
        self._last[stream] = step
        return self._kernel.standard_normal(size, self._key, struct.pack("<IQ", stream, step))
