"""Mechanisms and their JSON form: every key known, depth bounded, tricks refused by name (R28)."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from app.domain.documents import read_object, under
from app.domain.errors import InvalidParameter, RefusedByName
from app.domain.mechanisms.kinds import (
    Approximate,
    Composed,
    DiscreteGaussian,
    DiscreteLaplace,
    Exponential,
    Gaussian,
    Laplace,
    Mechanism,
    Part,
    PoissonSampled,
    Pure,
    RandomizedResponse,
    Repeated,
    Threshold,
    TreeAggregation,
    Zcdp,
)

__all__ = [
    "Approximate",
    "Composed",
    "DiscreteGaussian",
    "DiscreteLaplace",
    "Exponential",
    "Gaussian",
    "Laplace",
    "Mechanism",
    "Part",
    "PoissonSampled",
    "Pure",
    "RandomizedResponse",
    "Repeated",
    "Threshold",
    "TreeAggregation",
    "Zcdp",
    "parse_mechanism",
    "parse_part",
]

LARGEST_DEPTH: Final = 8
MOST_NODES: Final = 64

KINDS: Final[Mapping[str, type[Mechanism]]] = {
    kind.type: kind
    for kind in (
        Gaussian,
        Laplace,
        DiscreteLaplace,
        DiscreteGaussian,
        Pure,
        Approximate,
        Zcdp,
        Exponential,
        RandomizedResponse,
        Threshold,
        TreeAggregation,
        PoissonSampled,
        Repeated,
        Composed,
    )
}

# R28: what looks private and is not, with what may be asked for instead.
REFUSED_FORMS: Final[Mapping[str, str]] = {
    "sketch_lora": "LoRA with clipping and noise: poisson_sampled of gaussian",
    "noise_free_sketch": "poisson_sampled of gaussian",
    "batch_norm": "a model whose modules do not mix rows",
    "shuffled": "poisson_sampled, with a sampler that draws each unit independently",
    "fixed_size_batches": "poisson_sampled, with a sampler that draws each unit independently",
    "sampled_with_replacement": "poisson_sampled",
    "sampled_without_replacement": "poisson_sampled",
    "best_of": "composed, with every run charged",
    "repeat_and_select": "composed, with every run charged",
    "microbatch": "gaussian on per-example clipped sums",
    "min": "a quantile by the exponential mechanism",
    "max": "a quantile by the exponential mechanism",
    "private_keys_as_public": "threshold",
}
_NOT_POISSON: Final = ("shuffle", "fixed", "replacement")


def parse_mechanism(document: object, pointer: str = "/mechanism") -> Mechanism:
    """A mechanism from its wire form.

    Raises:
        InvalidParameter: malformed, unknown, out of range, too deep or too large.
        RefusedByName: a form that looks private and is not (R28).
    """
    return _Reader().read(document, pointer, depth=1)


def parse_part(document: object, pointer: str) -> Part:
    """A part `{"mechanism": {...}, "max_units": 1}` from its wire form.

    Raises:
        InvalidParameter: malformed, unknown or out of range.
        RefusedByName: the mechanism is refused by its name (R28).
    """
    values = read_object(document, pointer, required=("mechanism", "max_units"))
    mechanism = parse_mechanism(values["mechanism"], under(pointer, "mechanism"))
    try:
        return Part(mechanism, values["max_units"])
    except InvalidParameter as refusal:
        raise InvalidParameter(pointer + refusal.pointer, refusal.reason) from None


class _Reader:
    """Reads one document; counts its nodes, so that width and depth together are bounded."""

    def __init__(self) -> None:
        self.nodes = 0

    def read(self, document: object, pointer: str, *, depth: int) -> Mechanism:
        self.nodes += 1
        if depth > LARGEST_DEPTH:
            raise InvalidParameter(pointer, f"must not be nested deeper than {LARGEST_DEPTH}")
        if self.nodes > MOST_NODES:
            raise InvalidParameter(pointer, f"must not hold more than {MOST_NODES} mechanisms")
        if not isinstance(document, Mapping):
            raise InvalidParameter(pointer, "must be an object with a type")
        name = document.get("type")
        if isinstance(name, str) and name in REFUSED_FORMS:
            raise RefusedByName(f"{pointer}/type", name, REFUSED_FORMS[name])
        if not isinstance(name, str) or name not in KINDS:
            raise InvalidParameter(f"{pointer}/type", f"must be one of {', '.join(KINDS)}")
        kind = KINDS[name]
        required = [each.name for each in fields(kind) if each.name not in kind.optional]
        read_object(document, pointer, required=["type", *required], optional=kind.optional)
        values = {key: value for key, value in document.items() if key != "type"}
        if "of" in values:
            values["of"] = self._children(kind, values["of"], f"{pointer}/of", depth=depth)
        self._refuse_other_samplers(kind, values, pointer)
        try:
            return kind(**values)
        except InvalidParameter as refusal:
            raise InvalidParameter(pointer + refusal.pointer, refusal.reason) from None

    def _children(
        self, kind: type[Mechanism], of: object, pointer: str, *, depth: int
    ) -> Mechanism | tuple[Mechanism, ...]:
        if kind is not Composed:
            return self.read(of, pointer, depth=depth + 1)
        if not isinstance(of, list):
            raise InvalidParameter(pointer, "must be a list of mechanisms")
        return tuple(
            self.read(each, f"{pointer}/{index}", depth=depth + 1) for index, each in enumerate(of)
        )

    @staticmethod
    def _refuse_other_samplers(
        kind: type[Mechanism], values: Mapping[str, Any], pointer: str
    ) -> None:
        """Poisson prices understate what shuffled or fixed batches lose (R28)."""
        sampler = values.get("sampler")
        if kind is PoissonSampled and isinstance(sampler, str):
            for word in _NOT_POISSON:
                if word in sampler.lower():
                    instead = "a sampler that draws each unit independently"
                    raise RefusedByName(f"{pointer}/sampler", sampler, instead)
