"""Which models a spec may name, and the reading of their options.

A model is chosen by name and options, never sent as code. Rows never meet inside one (R28).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.domain.documents import read_integer, read_list, read_object, read_text, under
from app.domain.errors import InvalidParameter
from app.domain.training.models import (
    RESERVED,
    Cnn,
    Logistic,
    Mlp,
    ModelSpec,
    Reads,
    TransformerLm,
)

LAYERS_MOST: Final = 8
WIDTH_MOST: Final = 16_384
CLASSES_MOST: Final = 1_000
PARAMETERS_MOST: Final = 50_000_000
IMAGE_MOST: Final = 256
CONTEXT_MOST: Final = 1_024
TOKENS_MOST: Final = 65_536
ALPHABET_MOST: Final = 1_024
HEADS_MOST: Final = 32


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A model that a spec may name.

    schema: JSON Schema of its options, `name` left out.
    reads: what a record is to it; both where its options decide.
    parse: (options as sent, pointer, classes of the label or 0, numbers a record) -> the model.
    """

    name: str
    title: str
    schema: Mapping[str, Any]
    reads: tuple[Reads, ...]
    parse: Callable[[object, str, int, int], ModelSpec]

    @property
    def is_base(self) -> bool:
        """Whether its weights stay, and something learns beside them."""
        return "lora" in self.schema["properties"]

    def to_json(self) -> dict[str, Any]:
        """What a caller has to know to name it."""
        return {
            "name": self.name,
            "title": self.title,
            "reads": list(self.reads),
            "options": dict(self.schema),
        }


def _whole(title: str, low: int, high: int) -> dict[str, Any]:
    return {"type": "integer", "title": title, "minimum": low, "maximum": high}


_CLASSES: Final = _whole("Classes: as many as the label's public domain has", 2, CLASSES_MOST)


