"""The audit that rides in every run: honest runs agree with their claim, planted faults do not."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import torch
from torch import Tensor

from app.domain.canaries import LEVEL
from app.domain.training.spec import AuditSpec, ModelSpec, TrainSpec
from kernels.clip.api import ClippedSum
from kernels.clip.fused_cpu import FusedCpuClip
from kernels.noise.fused_cpu import FusedCpuNoise
from tests.workers.engines.train.test_steps import INPUTS, _network, _spec, _table
from workers.engines.train.audit import audit_report
from workers.engines.train.canaries import ShadowCanaries
from workers.engines.train.noise import RunNoise, Stream
from workers.engines.train.sampling import PoissonSampler
from workers.engines.train.steps import NoisyGradients

MODEL = ModelSpec("mlp", (5,), 4)
AUDIT = AuditSpec(4000, Decimal("1e-5"))
STEPS = 60


def claimed(**changes: object) -> TrainSpec:
    """A run of epsilon 3 or so that carries canaries."""
    fields: dict[str, Any] = {
        "model": MODEL,
        "rate": Decimal("0.05"),
        "steps": STEPS,
        "noise_multiplier": Decimal(1),
        "audit": AUDIT,
    }
    return _spec(**{**fields, **changes})


def audited(
    spec: TrainSpec, spoil: Callable[[NoisyGradients], NoisyGradients] | None = None
) -> dict[str, Any]:
    """What the audit says of a run over a small table; `spoil` plants a fault before it."""
    network, table = _network(MODEL), _table(40)
    gradients = NoisyGradients.of(
        spec, FusedCpuClip(), RunNoise(FusedCpuNoise()), len(network.groups)
    )
    if spoil is not None:
        gradients = spoil(gradients)
    for step in range(1, STEPS + 1):
        gradients.step(network, table, step)
    assert spec.audit is not None
    assert gradients.canaries is not None
    (part,) = spec.parts()
    return audit_report(
        spec.audit, gradients.canaries, part, relation="add_remove", steps_run=STEPS
    )


@pytest.mark.statistical
def test_an_honest_run_agrees_with_its_claim_and_is_not_above_it() -> None:
    said = audited(claimed())
    assert said["verdict"] == "consistent"
    assert said["p_value"] > LEVEL
    assert 0 < said["estimate_epsilon"] < said["claimed_epsilon"]
    assert 0 <= said["bound_epsilon"] < said["claimed_epsilon"]
    assert said["noise_ratios"] == [pytest.approx(1, abs=0.01)] * 2


class _Unclipped(FusedCpuClip):
    def clip_and_sum_linear(self, layers: Any, clip_norm: float) -> ClippedSum:
        return super().clip_and_sum_linear(layers, 1000 * clip_norm)


class _Quieter(NoisyGradients):
    """Noise that is not what was claimed."""

    def deviation(self, group: int) -> float:
        return PART[group] * self.standard_deviation


PART = [1.0, 1.0]


class _Once(RunNoise):
    def standard_normal(self, stream: Stream, step: int, size: int) -> Tensor:
        normals = super().standard_normal(stream, step, size)
        return normals if step == 1 else torch.zeros_like(normals)


def quieter(*parts: float) -> Callable[[NoisyGradients], NoisyGradients]:
    def spoil(gradients: NoisyGradients) -> NoisyGradients:
        PART[:] = parts
        names = NoisyGradients.__dataclass_fields__
        return _Quieter(**{name: getattr(gradients, name) for name in names})

    return spoil


def with_canaries(**changes: Any) -> Callable[[NoisyGradients], NoisyGradients]:
    """The canaries of the same claim, drawn or clipped by what has the fault."""

    def spoil(gradients: NoisyGradients) -> NoisyGradients:
        fields = {
            "groups": 2,
            "rate": 0.05,
            "noise_multiplier": 1.0,
            "clip_norm": gradients.clip_norm,
            "clip": gradients.clip,
            "sampler": gradients.sampler,
        }
        canaries = ShadowCanaries(AUDIT.canaries, **{**fields, **changes})
        return replace(gradients, canaries=canaries)

    return spoil


FAULTS: dict[str, Callable[[NoisyGradients], NoisyGradients]] = {
    "noise halved": quieter(0.5, 0.5),
    "noise at 90%": quieter(0.9, 0.9),
    "one layer without noise": quieter(1.0, 0.0),
    "noise in the first step alone": lambda found: replace(found, noise=_Once(FusedCpuNoise())),
    "clipping off": with_canaries(clip=_Unclipped()),
    "true rate six times the claimed": with_canaries(sampler=PoissonSampler(Decimal("0.3"))),
}


@pytest.mark.statistical
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_refuted(name: str) -> None:
    said = audited(claimed(), FAULTS[name])
    assert said["verdict"] == "refuted", said


def test_the_records_sum_and_noise_are_bit_equal_with_and_without_canaries() -> None:
    sums = []
    for audit in (None, AUDIT):
        network = _network(MODEL)
        noise = RunNoise(FusedCpuNoise())
        noise._key = bytes(32)
        gradients = NoisyGradients.of(claimed(audit=audit), FusedCpuClip(), noise, 2)
        seen = _fixed_bytes()
        gradients = replace(gradients, sampler=PoissonSampler(Decimal("0.05"), seen))
        sums.append([gradients.step(network, _table(40), step) for step in range(1, 6)])
    for one, other in zip(*sums, strict=True):
        assert torch.equal(one, other)


def _fixed_bytes() -> Callable[[int], bytes]:
    draw = torch.Generator().manual_seed(9)
    return lambda size: bytes(torch.randint(256, (size,), generator=draw).tolist())


def test_a_member_adds_exactly_its_share_of_c_to_each_of_its_coordinates() -> None:
    canaries = ShadowCanaries(
        2000,
        groups=3,
        rate=1.0,
        noise_multiplier=1.0,
        clip_norm=0.7,
        clip=FusedCpuClip(),
        sampler=PoissonSampler(Decimal(1)),
        random_bytes=lambda size: b"\xaa" * size,
    )
    total = canaries.clipped_sum().view(3, 2000)
    member = torch.tensor([True, False]).repeat(1000)
    assert float(total[:, ~member].abs().max()) == 0.0
    share = 0.7 / 3**0.5
    assert float((total[:, member] - share).abs().max()) < 1e-6
    # never more than C from one canary, whatever its own norm was
    assert float(total.square().sum(dim=0).max()) <= 0.7**2


def test_runs_that_claim_no_curve_or_ran_no_step_say_that_they_are_not_covered() -> None:
    assert audited(claimed(noise_multiplier=Decimal("0.2")))["verdict"] == "not covered"
    spec = claimed()
    gradients = NoisyGradients.of(spec, FusedCpuClip(), RunNoise(FusedCpuNoise()), 2)
    assert gradients.canaries is not None
    said = audit_report(
        AUDIT, gradients.canaries, spec.parts()[0], relation="add_remove", steps_run=0
    )
    assert said["verdict"] == "not covered"


def test_groups_of_parameters_are_the_layers() -> None:
    network = _network(MODEL)
    sizes = [where.stop - where.start for where in network.groups]
    assert sizes == [(INPUTS + 1) * 5, 6 * 4]
    assert network.groups[-1].stop == network.weights.shape[0]
