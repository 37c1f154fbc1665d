"""The door of the clipping kernels: what goes in, what comes out, and what is proven.

`reference.py` is the definition (plain, float64, one example at a time) and `fused_cpu.py` the
vectorised form; both face the same tests.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

# Fused forms clip to C (1 - SHRINK) and sum B rows in float64, in blocks of b. Each of two
# neighbouring sums is then off by at most B (b + B / b) C 2**-53, which SHRINK * C covers for both
# up to B = 500,000 with b = 256: what moves stays within C, rounding included.
SHRINK = 2.0**-21
# A row with an activation norm from here on has diverged and adds zero. Below it, even subnormal
# float32 factors times an activation stay far under SHRINK * C for every C in the clip range.
ACTIVATION_NORM_MOST = 2.0**40
CLIP_NORM_LEAST = 1e-6
CLIP_NORM_MOST = 1e6


@dataclass(frozen=True, slots=True)
class LinearGradients:
    """One linear layer's per-example gradients, kept as their two factors.

    activations: (B, D), the layer's input a_b.
    output_gradients: (B, P), the loss gradient g_b at the layer's output.
    Example b's gradient is the outer product g_b a_b^T for the weight (P, D) and g_b for the bias.
    """

    activations: Tensor
    output_gradients: Tensor


class ClippedSum(NamedTuple):
    """A sum of clipped gradients.

    total: the sum over the batch; see the function for its layout.
    norms: (B,) float64, norms before clipping. Private: for the engine, never for a log.
    """

    total: Tensor
    norms: Tensor


class ClipKernel(Protocol):
    """One implementation of the clipping operations."""

    name: str

    def clip_and_sum(self, grads: Tensor, clip_norm: float) -> ClippedSum:
        """Clip each example's flat gradient to an L2 norm and sum over the batch.

        Args:
            grads: (B, P) float32 or float64; one flat gradient per example; B may be 0.
            clip_norm: C in [1e-6, 1e6], in the units of `grads`.

        Returns:
            total: (P,) float64, the sum over b of min(1, C / ||g_b||) g_b.
            norms: (B,) float64, ||g_b||.

        Guarantee: adding or removing one row moves `total` by at most C in L2. In the fused form
        that includes rounding, up to 500,000 rows; in the reference the rounding of a float64 sum
        comes on top. Norms are not underestimated: squares of float32 are exact in float64 and
        are summed there. A row whose norm is not finite adds exactly zero.
        Source: Abadi et al. 2016, Algorithm 1, clipping step.
        """

    def clip_and_sum_linear(
        self, layers: Sequence[LinearGradients], clip_norm: float
    ) -> ClippedSum:
        """Clip the joint gradient of a stack of linear layers with biases, and sum it.

        Args:
            layers: one entry a layer, all with the same B, float32 or float64.
            clip_norm: C in [1e-6, 1e6], the bound on all layers' gradients together (flat).

        Returns:
            total: (P_all,) float64; per layer in order its weight (P, D) row by row,
                then its bias (P,).
            norms: (B,) float64; norm^2 is the sum over layers of |g_b|^2 (|a_b|^2 + 1).

        Guarantee: as `clip_and_sum`; besides, a row with an activation norm of 2**40 or more adds
        exactly zero, whatever its gradient.
        Source: Goodfellow 2015 (norms of outer products); Bu et al. 2022 (book-keeping).
        """


def require_clip_norm(clip_norm: float) -> None:
    """Refuse a clip norm outside the range in which the rounding bounds were derived.

    Raises:
        ValueError: not finite, or outside [1e-6, 1e6].
    """
    if not (math.isfinite(clip_norm) and CLIP_NORM_LEAST <= clip_norm <= CLIP_NORM_MOST):
        raise ValueError(f"clip_norm must lie in [{CLIP_NORM_LEAST}, {CLIP_NORM_MOST}]")
