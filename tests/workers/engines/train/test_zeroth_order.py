"""Attacks on training without gradients: one clamped number a record, noise once, some learning."""

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from app.domain.canaries import LEVEL
from app.domain.training.models import Mlp, ModelSpec
from app.domain.training.spec import AuditSpec
from kernels.noise.source import NoiseSource
from tests.workers.engines.train.runs import (
    MODELS,
    Ones,
    Silence,
    private,
    spec,
    table,
    without,
)
from tests.workers.engines.train.small_work import SPEC, Ledger, small_work
from workers.engines.train.audit import audit_report
from workers.engines.train.engine import TrainingEngine
from workers.engines.train.networks import losses
from workers.engines.train.noise import Stream
from workers.engines.train.zeroth_order import NoisyDifferences

models = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


def differences(noise: NoiseSource | None = None, **changes: object) -> NoisyDifferences:
    asked = spec(**{"algorithm": "dp_zo", **changes})
    return NoisyDifferences.of(asked, private(asked), noise or NoiseSource())


def left(found: NoisyDifferences) -> Tensor:
    grads = [p.grad for p in found.model.parameters() if p.grad is not None]
    return torch.cat([grad.double().flatten() for grad in grads])


@models
@pytest.mark.parametrize("clip_norm", ["0.001", "0.7", "1000"])
def test_removing_one_record_moves_the_sum_by_at_most_c(model: ModelSpec, clip_norm: str) -> None:
    found, whole = differences(model=model, clip_norm_l2=Decimal(clip_norm)), table(9, model)
    direction = found.direction(1)
    everybody = found.clamped_sum(whole, torch.arange(9), direction)
    for record in range(9):
        rest = found.clamped_sum(without(whole, record), torch.arange(8), direction)
        # float64 losses over 2h: rounding of other rows is all that is above C
        assert abs(float(everybody - rest)) <= float(clip_norm) + 1e-10


@pytest.mark.parametrize("model", MODELS[:3], ids=lambda model: model.name)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_record_that_breaks_the_arithmetic_adds_exactly_zero(
    model: ModelSpec, bad: float
) -> None:
    found, whole = differences(model=model), table(5, model)
    direction = found.direction(1)
    before = found.clamped_sum(whole, torch.arange(4), direction)
    whole.inputs[4] = bad
    after = found.clamped_sum(whole, torch.arange(5), direction)
    assert abs(float(after - before)) <= 1e-10


