"""Small runs of every model, and noise that is not noise, for the attacks on the trainer."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import torch
from torch import Tensor

from app.domain.training.models import Cnn, Logistic, Mlp, ModelSpec, TransformerLm
from app.domain.training.spec import OptimizerSpec, TrainSpec
from kernels.noise.source import NoiseSource
from kernels.private.model import PrivateModel, privatize
from workers.engines.train.data import Table
from workers.engines.train.networks import build, made_up
from workers.engines.train.steps import NoisyGradients, clip_of

INPUTS, CLASSES = 12, 4
MODELS: list[ModelSpec] = [
    Logistic(CLASSES),
    Mlp((9, 5), CLASSES),
    Cnn((3, 2, 2), (6,), CLASSES),
    TransformerLm("abcdefg", 9, 6, 8, 2, 2),
]


def normals(count: int, seed: int = 0) -> Tensor:
    """The same numbers for the same seed."""
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def table(records: int, model: ModelSpec = MODELS[0], seed: int = 2) -> Table:
    """Made-up records of a model; the first ones are the same in a longer table."""
    draw = torch.Generator().manual_seed(seed)
    if isinstance(model, TransformerLm):
        tokens = torch.randint(0, model.tokens, (records, model.context + 1), generator=draw)
        return Table(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
    return Table(torch.rand(records, INPUTS, generator=draw), torch.arange(records) % CLASSES)


def without(whole: Table, record: int) -> Table:
    """A neighbour: one record less."""
    keep = torch.arange(len(whole)) != record
    return Table(whole.inputs[keep], whole.labels[keep])


def spec(**changes: object) -> TrainSpec:
    """A spec of the first model."""
    fields: dict[str, Any] = {
        "model": MODELS[0],
        "features": ("x",),
        "label": "y",
        "rate": Decimal(1),
        "normalise_by": 64.0,
        "steps": 10,
        "clip_norm_l2": Decimal("0.7"),
        "noise_multiplier": Decimal("1.3"),
        "target": None,
        "optimizer": OptimizerSpec("sgd", 0.1),
        "physical_batch_max": 256,
        "evaluation": None,
        "chunk_steps": 25,
        "checkpoint_every_steps": 25,
    }
    return TrainSpec(**{**fields, **changes})


def private(asked: TrainSpec) -> PrivateModel:
    """Its model, with weights such that gradients reach every layer."""
    model = build(asked.model, INPUTS)
    with torch.no_grad():
        for place, parameter in enumerate(model.parameters()):
            parameter.copy_(normals(parameter.numel(), seed=place).view_as(parameter))
    return privatize(model, clip_of(asked), made_up(asked.model, INPUTS)[:1])


def gradients(asked: TrainSpec, noise: NoiseSource | None = None) -> NoisyGradients:
    """The private part of its run."""
    return NoisyGradients.of(asked, private(asked), noise or NoiseSource())


def left(found: NoisyGradients) -> Tensor:
    """What a step has left in the parameters: (P,) float64."""
    return torch.cat([t.double().flatten() for layer in found.sums() for t in layer])


class Ones(NoiseSource):
    """Noise that is not noise: every coordinate is one standard deviation."""

    def __init__(self) -> None:
        super().__init__()
        self.draws = 0

    def add_gaussian_(
        self, sums: Sequence[Tensor], standard_deviation: float, *, stream: int, step: int
    ) -> None:
        self.draws += 1
        for total in sums:
            total.add_(standard_deviation)


class Silence(NoiseSource):
    """No noise at all."""

    def add_gaussian_(
        self, sums: Sequence[Tensor], standard_deviation: float, *, stream: int, step: int
    ) -> None:
        """Nothing."""
