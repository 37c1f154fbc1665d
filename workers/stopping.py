"""Whether this worker was told to stop, known in the processes that run its jobs.

Celery tells its parent process alone, and the children ignore the signal. They share one byte of
memory with it, made before the fork: no lock, so a child that is killed leaves none behind.
"""

import mmap
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

STOPS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)

_asked = mmap.mmap(-1, 1)


def ask() -> None:
    """Let every job of this worker end its claim at its next start, if it can go on elsewhere."""
    _asked[0] = 1


def is_asked() -> bool:
    """Whether it was asked."""
    return _asked[0] == 1


def ask_at_signals() -> None:
    """Ask at the first signal that stops the worker, before Celery waits for its jobs to end."""
    for number in STOPS:
        installed = signal.getsignal(number)
        if callable(installed):
            signal.signal(number, _asking(installed))


def _asking(
    installed: Callable[[int, FrameType | None], Any],
) -> Callable[[int, FrameType | None], Any]:
    def handle(number: int, frame: FrameType | None) -> Any:
        ask()
        return installed(number, frame)

    return handle
