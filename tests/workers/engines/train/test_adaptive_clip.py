"""Attacks on a C that moves: the charge of its counts, their noise, its ends, its canaries."""

import json
import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from app.domain.canaries import LEVEL
from app.domain.training.clipping import AdaptiveClip
from app.domain.training.spec import AuditSpec, TrainSpec
from tests.workers.engines.train.runs import MODELS, Ones, Silence, gradients, left, spec, table
from tests.workers.engines.train.small_work import Ledger, small_work
from workers.engines.train.adaptive_clip import RAMP, excess
from workers.engines.train.audit import audit_report
from workers.engines.train.engine import TrainingEngine

ADAPTIVE = AdaptiveClip(Decimal("0.5"), 0.2, Decimal(5), Decimal("0.07"), Decimal(7))
JSON = {"quantile": "0.5", "learning_rate": 0.2, "count_noise": "5", "low": "0.5", "high": "3"}


def followed(**changes: object) -> TrainSpec:
    return spec(**{"clip_adaptive": ADAPTIVE, **changes})


@pytest.mark.parametrize("noise", ["0.001", "0.7", "1.3", "20", "123456"])
@pytest.mark.parametrize("times", ["1", "1.0001", "3", "1e6"])
def test_gradient_and_count_together_lose_no_more_than_what_is_charged(
    noise: str, times: str
) -> None:
    """Exactly: the squared sensitivity of the two, each over its noise, is at most 1 / z^2."""
    count_noise = Decimal(noise) * Decimal(times)
    found = AdaptiveClip(Decimal("0.5"), 0.2, count_noise, Decimal(1), Decimal(2))
    own = Fraction(found.gradient_noise(Decimal(noise)))
    together = 1 / own**2 + 1 / (2 * Fraction(count_noise)) ** 2
    assert together <= 1 / Fraction(noise) ** 2
    assert together >= 1 / Fraction(noise) ** 2 * (1 - Fraction(1, 10**30))


@pytest.mark.parametrize("new", [0.0, 0.97, 1.0, 1.02, 5.0, math.nan, math.inf])
def test_one_record_moves_the_count_by_at_most_a_half(new: float) -> None:
    norms = torch.tensor([0.1, 0.99, 1.01, 40.0, math.inf], dtype=torch.float64)
    more = torch.cat([norms, torch.tensor([new], dtype=torch.float64)])
    moved = float(excess(more, 1.0)) - float(excess(norms, 1.0))
    assert abs(moved) <= 0.5
    if not abs(new - 1) <= RAMP:
        assert moved == (0.5 if new < 1 else -0.5)


def test_a_rounding_of_every_norm_moves_the_count_by_next_to_nothing() -> None:
    """Records that all lie at C: a count of whole records would jump by a thousand."""
    norms = torch.full((1000,), 0.7, dtype=torch.float64)
    assert abs(float(excess(norms * (1 + 1e-7), 0.7)) - float(excess(norms, 0.7))) < 1e-2


def test_the_noise_is_that_of_the_gradient_s_own_multiplier_and_of_the_count() -> None:
    noise = Ones()
    found = gradients(followed(), noise)
    found.step(table(0), 1)
    own = ADAPTIVE.gradient_noise(Decimal("1.3"))
    assert own > Decimal("1.3")
    update = left(found)
    torch.testing.assert_close(
        update, torch.full_like(update, float(own) * 0.7 / 64.0), rtol=4e-7, atol=0
    )
    assert noise.draws == 2
    # a count of 0 with noise of one deviation, 5 of 64 records above a half
    assert found.private.spec.bound == pytest.approx(0.7 * math.exp(-0.2 * 5 / 64), rel=1e-6)


