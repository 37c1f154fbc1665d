"""docker-compose.yml as the tests read it: its services, with what an environment would fill in."""

import re
import sys
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$\{\w+:-([^}]*)\}")


@cache
def compose() -> dict[str, Any]:
    """The file, every variable at its default."""
    return cast(dict[str, Any], _filled(yaml.safe_load(FILE.read_text("utf-8"))))


def service(name: str) -> dict[str, Any]:
    """One service of it."""
    return cast(dict[str, Any], compose()["services"][name])


def command(name: str, **options: str) -> list[str]:
    """The command of a service, by this Python; options such as `port` take other values."""
    words: list[str] = service(name)["command"]
    assert words[0] == "python"
    words = [sys.executable, *words[1:]]
    for option, value in options.items():
        words[words.index(f"--{option}") + 1] = value
    return words


def environment(name: str) -> dict[str, str]:
    """The environment of a service, without what is left empty."""
    return {key: str(value) for key, value in service(name)["environment"].items() if value != ""}


def _filled(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(each) for each in node]
    return VARIABLE.sub(r"\1", node) if isinstance(node, str) else node
