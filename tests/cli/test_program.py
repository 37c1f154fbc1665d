"""What holds for the whole program: exit codes, completion, and one line for a person's mistake."""

import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
from rich.console import Console

from app.cli import budgets, jobs, program
from app.cli.completion import words
from app.cli.terminal import EXIT_CODES, Ended
from tests.cli.conftest import Terminal
from tests.cli.test_bundles import answering

HERE = Terminal("")
README = Path(__file__).parents[2] / "README.md"
ID = "0192f0c1-7a3e-7cc0-8d11-5a2b6f1e9d33"


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nobody is signed in; gives a folder of his."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("EPSILON_URL", raising=False)
    monkeypatch.delenv("EPSILON_API_KEY", raising=False)
    return tmp_path


def test_every_exit_code_is_explained_by_help_and_readme_and_none_that_is_not() -> None:
    (said,) = re.findall(r"Exit codes: 0 done;.*?stopped", README.read_text(), flags=re.DOTALL)
    shown = " ".join(HERE.run("--help").output.replace("│", " ").split())
    assert EXIT_CODES in shown
    for text in (EXIT_CODES, said):
        told = re.findall(r"(?:: |; )(?=\d)(\d+) ", " ".join(text.split()))
        assert [int(code) for code in told] == list(Ended)


def test_a_mistake_ends_in_one_line_with_the_code_for_its_kind(
    nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(code: int, *asked: str) -> None:
        said = HERE.run(*asked)
        assert (said.exit_code, len(said.output.splitlines())) == (code, 1), said.output
        assert said.output.startswith("epsilon-ledger: ")

    ends(Ended.NOT_ALLOWED, "budgets")
    monkeypatch.setenv("EPSILON_API_KEY", "el_key")
    monkeypatch.setattr("app.client.PAUSE_FIRST_S", 0.0)
    for url in ("http://127.0.0.1:9", "nonsense", "http://[", "http://no.such.host.invalid"):
        monkeypatch.setenv("EPSILON_URL", url)
        ends(Ended.OUT_OF_REACH, "whoami")
    monkeypatch.setenv("EPSILON_API_KEY", "schlüssel")
    ends(Ended.NOT_ALLOWED, "whoami")
    monkeypatch.setenv("EPSILON_API_KEY", "el_key")
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"
    with answering(page) as url:
        monkeypatch.setenv("EPSILON_URL", url)
        ends(Ended.OUT_OF_REACH, "whoami")
    monkeypatch.setenv("EPSILON_URL", "http://127.0.0.1:9")
    ends(Ended.UNREADABLE, "train", str(nobody / "missing.yaml"))
    ends(Ended.UNREADABLE, "train", str(nobody))


def test_completion_names_every_command_and_option_in_every_shell() -> None:
    found = words()
    assert set(found[""]) > {"budgets", "jobs", "export", "verify", "up", "completion"}
    assert found["jobs"] == ["--help", "cancel", "list", "result", "watch"]
    assert {"--public-key", "--unsigned", "--json"} <= set(found["verify"])
    assert {"--wait", "--no-wait", "--epsilon"} <= set(found["query"])
    top = typer.main.get_command(program).commands  # type: ignore[attr-defined]
    for shell in ("bash", "zsh", "fish"):
        said = HERE.run("completion", shell)
        assert said.exit_code == 0
        for name in top:
            assert re.search(rf"(?<![\w-]){name}(?![\w-])", said.output), (shell, name)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["quo"], ["quote"]),
        (["jobs", "w"], ["watch"]),
        (["jobs", "watch", "--j"], ["--json"]),
        (["query", "SELECT 1", "--no"], ["--no-wait"]),
        (["verify", "--pub"], ["--public-key"]),
        (["completion", "f"], ["fish"]),
    ],
)
def test_bash_takes_the_completion_and_offers_what_fits(
    typed: list[str], offered: list[str], tmp_path: Path
) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    script = tmp_path / "completion.bash"
    script.write_text(HERE.run("completion", "bash").output)
    subprocess.run([bash, "-n", str(script)], check=True)
    asked = (
        'source "$1"; shift; COMP_WORDS=(epsilon-ledger "$@"); COMP_CWORD=$#;'
        ' _epsilon_ledger; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    found = subprocess.run(
        [bash, "--norc", "-c", asked, "bash", str(script), *typed],
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.split() == offered


def test_tables_are_readable_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Console(file=io.StringIO(), width=80, highlight=False, soft_wrap=True)
    monkeypatch.setattr(budgets, "console", shown)
    monkeypatch.setattr(jobs, "console", shown)
    budget = {
        "id": ID,
        "parent_id": None,
        "dataset_id": "d",
        "name": "lifetime",
        "state": "exhausted",
        "limit": {"epsilon": "4", "delta": "0.000001"},
        "consumed": {"epsilon": "3.451230000000001"},
        "remaining": {"epsilon": "0.548769999999999"},
        "timeline": {"points": [{"consumed": "1"}] * 40},
    }
    budgets._print_budgets([budget], {"d": "hospital_visits"})
    amount = {"epsilon": "3.4567890123", "delta": "0.000001"}
    charge = {
        "budget_id": ID,
        "kind": "allocation",
        "asked": amount,
        "remaining": amount,
        "fits": True,
    }
    jobs._print_quote({"charges": [charge], "admitted_now": True})
    job = {
        "id": ID,
        "purpose": "wards by month and by what they cost, for the winter plan",
        "kind": "profile",
        "state": "cancelled",
        "started_units": 1000,
        "max_units": 100000,
        "created_at": "2026-11-22T12:00:00Z",
    }
    jobs._print_jobs([job])
    said = shown.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, said.splitlines())) <= 80
    assert said.count(ID) == 2
    # rounded against us, and in one piece
    assert "3.45124" in said
    assert "0.548769" in said
    for word in ("hospital_visits:", "cancelled", "2026-11-22", "100000", "winter"):
        assert word in said
