"""Task names. A name flows down to the broker; code does not (DESIGN section 6)."""

from collections.abc import Mapping
from typing import Any, Final

RUN_JOB: Final = "jobs.run"
COMPOSE_PLAN: Final = "plans.compose"
BUILD_REPORT: Final = "reports.build"

CPU_QUEUE: Final = "cpu"
GPU_QUEUE: Final = "gpu"
# what is computed of public parameters and records alone
REPORTS_QUEUE: Final = "reports"


def queue_of(spec: Mapping[str, Any]) -> str:
    """The queue of a job: that of the device that its spec asks for."""
    return GPU_QUEUE if spec.get("device") == "gpu" else CPU_QUEUE
