"""Without a network: the command lines are pip's own, and the list is closed under its hashes."""

import hashlib
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pip._internal.commands import create_command

from deploy import offline

ROOT = Path(__file__).parent.parent
FOLDER = Path("wheels")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        (words[0], words[1:])
        for words in [
            *offline.fill_commands(FOLDER, ROOT, torch_links="somewhere"),
            offline.install_command(FOLDER),
        ]
    ],
    ids=["packages", "torch", "project", "install"],
)
def test_pip_takes_each_command_line_as_it_is_meant(name: str, arguments: list[str]) -> None:
    # ends the process where an option is unknown or wants another value
    options, words = create_command(name).parse_args(arguments)
    assert options.ignore_dependencies
    if name == "install":
        assert options.no_index
        assert options.require_hashes
        # a machine's own settings of pip may add to these
        assert str(FOLDER) in options.find_links
    assert words == ([str(ROOT)] if name == "wheel" else [])
    assert [Path(each).name for each in options.requirements] in (
        [],
        ["install.txt"],
        ["requirements-torch.txt"],
    )


def test_the_page_shows_the_command_that_installs() -> None:
    shown = (ROOT / "docs" / "air-gapped.md").read_text("utf-8")
    assert f"epsilon/bin/pip {' '.join(offline.install_command(FOLDER))}\n" in shown
    assert "python3 dev.py wheels wheels\n" in shown


def test_the_list_names_all_that_the_programs_need_and_nothing_without_a_hash() -> None:
    listed = offline.entries()
    names = {canonicalize_name(each) for each in re.findall(r"^([\w.-]+)==", listed, re.MULTILINE)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = project["dependencies"] + extras["postgres"] + extras["reports"] + extras["worker"]
    wanted = {canonicalize_name(Requirement(text).name) for text in asked}
    assert wanted - names == {"torch"}, "which has a file of its own"
    entries = re.split(r"^(?=[A-Za-z0-9])", listed, flags=re.MULTILINE)
    assert [each for each in entries if each and "--hash=sha256:" not in each] == []


def test_a_wheel_that_was_made_here_is_named_by_what_lies_there(tmp_path: Path) -> None:
    wheel = tmp_path / "epsilon_ledger-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    digest = hashlib.sha256(b"a wheel").hexdigest()
    line = f"epsilon-ledger==0.1.0 --hash=sha256:{digest}\n"
    assert offline.named_by_hash(wheel) == line
    torch = tmp_path / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl"
    torch.write_bytes(b"torch")
    assert offline.named_by_hash(torch).startswith("torch==2.13.0+cpu --hash=sha256:")


@pytest.mark.parametrize("arguments", [[], ["one", "two"], ["--help"]])
def test_another_command_line_is_told_the_right_one(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert offline.main(arguments) == 2
    assert "dev.py wheels FOLDER" in capsys.readouterr().err
