"""The layer operations in compiled form; float64 and grouped convolutions go by `plain_torch`."""

import ctypes
import math
from functools import cache

import torch
from torch import Tensor

from kernels.layers.api import (
    NORM_SLACK,
    ClippedLayer,
    Convolution,
    LayerKernel,
    require_clip_norm,
    widened,
)
from kernels.layers.plain_torch import PlainLayers
from kernels.native.library import ConvBatch, Library, LinearBatch, library

# Gradients of this many bytes together stay near the processor; W is then read once for all of
# them instead of once for each.
_HOT_BYTES = 8 * 2**20
_BUFFERS_MOST = 4
_ROWS_AT_ONCE = 512
_LANES = 16


class Workspace:
    """One float32 buffer that grows to the largest use and is used again."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._space = torch.empty(0)

    def floats(self, count: int) -> Tensor:
        """At least `count` floats; what they held before is gone."""
        if self._space.numel() < count:
            self._space = torch.empty(count)
        return self._space

    @property
    def held_bytes(self) -> int:
        """What it has grown to."""
        return self._space.numel() * 4


class FusedCpuLayers(PlainLayers):
    """The compiled form. See `kernels.layers.api.LayerKernel` for shapes and guarantee."""

    name = "fused-cpu"

    def __init__(self, loaded: Library) -> None:
        """Work with a loaded library."""
        self._library = loaded
        self.workspace = Workspace()

    def clip_sum(self, a: Tensor, g: Tensor, bound: float, *, has_bias: bool) -> ClippedLayer:
        """Each thread owns a block of output rows; up to four examples are added at a time."""
        if a.dtype == torch.float64:
            return super().clip_sum(a, g, bound, has_bias=has_bias)
        require_clip_norm(bound)
        a, g = widened(a), widened(g)
        batch, inputs, outputs = a.shape[0], a.shape[2], g.shape[2]
        size = outputs * (inputs + 1)
        buffers = max(1, min(_BUFFERS_MOST, _HOT_BYTES // (4 * size)))
        weight, bias = torch.empty(outputs, inputs), torch.empty(outputs if has_bias else 0)
        factors, norms = torch.empty(batch), torch.empty(batch, dtype=torch.float64)
        space = self.workspace.floats(buffers * size)
        self._library.call(
            "clip_sum",
            *(_linear(a, g, has_bias=has_bias), bound, *_pointers(weight, bias, factors, norms)),
            *(space.data_ptr(), buffers, torch.get_num_threads()),
        )
        return ClippedLayer(weight, bias if has_bias else None, factors, norms)

    def direct_norm2(self, a: Tensor, g: Tensor, *, has_bias: bool) -> Tensor:
        """One product an example into a buffer a thread."""
        if a.dtype == torch.float64:
            return super().direct_norm2(a, g, has_bias=has_bias)
        a, g = widened(a), widened(g)
        norms2 = torch.empty(a.shape[0], dtype=torch.float64)
        threads = max(1, min(torch.get_num_threads(), a.shape[0]))
        space = self.workspace.floats(threads * g.shape[2] * (a.shape[2] + 1))
        self._library.call(
            "direct_norm2",
            *(_linear(a, g, has_bias=has_bias), *_pointers(norms2, space), threads),
        )
        return norms2

    def ghost_norm2(self, a: Tensor, g: Tensor, *, has_bias: bool) -> Tensor:
        """The lower triangle only, in 16-bit integers where the processor adds their products."""
        if a.dtype == torch.float64:
            return super().ghost_norm2(a, g, has_bias=has_bias)
        a, g = widened(a), widened(g)
        bounds = torch.empty(a.shape[0], 2, dtype=torch.float64)
        threads = max(1, min(torch.get_num_threads(), a.shape[0]))
        self._library.call(
            "ghost_norm2", _linear(a, g, has_bias=has_bias), bounds.data_ptr(), threads
        )
        return bounds

    def scaled_sum(
        self, a: Tensor, g: Tensor, factors: Tensor, *, has_bias: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Slabs of the narrower side are scaled while hot, then one product a slab."""
        if a.dtype == torch.float64:
            return super().scaled_sum(a, g, factors, has_bias=has_bias)
        a, g, factors = widened(a), widened(g), widened(factors)
        inputs, outputs = a.shape[2], g.shape[2]
        weight, bias = torch.empty(outputs, inputs), torch.empty(outputs if has_bias else 0)
        space = self.workspace.floats(_ROWS_AT_ONCE * (inputs + outputs))
        self._library.call(
            "scaled_sum",
            *(_linear(a, g, has_bias=has_bias), *_pointers(factors, weight, bias)),
            *(space.data_ptr(), torch.get_num_threads()),
        )
        return weight, bias if has_bias else None

    def layer_norm_gradients(
        self, x: Tensor, g: Tensor, mean: Tensor | None, inverse_deviation: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One pass over x and g; the normalised input is never written."""
        if x.dtype == torch.float64:
            return super().layer_norm_gradients(x, g, mean, inverse_deviation)
        x, g, inverse_deviation = widened(x), widened(g), widened(inverse_deviation)
        centre = None if mean is None else widened(mean)
        batch, positions, width = x.shape
        weight, bias = torch.empty(batch, width), torch.empty(batch, width)
        self._library.call(
            "layer_norm_gradients",
            *(*_pointers(x, g), None if centre is None else centre.data_ptr()),
            *(inverse_deviation.data_ptr(), batch, positions, width, *_pointers(weight, bias)),
            torch.get_num_threads(),
        )
        return weight, bias

    def channel_sums(self, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """One pass over x and g; their product is never written."""
        if x.dtype == torch.float64:
            return super().channel_sums(x, g)
        x, g = widened(x), widened(g)
        rows, pixels = x.shape[0] * x.shape[1], x[:1, :1].numel()
        products, sums = torch.empty(x.shape[:2]), torch.empty(x.shape[:2])
        self._library.call(
            "channel_sums",
            *(x.data_ptr(), g.data_ptr(), rows, pixels, *_pointers(products, sums)),
            torch.get_num_threads(),
        )
        return products, sums

    def conv_clip_sum(
        self, x: Tensor, g: Tensor, shape: Convolution, bound: float, *, has_bias: bool
    ) -> ClippedLayer:
        """Inputs are read where they lie; threads share out the examples."""
        if x.dtype == torch.float64 or shape.groups != 1:
            return super().conv_clip_sum(x, g, shape, bound, has_bias=has_bias)
        require_clip_norm(bound)
        filters, channels = g.shape[1], x.shape[1]
        weight = torch.empty(filters, channels, *shape.kernel)
        bias = torch.empty(filters if has_bias else 0)
        factors, norms = self._conv(x, g, shape, bound, weight, bias, has_bias=has_bias)
        return ClippedLayer(weight, bias if has_bias else None, factors, norms)

    def conv_norm2(self, x: Tensor, g: Tensor, shape: Convolution, *, has_bias: bool) -> Tensor:
        """The same passes without the sum."""
        if x.dtype == torch.float64 or shape.groups != 1:
            return super().conv_norm2(x, g, shape, has_bias=has_bias)
        return self._conv(x, g, shape, 1.0, None, None, has_bias=has_bias)[1].square()

    def conv_gradients(
        self, x: Tensor, g: Tensor, shape: Convolution, *, has_bias: bool
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """One product an example, written where it is kept, its filters last."""
        if x.dtype == torch.float64 or shape.groups != 1:
            return super().conv_gradients(x, g, shape, has_bias=has_bias)
        batch, filters, channels = x.shape[0], g.shape[1], x.shape[1]
        taps = channels * shape.kernel[0] * shape.kernel[1]
        kept = torch.empty(batch, taps + 1, _whole_lanes(filters))
        norms = self._conv(x, g, shape, 1.0, None, None, has_bias=has_bias, kept=kept)[1]
        weights = kept[:, :taps, :filters].view(batch, channels, *shape.kernel, filters)
        return weights.movedim(-1, 1), kept[:, taps, :filters] if has_bias else None, norms.square()

    def rows_norm2(self, rows: Tensor) -> Tensor:
        """Threads share out the rows."""
        if rows.dtype == torch.float64:
            return super().rows_norm2(rows)
        rows = widened(rows)
        sums = torch.empty(rows.shape[0], dtype=torch.float64)
        count = rows[:1].numel()
        self._library.call(
            "rows_squared_sum",
            *(rows.data_ptr(), rows.shape[0], count, sums.data_ptr(), torch.get_num_threads()),
        )
        return sums.mul_(NORM_SLACK**2)

    def _conv(
        self,
        x: Tensor,
        g: Tensor,
        shape: Convolution,
        bound: float,
        weight: Tensor | None,
        bias: Tensor | None,
        *,
        has_bias: bool,
        kept: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        x, g = widened(x), widened(g)
        batch, filters, out_height, out_width = g.shape
        taps = x.shape[1] * shape.kernel[0] * shape.kernel[1]
        threads = max(1, min(torch.get_num_threads(), batch))
        wide = _whole_lanes(filters)
        padded = x.shape[1] * math.prod(
            (out - 1) * stride + (size - 1) * dilation + 1
            for out, stride, size, dilation in zip(
                (out_height, out_width), shape.stride, shape.kernel, shape.dilation, strict=True
            )
        )
        space = self.workspace.floats(
            threads * (padded + out_height * out_width * wide + 2 * (taps + 1) * wide)
        )
        factors, norms = torch.empty(batch), torch.empty(batch, dtype=torch.float64)
        described = ConvBatch(
            *(x.data_ptr(), g.data_ptr(), *x.shape, filters, out_height, out_width),
            *(*shape.kernel, *shape.stride, *shape.padding, *shape.dilation, int(has_bias)),
        )
        self._library.call(
            "conv_clip_sum",
            *(ctypes.byref(described), bound),
            *(None if t is None else t.data_ptr() for t in (weight, bias)),
            *_pointers(factors, norms),
            *(None if kept is None else kept.data_ptr(), space.data_ptr(), threads),
        )
        return factors, norms


def _whole_lanes(count: int) -> int:
    return -(-count // _LANES) * _LANES


def _linear(a: Tensor, g: Tensor, *, has_bias: bool) -> LinearBatch:
    """The description of two dense float32 factors; the caller keeps them alive."""
    batch, positions, inputs = a.shape
    return LinearBatch(
        *(a.data_ptr(), g.data_ptr(), batch, positions, inputs, g.shape[2], int(has_bias))
    )


def _pointers(*tensors: Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


@cache
def _fused(loaded: Library) -> FusedCpuLayers:
    return FusedCpuLayers(loaded)


_PLAIN = PlainLayers()


def best() -> LayerKernel:
    """The compiled form where there is one, else pure PyTorch."""
    loaded = library()
    return _PLAIN if loaded is None else _fused(loaded)
