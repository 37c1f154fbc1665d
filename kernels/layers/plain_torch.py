"""The layer operations in pure PyTorch: the path where no compiler was found, and float64's."""

import torch
from torch import Tensor

from kernels.layers.api import (
    NORM_SLACK,
    ClippedLayer,
    Convolution,
    Segments,
    factors_of,
    require_clip_norm,
    widened,
)


class PlainLayers:
    """The vectorised form without compiled code. See `kernels.layers.api.LayerKernel`."""

    name = "pure-pytorch"

    def clip_sum(self, a: Tensor, g: Tensor, bound: float, *, has_bias: bool) -> ClippedLayer:
        """One product an example into one buffer; its norm and its sum are taken from there."""
        require_clip_norm(bound)
        a, g = widened(a), widened(g)
        weight = torch.zeros(g.shape[2], a.shape[2], dtype=a.dtype)
        product = torch.empty_like(weight)
        biases = g.sum(dim=1) if has_bias else None
        norms = torch.empty(a.shape[0], dtype=torch.float64)
        factors = torch.empty(a.shape[0], dtype=a.dtype)
        for b in range(a.shape[0]):
            torch.mm(g[b].T, a[b], out=product)
            norm2 = _squared_sum(product)
            if biases is not None:
                norm2 = norm2 + _squared_sum(biases[b])
            norms[b] = norm2.sqrt() * NORM_SLACK
            factors[b] = factors_of(norms[b], bound, a.dtype)
            if factors[b] != 0.0:
                weight.add_(product, alpha=float(factors[b]))
        return ClippedLayer(weight, _rows_sum(biases, factors), factors, norms)

    def direct_norm2(self, a: Tensor, g: Tensor, *, has_bias: bool) -> Tensor:
        """One product an example."""
        a, g = widened(a), widened(g)
        norms2 = torch.empty(a.shape[0], dtype=torch.float64)
        for b in range(a.shape[0]):
            norms2[b] = _squared_sum(g[b].T @ a[b])
            if has_bias:
                norms2[b] += _squared_sum(g[b].sum(dim=0))
        return norms2 * NORM_SLACK**2

    def ghost_norm2(self, a: Tensor, g: Tensor, *, has_bias: bool) -> Tensor:
        """Two Gram matrices an example, and what their rounding can hide."""
        a, g = widened(a), widened(g)
        one = 1.0 if has_bias else 0.0
        inner = torch.bmm(a, a.transpose(1, 2)) + one
        outer = torch.bmm(g, g.transpose(1, 2))
        estimate = (inner.double() * outer.double()).sum(dim=(1, 2))
        # A product of n terms in any order is off by at most n units of the rows' norms.
        unit = torch.finfo(a.dtype).eps / 2
        gamma = (a.shape[2] + g.shape[2] + 16) * unit * 1.01
        lengths = [x.double().square().sum(dim=2) for x in (a, g)]
        reach = ((lengths[0] + one) * lengths[1]).sqrt().sum(dim=1)
        bound = (estimate.clamp(min=0.0) + gamma * reach.square()) * (1.0 + 2.0**-40)
        finite = torch.isfinite(estimate) & torch.isfinite(reach)
        return torch.stack([bound.masked_fill(~finite, torch.inf), estimate], dim=1)

    def scaled_sum(
        self, a: Tensor, g: Tensor, factors: Tensor, *, has_bias: bool
    ) -> tuple[Tensor, Tensor | None]:
        """One product over all positions; the narrower side is scaled."""
        a, g = widened(a), widened(g)
        factors = factors.to(a.dtype)
        dropped = factors == 0.0
        if bool(dropped.any()):  # zero times infinity is not zero
            a = a.masked_fill(dropped[:, None, None], 0.0)
            g = g.masked_fill(dropped[:, None, None], 0.0)
        bias = None
        if has_bias:
            bias = factors.repeat_interleave(g.shape[1]) @ g.reshape(-1, g.shape[2])
        if a.shape[2] < g.shape[2]:
            a = a * factors[:, None, None]
        else:
            g = g * factors[:, None, None]
        return g.reshape(-1, g.shape[2]).T @ a.reshape(-1, a.shape[2]), bias

    def embedding_segments(
        self, index: Tensor, g: Tensor, rows: int, padding: int | None
    ) -> Segments:
        """Equal (example, row) pairs are added up; only they are held."""
        batch, width = index.shape[0], g.shape[-1]
        g = widened(g).reshape(-1, width)
        examples = torch.arange(batch).repeat_interleave(index[:1].numel())
        places = index.reshape(-1)
        if padding is not None:
            kept = places != padding
            g, examples, places = g[kept], examples[kept], places[kept]
        keys, inverse = torch.unique(examples * rows + places, return_inverse=True)
        values = torch.zeros(keys.shape[0], width, dtype=g.dtype).index_add_(0, inverse, g)
        examples, places = keys // rows, keys % rows
        squares = torch.linalg.vecdot(values.double(), values.double())
        norms2 = torch.zeros(batch, dtype=torch.float64).index_add_(0, examples, squares)
        return Segments(places, examples, values, norms2)

    def layer_norm_gradients(
        self, x: Tensor, g: Tensor, mean: Tensor | None, inverse_deviation: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As the definition, in the dtype of the factors."""
        centred = widened(x) if mean is None else widened(x) - mean[..., None]
        g = widened(g)
        return (centred * inverse_deviation[..., None] * g).sum(dim=1), g.sum(dim=1)

    def group_norm_gradients(
        self, x: Tensor, g: Tensor, mean: Tensor, inverse_deviation: Tensor
    ) -> tuple[Tensor, Tensor]:
        """sum(x_hat g) = (sum(x g) - mean sum(g)) / deviation, channel by channel."""
        each = x.shape[1] // mean.shape[1]
        products, sums = self.channel_sums(x, g)
        centre = mean.repeat_interleave(each, dim=1)
        return (products - centre * sums) * inverse_deviation.repeat_interleave(each, dim=1), sums

    def channel_sums(self, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C) each: the sums over positions of x g and of g."""
        flat, out = widened(x).flatten(2), widened(g).flatten(2)
        return torch.linalg.vecdot(flat, out), out.sum(dim=2)

    def conv_clip_sum(
        self, x: Tensor, g: Tensor, shape: Convolution, bound: float, *, has_bias: bool
    ) -> ClippedLayer:
        """The library's own convolution, one example at a time."""
        require_clip_norm(bound)
        x, g = widened(x), widened(g)
        size = (g.shape[1], x.shape[1] // shape.groups, *shape.kernel)
        weight = torch.zeros(size, dtype=x.dtype)
        biases = g.flatten(2).sum(dim=2) if has_bias else None
        norms = torch.empty(x.shape[0], dtype=torch.float64)
        factors = torch.empty(x.shape[0], dtype=x.dtype)
        for b in range(x.shape[0]):
            gradient = conv_gradient(x[b : b + 1], g[b : b + 1], weight, shape)
            norm2 = _squared_sum(gradient)
            if biases is not None:
                norm2 = norm2 + _squared_sum(biases[b])
            norms[b] = norm2.sqrt() * NORM_SLACK
            factors[b] = factors_of(norms[b], bound, x.dtype)
            if factors[b] != 0.0:
                weight.add_(gradient, alpha=float(factors[b]))
        return ClippedLayer(weight, _rows_sum(biases, factors), factors, norms)

    def conv_norm2(self, x: Tensor, g: Tensor, shape: Convolution, *, has_bias: bool) -> Tensor:
        """The library's own convolution, one example at a time."""
        return self.conv_clip_sum(x, g, shape, 1.0, has_bias=has_bias).norms.square()

    def conv_gradients(
        self, x: Tensor, g: Tensor, shape: Convolution, *, has_bias: bool
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """The library's own convolution, one example at a time."""
        x, g = widened(x), widened(g)
        like = torch.empty(g.shape[1], x.shape[1] // shape.groups, *shape.kernel, dtype=x.dtype)
        weights = torch.empty(x.shape[0], *like.shape, dtype=x.dtype)
        for b in range(x.shape[0]):
            weights[b] = conv_gradient(x[b : b + 1], g[b : b + 1], like, shape)
        norms2 = self.rows_norm2(weights)
        if not has_bias:
            return weights, None, norms2
        biases = g.flatten(2).sum(dim=2)
        return weights, biases, norms2 + self.rows_norm2(biases)

    def rows_norm2(self, rows: Tensor) -> Tensor:
        """Squares in the rows' own dtype, their sum in float64."""
        squares = widened(rows).flatten(1).square()
        return squares.sum(dim=1, dtype=torch.float64) * NORM_SLACK**2


def conv_gradient(x: Tensor, g: Tensor, weight: Tensor, shape: Convolution) -> Tensor:
    """The weight gradient of a convolution, summed over the examples of `x`."""
    found: Tensor = torch.ops.aten.convolution_backward(
        *(g, x, weight, None, shape.stride, shape.padding, shape.dilation, False, [0, 0]),
        *(shape.groups, [False, True, False]),
    )[1]
    return found


def _squared_sum(values: Tensor) -> Tensor:
    return values.square().sum(dtype=torch.float64)


def _rows_sum(rows: Tensor | None, factors: Tensor) -> Tensor | None:
    """sum_b c_b row_b, where a row of factor zero is not read."""
    if rows is None:
        return None
    return factors @ rows.masked_fill((factors == 0.0)[:, None], 0.0)