def _schema(properties: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def read_classes(fields: Mapping[str, Any], pointer: str, classes: int) -> int:
    """The classes of a model: those of its label, whether it says so or not.

    Raises:
        InvalidParameter: it says others.
    """
    at = f"{pointer}/classes"
    if "classes" in fields and read_integer(fields["classes"], at, low=2, high=CLASSES_MOST) != (
        classes
    ):
        raise InvalidParameter(at, f"the label's public domain has {classes} values")
    return classes


def _read_widths(document: object, pointer: str, *, most: int, widest: int) -> tuple[int, ...]:
    widths = read_list(document, pointer, least=1, most=most)
    return tuple(
        read_integer(width, under(pointer, index), low=1, high=widest)
        for index, width in enumerate(widths)
    )


def _parse_logistic(document: object, pointer: str, classes: int, inputs: int) -> Logistic:
    del inputs
    fields = read_object(document, pointer, required=("name",), optional=("classes",))
    return Logistic(read_classes(fields, pointer, classes))


def _parse_mlp(document: object, pointer: str, classes: int, inputs: int) -> Mlp:
    del inputs
    fields = read_object(document, pointer, required=("name", "hidden"), optional=("classes",))
    at = f"{pointer}/hidden"
    hidden = _read_widths(fields["hidden"], at, most=LAYERS_MOST, widest=WIDTH_MOST)
    return Mlp(hidden, read_classes(fields, pointer, classes))


def _parse_cnn(document: object, pointer: str, classes: int, inputs: int) -> Cnn:
    fields = read_object(
        document, pointer, required=("name", "image", "channels"), optional=("classes",)
    )
    at = f"{pointer}/image"
    image = _read_widths(fields["image"], at, most=3, widest=IMAGE_MOST)
    if len(image) != 3:
        raise InvalidParameter(at, "channels, rows and columns are expected")
    if image[0] * image[1] * image[2] != inputs:
        raise InvalidParameter(at, f"a record has {inputs} numbers, and this picture has others")
    at = f"{pointer}/channels"
    channels = _read_widths(fields["channels"], at, most=LAYERS_MOST, widest=1_024)
    model = Cnn((image[0], image[1], image[2]), channels, read_classes(fields, pointer, classes))
    if min(model.sides()[-1]) < 1:
        raise InvalidParameter(at, "each convolution halves the picture, and nothing is left of it")
    return model


def _parse_transformer(document: object, pointer: str, classes: int, inputs: int) -> TransformerLm:
    del classes, inputs
    fields = read_object(
        document,
        pointer,
        required=("name", "context", "width", "heads", "layers"),
        optional=("alphabet", "tokens"),
    )
    if ("alphabet" in fields) == ("tokens" in fields):
        raise InvalidParameter(pointer, "either alphabet or tokens is expected")
    alphabet = ""
    if "alphabet" in fields:
        at = f"{pointer}/alphabet"
        alphabet = read_text(fields["alphabet"], at, most=ALPHABET_MOST)
        if len(set(alphabet)) != len(alphabet):
            raise InvalidParameter(at, "each character stands once")
        tokens = len(alphabet) + RESERVED
    else:
        tokens = read_integer(fields["tokens"], f"{pointer}/tokens", low=3, high=TOKENS_MOST)
    model = TransformerLm(
        alphabet=alphabet,
        tokens=tokens,
        context=read_integer(fields["context"], f"{pointer}/context", low=2, high=CONTEXT_MOST),
        width=read_integer(fields["width"], f"{pointer}/width", low=2, high=4_096),
        heads=read_integer(fields["heads"], f"{pointer}/heads", low=1, high=HEADS_MOST),
        layers=read_integer(fields["layers"], f"{pointer}/layers", low=1, high=48),
    )
    if model.width % model.heads:
        raise InvalidParameter(f"{pointer}/heads", "the width is a multiple of the heads")
    return model


_WIDTHS: Final = {
    "type": "array",
    "minItems": 1,
    "maxItems": LAYERS_MOST,
    "items": _whole("Width", 1, WIDTH_MOST),
}

MODELS: Final[Mapping[str, RegisteredModel]] = {
    model.name: model
    for model in (
        RegisteredModel(
            "logistic",
            "Logistic regression on the features",
            _schema({"classes": _CLASSES}),
            ("features",),
            _parse_logistic,
        ),
        RegisteredModel(
            "mlp",
            "Linear layers with tanh between them",
            _schema(
                {
                    "hidden": {**_WIDTHS, "title": "Widths of the hidden layers"},
                    "classes": _CLASSES,
                },
                ("hidden",),
            ),
            ("features",),
            _parse_mlp,
        ),
        RegisteredModel(
            "cnn",
            "Convolutions of 3 x 3 over a picture, each followed by a mean over 2 x 2",
            _schema(
                {
                    "image": {
                        "type": "array",
                        "title": "Channels, rows and columns of the features",
                        "minItems": 3,
                        "maxItems": 3,
                        "items": _whole("Size", 1, IMAGE_MOST),
                    },
                    "channels": {
                        **_WIDTHS,
                        "title": "Channels of each convolution",
                        "items": _whole("Channels", 1, 1_024),
                    },
                    "classes": _CLASSES,
                },
                ("image", "channels"),
            ),
            ("features",),
            _parse_cnn,
        ),
        RegisteredModel(
            "transformer_lm",
            "A decoder that predicts the next character or token, its head tied to its embedding",
            {
                **_schema(
                    {
                        "alphabet": {
                            "type": "string",
                            "title": "The public characters that it knows",
                            "minLength": 1,
                            "maxLength": ALPHABET_MOST,
                        },
                        "tokens": _whole("Different tokens, 0 for padding", 3, TOKENS_MOST),
                        "context": _whole("Positions that it sees", 2, CONTEXT_MOST),
                        "width": _whole("Width", 2, 4_096),
                        "heads": _whole("Heads; the width is a multiple of them", 1, HEADS_MOST),
                        "layers": _whole("Layers", 1, 48),
                    },
                    ("context", "width", "heads", "layers"),
                ),
                "oneOf": [{"required": ["alphabet"]}, {"required": ["tokens"]}],
            },
            ("text", "tokens"),
            _parse_transformer,
        ),
    )
}


def parse_model(
    document: object,
    pointer: str,
    *,
    classes: int,
    inputs: int,
    models: Mapping[str, RegisteredModel] = MODELS,
) -> ModelSpec:
    """Validate the model of a spec.

    Args:
        document: its name and options.
        pointer: where it lies in the request.
        classes: how many values the label's domain has; 0 without a label.
        inputs: how many numbers a record feeds to it; 0 where it reads texts.
        models: the registry.

    Raises:
        InvalidParameter: unknown, wrongly put, or larger than a worker can hold.
    """
    found = registered(document, pointer, models)
    if isinstance(document, Mapping) and "lora" in document and not found.is_base:
        reason = "lora learns beside the weights of a base, which an administrator installs"
        raise InvalidParameter(f"{pointer}/lora", reason)
    model = found.parse(document, pointer, classes, inputs)
    if model.parameters(inputs) > PARAMETERS_MOST:
        raise InvalidParameter(pointer, f"a model has at most {PARAMETERS_MOST} parameters")
    return model


def registered(
    document: object, pointer: str, models: Mapping[str, RegisteredModel] = MODELS
) -> RegisteredModel:
    """The registered model that a document names.

    Raises:
        InvalidParameter: no model has this name.
    """
    if not isinstance(document, Mapping):
        raise InvalidParameter(pointer, "an object is expected")
    name = document.get("name")
    found = models.get(name) if isinstance(name, str) else None
    if found is None:
        raise InvalidParameter(f"{pointer}/name", f"one of {', '.join(models)} is expected")
    return found
