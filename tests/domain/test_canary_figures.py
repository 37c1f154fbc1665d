"""Our audit's figures beside those that JAX-Privacy gives for the same counts (R26)."""

import json
from pathlib import Path

import pytest

from benchmarks.audit_peer import TOLERANCE, gaps

FIGURES = json.loads(Path("tests/data/jax-privacy-figures.json").read_text())
LEAST = {"clopper_pearson": 30, "one_run": 80, "gaussian": 8}


@pytest.mark.parametrize("kind", LEAST)
def test_a_figure_is_that_of_the_peer_and_never_above_it(kind: str) -> None:
    found = gaps(FIGURES)[kind]
    assert len(found) >= LEAST[kind]
    assert min(found) >= -1e-6, "ours claims more than the peer's"
    assert max(found) <= TOLERANCE
