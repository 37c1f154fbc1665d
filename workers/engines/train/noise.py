"""What a run's noise is for: each purpose has its own nonces (L7, R14)."""

from enum import IntEnum


class Stream(IntEnum):
    """The streams of one run's `kernels.noise.source.NoiseSource`."""

    INITIAL_WEIGHTS = 0
    GRADIENT = 1
    CANARIES = 2
    CLIP_COUNTS = 3
    DIRECTIONS = 4
