"""The command lines of the service's programs, the same in one tree and on many machines."""

import sys
from collections.abc import Sequence

from app.domain.tasks import GPU_QUEUE
from app.settings import Settings
from app.supervision import Child

# quiet: its banner is no line of a log
CELERY_WORKER = ("-m", "celery", "--quiet", "-A", "workers.celery_app", "worker")


def api_child(settings: Settings) -> Child:
    """The API process; embedded, it runs the relay and the sweeper too."""
    command = [sys.executable, "-m", "uvicorn", "app.main:from_environment", "--factory"]
    command += ["--host", settings.host, "--port", str(settings.port)]
    command += ["--log-level", settings.log_level.lower(), "--timeout-graceful-shutdown", "3"]
    return Child("api", command, settings.to_environment())


def dispatch_child(settings: Settings) -> Child:
    """The relay and the sweeper, where no API process runs them."""
    return Child(
        "dispatch", [sys.executable, "-m", "app.cli", "dispatch"], settings.to_environment()
    )


def sender_child(settings: Settings) -> Child:
    """What brings notices to webhooks and mailboxes, where no API process does."""
    return Child("sender", [sys.executable, "-m", "app.cli", "send"], settings.to_environment())


def worker_child(settings: Settings) -> Child:
    """A worker for what needs no accelerator: one process for jobs, one job at a time."""
    command = [sys.executable, *CELERY_WORKER]
    command += ["--pool", "prefork", "--concurrency", "1", "--queues", "cpu,reports"]
    command += ["--without-gossip", "--without-mingle", "--loglevel", settings.log_level]
    # SIGTERM gives a running job a moment and then hands it back, instead of waiting for its end.
    return Child("worker", command, {**settings.to_environment(), "REMAP_SIGTERM": "SIGQUIT"})


def gpu_worker_child(settings: Settings, device: int) -> Child:
    """A worker for one GPU: one process, which no fork divides (CUDA does not survive one)."""
    command = [sys.executable, *CELERY_WORKER]
    command += ["--pool", "solo", "--queues", GPU_QUEUE, "--hostname", f"gpu{device}@%h"]
    command += ["--without-gossip", "--without-mingle", "--loglevel", settings.log_level]
    environment = {**settings.to_environment(), "CUDA_VISIBLE_DEVICES": str(device)}
    return Child(f"gpu-worker-{device}", command, {**environment, "REMAP_SIGTERM": "SIGQUIT"})


def examiner_command(arguments: Sequence[str]) -> list[str]:
    """The program that examines installed models: it loads torch, which the service never does."""
    return [sys.executable, "-m", "workers.examining", *arguments]


def sorter_command(arguments: Sequence[str]) -> list[str]:
    """The program that writes sorted copies: only workers read private rows."""
    return [sys.executable, "-m", "workers.sorting", *arguments]
