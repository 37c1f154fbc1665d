"""A convolution's norms by the Gram matrices of its patches, as of a linear layer over positions.

The gradient of a filter is the sum over output positions of patch times output gradient: what a
linear layer over T positions has. Where T is small against the sizes of patch and output, two
T x T matrices are far less work than the gradient (Bu et al. 2022, mixed ghost clipping).
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from kernels.layers.api import REDO_ABOVE, Convolution, LayerKernel

# Examples whose patches are laid out at once: they stay in the cache, and little memory is taken.
_EXAMPLES_AT_ONCE = 8


def patches(x: Tensor, shape: Convolution, outputs: tuple[int, int]) -> Tensor:
    """The patches that each output position looks at, channels last.

    Args:
        x: (B, C, H, W).
        shape: with one group.
        outputs: height and width of the output.

    Returns:
        (B, T, kernel height * kernel width * C), the positions in rows.
    """
    above, left = shape.padding
    images = pad(x.permute(0, 2, 3, 1), (0, 0, left, left, above, above)).contiguous()
    batch, _, _, channels = images.shape
    example, row, column, channel = images.stride()
    steps = (row * shape.stride[0], column * shape.stride[1])
    within = (row * shape.dilation[0], column * shape.dilation[1], channel)
    seen = images.as_strided((batch, *outputs, *shape.kernel, channels), (example, *steps, *within))
    return seen.reshape(batch, outputs[0] * outputs[1], -1)


def patch_norms2(
    kernel: LayerKernel, x: Tensor, g: Tensor, shape: Convolution, *, has_bias: bool
) -> Tensor:
    """(B,) float64: a convolution's squared norms, never below the truth.

    x (B, Ci, H, W) and g (B, Co, Ho, Wo) of a convolution with one group.
    """
    found = []
    for first in range(0, x.shape[0], _EXAMPLES_AT_ONCE):
        part = slice(first, first + _EXAMPLES_AT_ONCE)
        a = patches(x[part], shape, (g.shape[2], g.shape[3]))
        found.append(ghost_norms2(kernel, a, g[part].flatten(2).transpose(1, 2), has_bias=has_bias))
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)


def ghost_norms2(kernel: LayerKernel, a: Tensor, g: Tensor, *, has_bias: bool) -> Tensor:
    """Proven bounds; rows whose terms cancel, so that the bound is wide, are formed instead.

    a (B, T, D) and g (B, T, P), the factors of a linear layer's gradients; gives (B,) float64.
    """
    found = kernel.ghost_norm2(a, g, has_bias=has_bias)
    wide = torch.isfinite(found[:, 0]) & (found[:, 0] > REDO_ABOVE**2 * found[:, 1])
    norms2 = found[:, 0].contiguous()
    if bool(wide.any()):
        norms2[wide] = kernel.direct_norm2(a[wide], g[wide], has_bias=has_bias)
    return norms2
