"""The registry's models as modules: what they compute, how they start, what one record loses.

Rows never meet inside a model (R28): `kernels.private` examines each before it trains.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.domain.training.models import PADDING, Cnn, Logistic, Mlp, ModelSpec, TransformerLm
from app.domain.training.spec import Precision
from workers.engines.train.adapters import Adapted
from workers.engines.train.users import NO_RECORD

# Between the layers.
ACTIVATIONS = {"logistic": None, "mlp": "tanh", "cnn": "tanh", "transformer_lm": "gelu"}
INITIAL_WEIGHTS = (
    "layers normal with variance 1 / inputs, embeddings with deviation 0.02, norms 1, biases and a "
    "classifier's last layer 0, adapters nothing"
)
# Of an embedding's numbers at the start: small enough that a tied head begins near equal odds.
_EMBEDDING_DEVIATION = 0.02
# A public set may be large, and every layer's outputs stand in memory together.
_ROWS_AT_ONCE = 256


class Layered(nn.Module):
    """Linear layers, tanh between them.

    Bounded activations keep gradients small, which is what clipping rewards (Papernot et al. 2021,
    tempered sigmoids).
    """

    def __init__(self, widths: Sequence[int]) -> None:
        """Layer k maps widths[k] to widths[k + 1]."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*each) for each in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., classes)."""
        for depth, layer in enumerate(self.layers):
            x = layer(torch.tanh(x) if depth else x)
        return x


class Convolved(nn.Module):
    """Convolutions, each with tanh and a mean over 2 x 2, and a linear layer on what is left."""

    def __init__(self, spec: Cnn) -> None:
        """By its options."""
        super().__init__()
        self.image = spec.image
        widths = (spec.image[0], *spec.channels)
        self.layers = nn.ModuleList(nn.Conv2d(*each, 3, padding=1) for each in pairwise(widths))
        self.head = nn.Linear(spec.flat(), spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels * rows * columns) -> (B, classes)."""
        x = x.view(-1, *self.image)
        for layer in self.layers:
            x = functional.avg_pool2d(torch.tanh(layer(x)), 2)
        out: Tensor = self.head(x.flatten(1))
        return out


class Block(nn.Module):
    """A decoder's layer: attention over what came before, then two linear layers, both residual."""

    def __init__(self, width: int, heads: int) -> None:
        """Norms stand before each half."""
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
        rows, positions, width = x.shape
        q, k, v = (
            part.view(rows, positions, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.before(x)).split(width, dim=2)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, positions, width))
        out: Tensor = x + self.down(functional.gelu(self.up(self.after(x))))
        return out


