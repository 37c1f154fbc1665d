"""What the page is built from, and what comes of it: types as they are described, a small load."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from app.api.page import FOLDER, BuiltPage
from frontend import build

FIRST_LOAD_BYTES_MOST = 200_000
TYPES = build.FRONTEND / build.TYPES
DESCRIBED = build.ROOT / "openapi.yaml"
CHARTS = "recharts-"  # of every class name that the library of charts gives
FIRST_PAGE = "src/routes/overview/Overview.tsx"


def left_out(reason: str) -> None:
    """Skip, or fail where everything was promised to be there."""
    if os.environ.get("TEST_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def node() -> str:
    """A Node.js beside which the page's packages lie; nothing is fetched for it here."""
    if not build.MODULES.is_dir():
        left_out("needs the page's packages: `python3 dev.py test` brings them")
    return build.find_node(print)[0]


@pytest.fixture(scope="module")
def chunks() -> dict[str, Any]:
    """What was built, as the build tells of it."""
    if not BuiltPage().is_built:
        left_out("needs the built page: `python3 dev.py test` builds it where Node.js is")
    found: dict[str, Any] = json.loads((FOLDER / "manifest.json").read_text("utf-8"))
    return found


def loaded_with(chunks: dict[str, Any], *names: str) -> set[str]:
    """The files that the browser loads before the first line of these runs."""
    waiting, loaded = list(names), set()
    while waiting:
        if (name := waiting.pop()) not in loaded:
            loaded.add(name)
            waiting += chunks[name].get("imports", [])
    return {chunks[name]["file"] for name in loaded}


def sent_bytes(files: Iterable[str]) -> int:
    return sum(len(gzip.compress((FOLDER / file).read_bytes())) for file in files)


def draws_charts(files: Iterable[str]) -> bool:
    return any(CHARTS in (FOLDER / file).read_text("utf-8") for file in files)


def entry_of(chunks: dict[str, Any]) -> str:
    (found,) = (name for name, each in chunks.items() if each.get("isEntry"))
    return str(found)


def routes_of(chunks: dict[str, Any]) -> list[str]:
    found: list[str] = chunks[entry_of(chunks)]["dynamicImports"]
    assert len(found) > 15
    return found


def is_current(node: str, described: Path, types: Path) -> bool:
    command = [node, build.TYPES_MAKER, str(described), "--output", str(types), "--check"]
    done = subprocess.run(command, cwd=build.FRONTEND, capture_output=True, check=False)
    return done.returncode == 0


def test_the_types_of_the_page_are_what_the_description_of_the_api_says(node: str) -> None:
    assert is_current(node, DESCRIBED, TYPES), "python3 dev.py generate writes them"


def test_types_that_were_edited_are_found_out(node: str, tmp_path: Path) -> None:
    edited = tmp_path / "schema.d.ts"
    edited.write_text(TYPES.read_text("utf-8").replace("decision: ", "verdict: ", 1))
    assert edited.read_text() != TYPES.read_text("utf-8")
    assert not is_current(node, DESCRIBED, edited)


def test_a_description_that_was_edited_is_found_out(node: str, tmp_path: Path) -> None:
    edited = tmp_path / "openapi.yaml"
    edited.write_text(DESCRIBED.read_text("utf-8").replace("/v1/budgets:", "/v1/pots:", 1))
    assert edited.read_text() != DESCRIBED.read_text("utf-8")
    assert not is_current(node, edited, TYPES)


def test_the_check_of_the_page_holds_its_types_against_the_description(node: str) -> None:
    (check,) = (each for each in build.checks(print).values() if build.TYPES in each)
    assert check == [node, build.TYPES_MAKER, "../openapi.yaml", "--output", build.TYPES, "--check"]


def test_the_first_load_is_small(chunks: dict[str, Any]) -> None:
    assert 0 < sent_bytes(loaded_with(chunks, entry_of(chunks))) <= FIRST_LOAD_BYTES_MOST
    with_overview = loaded_with(chunks, entry_of(chunks), FIRST_PAGE)
    assert sent_bytes(with_overview) <= FIRST_LOAD_BYTES_MOST


def test_charts_come_only_after_the_page_that_shows_them(chunks: dict[str, Any]) -> None:
    assert draws_charts(each["file"] for each in chunks.values() if each["file"].endswith(".js"))
    early = [entry_of(chunks), *routes_of(chunks)]
    assert [name for name in early if draws_charts(loaded_with(chunks, name))] == []


def test_a_wheel_that_brings_no_node_is_told_of_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # programs that do nothing and succeed, as an installer does that finds its work done
    nothing = shutil.which("true")
    assert nothing is not None
    home = tmp_path / ".node"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").symlink_to(nothing)
    monkeypatch.setattr(build, "NODE_HOME", home)
    monkeypatch.setattr(sys, "executable", nothing)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.NotBuilt, match=r"\.node holds no Node\.js"):
        build.find_node(print)
