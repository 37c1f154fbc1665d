"""Task names. A name flows down to the broker; code does not (DESIGN section 6)."""

from typing import Final

RUN_JOB: Final = "jobs.run"
COMPOSE_PLAN: Final = "plans.compose"
