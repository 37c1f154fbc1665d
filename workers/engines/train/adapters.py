"""LoRA: small linear layers beside frozen ones; what it means for the loss stands in the domain.

Clipping takes `down` and `up` for the linear layers that they are (`kernels.private`), so nothing
of privacy is special here: `app.domain.training.lora`.
"""

import hashlib
from collections.abc import Collection

import torch
from torch import Tensor, nn

from app.domain.training.lora import Base, LoraSpec
from kernels.private.spec import ModelRefused


class Adapted(nn.Module):
    """A frozen linear layer, and two small ones that learn beside it."""

    def __init__(self, base: nn.Linear, lora: LoraSpec) -> None:
        """Beside one layer; nothing changes until `up` is no longer 0."""
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, lora.rank, bias=False)
        self.up = nn.Linear(lora.rank, base.out_features, bias=False)
        self.scale = lora.scale

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        out: Tensor = self.base(x) + self.scale * self.up(self.down(x))
        return out


def adapt(model: nn.Module, base: Base, lora: LoraSpec) -> None:
    """Freeze a base in place, all but what learns from a fresh start, and stand adapters beside.

    Raises:
        ModelRefused: its weights or its layers are not those that its description says.
    """
    for name, said in base.trained.items():
        found = sum(parameter.numel() for parameter in _module(model, name).parameters())
        if found != said:
            raise ModelRefused(name, f"its description says {said} parameters", f"it has {found}")
    digest = weights_sha256(model, left_out=base.trained)
    if digest != base.sha256:
        raise ModelRefused("", "its weights are not those of its description", f"say {digest}")
    model.requires_grad_(requires_grad=False)
    for name in base.trained:
        _module(model, name).requires_grad_(requires_grad=True)
    for name, widths in base.layers.items():
        layer = _module(model, name)
        # of exactly this kind: a subclass may do anything in its forward
        if type(layer) is not nn.Linear or (layer.in_features, layer.out_features) != widths:
            problem = f"it is no nn.Linear from {widths[0]} to {widths[1]}"
            raise ModelRefused(name, problem, "describe the layer as it is")
        if any(parameter.requires_grad for parameter in layer.parameters()):
            raise ModelRefused(name, "it learns and is adapted", "leave it out of one of the two")
        parent, _, last = name.rpartition(".")
        setattr(_module(model, parent), last, Adapted(layer, lora))


def _module(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise ModelRefused(name, "the base has no such module", "name one that it has") from None


def weights_sha256(model: nn.Module, *, left_out: Collection[str]) -> str:
    """Of all parameters and buffers by name: where two are equal, so are the bases.

    Args:
        model: as it was built.
        left_out: modules that start afresh.
    """
    fresh = tuple(f"{name}." for name in left_out)
    digest = hashlib.sha256()
    for name, value in sorted([*model.named_parameters(), *model.named_buffers()]):
        if not name.startswith(fresh):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            plain = value.detach().contiguous().flatten().view(torch.uint8)
            digest.update(plain.numpy().tobytes())
    return digest.hexdigest()
