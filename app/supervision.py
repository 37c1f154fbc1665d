"""A tree of child processes that is kept alive and ends as one."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

POLL_S = 0.1
BACK_OFF_S = (0.2, 1.0, 3.0, 10.0)
# A child that has run this long counts as well again.
WELL_AFTER_S = 30.0
# This many stops in a row without being well: something is wrong that no restart mends.
STOPS_IN_A_ROW = 5
STOP_WITHIN_S = 4.0

# On Linux a child dies with its parent, so that even a killed supervisor leaves nothing behind.
# Set by a small program that then becomes the child: after a fork of a process with threads, no
# Python code may run.
DIE_WITH_PARENT = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execvp(sys.argv[1], sys.argv[1:])"
)


class ChildFailed(Exception):
    """A child does not stay up; the text names it, its last words and its log."""


@dataclass(frozen=True, slots=True)
class Child:
    """One program of the tree.

    environment: added to the supervisor's own.
    last: whether it stops after all the others, since they need it to end well.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    last: bool = False


class ProcessTree:
    """Starts children, restarts what dies, with back-off, and stops all of them.

    Output of each child goes to `NAME.log` in the log folder.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._kept: list[_Kept] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._failure: ChildFailed | None = None
        self._watcher = threading.Thread(target=self._watch, name="supervision", daemon=True)
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, child: Child) -> None:
        """Start a child and keep it alive from now on."""
        with self._lock:
            self._kept.append(_Kept(child, self._logs / f"{child.name}.log"))
        if not self._watcher.is_alive():
            self._watcher.start()

    def wait_until(self, ready: Callable[[], bool], what: str, *, within_s: float) -> None:
        """Return once `ready()` holds.

        Raises:
            ChildFailed: a child gave up, or `what` was not ready in time.
        """
        over = time.monotonic() + within_s
        while not ready():
            self.raise_failure()
            if time.monotonic() > over:
                raise ChildFailed(f"{what} not ready after {within_s:.0f} s; logs: {self._logs}")
            self._stopping.wait(POLL_S / 2)

    def wait(self) -> None:
        """Wait until the tree is stopped, or a signal interrupts this thread.

        Raises:
            ChildFailed: a child does not stay up.
        """
        while not self._stopping.wait(POLL_S):
            self.raise_failure()

    def raise_failure(self) -> None:
        """Raise what the watcher has found, if anything."""
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop all children, those marked `last` after the others; returns when none is left."""
        self._stopping.set()
        with self._lock:
            for last in (False, True):
                kept = [one for one in self._kept if one.child.last is last]
                for one in kept:
                    one.process.terminate()
                over = time.monotonic() + (1.0 if last else STOP_WITHIN_S)
                for one in kept:
                    one.end(over)
            self._kept.clear()
        self._ended.set()
        if self._watcher.is_alive():
            self._watcher.join()

    def pids(self) -> dict[str, int]:
        """The process number of each child that runs now."""
        with self._lock:
            return {
                one.child.name: one.process.pid for one in self._kept if one.process.poll() is None
            }

    def _watch(self) -> None:
        while self._failure is None and not self._stopping.wait(POLL_S):
            with self._lock:
                if self._stopping.is_set():
                    break
                for one in self._kept:
                    try:
                        one.keep_alive()
                    except (ChildFailed, OSError) as failure:
                        self._failure = ChildFailed(str(failure))
        # What this thread started dies with it (see DIE_WITH_PARENT): stay until all are stopped.
        self._ended.wait()


class _Kept:
    """A child, its process and how often it stopped in a row."""

    def __init__(self, child: Child, log: Path) -> None:
        self.child = child
        self._log = log
        self._stops = 0
        self._restart_at: float | None = None
        log.write_bytes(b"")
        self.process = self._start()

    def keep_alive(self) -> None:
        """Notice a stop and start again when its time has come.

        Raises:
            ChildFailed: it stopped too often.
        """
        now = time.monotonic()
        if self._restart_at is not None:
            if now >= self._restart_at:
                self._restart_at = None
                self.process = self._start()
            return
        code = self.process.poll()
        if code is None:
            return
        self.kill_group()
        self._stops = 1 if now - self._started > WELL_AFTER_S else self._stops + 1
        if self._stops >= STOPS_IN_A_ROW:
            words = self._log.read_text(errors="replace").strip().splitlines()
            last_words = words[-1] if words else "it said nothing"
            raise ChildFailed(
                f"{self.child.name} does not stay up (exit code {code}): {last_words} "
                f"(log: {self._log})"
            )
        self._restart_at = now + BACK_OFF_S[self._stops - 1]

    def end(self, over: float) -> None:
        """Wait for the end until `over`, then kill it and what it left behind."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, over - time.monotonic()))
        self.kill_group()
        self.process.wait()

    def kill_group(self) -> None:
        """Kill all that the child has started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _start(self) -> subprocess.Popen[bytes]:
        self._started = time.monotonic()
        command = [*self.child.command]
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, *command]
        # A session of its own: Ctrl-C is for the supervisor, which then ends all in order.
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.child.environment},
                start_new_session=True,
            )
