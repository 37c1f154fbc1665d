"""The audit that rides in every run: honest runs agree with their claim, planted faults do not."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from app.domain.canaries import LEVEL, gaussian_estimate, gdp_epsilon, one_run_bound
from app.domain.training.clipping import ClipMode
from app.domain.training.models import Mlp, ModelSpec
from app.domain.training.spec import AuditSpec, TrainSpec
from kernels.noise.source import NoiseSource
from kernels.private.model import PrivateModel, privatize
from kernels.private.spec import ClipSpec
from tests.workers.engines.train.runs import MODELS, gradients, left, private, spec, table
from workers.engines.train.audit import audit_report
from workers.engines.train.canaries import ShadowCanaries
from workers.engines.train.sampling import PoissonSampler
from workers.engines.train.steps import NoisyGradients, clip_of

MODEL = Mlp((5,), 4)
AUDIT = AuditSpec(4000, Decimal("1e-5"))
STEPS = 60
Spoil = Callable[[NoisyGradients], NoisyGradients]


def claimed(**changes: object) -> TrainSpec:
    """A run of epsilon 3 or so that carries canaries."""
    fields: dict[str, Any] = {
        "model": MODEL,
        "rate": Decimal("0.05"),
        "steps": STEPS,
        "noise_multiplier": Decimal(1),
        "audit": AUDIT,
    }
    return spec(**{**fields, **changes})


def audited(asked: TrainSpec, spoil: Spoil | None = None) -> dict[str, Any]:
    """What the audit says of a run over a small table; `spoil` plants a fault before it."""
    whole, found = table(40, asked.model), gradients(asked)
    if spoil is not None:
        found = spoil(found)
    for step in range(1, STEPS + 1):
        found.step(whole, step)
    assert asked.audit is not None
    assert found.canaries is not None
    (part,) = asked.parts()
    return audit_report(asked.audit, found.canaries, part, relation="add_remove", steps_run=STEPS)


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("model", "mode"),
    [*((MODEL, mode) for mode in get_args(ClipMode)), *((model, "flat") for model in MODELS[2:])],
    ids=lambda part: getattr(part, "name", part),
)
def test_an_honest_run_agrees_with_its_claim_and_is_not_above_it(
    model: ModelSpec, mode: ClipMode
) -> None:
    said = audited(claimed(model=model, clip_mode=mode))
    assert said["verdict"] == "consistent"
    assert said["p_value"] > LEVEL
    assert 0 < said["estimate_epsilon"] < said["claimed_epsilon"]
    assert 0 <= said["bound_epsilon"] < said["claimed_epsilon"]
    layers = len(private(claimed(model=model)).layers())
    assert said["noise_ratios"] == [pytest.approx(1, abs=0.01)] * layers


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.statistical
@pytest.mark.parametrize("mode", ["flat", "per_layer"])
def test_two_hundred_honest_runs_are_never_above_theory_and_their_medians_come_near_it(
    mode: ClipMode,
) -> None:
    """Every record in every step, 10,000 canaries: the figures that the design asks for."""
    audit = AuditSpec(10_000, Decimal("1e-5"))
    asked = claimed(
        rate=Decimal(1), steps=4, noise_multiplier=Decimal(2), audit=audit, clip_mode=mode
    )
    truth = gdp_epsilon(1.0, 1e-5)  # sqrt(4) / 2
    whole, (part,) = table(8), asked.parts()
    found: dict[str, list[float]] = {"estimate_epsilon": [], "bound_epsilon": []}
    for seed in range(200):
        run = gradients(asked)
        for step in range(1, 5):
            run.step(whole, step)
        assert run.canaries is not None
        said = audit_report(audit, run.canaries, part, relation="add_remove", steps_run=4)
        assert said["verdict"] == "consistent"
        assert truth <= said["claimed_epsilon"] <= truth + 0.25  # a claim stands on a grid
        for name, figures in found.items():
            figures.append(said[name] / truth)
        scores, strict = run.canaries.scores(), {"delta": 1e-5, "significance": LEVEL}
        assert gaussian_estimate(scores, seed=seed, **strict) <= truth
        assert one_run_bound(scores, claimed_mu=1.0, **strict) <= truth
    medians = {name: statistics.median(figures) for name, figures in found.items()}
    assert medians["estimate_epsilon"] >= 0.85, medians
    assert medians["bound_epsilon"] >= 0.65, medians
    print(mode, medians)  # noqa: T201 - the figures of `-rP`


def _unclipped(model: nn.Module, clip: ClipSpec, example: tuple[Tensor]) -> PrivateModel:
    return privatize(model, replace(clip, bound=1000 * clip.bound), example)


class _Spoilt(NoiseSource):
    """Noise that is not what was claimed: a share of it for each layer and step.

    It is asked for tensors, of records two a layer and of canaries one.
    """

    def __init__(self, shares: Sequence[float], steps: int = STEPS) -> None:
        super().__init__()
        self.shares, self.steps = shares, steps

    def add_gaussian_(
        self, sums: Sequence[Tensor], standard_deviation: float, *, stream: int, step: int
    ) -> None:
        for place, total in enumerate(sums):
            share = self.shares[place * len(self.shares) // len(sums)]
            noise = torch.zeros_like(total)
            super().add_gaussian_(
                [noise], standard_deviation, stream=stream, step=step * 64 + place
            )
            total.add_(noise, alpha=share if step <= self.steps else 0.0)


def noisy(*shares: float, steps: int = STEPS) -> Spoil:
    """Another source of noise."""
    return lambda found: replace(found, noise=_Spoilt(shares, steps))


def with_canaries(**changes: Any) -> Spoil:
    """The canaries of the same claim, drawn or clipped by what has the fault."""

    def spoil(found: NoisyGradients) -> NoisyGradients:
        fields = {
            "layers": 2,
            "rate": 0.05,
            "noise_multiplier": 1.0,
            "clip": found.private.spec,
            "sampler": found.sampler,
        }
        return replace(found, canaries=ShadowCanaries(AUDIT.canaries, **{**fields, **changes}))

    return spoil


FAULTS: dict[str, Spoil] = {
    "noise halved": noisy(0.5, 0.5),
    "noise at 90%": noisy(0.9, 0.9),
    "one layer without noise": noisy(1.0, 0.0),
    "noise in the first step alone": noisy(1.0, 1.0, steps=1),
    "clipping off": with_canaries(private=_unclipped),
    "true rate six times the claimed": with_canaries(sampler=PoissonSampler(Decimal("0.3"))),
}


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((name, "flat") for name in FAULTS),
        *((name, "per_layer") for name in ("one layer without noise", "clipping off")),
    ],
)
def test_a_planted_fault_is_refuted(name: str, mode: ClipMode) -> None:
    said = audited(claimed(clip_mode=mode), FAULTS[name])
    assert said["verdict"] == "refuted", said


@pytest.mark.parametrize("mode", get_args(ClipMode))
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_records_sum_and_noise_are_bit_equal_with_and_without_canaries(
    model: ModelSpec, mode: ClipMode
) -> None:
    sums = []
    for audit in (None, AUDIT):
        noise = NoiseSource()
        noise._key = bytes(32)
        found = gradients(claimed(model=model, audit=audit, clip_mode=mode), noise)
        found = replace(found, sampler=PoissonSampler(Decimal("0.05"), _fixed_bytes()))
        for step in range(1, 6):
            found.step(table(40, model), step)
            sums.append(left(found))
    for one, other in zip(sums[:5], sums[5:], strict=True):
        assert torch.equal(one, other)


def _fixed_bytes() -> Callable[[int], bytes]:
    draw = torch.Generator().manual_seed(9)
    return lambda size: bytes(torch.randint(256, (size,), generator=draw).tolist())


@pytest.mark.parametrize("mode", get_args(ClipMode))
@pytest.mark.parametrize("rate", ["1", "0.01"])
def test_a_member_adds_exactly_its_share_of_c_to_each_of_its_coordinates(
    mode: ClipMode, rate: str
) -> None:
    canaries = ShadowCanaries(
        2000,
        layers=3,
        rate=float(rate),
        noise_multiplier=1.0,
        clip=clip_of(claimed(clip_mode=mode)),
        sampler=PoissonSampler(Decimal(1)),  # also more at once than were expected
        random_bytes=lambda size: b"\xaa" * size,
    )
    total = canaries.clipped_sum()
    member = torch.tensor([True, False]).repeat(1000)
    assert float(total[:, ~member].abs().max()) == 0.0
    share = 0.7 / 3**0.5
    assert float((total[:, member] - share).abs().max()) < 1e-6
    # never more than C from one canary, whatever its own norm was
    assert float(total.double().square().sum(dim=0).max()) <= 0.7**2


def test_runs_that_claim_no_curve_or_ran_no_step_say_that_they_are_not_covered() -> None:
    assert audited(claimed(noise_multiplier=Decimal("0.2")))["verdict"] == "not covered"
    asked = claimed()
    found = gradients(asked)
    assert found.canaries is not None
    said = audit_report(AUDIT, found.canaries, asked.parts()[0], relation="add_remove", steps_run=0)
    assert said["verdict"] == "not covered"


def test_a_tied_embedding_and_its_head_are_one_layer() -> None:
    found = private(claimed(model=MODELS[3]))
    names = {id(p): name for name, p in found.model.named_parameters()}
    layers = [[names[id(p)] for p in layer] for layer in found.layers()]
    assert [name for layer in layers for name in layer].count("token.weight") == 1
    assert sum(len(layer) for layer in layers) == len(names)
