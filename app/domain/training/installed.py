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
from dataclasses import fields as dataclass_fields
from typing import Any, ClassVar, Final, Protocol

from app.domain.documents import read_choice, read_integer, read_object, read_text, under
from app.domain.errors import InvalidParameter
from app.domain.training.lora import SCHEMA as LORA_SCHEMA
from app.domain.training.lora import Base, LoraSpec, parse_lora, read_base
from app.domain.training.models import TRANSFORMER_LM, ModelSpec, Reads, TransformerLm
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

    A base has one more, `base(options, inputs, classes)`, which says what `read_base` reads: its
    builder gives the module with its weights, these stay, and a spec's `lora` learns beside them.
    `parameters` is not asked of it.

    A base that extends `transformer_lm` has `name`, `title`, `builder` and, in the place of all
    else, `extends = "transformer_lm"`, `options` (its alphabet or tokens, context, width, heads and
    layers) and `base` (title and sha256). Its builder takes nothing and gives weights by name.
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
    base: of a base, what stays. lora: of a base, what learns beside it.
    """

    reads: ClassVar[Reads] = "features"
    name: str
    options: Mapping[str, Any]
    classes: int
    builder: str
    sizes: tuple[int, int, int]
    digest: str
    base: Base | None = None
    lora: LoraSpec | None = None

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
        document = {"name": self.name, **self.options, "classes": self.classes}
        return document if self.lora is None else {**document, "lora": self.lora.to_json()}


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledLm(TransformerLm):
    """A `transformer_lm` with weights that a package brought, and what learns beside them.

    installed_as: by which a spec names it.
    builder: gives its weights by name, as a released model's file has them.
    digest: as of `InstalledModel`.
    """

    installed_as: str
    builder: str
    digest: str
    base: Base
    lora: LoraSpec

    @property
    def name(self) -> str:
        """See `ModelSpec`."""
        return self.installed_as

    def parameters(self, inputs: int) -> int:
        """See `ModelSpec`."""
        del inputs
        return self.base.parameters(self.lora.rank)

    def numbers(self, inputs: int) -> int:
        """See `ModelSpec`."""
        beside = self.context * self.lora.rank * len(self.base.layers)
        return TransformerLm.numbers(self, inputs) + beside

    def work(self, inputs: int) -> int:
        """See `ModelSpec`."""
        beside = self.context * self.base.adapters(self.lora.rank)
        return TransformerLm.work(self, inputs) + beside

    def to_json(self) -> dict[str, Any]:
        """See `ModelSpec`."""
        return {"name": self.name, "lora": self.lora.to_json()}


InstalledSpec = InstalledModel | InstalledLm


def base_of(model: ModelSpec) -> Base | None:
    """What stays of a model, where it is a base."""
    return model.base if isinstance(model, InstalledSpec) else None


def base_json(model: ModelSpec) -> dict[str, Any] | None:
    """What a card says of a base and of what learns beside it; None where there is none."""
    if not isinstance(model, InstalledSpec) or model.base is None or model.lora is None:
        return None
    said = model.base.to_json(model.lora)
    if isinstance(model, InstalledLm):
        said["extends"] = TransformerLm.to_json(model) | {"name": TRANSFORMER_LM}
    return said


@dataclass(frozen=True, slots=True)
class InstalledEntry:
    """One entry of the registry that a package brought.

    examples: (the model of a made-up spec, inputs): what a worker examines it by.
    """

    registered: RegisteredModel
    digest: str
    examples: tuple[tuple[InstalledSpec, int], ...] = field(repr=False)


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
    if getattr(description, "extends", None) is not None:
        return _read_lm(description, name, title, builder, distribution)
    schema = getattr(description, "schema", None)
    check_schema(schema, "/schema")
    digest, canonical = _digest([name, builder, schema, distribution])
    schema = canonical[2]
    is_base = getattr(description, "base", None) is not None
    ours = ("classes", "lora") if is_base else ("classes",)

    def parse(document: object, pointer: str, classes: int, inputs: int) -> InstalledModel:
        assert isinstance(document, Mapping)  # noqa: S101 - its name was read
        options = read_options(schema, document, pointer, ours=ours)
        base, lora = None, None
        if is_base:
            base = _base(description, options, inputs, classes, pointer)
            lora = parse_lora(document.get("lora"), f"{pointer}/lora", base)
        return InstalledModel(
            name=name,
            options=options,
            classes=read_classes(document, pointer, classes),
            builder=builder,
            sizes=_sizes(description, options, inputs, classes, pointer, base, lora),
            digest=digest,
            base=base,
            lora=lora,
        )

    whole = _with_ours(schema, is_base=is_base)
    registered = RegisteredModel(name, title, whole, ("features",), parse)
    return InstalledEntry(registered, digest, _examples(description, registered))


def _read_lm(
    description: Any, name: str, title: str, builder: str, distribution: str
) -> InstalledEntry:
    """The entry of a base that extends `transformer_lm`; see `Description`."""
    read_choice(description.extends, "/extends", (TRANSFORMER_LM,))
    options = getattr(description, "options", None)
    if not isinstance(options, Mapping):
        raise InvalidParameter("/options", "the options of transformer_lm are expected")
    document = {"name": TRANSFORMER_LM, **options}
    model = MODELS[TRANSFORMER_LM].parse(document, "/options", 0, 0)
    assert isinstance(model, TransformerLm)  # noqa: S101 - what is parsed by this name
    said = getattr(description, "base", None)
    if not isinstance(said, Mapping):
        raise InvalidParameter("/base", "title and sha256 of its weights are expected")
    base = read_base({**said, "layers": model.linear_layers()}, "/base")
    digest, _ = _digest([name, builder, model.to_json(), base.sha256, distribution])

    def parse(document: object, pointer: str, classes: int, inputs: int) -> InstalledLm:
        del classes, inputs
        fields = read_object(document, pointer, required=("name",), optional=("lora",))
        lora = parse_lora(fields.get("lora"), f"{pointer}/lora", base)
        return InstalledLm(
            **{each.name: getattr(model, each.name) for each in dataclass_fields(TransformerLm)},
            installed_as=name,
            builder=builder,
            digest=digest,
            base=base,
            lora=lora,
        )

    schema = {
        "type": "object",
        "properties": {"lora": dict(LORA_SCHEMA)},
        "required": ["lora"],
        "additionalProperties": False,
    }
    registered = RegisteredModel(name, title, schema, (model.reads,), parse)
    example = parse({"name": name, "lora": {"rank": 1}}, "/examples/0", 0, 0)
    return InstalledEntry(registered, digest, ((example, 0),))


def _digest(facts: list[Any]) -> tuple[str, list[Any]]:
    """Of public facts, with these as plain JSON."""
    try:
        canonical = json.dumps(facts, sort_keys=True)
    except (TypeError, ValueError):
        raise InvalidParameter("/schema", "plain JSON is expected") from None
    return hashlib.sha256(canonical.encode()).hexdigest(), json.loads(canonical)


def _with_ours(schema: Mapping[str, Any], *, is_base: bool) -> dict[str, Any]:
    """The schema with what every model is asked, and every base."""
    ours = {"classes": MODELS["logistic"].schema["properties"]["classes"]}
    if is_base:
        ours["lora"] = dict(LORA_SCHEMA)
    return {
        **schema,
        "properties": {**schema["properties"], **ours},
        "required": [*schema.get("required", []), *(["lora"] if is_base else [])],
        "additionalProperties": False,
    }


def _base(
    description: Any, options: Mapping[str, Any], inputs: int, classes: int, pointer: str
) -> Base:
    try:
        said = description.base(dict(options), inputs, classes)
    except Exception:
        raise InvalidParameter(pointer, "its description has no base of these options") from None
    return read_base(said, f"{pointer}/base")


def _sizes(
    description: Description,
    options: Mapping[str, Any],
    inputs: int,
    classes: int,
    pointer: str,
    base: Base | None,
    lora: LoraSpec | None,
) -> tuple[int, int, int]:
    def asked(what: str, most: int) -> int:
        try:
            value = getattr(description, what)(dict(options), inputs, classes)
        except Exception:
            raise InvalidParameter(pointer, "its description cannot size these options") from None
        return read_integer(value, pointer, low=1, high=most)

    numbers, work = asked("numbers", _SIZE_MOST), asked("work", _SIZE_MOST)
    if base is None or lora is None:
        return asked("parameters", PARAMETERS_MOST), numbers, work
    beside = base.adapters(lora.rank)
    return base.parameters(lora.rank), numbers + lora.rank * len(base.layers), work + beside


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
