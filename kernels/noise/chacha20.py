"""ChaCha20 (RFC 8439, section 2.3): one block on Python integers, and rows of blocks at once."""

import struct

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

_CONSTANTS = (0x61707865, 0x3320646E, 0x79622D32, 0x6B206574)
_MASK = 0xFFFFFFFF


def chacha20_block(key: bytes, nonce: bytes, counter: int) -> list[int]:
    """The sixteen 32-bit words of one block: the definition."""
    start = [*_CONSTANTS, *struct.unpack("<8I", key), counter, *struct.unpack("<3I", nonce)]
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


def chacha20_words(key: bytes, nonce: bytes, counter: int, blocks: int) -> Words:
    """The key stream of `blocks` blocks from `counter` on: (16 * blocks,) little-endian words.

    A state is held as four (4, blocks) rows, so one quarter round serves four columns of every
    block; the diagonal rounds turn the rows (RFC 8439, section 2.3).
    """
    start = np.empty((4, 4, blocks), dtype=np.uint32)
    start[0] = np.array(_CONSTANTS, dtype=np.uint32)[:, None]
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
