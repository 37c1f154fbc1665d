"""The layers' own autograd functions: the backward pass gives dX and hands the rest to its rule.

No hook and no thrown-away weight gradient: torch never computes dW of a covered layer.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from kernels.private.rules import Rule, as_positions, clip_linear, planned
from kernels.private.tape import Tape

Grads = tuple[Tensor | None, ...]


def clip_linear_now(
    a: Tensor,
    g: Tensor,
    bound: float,
    plan: str,
    key: str,
    has_bias: bool,  # noqa: FBT001
) -> list[Tensor]:
    """Clipped sums of a linear layer. a (B, ..., D), g (B, ..., P); key: of its rule."""
    a, g = as_positions(a), as_positions(g)
    taken: Any = plan
    algorithm = planned(a, g, taken, key, has_bias=has_bias, fused=True).algorithm
    weight, bias = clip_linear(a, g, bound, algorithm, has_bias=has_bias)
    return [t for t in (weight, bias) if t is not None]


clip_linear_op = torch.library.custom_op(
    "epsilon_ledger::clip_linear", clip_linear_now, mutates_args=()
)


@clip_linear_op.register_fake
def _(
    a: Tensor,
    g: Tensor,
    bound: float,
    plan: str,
    key: str,
    has_bias: bool,  # noqa: FBT001
) -> list[Tensor]:
    weight = a.new_empty(g.shape[-1], a.shape[-1], dtype=torch.float32)
    bias = a.new_empty(g.shape[-1], dtype=torch.float32)
    return [weight, bias] if has_bias else [weight]


class FusedLinear(torch.autograd.Function):
    """A linear layer that is a group by itself, in a form that torch.compile can trace."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, bound: float, plan: str, key: str
    ) -> Tensor:
        """As `functional.linear`."""
        ctx.save_for_backward(x, weight)
        ctx.bound, ctx.plan, ctx.key, ctx.has_bias = bound, plan, key, bias is not None
        return functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """The clipped sums stand in the place of dW and db."""
        (g,) = grads
        x, weight = ctx.saved_tensors
        # Opaque to the compiler as an operator; called as one outside of it, the whole compiler
        # would be loaded: 900 modules and 130 MB.
        clip = clip_linear_op if torch.compiler.is_compiling() else clip_linear_now
        found = clip(x, g, ctx.bound, ctx.plan, ctx.key, ctx.has_bias)
        outward = (g.to(weight.dtype) @ weight).to(x.dtype) if ctx.needs_input_grad[0] else None
        return outward, found[0], found[1] if ctx.has_bias else None, None, None, None


class BookedLinear(torch.autograd.Function):
    """A linear layer whose sums come when its group's norms are known."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, rule: Rule, tape: Tape
    ) -> Tensor:
        """As `functional.linear`."""
        ctx.save_for_backward(x, weight)
        ctx.rule, ctx.tape = rule, tape
        return functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Book x and g; only dX flows on."""
        (g,) = grads
        x, weight = ctx.saved_tensors
        found = ctx.tape.receive(ctx.rule, (x,), g)
        outward = (g.to(weight.dtype) @ weight).to(x.dtype) if ctx.needs_input_grad[0] else None
        return outward, *found, None, None


