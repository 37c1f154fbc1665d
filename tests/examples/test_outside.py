"""Jobs of other tools: three lines put them under the ledger, and the ledger charges what ran."""

import difflib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kernels.bench.peers import FOLDER, prepare
from tests.api.conftest import on_sqlite
from tests.api.serving import serving
from tests.api.world import World, open_root, register

__all__ = ["on_sqlite"]

EXAMPLES = Path("examples/outside")
LINES_MOST = 3
RECORDS: dict[str, Any] = {"unit_of_privacy": {"kind": "record"}}


def ran(script: Path, folder: Path, *paths: Path, **environment: str) -> str:
    """What a script printed, run with the client file beside it and nothing of this house."""
    shutil.copyfile("app/client.py", folder / "epsilon_ledger.py")
    shutil.copyfile(script, folder / script.name)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("EPSILON_")}
    searched = os.pathsep.join([str(folder), *map(str, paths)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script.name],
        cwd=folder,
        env={**kept, **environment, "PYTHONPATH": searched, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def opacus() -> Path:
    """The environment that holds Opacus alone."""
    problem = prepare()
    assert problem is None, problem
    home = {"base": str(FOLDER), "platbase": str(FOLDER)}
    return Path(sysconfig.get_path("purelib", "venv", vars=home))


@pytest.fixture
def url(on_sqlite: World) -> Iterator[str]:
    with serving(on_sqlite) as address:
        yield address


def house(world: World, name: str) -> str:
    """A dataset of records under that name, with a root that the team may charge."""
    limit = {"epsilon": "8", "delta": "1e-6"}
    dataset = register(world, name=name, **RECORDS)
    return open_root(world, dataset, accountant="rdp-mix/1", limit=limit)


def entries(world: World, budget: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.ask(
        "GET", f"/budgets/{budget}/entries", by="auditor"
    ).json()["items"]
    return found


def charged(world: World, budget: str) -> dict[str, Any]:
    """The one entry that posts a spend."""
    (posted,) = [entry for entry in entries(world, budget) if entry["kind"] == "posted"]
    return posted


@pytest.mark.parametrize("name", ["opacus_loop", "opendp_script"])
def test_a_job_is_unchanged_but_for_three_lines(name: str) -> None:
    own = (EXAMPLES / f"{name}.py").read_text().splitlines()[1:]
    governed = (EXAMPLES / f"{name}_governed.py").read_text().splitlines()[1:]
    # what stands in the block is moved to the right by it
    changes = [
        line
        for line in difflib.ndiff([each.strip() for each in own], [e.strip() for e in governed])
        if line[0] in "+-"
    ]
    assert [line[0] for line in changes] == ["+"] * LINES_MOST, changes


def test_an_opacus_loop_is_charged_for_its_steps_and_for_no_other(
    on_sqlite: World, url: str, opacus: Path, tmp_path: Path
) -> None:
    budget = house(on_sqlite, "digits")
    said = {"EPSILON_URL": url, "EPSILON_API_KEY": on_sqlite.keys["ml_engineer"]}
    assert "60 steps ran" in ran(EXAMPLES / "opacus_loop.py", tmp_path, opacus)
    assert [entry["kind"] for entry in entries(on_sqlite, budget)] == ["opened"]
    assert "60 steps ran" in ran(EXAMPLES / "opacus_loop_governed.py", tmp_path, opacus, **said)
    posted = charged(on_sqlite, budget)
    (part,) = posted["parts"]
    assert part["units"] == 60
    assert part["mechanism"]["type"] == "poisson_sampled"
    # 1,797 records in batches of 64: the engine draws with probability 1/29
    assert Decimal(part["mechanism"]["rate"]) >= Decimal(1 / 29)
    assert part["mechanism"]["of"]["noise_multiplier"] == "1.1"


def test_an_opendp_script_is_charged_what_its_own_map_says(
    on_sqlite: World, url: str, tmp_path: Path
) -> None:
    budget = house(on_sqlite, "tumours")
    said = {"EPSILON_URL": url, "EPSILON_API_KEY": on_sqlite.keys["ml_engineer"]}
    assert "mean radius" in ran(EXAMPLES / "opendp_script_governed.py", tmp_path, **said)
    (part,) = charged(on_sqlite, budget)["parts"]
    assert part["mechanism"]["type"] == "pure"
    # one record moves the mean of 500 clamped values by at most 24 / 500, and the scale is 0.2
    assert Decimal("0.24") <= Decimal(part["mechanism"]["epsilon"]) <= Decimal("0.2401")
