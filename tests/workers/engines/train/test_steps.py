"""Attacks on the step: sensitivity end to end, noise once and in full, physical batches."""

import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest
import torch
from torch import Tensor

from app.domain.training.spec import ModelSpec, OptimizerSpec, TrainSpec
from kernels.clip.api import ClippedSum, LinearGradients
from kernels.clip.fused_cpu import FusedCpuClip
from kernels.clip.reference import ReferenceClip
from kernels.noise.fused_cpu import FusedCpuNoise
from workers.engines.train.data import Table
from workers.engines.train.models import Network
from workers.engines.train.noise import RunNoise, Stream
from workers.engines.train.optimizers import make_optimizer
from workers.engines.train.sampling import PoissonSampler
from workers.engines.train.steps import NoisyGradients

INPUTS, CLASSES = 12, 4
MODELS = [ModelSpec("logistic", (), CLASSES), ModelSpec("mlp", (9, 5), CLASSES)]
models = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


def _normals(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _network(model: ModelSpec, *, dense: bool = True) -> Network:
    network = Network(model, INPUTS, _normals(model.parameters(INPUTS)))
    if dense:  # no zero output layer: gradients reach every layer
        network.weights.copy_(_normals(network.weights.shape[0], seed=1))
    return network


def _table(records: int, seed: int = 2) -> Table:
    features = torch.rand(records, INPUTS, generator=torch.Generator().manual_seed(seed))
    return Table(features, torch.arange(records) % CLASSES)


def _without(table: Table, record: int) -> Table:
    keep = torch.arange(table.labels.shape[0]) != record
    return Table(table.features[keep], table.labels[keep])


def _spec(**changes: object) -> TrainSpec:
    fields: dict[str, object] = {
        "model": MODELS[0],
        "features": ("x",),
        "label": "y",
        "rate": Decimal(1),
        "normalise_by": 64.0,
        "steps": 10,
        "clip_norm_l2": Decimal("0.7"),
        "noise_multiplier": Decimal("1.3"),
        "target": None,
        "optimizer": OptimizerSpec("sgd", 0.1, 0.0),
        "physical_batch_max": 256,
        "evaluation": None,
        "chunk_steps": 25,
    }
    return TrainSpec(**{**fields, **changes})  # type: ignore[arg-type]


class _Ones:
    """Noise that is not noise: every coordinate is one standard deviation."""

    name = "ones"

    def __init__(self) -> None:
        self.draws = 0

    def standard_normal(self, size: int, key: bytes, nonce: bytes) -> Tensor:
        self.draws += 1
        return torch.ones(size, dtype=torch.float64)


def _gradients(spec: TrainSpec) -> NoisyGradients:
    return NoisyGradients.of(spec, FusedCpuClip(), RunNoise(FusedCpuNoise()))


def _loss(model: ModelSpec, weights: Tensor, features: Tensor, label: Tensor) -> Tensor:
    """The model written with torch's own parts, one record, float64."""
    widths, first, outputs = model.widths(INPUTS), 0, features
    for depth in range(len(widths) - 1):
        inside, outside = widths[depth], widths[depth + 1]
        weight = weights[first : first + inside * outside].view(outside, inside)
        first += inside * outside
        outputs = weight @ outputs + weights[first : first + outside]
        first += outside
        if depth < len(widths) - 2:
            outputs = torch.tanh(outputs)
    return torch.nn.functional.cross_entropy(outputs[None], label[None])


@models
def test_per_example_gradients_are_those_of_autograd(model: ModelSpec) -> None:
    network, table = _network(model), _table(6)
    weights = network.weights.double().requires_grad_()
    factors = network.gradients(table.features, table.labels)
    for record in range(6):
        loss = _loss(model, weights, table.features[record].double(), table.labels[record])
        (expected,) = torch.autograd.grad(loss, weights)
        pieces = [
            torch.cat(
                [
                    torch.outer(
                        layer.output_gradients[record], layer.activations[record]
                    ).flatten(),
                    layer.output_gradients[record],
                ]
            )
            for layer in factors
        ]
        torch.testing.assert_close(torch.cat(pieces).double(), expected, rtol=1e-4, atol=1e-6)


@models
@pytest.mark.parametrize("clip_norm", ["0.01", "0.7", "1000"])
def test_removing_one_record_moves_the_sum_by_at_most_c(model: ModelSpec, clip_norm: str) -> None:
    gradients = _gradients(_spec(clip_norm_l2=Decimal(clip_norm)))
    network, table = _network(model), _table(40)
    everybody = gradients.clipped_sum(network, table, torch.arange(40))
    for record in range(40):
        others = _without(table, record)
        moved = everybody - gradients.clipped_sum(network, others, torch.arange(39))
        assert float(moved.norm()) <= float(clip_norm)


@models
@pytest.mark.parametrize("bad", [math.nan, math.inf, 3e38])
def test_a_record_that_breaks_the_arithmetic_moves_the_sum_by_at_most_c(
    model: ModelSpec, bad: float
) -> None:
    gradients = _gradients(_spec())
    network, table = _network(model), _table(5)
    without = gradients.clipped_sum(network, table, torch.arange(4))
    table.features[4] = bad
    moved = gradients.clipped_sum(network, table, torch.arange(5)) - without
    assert float(moved.norm()) <= 0.7


@models
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_let_no_record_through(model: ModelSpec, bad: float) -> None:
    network = _network(model)
    network.weights.fill_(bad)
    total = _gradients(_spec()).clipped_sum(network, _table(5), torch.arange(5))
    assert torch.equal(total, torch.zeros_like(total))


@models
@pytest.mark.parametrize("physical", [1, 3, 7, 40, 1000])
def test_physical_batches_give_the_sum_of_the_logical_batch(
    model: ModelSpec, physical: int
) -> None:
    network, table = _network(model), _table(40)
    drawn = torch.arange(0, 40, 2)
    expected = NoisyGradients.of(_spec(), ReferenceClip(), RunNoise(FusedCpuNoise())).clipped_sum(
        network, table, drawn
    )
    split = _gradients(_spec(physical_batch_max=physical)).clipped_sum(network, table, drawn)
    assert float((split - expected).norm()) <= 1e-6 * float(expected.norm())


@pytest.mark.parametrize("physical", [1, 5, 100])
def test_noise_is_added_once_a_logical_batch_whatever_the_physical_batches(physical: int) -> None:
    kernel = _Ones()
    spec = _spec(physical_batch_max=physical)
    gradients = NoisyGradients.of(spec, FusedCpuClip(), RunNoise(kernel))
    gradients.step(_network(MODELS[1]), _table(40), 1)
    assert kernel.draws == 1


@pytest.mark.parametrize("divisor", [1.0, 64.0, 1000.0])
@pytest.mark.parametrize("clip_norm", ["0.001", "0.7", "30"])
@pytest.mark.parametrize("multiplier", ["0.5", "1.3", "20"])
def test_the_noise_is_exactly_multiplier_times_c_over_the_divisor(
    divisor: float, clip_norm: str, multiplier: str
) -> None:
    spec = _spec(
        clip_norm_l2=Decimal(clip_norm),
        noise_multiplier=Decimal(multiplier),
        normalise_by=divisor,
    )
    gradients = NoisyGradients.of(spec, FusedCpuClip(), RunNoise(_Ones()))
    update = gradients.step(_network(MODELS[0]), _table(0), 1)  # no record: the gradient is zero
    exact = float(multiplier) * float(clip_norm) / divisor
    torch.testing.assert_close(update, torch.full_like(update, exact), rtol=2e-7, atol=0)
    wanted = Decimal(multiplier) * Decimal(clip_norm)
    assert Decimal(gradients.standard_deviation) >= wanted


@pytest.mark.statistical
def test_the_noise_of_empty_draws_has_the_stated_spread_at_level_1e_4() -> None:
    gradients = _gradients(_spec(normalise_by=8.0))
    network = _network(MODELS[0])
    updates = torch.cat([gradients.step(network, _table(0), step) for step in range(1, 401)])
    spread = float(updates.double().square().mean().sqrt())
    exact = 1.3 * 0.7 / 8.0
    assert spread == pytest.approx(exact, rel=3.9 / math.sqrt(2 * updates.numel()))


def test_an_empty_draw_still_takes_a_step_of_noise() -> None:
    spec = _spec()
    gradients = NoisyGradients(
        clip=FusedCpuClip(),
        sampler=PoissonSampler(Decimal("1e-9"), lambda size: b"\xff" * size),
        noise=RunNoise(FusedCpuNoise()),
        clip_norm=0.7,
        standard_deviation=1.0,
        divisor=1.0,
        physical_batch_max=4,
    )
    update = gradients.step(_network(spec.model), _table(20), 1)
    assert float(update.abs().min()) > 0


def test_the_divisor_does_not_follow_the_drawn_size() -> None:
    # Twice the same records: the sum doubles, and so must the mean.
    network, table = _network(MODELS[0]), _table(8)
    twice = Table(table.features.repeat(2, 1), table.labels.repeat(2))

    class NoNoise(_Ones):
        def standard_normal(self, size: int, key: bytes, nonce: bytes) -> Tensor:
            return torch.zeros(size, dtype=torch.float64)

    gradients = NoisyGradients.of(_spec(), FusedCpuClip(), RunNoise(NoNoise()))
    once = gradients.step(network, table, 1)
    torch.testing.assert_close(gradients.step(network, twice, 2), 2 * once, rtol=1e-5, atol=1e-7)


class _RecordingClip(FusedCpuClip):
    """Remembers the bound that it was asked to keep."""

    def __init__(self) -> None:
        self.bounds: list[float] = []

    def clip_and_sum_linear(
        self, layers: Sequence[LinearGradients], clip_norm: float
    ) -> ClippedSum:
        self.bounds.append(clip_norm)
        return super().clip_and_sum_linear(layers, clip_norm)


@pytest.mark.parametrize("written", ["0.1", "0.7", "0.3333333333333333333333"])
def test_rounding_of_c_goes_down_in_the_clip_and_up_in_the_noise(written: str) -> None:
    clip = _RecordingClip()
    spec = _spec(clip_norm_l2=Decimal(written), noise_multiplier=Decimal(1))
    gradients = NoisyGradients.of(spec, clip, RunNoise(FusedCpuNoise()))
    gradients.step(_network(MODELS[0]), _table(3), 1)
    (bound,) = clip.bounds
    assert Decimal(bound) <= Decimal(written) <= Decimal(gradients.standard_deviation)


def test_a_spec_without_noise_makes_no_step() -> None:
    with pytest.raises(ValueError, match="calibrated"):
        _gradients(_spec(noise_multiplier=None))


def test_a_step_number_that_does_not_go_up_is_refused() -> None:
    noise = RunNoise(FusedCpuNoise())
    noise.standard_normal(Stream.GRADIENT, 5, 3)
    for step in (5, 4, 0):
        with pytest.raises(ValueError, match="once"):
            noise.standard_normal(Stream.GRADIENT, step, 3)


def test_two_runs_never_share_a_key() -> None:
    keys: list[bytes] = []

    class Recorder(_Ones):
        def standard_normal(self, size: int, key: bytes, nonce: bytes) -> Tensor:
            keys.append(key)
            return super().standard_normal(size, key, nonce)

    for _ in range(50):
        RunNoise(Recorder()).standard_normal(Stream.GRADIENT, 1, 1)
    assert len(set(keys)) == 50
    assert {len(key) for key in keys} == {32}


def test_the_initial_weights_take_no_part_of_the_gradient_noise() -> None:
    noise = RunNoise(FusedCpuNoise())
    first = noise.standard_normal(Stream.INITIAL_WEIGHTS, 0, 64)
    second = noise.standard_normal(Stream.GRADIENT, 0, 64)
    assert not set(first.tolist()) & set(second.tolist())


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_the_optimizers_move_as_the_library_does(name: str) -> None:
    momentum = 0.9 if name == "sgd" else 0.0
    mine = make_optimizer(OptimizerSpec(name, 0.05, momentum), 7)  # type: ignore[arg-type]
    weights = _normals(7).float()
    theirs = torch.nn.Parameter(weights.clone())
    library: torch.optim.Optimizer = (
        torch.optim.SGD([theirs], lr=0.05, momentum=momentum)
        if name == "sgd"
        else torch.optim.Adam([theirs], lr=0.05)
    )
    for step in range(20):
        gradient = _normals(7, seed=step + 3).float()
        mine.step(weights, gradient)
        theirs.grad = gradient.clone()
        library.step()
    np.testing.assert_allclose(weights.numpy(), theirs.detach().numpy(), rtol=1e-4, atol=1e-6)
