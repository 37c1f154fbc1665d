"""`epsilon-ledger verify-report`: what it says of a pair of files, and with which exit code."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import program
from app.services.signing import PublicKey
from tests.reporting.signed_house import honest
from tests.tampering import KEY, raw_public


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """An honest report, its bundle, and the key."""
    found = {name: tmp_path / name for name in ("report.json", "bundle.jsonl", "key.pub")}
    found["report.json"].write_bytes(honest().report + b"\n")
    found["bundle.jsonl"].write_bytes(honest().bundle)
    found["key.pub"].write_bytes(PublicKey(raw_public(KEY)).pem)
    return found


def run(files: dict[str, Path], *more: str) -> tuple[int, str]:
    """The command on these files: its exit code and what it printed."""
    named = [str(files["report.json"]), "--bundle", str(files["bundle.jsonl"])]
    asked = ["verify-report", *named, "--public-key", str(files["key.pub"]), *more]
    result = CliRunner().invoke(program, asked)
    return result.exit_code, result.output


def test_an_honest_pair_exits_with_0_and_says_what_was_not_checked(files: dict[str, Path]) -> None:
    code, text = run(files)
    assert (code, "Nothing was found to differ" in text, "Not checked" in text) == (0, True, True)
    code, text = run(files, "--json")
    assert (code, json.loads(text)["verified"]) == (0, True)


def test_an_edit_exits_with_1_and_names_pointer_expected_and_found(files: dict[str, Path]) -> None:
    raw = files["report.json"].read_bytes()
    files["report.json"].write_bytes(raw.replace(b'"satisfied"', b'"not_satisfied"', 1))
    code, text = run(files, "--json")
    difference = json.loads(text)["difference"]
    assert code == 1
    assert set(difference) == {"pointer", "expected", "found"}
    assert difference["pointer"].startswith("/")
    code, text = run(files)
    assert (code, difference["pointer"] in text) == (1, True)


def test_an_edited_bundle_exits_with_1(files: dict[str, Path]) -> None:
    raw = files["bundle.jsonl"].read_bytes()
    files["bundle.jsonl"].write_bytes(raw.replace(b'"units":1', b'"units":2', 1))
    code, text = run(files)
    assert (code, "the bundle" in text) == (1, True)


@pytest.mark.parametrize("name", ["report.json", "bundle.jsonl", "key.pub"])
def test_a_file_that_cannot_be_read_exits_with_2(files: dict[str, Path], name: str) -> None:
    files[name].unlink()
    assert run(files)[0] == 2


def test_a_report_or_key_of_no_known_form_exits_with_2(files: dict[str, Path]) -> None:
    files["report.json"].write_bytes(b"[1,")
    assert run(files)[0] == 2
    files["report.json"].write_bytes(honest().report)
    files["key.pub"].write_bytes(b"no key")
    assert run(files)[0] == 2
