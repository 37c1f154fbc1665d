"""The demo, as a newcomer runs it: every claim that it prints is checked against the facts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.processes
def test_the_demo_governs_real_data_from_registration_to_refusal(tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("EPSILON_")
    }
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo", "--once", "--json"],
        check=False,
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["query"]["worst_error_in_half_widths"] <= 5
    assert facts["charge"]["independent_repricing_agrees"]
    assert facts["refusal"]["type"] == "/problems/budget-exceeded"
    assert facts["resubmitted"]["fits"]
    assert facts["resubmitted"]["one_more"] == 409
    assert facts["training"]["accuracy"] >= 0.88
    assert facts["training"]["seconds"] <= 60
    assert float(facts["training"]["epsilon"]) <= 8
    assert facts["training"]["independent_repricing_agrees"]
    assert facts["report"]["state"] == "ready"
    assert facts["report"]["status_counts"]["satisfied"] > 0
    figure = facts["training"]["if_fixed_in_advance"]
    assert 4 < float(figure["epsilon"]) < float(facts["training"]["epsilon"])
    assert figure["delta"] == "1e-5"
    assert facts["chain"]["verified"]
