"""A released language model, loaded by somebody who has its card and torch, and nothing of ours."""

import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from app.domain.columns import Column
from app.domain.datasets import Dataset, Source, UnitOfPrivacy
from tests.training_document import training_document
from tests.workers.engines.train.small_work import Ledger, work_of
from workers.engines.api import Input
from workers.engines.train.engine import TrainingEngine

ALPHABET, CONTEXT, HEADS, LAYERS = "abcd ", 6, 2, 2
TEXT = (Column("text", "string"),)
PRIVATE = Dataset(
    *("d", "texts", "private", TEXT, Source("files", "texts.csv", "csv")),
    *(UnitOfPrivacy("record"), "add_remove", 400),
)
PUBLIC = Dataset("test", "texts", "public", TEXT, Source("files", "test.csv", "csv"))


def written(file: Path, records: int) -> Path:
    """Texts in which each character says the next one, some of them short."""
    texts = [("abcd " * 3)[first : first + 7 - first % 3] for first in range(5)]
    lines = [f'"{texts[n % 5]}"' for n in range(records)]
    file.write_text("\n".join(["text", *lines]) + "\n")
    return file


def scores_of(weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """A decoder with norms before each half, and its embedding for a head."""
    x = weights["token.weight"][tokens] + weights["place.weight"][: tokens.shape[1]]
    width = x.shape[2]

    def normed(name: str, x: Tensor) -> Tensor:
        deviation = torch.sqrt(x.var(dim=2, correction=0, keepdim=True) + 1e-5)
        x = (x - x.mean(dim=2, keepdim=True)) / deviation
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    ahead = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).triu(1)
    for place in range(LAYERS):
        block = f"blocks.{place}"
        q, k, v = torch.split(linear(f"{block}.qkv", normed(f"{block}.before", x)), width, dim=2)
        heads = []
        for one, other, value in zip(
            *(torch.split(each, width // HEADS, dim=2) for each in (q, k, v)), strict=True
        ):
            seen = one @ other.transpose(1, 2) / math.sqrt(width // HEADS)
            heads.append(seen.masked_fill(ahead, -math.inf).softmax(dim=2) @ value)
        x = x + linear(f"{block}.out", torch.cat(heads, dim=2))
        x = x + linear(
            f"{block}.down", functional.gelu(linear(f"{block}.up", normed(f"{block}.after", x)))
        )
    return normed("last", x) @ weights["token.weight"].T


def test_a_language_model_s_file_in_plain_torch_has_the_recorded_public_accuracy(
    tmp_path: Path,
) -> None:
    document = training_document(
        ["text"],
        None,
        model={
            "name": "transformer_lm",
            "alphabet": ALPHABET,
            "context": CONTEXT,
            "width": 16,
            "heads": HEADS,
            "layers": LAYERS,
        },
        loss="next_token",
        steps=40,
        clip={"mode": "flat", "norm_l2": "1"},
        noise={"noise_multiplier": "1"},
        optimizer={"name": "adam", "learning_rate": 0.01},
        evaluation={"dataset_id": "test"},
    )
    public = {"test": Input(PUBLIC, 1, written(tmp_path / "test.csv", 50))}
    file = written(tmp_path / "texts.csv", 400)
    work = work_of(document | {"audit": None}, PRIVATE, file, tmp_path / "scratch", public=public)
    outcome = TrainingEngine().prepare(work).run(Ledger())
    weights = load_file(work.scratch / "model.safetensors")
    assert "head.weight" not in weights  # it is the embedding
    # 0 stands after the end of a text, 1 for a character that is not in the alphabet
    texts = [line.strip('"') for line in (tmp_path / "test.csv").read_text().split("\n")[1:-1]]
    rows = torch.zeros(len(texts), CONTEXT + 1, dtype=torch.int64)
    for place, text in enumerate(texts):
        rows[place, : len(text)] = torch.tensor([ALPHABET.index(each) + 2 for each in text])
    guesses, wanted = scores_of(weights, rows[:, :-1]).argmax(dim=2), rows[:, 1:]
    right = float((guesses == wanted)[wanted != 0].double().mean())
    assert right == outcome.result["test_accuracy"]
    assert right > 0.4  # of five characters, chance is 0.2
