"""What each kind of layer does with its backward pass: a norm for each example now, a sum later."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from kernels.layers.api import Convolution, LayerKernel, factors_of, widened
from kernels.layers.fused_cpu import best
from kernels.private.patches import ghost_norms2, patch_norms2
from kernels.private.plan import (
    ConvolutionShape,
    LayerPlan,
    LinearShape,
    convolution_plan_of,
    plan_of,
)
from kernels.private.spec import PlanName

Sums = list[Tensor | None]


@dataclass(slots=True)
class Booked:
    """One layer's part of one backward pass.

    norms2: (B,) float64, never underestimated.
    total: given the factors (B,), the clipped sums of the rule's parameters.
    """

    norms2: Tensor
    total: Callable[[Tensor], Sums]


_NUMBERS = count()
_BY_KEY: WeakValueDictionary[str, "Rule"] = WeakValueDictionary()


@dataclass
class Rule:
    """A module with trainable parameters, and how it is planned.

    book: (saved tensors, output gradient) -> Booked. clip: the fused form of the same, where the
    module is a group by itself.
    """

    name: str
    module: nn.Module
    plan: PlanName
    kept_bytes: int
    plans: dict[LinearShape | ConvolutionShape, LayerPlan] = field(default_factory=dict)
    key: str = field(default_factory=lambda: str(next(_NUMBERS)))

    def __post_init__(self) -> None:
        """Be found by key: a traced backward pass carries no objects."""
        _BY_KEY[self.key] = self

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The module's own parameters in the order of `Booked.total`."""
        named: list[Any] = [self.module.weight, getattr(self.module, "bias", None)]
        return [p for p in named if p is not None]

    @property
    def has_bias(self) -> bool:
        """Whether a bias shares the clip."""
        return getattr(self.module, "bias", None) is not None

    def book(self, saved: tuple[Any, ...], g: Tensor) -> Booked:
        """Take the norms of one backward pass; keep what the sum needs."""
        raise NotImplementedError

    def clip(self, saved: tuple[Any, ...], g: Tensor, bound: float) -> Sums:
        """Clip to a bound of the module's own and sum at once."""
        booked = self.book(saved, g)
        return booked.total(factors_of(booked.norms2.sqrt(), bound))


class LinearRule(Rule):
    """`nn.Linear`. saved: (x,), g: at its output; positions are all dims between first and last."""

    def book(self, saved: tuple[Any, ...], g: Tensor) -> Booked:
        """Product, kept, direct or ghost norms, as planned."""
        a, g = as_positions(saved[0]), as_positions(g)
        plan = self._planned(a, g, fused=False)
        return book_linear(best(), a, g, plan.algorithm, has_bias=self.has_bias)

    def clip(self, saved: tuple[Any, ...], g: Tensor, bound: float) -> Sums:
        """One product an example into a hot buffer, or as booked."""
        a, g = as_positions(saved[0]), as_positions(g)
        algorithm = self._planned(a, g, fused=True).algorithm
        return clip_linear(a, g, bound, algorithm, has_bias=self.has_bias)

    def _planned(self, a: Tensor, g: Tensor, *, fused: bool) -> LayerPlan:
        return planned(a, g, self.plan, self.key, has_bias=self.has_bias, fused=fused)


def planned(
    a: Tensor, g: Tensor, plan: PlanName, key: str, *, has_bias: bool, fused: bool
) -> LayerPlan:
    """The plan of these sizes, noted with the rule of that key for the run's record."""
    shape = LinearShape.of(a, g, has_bias=has_bias, fused=fused)
    rule = _BY_KEY.get(key)
    if rule is None:
        return plan_of(shape, plan)
    if shape not in rule.plans:
        rule.plans[shape] = plan_of(shape, plan)
    return rule.plans[shape]


def clip_linear(a: Tensor, g: Tensor, bound: float, algorithm: str, *, has_bias: bool) -> Sums:
    """A linear layer that is a group by itself; a (B, T, D), g (B, T, P)."""
    kernel = best()
    if algorithm == "direct":
        found = kernel.clip_sum(a, g, bound, has_bias=has_bias)
        return [found.weight, found.bias]
    booked = book_linear(kernel, a, g, algorithm, has_bias=has_bias)
    return booked.total(factors_of(booked.norms2.sqrt(), bound))


def book_linear(
    kernel: LayerKernel, a: Tensor, g: Tensor, algorithm: str, *, has_bias: bool
) -> Booked:
    """Norms by the planned algorithm; a (B, T, D), g (B, T, P)."""
    if algorithm == "keep":
        return _keep_linear(kernel, widened(a), widened(g), has_bias=has_bias)
    if algorithm == "product":
        inside = kernel.rows_norm2(a) + (1.0 if has_bias else 0.0)
        norms2 = inside * kernel.rows_norm2(g)
    elif algorithm == "direct":
        norms2 = kernel.direct_norm2(a, g, has_bias=has_bias)
    else:
        norms2 = ghost_norms2(kernel, a, g, has_bias=has_bias)

    def total(factors: Tensor) -> Sums:
        return list(kernel.scaled_sum(a, g, factors, has_bias=has_bias))

    return Booked(norms2, total)


