"""Attacks on the step: sensitivity end to end, noise once and in full, physical batches."""

import math
from decimal import Decimal
from typing import get_args

import pytest
import torch
from torch import Tensor

from app.domain.training.clipping import ClipMode
from app.domain.training.models import ModelSpec, TransformerLm
from app.domain.training.spec import OptimizerSpec, Precision
from kernels.noise.source import NoiseSource
from tests.workers.engines.train.runs import (
    MODELS,
    Ones,
    Silence,
    gradients,
    left,
    normals,
    private,
    spec,
    table,
    without,
)
from workers.engines.train.data import Table
from workers.engines.train.networks import losses
from workers.engines.train.noise import Stream
from workers.engines.train.optimizers import make_optimizer, set_rate, tell_noise
from workers.engines.train.sampling import PoissonSampler
from workers.engines.train.steps import NoisyGradients

models = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
modes = pytest.mark.parametrize("mode", get_args(ClipMode))


def _sum(found: NoisyGradients, whole: Table, drawn: Tensor) -> Tensor:
    found.clipped_sum(whole, drawn)
    return left(found)


@models
@modes
@pytest.mark.parametrize("clip_norm", ["0.01", "0.7", "1000"])
@pytest.mark.parametrize("precision", get_args(Precision))
def test_removing_one_record_moves_the_sum_by_at_most_c(
    model: ModelSpec, mode: ClipMode, clip_norm: str, precision: Precision
) -> None:
    asked = spec(model=model, clip_norm_l2=Decimal(clip_norm), clip_mode=mode, precision=precision)
    found, whole = gradients(asked), table(12, model)
    everybody = _sum(found, whole, torch.arange(12))
    # A product over another number of rows is rounded in another order, also of the others' rows.
    spare = 1e-5 * float(everybody.norm()) if precision == "float32" else 0.02 * float(clip_norm)
    for record in range(12):
        moved = everybody - _sum(found, without(whole, record), torch.arange(11))
        assert float(moved.norm()) <= float(clip_norm) + spare


@pytest.mark.parametrize("model", MODELS[:3], ids=lambda model: model.name)  # a token is finite
@modes
@pytest.mark.parametrize("bad", [math.nan, math.inf, 3e38])
def test_a_record_that_breaks_the_arithmetic_moves_the_sum_by_at_most_c(
    model: ModelSpec, mode: ClipMode, bad: float
) -> None:
    found, whole = gradients(spec(model=model, clip_mode=mode)), table(5, model)
    before = _sum(found, whole, torch.arange(4))
    whole.inputs[4] = bad
    moved = _sum(found, whole, torch.arange(5)) - before
    assert float(moved.norm()) <= 0.7 * (1 + 1e-6)


@models
@modes
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_let_no_record_through(
    model: ModelSpec, mode: ClipMode, bad: float
) -> None:
    found = gradients(spec(model=model, clip_mode=mode))
    with torch.no_grad():
        for parameter in found.private.model.parameters():
            parameter.fill_(bad)
    total = _sum(found, table(5, model), torch.arange(5))
    assert torch.equal(total, torch.zeros_like(total))


@models
@modes
@pytest.mark.parametrize("physical", [1, 3, 7, 40, 1000])
def test_physical_batches_give_the_sum_of_the_logical_batch(
    model: ModelSpec, mode: ClipMode, physical: int
) -> None:
    """Held against a float64 loop over the records."""
    asked = spec(model=model, clip_mode=mode, physical_batch_max=physical)
    found, whole, drawn = gradients(asked), table(40, model), torch.arange(0, 40, 2)
    expected = _loop(asked.model, private(asked).unwrap().double(), whole, drawn, mode)
    assert float((_sum(found, whole, drawn) - expected).norm()) <= 2e-6 * float(expected.norm())


