"""The set-up: done once, by a Python that can; a failure is one line that says what to do."""

import ast
import platform
import shutil
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest

import dev

SHORT = "not long and not races and not chaos and not spark and not production"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with lock files and something that looks like an environment, without a stamp."""
    for name in dev.LOCKS:
        (tmp_path / name).write_text(f"{name}\n")
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    (venv / "pyvenv.cfg").write_text("home = /somewhere\nversion = 3.11.7\n")
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    monkeypatch.setattr(dev, "VENV", venv)
    monkeypatch.setattr(dev, "STAMP", venv / "set-up.stamp")
    monkeypatch.setattr(dev, "LOG", venv / "set-up.log")
    return tmp_path


@pytest.fixture
def pip_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What pip was asked for; nothing is installed."""
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(dev, "pip_install", lambda *arguments: calls.append(arguments))
    return calls


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_a_second_set_up_does_nothing(checkout: Path, pip_calls: list[tuple[str, ...]]) -> None:
    dev.set_up()
    assert len(pip_calls) == 3
    dev.set_up()
    assert len(pip_calls) == 3


@pytest.mark.parametrize("name", dev.LOCKS)
def test_a_changed_lock_file_sets_up_again(
    checkout: Path, pip_calls: list[tuple[str, ...]], name: str
) -> None:
    dev.set_up()
    (checkout / name).write_text("changed\n")
    dev.set_up()
    assert len(pip_calls) == 6


def test_another_python_in_the_environment_sets_up_again(
    checkout: Path, pip_calls: list[tuple[str, ...]]
) -> None:
    dev.set_up()
    (checkout / ".venv" / "pyvenv.cfg").write_text("home = /somewhere\nversion = 3.12.1\n")
    assert not dev.is_set_up()


def test_an_environment_whose_python_is_gone_is_not_used(
    checkout: Path, pip_calls: list[tuple[str, ...]]
) -> None:
    dev.set_up()
    (checkout / ".venv" / "bin" / "python").unlink()
    assert not dev.is_set_up()


def test_a_set_up_that_failed_half_way_leaves_no_stamp(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev.STAMP.write_text("of an older checkout")

    def fail_at_torch(*arguments: str) -> None:
        if "requirements-torch.txt" in " ".join(arguments):
            raise dev.SetUpFailed("no network")

    monkeypatch.setattr(dev, "pip_install", fail_at_torch)
    with pytest.raises(dev.SetUpFailed):
        dev.set_up()
    assert not dev.STAMP.exists()


def test_hashes_are_asked_of_all_but_torch_and_its_size_is_said_first(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said_before: dict[str, str] = {}
    said = ""

    def pip(*arguments: str) -> None:
        nonlocal said
        said += capsys.readouterr().err
        said_before[" ".join(arguments)] = said

    monkeypatch.setattr(dev, "pip_install", pip)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("EPSILON_TORCH_FIND_LINKS", "/some/wheels")
    dev.set_up()
    lock, torch, ours = said_before
    assert lock == f"--require-hashes -r {checkout}/requirements.lock"
    assert torch == f"-r {checkout}/requirements-torch.txt --find-links /some/wheels"
    assert ours == f"--no-deps --no-build-isolation -e {checkout}"
    assert "3 GB" in said_before[torch]


def test_spark_comes_by_hash_and_only_where_there_is_java(
    checkout: Path, pip_calls: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", "/some/java")
    dev.bring_spark()
    ((first, *_, file),) = pip_calls
    assert (first, file) == ("--require-hashes", f"{checkout}/requirements-spark.txt")
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(checkout))
    with pytest.raises(dev.SetUpFailed, match="openjdk"):
        dev.bring_spark()
    assert len(pip_calls) == 1


def test_a_shim_that_leads_nowhere_is_passed_over(tmp_path: Path) -> None:
    script(tmp_path / "shims" / "python3.13", "exit 127")
    script(tmp_path / "lying" / "python3.12", "echo 3 9")
    good = script(tmp_path / "good" / "python3.12", "echo 3 12")
    folders = [str(tmp_path / name) for name in ("shims", "lying", "good", "absent")]
    assert dev.find_python(folders) == str(good)
    assert dev.find_python(folders[:2]) is None


@pytest.mark.parametrize(
    ("version", "has_venv", "suitable"),
    [
        ((3, 10), True, False),
        ((3, 11), True, True),
        ((3, 14), True, True),
        ((3, 15), True, False),
        ((3, 11), False, False),
    ],
)
def test_only_a_python_that_can_make_the_environment_is_suitable(
    version: tuple[int, int], *, has_venv: bool, suitable: bool
) -> None:
    assert dev.is_suitable(version, has_venv=has_venv) is suitable


def test_a_debian_python_without_ensurepip_is_told_what_to_install(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev, "has_ensurepip", lambda: False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert dev.main(["test"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "dev.py: this Python cannot make environments: apt-get install python3-venv"
    ]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: No matching distribution found for x==1\n", "set-up.log"),
        ("Traceback: something", "set-up.log"),
    ],
)
def test_a_failing_pip_is_told_in_one_line(checkout: Path, said: str, told: str) -> None:
    script(checkout / "pip", f"echo '{said}' >&2; exit 1")
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(checkout / "pip")
    with pytest.raises(dev.SetUpFailed, match=told) as failure:
        dev.pip_install("x==1")
    assert "\n" not in str(failure.value)


def test_too_little_disk_is_said_before_anything_is_made(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**9}))
    with pytest.raises(dev.SetUpFailed, match="make room"):
        dev.make_venv()


