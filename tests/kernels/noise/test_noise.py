"""Attacks on the keyed noise: the cipher's vectors, the distribution, the stream's layout."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from kernels.noise.api import NoiseKernel
from kernels.noise.fused_cpu import FusedCpuNoise, chacha20_words
from kernels.noise.reference import ReferenceNoise, chacha20_block

KEY = bytes(range(32))
NONCE = bytes.fromhex("000000090000004a00000000")
# RFC 8439, section 2.3.2: the state after block 1.
RFC_8439_BLOCK = [
    *(
        0xE4E7F110,
        0x15593BD1,
        0x1FDD0F50,
        0xC47120A3,
        0xC7F4D1C7,
        0x0368C033,
        0x9AAA2204,
        0x4E6CD4C3,
    ),
    *(
        0x466482D2,
        0x09AA9F07,
        0x05D7C214,
        0xA2028BD9,
        0xD19C12B5,
        0xB94E16DE,
        0xE883D0CB,
        0x4E3C50A2,
    ),
]
KERNELS: list[NoiseKernel] = [ReferenceNoise(), FusedCpuNoise()]
kernels = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)


def test_the_cipher_gives_the_block_of_rfc_8439() -> None:
    assert chacha20_block(KEY, NONCE, 1) == RFC_8439_BLOCK
    assert chacha20_words(KEY, NONCE, 1, 1).tolist() == RFC_8439_BLOCK


def test_the_key_stream_is_that_of_rfc_8439_appendix_a_1() -> None:
    # Test vectors 1 and 2: an all-zero key and nonce, blocks 0 and 1.
    stream = chacha20_words(bytes(32), bytes(12), 0, 2).tobytes()
    assert stream[:16].hex() == "76b8e0ada0f13d90405d6ae55386bd28"
    assert stream[64:80].hex() == "9f07e7be5551387a98ba977c732d080d"


def test_the_block_counter_turns_over_as_32_bits() -> None:
    words = chacha20_words(KEY, NONCE, 2**32 - 1, 1).tolist()
    assert words == chacha20_block(KEY, NONCE, 2**32 - 1)


@pytest.mark.parametrize("size", [0, 1, 2, 7, 8, 9, 1001])
def test_the_fused_form_draws_the_noise_of_the_definition(size: int) -> None:
    expected = ReferenceNoise().standard_normal(size, KEY, NONCE)
    drawn = FusedCpuNoise().standard_normal(size, KEY, NONCE)
    assert drawn.shape == (size,)
    assert drawn.dtype == torch.float64
    torch.testing.assert_close(drawn, expected, rtol=1e-12, atol=1e-12)


def test_slabs_of_the_stream_join_without_a_seam() -> None:
    size = 8 * 2**12 + 40  # a little more than one slab
    drawn = FusedCpuNoise().standard_normal(size, KEY, NONCE)
    last = size // 8 - 1
    words = chacha20_block(KEY, NONCE, last)
    radius = math.sqrt(-2 * math.log(((words[1] << 32 | words[0]) // 2**11 + 1) / 2**53))
    angle = 2 * math.pi * ((words[3] << 32 | words[2]) // 2**11) / 2**53
    assert float(drawn[8 * last]) == pytest.approx(radius * math.cos(angle), rel=1e-12)


@kernels
@pytest.mark.parametrize("part", ["key", "nonce"])
def test_another_key_or_nonce_shares_no_value(kernel: NoiseKernel, part: str) -> None:
    first = kernel.standard_normal(512, KEY, NONCE)
    key = bytes([1]) + KEY[1:] if part == "key" else KEY
    nonce = NONCE[:-1] + bytes([1]) if part == "nonce" else NONCE
    second = kernel.standard_normal(512, key, nonce)
    assert not set(first.tolist()) & set(second.tolist())


@kernels
@pytest.mark.parametrize(
    ("size", "key", "nonce"),
    [(-1, KEY, NONCE), (2**34 + 1, KEY, NONCE), (8, KEY[:16], NONCE), (8, KEY, NONCE[:8])],
)
def test_a_short_key_or_an_exhausted_counter_is_refused(
    kernel: NoiseKernel, size: int, key: bytes, nonce: bytes
) -> None:
    with pytest.raises(ValueError, match=r"must lie in|a key has"):
        kernel.standard_normal(size, key, nonce)


def _samples() -> np.ndarray:
    # A fixed key: the test gives one verdict for ever, at level 1e-4 for an honest cipher.
    return FusedCpuNoise().standard_normal(200_000, KEY, NONCE).numpy()


@pytest.mark.statistical
def test_the_noise_is_standard_normal_at_level_1e_4() -> None:
    drawn = _samples()
    assert stats.kstest(drawn, "norm").pvalue > 1e-4
    # Variance and fourth moment: mean and standard error of z^2 - 1 and z^4 - 3 under N(0, 1).
    n = drawn.size
    assert abs(float(np.mean(drawn**2)) - 1) < 3.9 * math.sqrt(2 / n)
    assert abs(float(np.mean(drawn**4)) - 3) < 3.9 * math.sqrt(96 / n)


@pytest.mark.statistical
@pytest.mark.parametrize("fault", ["scale", "shift", "clipped"])
def test_the_same_test_finds_a_planted_fault(fault: str) -> None:
    drawn = _samples()
    planted = {"scale": drawn * 1.02, "shift": drawn + 0.02, "clipped": drawn.clip(-2, 2)}[fault]
    assert stats.kstest(planted, "norm").pvalue < 1e-4


@pytest.mark.statistical
def test_neighbouring_coordinates_are_uncorrelated_at_level_1e_4() -> None:
    drawn = _samples()
    for lag in (1, 2, 8, 16):
        products = drawn[lag:] * drawn[:-lag]
        assert abs(float(products.mean())) < 3.9 / math.sqrt(products.size)
        squares = (drawn[lag:] ** 2 - 1) * (drawn[:-lag] ** 2 - 1)
        assert abs(float(squares.mean())) < 3.9 * 2 / math.sqrt(squares.size)