def _keep_linear(kernel: LayerKernel, a: Tensor, g: Tensor, *, has_bias: bool) -> Booked:
    weights = torch.bmm(g.transpose(1, 2), a)
    norms2 = kernel.rows_norm2(weights)
    biases = g.sum(dim=1) if has_bias else None
    if biases is not None:
        norms2 += kernel.rows_norm2(biases)
    return Booked(norms2, lambda factors: [weighted(weights, factors), weighted(biases, factors)])


class EmbeddingRule(Rule):
    """`nn.Embedding`. saved: (index,)."""

    def book(self, saved: tuple[Any, ...], g: Tensor) -> Booked:
        """Segments; only the touched rows are held."""
        module = self.module
        found = best().embedding_segments(
            *(saved[0], g, module.num_embeddings, module.padding_idx)  # type: ignore[arg-type]
        )

        def total(factors: Tensor) -> Sums:
            factors = factors.to(found.values.dtype)
            each = factors[found.examples][:, None]
            scaled = (found.values * each).masked_fill_(each == 0.0, 0.0)
            size = (module.num_embeddings, found.values.shape[1])
            return [scaled.new_zeros(size).index_add_(0, found.rows, scaled)]  # type: ignore[arg-type]

        return Booked(found.norms2, total)


@dataclass(slots=True)
class Tie:
    """An embedding and a head with one weight: the gradients add up before they are clipped.

    Each side leaves its factors here; the second to come adds the cross term of the norm.
    """

    head: tuple[Tensor, Tensor] | None = None
    embedding: tuple[Tensor, Tensor] | None = None
    padding: int | None = None

    def crossed(self) -> Tensor | float:
        """2 <G_head, G_embedding> a row, bounded from above; 0 until both sides have come.

        sum_{s, t} g_head[s, token_t] <h_s, e_t>: a gather and one product a row.
        """
        if self.head is None or self.embedding is None:
            return 0.0
        (h, g), (index, e) = self.head, self.embedding
        self.head = self.embedding = None
        index = index.reshape(index.shape[0], 1, -1)
        picked = g.gather(2, index.expand(-1, g.shape[1], -1)).double()
        if self.padding is not None:
            picked = picked.masked_fill(index == self.padding, 0.0)
        inner = torch.bmm(widened(h), widened(e).transpose(1, 2)).double()
        lengths = h.double().norm(dim=2)[:, :, None] * e.double().norm(dim=2)[:, None, :]
        unit = torch.finfo(inner.dtype if h.dtype == torch.float64 else torch.float32).eps
        slack = (h.shape[2] + 16) * unit * lengths
        crossed: Tensor = 2.0 * (inner * picked + slack * picked.abs()).sum(dim=(1, 2))
        return crossed


class TiedLinearRule(LinearRule):
    """The head of a tie."""

    tie: Tie

    def book(self, saved: tuple[Any, ...], g: Tensor) -> Booked:
        """As a linear layer, and the cross term if the embedding has come."""
        booked = super().book(saved, g)
        self.tie.head = as_positions(saved[0]), as_positions(g)
        booked.norms2 = booked.norms2 + self.tie.crossed()
        return booked


class TiedEmbeddingRule(EmbeddingRule):
    """The embedding of a tie."""

    tie: Tie

    def book(self, saved: tuple[Any, ...], g: Tensor) -> Booked:
        """As an embedding, and the cross term if the head has come."""
        booked = super().book(saved, g)
        self.tie.embedding = saved[0], as_positions(g)
        booked.norms2 = booked.norms2 + self.tie.crossed()
        return booked


class NormRule(Rule):
    """LayerNorm, RMSNorm, GroupNorm. saved: (x, mean or None, inverse deviation)."""

    def book(self, saved: tuple[Any, ...], g: Tensor) -> Booked:
        """Closed forms: (B, width) for each parameter."""
        x, mean, inverse = saved
        kernel = best()
        if isinstance(self.module, nn.GroupNorm):
            weights, biases = kernel.group_norm_gradients(x, g, mean, inverse)
        else:
            shape = (x.shape[0], -1, self.parameters[0].numel())
            flat = (x.shape[0], -1)
            weights, biases = kernel.layer_norm_gradients(
                *(x.reshape(shape), g.reshape(shape)),
                *(None if mean is None else mean.reshape(flat), inverse.reshape(flat)),
            )
        norms2 = kernel.rows_norm2(weights)
        parameters = self.parameters
        if self.has_bias:
            norms2 = norms2 + kernel.rows_norm2(biases)

        def total(factors: Tensor) -> Sums:
            sums: Sums = [weighted(weights, factors)]
            if self.has_bias:
                sums.append(weighted(biases, factors))
            return [
                None if s is None else s.view(p.shape)
                for s, p in zip(sums, parameters, strict=True)
            ]

        return Booked(norms2, total)


