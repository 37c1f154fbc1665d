"""From the shell of who runs the service: the key of webhooks is replaced, sessions are ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import program
from app.main import create_app
from app.settings import Settings
from tests.api.test_sign_in import Browser, invited
from tests.api.world import TestClient, World, build

run = CliRunner().invoke


@pytest.fixture
def house(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A house whose files and database are those of the commands."""
    monkeypatch.setenv("EPSILON_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("EPSILON_HOME", str(tmp_path / "home"))
    (tmp_path / "files").mkdir()
    settings = Settings(database_url=sqlite_url, home=tmp_path / "home")
    with TestClient(create_app(settings)) as client:
        yield build(client, tmp_path / "files")


def test_new_secrets_are_shown_and_the_old_key_goes_when_told(house: World) -> None:
    body = {"url": "https://hooks.example/a-path", "kinds": ["approval"]}
    made = house.made("/webhooks", body, by="admin")
    shown = run(program, ["rotate-webhook-key"])
    assert shown.exit_code == 0, shown.output
    assert f"{made['id']}  hooks.example  whsec_" in shown.output
    assert made["secret"] not in shown.output
    assert "a-path" not in shown.output, "it may hold a token"
    ended = run(program, ["rotate-webhook-key", "--finish"])
    assert "the new key signs alone, for 1 webhooks" in ended.output


def test_every_session_ends_and_keys_of_programs_stay_good(house: World) -> None:
    for name in ("auditor", "second_officer"):
        invited(house, name)
    browsers = [Browser(house, name) for name in ("auditor", "second_officer")]
    said = run(program, ["end-sessions"])
    assert (said.exit_code, said.output) == (0, "2 sessions have ended\n")
    assert [each.ask("GET", "/me").status_code for each in browsers] == [401, 401]
    assert house.ask("GET", "/me", by="auditor").status_code == 200
    assert run(program, ["end-sessions"]).output == "0 sessions have ended\n"
