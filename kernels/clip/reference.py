"""Clipping as it is defined: float64, one example at a time, nothing clever."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from kernels.clip.api import (
    ACTIVATION_NORM_MOST,
    ClippedSum,
    LinearGradients,
    require_clip_norm,
)


class ReferenceClip:
    """The definition that every other form is compared with. See `kernels.clip.api.ClipKernel`."""

    name = "reference"

    def clip_and_sum(self, grads: Tensor, clip_norm: float) -> ClippedSum:
        """Clip and sum flat gradients in float64, whatever the dtype of `grads`."""
        require_clip_norm(clip_norm)
        total = torch.zeros(grads.shape[1], dtype=torch.float64)
        norms: list[float] = []
        for row in grads.double():
            norm = math.sqrt(float((row * row).sum()))
            norms.append(norm)
            if math.isfinite(norm):
                total += row * min(1.0, clip_norm / norm if norm > 0 else 1.0)
        return ClippedSum(total, torch.tensor(norms, dtype=torch.float64))

    def clip_and_sum_linear(
        self, layers: Sequence[LinearGradients], clip_norm: float
    ) -> ClippedSum:
        """Write every example's gradient out in full, then clip and sum it."""
        batch = layers[0].activations.shape[0]
        rows = []
        for b in range(batch):
            pieces = []
            for layer in layers:
                a, g = layer.activations[b].double(), layer.output_gradients[b].double()
                if float((a * a).sum()) < ACTIVATION_NORM_MOST**2:
                    pieces += [torch.outer(g, a).flatten(), g]
                else:
                    pieces += [torch.full((g.numel() * (a.numel() + 1),), math.inf)]
            rows.append(torch.cat(pieces))
        width = sum(
            layer.output_gradients.shape[1] * (layer.activations.shape[1] + 1) for layer in layers
        )
        return self.clip_and_sum(
            torch.stack(rows) if rows else torch.zeros(0, width, dtype=torch.float64), clip_norm
        )