@models
def test_the_sum_is_that_of_the_records_slopes_along_the_direction(model: ModelSpec) -> None:
    """Against the gradients of a float64 copy."""
    asked: dict[str, Any] = {"model": model, "clip_norm_l2": Decimal(10**6)}
    found, whole = differences(physical_batch_max=4, difference_step=1e-4, **asked), table(9, model)
    direction = found.direction(1)
    total = found.clamped_sum(whole, torch.arange(9), direction)
    with torch.no_grad():
        for weight, place in zip(found.model.parameters(), found.twin.parameters(), strict=True):
            place.copy_(weight)

    inputs, labels = whole.rows(slice(None))
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    losses(found.twin, inputs, labels).sum().backward()  # type: ignore[no-untyped-call]
    slope = sum(
        float((p.grad * v).sum())
        for p, v in zip(found.twin.parameters(), direction, strict=True)
        if p.grad is not None
    )
    assert float(total) == pytest.approx(slope, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("physical", [1, 5, 100])
def test_the_noise_is_one_number_of_multiplier_times_c_along_the_direction(physical: int) -> None:
    noise = Ones()
    found = differences(noise, physical_batch_max=physical)
    found.step(table(0), 1)
    assert noise.draws == 2  # the direction, which is all ones here, and the one number
    update = left(found)
    torch.testing.assert_close(update, torch.full_like(update, 1.3 * 0.7 / 64.0), rtol=4e-7, atol=0)
    assert Decimal(found.standard_deviation) >= Decimal("1.3") * Decimal(found.bound)
    assert Decimal(found.bound) <= Decimal("0.7")


def test_each_step_has_a_direction_of_its_own_and_shares_no_number_with_the_noise() -> None:
    found, noise = differences(), NoiseSource()
    one, two = (torch.cat([v.flatten() for v in found.direction(step)]) for step in (1, 2))
    assert not set(one.tolist()) & set(two.tolist())
    seen = []
    for stream in Stream:
        values = torch.zeros(64)
        noise.add_gaussian_([values], 1.0, stream=stream, step=0)
        seen.append(set(values.tolist()))
    assert sum(map(len, seen)) == len(set().union(*seen))


def test_canaries_leave_every_weight_as_it_is() -> None:
    found = []
    for audit in (None, AuditSpec(2000, Decimal("1e-5"))):
        run = differences(Silence(), audit=audit, model=MODELS[1])
        # a direction that is the same in both
        direction = [torch.ones_like(p) for p in run.model.parameters()]
        found.append(run.clamped_sum(table(30, MODELS[1]), torch.arange(30), direction))
    assert torch.equal(*found)


class _Half(NoiseSource):
    """Half the noise of what is released, of records and canaries alike."""

    def add_gaussian_(self, sums: Any, standard_deviation: float, **where: int) -> None:
        share = 1.0 if where["stream"] == Stream.DIRECTIONS else 0.5
        super().add_gaussian_(sums, share * standard_deviation, **where)


@pytest.mark.statistical
@pytest.mark.parametrize("noise", [NoiseSource, _Half])
def test_the_audit_agrees_with_an_honest_run_and_refutes_half_the_noise(
    noise: type[NoiseSource],
) -> None:
    audit = AuditSpec(4000, Decimal("1e-5"))
    changes = {"rate": Decimal("0.05"), "steps": 60, "noise_multiplier": Decimal(1)}
    asked = spec(algorithm="dp_zo", model=Mlp((5,), 4), audit=audit, **changes)
    found = NoisyDifferences.of(asked, private(asked), noise())
    for step in range(1, 61):
        found.step(table(40), step)
    assert found.canaries is not None
    said = audit_report(audit, found.canaries, *asked.parts(), relation="add_remove", steps_run=60)
    assert said["noise_ratios"] == [pytest.approx(1 if noise is NoiseSource else 0.5, abs=0.01)]
    if noise is NoiseSource:
        assert said["verdict"] == "consistent"
        assert said["p_value"] > LEVEL
        assert 0 < said["estimate_epsilon"] < said["claimed_epsilon"]
    else:
        assert said["verdict"] == "refuted"


def test_a_run_learns_a_public_toy_and_says_how(tmp_path: Path) -> None:
    """A plane between two kinds of leaves: six numbers, 60 steps; chance is a half."""
    work = small_work(
        tmp_path,
        records=2000,
        algorithm="dp_zo",
        steps=60,
        chunk_steps=20,
        normalise_by=1000,
        clip={"mode": "flat", "norm_l2": "1"},
        optimizer={"name": "sgd", "learning_rate": 0.5},
    )
    plan = TrainingEngine().prepare(work)
    outcome = plan.run(Ledger())
    assert outcome.result["steps_run"] == 60
    with torch.no_grad():
        scores = plan.private.model(torch.tensor([[0.9, 0.2], [0.1, 0.9]]))
    assert scores.argmax(dim=1).tolist() == [1, 0]
    card = json.loads((work.scratch / "card.json").read_text())
    assert card["training"]["algorithm"] == "dp_zo"
    assert card["privacy"]["sensitivity_l2"] == "1"


def test_it_costs_what_dp_sgd_costs(tmp_path: Path) -> None:
    assert small_work(tmp_path, algorithm="dp_zo").parts == small_work(tmp_path).parts
    assert "difference_step" not in SPEC