@pytest.mark.parametrize("quantile", ["0.3", "0.5", "0.8"])
def test_c_comes_to_the_quantile_of_norms_that_stay(quantile: str) -> None:
    adaptive = AdaptiveClip(Decimal(quantile), 0.2, Decimal(5), Decimal("0.0001"), Decimal(1000))
    whole = table(64, MODELS[1])
    found = gradients(followed(clip_adaptive=adaptive, model=MODELS[1]), Silence())
    for step in range(1, 121):
        found.step(whole, step)
    bound = found.private.spec.bound
    found.clipped_sum(whole, torch.arange(64))
    norms = found.private.take_norms()
    assert norms.shape == (64,)
    assert float((norms <= bound).double().mean()) == pytest.approx(float(quantile), abs=0.06)


def test_every_step_clips_to_its_own_c() -> None:
    found = gradients(
        followed(
            clip_adaptive=AdaptiveClip(
                Decimal("0.9"), 1.0, Decimal(5), Decimal("0.001"), Decimal(7)
            )
        ),
        Silence(),
    )
    whole = table(1)
    bounds = []
    for step in range(1, 6):
        bounds.append(found.private.spec.bound)
        found.step(whole, step)
        assert float(left(found).norm()) * 64 <= bounds[-1] * (1 + 1e-6)
        assert found.follower is not None
        assert found.follower.last_norm == bounds[-1]
    assert len(set(bounds)) == 5


@pytest.mark.parametrize(("excess_", "end"), [(1e30, 0.07), (-1e30, 7.0)])
def test_no_noise_drives_c_past_its_public_ends(excess_: float, end: float) -> None:
    assert ADAPTIVE.moved(0.7, excess_, 64.0) == pytest.approx(end)
    assert 0.07 <= ADAPTIVE.moved(0.7, excess_, 64.0) <= 7.0


def test_canaries_are_in_no_count_and_leave_every_real_coordinate_as_it_is() -> None:
    found: list[list[Tensor]] = []
    for audit in (None, AuditSpec(2000, Decimal("1e-5"))):
        run = gradients(followed(audit=audit, model=MODELS[1]), Silence())
        found.append([])
        for step in range(1, 4):
            run.step(table(30, MODELS[1]), step)
            found[-1] += [left(run), torch.tensor(run.private.spec.bound)]
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.statistical
def test_canaries_follow_c_and_an_honest_run_agrees_with_its_claim() -> None:
    audit = AuditSpec(4000, Decimal("1e-5"))
    asked = followed(
        audit=audit,
        model=MODELS[1],
        rate=Decimal("0.05"),
        steps=60,
        noise_multiplier=Decimal(1),
        clip_adaptive=AdaptiveClip(Decimal("0.5"), 1.0, Decimal(1), Decimal("0.007"), Decimal(70)),
    )
    found, whole = gradients(asked), table(40, MODELS[1])
    bounds = set()
    for step in range(1, 61):
        found.step(whole, step)
        bounds.add(found.private.spec.bound)
    assert max(bounds) > 1.2 * min(bounds)
    assert found.canaries is not None
    said = audit_report(audit, found.canaries, *asked.parts(), relation="add_remove", steps_run=60)
    assert said["verdict"] == "consistent"
    assert said["p_value"] > LEVEL
    assert said["noise_ratios"] == [pytest.approx(1, abs=0.01)] * len(said["noise_ratios"])
    assert 0 < said["estimate_epsilon"] < said["claimed_epsilon"]


def test_a_run_says_the_c_of_its_last_step_and_what_the_gradient_s_noise_was(
    tmp_path: Path,
) -> None:
    work = small_work(tmp_path, clip={"mode": "flat", "norm_l2": "1", "adaptive": JSON})
    outcome = TrainingEngine().prepare(work).run(Ledger())
    norm = Decimal(outcome.result["clip_norm_l2"])
    assert Decimal("0.5") <= norm <= 3
    assert norm != 1
    card = json.loads((work.scratch / "card.json").read_text())
    assert card["privacy"]["clip"]["adaptive"] == JSON
    assert card["privacy"]["sensitivity_l2"] == outcome.result["clip_norm_l2"]
    assert card["privacy"]["noise_multiplier"] == "2"
    assert Decimal(card["privacy"]["gradient_noise_multiplier"]) > 2
    assert any("counts" in line for line in outcome.result["audit"]["not_covered"])
