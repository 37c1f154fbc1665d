"""The project stands alone: its own packages, its own lock, a wheel that can migrate a database."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import app
import kernels
import migrations
import workers

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()
# What git ignores and what others build.
NOT_OURS = (".*", "node_modules", "__pycache__", "build", "dist", "*.egg-info")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """The built wheel, from a copy of the sources: a build leaves files beside them."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*NOT_OURS))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--disable-pip-version-check", "--wheel-dir", str(folder), str(folder / "source")]
    subprocess.run(command, check=True, timeout=120)
    (built,) = folder.glob("*.whl")
    return zipfile.Path(built)


def files_of_the_project() -> Iterator[Path]:
    ignored = shutil.ignore_patterns(*NOT_OURS)
    waiting = [ROOT]
    while waiting:
        folder = waiting.pop()
        children = list(folder.iterdir())
        names = [child.name for child in children]
        left_out = ignored(str(folder), names) - {".ci", ".gitignore"}
        for child in children:
            if child.name in left_out or child.is_symlink():
                continue
            if child.is_dir():
                waiting.append(child)
            else:
                yield child


def locked() -> dict[str, list[str]]:
    """The versions of each distribution in the lock; more than one where a marker chooses."""
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", LOCK, flags=re.MULTILINE):
        versions.setdefault(canonicalize_name(name), []).append(version)
    return versions


@pytest.mark.parametrize("package", [app, workers, kernels, migrations], ids=lambda p: p.__name__)
def test_a_package_of_that_name_from_elsewhere_does_not_win(package: object) -> None:
    assert Path(str(package.__file__)).is_relative_to(ROOT)  # type: ignore[attr-defined]


def test_the_wheel_alone_can_migrate_a_database(wheel: zipfile.Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel.root.filename or "") as archive:
        archive.extractall(tmp_path / "site")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "import migrations; from app.db import migrate\n"
        f"assert migrations.__file__.startswith({str(tmp_path)!r}), migrations.__file__\n"
        f"url = 'sqlite:///{tmp_path}/ledger.sqlite3'\n"
        "migrate.upgrade(url)\n"
        "assert migrate.differences(url) == []\n"
    )
    subprocess.run([sys.executable, "-I", "-c", program], check=True, cwd=tmp_path, timeout=60)


def test_the_wheel_holds_three_packages_and_the_migrations_and_no_tests(
    wheel: zipfile.Path,
) -> None:
    folders = {child.name for child in wheel.iterdir() if not child.name.endswith(".dist-info")}
    assert folders == {"app", "workers", "kernels", "migrations"}
    assert (wheel / "app" / "py.typed").exists()
    reporting = wheel / "app" / "reporting"
    for path in ("data/frameworks.json", "schema/report.schema.json", "templates/report.typ"):
        assert reporting.joinpath(*path.split("/")).exists(), path
    assert (wheel / "migrations" / "script.py.mako").exists()
    assert any(file.name.endswith(".py") for file in (wheel / "migrations" / "versions").iterdir())


def test_the_api_starts_on_a_machine_without_torch() -> None:
    program = (
        "import sys\n"
        "for name in ('torch', 'triton', 'kernels', 'workers'): sys.modules[name] = None\n"
        "from app.main import create_app\n"
        "from app.settings import Settings\n"
        "assert create_app(Settings()).openapi()['paths']\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)


def test_no_file_of_the_project_reads_a_neighbouring_folder() -> None:
    outside = "../" + "shared"
    naming = [
        str(path.relative_to(ROOT))
        for path in files_of_the_project()
        if outside.encode() in path.read_bytes()
    ]
    assert naming == []


def test_every_range_of_the_project_is_met_by_the_lock() -> None:
    extras = PROJECT["optional-dependencies"]
    asked = [Requirement(text) for text in PROJECT["dependencies"]]
    asked += [Requirement(text) for texts in extras.values() for text in texts]
    versions = locked()
    unmet = [
        str(requirement)
        for requirement in asked
        if requirement.name != "torch"
        and not (
            (found := versions.get(canonicalize_name(requirement.name)))
            and all(requirement.specifier.contains(version) for version in found)
        )
    ]
    assert unmet == []


def test_every_distribution_of_the_lock_carries_a_hash() -> None:
    entries = re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.MULTILINE)
    entries = [entry for entry in entries if "==" in entry.partition("\n")[0]]
    assert len(entries) >= 60
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_torch_stands_in_its_own_file_alone_and_exact() -> None:
    lines = (ROOT / "requirements-torch.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) == 1
    assert pins[0] in PROJECT["optional-dependencies"]["worker"]
    assert re.fullmatch(r"torch==\d+\.\d+\.\d+", pins[0])
    assert "torch" not in locked()


def test_the_extras_are_those_that_the_readme_may_promise() -> None:
    assert {"worker", "postgres", "reports", "embedded", "dev"} <= set(
        PROJECT["optional-dependencies"]
    )
