"""64 threads in 2 processes ask for everything at once: nothing is overspent, nothing astray (L1).

A race is 10,000 requests of one seed, 640 where `--races` is not given: reservations over plain and
divided data, under windows and at edges, a share of them sent twice; starts, commits and voids that
meet; raises, lowers, moves and freezes by officers. Afterwards every sum is, to the last unit, what
the threads were told.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.services.recovery import Recovery
from tests.races.requests import PROCESSES
from tests.races.scene import stage
from tests.races.told import (
    answers_by_key,
    assert_never_overspent,
    assert_sums_are_those_told,
)
from tests.world import new_world

pytestmark = pytest.mark.processes

SHORT, FULL = 640, 10_000
SEEDS, ALL_SEEDS = (1, 2), range(1, 21)
RACES = [
    *((seed, SHORT) for seed in SEEDS),
    *(pytest.param(seed, FULL, marks=pytest.mark.races) for seed in ALL_SEEDS),
]
MOST_ARE_ADMITTED = 0.85
WITHIN_S = 1_500.0


def run(orders: dict[str, Any]) -> list[dict[str, Any]]:
    """Start the racing processes, let them begin together, and give what each was told."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.races.mixed_racer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    try:
        for process, racer in enumerate(racers):
            assert racer.stdin is not None
            racer.stdin.write(json.dumps({**orders, "process": process}) + "\n")
            racer.stdin.flush()
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        return [json.loads(racer.communicate(timeout=WITHIN_S)[0]) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(("seed", "requests"), RACES)
def test_whoever_comes_first_every_sum_is_what_was_told_and_no_limit_is_passed(
    make_session: sessionmaker[Session],
    database_url: str,
    tmp_path: Path,
    seed: int,
    requests: int,
) -> None:
    with new_world(make_session, tmp_path) as world:
        scene = stage(world, requests=requests)
        orders = {
            "database_url": database_url,
            "home": str(tmp_path),
            "scene": scene.to_json(),
            "seed": seed,
            "requests": requests,
        }
        racers = run(orders)
        assert [each["unexpected"] for each in racers] == [[], []]
        told = [each for racer in racers for each in racer["told"]]
        assert len(told) == requests

        assert_sums_are_those_told(world, scene, seed, told)
        assert_never_overspent(world)
        assert world.verified()
        # the witness knows of no touch that the database does not
        found = Recovery(world.make_session, world.journal.folder, None).compare(everything=True)
        assert (found.missing, found.unsettled) == (0, 0)

        answers = answers_by_key(told)
        outcomes = Counter("id" in each for each in answers.values())
        assert MOST_ARE_ADMITTED * len(answers) <= outcomes[True] < len(answers)
        # the race was one: keys came twice, and reservations were ended by two at once
        assert sum(each["act"] == "reserve" for each in told) > len(answers)
        assert {"raise", "lower", "transfer", "freeze"} < {each["act"] for each in told}
        assert {"posted", "voided", "touched", "already-resolved"} <= {
            each.get("outcome") for each in told
        }
