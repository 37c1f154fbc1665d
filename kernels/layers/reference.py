"""The layer operations as they are defined: float64, one example at a time, gradients formed."""

import torch
from torch import Tensor
from torch.nn.functional import unfold

from kernels.layers.api import ClippedLayer, Convolution, Segments


class ReferenceLayers:
    """The definition that every other form is compared with. See `kernels.layers.api`."""

    name = "reference"

    def clip_sum(self, a: Tensor, g: Tensor, bound: float, *, has_bias: bool) -> ClippedLayer:
        """One outer product at a time."""
        weights, biases = _gradients(a, g, has_bias=has_bias)
        return _clipped(weights, biases, bound)

    def direct_norm2(self, a: Tensor, g: Tensor, *, has_bias: bool) -> Tensor:
        """Sums of squares of formed gradients."""
        weights, biases = _gradients(a, g, has_bias=has_bias)
        return _norms2(weights, biases)

    def ghost_norm2(self, a: Tensor, g: Tensor, *, has_bias: bool) -> Tensor:
        """The true squared norm is both bound and estimate here."""
        exact = self.direct_norm2(a, g, has_bias=has_bias)
        return torch.stack([exact, exact], dim=1)

    def scaled_sum(
        self, a: Tensor, g: Tensor, factors: Tensor, *, has_bias: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Scale each formed gradient and add it."""
        weights, biases = _gradients(a, g, has_bias=has_bias)
        return _weighted(weights, factors), None if biases is None else _weighted(biases, factors)

    def embedding_segments(
        self, index: Tensor, g: Tensor, rows: int, padding: int | None
    ) -> Segments:
        """Each example's (rows, D) gradient, of which only the touched rows are kept."""
        found_rows, found_examples, values = [], [], []
        norms2 = torch.zeros(index.shape[0], dtype=torch.float64)
        for b in range(index.shape[0]):
            dense = torch.zeros(rows, g.shape[-1], dtype=torch.float64)
            places, gradients = index[b].reshape(-1), g[b].double().reshape(-1, g.shape[-1])
            for place, gradient in zip(places.tolist(), gradients, strict=True):
                if place != padding:
                    dense[place] += gradient
            touched = [place for place in sorted(set(places.tolist())) if place != padding]
            found_rows += touched
            found_examples += [b] * len(touched)
            values.append(dense[touched])
            norms2[b] = dense.square().sum()
        empty = torch.zeros(0, g.shape[-1], dtype=torch.float64)
        return Segments(
            torch.tensor(found_rows, dtype=torch.int64),
            torch.tensor(found_examples, dtype=torch.int64),
            torch.cat([empty, *values]),
            norms2,
        )

    def layer_norm_gradients(
        self, x: Tensor, g: Tensor, mean: Tensor | None, inverse_deviation: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The normalised input is written out."""
        centre = 0.0 if mean is None else mean.double()[..., None]
        normalised = (x.double() - centre) * inverse_deviation.double()[..., None]
        return (normalised * g.double()).sum(dim=1), g.double().sum(dim=1)

    def group_norm_gradients(
        self, x: Tensor, g: Tensor, mean: Tensor, inverse_deviation: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The normalised input is written out."""
        batch, channels = x.shape[:2]
        each = channels // mean.shape[1]
        flat, out = x.double().reshape(batch, channels, -1), g.double().reshape(batch, channels, -1)
        centre = mean.double().repeat_interleave(each, dim=1)[..., None]
        scale = inverse_deviation.double().repeat_interleave(each, dim=1)[..., None]
        return ((flat - centre) * scale * out).sum(dim=2), out.sum(dim=2)

    def conv_clip_sum(
        self, x: Tensor, g: Tensor, shape: Convolution, bound: float, *, has_bias: bool
    ) -> ClippedLayer:
        """Patches are written out and each group of channels is a linear layer."""
        weights, biases = _conv_gradients(x, g, shape, has_bias=has_bias)
        return _clipped(weights, biases, bound)

    def conv_norm2(self, x: Tensor, g: Tensor, shape: Convolution, *, has_bias: bool) -> Tensor:
        """Sums of squares of formed gradients."""
        return _norms2(*_conv_gradients(x, g, shape, has_bias=has_bias))

    def conv_gradients(
        self, x: Tensor, g: Tensor, shape: Convolution, *, has_bias: bool
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Formed one by one."""
        weights, biases = _conv_gradients(x, g, shape, has_bias=has_bias)
        stacked = None if biases is None else torch.stack(biases)
        return torch.stack(weights), stacked, _norms2(weights, biases)

    def rows_norm2(self, rows: Tensor) -> Tensor:
        """Sums of squares in float64."""
        return rows.double().flatten(1).square().sum(dim=1)


def _gradients(a: Tensor, g: Tensor, *, has_bias: bool) -> tuple[list[Tensor], list[Tensor] | None]:
    weights = [g[b].double().T @ a[b].double() for b in range(a.shape[0])]
    weights = weights or [torch.zeros(0, g.shape[2], a.shape[2], dtype=torch.float64)]
    if not has_bias:
        return weights, None
    return weights, [g[b].double().sum(dim=0) for b in range(a.shape[0])]


def _conv_gradients(
    x: Tensor, g: Tensor, shape: Convolution, *, has_bias: bool
) -> tuple[list[Tensor], list[Tensor] | None]:
    batch, filters = g.shape[:2]
    weights = []
    for b in range(batch):
        groups = []
        for inside, outside in zip(
            x[b : b + 1].double().chunk(shape.groups, dim=1),
            g[b].double().reshape(filters, -1).chunk(shape.groups, dim=0),
            strict=True,
        ):
            patches = unfold(
                inside,
                shape.kernel,
                dilation=shape.dilation,
                padding=shape.padding,
                stride=shape.stride,
            )[0]
            groups.append((outside @ patches.T).view(outside.shape[0], -1, *shape.kernel))
        weights.append(torch.cat(groups))
    biases = [g[b].double().flatten(1).sum(dim=1) for b in range(batch)] if has_bias else None
    return weights, biases


def _norms2(weights: list[Tensor], biases: list[Tensor] | None) -> Tensor:
    norms2 = [float(weight.square().sum()) for weight in weights if weight.numel()]
    if biases is not None:
        norms2 = [n + float(b.square().sum()) for n, b in zip(norms2, biases, strict=True)]
    return torch.tensor(norms2, dtype=torch.float64)


def _clipped(weights: list[Tensor], biases: list[Tensor] | None, bound: float) -> ClippedLayer:
    norms = _norms2(weights, biases).sqrt()
    factors = (bound / norms).clamp(max=1.0).masked_fill(~torch.isfinite(norms), 0.0)
    return ClippedLayer(
        _weighted(weights, factors),
        None if biases is None else _weighted(biases, factors),
        factors,
        norms,
    )


def _weighted(gradients: list[Tensor], factors: Tensor) -> Tensor:
    total = torch.zeros(
        gradients[0].shape[-2:] if gradients[0].numel() == 0 else gradients[0].shape,
        dtype=torch.float64,
    )
    for factor, gradient in zip(factors.tolist(), gradients, strict=False):
        if factor != 0.0:
            total += factor * gradient
    return total
