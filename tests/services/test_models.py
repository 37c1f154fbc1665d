"""Attacks on installed models: torch in the service, schemas that bound nothing, stolen names."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.domain.errors import InvalidParameter
from app.domain.training.installed import InstalledModel
from app.domain.training.registry import MODELS
from app.services.models import Installed, read_installed
from tests.installing import PACKAGE, install, reached

GOOD = ("tried_good",)


def _installed(folder: Path, change: tuple[str, str] | None = None) -> Installed:
    """The package with one model, after one change of its description."""
    install(folder, GOOD)
    file = folder / PACKAGE / "tried_good.py"
    if change is not None:
        text = file.read_text()
        assert change[0] in text
        file.write_text(text.replace(*change, 1))
    with reached(folder):
        return read_installed()


def test_an_installed_model_stands_beside_ours(tmp_path: Path) -> None:
    installed = _installed(tmp_path)
    assert list(installed.models) == [*MODELS, "tried_good"]
    assert not installed.faults
    options = installed.models["tried_good"].to_json()["options"]
    assert set(options["properties"]) == {"width", "classes"}
    assert options["additionalProperties"] is False


def test_reading_what_is_installed_loads_no_torch(tmp_path: Path) -> None:
    install(tmp_path)
    code = (
        "import sys; from app.services.models import read_installed; "
        "assert len(read_installed().entries) == 6; assert 'torch' not in sys.modules"
    )
    environment = {"PYTHONPATH": f"{tmp_path}:{Path.cwd()}", "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_a_description_that_loads_torch_is_not_usable(tmp_path: Path) -> None:
    install(tmp_path, GOOD)
    file = tmp_path / PACKAGE / "tried_good.py"
    file.write_text("import torch\n" + file.read_text())
    code = (
        "from app.services.models import read_installed; found = read_installed(); "
        "assert not found.entries; assert 'loads torch' in found.faults['tried_good']"
    )
    environment = {"PYTHONPATH": f"{tmp_path}:{Path.cwd()}", "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('name = "tried_good"', 'name = "mlp"'), "/name"),
        (('name = "tried_good"', 'name = "Mlp; DROP"'), "/name"),
        (('title = "A', 'headline = "A'), "/title"),
        ((".networks:tried_good", ".networks"), "/builder"),
        (('"maximum": 64, ', ""), "/schema/properties/width/maximum"),
        (('"default": 4', '"default": 65'), "/schema/properties/width/default"),
        (('"default": 4', '"multipleOf": 2'), "/schema/properties/width/multipleOf"),
        (('"width": {"type": "integer"', '"name": {"type": "integer"'), "/schema/properties"),
        (('"type": "object",', '"type": "object", "allOf": [],'), "/schema/allOf"),
        (('{"width": 3,', '{"width": 65,'), "/examples/0/width"),
        (("examples = [", "samples = ["), "/examples"),
        (("def parameters(", "def counted("), "/examples/0"),
        (("return (inputs + 1)", "return -(inputs + 1)"), "/examples/0"),
        (('title = "A', 'raise SystemError; title = "A'), "SystemError"),
    ],
)
def test_a_description_that_is_not_one_is_named_and_takes_nothing_with_it(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    installed = _installed(tmp_path, change)
    assert not installed.entries
    assert said in installed.faults["tried_good"]
    assert list(installed.models) == list(MODELS)


def test_two_packages_cannot_bring_one_name(tmp_path: Path) -> None:
    install(tmp_path, GOOD)
    points = next(tmp_path.glob("*.dist-info")) / "entry_points.txt"
    points.write_text(points.read_text() + f"z_again = {PACKAGE}.tried_good\n")
    with reached(tmp_path):
        installed = read_installed()
    assert list(installed.entries) == ["tried_good"]
    assert "this name" in installed.faults["z_again"]


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"width": 65}, "/m/width"),
        ({"width": "4"}, "/m/width"),
        ({"width": True}, "/m/width"),
        ({"depth": 2}, "/m/depth"),
        ({"classes": 3}, "/m/classes"),
    ],
)
def test_an_option_that_its_schema_does_not_take_is_refused_where_it_stands(
    tmp_path: Path, options: dict[str, object], pointer: str
) -> None:
    model = _installed(tmp_path).models["tried_good"]
    with pytest.raises(InvalidParameter) as refusal:
        model.parse({"name": "tried_good", **options}, "/m", 2, 5)
    assert refusal.value.pointer == pointer


def test_a_default_stands_in_the_stored_form(tmp_path: Path) -> None:
    model = _installed(tmp_path).models["tried_good"].parse({"name": "tried_good"}, "/m", 2, 5)
    assert isinstance(model, InstalledModel)
    assert model.to_json() == {"name": "tried_good", "width": 4, "classes": 2}
    assert model.parameters(5) == 6 * 4 + 5 * 2


def test_another_version_of_a_package_is_examined_anew(tmp_path: Path) -> None:
    first = _installed(tmp_path / "one")
    install(tmp_path / "two", GOOD)
    metadata = next((tmp_path / "two").glob("*.dist-info")) / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.0", "1.1"))
    with reached(tmp_path / "two"):
        second = read_installed()
    assert first.entries["tried_good"].digest != second.entries["tried_good"].digest
