"""Whether the process is up, and whether it can take work."""

from typing import Any, Literal

from fastapi import APIRouter, Response

from app.api.container import ServicesDep
from app.api.wire import WireAnswer
from app.services import readiness

router = APIRouter(tags=["health"])


class HealthRead(WireAnswer):
    """The process answers."""

    status: str


class ReadinessRead(WireAnswer):
    """Each part that work needs, and whether it is there.

    `unready` is 503: nothing is admitted. `degraded` is 200: work is admitted and charged, and
    waits, since messages are not brought to workers or no worker lives.
    """

    ready: bool
    status: Literal["ready", "degraded", "unready"]
    checks: dict[str, bool]


@router.get("/healthz", response_model=HealthRead)
def check_health() -> dict[str, Any]:
    """Answers without touching anything."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    response_model=ReadinessRead,
    responses={503: {"model": ReadinessRead, "description": "Something is missing"}},
)
def check_readiness(services: ServicesDep, response: Response) -> dict[str, Any]:
    """Whether admissions are taken, at the newest schema, and whether anybody will run the work."""
    found = readiness.look(services.make_session, takes_admissions=services.writer.is_alive)
    is_ready = found.status != "unready"
    if not is_ready:
        response.status_code = 503
    return {"ready": is_ready, "status": found.status, "checks": found.checks}
