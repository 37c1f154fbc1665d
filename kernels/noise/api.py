"""The door of the noise kernels: noise as a fixed function of a key and a nonce.

`in_place.py` holds its forms; `chacha20.py` and `lattice.py` define cipher and discrete noise.
Keys come from the caller, who draws them from the operating system and never repeats a
(key, nonce) pair (L7, R14); a kernel has no state and no randomness of its own.
"""

import math
from typing import Protocol

import torch
from torch import Tensor

KEY_BYTES = 32
NONCE_BYTES = 12
CHUNK_COORDINATES = 256
CHUNK_BLOCKS = 16
# The discrete sampler compares integers of 128 bits.
DEVIATION_MOST = 2**40


class InPlaceNoise(Protocol):
    """Noise that is added where the sum lies, so that nothing but the sum is written."""

    name: str

    def add_noise_(
        self, values: Tensor, standard_deviation: float, key: bytes, nonce: bytes, counter: int = 0
    ) -> int:
        """Add one independent Gaussian to each coordinate, in place.

        Args:
            values: dense float32, any shape.
            standard_deviation: finite and above 0, in the units of `values`.
            key: 32 secret bytes from the operating system.
            nonce: 12 bytes that are used once with this key, but for disjoint ranges of blocks.
            counter: the first block; several tensors may share a nonce one after the other.

        Returns:
            The first block that was not used. Chunk k of 256 coordinates uses the 16 blocks from
            counter + 16 k on; within it, coordinates 32 i + l and 32 i + 16 + l are cosine and sine
            of the pair whose radius comes from word 2 i and whose angle comes from word 2 i + 1 of
            its block l.

        Guarantee: independent normals if ChaCha20 is a pseudo-random function, up to float32
        rounding and a tail that ends at 6.76 standard deviations (mass 1.4e-11 a coordinate is
        moved inside). Float noise is outside the theorem of the Gaussian mechanism (R25).
        Source: RFC 8439, section 2.3; Box and Muller 1958.
        """

    def add_discrete_noise_(self, values: Tensor, deviation: int, key: bytes, nonce: bytes) -> None:
        """Add one independent discrete Gaussian N_Z(0, deviation^2) to each integer, in place.

        Args:
            values: dense int64, any shape, far from its limits.
            deviation: whole steps of the grid, from 1 to 2**40.
            key: 32 secret bytes from the operating system.
            nonce: 12 bytes that are used once with this key.

        Guarantee: exact in integers if ChaCha20 is a random function; no float is touched. Chunk k
        of 1024 integers draws from ChaCha20 under a key of its own, the first half of block k.
        Source: Canonne, Kamath and Steinke 2020, Algorithms 1 to 3.
        """


def require_stream(key: bytes, nonce: bytes) -> None:
    """Refuse what would not be one key stream of RFC 8439.

    Raises:
        ValueError: a key or a nonce of another length.
    """
    if len(key) != KEY_BYTES or len(nonce) != NONCE_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes and a nonce {NONCE_BYTES}")


def require_in_place(values: Tensor, dtype: torch.dtype) -> None:
    """Refuse a tensor whose memory is not one dense row of that dtype.

    Raises:
        ValueError: another dtype, another device, or gaps.
    """
    if values.dtype != dtype or values.device.type != "cpu" or not values.is_contiguous():
        raise ValueError(f"noise is added to dense {dtype} tensors in main memory")


def require_blocks(count: int, counter: int) -> int:
    """The first unused block after `count` coordinates from `counter` on.

    Raises:
        ValueError: the 32-bit block counter would turn over, and the stream with it.
    """
    end = counter + (count + CHUNK_COORDINATES - 1) // CHUNK_COORDINATES * CHUNK_BLOCKS
    if not 0 <= counter <= end <= 2**32:
        raise ValueError("one nonce covers 2**32 blocks: take another for the rest")
    return end


def require_deviation(deviation: int) -> None:
    """Refuse a grid deviation outside the range of the exact sampler.

    Raises:
        ValueError: not in [1, 2**40].
    """
    if not 1 <= deviation <= DEVIATION_MOST:
        raise ValueError(f"deviation must lie in [1, {DEVIATION_MOST}] steps of the grid")


def require_standard_deviation(standard_deviation: float) -> None:
    """Refuse noise that is not there.

    Raises:
        ValueError: not finite, zero or negative.
    """
    if not (math.isfinite(standard_deviation) and standard_deviation > 0.0):
        raise ValueError("standard_deviation must be finite and above 0")
