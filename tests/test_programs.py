"""The command lines of the workers: which queues they read, and which device each may see."""

from collections.abc import Sequence

from app.programs import gpu_worker_child, worker_child
from app.settings import Settings


def _option(command: Sequence[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_a_worker_without_a_gpu_takes_no_job_that_asks_for_one() -> None:
    queues = _option(worker_child(Settings()).command, "--queues").split(",")
    assert "gpu" not in queues


def test_each_gpu_has_one_process_that_sees_no_other_device() -> None:
    workers = [gpu_worker_child(Settings(gpu_workers=2), device) for device in range(2)]
    for device, worker in enumerate(workers):
        assert _option(worker.command, "--pool") == "solo"
        assert _option(worker.command, "--queues") == "gpu"
        assert worker.environment["CUDA_VISIBLE_DEVICES"] == str(device)
    assert len({_option(worker.command, "--hostname") for worker in workers}) == 2
