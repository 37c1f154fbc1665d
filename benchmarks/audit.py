"""What the canaries of a run cost beside the run: `dev.py bench audit` (R26).

The steps of one run with its canaries and of one without, in turn, by the code that a worker runs;
figures are CPU time, the median of ratios within a round with its quartiles. Made-up records: only
how many there are costs time. The must is a share of the run: a tenth from 1,000,000 weights on, a
half at 10,000. Ends with 1 where a must falls short.
"""

import json
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


def measure(case: Case, rounds: int, steps: int) -> dict[str, Any]:
    """CPU milliseconds of a step, with and without canaries, by round."""
    plain, table = run(case, audited=False)
    audited = replace(run(case, audited=True)[0], private=plain.private)
    found: dict[str, list[float]] = {"without": [], "with": []}
    number = 0
    for turn in range(rounds + 1):
        pair = [("without", plain), ("with", audited)]
        for name, gradients in pair[:: 1 if turn % 2 else -1]:
            began = time.process_time()
            for _ in range(steps):
                number += 1
                gradients.step(table, number)
            if turn > 0:  # the first warms up
                found[name].append(1e3 * (time.process_time() - began) / steps)
    shares = [a / b - 1 for a, b in zip(found["with"], found["without"], strict=True)]
    return {"case": case.name, "most": case.most, "step_ms": found, "share": _quartiles(shares)}


def _quartiles(values: list[float]) -> list[float]:
    first, middle, last = statistics.quantiles(values, n=4)
    return [first, middle, last]


def main(arguments: list[str]) -> int:
    """Measure every case."""
    parser = ArgumentParser(prog="dev.py bench audit", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results = [measure(case, asked.rounds, asked.steps) for case in CASES]
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
    print(json.dumps({"path": path_taken(), "platform": platform.platform(), "results": results}))
    return int(short)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
