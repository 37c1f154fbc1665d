"""Claims of training jobs, each in a process of its own, ended by kill -9 at a chosen point.

To load torch takes seconds, so one process loads it, uses none of it, and forks for each claim that
is asked for on a line. Each draw of noise leaves a line first: a digest of its key, and its nonce.
"""

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from app.db.session import make_engine, make_session_maker
from app.services.witness import WitnessJournal
from app.settings import Settings
from kernels.noise.source import NoiseSource
from workers.claimed import ClaimedLedger
from workers.context import Context
from workers.engines.checkpoint_folder import CheckpointFolder
from workers.engines.train.engine import TrainingEngine
from workers.engines.train.steps import NoisyGradients
from workers.running import run_job

drawn_by = NoiseSource._nonce

# where a run of 40 steps in chunks of 10 is killed: what, after or before it, at which of its calls
POINTS: dict[str, tuple[type, str, str, int]] = {
    "before its start": (ClaimedLedger, "start", "before", 1),
    "between a touch and its first step": (ClaimedLedger, "start", "after", 2),
    "in the middle of a chunk": (NoisyGradients, "step", "after", 15),
    "between a checkpoint's files and its row": (ClaimedLedger, "name_checkpoint", "before", 2),
    "just after a checkpoint": (CheckpointFolder, "keep", "after", 2),
    "between the last step and the post": (ClaimedLedger, "post", "before", 1),
}


def recording(draws: Path) -> Callable[[NoiseSource, int, int], bytes]:
    """The nonces of a run's noise, each written down before it is used."""

    def nonce(source: NoiseSource, stream: int, step: int) -> bytes:
        found = drawn_by(source, stream, step)
        line = f"{hashlib.sha256(source._key).hexdigest()} {found.hex()}\n"
        with draws.open("a") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        return found

    return nonce


def die_at(point: str) -> None:
    """End this process at a point of its run, as the kernel would."""
    owner, name, when, call = POINTS[point]
    real = getattr(owner, name)
    calls = 0

    def stepped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = real(*args, **kwargs)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, name, stepped)


def main() -> None:
    """Run what is asked for, line by line; a line of the answer is how that process ended."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                run(*json.loads(line))
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def run(url: str, home: str, job_id: str, point: str, draws: str) -> None:
    """One claim, up to its end at a point."""
    setattr(NoiseSource, "_nonce", recording(Path(draws)))  # noqa: B010 - as a test replaces it
    die_at(point)
    settings = Settings(database_url=url, home=Path(home))
    context = Context(
        settings,
        make_session_maker(make_engine(url)),
        "to be killed",
        WitnessJournal(settings.witness_dir),
    )
    run_job(context, UUID(job_id), engines=lambda _kind: TrainingEngine())


if __name__ == "__main__":
    main()
