"""The discrete Gaussian as it is defined: Python integers, one trial at a time.

The compiled form reads the same bits in the same order, so both draw the same integers.
"""

import struct
from collections.abc import Iterator

from torch import Tensor

from kernels.noise.chacha20 import chacha20_block

CHUNK_INTEGERS = 1024


def add_discrete_noise_(values: Tensor, deviation: int, key: bytes, nonce: bytes) -> None:
    """See `kernels.noise.api.InPlaceNoise.add_discrete_noise_`."""
    flat = values.view(-1)
    for first in range(0, flat.shape[0], CHUNK_INTEGERS):
        bits = _words(key, nonce, first // CHUNK_INTEGERS)
        count = min(CHUNK_INTEGERS, flat.shape[0] - first)
        drawn = [discrete_gaussian(bits, deviation) for _ in range(count)]
        flat[first : first + count] += flat.new_tensor(drawn)


def discrete_gaussian(bits: Iterator[int], deviation: int) -> int:
    """One sample of N_Z(0, deviation^2) by rejection from a discrete Laplace of that scale."""
    while True:
        rest = _uniform(bits, deviation)
        if not _exp_coin(bits, rest, deviation):
            continue
        whole = 0
        while whole < 64 and _exp_coin(bits, 1, 1):
            whole += 1
        if whole == 64:
            continue
        size = rest + deviation * whole
        negative = next(bits) >> 63 == 1
        if negative and size == 0:
            continue
        if _exp_coin(bits, (size - deviation) ** 2, 2 * deviation**2):
            return -size if negative else size


def _words(key: bytes, nonce: bytes, chunk: int) -> Iterator[int]:
    """64-bit words under the chunk's own key."""
    own = struct.pack("<8I", *chacha20_block(key, nonce, chunk)[:8])
    counter = 0
    while True:
        block = chacha20_block(own, bytes(12), counter)
        counter += 1
        for low, high in zip(block[::2], block[1::2], strict=True):
            yield high << 32 | low


def _uniform(bits: Iterator[int], below: int) -> int:
    """Uniform on [0, below), by rejection from the fewest bits that hold it."""
    if below < 2**64:
        if below <= 1:
            return 0
        spare = 64 - (below - 1).bit_length()
        while True:
            drawn = next(bits) >> spare
            if drawn < below:
                return drawn
    spare = 64 - max(1, ((below - 1) >> 64).bit_length())
    while True:
        high = next(bits)
        drawn = (high << 64 | next(bits)) >> spare
        if drawn < below:
            return drawn


def _exp_coin(bits: Iterator[int], top: int, bottom: int) -> bool:
    """Bernoulli(exp(-top / bottom))."""
    while top > bottom:
        if not _exp_coin_up_to_one(bits, 1, 1):
            return False
        top -= bottom
    return _exp_coin_up_to_one(bits, top, bottom)


def _exp_coin_up_to_one(bits: Iterator[int], top: int, bottom: int) -> bool:
    """The parity of the first k at which a Bernoulli(top / (bottom k)) fails; top <= bottom."""
    k = 1
    while _uniform(bits, bottom * k) < top:
        k += 1
    return k % 2 == 1
