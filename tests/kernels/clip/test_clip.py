"""Attacks on the clipping: sensitivity, non-finite rows, underestimated norms, cancelling rows."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kernels.clip.api import ClipKernel, LinearGradients
from kernels.clip.fused_cpu import FusedCpuClip
from kernels.clip.reference import ReferenceClip

KERNELS: list[ClipKernel] = [ReferenceClip(), FusedCpuClip()]
kernels = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
BAD = [math.nan, math.inf, -math.inf]

small_numbers = st.floats(-10, 10, width=32)
any_numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)
wide_numbers = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=True)
clip_norms = st.sampled_from([1e-6, 0.1, 1.0, 3.0, 1e6])


def _layers(
    rows: list[list[float]], widths: tuple[int, ...], dtype: torch.dtype
) -> list[LinearGradients]:
    """Cut flat rows of numbers into the factors of a stack of linear layers."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(len(rows), -1).to(dtype)
    layers, first = [], 0
    for inputs, outputs in itertools.pairwise(widths):
        a = table[:, first : first + inputs]
        g = table[:, first + inputs : first + inputs + outputs]
        layers.append(LinearGradients(a.contiguous(), g.contiguous()))
        first += inputs + outputs
    return layers


def _only(layers: list[LinearGradients], keep: Tensor) -> list[LinearGradients]:
    return [LinearGradients(x.activations[keep], x.output_gradients[keep]) for x in layers]


WIDTHS = (3, 4, 2)
NUMBERS_A_ROW = 3 + 4 + 4 + 2


def _batches(
    numbers: st.SearchStrategy[float], length: int
) -> st.SearchStrategy[list[list[float]]]:
    row = st.lists(numbers, min_size=length, max_size=length)
    return st.lists(row, min_size=1, max_size=6)


@kernels
@settings(max_examples=60, deadline=None)
@given(rows=_batches(any_numbers, 5), clip_norm=clip_norms, which=st.integers(0, 5))
def test_one_row_never_moves_the_flat_sum_by_more_than_c(
    kernel: ClipKernel, rows: list[list[float]], clip_norm: float, which: int
) -> None:
    grads = torch.tensor(rows, dtype=torch.float32).double()
    keep = torch.arange(len(rows)) != which % len(rows)
    with_row = kernel.clip_and_sum(grads, clip_norm).total
    without = kernel.clip_and_sum(grads[keep], clip_norm).total
    # float64 sums of at most six terms of size C: the slack is their rounding.
    assert float((with_row - without).norm()) <= clip_norm * (1 + 1e-13)


@kernels
@settings(max_examples=60, deadline=None)
@given(
    rows=_batches(st.one_of(any_numbers, wide_numbers, small_numbers), NUMBERS_A_ROW),
    clip_norm=clip_norms,
    which=st.integers(0, 5),
)
def test_one_row_never_moves_the_sum_of_linear_layers_by_more_than_c(
    kernel: ClipKernel, rows: list[list[float]], clip_norm: float, which: int
) -> None:
    layers = _layers(rows, WIDTHS, torch.float64)
    keep = torch.arange(len(rows)) != which % len(rows)
    with_row = kernel.clip_and_sum_linear(layers, clip_norm).total
    without = kernel.clip_and_sum_linear(_only(layers, keep), clip_norm).total
    assert float((with_row - without).norm()) <= clip_norm * (1 + 1e-13)


@settings(max_examples=200, deadline=None)
@given(
    row=st.lists(st.one_of(wide_numbers, small_numbers), min_size=13, max_size=13),
    clip_norm=clip_norms,
)
def test_a_lone_float32_row_stays_in_its_ball_after_rounding(
    row: list[float], clip_norm: float
) -> None:
    total = FusedCpuClip().clip_and_sum_linear(_layers([row], WIDTHS, torch.float32), clip_norm)[0]
    assert float(total.double().norm()) <= clip_norm


@pytest.mark.parametrize("activation", [1e-42, 1e-20, 1.0, 1e10, 1e12, 1e30, 3e38])
@pytest.mark.parametrize("gradient", [1e-42, 1e-20, 1.0, 1e10, 1e30, 3e38])
@pytest.mark.parametrize("clip_norm", [1e-6, 1.0, 1e6])
def test_extreme_factors_do_not_leave_the_ball_through_subnormals(
    activation: float, gradient: float, clip_norm: float
) -> None:
    layer = LinearGradients(torch.full((1, 7), activation), torch.full((1, 5), gradient))
    total = FusedCpuClip().clip_and_sum_linear([layer], clip_norm).total
    assert float(total.double().norm()) <= clip_norm