class Transformer(nn.Module):
    """A decoder whose head is its embedding."""

    def __init__(self, spec: TransformerLm) -> None:
        """By its options."""
        super().__init__()
        self.token = nn.Embedding(spec.tokens, spec.width)
        self.place = nn.Embedding(spec.context, spec.width)
        self.blocks = nn.ModuleList(Block(spec.width, spec.heads) for _ in range(spec.layers))
        self.last = nn.LayerNorm(spec.width)
        self.head = nn.Linear(spec.width, spec.tokens, bias=False)
        self.head.weight = self.token.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T) token numbers -> (B, T, tokens) scores."""
        # each row has places of its own: one row's gradient must not be found in another's
        places = torch.arange(tokens.shape[1]).expand_as(tokens).contiguous()
        x = self.token(tokens) + self.place(places)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(self.last(x))
        return out


def build(spec: ModelSpec, inputs: int) -> nn.Module:
    """The module of a model, with weights that are not yet those of a start.

    Args:
        spec: the model.
        inputs: how many numbers a record feeds to it.
    """
    if isinstance(spec, Logistic | Mlp):
        return Layered(spec.widths(inputs))
    if isinstance(spec, Cnn):
        return Convolved(spec)
    if isinstance(spec, TransformerLm):
        return Transformer(spec)
    raise ValueError(f"no module is known for {spec.name}")


def made_up(spec: ModelSpec, inputs: int) -> tuple[Tensor, Tensor]:
    """Three records of nobody with their labels, by which a model is examined."""
    if isinstance(spec, TransformerLm):
        tokens = torch.arange(3 * (spec.context + 1)).view(3, -1) % spec.tokens
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    return torch.linspace(0.0, 1.0, 3 * inputs).view(3, -1), torch.zeros(3, dtype=torch.int64)


@torch.no_grad()
def start(model: nn.Module, normals: Tensor) -> None:
    """Set the weights a run begins with.

    Layers are normal with variance 1 / inputs, embeddings small, norms 1, biases 0; a classifier's
    last layer is 0, so that it begins from equal odds, and adapters begin as nothing.

    Args:
        model: what is frozen in it stays as it was built.
        normals: (P,) standard normals of the run's own, one a trained weight (L7).
    """
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    last = linear[-1] if linear else None
    nothing = {id(module.up) for module in model.modules() if isinstance(module, Adapted)}
    if last is not None and not isinstance(model, Transformer):
        nothing.add(id(last))
    first, done = 0, set[int]()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in done or not parameter.requires_grad:
                continue
            done.add(id(parameter))
            own = normals[first : first + parameter.numel()].view_as(parameter)
            first += parameter.numel()
            if isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.RMSNorm):
                parameter.fill_(1.0 if name == "weight" else 0.0)
            elif isinstance(module, nn.Embedding):
                parameter.copy_(own).mul_(_EMBEDDING_DEVIATION)
            elif name == "bias" or id(module) in nothing:
                parameter.zero_()
            else:
                parameter.copy_(own).mul_(1.0 / math.sqrt(parameter[0].numel()))


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that learn, in order; a shared one stands once."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def size(model: nn.Module) -> int:
    """How many weights are trained; shared ones count once."""
    return sum(parameter.numel() for parameter in trained(model))


def losses(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """(B,) float: each record's own cross-entropy; nothing is divided by B, which is private (R17).

    Args:
        model: of `build`.
        inputs: (B, D) float32 features, (B, T) token numbers, or (B, R, D): users with R records.
        labels: (B,) classes, or (B, T) the tokens that come next; padding is no target. Their
            losses are divided by T, which is public. Of users (B, R) classes, `NO_RECORD` where
            one has fewer: a user's loss is the mean of his own records', which is his alone.
    """
    scores = model(inputs)
    scores = scores if scores.dtype == torch.float64 else scores.float()
    if inputs.dim() == 3:
        of_records = functional.cross_entropy(
            scores.flatten(0, 1), labels.flatten(), reduction="none", ignore_index=NO_RECORD
        )
        count = (labels != NO_RECORD).sum(dim=1).clamp(min=1)
        return of_records.view(labels.shape).sum(dim=1) / count
    if labels.dim() == 1:
        return functional.cross_entropy(scores, labels, reduction="none")
    each = functional.cross_entropy(
        scores.flatten(0, 1), labels.flatten(), reduction="none", ignore_index=PADDING
    )
    return each.view(labels.shape).sum(dim=1) / labels.shape[1]


def losses_in(precision: Precision) -> Callable[..., Tensor]:
    """`losses` with the layers multiplying in a precision.

    What is clipped is the gradient of the loss as it was computed: its norm is taken from the very
    factors that are summed, so the bound holds in every precision.
    """

    def reduced(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return losses(model, inputs, labels)

    return losses if precision == "float32" else reduced


@torch.no_grad()
def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """The share of labels, or of next tokens, with the largest score. For public rows only (R13).

    Args:
        model: of `build`.
        inputs: as in `losses`.
        labels: as in `losses`.
    """
    right = known = 0
    for first in range(0, labels.shape[0], _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        hits = model(inputs[rows]).argmax(dim=-1) == labels[rows]
        counts = torch.ones_like(hits) if labels.dim() == 1 else labels[rows] != PADDING
        right, known = right + int((hits & counts).sum()), known + int(counts.sum())
    return right / max(1, known)