class ConvRule(Rule):
    """`nn.Conv1d` and `nn.Conv2d`. saved: (x, weight)."""

    def book(self, saved: tuple[Any, ...], g: Tensor) -> Booked:
        """Small gradients are kept; of large ones the norms are taken, and the sum is formed."""
        x, g, shape = self._images(saved[0], g)
        kernel = best()
        weight: Tensor = self.parameters[0]
        if self.plan == "keep" or x.shape[0] * weight.numel() * 4 <= self.kept_bytes:
            weights, biases, norms2 = kernel.conv_gradients(x, g, shape, has_bias=self.has_bias)
            # As they lie: the compiled form keeps the filters last.
            place = -1 if weights.stride(1) == 1 else 1
            rows = weights.movedim(1, place)
            return Booked(
                norms2,
                lambda factors: [
                    weighted(rows, factors)
                    .movedim(place if place < 0 else 0, 0)
                    .reshape(weight.shape),
                    weighted(biases, factors),
                ],
            )
        if self._planned(x, g, shape).algorithm == "ghost":
            norms2 = patch_norms2(kernel, x, g, shape, has_bias=self.has_bias)
        else:
            norms2 = kernel.conv_norm2(x, g, shape, has_bias=self.has_bias)

        def total(factors: Tensor) -> Sums:
            scaled = scaled_rows(g, factors)
            dropped = factors == 0.0
            kept = x.masked_fill(dropped[:, None, None, None], 0.0) if bool(dropped.any()) else x
            image = weight.detach().view(weight.shape[0], weight.shape[1], *shape.kernel)
            sums = torch.ops.aten.convolution_backward(
                *(scaled, kept.to(scaled.dtype), image, [weight.shape[0]], shape.stride),
                *(shape.padding, shape.dilation, False, [0, 0], shape.groups),
                [False, True, self.has_bias],
            )
            return [_shaped(sums[1], weight), sums[2] if self.has_bias else None]

        return Booked(norms2, total)

    def clip(self, saved: tuple[Any, ...], g: Tensor, bound: float) -> Sums:
        """One example's gradient at a time."""
        x, g, shape = self._images(saved[0], g)
        found = best().conv_clip_sum(x, g, shape, bound, has_bias=self.has_bias)
        return [_shaped(found.weight, self.parameters[0]), found.bias]

    def _planned(self, x: Tensor, g: Tensor, geometry: Convolution) -> LayerPlan:
        shape = ConvolutionShape.of(x, g, geometry, has_bias=self.has_bias)
        if shape not in self.plans:
            self.plans[shape] = convolution_plan_of(shape, self.plan)
        return self.plans[shape]

    def _images(self, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Convolution]:
        """The geometry; one-dimensional inputs become images of height one."""
        module: Any = self.module
        sizes = [module.kernel_size, module.stride, module.padding, module.dilation]
        if isinstance(module, nn.Conv1d):
            x, g = x.unsqueeze(2), g.unsqueeze(2)
            sizes = [(fill, *size) for fill, size in zip((1, 1, 0, 1), sizes, strict=True)]
        kernel, stride, padding, dilation = sizes
        return x, g, Convolution(kernel, stride, padding, dilation, module.groups)


def as_positions(value: Tensor) -> Tensor:
    """(B, ..., D) as (B, T, D)."""
    return value.reshape(value.shape[0], -1, value.shape[-1])


def weighted(rows: Tensor | None, factors: Tensor) -> Any:
    """sum_b c_b row_b; rows of factor zero are not read. None stays None."""
    if rows is None:
        return None
    flat = rows.flatten(1)
    factors = factors.to(flat.dtype)
    dropped = factors == 0.0
    if bool(dropped.any()):
        flat = flat.masked_fill(dropped[:, None], 0.0)
    return (factors @ flat).view(rows.shape[1:])


def scaled_rows(rows: Tensor, factors: Tensor) -> Tensor:
    """c_b row_b, exactly zero where the factor is."""
    each = factors.to(rows.dtype).view(-1, *[1] * (rows.dim() - 1))
    scaled = rows * each
    dropped = each == 0.0  # zero times infinity is not zero
    return scaled.masked_fill_(dropped, 0.0) if bool(dropped.any()) else scaled


def _shaped(value: Any, like: Tensor) -> Any:
    return None if value is None else value.view(like.shape)
