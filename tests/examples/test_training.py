"""The examples of training, in a short form: what they print is what the engine released."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from examples.training.run import EXAMPLES, prepare, with_privacy, without_privacy


def test_the_digits_are_learnt_with_and_without_privacy(tmp_path: Path) -> None:
    prepared = prepare(EXAMPLES["digits"], tmp_path)
    plain = without_privacy(prepared)
    private = with_privacy(prepared, "8")
    # 0.97 and 0.93 were measured; chance is 0.1
    assert plain.accuracy > 0.9
    assert private.accuracy > 0.85
    assert private.audit is not None
    assert private.audit["verdict"] == "consistent"
    assert private.audit["claimed_epsilon"] <= 8
    json.dumps(asdict(private), allow_nan=False)


def test_the_digits_are_learnt_from_one_number_a_record(tmp_path: Path) -> None:
    found = with_privacy(
        prepare(EXAMPLES["digits"], tmp_path),
        "8",
        algorithm="dp_zo",
        model={"name": "logistic"},
        steps=300,
        clip={"mode": "flat", "norm_l2": "10"},
        optimizer={"name": "sgd", "learning_rate": 0.03},
    )
    # 0.74 was measured, where gradients of the same model give more; chance is 0.1
    assert found.accuracy > 0.5
    assert found.audit is not None
    assert found.audit["verdict"] == "consistent"


@pytest.mark.long
@pytest.mark.parametrize("name", ["images", "text"])
def test_the_larger_sets_are_fetched_and_learnt_better_than_by_chance(
    name: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "examples.training", name, "--one", "8"]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    # a space is the commonest character, about one in six
    assert found["accuracy"] > (0.5 if name == "images" else 0.2)
    assert found["audit"]["verdict"] == "consistent"
