"""Keyed noise for the CPU: ChaCha20 on rows of blocks at once, Box-Muller in float64."""

import math
import struct

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernels.noise.api import require_stream
from kernels.noise.reference import CONSTANTS

Words = NDArray[np.uint32]

# Blocks worked on at once: 16 words each, so that a round stays within the cache.
_BLOCKS = 2**12


class FusedCpuNoise:
    """The vectorised form. See `kernels.noise.api.NoiseKernel` for the stream's layout."""

    name = "fused-cpu"

    def standard_normal(self, size: int, key: bytes, nonce: bytes) -> Tensor:
        """Box-Muller on slabs of the key stream."""
        require_stream(size, key, nonce)
        values = np.empty((size + 7) // 8 * 8, dtype=np.float64)
        blocks = values.size // 8
        for first in range(0, blocks, _BLOCKS):
            count = min(_BLOCKS, blocks - first)
            bits = chacha20_words(key, nonce, first, count).view("<u8").reshape(-1, 2) >> 11
            uniform = bits.astype(np.float64)
            radius = np.sqrt(-2.0 * np.log((uniform[:, 0] + 1.0) * 2.0**-53))
            angle = (2.0 * math.pi) * (uniform[:, 1] * 2.0**-53)
            slab = values[8 * first : 8 * (first + count)].reshape(-1, 2)
            np.multiply(radius, np.cos(angle), out=slab[:, 0])
            np.multiply(radius, np.sin(angle), out=slab[:, 1])
        return torch.from_numpy(values[:size])


def chacha20_words(key: bytes, nonce: bytes, counter: int, blocks: int) -> Words:
    """The key stream of `blocks` blocks from `counter` on: (16 * blocks,) little-endian words.

    A state is held as four (4, blocks) rows, so one quarter round serves four columns of every
    block; the diagonal rounds turn the rows (RFC 8439, section 2.3).
    """
    start = np.empty((4, 4, blocks), dtype=np.uint32)
    start[0] = np.array(CONSTANTS, dtype=np.uint32)[:, None]
    start[1:3] = np.array(struct.unpack("<8I", key), dtype=np.uint32).reshape(2, 4, 1)
    start[3, 0] = np.arange(counter, counter + blocks, dtype=np.uint64).astype(np.uint32)
    start[3, 1:] = np.array(struct.unpack("<3I", nonce), dtype=np.uint32)[:, None]
    a, b, c, d = (start[row].copy() for row in range(4))
    for _ in range(10):
        _quarter_rounds(a, b, c, d)
        b, c, d = b[[1, 2, 3, 0]], c[[2, 3, 0, 1]], d[[3, 0, 1, 2]]
        _quarter_rounds(a, b, c, d)
        b, c, d = b[[3, 0, 1, 2]], c[[2, 3, 0, 1]], d[[1, 2, 3, 0]]
    stream = np.stack((a, b, c, d))
    stream += start
    return np.ascontiguousarray(stream.reshape(16, blocks).T).astype("<u4", copy=False).reshape(-1)


def _quarter_rounds(a: Words, b: Words, c: Words, d: Words) -> None:
    """One quarter round of RFC 8439 on every column, in place."""
    _add_mix_rotate(a, b, d, 16)
    _add_mix_rotate(c, d, b, 12)
    _add_mix_rotate(a, b, d, 8)
    _add_mix_rotate(c, d, b, 7)


def _add_mix_rotate(target: Words, other: Words, mixed: Words, bits: int) -> None:
    target += other
    mixed ^= target
    high = mixed >> (32 - bits)
    mixed <<= bits
    mixed |= high
