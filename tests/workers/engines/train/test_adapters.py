"""Attacks on LoRA: another base, layers that are others, a base that moves, what a file holds."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from app.domain.datasets import Dataset, Source
from app.domain.training.clipping import ClipMode
from app.domain.training.lora import Base, LoraSpec
from app.domain.training.offer import Offer
from app.services.models import read_installed
from kernels.private.spec import ModelRefused
from tests.installing import install_base, reached
from tests.workers.engines.train.runs import Silence, left, normals, spec
from tests.workers.engines.train.small_work import COLUMNS, Ledger, small_work
from workers.engines.api import EngineRefused, Input, Work
from workers.engines.train.adapters import Adapted, adapt, weights_sha256
from workers.engines.train.checkpoints import TENSORS, RunState
from workers.engines.train.data import Table
from workers.engines.train.engine import TrainingEngine
from workers.engines.train.examination import examined
from workers.engines.train.networks import trained
from workers.engines.train.optimizers import make_optimizer
from workers.engines.train.steps import NoisyGradients, clip_of
from workers.examining import examine

MODEL = {"name": "tried_base", "lora": {"rank": 2, "alpha": 3}}


class Net(nn.Module):
    """As the tried base is built."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(2, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        with torch.no_grad():
            for layer in (self.first, self.middle):
                for weights in layer.parameters():
                    count = torch.arange(weights.numel()).view_as(weights)
                    weights.copy_(((count * 5) % 13 - 6) / 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(torch.tanh(self.middle(torch.tanh(self.first(x)))))
        return out


SHA256 = weights_sha256(Net(), left_out=["last"])
BASE = Base("nobody's", SHA256, {"first": (2, 8), "middle": (8, 8)}, {"last": 18})


@pytest.fixture
def offer(tmp_path: Path) -> Iterator[Offer]:
    install_base(tmp_path / "packages", SHA256)
    with reached(tmp_path / "packages"):
        yield Offer(read_installed().models)


def evaluated(folder: Path, offer: Offer, **changes: Any) -> Work:
    """A job beside the base, with a public set."""
    file = folder / "public.csv"
    rows = [f"{(k % 2) * 0.7 + 0.1},{(1 - k % 2) * 0.6 + 0.2},{k % 2}" for k in range(50)]
    file.write_text("\n".join(["width,height,kind", *rows]) + "\n")
    public = Dataset("test", "leaves", "public", COLUMNS, Source("demo", "public.csv", "csv"))
    return small_work(
        folder,
        records=2000,
        offer=offer,
        public={"test": Input(public, 1, file)},
        model=MODEL,
        evaluation={"dataset_id": "test", "every_steps": 3},
        normalise_by=1000,
        **changes,
    )


@pytest.mark.parametrize("algorithm", ["dp_sgd", "dp_zo"])
def test_the_base_stays_to_the_last_bit_and_the_released_file_holds_what_learnt_alone(
    offer: Offer, tmp_path: Path, algorithm: str
) -> None:
    work = evaluated(tmp_path, offer, algorithm=algorithm)
    plan = TrainingEngine(offer=offer).prepare(work)
    outcome = plan.run(Ledger())
    after = dict(plan.private.model.named_parameters())
    for name, value in Net().named_parameters():
        if not name.startswith("last."):
            layer, _, last = name.partition(".")
            assert torch.equal(after[f"{layer}.base.{last}"], value)
    held = load_file(work.scratch / "model.safetensors")
    beside = [f"{layer}.{side}.weight" for layer in ("first", "middle") for side in ("down", "up")]
    assert set(held) == {*beside, "last.weight", "last.bias"}
    assert all(float(value.abs().max()) > 0 for value in held.values())
    assert outcome.result["steps_run"] == 6


def test_what_learnt_is_merged_into_the_base_in_plain_torch_as_the_card_says(
    offer: Offer, tmp_path: Path
) -> None:
    work = evaluated(tmp_path, offer, steps=40, chunk_steps=20)
    plan = TrainingEngine(offer=offer).prepare(work)
    outcome = plan.run(Ledger())
    held, merged = load_file(work.scratch / "model.safetensors"), Net()
    assert "add 1.5 times `NAME.up.weight @ NAME.down.weight`" in (
        (work.scratch / "card.md").read_text()
    )
    with torch.no_grad():
        for layer in ("first", "middle"):
            product = held[f"{layer}.up.weight"] @ held[f"{layer}.down.weight"]
            merged.get_submodule(layer).weight += 1.5 * product  # type: ignore[operator]
        merged.last.weight.copy_(held["last.weight"])
        merged.last.bias.copy_(held["last.bias"])
    assert plan.evaluation is not None
    inputs, labels = plan.evaluation.rows(slice(None))
    right = float((merged(inputs).argmax(dim=1) == labels).double().mean())
    assert right == outcome.result["test_accuracy"]
    assert right > 0.9  # two kinds of leaves, well apart


def test_the_card_states_base_rank_and_what_learnt(offer: Offer, tmp_path: Path) -> None:
    work = evaluated(tmp_path, offer)
    TrainingEngine(offer=offer).prepare(work).run(Ledger())
    card = json.loads((work.scratch / "card.json").read_text())
    assert card["model"]["base"] == {
        "title": "weights of nobody",
        "sha256": SHA256,
        "rank": 2,
        "alpha": 3.0,
        "adapted": ["first", "middle"],
        "trained_beside": ["last"],
    }
    assert any("not in this loss" in limit for limit in card["limits"])
    said = (work.scratch / "card.md").read_text()
    assert "LoRA of rank 2, alpha 3, beside `first`, `middle`; and, from a fresh start, `last`" in (
        said
    )
    # two adapted layers of two each, and the last one
    assert len(card["audit"]["noise_ratios"]) == 5


@pytest.mark.parametrize("mode", get_args(ClipMode))
def test_deleting_a_record_moves_the_sum_by_at_most_c_and_what_is_frozen_gets_none(
    offer: Offer, mode: ClipMode
) -> None:
    model = offer.models["tried_base"].parse(MODEL, "/m", 2, 2)
    asked = spec(model=model, clip_norm_l2=Decimal("0.7"), clip_mode=mode)
    private = examined(asked.model, 2, clip_of(asked))
    with torch.no_grad():
        for place, parameter in enumerate(private.model.parameters()):
            if parameter.requires_grad:
                parameter.copy_(normals(parameter.numel(), seed=place).view_as(parameter))
    found = NoisyGradients.of(asked, private, Silence())
    draw = torch.Generator().manual_seed(1)
    table = Table(100 * torch.rand(9, 2, generator=draw), torch.arange(9) % 2)
    found.clipped_sum(table, torch.arange(9))
    everybody = left(found)
    for record in range(9):
        found.clipped_sum(table, torch.tensor([n for n in range(9) if n != record]))
        moved = float((everybody - left(found)).norm())
        assert 0 < moved <= 0.7 * (1 + 1e-5)
    frozen = [p for p in private.model.parameters() if not p.requires_grad]
    assert len(frozen) == 4
    assert all(parameter.grad is None for parameter in frozen)


def test_beside_a_base_nothing_is_said_before_the_first_step(offer: Offer, tmp_path: Path) -> None:
    """`up` begins at 0, so the first model is the base under a head of 0, whatever `down` is."""
    work = evaluated(tmp_path, offer)
    plan = TrainingEngine(offer=offer).prepare(work)
    plan._start_weights(plan.make_noise())
    layers = dict(plan.private.model.named_modules())
    for name in ("first", "middle"):
        layer = layers[name]
        assert isinstance(layer, Adapted)
        assert layer.up.weight.detach().abs().max() == 0.0
        assert layer.down.weight.detach().abs().max() > 0.0


def test_a_checkpoint_holds_what_learnt_and_a_run_goes_on_from_it_beside_the_same_base(
    offer: Offer, tmp_path: Path
) -> None:
    model = offer.models["tried_base"].parse(MODEL, "/m", 2, 2)
    asked = spec(model=model)
    states = []
    for seed in (1, 2):
        module = examined(asked.model, 2, clip_of(asked)).model
        with torch.no_grad():
            for parameter in trained(module):
                parameter.copy_(normals(parameter.numel(), seed=seed).view_as(parameter))
        optimizer = make_optimizer(asked.optimizer, trained(module))
        states.append(RunState(module, optimizer, None, Decimal(1), steps_run=seed))
    states[0].save(tmp_path)
    assert not [name for name in load_file(tmp_path / TENSORS) if ".base." in name]
    states[1].load(tmp_path)
    first, second = (dict(state.model.named_parameters()) for state in states)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert states[1].steps_run == 1


def test_a_base_with_other_weights_is_refused_and_says_its_digest(tmp_path: Path) -> None:
    """As an administrator learns it: the digest that the remedy says is then accepted."""
    install_base(tmp_path / "first", "0" * 64)
    with reached(tmp_path / "first"):
        refused = examine(read_installed().entries["tried_base"])
    assert not refused.accepted
    assert "not those of its description" in refused.problem
    (said,) = re.findall("[0-9a-f]{64}", refused.remedy)
    install_base(tmp_path / "second", said)
    with reached(tmp_path / "second"):
        assert examine(read_installed().entries["tried_base"]).accepted
    install_base(tmp_path / "third", said, ("% 13", "% 11"))
    with reached(tmp_path / "third"):
        assert not examine(read_installed().entries["tried_base"]).accepted


def test_a_base_that_has_changed_since_it_was_examined_starts_no_job(tmp_path: Path) -> None:
    install_base(tmp_path / "packages", SHA256, ("/ 4", "/ 8"))
    with reached(tmp_path / "packages"):
        offer, ledger = Offer(read_installed().models), Ledger()
        work = small_work(tmp_path, offer=offer, model=MODEL)
        with pytest.raises(EngineRefused, match="not those of its description"):
            TrainingEngine(offer=offer).prepare(work).run(ledger)
    assert ledger.started == []


class Odd(nn.Linear):
    """A linear layer that may do anything in its forward."""


@pytest.mark.parametrize(
    ("said", "module"),
    [
        ({"layers": {"nowhere": (2, 8)}}, "nowhere"),
        ({"layers": {"first": (3, 8)}}, "first"),
        ({"layers": {"odd": (8, 8)}}, "odd"),
        ({"layers": {"first": (2, 8)}, "trained": {"last": 17}}, "last"),
        ({"layers": {"inner.one": (8, 8)}, "trained": {"last": 18, "inner": 72}}, "inner.one"),
    ],
)
def test_a_base_whose_layers_are_not_as_described_is_refused_by_module(
    said: dict[str, Any], module: str
) -> None:
    model = Net()
    model.odd = Odd(8, 8)
    model.inner = nn.ModuleDict({"one": nn.Linear(8, 8)})
    fields = {"title": "w", "trained": {"last": 18}, **said}
    digest = weights_sha256(model, left_out=fields["trained"])
    with pytest.raises(ModelRefused) as refusal:
        adapt(model, Base(sha256=digest, **fields), LoraSpec(2, 2.0))
    assert refusal.value.module == module
    assert refusal.value.remedy


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_digest_tells_every_bit_every_name_and_every_shape(dtype: torch.dtype) -> None:
    def digest(model: nn.Module) -> str:
        return weights_sha256(model, left_out=["last"])

    model = Net().to(dtype)
    whole = digest(model)
    with torch.no_grad():
        model.first.weight[0, 0] = torch.nextafter(
            model.first.weight[0, 0].float(), torch.tensor(9.0)
        ).to(dtype) + (0.5 if dtype == torch.bfloat16 else 0.0)
    assert digest(model) != whole
    again = Net().to(dtype)
    assert digest(again) == whole
    with torch.no_grad():
        again.last.weight.fill_(7.0)  # starts afresh, so it is in no digest
    assert digest(again) == whole
    again.register_buffer("shift", torch.zeros(1))
    assert digest(again) != whole
    again = Net().to(dtype)
    again.first.weight = nn.Parameter(again.first.weight.detach().reshape(2, 8))
    assert digest(again) != whole
