"""Attacks on the layer kernels: each path against the definition, and against its guarantee."""

import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from kernels.layers.api import Convolution, LayerKernel, Segments
from kernels.layers.fused_cpu import best
from kernels.layers.reference import ReferenceLayers
from tests.kernels.paths import paths, taking

REFERENCE = ReferenceLayers()
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
# (B, T, D, P), ragged on purpose: no multiple of a vector, of a tile, of a block of threads.
SHAPES = [
    (3, 5, 7, 9),
    (1, 1, 1, 1),
    (4, 1, 40, 24),
    (5, 33, 70, 50),
    (2, 130, 64, 96),
    (6, 4, 257, 3),
    (3, 9, 1700, 20),
    (2, 300, 40, 25),  # more positions than one slab of the product
]
BAD = [math.nan, math.inf, -math.inf]
# Every shape in float32, one ragged shape in every dtype; the full product under `long`.
GRID = [
    pytest.param(
        *(shape, dtype, has_bias),
        marks=()
        if has_bias and (dtype == torch.float32 or shape == SHAPES[3])
        else pytest.mark.long,
    )
    for shape, dtype, has_bias in itertools.product(SHAPES, DTYPES, [True, False])
]
grid = pytest.mark.parametrize(("shape", "dtype", "has_bias"), GRID)


@pytest.fixture(params=paths())
def kernel(request: pytest.FixtureRequest) -> Iterator[LayerKernel]:
    with taking(request.param):
        yield best()