@kernels
@pytest.mark.parametrize("bad", [*BAD, 1e300])
def test_a_row_that_is_not_finite_adds_exactly_zero(kernel: ClipKernel, bad: float) -> None:
    grads = torch.ones(4, 8, dtype=torch.float64)
    without = kernel.clip_and_sum(grads[:3], 1.0).total
    grads[3, 5] = bad
    assert torch.equal(kernel.clip_and_sum(grads, 1.0).total, without)


@kernels
@pytest.mark.parametrize("bad", [*BAD, 2.0**40])
@pytest.mark.parametrize("factor", ["activations", "output_gradients"])
@pytest.mark.parametrize("others", [0.0, 1.0])
def test_a_layer_row_that_is_not_finite_adds_exactly_zero(
    kernel: ClipKernel, bad: float, factor: str, others: float
) -> None:
    if factor == "output_gradients" and bad == 2.0**40:
        bad = math.nan  # a large finite gradient is clipped, not dropped
    layers = _layers([[1.0] * 13, [others] * 13], WIDTHS, torch.float32)
    without = kernel.clip_and_sum_linear(_only(layers, torch.tensor([True, False])), 1.0).total
    getattr(layers[1], factor)[1, 0] = bad
    assert torch.equal(kernel.clip_and_sum_linear(layers, 1.0).total, without)


@kernels
def test_a_large_finite_gradient_is_clipped_and_not_lost(kernel: ClipKernel) -> None:
    grads = torch.full((1, 4), 1e38)
    total = kernel.clip_and_sum(grads, 1.0).total
    assert float(total.double().norm()) == pytest.approx(1.0, rel=1e-6)


def _aligned(batch: int, inputs: int, outputs: int) -> LinearGradients:
    """Rows that nearly agree: the sum is as large as it can be, and so is its rounding."""
    spread = torch.rand(batch, inputs, generator=torch.Generator().manual_seed(0))
    return LinearGradients(1 + 0.02 * spread, torch.full((batch, outputs), 100.0))


