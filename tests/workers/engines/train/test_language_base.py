"""LoRA beside a language base: a released model's file, installed, that learns another language."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from app.domain.columns import Column
from app.domain.datasets import Dataset, Source, UnitOfPrivacy
from app.domain.errors import InvalidParameter
from app.domain.training.installed import InstalledLm
from app.domain.training.models import TransformerLm
from app.domain.training.offer import Offer
from app.services.models import read_installed
from tests.installing import install_lm, reached
from tests.training_document import training_document
from tests.workers.engines.train.runs import normals
from tests.workers.engines.train.small_work import Ledger, work_of
from tests.workers.engines.train.test_plain_transformer import scores_of
from workers.engines.api import EngineRefused, Input, Work
from workers.engines.train.engine import TrainingEngine
from workers.engines.train.networks import build
from workers.examining import examine

TEXT = (Column("text", "string"),)
PRIVATE = Dataset(
    *("d", "texts", "private", TEXT, Source("files", "texts.csv", "csv")),
    *(UnitOfPrivacy("record"), "add_remove", 400),
)
PUBLIC = Dataset("test", "texts", "public", TEXT, Source("files", "test.csv", "csv"))
SPEC = TransformerLm("abcd ", 7, 6, 16, 2, 2)
LAYERS = [f"blocks.{n}.{name}" for n in range(2) for name in ("qkv", "out", "up", "down")]


def weights_file(folder: Path) -> Path:
    """As a run releases it: the embedding under one name."""
    model = build(SPEC, 0)
    state = {
        name: 0.2 * normals(value.numel(), seed=place).view_as(value)
        for place, (name, value) in enumerate(model.named_parameters())
    }
    save_file(state, folder / "released.safetensors")
    return folder / "released.safetensors"


def digest_of(folder: Path) -> str:
    """As `check-models` tells it."""
    install_lm(folder / "unknown", "0" * 64, weights_file(folder))
    with reached(folder / "unknown"):
        found = examine(read_installed().entries["tried_plays"])
    assert "not those of its description" in found.problem
    (digest,) = re.findall("[0-9a-f]{64}", found.remedy)
    return str(digest)


@pytest.fixture
def offer(tmp_path: Path) -> Iterator[Offer]:
    install_lm(tmp_path / "packages", digest_of(tmp_path), weights_file(tmp_path))
    with reached(tmp_path / "packages"):
        assert examine(read_installed().entries["tried_plays"]).accepted
        yield Offer(read_installed().models)


def written(file: Path, records: int) -> Path:
    texts = [("dcba " * 3)[first : first + 7] for first in range(5)]
    file.write_text("\n".join(["text", *(f'"{texts[n % 5]}"' for n in range(records))]) + "\n")
    return file


def work(folder: Path, offer: Offer, **changes: Any) -> Work:
    fields = {
        "model": {"name": "tried_plays", "lora": {"rank": 4, "alpha": 8}},
        "loss": "next_token",
        "steps": 30,
        "clip": {"mode": "flat", "norm_l2": "1"},
        "noise": {"noise_multiplier": "1"},
        "optimizer": {"name": "adam", "learning_rate": 0.02},
        "evaluation": {"dataset_id": "test"},
        "audit": {"canaries": 1000},
        **changes,
    }
    public = {"test": Input(PUBLIC, 1, written(folder / "test.csv", 50))}
    return work_of(
        training_document(["text"], None, **fields),
        PRIVATE,
        written(folder / "texts.csv", 400),
        folder / "scratch",
        offer=offer,
        public=public,
    )


def test_adapters_learn_beside_the_installed_weights_and_merge_into_them_in_plain_torch(
    offer: Offer, tmp_path: Path
) -> None:
    asked = work(tmp_path, offer)
    outcome = TrainingEngine(offer=offer).prepare(asked).run(Ledger())
    base, held = load_file(weights_file(tmp_path)), load_file(asked.scratch / "model.safetensors")
    assert set(held) == {f"{name}.{side}.weight" for name in LAYERS for side in ("down", "up")}
    for name in LAYERS:
        base[f"{name}.weight"] += 2.0 * held[f"{name}.up.weight"] @ held[f"{name}.down.weight"]
    texts = [line.strip('"') for line in (tmp_path / "test.csv").read_text().split("\n")[1:-1]]
    rows = torch.tensor([[SPEC.alphabet.index(each) + 2 for each in text] for text in texts])
    right = float((scores_of(base, rows[:, :-1]).argmax(dim=2) == rows[:, 1:]).double().mean())
    assert right == pytest.approx(outcome.result["test_accuracy"], abs=1e-9)
    assert outcome.result["audit"]["verdict"] == "consistent"


def test_the_card_states_the_base_what_it_extends_and_what_learnt(
    offer: Offer, tmp_path: Path
) -> None:
    asked = work(tmp_path, offer, steps=2)
    TrainingEngine(offer=offer).prepare(asked).run(Ledger())
    base = json.loads((asked.scratch / "card.json").read_text())["model"]["base"]
    assert base["title"] == "plays of nobody"
    assert (base["rank"], base["alpha"], base["trained_beside"]) == (4, 8.0, [])
    assert base["adapted"] == LAYERS
    assert base["extends"] == SPEC.to_json()
    assert "Base: plays of nobody" in (asked.scratch / "card.md").read_text()


def test_what_is_trained_is_as_large_as_it_says(offer: Offer) -> None:
    document = {"name": "tried_plays", "lora": {"rank": 3}}
    model = offer.models["tried_plays"].parse(document, "/m", 0, 0)
    assert isinstance(model, InstalledLm)
    assert model.to_json() == {"name": "tried_plays", "lora": {"rank": 3, "alpha": 3.0}}
    # qkv, out, up, down of each of two layers, 16 wide
    assert model.parameters(0) == 2 * 3 * (16 + 48 + 16 + 16 + 16 + 64 + 64 + 16)
    assert model.work(0) > SPEC.work(0)


@pytest.mark.parametrize(
    ("model", "pointer"),
    [
        ({"name": "tried_plays"}, "/m/lora"),
        ({"name": "tried_plays", "lora": {"rank": 17}}, "/m/lora/rank"),
        ({"name": "tried_plays", "lora": {"rank": 2}, "context": 7}, "/m/context"),
    ],
)
def test_nothing_of_the_base_is_asked_by_a_spec(
    offer: Offer, model: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        offer.models["tried_plays"].parse(model, "/m", 0, 0)
    assert refusal.value.pointer == pointer


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"transformer_lm"', '"mlp"'), "/extends"),
        (('"width": 16', '"width": 15'), "/options/heads"),
        (('"layers": 2', '"layers": 2, "depth": 3'), "/options/depth"),
        (('"title": "plays of nobody", ', ""), "/base/title"),
        (("base = {", "bare = {"), "/base"),
    ],
)
def test_a_language_base_that_is_not_described_is_not_usable(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    install_lm(tmp_path / "packages", "0" * 64, weights_file(tmp_path), change)
    with reached(tmp_path / "packages"):
        installed = read_installed()
    assert not installed.entries
    assert said in installed.faults["tried_plays"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (('"layers": 2', '"layers": 1'), "other weights"),
        (('"context": 6', '"context": 5'), "another shape"),
        (("weights:plays", "weights:nobody"), "builder failed"),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_a_job_starts(
    tmp_path: Path, change: tuple[str, str], problem: str
) -> None:
    install_lm(tmp_path / "packages", "0" * 64, weights_file(tmp_path), change)
    with reached(tmp_path / "packages"):
        installed = read_installed()
        found, ledger = examine(installed.entries["tried_plays"]), Ledger()
        with pytest.raises(EngineRefused, match=problem):
            TrainingEngine(offer=Offer(installed.models)).prepare(
                work(tmp_path, Offer(installed.models))
            ).run(ledger)
    assert problem in found.problem
    assert ledger.started == []
