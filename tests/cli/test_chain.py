"""The operator's commands on the root chain, the key and a restored database."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import program
from app.db.session import make_engine, make_session_maker
from app.domain.touches import Touch
from app.services import signing
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


def test_a_key_is_made_once_used_and_handed_over(world: World) -> None:
    refused = run(program, ["checkpoint"])
    assert (refused.exit_code, len(refused.output.splitlines())) == (1, 1)
    assert run(program, ["create-key"]).exit_code == 0
    key = world.home / "signing.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert run(program, ["create-key"]).exit_code == 1
    assert "nothing has moved" in run(program, ["checkpoint"]).output
    world.open_root()
    assert run(program, ["checkpoint"]).output.startswith("checkpoint 1 ")
    before = signing.load(key).public
    rotated = run(program, ["rotate-key"])
    assert rotated.exit_code == 0, rotated.output
    assert "checkpoint 2" in rotated.output
    assert signing.load(key).public != before
    key.chmod(0o644)
    refused = run(program, ["checkpoint"])
    assert (refused.exit_code, len(refused.output.splitlines())) == (1, 1)
    assert "chmod 600" in refused.output


def test_a_restore_check_says_what_the_database_does_not_know_and_exits_1(world: World) -> None:
    root = world.open_root()
    held = world.reserve(root, PURE, 3)
    start(world, held, 1)
    run(program, ["create-key"])
    run(program, ["checkpoint"])
    checked = run(program, ["restore-check"])
    assert checked.exit_code == 0, checked.output
    assert "1 touches" in checked.output
    forgotten = "0" * 8 + held["id"][8:]
    world.journal.record(
        [Touch(forgotten, 0, 1, 3, PURE, "d" * 64, 1, (str(root),), "2026-11-22T12:00:00Z")]
    )
    checked = run(program, ["restore-check"])
    assert checked.exit_code == 1
    assert "1 roots to settle by two people" in checked.output
    assert world.budget(root).state == "frozen"


def test_roles_are_of_postgresql(world: World) -> None:
    refused = run(program, ["grant-role", "somebody"])
    assert (refused.exit_code, len(refused.output.splitlines())) == (1, 1)
