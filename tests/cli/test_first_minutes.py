"""The README's way from nothing to a first answer, on a service that runs by itself."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Terminal
from tests.test_up import serving

pytestmark = [pytest.mark.processes, pytest.mark.own_servers]
README = Path("README.md")
SQL = "SELECT ward, COUNT(*), AVG(cost) FROM visits GROUP BY ward"


def registration() -> dict[str, Any]:
    """The YAML that the README shows."""
    text = README.read_text("utf-8")
    shown = re.search(r"^    name: visits\n(?:    .*\n)+", text, re.MULTILINE)
    assert shown is not None
    body: dict[str, Any] = yaml.safe_load(re.sub(r"^    ", "", shown[0], flags=re.MULTILINE))
    return body


def test_a_newcomer_registers_rows_asks_and_sees_the_charge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tmp_path / "rows"
    rows.mkdir()
    lines = [f"p{n % 300},{'ABC'[n % 3]},{n % 900}" for n in range(1500)]
    (rows / "visits.csv").write_text("\n".join(["patient,ward,cost", *lines, ""]))
    (tmp_path / "visits.yaml").write_text(yaml.safe_dump(registration()))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with serving(tmp_path / "home") as up:
        terminal = Terminal(up.url)
        monkeypatch.setenv("EPSILON_URL", up.url)

        def signed(key: str) -> None:
            monkeypatch.setenv("EPSILON_API_KEY", key)

        signed(up.keys[0])
        keys = {
            name: terminal.json("add-person", name, "--role", role)["key"]["key"]
            for name, role in (
                ("Olga", "compliance_officer"),
                ("Omar", "compliance_officer"),
                ("Elif", "ml_engineer"),
            )
        }
        terminal.json("add-project", "care", "--member", "Elif")
        terminal.json("add-connection", "mine", str(rows))
        signed(keys["Olga"])
        terminal.json("register", str(tmp_path / "visits.yaml"), "--grant", "care")
        asked = ["open-budget", "visits", "--epsilon", "4", "--reason", "policy 12"]
        approval = terminal.json(*asked)["approval_id"]
        decide = ["approve", approval, "--reason", "agreed", "--yes"]
        assert terminal.run(*decide).exit_code == 4
        signed(keys["Omar"])
        assert terminal.run(*decide).exit_code == 0
        share = ["--below", "lifetime", "--team", "care", "--reason", "the ward study"]
        assert terminal.json("open-budget", "visits", "--epsilon", "1", *share)["state"] == "open"
        signed(keys["Elif"])
        said = terminal.run("query", SQL, "--epsilon", "0.5", "--purpose", "wards")
        assert said.exit_code == 0, said.output
        assert "±" in said.output
        consumed = {each["name"]: each["consumed"]["epsilon"] for each in terminal.json("budgets")}
        assert consumed == {"lifetime": "0.5", "care": "0.5"}
        refused = terminal.run("query", SQL, "--epsilon", "0.6", "--purpose", "wards")
        assert refused.exit_code == 3
        assert json.loads(terminal.run("jobs", "list", "--json").stdout)[0]["state"] == "settled"
        assert up.stop() == 0