def test_two_set_ups_at_once_make_one_environment(
    checkout: Path, pip_calls: list[tuple[str, ...]]
) -> None:
    with dev.only_one_at_a_time():
        second = threading.Thread(target=dev.set_up)
        second.start()
        second.join(0.2)
        assert second.is_alive()
        assert not pip_calls
        dev.STAMP.write_text(dev.stamp())  # as the first would
    second.join(60)
    assert not second.is_alive()
    assert not pip_calls


def test_the_verbs_are_listed_without_any_set_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev, "set_up", lambda: pytest.fail("set up for nothing"))
    for arguments in ([], ["--help"]):
        assert dev.main(arguments) == 0
        listed = capsys.readouterr().out
        assert all(f"\n  {verb} " in listed for verb in dev.VERBS)
    assert dev.main(["dmeo"]) == 2


def test_set_up_talk_never_reaches_stdout(
    checkout: Path, pip_calls: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    dev.set_up()
    spoken = capsys.readouterr()
    assert spoken.out == ""
    assert spoken.err


def test_the_file_stays_within_the_grammar_of_an_old_python() -> None:
    source = Path(dev.__file__).read_text()
    ast.parse(source, feature_version=(3, 7))
    assert "from __future__" not in source


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ([], ["-n", "2", "--dist", "worksteal"]),
        (["--long"], ["-n", "2", "--dist", "worksteal", "-m", f"({SHORT}) or long"]),
        (["tests/db", "-x"], ["tests/db", "-x"]),
        (["--long", "-q"], ["-m", f"({SHORT}) or long", "-q"]),
        (["--races", "tests/races"], ["-m", f"({SHORT}) or races", "tests/races"]),
        (["--production"], ["-m", f"({SHORT}) or production", "tests/production"]),
        (["-q", "--chaos", "--races"], ["-m", f"({SHORT}) or races or chaos", "-q"]),
    ],
)
def test_full_counts_run_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, given: list[str], passed: list[str]
) -> None:
    called: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(dev, "run_module", lambda *call: called.append(call))
    dev.test(given)
    assert called == [("pytest", passed)]


def test_pytest_alone_runs_no_full_count_either() -> None:
    settings = tomllib.loads((dev.ROOT / "pyproject.toml").read_text())["tool"]["pytest"]
    assert settings["ini_options"]["addopts"][-2:] == ["-m", SHORT]


def test_a_check_that_fails_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, int("mypy" in command), b"the reason")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("EPSILON_WITHOUT_PAGE", "1")
    assert dev.check([]) == 1
    spoken = capsys.readouterr().out
    assert spoken.count("the reason") == 1
    assert [line.split()[0] for line in spoken.splitlines() if "(" in line].count("ok") == 5
