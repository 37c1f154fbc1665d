"""Noise added in place: compiled where there is a library, else vectorised by numpy."""

import struct
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernels.native.library import Library, library
from kernels.noise import lattice
from kernels.noise.api import (
    CHUNK_BLOCKS,
    CHUNK_COORDINATES,
    InPlaceNoise,
    require_blocks,
    require_deviation,
    require_in_place,
    require_standard_deviation,
    require_stream,
)
from kernels.noise.chacha20 import chacha20_words

_CHUNKS_AT_ONCE = 2**9


class PlainInPlaceNoise:
    """The path without compiled code; its discrete noise is Python's and slow."""

    name = "pure-numpy"

    def add_noise_(
        self, values: Tensor, standard_deviation: float, key: bytes, nonce: bytes, counter: int = 0
    ) -> int:
        """Slabs of the key stream, Box-Muller in float64."""
        require_stream(key, nonce)
        require_in_place(values, torch.float32)
        require_standard_deviation(standard_deviation)
        end = require_blocks(values.numel(), counter)
        flat = values.view(-1)
        slab = _CHUNKS_AT_ONCE * CHUNK_COORDINATES
        for first in range(0, flat.shape[0], slab):
            count = min(slab, flat.shape[0] - first)
            chunks = -(-count // CHUNK_COORDINATES)
            start = counter + first // CHUNK_COORDINATES * CHUNK_BLOCKS
            words = chacha20_words(key, nonce, start, chunks * CHUNK_BLOCKS)
            normals = _normals(words.reshape(chunks, CHUNK_BLOCKS, 16))[:count]
            flat[first : first + count] += torch.from_numpy(standard_deviation * normals).float()
        return end

    def add_discrete_noise_(self, values: Tensor, deviation: int, key: bytes, nonce: bytes) -> None:
        """By the definition."""
        require_stream(key, nonce)
        require_in_place(values, torch.int64)
        require_deviation(deviation)
        lattice.add_discrete_noise_(values, deviation, key, nonce)


class FusedInPlaceNoise(PlainInPlaceNoise):
    """The compiled form."""

    name = "fused-cpu"

    def __init__(self, loaded: Library) -> None:
        """Work with a loaded library."""
        self._library = loaded

    def add_noise_(
        self, values: Tensor, standard_deviation: float, key: bytes, nonce: bytes, counter: int = 0
    ) -> int:
        """ChaCha20, Box-Muller and the sum in registers; each thread owns whole chunks."""
        require_stream(key, nonce)
        require_in_place(values, torch.float32)
        require_standard_deviation(standard_deviation)
        end = require_blocks(values.numel(), counter)
        self._library.call(
            "add_noise",
            *(values.data_ptr(), values.numel(), standard_deviation, key, nonce, counter),
            torch.get_num_threads(),
        )
        return end

    def add_discrete_noise_(self, values: Tensor, deviation: int, key: bytes, nonce: bytes) -> None:
        """The definition in 128-bit integers."""
        require_stream(key, nonce)
        require_in_place(values, torch.int64)
        require_deviation(deviation)
        self._library.call(
            "add_discrete_noise",
            *(values.data_ptr(), values.numel(), deviation, key, nonce, torch.get_num_threads()),
        )

    def key_stream(self, key: bytes, nonce: bytes, counter: int, blocks: int) -> bytes:
        """The key stream itself, for the vectors of RFC 8439."""
        require_stream(key, nonce)
        words = torch.empty(blocks * 16, dtype=torch.int32)
        self._library.call("key_stream", words.data_ptr(), blocks, key, nonce, counter)
        return struct.pack(f"<{blocks * 16}i", *words.tolist())


def _normals(words: NDArray[np.uint32]) -> NDArray[np.float64]:
    """(chunks, 16 blocks, 16 words) -> (256 * chunks,) in the layout of the door."""
    radius = np.sqrt(-2.0 * np.log((words[:, :, 0::2].astype(np.float64) + 0.5) * 2.0**-32))
    angle = words[:, :, 1::2].astype(np.float64) * (2.0 * np.pi * 2.0**-32)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)])
    return pairs.transpose(1, 3, 0, 2).reshape(-1)  # chunk, i, cosine or sine, block


@cache
def _fused(loaded: Library) -> FusedInPlaceNoise:
    return FusedInPlaceNoise(loaded)


_PLAIN = PlainInPlaceNoise()


def best() -> InPlaceNoise:
    """The compiled form where there is one."""
    loaded = library()
    return _PLAIN if loaded is None else _fused(loaded)
