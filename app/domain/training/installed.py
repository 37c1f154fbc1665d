"""Models that an administrator installs: a description without tensors, and where its builder is.

The description is any object with the attributes of `Description`, a plain module too. It says in
public what a spec may ask for and how large that becomes; the builder is a dotted path that only a
worker imports. Both are code that the administrator answers for; a request never brings any.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol

from app.domain.documents import read_integer, read_text, under
from app.domain.errors import InvalidParameter
from app.domain.training.models import Reads
from app.domain.training.options import check_schema, read_options
from app.domain.training.registry import (
    CLASSES_MOST,
    MODELS,
    PARAMETERS_MOST,
    WIDTH_MOST,
    RegisteredModel,
    read_classes,
)

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
BUILDER: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)
# what an answer of a description may be at most, so that no product of it overflows anything
_SIZE_MOST: Final = 10**15


class Description(Protocol):
    """What the entry point of an installed model names.

    schema: JSON Schema of its options, in the part that `app.domain.training.options` reads.
    builder: `package.module:function`; the function takes (options, inputs, classes) and gives an
        `nn.Module` from (B, inputs) float32 to (B, classes).
    examples: options to examine it by, each with `inputs` and `classes`; at least one.
    """

    name: str
    title: str
    schema: Mapping[str, Any]
    builder: str
    examples: Sequence[Mapping[str, Any]]

    def parameters(self, options: Mapping[str, Any], inputs: int, classes: int) -> int:
        """How many weights and biases are trained."""

    def numbers(self, options: Mapping[str, Any], inputs: int, classes: int) -> int:
        """How many numbers one record holds between the layers, roughly."""

    def work(self, options: Mapping[str, Any], inputs: int, classes: int) -> int:
        """Multiplications of one record's forward pass, roughly."""


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model of an installed package, asked for by a spec; see `ModelSpec`.

    options: as the spec says them, defaults included.
    sizes: trained parameters, numbers and work of one record, by its description.
    digest: of the installed thing that was described: a verdict on it is about this one.
    """

    reads: ClassVar[Reads] = "features"
    name: str
    options: Mapping[str, Any]
    classes: int
    builder: str
    sizes: tuple[int, int, int]
    digest: str

    def parameters(self, inputs: int) -> int:
        """See `ModelSpec`."""
        del inputs
        return self.sizes[0]

    def numbers(self, inputs: int) -> int:
        """See `ModelSpec`."""
        del inputs
        return self.sizes[1]

    def work(self, inputs: int) -> int:
        """See `ModelSpec`."""
        del inputs
        return self.sizes[2]

    def to_json(self) -> dict[str, Any]:
        """See `ModelSpec`."""
        return {"name": self.name, **self.options, "classes": self.classes}


@dataclass(frozen=True, slots=True)
class InstalledEntry:
    """One entry of the registry that a package brought.

    examples: (the model of a made-up spec, inputs): what a worker examines it by.
    """

    registered: RegisteredModel
    digest: str
    examples: tuple[tuple[InstalledModel, int], ...] = field(repr=False)


def read_description(description: Any, distribution: str) -> InstalledEntry:
    """Check a description and make the entry of it.

    Args:
        description: what the entry point named; see `Description`.
        distribution: name and version of the package, for the digest.

    Raises:
        InvalidParameter: it is not one; the pointer names the attribute.
    """
    name = read_text(getattr(description, "name", None), "/name", most=40)
    if NAME.fullmatch(name) is None or name in MODELS:
        raise InvalidParameter("/name", "a-z, 0-9 and _ are expected, and no name of ours")
    title = read_text(getattr(description, "title", None), "/title", most=200)
    builder = read_text(getattr(description, "builder", None), "/builder", most=200)
    if BUILDER.fullmatch(builder) is None:
        raise InvalidParameter("/builder", "package.module:function is expected")
    schema = getattr(description, "schema", None)
    check_schema(schema, "/schema")
    try:
        canonical = json.dumps([name, builder, schema, distribution], sort_keys=True)
    except (TypeError, ValueError):
        raise InvalidParameter("/schema", "plain JSON is expected") from None
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    schema = json.loads(canonical)[2]

    def parse(document: object, pointer: str, classes: int, inputs: int) -> InstalledModel:
        assert isinstance(document, Mapping)  # noqa: S101 - its name was read
        options = read_options(schema, document, pointer)
        return InstalledModel(
            name=name,
            options=options,
            classes=read_classes(document, pointer, classes),
            builder=builder,
            sizes=_sizes(description, options, inputs, classes, pointer),
            digest=digest,
        )

    registered = RegisteredModel(name, title, _with_classes(schema), ("features",), parse)
    return InstalledEntry(registered, digest, _examples(description, registered))


def _with_classes(schema: Mapping[str, Any]) -> dict[str, Any]:
    classes = MODELS["logistic"].schema["properties"]["classes"]
    return {
        **schema,
        "properties": {**schema["properties"], "classes": classes},
        "required": list(schema.get("required", [])),
        "additionalProperties": False,
    }


def _sizes(
    description: Description, options: Mapping[str, Any], inputs: int, classes: int, pointer: str
) -> tuple[int, int, int]:
    def asked(what: str, most: int) -> int:
        try:
            value = getattr(description, what)(dict(options), inputs, classes)
        except Exception:
            raise InvalidParameter(pointer, "its description cannot size these options") from None
        return read_integer(value, pointer, low=1, high=most)

    return (
        asked("parameters", PARAMETERS_MOST),
        asked("numbers", _SIZE_MOST),
        asked("work", _SIZE_MOST),
    )


def _examples(
    description: Any, registered: RegisteredModel
) -> tuple[tuple[InstalledModel, int], ...]:
    found = []
    given = getattr(description, "examples", None)
    if not isinstance(given, list | tuple) or not 1 <= len(given) <= 20:
        raise InvalidParameter("/examples", "1 to 20 examples are expected")
    for index, example in enumerate(given):
        at = under("/examples", index)
        if not isinstance(example, Mapping):
            raise InvalidParameter(at, "an object is expected")
        rest = {k: v for k, v in example.items() if k not in ("inputs", "classes")}
        inputs = read_integer(example.get("inputs"), f"{at}/inputs", low=1, high=WIDTH_MOST)
        classes = read_integer(example.get("classes"), f"{at}/classes", low=2, high=CLASSES_MOST)
        parsed = registered.parse({"name": registered.name, **rest}, at, classes, inputs)
        assert isinstance(parsed, InstalledModel)  # noqa: S101 - made above
        found.append((parsed, inputs))
    return tuple(found)
