"""Clipping in pure PyTorch for the CPU: rows are widened to float64 in blocks and summed there."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kernels.clip.api import (
    ACTIVATION_NORM_MOST,
    SHRINK,
    ClippedSum,
    LinearGradients,
    require_clip_norm,
)

# Few enough rows that their float64 copies stay near the processor, and that the rounding of a
# block's product does not count; enough of them to keep the product busy.
BLOCK_ROWS = 256


class FusedCpuClip:
    """The vectorised form. See `kernels.clip.api.ClipKernel` for shapes and guarantee.

    A float32 sum of B rows is wrong by up to B C 2**-24 and moves by that when a row leaves; so no
    number here is rounded to less than a float64 before the noise has been added.
    """

    name = "fused-cpu"

    def clip_and_sum(self, grads: Tensor, clip_norm: float) -> ClippedSum:
        """Clip and sum flat gradients, block by block."""
        require_clip_norm(clip_norm)
        total = torch.zeros(grads.shape[1], dtype=torch.float64)
        norms = torch.empty(grads.shape[0], dtype=torch.float64)
        for first in range(0, grads.shape[0], BLOCK_ROWS):
            rows = slice(first, first + BLOCK_ROWS)
            wide = _widened(grads[rows])
            torch.sqrt(_squared_norms(wide), out=norms[rows])
            total += _scale(wide, norms[rows], clip_norm).sum(dim=0)
        return ClippedSum(total, norms)

    def clip_and_sum_linear(
        self, layers: Sequence[LinearGradients], clip_norm: float
    ) -> ClippedSum:
        """Clip and sum a stack of linear layers without forming any example's gradient."""
        require_clip_norm(clip_norm)
        batch = layers[0].activations.shape[0]
        widths = [(x.output_gradients.shape[1], x.activations.shape[1]) for x in layers]
        total = torch.zeros(sum(p * (d + 1) for p, d in widths), dtype=torch.float64)
        norms = torch.empty(batch, dtype=torch.float64)
        for first in range(0, batch, BLOCK_ROWS):
            rows = slice(first, first + BLOCK_ROWS)
            wide = [
                (_widened(x.activations[rows]), _widened(x.output_gradients[rows])) for x in layers
            ]
            squared = torch.zeros_like(norms[rows])
            for activations, gradients in wide:
                inside = _squared_norms(activations)
                inside.masked_fill_(inside >= ACTIVATION_NORM_MOST**2, torch.inf)
                squared += _squared_norms(gradients) * (inside + 1.0)
            torch.sqrt(squared, out=norms[rows])
            dropped = ~torch.isfinite(norms[rows])[:, None]
            place = 0
            for (activations, gradients), (p, d) in zip(wide, widths, strict=True):
                scaled = _scale(gradients, norms[rows], clip_norm)
                # Zero times infinity is not zero: a dropped row's activations go too.
                activations.masked_fill_(dropped, 0.0)
                total[place : place + p * d].view(p, d).addmm_(scaled.T, activations)
                place += p * d
                total[place : place + p] += scaled.sum(dim=0)
                place += p
        return ClippedSum(total, norms)


def _widened(rows: Tensor) -> Tensor:
    """A float64 copy that may be written to, whatever the dtype of `rows`."""
    return rows.to(torch.float64, copy=True)


def _squared_norms(rows: Tensor) -> Tensor:
    """(B,) sums of squares; a square of a float32 is exact in float64, and all terms add up."""
    squared: Tensor = torch.linalg.vecdot(rows, rows)
    return squared


def _scale(rows: Tensor, norms: Tensor, clip_norm: float) -> Tensor:
    """Rows times min(1, C (1 - 2**-21) / norm), in place; a row whose norm is not finite is zero.

    An upper-bounded norm never gives too large a factor.
    """
    factors = (clip_norm * (1.0 - SHRINK) / norms).clamp_(max=1.0)
    return rows.mul_(factors[:, None]).masked_fill_(~torch.isfinite(norms)[:, None], 0.0)
