"""What stands beside the code for people: it names what there is, and nothing that there is not."""

import json
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from deploy import notices

ROOT = Path(__file__).parent.parent
NAMED_TEST = re.compile(r"`(test_\w+)`")
LINE = re.compile(r"^  (\S+) (\S+): (.+)$", re.MULTILINE)


@cache
def known_tests() -> frozenset[str]:
    """Every test of the suite by name."""
    files = (ROOT / "tests").rglob("test_*.py")
    return frozenset(
        name
        for path in files
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    )


def noticed() -> str:
    return notices.FILE.read_text("utf-8")


def test_each_defence_of_the_threat_model_names_tests_that_there_are() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    named = NAMED_TEST.findall(text)
    assert set(named) - known_tests() == set()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "Held by" not in line]
    assert len(rows) > 20
    assert [row for row in rows if not NAMED_TEST.search(row)] == []


def test_the_threat_model_names_every_law_that_the_readme_states() -> None:
    laws = re.findall(r"^(\d+)\. \*\*", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    rows = [line for line in (ROOT / "SECURITY.md").read_text("utf-8").splitlines() if "|" in line]
    cited = {number for row in rows for number in re.findall(r"\((\d+(?:, \d+)*)\)", row)}
    cited = {number for group in cited for number in group.split(", ")}
    assert laws == [str(number) for number in range(1, 11)]
    # the two others, units and claims, are kept from mistakes and not from attackers
    assert cited == set(laws) - {"8", "9"}


def test_the_changelog_tells_of_this_version_in_the_known_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert heads[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", head) for head in heads[1:])
    assert version in text
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_notices_name_every_locked_package_with_its_version_and_no_other() -> None:
    wanted = {
        (found["name"], found["version"])
        for lock in notices.PYTHON_LOCKS
        for found in notices.PINNED.finditer((ROOT / lock).read_text("utf-8"))
    }
    listed = json.loads(notices.PAGE_LOCK.read_text("utf-8"))["packages"]
    wanted |= {
        (place.rpartition("node_modules/")[2], facts["version"])
        for place, facts in listed.items()
        if place
    }
    named = LINE.findall(noticed())
    assert {(name, version) for name, version, _ in named} == wanted, "python3 dev.py generate"
    assert len(named) == len(wanted)


def test_what_the_page_ships_has_its_licence_in_full() -> None:
    *_, after = noticed().partition(notices.COPIED)
    parts = after.split(notices.OF)[1:]
    of = {name: part for part in parts for name in part.partition("\n")[0].split(", ")}
    listed = json.loads(notices.PAGE_LOCK.read_text("utf-8"))["packages"]
    shipped = {
        f"{place.rpartition('node_modules/')[2]} {facts['version']}"
        for place, facts in listed.items()
        if place and not (facts.get("dev") or facts.get("devOptional"))
    }
    assert set(of) == shipped
    without = {name.partition(" ")[0] for name, part in of.items() if "carries no text" in part}
    assert without <= {"react-remove-scroll-bar", "wouter"}
    assert "Permission is hereby granted" in of[next(name for name in of if name[:6] == "react ")]


def test_a_package_whose_licence_nobody_knows_ends_the_writing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "requirements.lock").write_text("no-such-package==1.0\n")
    monkeypatch.setattr(notices, "ROOT", tmp_path)
    monkeypatch.setattr(notices, "PYTHON_LOCKS", ("requirements.lock",))
    monkeypatch.setattr(notices, "FILE", tmp_path / "notices")
    monkeypatch.setattr(notices, "page_packages", lambda **_: iter(()))
    assert notices.main() == 1
    assert "no-such-package is not installed" in capsys.readouterr().err
    assert not (tmp_path / "notices").exists()


def test_each_vendored_folder_is_named_with_its_licence_beside_it() -> None:
    folders = {path.name for path in (ROOT / "tests" / "vendored").iterdir()}
    assert {place.rpartition("/")[2] for _, _, place in notices.VENDORED} == folders
    for _, _, place in notices.VENDORED:
        assert (ROOT / place / "LICENSE").is_file(), place
        assert place in noticed()
