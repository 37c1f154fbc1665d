"""What the canaries of a run cost beside the run: `dev.py bench audit` (R26).

The steps of one run with its canaries and of one without, in turn, by the code that a worker runs;
figures are CPU time, the median of ratios of neighbours with its quartiles, and the machine's load
is said beside them. Before anything is timed, the records' sums are held to be bit-equal with and
without canaries, and their noise to be what was claimed. Made-up records: only how many there are
costs time. The must is a share of the run: a tenth from 1,000,000 weights on, a half at 10,000.
Ends with 1 where a must falls short.
"""

import json
import os
import platform
import statistics
import sys
import time
from argparse import ArgumentParser
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

import torch

from app.domain.training.models import Logistic, Mlp, ModelSpec
from app.domain.training.spec import AuditSpec, OptimizerSpec, TrainSpec
from kernels.native.library import path_taken
from kernels.noise.source import NoiseSource
from kernels.private.model import privatize
from workers.engines.train.data import Table
from workers.engines.train.networks import build, made_up
from workers.engines.train.sampling import PoissonSampler
from workers.engines.train.steps import NoisyGradients, clip_of

CANARIES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Case:
    """A run. most: the share of its time that the canaries may take."""

    name: str
    model: ModelSpec
    inputs: int
    records: int
    rate: str
    most: float


CASES: Final = (
    Case("10,000 weights", Logistic(10), 999, 50_000, "0.01", 0.5),
    Case("1,000,000 weights", Mlp((1_000, 200), 10), 784, 50_000, "0.005", 0.1),
)


def run(case: Case, *, audited: bool) -> tuple[NoisyGradients, Table]:
    """The private part of a run and its records."""
    spec = TrainSpec(
        model=case.model,
        features=("x",),
        label="y",
        rate=Decimal(case.rate),
        normalise_by=case.records * float(case.rate),
        steps=1_000,
        clip_norm_l2=Decimal(1),
        noise_multiplier=Decimal(1),
        target=None,
        optimizer=OptimizerSpec("sgd", 0.1),
        physical_batch_max=256,
        evaluation=None,
        chunk_steps=25,
        checkpoint_every_steps=25,
        audit=AuditSpec(CANARIES, Decimal("1e-5")) if audited else None,
    )
    model = build(spec.model, case.inputs)
    private = privatize(model, clip_of(spec), made_up(spec.model, case.inputs)[:1])
    table = Table(torch.rand(case.records, case.inputs), torch.randint(0, 10, (case.records,)))
    return NoisyGradients.of(spec, private, NoiseSource()), table


class SameDraws:
    """Secret bytes of one step for both runs: how many records are drawn is most of the spread.

    Each run pays for fresh bytes, and the second one's are not used.
    """

    def __init__(self) -> None:
        """Begin before any step."""
        self.step = 0
        self._known: tuple[int, bytes] = (-1, b"")

    def __call__(self, count: int) -> bytes:
        """The bytes of this step."""
        fresh = os.urandom(count)
        if self._known[0] != self.step:
            self._known = (self.step, fresh)
        return self._known[1]


def hold(plain: NoisyGradients, audited: NoisyGradients, table: Table) -> None:
    """Refuse to time what is not the same run: equal sums, and a canary's noise as claimed.

    Raises:
        SystemExit: says which of the two is not so.
    """
    drawn, sums = plain.sampler.draw(len(table)), []
    for gradients in (plain, audited):
        gradients.clipped_sum(table, drawn)
        if gradients.canaries is not None:
            gradients.canaries.clipped_sum()
        sums.append([total.clone() for layer in gradients.sums() for total in layer])
    if not all(torch.equal(one, other) for one, other in zip(*sums, strict=True)):
        raise SystemExit("the records' sums differ with and without canaries")
    canaries = audited.canaries
    if canaries is None:
        raise SystemExit("the run has no canaries")
    audited.step(table, 0)
    # some 5,000 values a layer: six of their ratio's standard deviations, 1 in 100
    if any(abs(group.ratio - 1) > 0.06 for group in canaries.noise()):
        raise SystemExit("the canaries' noise is not what was claimed")


def measure(case: Case, rounds: int, steps: int) -> dict[str, Any]:
    """CPU milliseconds of a step, with and without canaries, by round.

    Each step is taken by both, one after the other and with the same records, and they take turns
    at being first: what others on the machine cost falls on both.
    """
    plain, table = run(case, audited=False)
    audited = replace(run(case, audited=True)[0], private=plain.private)
    hold(plain, audited, table)
    draws = SameDraws()
    sampler = PoissonSampler(Decimal(case.rate), draws)
    pair = [
        ("without", replace(plain, sampler=sampler)),
        ("with", replace(audited, sampler=sampler)),
    ]
    found: dict[str, list[float]] = {"without": [], "with": []}
    for turn in range(rounds + 1):
        taken = {"without": 0.0, "with": 0.0}
        for draws.step in range(turn * steps + 1, (turn + 1) * steps + 1):
            for name, gradients in pair[:: 1 if draws.step % 2 else -1]:
                began = time.process_time()
                gradients.step(table, draws.step)
                taken[name] += time.process_time() - began
        if turn > 0:  # the first warms up
            for name, seconds in taken.items():
                found[name].append(1e3 * seconds / steps)
    shares = [a / b - 1 for a, b in zip(found["with"], found["without"], strict=True)]
    return {"case": case.name, "most": case.most, "step_ms": found, "share": _quartiles(shares)}


def _quartiles(values: list[float]) -> list[float]:
    first, middle, last = statistics.quantiles(values, n=4)
    return [first, middle, last]


def main(arguments: list[str]) -> int:
    """Measure every case."""
    parser = ArgumentParser(prog="dev.py bench audit", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--steps", type=int, default=8, help="of a round")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    load = [os.getloadavg()[0]]
    results = [measure(case, asked.rounds, asked.steps) for case in CASES]
    load.append(os.getloadavg()[0])
    short = False
    for found in results:
        low, middle, high = found["share"]
        kept = middle <= found["most"]
        short |= not kept
        plain = statistics.median(found["step_ms"]["without"])
        print(
            f"  {found['case']:20} {plain:7.2f} ms a step, canaries take {middle:6.1%}"
            f" [{low:.1%}, {high:.1%}] of it more, must <= {found['most']:.0%}"
            f"{'' if kept else '  SHORT'}"
        )
    print(
        f"  load of the machine {load[0]:.1f} before, {load[1]:.1f} after, {os.cpu_count()} cores"
    )
    said = {"path": path_taken(), "platform": platform.platform(), "load": load}
    print(json.dumps({**said, "results": results}))
    return int(short)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
