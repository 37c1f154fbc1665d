"""A tree comes back after a kill and leaves nothing behind, however it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import supervision
from app.supervision import Child, ChildFailed, ProcessTree
from tests.patience import wait_until

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[ProcessTree]:
    tree = ProcessTree(tmp_path / "logs")
    yield tree
    tree.stop()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_child_runs_again(tree: ProcessTree) -> None:
    tree.start(Child("sleeper", SLEEP))
    first = tree.pids()["sleeper"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: tree.pids().get("sleeper", first) != first, what="it")
    tree.raise_failure()


def test_a_child_that_never_stays_up_is_given_up_with_its_last_words(
    tree: ProcessTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "BACK_OFF_S", (0.01,) * 4)
    tree.start(Child("broken", ["/bin/sh", "-c", "echo no disk; exit 3"]))
    with pytest.raises(ChildFailed, match=r"broken does not stay up \(exit code 3\): no disk"):
        tree.wait()


def test_a_program_that_is_not_there_is_told_and_not_tried_for_ever(
    tree: ProcessTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "BACK_OFF_S", (0.01,) * 4)
    tree.start(Child("absent", ["/nowhere/program"]))
    with pytest.raises(ChildFailed, match="absent"):
        tree.wait_until(lambda: False, "it", within_s=10)


def test_what_is_not_ready_in_time_is_told(tree: ProcessTree) -> None:
    tree.start(Child("sleeper", SLEEP))
    with pytest.raises(ChildFailed, match="the door not ready after 0 s"):
        tree.wait_until(lambda: False, "the door", within_s=0.1)


def test_a_stop_ends_children_that_ignore_it_and_grandchildren(
    tree: ProcessTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "STOP_WITHIN_S", 0.3)
    body = f"trap '' TERM; sleep 600 & echo $! > {tmp_path}/grandchild; wait; wait"
    tree.start(Child("stubborn", ["/bin/sh", "-c", body]))
    noted = tmp_path / "grandchild"
    wait_until(lambda: noted.exists() and noted.read_text().endswith("\n"), what="it")
    pids = [tree.pids()["stubborn"], int(noted.read_text())]
    assert all(map(is_alive, pids))
    tree.stop()
    wait_until(lambda: not any(map(is_alive, pids)), what="it")


def test_the_last_child_outlives_those_that_need_it(tree: ProcessTree, tmp_path: Path) -> None:
    def noting(name: str, delay: str) -> list[str]:
        body = f"trap 'sleep {delay}; date +%s%N > {tmp_path}/{name}; exit' TERM; "
        return ["/bin/sh", "-c", body + f"touch {tmp_path}/{name}.up; while :; do sleep 0.05; done"]

    tree.start(Child("broker", noting("broker", "0"), last=True))
    tree.start(Child("worker", noting("worker", "0.3")))
    wait_until(
        lambda: all((tmp_path / f"{name}.up").exists() for name in ("broker", "worker")), what="it"
    )
    tree.stop()
    assert int((tmp_path / "worker").read_text()) < int((tmp_path / "broker").read_text())


def test_a_killed_supervisor_leaves_no_child(tmp_path: Path) -> None:
    body = (
        "import sys, time; from pathlib import Path\n"
        "from app.supervision import Child, ProcessTree\n"
        f"tree = ProcessTree(Path({str(tmp_path)!r}))\n"
        f"tree.start(Child('sleeper', {SLEEP!r}))\n"
        "time.sleep(0.3)\n"
        "print(tree.pids()['sleeper'], flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", body], stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        assert is_alive(pid)
        supervisor.kill()
    wait_until(lambda: not is_alive(pid), what="it")


def test_a_child_gets_its_environment_and_its_words_are_kept(
    tree: ProcessTree, tmp_path: Path
) -> None:
    tree.start(Child("one", ["/bin/sh", "-c", "echo $WHO; sleep 600"], {"WHO": "the worker"}))
    wait_until(lambda: (tmp_path / "logs" / "one.log").read_text() == "the worker\n", what="it")
