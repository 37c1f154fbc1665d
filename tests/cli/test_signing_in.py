"""A key is kept for one address and one reader, and what is refused has its own exit code."""

import json
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from app.cli.signing_in import login_file
from tests.api.test_loopback import say_yes
from tests.api.test_sign_in import Browser, invited
from tests.api.world import World
from tests.cli.conftest import Terminal

SignIn = Callable[[str], Terminal]


def test_a_key_is_kept_in_a_file_that_nobody_else_may_read_and_printed_nowhere(
    sign_in: SignIn, on_sqlite: World, url: str
) -> None:
    terminal = sign_in("auditor")
    assert stat.S_IMODE(login_file().stat().st_mode) == 0o600
    assert json.loads(login_file().read_text())["url"] == url
    said = terminal.run("whoami").output
    assert "auditor" in said
    assert on_sqlite.keys["auditor"] not in said


def test_a_key_file_that_others_may_read_is_not_used(sign_in: SignIn) -> None:
    terminal = sign_in("auditor")
    login_file().chmod(0o640)
    answer = terminal.run("whoami")
    assert answer.exit_code == 4
    assert "others may read" in answer.output


def test_a_wrong_key_is_refused_and_not_kept(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    wrong = "el_" + "0" * 12 + "_" + "A" * 43
    answer = Terminal(url).run("login", "--url", url, "--key-from-stdin", typed=wrong + "\n")
    assert answer.exit_code == 4
    assert wrong not in answer.output
    assert not login_file().exists()


def test_a_kept_key_is_sent_to_no_other_address(
    sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = sign_in("auditor")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.5)
        monkeypatch.setenv("EPSILON_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        answer = terminal.run("whoami")
        assert answer.exit_code == 4, answer.output
        with pytest.raises(TimeoutError):
            listener.accept()


def test_the_environment_takes_the_place_of_the_file(
    sign_in: SignIn, on_sqlite: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = sign_in("auditor")
    monkeypatch.setenv("EPSILON_API_KEY", on_sqlite.keys["ml_engineer"])
    assert terminal.json("whoami")["roles"] == ["ml_engineer"]
    monkeypatch.delenv("EPSILON_API_KEY")
    terminal.run("logout")
    assert terminal.run("whoami").exit_code == 4


def test_a_service_that_is_gone_ends_the_command_with_a_code_of_its_own(
    sign_in: SignIn, on_sqlite: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.client.PAUSE_FIRST_S", 0.0)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
    terminal = sign_in("auditor")
    monkeypatch.setenv("EPSILON_URL", nobody)
    monkeypatch.setenv("EPSILON_API_KEY", on_sqlite.keys["auditor"])
    answer = terminal.run("datasets")
    assert answer.exit_code == 5
    assert len(answer.output.splitlines()) == 1


def test_login_by_the_browser_keeps_a_key_that_the_page_was_asked_for(
    on_sqlite: World, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    invited(on_sqlite, "ml_engineer")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def person(address: str) -> bool:
        """Says yes on the page, in a browser that is signed in."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        back = say_yes(Browser(on_sqlite, "ml_engineer"), asked).headers["Location"]
        threading.Thread(target=httpx.get, args=(back,)).start()
        return True

    monkeypatch.setattr("webbrowser.open", person)
    terminal = Terminal(url)
    answer = terminal.run("login", "--url", url, "--browser")
    assert answer.exit_code == 0, answer.output
    assert "ml_engineer" in answer.output
    key = json.loads(login_file().read_text())["api_key"]
    assert key not in answer.output
    assert on_sqlite.ask("GET", "/me", by=key).json()["name"] == "ml_engineer"
