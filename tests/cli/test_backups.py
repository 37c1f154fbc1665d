"""Backup, roll back, tamper, rotate, from a shell: each survived or noticed (R22, R23)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import program
from app.db.session import make_engine, make_session_maker
from tests.services.test_recovery import start
from tests.world import World, new_world

run = CliRunner().invoke
PURE = {"type": "pure", "epsilon": "0.01"}


@pytest.fixture
def world(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("EPSILON_HOME", str(tmp_path))
    monkeypatch.setenv("EPSILON_DATABASE_URL", sqlite_url)
    engine = make_engine(sqlite_url)
    with new_world(make_session_maker(engine), tmp_path) as made:
        yield made
    engine.dispose()


def test_a_backup_is_made_rolled_back_to_and_held_against_what_came_after_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*words: str, exit_code: int = 0) -> str:
        answer = run(program, list(words))
        assert answer.exit_code == exit_code, answer.output
        return answer.output

    root = world.open_root()
    held = world.reserve(root, PURE, 3)
    saved, later = str(tmp_path / "saved"), str(tmp_path / "later")
    assert "--unsigned" in said("backup", saved, exit_code=1)
    said("create-key")
    assert "checkpoint 1" in said("backup", saved)
    assert "already" in said("backup", saved, exit_code=1)
    start(world, held, 1)
    said("rotate-key")
    assert "checkpoint 3" in said("backup", later)
    assert "already" in said("restore", saved, exit_code=1)

    monkeypatch.setenv("EPSILON_DATABASE_URL", f"sqlite:///{tmp_path / 'new.sqlite3'}")
    assert "knows all" in said("restore", later)
    monkeypatch.setenv("EPSILON_DATABASE_URL", f"sqlite:///{tmp_path / 'old.sqlite3'}")
    rolled_back = said("restore", saved, exit_code=1)
    assert "frozen until two people" in rolled_back
    # the roots stay frozen at every later look
    assert "1 roots to settle" in said("restore-check", exit_code=1)

    # on another machine nobody is trusted before somebody says so
    monkeypatch.setenv("EPSILON_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("EPSILON_DATABASE_URL", f"sqlite:///{tmp_path / 'third.sqlite3'}")
    assert "not signed by a key that is trusted" in said("restore", later, exit_code=1)
    public = str(tmp_path / "signing.key.pub")
    assert "put back" in said("restore", later, "--public-key", public)


def test_a_folder_that_is_no_backup_is_refused_in_one_line(world: World, tmp_path: Path) -> None:
    refused = run(program, ["restore", str(tmp_path)])
    assert (refused.exit_code, len(refused.output.splitlines())) == (1, 1)
    assert "holds no backup" in refused.output