@pytest.mark.parametrize(("batch", "inputs", "outputs"), [(4096, 100, 4), (65_536, 64, 10)])
def test_rounding_does_not_carry_a_large_sum_beyond_c(
    batch: int, inputs: int, outputs: int
) -> None:
    layer = _aligned(batch, inputs, outputs)
    flat = layer.activations.repeat(1, 4)

    def sums(keep: Tensor) -> tuple[Tensor, Tensor]:
        kernel = FusedCpuClip()
        linear = kernel.clip_and_sum_linear(_only([layer], keep), 1.0).total
        return linear.double(), kernel.clip_and_sum(flat[keep], 1.0).total.double()

    whole = sums(torch.ones(batch, dtype=torch.bool))
    for row in (0, 1, batch // 2, batch - 1):
        without = sums(torch.arange(batch) != row)
        for before, after in zip(whole, without, strict=True):
            # A float32 sum moves by up to 1.0003 C here: all later rows change their places.
            assert float((before - after).norm()) <= 1.0


@kernels
def test_a_row_inside_the_ball_is_not_changed(kernel: ClipKernel) -> None:
    row = torch.tensor([[0.25, -0.5, 0.125]])
    assert torch.equal(kernel.clip_and_sum(row, 1.0).total.float(), row[0])


@kernels
def test_an_empty_batch_sums_to_zero(kernel: ClipKernel) -> None:
    assert torch.equal(kernel.clip_and_sum(torch.empty(0, 3), 1.0).total.float(), torch.zeros(3))
    layers = _layers([[1.0] * 13], WIDTHS, torch.float32)
    empty = kernel.clip_and_sum_linear(_only(layers, torch.tensor([False])), 1.0)
    assert torch.equal(empty.total.float(), torch.zeros(4 * 4 + 5 * 2))
    assert empty.norms.shape == (0,)


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("batch", [1, 5, 64])
@pytest.mark.parametrize("clip_norm", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_fused_form_is_the_definition_within_1e_6(
    batch: int, clip_norm: float, dtype: torch.dtype
) -> None:
    widths = (64, 33, 10)
    layers = [
        LinearGradients(
            _random(batch, inputs, seed=k).to(dtype), _random(batch, outputs, seed=k + 9).to(dtype)
        )
        for k, (inputs, outputs) in enumerate(itertools.pairwise(widths))
    ]
    expected = ReferenceClip().clip_and_sum_linear(layers, clip_norm)
    fused = FusedCpuClip().clip_and_sum_linear(layers, clip_norm)
    torch.testing.assert_close(fused.norms, expected.norms, rtol=1e-12, atol=0)
    gap = float((fused.total.double() - expected.total).norm())
    assert gap <= 1e-6 * float(expected.total.norm())
    flat = _random(batch, 301, seed=3).to(dtype)
    gap = float(
        (
            FusedCpuClip().clip_and_sum(flat, clip_norm).total
            - ReferenceClip().clip_and_sum(flat, clip_norm).total
        ).norm()
    )
    assert gap <= 1e-6 * float(ReferenceClip().clip_and_sum(flat, clip_norm).total.norm())


def _exactly_known(size: int) -> tuple[Tensor, float]:
    """A row of float32 numbers whose norm is known: every element is the float32 next to 0.01."""
    row = torch.full((1, size), 0.01)
    return row, math.sqrt(size) * float(row[0, 0])


@kernels
def test_the_norm_of_ten_million_elements_is_not_underestimated(kernel: ClipKernel) -> None:
    row, exact = _exactly_known(10_000_000)
    found = kernel.clip_and_sum(row, 1.0)
    assert float(found.norms[0]) >= exact * (1 - 1e-12)
    assert float(found.total.double().square().sum().sqrt()) <= 1.0 + 1e-12


def test_the_float32_norm_of_the_library_fails_the_test_above() -> None:
    # The reason for float64 norms: an underestimate of 1e-4 and more.
    row, exact = _exactly_known(10_000_000)
    assert float(torch.linalg.vector_norm(row)) < exact * (1 - 1e-5)


@kernels
def test_rows_that_cancel_are_clipped_by_their_own_norms(kernel: ClipKernel) -> None:
    # The batch sum is zero, each row is far outside the ball, and removing one leaves a row of C.
    a = torch.ones(2, 16)
    g = torch.stack([torch.full((4,), 1e4), torch.full((4,), -1e4)])
    layer = LinearGradients(a, g)
    assert float(kernel.clip_and_sum_linear([layer], 1.0).total.abs().max()) == 0.0
    one = _only([layer], torch.tensor([True, False]))
    assert float(kernel.clip_and_sum_linear(one, 1.0).total.double().norm()) == pytest.approx(
        1.0, rel=1e-6
    )


Clip = Callable[[Tensor, float], Tensor]


def _without_clipping(grads: Tensor, clip_norm: float) -> Tensor:
    return grads.sum(dim=0)


def _clipping_the_batch(grads: Tensor, clip_norm: float) -> Tensor:
    total = grads.sum(dim=0)
    return total * min(1.0, clip_norm / max(float(total.norm()), 1e-30))


def _clipping_coordinates(grads: Tensor, clip_norm: float) -> Tensor:
    return grads.clamp(-clip_norm, clip_norm).sum(dim=0)


@pytest.mark.parametrize("fault", [_without_clipping, _clipping_the_batch, _clipping_coordinates])
def test_the_sensitivity_attack_finds_planted_faults(fault: Clip) -> None:
    # Removing the row must move the sum by more than C for each wrong rule, or the attack is blind.
    grads = torch.tensor([[3.0, -3.0], [-9.0, 9.0]], dtype=torch.float64)
    moved = float((fault(grads, 1.0) - fault(grads[:1], 1.0)).norm())
    assert moved > 1.0
    honest = ReferenceClip()
    moved = float(
        (honest.clip_and_sum(grads, 1.0).total - honest.clip_and_sum(grads[:1], 1.0).total).norm()
    )
    assert moved <= 1.0 + 1e-13


@kernels
@pytest.mark.parametrize("clip_norm", [0.0, -1.0, math.nan, math.inf, 1e-7, 1e7])
def test_a_clip_norm_without_a_proof_is_refused(kernel: ClipKernel, clip_norm: float) -> None:
    with pytest.raises(ValueError, match="clip_norm"):
        kernel.clip_and_sum(torch.ones(1, 1), clip_norm)