class ClippedEmbedding(torch.autograd.Function):
    """An embedding: no dense gradient of any example."""

    @staticmethod
    def forward(ctx: Any, index: Tensor, weight: Tensor, rule: Rule, tape: Tape) -> Tensor:
        """As `functional.embedding`."""
        ctx.save_for_backward(index)
        ctx.rule, ctx.tape = rule, tape
        return functional.embedding(index, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Clipped or booked."""
        return None, ctx.tape.receive(ctx.rule, ctx.saved_tensors, grads[0])[0], None, None


class ClippedLayerNorm(torch.autograd.Function):
    """LayerNorm by the library's kernels, with its statistics kept for the closed form."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, rule: Rule, tape: Tape
    ) -> Tensor:
        """As `functional.layer_norm`."""
        module: Any = rule.module
        shape, eps = module.normalized_shape, module.eps
        y, mean, inverse = torch.ops.aten.native_layer_norm(x, shape, weight, bias, eps)
        ctx.save_for_backward(x, weight, bias, mean, inverse)
        ctx.rule, ctx.tape, ctx.shape = rule, tape, shape
        out: Tensor = y
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Take dX from the library, the rest in closed form."""
        x, weight, bias, mean, inverse = ctx.saved_tensors
        g = grads[0].contiguous()
        found = ctx.tape.receive(ctx.rule, (x, mean, inverse), g)
        outward = torch.ops.aten.native_layer_norm_backward(
            *(g, x, ctx.shape, mean, inverse, weight, bias, [True, False, False])
        )[0]
        return outward, *found, None, None


class ClippedRmsNorm(torch.autograd.Function):
    """RMSNorm over the last dims."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, rule: Rule, tape: Tape) -> Tensor:
        """As `nn.RMSNorm`: x / sqrt(mean(x^2) + eps) * weight."""
        module: Any = rule.module
        eps = torch.finfo(x.dtype).eps if module.eps is None else module.eps
        dims = tuple(range(-len(module.normalized_shape), 0))
        inverse = torch.rsqrt(x.square().mean(dim=dims, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, inverse)
        ctx.rule, ctx.tape, ctx.dims = rule, tape, dims
        return x * inverse * weight

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """With r the inverse deviation, dX = r (g w - x r^2 mean(g w x))."""
        x, weight, inverse = ctx.saved_tensors
        g = grads[0]
        found = ctx.tape.receive(ctx.rule, (x, None, inverse), g)
        scaled = g * weight
        along = (scaled * x).mean(dim=ctx.dims, keepdim=True)
        return inverse * (scaled - x * (inverse.square() * along)), found[0], None, None


class ClippedGroupNorm(torch.autograd.Function):
    """GroupNorm by the library's kernels, with its statistics kept for the closed form."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, rule: Rule, tape: Tape
    ) -> Tensor:
        """As `functional.group_norm`."""
        module: Any = rule.module
        x = x.contiguous()
        sizes = (x.shape[0], x.shape[1], x[0, 0].numel(), module.num_groups)
        y, mean, inverse = torch.ops.aten.native_group_norm(x, weight, bias, *sizes, module.eps)
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.rule, ctx.tape, ctx.sizes = rule, tape, sizes
        out: Tensor = y
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Take dX from the library, the rest in closed form."""
        x, weight, mean, inverse = ctx.saved_tensors
        g = grads[0].contiguous()
        found = ctx.tape.receive(ctx.rule, (x, mean, inverse), g)
        outward = torch.ops.aten.native_group_norm_backward(
            *(g, x, mean, inverse, weight, *ctx.sizes, [True, False, False])
        )[0]
        return outward, *found, None, None


class ClippedConv(torch.autograd.Function):
    """Conv1d and Conv2d with zero padding."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, rule: Rule, tape: Tape
    ) -> Tensor:
        """As the functional convolution."""
        module: Any = rule.module
        ctx.save_for_backward(x, weight)
        ctx.rule, ctx.tape = rule, tape
        run = functional.conv1d if weight.dim() == 3 else functional.conv2d
        sizes = (module.stride, module.padding, module.dilation, module.groups)
        out: Tensor = run(x, weight, bias, *sizes)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Take dX from the library, the rest from the rule."""
        x, weight = ctx.saved_tensors
        module: Any = ctx.rule.module
        g = grads[0].contiguous()
        found = ctx.tape.receive(ctx.rule, (x, weight), g)
        outward = None
        if ctx.needs_input_grad[0]:
            outward = torch.ops.aten.convolution_backward(
                *(g, x, weight, None, module.stride, module.padding, module.dilation, False),
                *([0] * (weight.dim() - 2), module.groups, [True, False, False]),
            )[0]
        return outward, *found, None, None
