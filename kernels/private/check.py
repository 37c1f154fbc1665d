"""What must hold before a model trains privately; each refusal names the module and the remedy.

The examination runs the model on made-up inputs. It reads no private row.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from kernels.private.modules import is_ours, rule_for
from kernels.private.spec import ModelRefused

_MIXING = (nn.modules.batchnorm._BatchNorm, nn.SyncBatchNorm)  # noqa: SLF001
_TOLERANCE = 1e-4


def trainable_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Modules with trainable parameters of their own, in order; every one has a rule.

    Raises:
        ModelRefused: one mixes rows, has no rule, is half frozen, or is not in float32 or float64.
    """
    found = []
    for name, module in model.named_modules():
        if isinstance(module, _MIXING):
            raise ModelRefused(name, "BatchNorm mixes the rows of a batch", "use nn.GroupNorm")
        own = dict(module.named_parameters(recurse=False))
        live = [p for p in own.values() if p.requires_grad]
        if not live:
            continue
        if rule_for(module) is None:
            raise ModelRefused(
                *(name, f"{type(module).__name__} has trainable parameters and no rule"),
                "build it from Linear, Conv, Embedding and norm layers, or freeze it",
            )
        if len(live) != len(own):
            raise ModelRefused(name, "half of it is frozen", "freeze or train all of it")
        if any(p.dtype not in (torch.float32, torch.float64) for p in live):
            remedy = "keep its weights in float32 (autocast may run it in less)"
            raise ModelRefused(name, "its sums would be rounded to 16 bits", remedy)
        _check_options(name, module)
        found.append((name, module))
    if not found:
        raise ModelRefused("", "nothing is trainable", "unfreeze what should learn")
    return found


def _check_options(name: str, module: nn.Module) -> None:
    if isinstance(module, (nn.Conv1d, nn.Conv2d)) and (
        module.padding_mode != "zeros" or isinstance(module.padding, str)
    ):
        raise ModelRefused(name, "its padding has no rule", "pad by numbers, with zeros")
    if isinstance(module, nn.Embedding) and (
        module.max_norm is not None or module.scale_grad_by_freq or module.sparse
    ):
        raise ModelRefused(name, "max_norm, scale_grad_by_freq or sparse", "leave them off")


def shared_parameters(
    modules: Iterable[tuple[str, nn.Module]],
) -> list[list[tuple[str, nn.Module]]]:
    """Groups of modules that hold one parameter together: ties of one embedding and one head.

    Raises:
        ModelRefused: shared in another way, for which there is no norm.
    """
    holders: dict[int, list[tuple[str, nn.Module]]] = defaultdict(list)
    for name, module in modules:
        for parameter in module.parameters(recurse=False):
            holders[id(parameter)].append((name, module))
    ties = [group for group in holders.values() if len(group) > 1]
    for tie in ties:
        kinds = sorted(type(module).__name__ for _, module in tie)
        if kinds != ["Embedding", "Linear"]:
            raise ModelRefused(tie[1][0], "it shares a parameter", "give it its own weights")
        if any(getattr(module, "bias", None) is not None for _, module in tie):
            raise ModelRefused(tie[1][0], "a tied head with a bias has no rule", "drop the bias")
    return ties


def check_graph(model: nn.Module, outputs: Sequence[Tensor], *, tied: set[int]) -> None:
    """Every trainable parameter is reached by our functions alone, and once (twice in a tie).

    Raises:
        ModelRefused: a parameter is used outside its module's forward, or its module runs twice.
    """
    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    uses: dict[int, int] = defaultdict(int)
    stack = [out.grad_fn for out in outputs if out.grad_fn is not None]
    seen: set[Any] = set(stack)
    while stack:
        node = stack.pop()
        for parent, _ in node.next_functions:
            if parent is None:
                continue
            variable = getattr(parent, "variable", None)
            if variable is not None and id(variable) in names:
                if not is_ours(type(node).__name__):
                    raise ModelRefused(
                        *(names[id(variable)], "it is used outside its module's forward"),
                        "call the module itself",
                    )
                uses[id(variable)] += 1
            elif parent not in seen:
                seen.add(parent)
                stack.append(parent)
    for key, count in uses.items():
        if count > (2 if key in tied else 1):
            raise ModelRefused(names[key], "it runs more than once a pass", "give each use its own")


