"""A convolution's norms by its patches: those of the definition, and never below them."""

import math

import pytest
import torch

from kernels.layers.api import Convolution, LayerKernel
from kernels.layers.fused_cpu import best
from kernels.layers.plain_torch import PlainLayers
from kernels.layers.reference import ReferenceLayers
from kernels.private.patches import patch_norms2
from kernels.private.plan import ConvolutionShape, convolution_plan_of

KERNELS = [PlainLayers(), best()]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize(
    "shape",
    [
        Convolution((3, 2), (1, 1), (0, 0), (1, 1), 1),
        Convolution((3, 2), (2, 1), (1, 2), (1, 1), 1),
        Convolution((3, 2), (3, 2), (3, 0), (2, 1), 1),
        Convolution((1, 3), (1, 2), (0, 1), (1, 1), 1),
    ],
)
def test_the_norms_of_patches_are_those_of_the_definition_and_never_below(
    kernel: LayerKernel, dtype: torch.dtype, shape: Convolution, *, has_bias: bool
) -> None:
    source = torch.Generator().manual_seed(11)
    # more examples than are laid out at once
    x = torch.randn(11, 4, 9, 11, generator=source).to(dtype)
    weight = torch.randn(6, 4, *shape.kernel, generator=source).to(dtype)
    out = torch.conv2d(x, weight, None, shape.stride, shape.padding, shape.dilation)
    scales = torch.logspace(-3, 2, 11)[:, None, None, None]
    g = (torch.randn(out.shape, generator=source) * scales).to(dtype)
    truth = ReferenceLayers().conv_norm2(x.double(), g.double(), shape, has_bias=has_bias)
    found = patch_norms2(kernel, x, g, shape, has_bias=has_bias)
    assert found.dtype == torch.float64
    assert bool((found >= truth * (1 - 1e-15)).all())
    torch.testing.assert_close(found.sqrt(), truth.sqrt(), rtol=2e-2, atol=0.0)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_terms_that_cancel_are_formed_instead_of_bounded_widely(kernel: LayerKernel) -> None:
    # equal patches under output gradients that sum to nearly nothing
    x = torch.ones(3, 8, 6, 6)
    g = torch.ones(3, 5, 6, 6)
    g[:, :, 3:] = -1.0
    g[1, 0, 0, 0] += 1e-3
    shape = Convolution((1, 1), (1, 1), (0, 0), (1, 1), 1)
    truth = ReferenceLayers().conv_norm2(x.double(), g.double(), shape, has_bias=False)
    found = patch_norms2(kernel, x, g, shape, has_bias=False)
    # 36 terms of size 1 are summed in float32, whichever way they are formed
    assert bool((found.sqrt() >= truth.sqrt() - 36 * 2.0**-24).all())
    assert float(found[0]) < 1e-6
    assert float(found[1].sqrt()) == pytest.approx(float(truth[1].sqrt()), rel=1e-2)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e38])
def test_a_row_that_is_not_finite_has_no_finite_norm_and_leaves_the_others_alone(
    kernel: LayerKernel, bad: float
) -> None:
    shape = Convolution((3, 3), (1, 1), (1, 1), (1, 1), 1)
    source = torch.Generator().manual_seed(12)
    x = torch.randn(4, 3, 5, 5, generator=source)
    g = torch.randn(4, 2, 5, 5, generator=source)
    clean = patch_norms2(kernel, x, g, shape, has_bias=True)
    x[2, 1, 2, 2] = bad
    found = patch_norms2(kernel, x, g, shape, has_bias=True)
    # 1e38 is finite itself; its square is not, in float32
    assert not bool(found[2] < 1e30)
    others = torch.tensor([0, 1, 3])
    assert torch.equal(found[others], clean[others])


def test_a_convolution_of_several_groups_is_never_planned_by_patches() -> None:
    x, g = torch.zeros(2, 4, 5, 5), torch.zeros(2, 4, 5, 5)
    for groups, algorithm in ((1, "ghost"), (2, "direct")):
        geometry = Convolution((3, 3), (1, 1), (1, 1), (1, 1), groups)
        shape = ConvolutionShape.of(x, g, geometry, has_bias=True)
        assert convolution_plan_of(shape, "ghost").algorithm == algorithm


def test_no_examples_have_no_norms() -> None:
    shape = Convolution((3, 3), (1, 1), (1, 1), (1, 1), 1)
    found = patch_norms2(
        best(), torch.zeros(0, 3, 5, 5), torch.zeros(0, 2, 5, 5), shape, has_bias=True
    )
    assert found.shape == (0,)
