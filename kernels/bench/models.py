"""The four models of the measurements, with made-up data."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        """Separate projections, so that every engine has a rule for them."""
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.after = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) -> the same."""
        batch, positions, width = x.shape
        q, k, v = [
            part.view(batch, positions, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.before(x)).split(width, dim=2)
        ]
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, positions, width))
        out: Tensor = x + self.down(functional.gelu(self.up(self.after(x))))
        return out


class Gpt(nn.Module):
    """A small language model: 10.2 million weights at width 384."""

    def __init__(self, width: int, heads: int, positions: int) -> None:
        """Four blocks, 4,096 tokens."""
        super().__init__()
        self.token = nn.Embedding(4096, width)
        self.place = nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(4))
        self.last = nn.LayerNorm(width)
        self.head = nn.Linear(width, 4096, bias=False)

    def forward(self, index: Tensor) -> Tensor:
        """(B, T) tokens -> (B, T, 4096) scores."""
        places = torch.arange(index.shape[1]).expand_as(index).contiguous()
        x = self.token(index) + self.place(places)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(self.last(x))
        return out


class Lora(nn.Module):
    """A frozen linear layer with a trainable path of rank r."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        """Take over a layer."""
        super().__init__()
        self.base = base
        self.inward = nn.Linear(base.in_features, rank, bias=False)
        self.outward = nn.Linear(rank, base.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """As the layer, with its correction."""
        out: Tensor = self.base(x) + 2.0 * self.outward(self.inward(x))
        return out


class Cnn(nn.Module):
    """Five convolutions with group norms."""

    def __init__(self) -> None:
        """For 32 x 32 images of ten classes."""
        super().__init__()
        layers: list[nn.Module] = []
        for inside, outside, stride in (
            *((3, 32, 1), (32, 64, 2), (64, 64, 1)),
            *((64, 128, 2), (128, 128, 1)),
        ):
            layers += [nn.Conv2d(inside, outside, 3, stride, 1), nn.GroupNorm(8, outside)]
            layers += [nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 32, 32) -> (B, 10)."""
        out: Tensor = self.head(self.layers(x).mean((2, 3)))
        return out


@dataclass(frozen=True, slots=True)
class Case:
    """A model with one batch. microbatch: the size at which small-memory engines run it."""

    model: nn.Module
    x: Tensor
    y: Tensor
    microbatch: int


def case(name: str, positions: int = 128) -> Case:
    """A fresh copy of a case; equal names give equal weights and data.

    Raises:
        ValueError: no such case.
    """
    torch.manual_seed(0)
    if name in ("gpt", "lora"):
        model: nn.Module = Gpt(384 if name == "gpt" else 512, 6 if name == "gpt" else 8, positions)
        if name == "lora":
            model.requires_grad_(requires_grad=False)
            for block in model.blocks:  # type: ignore[union-attr]
                for part in ("qkv", "out", "up", "down"):
                    setattr(block, part, Lora(getattr(block, part), 8))
        tokens = [torch.randint(0, 4096, (8, positions)) for _ in range(2)]
        return Case(model, tokens[0], tokens[1], 1)
    if name == "mlp":
        sizes = (128, 1024, 1024, 512)
        layers = [
            layer
            for inside, outside in pairwise(sizes)
            for layer in (nn.Linear(inside, outside), nn.ReLU())
        ]
        model = nn.Sequential(*layers, nn.Linear(512, 10))
        return Case(model, torch.randn(1024, 128), torch.randint(0, 10, (1024,)), 256)
    if name == "cnn":
        return Case(Cnn(), torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,)), 16)
    raise ValueError(f"no case {name!r}")


def losses(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """(B,) cross-entropy, averaged over positions."""
    scores = model(x)
    if scores.dim() == 2:
        return functional.cross_entropy(scores, y, reduction="none")
    flat = scores.reshape(-1, scores.shape[-1])
    each = functional.cross_entropy(flat, y.reshape(-1), reduction="none")
    return each.view(y.shape).mean(dim=1)
