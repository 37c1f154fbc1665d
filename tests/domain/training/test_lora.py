"""Attacks on LoRA specs: without a base, beyond its layers, or with nothing where noise belongs."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from app.domain.errors import InvalidParameter
from app.domain.training import parse_training
from app.domain.training.installed import InstalledEntry, InstalledModel, read_description
from app.domain.training.offer import Offer
from app.domain.training.registry import MODELS, parse_model
from tests.domain.training.test_parsing import PUBLIC, _dataset, _parse, _spec

LAYERS: dict[str, Any] = {"first": [64, 8], "middle": [8, 6]}


@dataclass
class Described:
    """A base's description, of which one fact may be wrong."""

    said: dict[str, Any] = field(default_factory=dict)
    name: str = "tried_base"
    title: str = "A base"
    builder: str = "nowhere:build"

    def __post_init__(self) -> None:
        self.schema = {"type": "object", "properties": {}}
        self.examples = [{"lora": {"rank": 1}, "inputs": 64, "classes": 10}]

    def base(self, options: Any, inputs: int, classes: int) -> Any:
        base = {"title": "w", "sha256": "ab" * 32, "layers": LAYERS, "trained": {"last": 70}}
        return {**base, **self.said}

    def numbers(self, options: Any, inputs: int, classes: int) -> int:
        return 100

    def work(self, options: Any, inputs: int, classes: int) -> int:
        return 1000


def described(**said: Any) -> InstalledEntry:
    return read_description(Described(said), "tried 1.0")


def parsed(lora: object) -> InstalledModel:
    models = {**MODELS, "tried_base": described().registered}
    document = {"name": "tried_base", **({} if lora is None else {"lora": lora})}
    model = parse_model(document, "/m", classes=10, inputs=64, models=models)
    assert isinstance(model, InstalledModel)
    return model


def test_what_learns_is_what_stands_beside_and_the_rest_is_in_no_size() -> None:
    model = parsed({"rank": 3})
    assert model.parameters(64) == 3 * (64 + 8) + 3 * (8 + 6) + 70
    assert model.work(64) == 1000 + 3 * (64 + 8 + 8 + 6)
    assert model.numbers(64) == 100 + 2 * 3


def test_alpha_is_the_rank_unless_it_is_said_and_the_stored_form_says_it() -> None:
    model = parsed({"rank": 3})
    assert model.to_json()["lora"] == {"rank": 3, "alpha": 3.0}
    assert parsed({"rank": 3, "alpha": 12}).lora != model.lora
    stored = model.to_json()["lora"]
    assert parsed(stored) == model


@pytest.mark.parametrize(
    ("lora", "pointer"),
    [
        (None, "/m/lora"),
        ({}, "/m/lora/rank"),
        ({"rank": 0}, "/m/lora/rank"),
        ({"rank": 7}, "/m/lora/rank"),  # above the narrowest side, of 6
        ({"rank": "3"}, "/m/lora/rank"),
        ({"rank": True}, "/m/lora/rank"),
        ({"rank": 3, "alpha": 0}, "/m/lora/alpha"),
        ({"rank": 3, "alpha": "3"}, "/m/lora/alpha"),
        ({"rank": 3, "weights": "/tmp/mine"}, "/m/lora/weights"),
        ({"rank": 3, "base": "another"}, "/m/lora/base"),
        ([], "/m/lora"),
    ],
)
def test_a_lora_that_is_none_is_refused_where_it_stands(lora: object, pointer: str) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        parsed(lora)
    assert refusal.value.pointer == pointer


@pytest.mark.parametrize(
    "model",
    [
        {"name": "logistic", "lora": {"rank": 2}},
        {"name": "mlp", "hidden": [8], "lora": {"rank": 2}},
        {"name": "cnn", "image": [1, 8, 8], "channels": [4], "lora": {"rank": 2}},
    ],
)
def test_lora_without_an_installed_base_is_refused_with_its_reason(model: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter, match="administrator") as refusal:
        _parse(_spec(model=model))
    assert refusal.value.pointer == "/spec/model/lora"


def test_it_costs_what_any_model_costs_and_its_schema_says_that_lora_is_needed() -> None:
    entry = described()
    asked = _spec(model={"name": "tried_base", "lora": {"rank": 2}})
    offer = Offer({**MODELS, "tried_base": entry.registered})
    spec = parse_training(asked, _dataset(), PUBLIC, offer=offer)
    assert spec.parts() == _parse(_spec()).parts()
    options = entry.registered.to_json()["options"]
    assert options["required"] == ["lora"]
    assert set(options["properties"]) == {"classes", "lora"}


@pytest.mark.parametrize(
    ("said", "pointer"),
    [
        ({"sha256": "ab"}, "/examples/0/base/sha256"),
        ({"sha256": None}, "/examples/0/base/sha256"),
        ({"title": ""}, "/examples/0/base/title"),
        ({"layers": {}}, "/examples/0/base/layers"),
        ({"layers": {"first": [64]}}, "/examples/0/base/layers"),
        ({"layers": {"first": [64, 0]}}, "/examples/0/base/layers"),
        ({"trained": {"first": 10}}, "/examples/0/base/trained/first"),
        ({"trained": {"last": 0}}, "/examples/0/base/trained/last"),
        ({"surprise": 1}, "/examples/0/base/surprise"),
    ],
)
def test_a_base_that_does_not_say_what_it_is_is_not_usable(
    said: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        described(**said)
    assert refusal.value.pointer == pointer
