"""Whether the process is up, and whether it can take work."""

from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.api.container import ServicesDep
from app.api.wire import WireAnswer
from app.db.migrate import is_at_head
from app.db.session import snapshot

router = APIRouter(tags=["health"])


class HealthRead(WireAnswer):
    """The process answers."""

    status: str


class ReadinessRead(WireAnswer):
    """Each part that work needs, and whether it is there."""

    ready: bool
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
    """Whether the database answers at the newest schema and admissions are being taken."""
    checks = {"database": False, "schema": False, "admissions": services.writer.is_alive}
    try:
        with snapshot(services.make_session) as session:
            engine = session.get_bind()
            assert isinstance(engine, Engine)  # noqa: S101 - sessions are made over an engine
            checks["database"] = True
        checks["schema"] = is_at_head(engine)
    except SQLAlchemyError:
        response.status_code = 503
    ready = all(checks.values())
    if not ready:
        response.status_code = 503
    return {"ready": ready, "checks": checks}
