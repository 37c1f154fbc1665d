"""Races: 8 threads in 2 processes at a limit whose edge is exactly 100 reservations (L1)."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.domain.accounting.filters import make_policy
from app.domain.accounting.prices import price
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Limit, Loss
from tests.world import new_world

EDGE = 100
PROCESSES = 2
THREADS_EACH = 4
TRIES_EACH = 20  # 160 requests in all for 100 places
PURE = {"type": "pure", "epsilon": "0.01"}


def gaussian_with_its_edge_at_a_hundred() -> dict[str, str]:
    """A Gaussian of which exactly 100 fit an empty rdp-mix/1 budget of (1, 1e-6)."""
    policy = make_policy("rdp-mix/1", Limit(Decimal("1"), Decimal("1e-6")), Decimal("0.9"))

    def edge(noise: int) -> int:
        mechanism = {"type": "gaussian", "noise_multiplier": str(Decimal(noise) / 100)}
        each = price(parse_mechanism(mechanism), "add_remove").charge(1)
        held, count = Loss.zero(), 0
        while count <= EDGE and policy.admits(held + each):
            held, count = held + each, count + 1
        return count

    low, high = 1000, 20000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if edge(middle) >= EDGE else (middle, high)
    assert edge(high) == EDGE
    return {"type": "gaussian", "noise_multiplier": str(Decimal(high) / 100)}


@pytest.mark.processes
@pytest.mark.parametrize("accountant", ["pure/1", "rdp-mix/1"])
def test_exactly_as_many_are_admitted_as_fit_whoever_comes_first(
    make_session: sessionmaker[Session], database_url: str, tmp_path: Path, accountant: str
) -> None:
    delta, mechanism = "0", dict(PURE)
    if accountant == "rdp-mix/1":
        delta, mechanism = "1e-6", gaussian_with_its_edge_at_a_hundred()
    with new_world(make_session, tmp_path) as world:
        root = world.open_root(accountant, "1", delta)
        plan = {
            "database_url": database_url,
            "engineer": str(world.engineer.principal_id),
            "projects": [str(project) for project in world.engineer.project_ids],
            "dataset": str(world.dataset_id),
            "budget": str(root),
            "mechanism": mechanism,
            "threads": THREADS_EACH,
            "tries": TRIES_EACH,
        }
        racers = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.races.racer", json.dumps(plan)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(PROCESSES)
        ]
        results = [json.loads(racer.communicate(timeout=240)[0]) for racer in racers]
        assert sum(result["admitted"] for result in results) == EDGE
        tries = PROCESSES * THREADS_EACH * TRIES_EACH
        assert sum(result["refused"] for result in results) == tries - EDGE
        budget = world.budget(root)
        each = price(parse_mechanism(mechanism), "add_remove").charge(1)
        assert budget.reserved == sum([each] * EDGE, Loss.zero())
        assert budget.last_seq == EDGE + 1
        assert world.verified()
