"""The door of the layer kernels: a layer's factors go in, clipped sums and norms come out.

Shapes: B examples, T positions, D inputs, P outputs; example b's gradient of a linear layer is
G_b = sum_t g[b, t] a[b, t]^T for the weight (P, D) and sum_t g[b, t] for the bias (P,).
`reference.py` is the definition (float64, one example at a time); every form faces the same tests.
"""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

# The forms accumulate squares in float32 and widen their norms by this much, which covers it:
# a norm is never below that of the very numbers that are summed.
NORM_SLACK = 1.0 + 2.0**-21
# What the float32 rounding of a factor can add.
FACTOR_SHRINK = 1.0 - 2.0**-23
# From this share on, what a ghost norm's proof adds is worth a direct norm instead.
REDO_ABOVE = 1.25
CLIP_NORM_LEAST = 1e-6
CLIP_NORM_MOST = 1e6


class ClippedLayer(NamedTuple):
    """One layer's clipped sum.

    weight: in the layout of the layer's weight, float32 (float64 for float64 factors).
    bias: (P,), or None for a layer without one.
    factors: (B,), c_b = min(1, C / norm_b), 0 for a dropped row. Private.
    norms: (B,) float64, before clipping, never underestimated. Private.
    """

    weight: Tensor
    bias: Tensor | None
    factors: Tensor
    norms: Tensor


class Segments(NamedTuple):
    """An embedding's per-example gradients, one entry for each (example, row) that occurs.

    rows, examples: (U,) int64. values: (U, D), the gradient of that row for that example.
    norms2: (B,) float64.
    """

    rows: Tensor
    examples: Tensor
    values: Tensor
    norms2: Tensor


class Convolution(NamedTuple):
    """The geometry of a two-dimensional convolution; a one-dimensional one has height 1."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


class LayerKernel(Protocol):
    """One implementation of the layer operations.

    Factors are float32, bfloat16, float16 or float64; the two halves are widened exactly.

    Guarantee of every clipped sum: in exact arithmetic, adding or removing one example moves it by
    at most C in L2; the rounding of the float32 sum comes on top. A row whose norm is not finite
    (in float32: also one above about 1.8e19) adds exactly zero. Results are equal from run to run
    for an equal number of threads.
    """

    name: str

    def clip_sum(self, a: Tensor, g: Tensor, bound: float, *, has_bias: bool) -> ClippedLayer:
        """Clip each example's weight and bias gradient together to `bound` and sum.

        Args:
            a: (B, T, D), the layer's input.
            g: (B, T, P), the loss gradient at its output.
            bound: C in [1e-6, 1e6].
            has_bias: whether the bias belongs to the group.

        Source: Abadi et al. 2016, Algorithm 1, with one product an example in place of stored
        gradients.
        """

    def direct_norm2(self, a: Tensor, g: Tensor, *, has_bias: bool) -> Tensor:
        """(B,) float64: squared norms by forming each G_b once, never below the truth."""

    def ghost_norm2(self, a: Tensor, g: Tensor, *, has_bias: bool) -> Tensor:
        """(B, 2) float64: a proven upper bound on each squared norm, and the estimate it stands on.

        sum_{t,s} <a_t, a_s> <g_t, g_s>; the bound covers rounding and packing, so rows that cancel
        are over- and never underestimated. Not finite: infinity.
        Source: Goodfellow 2015; Bu et al. 2022 (ghost norm); the bound: csrc/gram.h.
        """

    def scaled_sum(
        self, a: Tensor, g: Tensor, factors: Tensor, *, has_bias: bool
    ) -> tuple[Tensor, Tensor | None]:
        """sum_b c_b G_b and its bias; a factor of zero reads nothing of its row."""

    def embedding_segments(
        self, index: Tensor, g: Tensor, rows: int, padding: int | None
    ) -> Segments:
        """Per-example gradients of an embedding (rows, D) without any (B, rows, D).

        Args:
            index: (B, ...) int64, contiguous or not.
            g: index.shape + (D,).
            rows: the number of rows of the embedding.
            padding: a row that is never trained; its gradient is dropped from norm and sum alike.
        """

    def layer_norm_gradients(
        self, x: Tensor, g: Tensor, mean: Tensor | None, inverse_deviation: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, D) each: per-example gradients of LayerNorm's (RMSNorm's: no mean) scale and shift.

        x and g are (B, T, D); mean and inverse_deviation (B, T).
        """

    def group_norm_gradients(
        self, x: Tensor, g: Tensor, mean: Tensor, inverse_deviation: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, C) each: GroupNorm's, in closed form from sums over positions alone.

        x and g are (B, C, ...); mean and inverse_deviation (B, groups).
        """

    def conv_clip_sum(
        self, x: Tensor, g: Tensor, shape: Convolution, bound: float, *, has_bias: bool
    ) -> ClippedLayer:
        """Clip and sum a convolution: x (B, Ci, H, W), g (B, Co, Ho, Wo)."""

    def conv_norm2(self, x: Tensor, g: Tensor, shape: Convolution, *, has_bias: bool) -> Tensor:
        """(B,) float64: a convolution's squared norms, never below the truth."""

    def conv_gradients(
        self, x: Tensor, g: Tensor, shape: Convolution, *, has_bias: bool
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Every example's weight and bias gradient, and the squared norms: to be kept and summed.

        Returns:
            (B, Co, Ci / groups, *kernel), (B, Co) or None, and (B,) float64, never underestimated.
        """

    def rows_norm2(self, rows: Tensor) -> Tensor:
        """(B,) float64: the squared norm of each (B, ...) row, never underestimated."""


def require_clip_norm(clip_norm: float) -> None:
    """Refuse a clip norm outside the range in which the rounding bounds were derived.

    Raises:
        ValueError: not finite, or outside [1e-6, 1e6].
    """
    if not (math.isfinite(clip_norm) and CLIP_NORM_LEAST <= clip_norm <= CLIP_NORM_MOST):
        raise ValueError(f"clip_norm must lie in [{CLIP_NORM_LEAST}, {CLIP_NORM_MOST}]")


def factors_of(norms: Tensor, bound: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """(B,) min(1, C / norm), shrunk for rounding; 0 where the norm is not finite."""
    factors = (bound * FACTOR_SHRINK / norms).clamp(max=1.0)
    return factors.masked_fill(~torch.isfinite(norms), 0.0).to(dtype)


def widened(value: Tensor) -> Tensor:
    """Dense, in float64 if it was float64 and in float32 otherwise."""
    return (value if value.dtype == torch.float64 else value.float()).contiguous()
