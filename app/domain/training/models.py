"""The registry's models as public facts: their options and their sizes; no tensor here.

What is said of a size bounds memory and work before any row is read (R17).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Final, Literal, Protocol

# What a model reads of a record: numbers and a class, a text, or a list of token numbers.
Reads = Literal["features", "text", "tokens"]

# Of a language model: what stands after a text's end, and what is not in its alphabet.
PADDING: Final = 0
UNKNOWN: Final = 1
RESERVED: Final = 2
TRANSFORMER_LM: Final = "transformer_lm"


class ModelSpec(Protocol):
    """A model with every option stated. inputs: how many numbers a record feeds to it."""

    @property
    def name(self) -> str:
        """By which a spec names it."""

    @property
    def reads(self) -> Reads:
        """What it takes of a record."""

    def parameters(self, inputs: int) -> int:
        """How many weights and biases are trained."""

    def numbers(self, inputs: int) -> int:
        """How many numbers one record holds between the layers, roughly: what bounds memory."""

    def work(self, inputs: int) -> int:
        """Multiplications of one record's forward pass, roughly."""

    def to_json(self) -> dict[str, Any]:
        """The stored form; it reads back to an equal model."""


@dataclass(frozen=True, slots=True)
class Logistic:
    """One linear layer under a softmax."""

    name: ClassVar[str] = "logistic"
    reads: ClassVar[Reads] = "features"
    classes: int

    def widths(self, inputs: int) -> tuple[int, ...]:
        """Widths from input to output."""
        return (inputs, self.classes)

    def parameters(self, inputs: int) -> int:
        """See `ModelSpec`."""
        return (inputs + 1) * self.classes

    def numbers(self, inputs: int) -> int:
        """See `ModelSpec`."""
        return inputs + self.classes

    def work(self, inputs: int) -> int:
        """See `ModelSpec`."""
        return self.parameters(inputs)

    def to_json(self) -> dict[str, Any]:
        """See `ModelSpec`."""
        return {"name": self.name, "classes": self.classes}


@dataclass(frozen=True, slots=True)
class Mlp:
    """Linear layers with tanh between them. hidden: their widths."""

    name: ClassVar[str] = "mlp"
    reads: ClassVar[Reads] = "features"
    hidden: tuple[int, ...]
    classes: int

    def widths(self, inputs: int) -> tuple[int, ...]:
        """Widths from input to output: layer k maps widths[k] to widths[k + 1]."""
        return (inputs, *self.hidden, self.classes)

    def parameters(self, inputs: int) -> int:
        """See `ModelSpec`."""
        return sum((inside + 1) * outside for inside, outside in pairwise(self.widths(inputs)))

    def numbers(self, inputs: int) -> int:
        """See `ModelSpec`."""
        return sum(self.widths(inputs))

    def work(self, inputs: int) -> int:
        """See `ModelSpec`."""
        return self.parameters(inputs)

    def to_json(self) -> dict[str, Any]:
        """See `ModelSpec`."""
        return {"name": self.name, "hidden": list(self.hidden), "classes": self.classes}


@dataclass(frozen=True, slots=True)
class Cnn:
    """Convolutions of 3 x 3 with tanh, each followed by a mean over 2 x 2, then one linear layer.

    image: channels, rows and columns of a record's numbers, in this order.
    channels: of each convolution; every one halves the picture.
    """

    name: ClassVar[str] = "cnn"
    reads: ClassVar[Reads] = "features"
    image: tuple[int, int, int]
    channels: tuple[int, ...]
    classes: int

    def sides(self) -> list[tuple[int, int]]:
        """Rows and columns before each convolution, and after the last one."""
        found = [self.image[1:]]
        for _ in self.channels:
            rows, columns = found[-1]
            found.append((rows // 2, columns // 2))
        return found

    def flat(self) -> int:
        """Numbers that reach the linear layer."""
        rows, columns = self.sides()[-1]
        return self.channels[-1] * rows * columns

    def parameters(self, inputs: int) -> int:
        """See `ModelSpec`."""
        del inputs
        widths = (self.image[0], *self.channels)
        convolutions = sum((9 * inside + 1) * outside for inside, outside in pairwise(widths))
        return convolutions + (self.flat() + 1) * self.classes

    def numbers(self, inputs: int) -> int:
        """See `ModelSpec`."""
        places = [rows * columns for rows, columns in self.sides()]
        held = [outside * place for outside, place in zip(self.channels, places, strict=False)]
        return inputs + 2 * sum(held) + self.classes

    def work(self, inputs: int) -> int:
        """See `ModelSpec`."""
        del inputs
        places = [rows * columns for rows, columns in self.sides()]
        widths = (self.image[0], *self.channels)
        each = [
            9 * inside * outside * place
            for (inside, outside), place in zip(pairwise(widths), places, strict=False)
        ]
        return sum(each) + self.flat() * self.classes

    def to_json(self) -> dict[str, Any]:
        """See `ModelSpec`."""
        return {
            "name": self.name,
            "image": list(self.image),
            "channels": list(self.channels),
            "classes": self.classes,
        }


@dataclass(frozen=True, slots=True)
class TransformerLm:
    """A decoder that predicts the next character or token; its head is its embedding.

    alphabet: the public characters that it knows, in order; "" where a record is tokens.
    tokens: how many different tokens there are, the two reserved ones included: 0 stands after the
        end of a short text and is no target, 1 for a character that is not in the alphabet.
    context: positions that it sees; a record is cut after context + 1.
    """

    alphabet: str
    tokens: int
    context: int
    width: int
    heads: int
    layers: int

    @property
    def name(self) -> str:
        """See `ModelSpec`."""
        return TRANSFORMER_LM

    @property
    def reads(self) -> Reads:
        """See `ModelSpec`."""
        return "text" if self.alphabet else "tokens"

    def linear_layers(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each linear layer, by the name of its module; the head is tied."""
        widths = {"qkv": (1, 3), "out": (1, 1), "up": (1, 4), "down": (4, 1)}
        return {
            f"blocks.{place}.{name}": (inside * self.width, outside * self.width)
            for place in range(self.layers)
            for name, (inside, outside) in widths.items()
        }

    def parameters(self, inputs: int) -> int:
        """See `ModelSpec`."""
        del inputs
        block = 12 * self.width**2 + 13 * self.width
        return (self.tokens + self.context + 2) * self.width + self.layers * block

    def numbers(self, inputs: int) -> int:
        """See `ModelSpec`."""
        del inputs
        of_a_position = self.layers * (16 * self.width + self.heads * self.context)
        return self.context * (of_a_position + 2 * self.tokens)

    def work(self, inputs: int) -> int:
        """See `ModelSpec`."""
        of_layers = self.layers * (12 * self.width**2 + 2 * self.width * self.context)
        del inputs
        return self.context * (of_layers + self.tokens * self.width)

    def to_json(self) -> dict[str, Any]:
        """See `ModelSpec`."""
        said = {"alphabet": self.alphabet} if self.alphabet else {"tokens": self.tokens}
        return {
            "name": self.name,
            **said,
            "context": self.context,
            "width": self.width,
            "heads": self.heads,
            "layers": self.layers,
        }