def check_rows(model: nn.Module, covered: Sequence[tuple[str, nn.Module]], example: Any) -> None:
    """Row 0 of the batch must not move any other row, of any covered module or of the output.

    Both ways: by the graph (the gradient of output row 0 at other rows is exactly zero) and by
    value (row 0 is exchanged for another; this finds what `detach` hides).

    Raises:
        ModelRefused: rows meet, or a module does not have the batch first.
    """
    batch = example[0].shape[0]
    if batch < 3:
        raise ValueError("three made-up examples are needed to see whether rows meet")
    for rows in (2, 3):
        first = _seen(model, covered, tuple(_cut(value, rows) for value in example))
        for name, output in first:
            if output.dim() == 0 or output.shape[0] != rows:
                raise ModelRefused(
                    *(name, f"its batch dim is not {rows} when {rows} examples come in"),
                    "keep the batch first, and expand inputs that all rows share",
                )
    last = first[-1][1]
    inner = [(name, out) for name, out in first if out.requires_grad]
    if last.requires_grad:
        grads = torch.autograd.grad(
            last[0].sum(), [out for _, out in inner], allow_unused=True, retain_graph=True
        )
        for (name, _), grad in zip(inner, grads, strict=True):
            if grad is not None and bool((grad[1:] != 0).any()):
                raise ModelRefused(name, "rows of a batch meet", "let each row see itself alone")
    other = _seen(model, covered, tuple(_exchanged(value) for value in example))
    for (name, before), (_, after) in zip(first, other, strict=True):
        if not torch.allclose(before[1:], after[1:], rtol=_TOLERANCE, atol=_TOLERANCE):
            raise ModelRefused(name, "rows of a batch meet", "let each row see itself alone")


def _seen(
    model: nn.Module, covered: Sequence[tuple[str, nn.Module]], example: tuple[Any, ...]
) -> list[tuple[str, Tensor]]:
    """The outputs of the covered modules, then of the model, with the same random numbers."""
    found: list[tuple[str, Tensor]] = []
    with ExitStack() as stack, torch.random.fork_rng():
        torch.manual_seed(0)
        for name, module in covered:

            def note(_: nn.Module, __: Any, output: Tensor, name: str = name) -> None:
                found.append((name, output))

            stack.callback(module.register_forward_hook(note).remove)
        outputs = floating(model(*example))
    return [*found, *(("the output", out) for out in outputs)]


def floating(outputs: Any) -> list[Tensor]:
    """The tensors with a gradient in whatever a model returns."""
    return [x for x in tree_leaves(outputs) if isinstance(x, Tensor) and x.is_floating_point()]


def _cut(value: Any, rows: int) -> Any:
    return value[:rows] if isinstance(value, Tensor) else value


def _exchanged(value: Any) -> Any:
    """Three rows with the first one moved."""
    if not isinstance(value, Tensor):
        return value
    value = value[:3].clone()
    value[0] = value[0] * -1.5 + 0.5 if value.is_floating_point() else value[1].flip(-1)
    return value


def check_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """The optimizer holds the model's trainable parameters: all of them, and nothing else.

    Raises:
        ModelRefused: it holds others, as after a model was copied or wrapped; they would train
            without privacy, or not at all.
    """
    live = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    remedy = "make the optimizer from this model's trainable parameters, after privatize"
    if held - set(live):
        raise ModelRefused("", "the optimizer holds parameters that are not this model's", remedy)
    missing = [name for key, name in live.items() if key not in held]
    if missing:
        raise ModelRefused(missing[0], "the optimizer does not hold it", remedy)
