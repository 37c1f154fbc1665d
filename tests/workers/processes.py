"""Real worker processes for tests, with the same command that the service uses."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app.settings import Settings


@contextmanager
def worker(
    settings: Settings, log: Path, *, app: str = "workers.celery_app", extra: Mapping[str, str] = {}
) -> Iterator["subprocess.Popen[bytes]"]:
    """A Celery worker on these settings; it is gone when the block ends."""
    from app.programs import worker_child

    child = worker_child(settings)
    command = [app if part == "workers.celery_app" else part for part in child.command]
    environment = {**os.environ, **settings.to_environment(), "OMP_NUM_THREADS": "1", **extra}
    with log.open("ab") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
