"""A worker's app with tasks that only leave a trace, for tests of what the broker promises."""

import os
import time
from pathlib import Path

from workers import stopping
from workers.celery_app import app

app.conf.imports = ()


@app.task(name="probe.trace")
def trace(folder: str, hold_s: float) -> None:
    """Write down who began, wait, write down who ended."""
    mark(folder, f"began {os.getpid()}")
    time.sleep(hold_s)
    mark(folder, f"ended {os.getpid()}")


@app.task(name="probe.until_stopped")
def until_stopped(folder: str) -> None:
    """Write down who began, and who has heard that the worker is to stop."""
    mark(folder, f"began {os.getpid()}")
    while not stopping.is_asked():
        time.sleep(0.01)
    mark(folder, f"heard {os.getpid()}")


def mark(folder: str, line: str) -> None:
    """Add one line, whole."""
    with (Path(folder) / "trace").open("a") as file:
        file.write(line + "\n")
