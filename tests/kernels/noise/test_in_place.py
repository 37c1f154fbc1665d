"""Attacks on noise that is added in place: the cipher, the distributions, the nonces."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import stats

from kernels.native.library import forced, library
from kernels.noise.api import InPlaceNoise
from kernels.noise.chacha20 import chacha20_block
from kernels.noise.in_place import FusedInPlaceNoise, PlainInPlaceNoise, best
from kernels.noise.source import Grid, NoiseSource
from tests.kernels.paths import OWN_PRODUCTS, paths, taking

KEY = bytes(range(32))
NONCE = bytes.fromhex("000000090000004a00000000")
NOISE_PATHS = [path for path in paths() if path != OWN_PRODUCTS]


@pytest.fixture(params=NOISE_PATHS)
def noise(request: pytest.FixtureRequest) -> Iterator[InPlaceNoise]:
    with taking(request.param):
        yield best()


def _fused() -> FusedInPlaceNoise:
    found = best()
    if not isinstance(found, FusedInPlaceNoise):
        pytest.skip("no library here")
    return found


def test_every_form_gives_the_block_of_rfc_8439() -> None:
    fused = _fused()
    loaded = library()
    assert loaded is not None
    # Section 2.3.2; and appendix A.1, vectors 1 and 2: zero key and nonce, blocks 0 and 1.
    for form in loaded.forms:
        with forced(form):
            block = fused.key_stream(KEY, NONCE, 1, 1)
            assert block.hex().startswith("10f1e7e4d13b5915500fdd1fa32071c4")
            stream = fused.key_stream(bytes(32), bytes(12), 0, 40)
            assert stream[:16].hex() == "76b8e0ada0f13d90405d6ae55386bd28"
            assert stream[64:80].hex() == "9f07e7be5551387a98ba977c732d080d"
            last = np.frombuffer(stream[39 * 64 :], dtype="<u4").tolist()
            assert last == chacha20_block(bytes(32), bytes(12), 39)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 255, 256, 257, 1000, 70_001])
@pytest.mark.parametrize("counter", [0, 7])
def test_every_form_adds_the_same_normals(noise: InPlaceNoise, size: int, counter: int) -> None:
    start = torch.linspace(-1, 1, size)
    expected, found = start.clone(), start.clone()
    end = PlainInPlaceNoise().add_noise_(expected, 2.5, KEY, NONCE, counter)
    assert noise.add_noise_(found, 2.5, KEY, NONCE, counter) == end
    assert end == counter + 16 * math.ceil(size / 256)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=5e-6)


def test_the_layout_is_the_door_s() -> None:
    values = torch.zeros(512)
    best().add_noise_(values, 1.0, KEY, NONCE, 3)
    chunk, i, block = 1, 5, 11
    words = chacha20_block(KEY, NONCE, 3 + 16 * chunk + block)
    radius = math.sqrt(-2 * math.log((words[2 * i] + 0.5) / 2**32))
    angle = 2 * math.pi * words[2 * i + 1] / 2**32
    at = 256 * chunk + 32 * i + block
    assert float(values[at]) == pytest.approx(radius * math.cos(angle), rel=1e-5)
    assert float(values[at + 16]) == pytest.approx(radius * math.sin(angle), rel=1e-5)


@pytest.mark.parametrize("part", ["key", "nonce"])
def test_another_key_or_nonce_shares_no_value(noise: InPlaceNoise, part: str) -> None:
    key = bytes([1]) + KEY[1:] if part == "key" else KEY
    nonce = NONCE[:-1] + bytes([1]) if part == "nonce" else NONCE
    first, second = torch.zeros(512), torch.zeros(512)
    noise.add_noise_(first, 1.0, KEY, NONCE)
    noise.add_noise_(second, 1.0, key, nonce)
    # Floats of 24 bits may meet by chance; a shared stream would repeat all of them.
    assert len(set(first.tolist()) & set(second.tolist())) < 3


def test_threads_do_not_change_the_noise(noise: InPlaceNoise) -> None:
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            values, integers = torch.zeros(100_000), torch.zeros(3000, dtype=torch.int64)
            noise.add_noise_(values, 1.0, KEY, NONCE)
            noise.add_discrete_noise_(integers, 5, KEY, NONCE)
            found.append((values, integers))
    finally:
        torch.set_num_threads(threads)
    for values, integers in found[1:]:
        assert torch.equal(values, found[0][0])
        assert torch.equal(integers, found[0][1])


def _normals(size: int = 200_000) -> np.ndarray:
    # A fixed key: the test gives one verdict for ever, at level 1e-4 for an honest cipher.
    values = torch.zeros(size)
    best().add_noise_(values, 1.0, KEY, NONCE)
    return values.double().numpy()


@pytest.mark.statistical
def test_the_float_noise_is_standard_normal_at_level_1e_4(noise: InPlaceNoise) -> None:
    drawn = _normals()
    assert stats.kstest(drawn, "norm").pvalue > 1e-4
    n = drawn.size
    assert abs(float(np.mean(drawn**2)) - 1) < 3.9 * math.sqrt(2 / n)
    assert abs(float(np.mean(drawn**4)) - 3) < 3.9 * math.sqrt(96 / n)
    beyond = int((np.abs(drawn) > 4).sum())
    assert stats.binomtest(beyond, n, 2 * float(stats.norm.sf(4))).pvalue > 1e-4
    for lag in (1, 16, 32, 256):  # neighbours in memory, in a pair, in a block, in a chunk
        products = drawn[lag:] * drawn[:-lag]
        assert abs(float(products.mean())) < 3.9 / math.sqrt(products.size)


@pytest.mark.statistical
@pytest.mark.parametrize("fault", ["scale", "shift", "coarse"])
def test_the_same_test_finds_planted_faults_in_float_noise(fault: str) -> None:
    drawn = _normals()
    planted = {"scale": drawn * 1.02, "shift": drawn + 0.02, "coarse": np.round(drawn, 1)}[fault]
    assert stats.kstest(planted, "norm").pvalue < 1e-4


def test_the_discrete_noise_of_every_form_is_that_of_the_definition() -> None:
    fused = _fused()
    for deviation in (1, 2, 3, 100, 2**20 + 1, 2**31, 2**40):
        expected = torch.arange(40, dtype=torch.int64)
        found = expected.clone()
        PlainInPlaceNoise().add_discrete_noise_(expected, deviation, KEY, NONCE)
        fused.add_discrete_noise_(found, deviation, KEY, NONCE)
        assert torch.equal(found, expected)


def _discrete(deviation: int, size: int) -> np.ndarray:
    values = torch.zeros(size, dtype=torch.int64)
    _fused().add_discrete_noise_(values, deviation, KEY, NONCE)
    return values.numpy()


def _chi_square(drawn: np.ndarray, deviation: int) -> float:
    """The p-value of integers against N_Z(0, deviation^2), tails in one cell each."""
    reach = math.ceil(2.5 * deviation)
    points = np.arange(-12 * deviation, 12 * deviation + 1)
    mass = np.exp(-(points**2) / (2.0 * deviation**2))
    mass /= mass.sum()
    clipped = np.clip(points, -reach, reach)
    expected = np.bincount(clipped + reach, weights=mass) * drawn.size
    observed = np.bincount(np.clip(drawn, -reach, reach) + reach, minlength=expected.size)
    return float(stats.chisquare(observed, expected).pvalue)


@pytest.mark.statistical
@pytest.mark.parametrize("deviation", [1, 2, 7, 40])
def test_the_discrete_noise_is_a_discrete_gaussian_at_level_1e_4(deviation: int) -> None:
    drawn = _discrete(deviation, 200_000)
    assert _chi_square(drawn, deviation) > 1e-4
    # Negative controls: a tenth lies half a deviation off; one in fifty has no noise.
    shift = (np.arange(drawn.size) % 10 == 0) * math.ceil(deviation / 2)
    assert _chi_square(drawn + shift, deviation) < 1e-4
    assert _chi_square(np.where(np.arange(drawn.size) % 50 == 0, 0, drawn), deviation) < 1e-4


@pytest.mark.statistical
def test_wide_discrete_noise_is_normal_at_level_1e_4() -> None:
    for deviation in (2**20, 2**40):
        drawn = _discrete(deviation, 100_000) / deviation
        assert stats.kstest(drawn, "norm").pvalue > 1e-4
        assert stats.kstest(drawn * 1.03, "norm").pvalue < 1e-4


@pytest.mark.statistical
def test_the_discrete_noise_agrees_with_opendp_s_sampler() -> None:
    import opendp.prelude as dp

    dp.enable_features("contrib")
    size, deviation = 20_000, 3
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")
    theirs = np.array(dp.m.make_gaussian(*space, scale=float(deviation))([0] * size))
    ours = _discrete(deviation, size)
    reach = 8
    cells = np.stack(
        [np.bincount(np.clip(x, -reach, reach) + reach, minlength=17) for x in (ours, theirs)]
    )
    assert stats.chi2_contingency(cells).pvalue > 1e-4
    planted = np.stack(
        [np.bincount(np.clip(ours + 1, -reach, reach) + reach, minlength=17), cells[1]]
    )
    assert stats.chi2_contingency(planted).pvalue < 1e-4


def test_a_source_gives_each_nonce_once() -> None:
    source = NoiseSource()
    source.add_gaussian_([torch.zeros(3)], 1.0, stream=0, step=5)
    source.add_gaussian_([torch.zeros(3)], 1.0, stream=1, step=5)
    for step in (5, 4, 0, -1):
        with pytest.raises(ValueError, match="steps go up"):
            source.add_gaussian_([torch.zeros(3)], 1.0, stream=0, step=step)
        with pytest.raises(ValueError, match="steps go up"):
            source.on_grid(torch.zeros(3), Grid.of(1.0, 3, 1.0), stream=0, step=step)


def test_tensors_of_one_step_share_no_noise_and_sources_share_no_key() -> None:
    def drawn(source: NoiseSource, step: int) -> list[float]:
        sums = [torch.zeros(300), torch.zeros(10, 7)]
        source.add_gaussian_(sums, 1.0, stream=0, step=step)
        return [value for tensor in sums for value in tensor.view(-1).tolist()]

    one, other = NoiseSource(), NoiseSource()
    values = drawn(one, 0) + drawn(one, 1) + drawn(other, 0)
    # two of a thousand independent floats are the same about once in thirty runs, three never
    assert len(values) - len(set(values)) <= 2


@pytest.mark.parametrize("coordinates", [1, 100, 10_000_000])
@pytest.mark.parametrize("bound", [1e-6, 0.3, 1e6])
def test_a_grid_never_gives_less_noise_than_was_asked(bound: float, coordinates: int) -> None:
    for multiplier in (0.3, 1.0, 50.0, 5000.0):
        grid = Grid.of(bound, coordinates, multiplier)
        assert grid.sensitivity >= bound + math.sqrt(coordinates) * grid.step
        assert grid.deviation * grid.step >= multiplier * grid.sensitivity
        assert grid.sensitivity <= bound * (1 + 2.0**-8)


def test_rounding_to_the_grid_stays_within_its_sensitivity() -> None:
    generator = torch.Generator().manual_seed(3)
    for size in (1, 64, 5000):
        grid = Grid.of(1.0, size, 1.0)
        total = torch.randn(size, generator=generator, dtype=torch.float64)
        moved = torch.randn(size, generator=generator, dtype=torch.float64)
        other = total + moved / moved.norm()
        rounded = [torch.round(t / grid.step) * grid.step for t in (total, other)]
        assert float((rounded[0] - rounded[1]).norm()) <= grid.sensitivity


def test_noise_on_the_grid_lies_on_the_grid() -> None:
    grid = Grid.of(1.0, 50, 2.0)
    found = NoiseSource().on_grid(torch.linspace(-9, 9, 50), grid, stream=0, step=0)
    assert torch.equal(found / grid.step, torch.round(found / grid.step))
    assert float((found - torch.linspace(-9, 9, 50)).abs().max()) > 0
    with pytest.raises(ValueError, match="finite"):
        NoiseSource().on_grid(torch.tensor([math.nan]), grid, stream=0, step=0)


def test_bad_requests_are_refused_before_anything_is_added(noise: InPlaceNoise) -> None:
    values = torch.zeros(300)
    for arguments in (
        (values, 0.0, KEY, NONCE),
        (values, math.nan, KEY, NONCE),
        (values, math.inf, KEY, NONCE),
        (values, 1.0, KEY[:31], NONCE),
        (values, 1.0, KEY, NONCE + b"1"),
        (values[::2], 1.0, KEY, NONCE),
        (values.double(), 1.0, KEY, NONCE),
        (values, 1.0, KEY, NONCE, 2**32 - 31),
        (values, 1.0, KEY, NONCE, -1),
    ):
        with pytest.raises(ValueError, match=r"noise|deviation|key|nonce"):
            noise.add_noise_(*arguments)
    assert torch.equal(values, torch.zeros(300))
    for deviation in (0, -1, 2**40 + 1):
        with pytest.raises(ValueError, match="deviation"):
            noise.add_discrete_noise_(torch.zeros(2, dtype=torch.int64), deviation, KEY, NONCE)