def _loop(
    model: ModelSpec, module: torch.nn.Module, whole: Table, drawn: Tensor, mode: ClipMode
) -> Tensor:
    layers: list[list[torch.nn.Parameter]] = []
    for part in module.modules():
        known = {id(p) for held in layers for p in held}
        own = [p for p in part.parameters(recurse=False) if id(p) not in known]
        layers += [own] if own else []
    total = [[torch.zeros_like(p) for p in held] for held in layers]
    for record in drawn:
        rows = whole.inputs[record][None], whole.labels[record][None]
        inputs = rows[0] if isinstance(model, TransformerLm) else rows[0].double()
        module.zero_grad()
        losses(module, inputs, rows[1]).sum().backward()  # type: ignore[no-untyped-call]
        grads = [[p.grad for p in held if p.grad is not None] for held in layers]
        squares = [sum(float(g.square().sum()) for g in held) for held in grads]
        groups = len(layers) if mode == "per_layer" else 1
        for place, each in enumerate(grads):
            norm = math.sqrt(squares[place] if mode == "per_layer" else sum(squares))
            factor = min(1.0, 0.7 / math.sqrt(groups) / norm) if norm else 1.0
            for sums, g in zip(total[place], each, strict=True):
                sums.add_(g, alpha=factor)
    return torch.cat([t.flatten() for held in total for t in held])


@pytest.mark.parametrize("physical", [1, 5, 100])
def test_noise_is_added_once_a_logical_batch_whatever_the_physical_batches(physical: int) -> None:
    noise = Ones()
    gradients(spec(physical_batch_max=physical, model=MODELS[1]), noise).step(table(40), 1)
    assert noise.draws == 1


@pytest.mark.parametrize("divisor", [1.0, 64.0, 1000.0])
@pytest.mark.parametrize("clip_norm", ["0.001", "0.7", "30"])
@pytest.mark.parametrize("multiplier", ["0.5", "1.3", "20"])
@modes
def test_the_noise_is_exactly_multiplier_times_c_over_the_divisor(
    divisor: float, clip_norm: str, multiplier: str, mode: ClipMode
) -> None:
    asked = spec(
        model=MODELS[1],
        clip_norm_l2=Decimal(clip_norm),
        noise_multiplier=Decimal(multiplier),
        normalise_by=divisor,
        clip_mode=mode,
    )
    found = gradients(asked, Ones())
    found.step(table(0), 1)  # no record: the gradient is zero
    update = left(found)
    exact = float(multiplier) * float(clip_norm) / divisor
    torch.testing.assert_close(update, torch.full_like(update, exact), rtol=4e-7, atol=0)
    reached = Decimal(found.standard_deviation) / Decimal(found.private.sensitivity())
    assert reached >= Decimal(multiplier) * (1 - Decimal("1e-15"))


@pytest.mark.statistical
@models
def test_the_noise_of_empty_draws_has_the_stated_spread_at_level_1e_4(model: ModelSpec) -> None:
    found = gradients(spec(model=model, normalise_by=8.0))
    updates = []
    for step in range(1, 101):
        found.step(table(0, model), step)
        updates.append(left(found))
    everything = torch.cat(updates)
    spread = float(everything.square().mean().sqrt())
    assert spread == pytest.approx(
        1.3 * 0.7 / 8.0, rel=3.9 / math.sqrt(2 * everything.numel()) + 1e-6
    )


@models
def test_an_empty_draw_still_takes_a_step_of_noise_in_every_weight(model: ModelSpec) -> None:
    asked = spec(model=model)
    found = NoisyGradients(
        private=private(asked),
        sampler=PoissonSampler(Decimal("1e-9"), lambda size: b"\xff" * size),
        noise=NoiseSource(),
        noise_multiplier=1.0,
        divisor=1.0,
        physical_batch_max=4,
    )
    found.step(table(20, model), 1)
    parameters = list(found.private.model.parameters())
    assert left(found).numel() == sum(p.numel() for p in parameters)
    assert float(left(found).abs().min()) > 0


