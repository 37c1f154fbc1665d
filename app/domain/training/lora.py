"""LoRA on an installed base: what a spec asks of it, and what the base says of itself.

Beside a frozen linear layer W stand D (rank x inputs) and U (outputs x rank), and it gives
W x + (alpha / rank) U D x. D and U alone learn, each clipped and noised as every linear layer is.
The base is public: an administrator installed it, and no request brings a weight. What its weights
were once trained on is no part of the loss, and the card says so.

A random D that is to stand in the place of noise is refused by name (R28).
Source: Hu et al. 2022, LoRA, section 4.1.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.domain.documents import read_integer, read_object, read_text, under
from app.domain.errors import InvalidParameter
from app.domain.training.clipping import read_number

RANK_MOST: Final = 256
LAYERS_MOST: Final = 1_000
_WIDTH_MOST: Final = 2**20
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "title": "What learns beside the weights of the base, which stay",
    "properties": {
        "rank": {"type": "integer", "minimum": 1, "maximum": RANK_MOST},
        "alpha": {"type": "number", "minimum": 1e-3, "maximum": 1e3, "title": "Default: rank"},
    },
    "required": ["rank"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class LoraSpec:
    """How much learns beside each adapted layer. alpha: over the rank, by what U D x is scaled."""

    rank: int
    alpha: float

    @property
    def scale(self) -> float:
        """What stands before U D x."""
        return self.alpha / self.rank

    def to_json(self) -> dict[str, Any]:
        """The stored form."""
        return {"rank": self.rank, "alpha": self.alpha}


@dataclass(frozen=True, slots=True)
class Base:
    """What an installed model says of the weights that it is built with.

    title: which weights these are. sha256: of what is frozen, as a worker computes it.
    layers: by the name of its module, inputs and outputs of each linear layer that is adapted.
    trained: by the name of its module, the parameters of what learns beside, from a fresh start.
    """

    title: str
    sha256: str
    layers: Mapping[str, tuple[int, int]]
    trained: Mapping[str, int]

    def adapters(self, rank: int) -> int:
        """Parameters of the adapters: their multiplications for one position, too."""
        return sum(rank * (inside + outside) for inside, outside in self.layers.values())

    def parameters(self, rank: int) -> int:
        """All that learns."""
        return self.adapters(rank) + sum(self.trained.values())

    def to_json(self, lora: LoraSpec) -> dict[str, Any]:
        """What a card says of the base, and of what learnt beside it."""
        return {
            "title": self.title,
            "sha256": self.sha256,
            **lora.to_json(),
            "adapted": list(self.layers),
            "trained_beside": list(self.trained),
        }


def read_base(document: object, pointer: str) -> Base:
    """Check what a description says of its base.

    Raises:
        InvalidParameter: with the pointer of what is wrong.
    """
    fields = read_object(
        document, pointer, required=("title", "sha256", "layers"), optional=("trained",)
    )
    title = read_text(fields["title"], f"{pointer}/title", most=200)
    sha256 = read_text(fields["sha256"], f"{pointer}/sha256", most=64)
    if _SHA256.fullmatch(sha256) is None:
        raise InvalidParameter(f"{pointer}/sha256", "64 hex digits are expected")
    layers = _named(fields["layers"], f"{pointer}/layers")
    trained = _named(fields.get("trained", {}), f"{pointer}/trained")
    if not layers:
        raise InvalidParameter(f"{pointer}/layers", "a layer to adapt is expected")
    if both := set(layers) & set(trained):
        raise InvalidParameter(under(f"{pointer}/trained", min(both)), "it is adapted already")
    return Base(
        title=title,
        sha256=sha256,
        layers={name: _widths(each, pointer) for name, each in layers.items()},
        trained={
            name: read_integer(each, under(f"{pointer}/trained", name), low=1, high=2**40)
            for name, each in trained.items()
        },
    )


def _named(document: object, pointer: str) -> dict[str, Any]:
    if not isinstance(document, Mapping) or len(document) > LAYERS_MOST:
        raise InvalidParameter(pointer, f"an object with at most {LAYERS_MOST} names is expected")
    return {read_text(name, pointer, most=200): value for name, value in document.items()}


def _widths(document: object, pointer: str) -> tuple[int, int]:
    if not isinstance(document, list | tuple) or len(document) != 2:
        raise InvalidParameter(f"{pointer}/layers", "inputs and outputs of each are expected")
    inside, outside = (
        read_integer(each, f"{pointer}/layers", low=1, high=_WIDTH_MOST) for each in document
    )
    return inside, outside


def parse_lora(document: object, pointer: str, base: Base) -> LoraSpec:
    """Read what a spec asks to learn beside a base.

    Raises:
        InvalidParameter: no rank, or one above the widths of a layer.
    """
    if document is None:
        reason = "the weights of this base stay: say how much learns beside them"
        raise InvalidParameter(pointer, reason)
    fields = read_object(document, pointer, required=("rank",), optional=("alpha",))
    narrowest = min(min(widths) for widths in base.layers.values())
    rank = read_integer(fields["rank"], f"{pointer}/rank", low=1, high=min(RANK_MOST, narrowest))
    alpha = read_number(fields.get("alpha", rank), f"{pointer}/alpha", low=1e-3, high=1e3)
    return LoraSpec(rank, alpha)
