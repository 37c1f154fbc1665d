"""Keyed noise as it is defined: ChaCha20 on Python integers, Box-Muller by libm."""

import math
import struct

import torch
from torch import Tensor

from kernels.noise.api import require_stream

CONSTANTS = (0x61707865, 0x3320646E, 0x79622D32, 0x6B206574)
_MASK = 0xFFFFFFFF


class ReferenceNoise:
    """The definition that every other form is compared with. See `kernels.noise.api`."""

    name = "reference"

    def standard_normal(self, size: int, key: bytes, nonce: bytes) -> Tensor:
        """One Box-Muller pair at a time."""
        require_stream(size, key, nonce)
        values: list[float] = []
        words: list[int] = []
        for block in range((2 * size + 15) // 16 + 1):
            words += chacha20_block(key, nonce, block)
        for j in range((size + 1) // 2):
            radius_bits = (words[4 * j + 1] << 32 | words[4 * j]) >> 11
            angle_bits = (words[4 * j + 3] << 32 | words[4 * j + 2]) >> 11
            radius = math.sqrt(-2.0 * math.log((radius_bits + 1) * 2.0**-53))
            angle = 2.0 * math.pi * (angle_bits * 2.0**-53)
            values += [radius * math.cos(angle), radius * math.sin(angle)]
        return torch.tensor(values[:size], dtype=torch.float64)


def chacha20_block(key: bytes, nonce: bytes, counter: int) -> list[int]:
    """The sixteen 32-bit words of one ChaCha20 block (RFC 8439, section 2.3)."""
    start = [*CONSTANTS, *struct.unpack("<8I", key), counter, *struct.unpack("<3I", nonce)]
    state = list(start)
    for _ in range(10):
        for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
            _quarter_round(state, a, b, c, d)
        for a, b, c, d in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            _quarter_round(state, a, b, c, d)
    return [(word + first) & _MASK for word, first in zip(state, start, strict=True)]


def _quarter_round(state: list[int], a: int, b: int, c: int, d: int) -> None:
    for target, other, mixed, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[target] = (state[target] + state[other]) & _MASK
        word = state[mixed] ^ state[target]
        state[mixed] = (word << bits | word >> (32 - bits)) & _MASK