def test_the_divisor_does_not_follow_the_drawn_size() -> None:
    # Twice the same records: the sum doubles, and so must the mean.
    whole = table(8)
    twice = Table(whole.inputs.repeat(2, 1), whole.labels.repeat(2))
    found = gradients(spec(), Silence())
    found.step(whole, 1)
    once = left(found)
    found.step(twice, 2)
    torch.testing.assert_close(left(found), 2 * once, rtol=1e-5, atol=1e-7)


@modes
@pytest.mark.parametrize("written", ["0.1", "0.7", "0.3333333333333333333333"])
def test_rounding_of_c_goes_down_in_the_clip_and_up_in_the_noise(
    written: str, mode: ClipMode
) -> None:
    asked = spec(
        model=MODELS[1],
        clip_norm_l2=Decimal(written),
        noise_multiplier=Decimal(1),
        clip_mode=mode,
    )
    found = gradients(asked)
    assert Decimal(found.private.spec.bound) <= Decimal(written)
    assert Decimal(found.standard_deviation) >= Decimal(found.private.sensitivity())


def test_a_spec_without_noise_makes_no_step() -> None:
    with pytest.raises(ValueError, match="calibrated"):
        gradients(spec(noise_multiplier=None))


def test_the_canaries_and_the_first_weights_take_no_part_of_the_gradient_noise() -> None:
    noise, seen = NoiseSource(), []
    for stream in Stream:
        values = torch.zeros(64)
        noise.add_gaussian_([values], 1.0, stream=stream, step=0)
        seen.append(set(values.tolist()))
    assert not seen[0] & seen[1]
    assert not seen[1] & seen[2]


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_the_optimizers_move_as_the_library_does_where_there_is_no_noise(name: str) -> None:
    momentum = 0.9 if name == "sgd" else 0.0
    mine, theirs = (torch.nn.Parameter(normals(7)) for _ in range(2))
    asked = OptimizerSpec(name, 0.05, momentum)  # type: ignore[arg-type]
    ours = make_optimizer(asked, [mine])
    tell_noise(ours, 0.25)
    library: torch.optim.Optimizer = (
        torch.optim.SGD([theirs], lr=0.05, momentum=momentum)
        if name == "sgd"
        else torch.optim.Adam([theirs], lr=0.05)
    )
    for step in range(20):
        gradient = normals(7, seed=step + 3)
        for parameter, optimizer in ((mine, ours), (theirs, library)):
            parameter.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_adam_without_the_noise_s_variance_moves_as_far_as_adam_without_noise() -> None:
    """DP-AdamBC: noise of 30 times the gradient's size makes Adam's own steps 30 times shorter."""
    steps, signal, deviation = 4000, 0.01, 0.3
    reached = {}
    for corrects in (False, True):
        weights = torch.nn.Parameter(torch.zeros(200))
        asked = OptimizerSpec("adam", 0.001, corrects_noise=corrects)
        optimizer = make_optimizer(asked, [weights])
        tell_noise(optimizer, deviation**2)
        draw = torch.Generator().manual_seed(1)
        for _ in range(steps):
            weights.grad = signal + deviation * torch.randn(200, generator=draw)
            optimizer.step()
        reached[corrects] = float(-weights.detach().mean())
    assert reached[True] > 5 * reached[False]


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_a_schedule_climbs_to_its_rate_and_ends_near_zero_unless_constant(schedule: str) -> None:
    asked = OptimizerSpec("sgd", 2.0, schedule=schedule, warm_up_steps=4)  # type: ignore[arg-type]
    rates = [asked.rate_at(step, 20) for step in range(1, 21)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert max(rates) == 2.0
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert (rates[-1] < 0.2) == (schedule != "constant")
    optimizer = make_optimizer(asked, [torch.nn.Parameter(torch.zeros(1))])
    set_rate(optimizer, rates[-1])
    assert optimizer.param_groups[0]["lr"] == rates[-1]