def _factors(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    batch, positions, inputs, outputs = shape
    a = torch.randn(batch, positions, inputs, generator=source)
    # Norms on both sides of the bound.
    size = torch.logspace(-3, 1, batch)[:, None, None]
    g = torch.randn(batch, positions, outputs, generator=source) * size / positions
    return a.to(dtype), g.to(dtype)


def _gap(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm().clamp(min=1e-30))


def _tolerance(dtype: torch.dtype) -> float:
    return 1e-12 if dtype == torch.float64 else 2e-6


@grid
def test_a_clipped_sum_is_the_sum_of_the_definition(
    kernel: LayerKernel, shape: tuple[int, ...], dtype: torch.dtype, has_bias: bool
) -> None:
    a, g = _factors(shape, dtype)
    expected = REFERENCE.clip_sum(a, g, 1.0, has_bias=has_bias)
    found = kernel.clip_sum(a, g, 1.0, has_bias=has_bias)
    # The norm's slack of 2**-21 is a relative 5e-7 on clipped rows; the rest is rounding.
    assert _gap(found.weight, expected.weight) < 2e-6
    assert (found.bias is None) == (expected.bias is None)
    if found.bias is not None and expected.bias is not None:
        assert _gap(found.bias, expected.bias) < 2e-6
    torch.testing.assert_close(found.norms, expected.norms, rtol=2e-6, atol=1e-12)
    again = kernel.scaled_sum(a, g, found.factors, has_bias=has_bias)
    given = REFERENCE.scaled_sum(a, g, found.factors, has_bias=has_bias)
    for one, other in zip(again, given, strict=True):
        if one is not None and other is not None:
            assert _gap(one, other) < _tolerance(dtype)


@grid
def test_no_norm_is_underestimated_and_no_bound_is_wide(
    kernel: LayerKernel, shape: tuple[int, ...], dtype: torch.dtype, has_bias: bool
) -> None:
    a, g = _factors(shape, dtype, seed=1)
    exact = REFERENCE.direct_norm2(a, g, has_bias=has_bias)
    direct = kernel.direct_norm2(a, g, has_bias=has_bias)
    ghost = kernel.ghost_norm2(a, g, has_bias=has_bias)
    clipped = kernel.clip_sum(a, g, 1.0, has_bias=has_bias).norms.square()
    # A form that sums float32 products stands for those; the definition's are 1e-6 away.
    rounding = 2e-6 if dtype != torch.float64 else 1e-12
    for bound in (direct, clipped):
        assert bool((bound >= exact * (1 - rounding)).all())
        assert bool((bound <= exact * (1 + 5e-6)).all())
    assert bool((ghost[:, 0] >= exact).all())
    assert bool((ghost[:, 0] <= exact * 1.06).all())
    torch.testing.assert_close(ghost[:, 1], exact, rtol=2e-3, atol=1e-12)


@pytest.mark.parametrize("positions", [2, 8, 128])
@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-4])
def test_rows_that_cancel_are_never_underestimated(
    kernel: LayerKernel, positions: int, noise: float
) -> None:
    # A constant activation and a gradient of alternating sign: the terms of the ghost norm cancel.
    source = torch.Generator().manual_seed(2)
    a = torch.ones(16, positions, 96) * 3.7 + noise * torch.randn(
        16, positions, 96, generator=source
    )
    signs = torch.tensor([1.0, -1.0]).repeat(positions // 2)
    base = torch.randn(16, 1, 96, generator=source) * 1e3
    g = base * signs[None, :, None]
    exact = REFERENCE.direct_norm2(a, g, has_bias=True)
    bound = kernel.ghost_norm2(a, g, has_bias=True)[:, 0]
    assert bool((bound >= exact).all())
    total = kernel.clip_sum(a, g, 1.0, has_bias=True)
    for b in range(16):
        one = kernel.clip_sum(a[b : b + 1], g[b : b + 1], 1.0, has_bias=True)
        assert one.bias is not None
        assert float(one.weight.double().norm() ** 2 + one.bias.double().norm() ** 2) <= 1.0
    assert bool(torch.isfinite(total.weight).all())


def test_a_ghost_norm_without_its_bound_fails_the_test_above() -> None:
    # The reason for the bound: the plain float32 estimate is far below the true norm.
    source = torch.Generator().manual_seed(2)
    a = torch.ones(64, 128, 384) + 1e-4 * torch.randn(64, 128, 384, generator=source)
    g = torch.randn(64, 1, 384, generator=source).repeat(1, 128, 1)
    g *= torch.tensor([1.0, -1.0]).repeat(64)[None, :, None]
    products = torch.bmm(a, a.transpose(1, 2)) * torch.bmm(g, g.transpose(1, 2))
    naive = products.sum(dim=(1, 2)).double()
    exact = torch.bmm(g.double().transpose(1, 2), a.double()).flatten(1).square().sum(dim=1)
    assert bool((naive < exact * 0.99).any())
    assert bool((best().ghost_norm2(a, g, has_bias=False)[:, 0] >= exact).all())


@pytest.mark.parametrize("bad", [*BAD, 1e38])
@pytest.mark.parametrize("factor", ["a", "g"])
def test_a_row_that_is_not_finite_adds_exactly_zero(
    kernel: LayerKernel, bad: float, factor: str
) -> None:
    a, g = _factors((5, 6, 33, 18), torch.float32)
    keep = torch.arange(5) != 2
    (a if factor == "a" else g)[2, 3, 4] = bad
    if bad == 1e38:  # finite, but its gradient is not
        (g if factor == "a" else a)[2] = 1e38
    without = kernel.clip_sum(a[keep], g[keep], 1.0, has_bias=True)
    found = kernel.clip_sum(a, g, 1.0, has_bias=True)
    assert float(found.factors[2]) == 0.0
    torch.testing.assert_close(found.weight, without.weight, rtol=1e-6, atol=1e-7)
    assert math.isinf(float(kernel.ghost_norm2(a, g, has_bias=True)[2, 0])) or math.isnan(bad)
    assert not math.isfinite(float(kernel.ghost_norm2(a, g, has_bias=True)[2, 0]))
    assert not math.isfinite(float(kernel.direct_norm2(a, g, has_bias=True)[2]))
    scaled = kernel.scaled_sum(a, g, found.factors, has_bias=True)
    torch.testing.assert_close(scaled[0], without.weight, rtol=1e-5, atol=1e-6)
    alone = kernel.clip_sum(a[2:3], g[2:3], 1.0, has_bias=True)
    assert alone.bias is not None
    assert float(alone.weight.abs().max()) == 0.0
    assert float(alone.bias.abs().max()) == 0.0


@pytest.mark.parametrize("shape", [(1, 30, 66, 41), (1, 300, 33, 13), (1, 1, 500, 7)])
def test_a_norm_is_not_below_that_of_the_very_numbers_that_are_summed(
    kernel: LayerKernel, shape: tuple[int, ...]
) -> None:
    # All terms of one sign and nearly equal: every rounding of the squares' sum goes one way.
    a, g = (x.abs() * 1e-3 + 0.777 for x in _factors(shape, torch.float32))
    found = kernel.clip_sum(a, g, 1e6, has_bias=True)
    assert found.bias is not None
    exact = found.weight.double().square().sum() + found.bias.double().square().sum()
    assert float(exact.sqrt()) <= float(found.norms[0]) <= float(exact.sqrt()) * (1 + 2e-6)


def test_a_dropped_row_is_not_read_wherever_its_positions_fall(kernel: LayerKernel) -> None:
    # 100 positions: examples 2 and 5 begin in one slab of the product and end in the next.
    a, g = _factors((6, 100, 20, 14), torch.float32, seed=8)
    factors = torch.tensor([0.5, 1.0, 0.0, 0.25, 1.0, 0.0])
    a[2], g[5] = math.nan, math.inf
    found = kernel.scaled_sum(a, g, factors, has_bias=True)
    keep = factors != 0.0
    expected = REFERENCE.scaled_sum(a[keep], g[keep], factors[keep], has_bias=True)
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert other is not None
        assert _gap(one, other) < 2e-6


@pytest.mark.parametrize("bound", [0.0, -1.0, math.nan, math.inf, 1e-7, 1e7])
def test_a_clip_norm_without_a_proof_is_refused(kernel: LayerKernel, bound: float) -> None:
    a, g = _factors((3, 5, 7, 9), torch.float32)
    with pytest.raises(ValueError, match="clip_norm"):
        kernel.clip_sum(a, g, bound, has_bias=True)
    x, y = torch.ones(1, 2, 4, 4), torch.ones(1, 3, 3, 3)
    shape = Convolution((2, 2), (1, 1), (0, 0), (1, 1), 1)
    with pytest.raises(ValueError, match="clip_norm"):
        kernel.conv_clip_sum(x, y, shape, bound, has_bias=True)


@pytest.mark.parametrize("bound", [1e-6, 1.0, 1e6])
def test_extreme_factors_do_not_leave_the_ball(kernel: LayerKernel, bound: float) -> None:
    # Subnormal and huge float32, whose products round, vanish or overflow.
    sizes = (1e-42, 1e-20, 1.0, 1e10, 1e30, 3e38)
    for activation, gradient in itertools.product(sizes, sizes):
        a, g = torch.full((1, 2, 5), activation), torch.full((1, 2, 3), gradient)
        found = kernel.clip_sum(a, g, bound, has_bias=True)
        assert found.bias is not None
        squares = found.weight.double().square().sum() + found.bias.double().square().sum()
        assert float(squares.sqrt()) <= bound * (1 + 1e-6)


def test_an_empty_batch_sums_to_zero(kernel: LayerKernel) -> None:
    found = kernel.clip_sum(torch.empty(0, 4, 5), torch.empty(0, 4, 6), 1.0, has_bias=True)
    assert torch.equal(found.weight, torch.zeros(6, 5))
    assert found.bias is not None
    assert torch.equal(found.bias, torch.zeros(6))
    assert found.norms.shape == (0,)
    scaled, _ = kernel.scaled_sum(
        torch.empty(0, 4, 5), torch.empty(0, 4, 6), torch.empty(0), has_bias=False
    )
    assert torch.equal(scaled, torch.zeros(6, 5))


def test_one_example_moves_the_sum_by_at_most_the_bound(kernel: LayerKernel) -> None:
    a, g = _factors((8, 12, 65, 31), torch.float32, seed=4)
    whole = kernel.clip_sum(a, g, 0.5, has_bias=True)
    for b in range(8):
        keep = torch.arange(8) != b
        without = kernel.clip_sum(a[keep], g[keep], 0.5, has_bias=True)
        assert whole.bias is not None
        assert without.bias is not None
        moved = (whole.weight.double() - without.weight.double()).square().sum()
        moved += (whole.bias.double() - without.bias.double()).square().sum()
        # Eight rows of 0.5 in float32: their rounding is below 8 * 8 * 0.5 * 2**-24.
        assert float(moved.sqrt()) <= 0.5 + 2e-6


def test_the_same_input_gives_the_same_bits(kernel: LayerKernel) -> None:
    a, g = _factors((7, 33, 70, 50), torch.float32, seed=5)
    first, second = (kernel.clip_sum(a, g, 1.0, has_bias=True) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(
        kernel.ghost_norm2(a, g, has_bias=True), kernel.ghost_norm2(a, g, has_bias=True)
    )


def test_two_threads_agree_with_one(kernel: LayerKernel) -> None:
    a, g = _factors((7, 33, 70, 50), torch.float32, seed=6)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(kernel.clip_sum(a, g, 1.0, has_bias=True))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        torch.testing.assert_close(other.weight, found[0].weight, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(other.norms, found[0].norms, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("padding", [None, 0, 3])
@pytest.mark.parametrize("expanded", [False, True])
def test_embedding_segments_are_the_gradients_of_the_definition(
    kernel: LayerKernel, dtype: torch.dtype, padding: int | None, expanded: bool
) -> None:
    source = torch.Generator().manual_seed(7)
    index = torch.randint(0, 5, (4, 9), generator=source)
    if expanded:  # positions are the same for every example, and the index is not contiguous
        index = torch.arange(9).expand(4, 9) % 5
    g = torch.randn(4, 9, 6, generator=source).to(dtype)
    expected = REFERENCE.embedding_segments(index, g, 5, padding)
    found = kernel.embedding_segments(index, g, 5, padding)

    def dense(segments: Segments) -> Tensor:
        total = torch.zeros(4, 5, 6, dtype=torch.float64)
        total[segments.examples, segments.rows] = segments.values.double()
        return total

    torch.testing.assert_close(dense(found), dense(expected), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.norms2, expected.norms2, rtol=1e-5, atol=1e-9)
    if padding is not None:
        assert padding not in found.rows.tolist()


@pytest.mark.parametrize("centred", [False, True])
def test_norm_layers_have_the_gradients_of_the_definition(
    kernel: LayerKernel, centred: bool
) -> None:
    source = torch.Generator().manual_seed(8)
    x, g = (torch.randn(3, 11, 37, generator=source) + 5 for _ in range(2))
    mean = x.mean(dim=2) if centred else None
    scale = torch.rand(3, 11, generator=source) + 0.5
    found = kernel.layer_norm_gradients(x, g, mean, scale)
    expected = REFERENCE.layer_norm_gradients(x, g, mean, scale)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


def test_group_norm_has_the_gradients_of_the_definition(kernel: LayerKernel) -> None:
    source = torch.Generator().manual_seed(9)
    x, g = (torch.randn(3, 12, 5, 7, generator=source) for _ in range(2))
    mean, scale = torch.randn(3, 4, generator=source), torch.rand(3, 4, generator=source)
    found = kernel.group_norm_gradients(x, g, mean, scale)
    expected = REFERENCE.group_norm_gradients(x, g, mean, scale)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"),
    [
        ((1, 1), (0, 0), (1, 1), 1),
        ((2, 1), (1, 2), (1, 1), 1),
        ((3, 2), (3, 0), (2, 1), 1),
        ((1, 1), (1, 2), (2, 1), 1),
        ((2, 1), (1, 2), (1, 1), 2),
    ],
)
def test_a_convolution_is_clipped_as_the_definition_clips_it(
    kernel: LayerKernel,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> None:
    source = torch.Generator().manual_seed(10)
    x = torch.randn(5, 4, 9, 11, generator=source)
    weight = torch.randn(6, 4 // groups, 3, 2, generator=source)
    out = torch.conv2d(x, weight, None, stride, padding, dilation, groups)
    g = torch.randn(out.shape, generator=source) * torch.logspace(-3, 1, 5)[:, None, None, None]
    shape = Convolution((3, 2), stride, padding, dilation, groups)
    expected = REFERENCE.conv_clip_sum(x, g, shape, 1.0, has_bias=True)
    found = kernel.conv_clip_sum(x, g, shape, 1.0, has_bias=True)
    assert found.weight.shape == weight.shape
    assert _gap(found.weight, expected.weight) < 2e-6
    assert found.bias is not None
    assert expected.bias is not None
    assert _gap(found.bias, expected.bias) < 2e-6
    norms2 = kernel.conv_norm2(x, g, shape, has_bias=True)
    assert bool((norms2 >= expected.norms.square() * (1 - 2e-6)).all())
    torch.testing.assert_close(norms2.sqrt(), expected.norms, rtol=1e-5, atol=1e-12)
    kept = kernel.conv_gradients(x, g, shape, has_bias=True)
    for one, other in zip(kept, REFERENCE.conv_gradients(x, g, shape, has_bias=True), strict=True):
        assert one is not None
        assert other is not None
        assert _gap(one, other) < 2e-6


def test_a_convolution_row_that_is_not_finite_adds_exactly_zero(kernel: LayerKernel) -> None:
    shape = Convolution((2, 2), (1, 1), (0, 0), (1, 1), 1)
    for x_bad, g_bad in itertools.product([1.0, math.nan], [1.0, math.inf]):
        x, g = torch.ones(1, 2, 4, 4) * x_bad, torch.ones(1, 3, 3, 3) * g_bad
        found = kernel.conv_clip_sum(x, g, shape, 1.0, has_bias=True)
        if x_bad != 1.0 or g_bad != 1.0:
            assert float(found.weight.abs().max()) == 0.0


@pytest.mark.parametrize("size", [1_000_000, pytest.param(50_000_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("value", [0.01, 0.017])  # sums of their squares in float32 err either way
def test_the_norm_of_a_large_layer_is_never_underestimated(
    kernel: LayerKernel, size: int, value: float
) -> None:
    # One position and one input: the gradient is g itself, and its norm is known exactly.
    g = torch.full((1, 1, size), value)
    exact = math.sqrt(size) * float(g[0, 0, 0])
    found = kernel.clip_sum(torch.ones(1, 1, 1), g, 1.0, has_bias=False)
    assert float(found.norms[0]) >= exact
    assert float(found.weight.double().square().sum()) <= 1.0


@pytest.mark.long
def test_the_library_s_own_norm_of_fifty_million_elements_is_below_the_truth() -> None:
    g = torch.randn(50_000_000, generator=torch.Generator().manual_seed(1))
    exact = math.sqrt(float(g.double().square().sum()))
    assert float(torch.linalg.vector_norm(g)) < exact * (1 - 1e-4)


def test_rows_have_their_norms_whatever_their_length(kernel: LayerKernel) -> None:
    for width in (1, 15, 64, 1000):
        rows = torch.randn(5, width, generator=torch.Generator().manual_seed(width))
        exact = REFERENCE.rows_norm2(rows)
        found = kernel.rows_norm2(rows)
        assert bool((found >= exact).all())
        assert bool((found <= exact * (1 + 3e-6)).all())
