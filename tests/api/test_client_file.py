"""The client file alone: served as it stands, importing httpx and nothing else of ours or others'.

The environment of the last test is new and holds copies of httpx and of what httpx asks for, so it
proves that the file runs a whole reservation with these and the standard library: not that a
package index would resolve the same versions.
"""

import ast
import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from hashlib import sha256
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from app.main import create_app
from app.settings import Settings
from tests.api.serving import serving
from tests.api.world import TestClient, World, open_root, register

FILE = Path(__file__).parents[2] / "app" / "client.py"
PATH = "/client/epsilon_ledger.py"

PROGRAM = """
import importlib.util, json, sys
from types import SimpleNamespace as Object

sys.path.insert(0, sys.argv[1])
absent = ["app", "workers", "dp_accounting", "opendp", "numpy", "pydantic", "pip"]
assert not [name for name in absent if importlib.util.find_spec(name)], sys.path

from epsilon_ledger import EpsilonLedger, Refused, from_opacus

asked = json.loads(sys.argv[2])
sampler = type("UniformWithReplacementSampler", (), {"sample_rate": 0.01, "__len__": lambda s: 100})
parts = from_opacus([(1.1, 0.01, 10)], data_loader=Object(batch_sampler=sampler()))
mechanism = {"type": "pure", "epsilon": "0.01"}
with EpsilonLedger(asked["url"], asked["key"]) as ledger:
    inputs = asked["inputs"]
    with ledger.reservation(inputs=inputs, mechanism=mechanism, max_units=5, tool="t 1") as held:
        held.start(3)
    budget = ledger.get("/v1/budgets/" + inputs[0]["budget_id"])
    try:
        ledger.quote(inputs=inputs, parts=parts)
    except Refused as refused:
        raise SystemExit(refused.problem)
print(json.dumps({"reservation": held.id, "committed": budget["committed"]["epsilon"]}))
"""


def test_the_served_file_is_the_file_byte_by_byte_and_asks_for_no_key() -> None:
    answer = TestClient(create_app(Settings())).get(PATH)
    assert answer.status_code == 200
    assert answer.content == FILE.read_bytes()
    assert answer.headers["content-type"].startswith("text/x-python")
    assert answer.headers["etag"] == f'"{sha256(FILE.read_bytes()).hexdigest()}"'


def test_the_file_needs_nothing_but_httpx_and_the_standard_library() -> None:
    tree = ast.parse(FILE.read_text("utf-8"))
    assert imported_by(tree.body) - sys.stdlib_module_names == {"httpx"}
    # what a caller asks for by name, or what is shown better where it is there
    asked_for = {"pandas", "polars", "pyarrow", "rich"}
    assert imported_by(ast.walk(tree)) - sys.stdlib_module_names == {"httpx", *asked_for}


def imported_by(nodes: Iterable[ast.AST]) -> set[str]:
    """The packages that some nodes import."""
    imported = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add((node.module or "").partition(".")[0])
    return imported


def test_the_file_runs_a_reservation_in_an_environment_that_holds_httpx_alone(
    on_sqlite: World, tmp_path: Path
) -> None:
    dataset = register(on_sqlite)
    inputs = [{"dataset_id": dataset, "version": 1, "budget_id": open_root(on_sqlite, dataset)}]
    folder = tmp_path / "carried"
    folder.mkdir()
    python = new_environment(tmp_path / "environment", with_only="httpx")
    with serving(on_sqlite) as url:
        (folder / "epsilon_ledger.py").write_bytes(on_sqlite.client.get(PATH).content)
        asked = {"url": url, "key": on_sqlite.keys["ml_engineer"], "inputs": inputs}
        # isolated: neither this folder, nor PYTHONPATH, nor the user's packages are looked at
        command = [str(python), "-I", "-c", PROGRAM, str(folder), json.dumps(asked)]
        ran = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
    assert ran.returncode == 0, ran.stderr + ran.stdout
    said = json.loads(ran.stdout)
    assert said["committed"] == "0.05"
    found = on_sqlite.ask("GET", f"/reservations/{said['reservation']}").json()
    assert found["state"] == "posted"


def new_environment(folder: Path, *, with_only: str) -> Path:
    """A virtual environment without pip that holds one distribution and what it asks for."""
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for each in needed(with_only).values():
        for file in each.files or ():
            target = site / file
            if ".." not in file.parts and file.suffix != ".pyc":
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), target)
    return folder / "bin" / "python"


def needed(name: str) -> dict[str, Distribution]:
    """A distribution of this environment and all that it asks for, without extras."""
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        at = waiting.pop()
        if at in found:
            continue
        found[at] = distribution(at)
        for text in found[at].requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found
