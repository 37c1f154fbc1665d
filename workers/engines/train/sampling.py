"""Who is in a step: one Bernoulli draw per record from the operating system's CSPRNG (L7).

Batches of a fixed size, shuffled batches and ordinary generators have another price or none; the
charge of `poisson_sampled` holds for independent draws only (R6, R28).
"""

import os
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

# A record joins when its 64-bit word lies below rate * 2**64, rounded down: never more often than
# the rate that was charged.
_WORDS = 2**64


class PoissonSampler:
    """Draws the records of one logical batch, each with the same probability and on its own."""

    def __init__(self, rate: Decimal, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        """Fix the rate.

        Args:
            rate: inclusion probability in (0, 1].
            random_bytes: the source of n fresh secret bytes; tests count calls through it.

        Raises:
            ValueError: the rate is not a probability.
        """
        if not 0 < rate <= 1:
            raise ValueError("a sampling rate lies in (0, 1]")
        self._threshold = int(Fraction(rate) * _WORDS)
        self._random_bytes = random_bytes

    def draw(self, records: int) -> Tensor:
        """Indices of the records that are in: (k,) int64 ascending, k from 0 to `records`.

        k is private: it goes into no divisor, log or progress row (R13, R17).
        """
        if self._threshold == _WORDS:
            return torch.arange(records)
        words = np.frombuffer(self._random_bytes(8 * records), dtype="<u8")
        return torch.from_numpy(np.flatnonzero(words < np.uint64(self._threshold)))
