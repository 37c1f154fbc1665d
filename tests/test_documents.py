"""What stands beside the code for people: it names what there is, and nothing that there is not."""

import json
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

import dev
from app.api.problems import BY_CODE
from app.cli import program
from app.main import create_app
from app.settings import ADDRESS_FILES, NO_SETTINGS, Settings
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


# --- the pages for readers ----------------------------------------------------------------------

PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "SECURITY.md", "CHANGELOG.md")),
]
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
EVENT = re.compile(r"`([a-z_]+\.[a-z_]+)`")


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as they stand in an address."""
    heads = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text("utf-8")):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.is_file(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_of_the_folder_can_be_reached_from_its_first() -> None:
    reached, waiting = set[Path](), [ROOT / "docs" / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        found = LINK.findall(page.read_text("utf-8"))
        links = [each.partition("#")[0] for each in found if not each.startswith("https://")]
        waiting += [(page.parent / each).resolve() for each in links if each]
    assert set((ROOT / "docs").glob("*.md")) <= reached
    assert "docs/README.md" in LINK.findall((ROOT / "README.md").read_text("utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_routes_and_settings_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text("utf-8")
    commands = {name for name in main_commands() if name}
    for name in re.findall(r"epsilon-ledger ([a-z][a-z-]+)", text):
        assert name in commands, name
    for verb in re.findall(r"python3 dev\.py ([a-z]+)", text):
        assert verb in dev.VERBS, verb
    for name in re.findall(r"dev\.py bench ([a-z_]+)", text):
        assert (ROOT / "benchmarks" / f"{name}.py").is_file(), name
    routes = create_app(Settings()).openapi()["paths"]
    for method, route in re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^\s`?]+)", text):
        plain = {
            re.sub(r"\{\w+\}|\bID\b", "{}", each)
            for each in routes
            if method.lower() in routes[each]
        }
        assert re.sub(r"\{\w+\}|\bID\b", "{}", route) in plain, route
    for variable in re.findall(r"EPSILON_[A-Z0-9_]+[A-Z0-9]\b", text):
        assert variable in known_variables(), variable


def main_commands() -> set[str]:
    """The words that follow `epsilon-ledger`."""
    return set(get_command(program).commands)  # type: ignore[attr-defined]


@cache
def known_variables() -> frozenset[str]:
    """Settings, the files that hold some of them, and what other programs of ours read."""
    settings = Settings().to_environment()
    beside = {*ADDRESS_FILES, *NO_SETTINGS, "EPSILON_SMTP", "EPSILON_OIDC"}
    sources = {"EPSILON_SOURCE_NAME", "EPSILON_SOURCE_LAKE"}
    return frozenset({*settings, *beside, *sources})


def test_the_operators_page_names_every_setting() -> None:
    text = (ROOT / "docs" / "operator.md").read_text("utf-8")
    missing = [name for name in Settings().to_environment() if f"`{name}`" not in text]
    assert missing == []


def test_the_operators_page_names_events_that_are_written() -> None:
    text = (ROOT / "docs" / "operator.md").read_text("utf-8")
    part = text.partition("## See what happens")[2].partition("\n## ")[0]
    source = "".join(
        path.read_text("utf-8") for top in ("app", "workers") for path in (ROOT / top).rglob("*.py")
    )
    named = [
        each
        for row in re.findall(r"^\| (`.*?) \|", part, re.MULTILINE)
        for each in EVENT.findall(row)
    ]
    assert len(named) > 10
    assert [each for each in named if f'"{each}' not in source] == []


def test_the_engineers_page_names_codes_that_the_service_has() -> None:
    text = (ROOT / "docs" / "engineer.md").read_text("utf-8")
    part = text.partition("## When you are refused")[2].partition("\n## ")[0]
    codes = re.findall(r"^\| `([a-z-]+)` \|", part, re.MULTILINE)
    assert len(codes) > 4
    assert [each for each in codes if each not in BY_CODE] == []
