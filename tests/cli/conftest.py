"""A house on a port, and the program as people use it: in its own folder, signed in by name."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli import program
from tests.api.conftest import on_sqlite
from tests.api.serving import serving
from tests.api.world import World

__all__ = ["Terminal", "on_sqlite"]


@dataclass
class Terminal:
    """One person's command line."""

    url: str

    def run(self, *words: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(program, list(words), input=typed)

    def json(self, *words: str, exit_code: int = 0) -> Any:
        answer = self.run(*words, "--json")
        assert answer.exit_code == exit_code, answer.output
        return json.loads(answer.stdout)


@pytest.fixture
def url(on_sqlite: World) -> Iterator[str]:
    with serving(on_sqlite) as address:
        yield address


@pytest.fixture
def sign_in(
    url: str, on_sqlite: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], Terminal]:
    """Signs in as somebody of the house, over whoever was signed in before."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("EPSILON_URL", raising=False)
    monkeypatch.delenv("EPSILON_API_KEY", raising=False)

    def signed_in(name: str) -> Terminal:
        terminal = Terminal(url)
        answer = terminal.run(
            "login", "--url", url, "--key-from-stdin", typed=on_sqlite.keys[name] + "\n"
        )
        assert answer.exit_code == 0, answer.output
        return terminal

    return signed_in
