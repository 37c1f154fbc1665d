"""`up` on an empty folder: one key, an API that answers, and a clean end."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.processes, pytest.mark.own_servers]


@dataclass
class Up:
    """One run of the command that serves."""

    process: subprocess.Popen[str]
    url: str
    keys: list[str]

    def stop(self) -> int:
        """The exit code; an end that never comes fails the test."""
        self.process.terminate()
        return self.process.wait(PATIENCE_S)


@contextmanager
def serving(home: Path, *more: str, **settings: str) -> Iterator[Up]:
    """The command on that home, from the line that says where it serves; killed at the end."""
    command = [sys.executable, "-m", "app.cli", "up", "--port", "0", "--home", str(home), *more]
    outside = {k: v for k, v in os.environ.items() if not k.startswith("EPSILON_")}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**outside, **settings},
    ) as process:
        assert process.stdout is not None
        said = ""
        try:
            for line in process.stdout:
                said += line
                if line.startswith('{"url":'):
                    told = json.loads(line)
                    yield Up(process, told["url"], [told["admin_key"]] if told["admin_key"] else [])
                    break
                if found := re.match(r"Serving at (\S+)", line):
                    keys = re.findall(r"administrator's key.*: (\S+)", said)
                    yield Up(process, found[1], keys)
                    break
            else:
                pytest.fail(said)
        finally:
            process.kill()  # on Linux the children end with it


def processes_of(home: Path) -> list[str]:
    """Command lines that name this home or were started with it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if str(home).encode() in words:
            found.append(words.decode(errors="replace")[:200])
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_an_empty_folder_becomes_a_service_with_one_key_and_ends_clean(home: Path) -> None:
    with serving(home) as up:
        assert len(up.keys) == 1
        mine = {"Authorization": f"Bearer {up.keys[0]}"}
        assert httpx.get(f"{up.url}/v1/me").status_code == 401
        assert httpx.get(f"{up.url}/v1/me", headers=mine).status_code == 200
        assert processes_of(home)
        assert up.stop() == 0
        assert processes_of(home) == []
    with serving(home, "--json") as again:
        assert again.keys == []
        assert httpx.get(f"{again.url}/v1/me", headers=mine).status_code == 200
        assert again.stop() == 0
