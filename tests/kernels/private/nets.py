"""Small models of every covered kind, with made-up data, and the per-example float64 loop."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels.private.check import trainable_modules


class Block(nn.Module):
    """A pre-norm transformer block with separate projections."""

    def __init__(self, width: int, heads: int, *, rms: bool) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.RMSNorm(width, eps=1e-5) if rms else nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.after = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, positions, width = x.shape
        parts = self.qkv(self.before(x)).view(batch, positions, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, positions, width))
        out: Tensor = x + self.down(functional.gelu(self.up(self.after(x))))
        return out


class Gpt(nn.Module):
    """A language model; `tied` shares the embedding with the head."""

    def __init__(self, *, tied: bool = False, rms: bool = False) -> None:
        super().__init__()
        self.token = nn.Embedding(23, 16)
        self.place = nn.Embedding(9, 16)
        self.blocks = nn.ModuleList(Block(16, 2, rms=rms) for _ in range(2))
        self.last = nn.LayerNorm(16)
        self.head = nn.Linear(16, 23, bias=False)
        if tied:
            self.head.weight = self.token.weight

    def forward(self, index: Tensor) -> Tensor:
        places = torch.arange(index.shape[1]).expand_as(index)
        x = self.token(index) + self.place(places)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(self.last(x))
        return out


class Lora(nn.Module):
    """A frozen linear layer with a trainable path of rank r."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(requires_grad=False)
        self.inward = nn.Linear(base.in_features, rank, bias=False)
        self.outward = nn.Linear(rank, base.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + 2.0 * self.outward(self.inward(x))
        return out


def lora() -> nn.Module:
    """A language model of which only rank-3 paths are trained."""
    model = Gpt().requires_grad_(requires_grad=False)
    for block in model.blocks:
        for name in ("qkv", "out", "up", "down"):
            setattr(block, name, Lora(getattr(block, name), 3))
    return model


class PeftLinear(nn.Module):
    """A LoRA layer as the library PEFT builds it: adapters by name, in dicts of plain layers."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base_layer = base
        inward = nn.Linear(base.in_features, rank, bias=False)
        outward = nn.Linear(rank, base.out_features, bias=False)
        self.lora_dropout = nn.ModuleDict({"default": nn.Identity()})
        self.lora_A = nn.ModuleDict({"default": inward})
        self.lora_B = nn.ModuleDict({"default": outward})

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.base_layer(x)
        for name in self.lora_A:
            weight = self.lora_A[name].weight
            assert isinstance(weight, Tensor)
            dropped = self.lora_dropout[name](x.to(weight.dtype))
            result = result + self.lora_B[name](self.lora_A[name](dropped)) * 2.0
        return result


def peft() -> nn.Module:
    """A language model whose projections are PEFT's, and one norm that is trained in full."""
    model = Gpt().requires_grad_(requires_grad=False)
    for block in model.blocks:
        for name in ("qkv", "out", "up", "down"):
            setattr(block, name, PeftLinear(getattr(block, name), 3))
    model.last.requires_grad_(requires_grad=True)
    return model


def cnn() -> nn.Module:
    """Two-dimensional convolutions with group norms."""
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 1, 1), nn.GroupNorm(4, 8), nn.ReLU()),
        *(nn.Conv2d(8, 12, 3, 2, 1, groups=2), nn.GroupNorm(3, 12), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(12 * 4 * 4, 5)),
    )


def conv1d() -> nn.Module:
    """One-dimensional convolutions."""
    return nn.Sequential(
        *(nn.Conv1d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv1d(8, 6, 2, dilation=2, bias=False)),
        *(nn.ReLU(), nn.Flatten(), nn.Linear(24, 5)),
    )


def mlp() -> nn.Module:
    """Linear layers of one position each."""
    return nn.Sequential(
        nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 5)
    )


def _tokens() -> tuple[Tensor, Tensor]:
    return torch.randint(0, 23, (6, 9)), torch.randint(0, 23, (6, 9))


def _classes(*shape: int) -> tuple[Tensor, Tensor]:
    return torch.randn(6, *shape), torch.randint(0, 5, (6,))


NETS: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, Tensor]]]] = {
    "gpt": (Gpt, _tokens),
    "gpt-rms": (lambda: Gpt(rms=True), _tokens),
    "gpt-tied": (lambda: Gpt(tied=True), _tokens),
    "lora": (lora, _tokens),
    "peft": (peft, _tokens),
    "cnn": (cnn, lambda: _classes(3, 8, 8)),
    "conv1d": (conv1d, lambda: _classes(3, 12)),
    "mlp": (mlp, lambda: _classes(12)),
}


def made(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor, Tensor]:
    """A model with its made-up batch of six."""
    torch.manual_seed(7)
    build, data = NETS[name]
    model = build().to(dtype)
    x, y = data()
    return model, x.to(dtype) if x.is_floating_point() else x, y


def losses(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """(B,) cross-entropy, averaged over positions; examples of very different size."""
    out = model(x)
    if out.dim() == 3:
        each = functional.cross_entropy(out.transpose(1, 2), y, reduction="none").mean(dim=1)
    else:
        each = functional.cross_entropy(out, y, reduction="none")
    scale: Tensor = each * torch.logspace(-2, 1, 6, dtype=each.dtype)[: each.shape[0]]
    return scale


def loop(
    model: nn.Module, x: Tensor, y: Tensor, groups: list[tuple[list[str], float]]
) -> dict[str, Tensor]:
    """The definition: each example's gradient by itself in float64, clipped group by group."""
    model = copy.deepcopy(model).double()
    x = x.double() if x.is_floating_point() else x
    scales = torch.logspace(-2, 1, 6, dtype=torch.float64)
    sums = {n: torch.zeros_like(p) for n, p in model.named_parameters() if p.requires_grad}
    for b in range(x.shape[0]):
        model.zero_grad()
        loss = losses(model, x[b : b + 1], y[b : b + 1]).sum() * scales[b] / scales[0]
        torch.autograd.backward(loss)
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        for members, bound in groups:
            held = [grads[n] for n in members if n in grads]
            norm = float(sum(float(g.square().sum()) for g in held)) ** 0.5
            for n in members:
                if n in grads:
                    sums[n] += grads[n] * min(1.0, bound / max(norm, 1e-300))
    return sums


def by_module(model: nn.Module) -> list[list[str]]:
    """Names of trainable parameters, module by module; the sides of a tie together."""
    live = {n for n, p in model.named_parameters() if p.requires_grad}
    found = []
    for name, module in trainable_modules(model):
        own = [f"{name}.{n}" for n, _ in module.named_parameters(recurse=False)]
        held = [n for n in own if n in live]
        if held:
            found.append(held)
    return found
