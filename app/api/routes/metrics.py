"""What Prometheus scrapes: figures of this process and of the ledger, for who shows the token."""

import logging

from fastapi import APIRouter, HTTPException, Request, Response

from app.api.container import ServicesDep
from app.api.problems import problems
from app.domain.errors import NotAuthenticated, NotFound
from app.services import metrics, scraping
from app.services.signing import KeyRefused

log = logging.getLogger(__name__)

router = APIRouter(tags=["health"])

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"description": "Prometheus's text form", "content": {"text/plain": {}}},
        **problems(NotAuthenticated, NotFound),
    },
)
def read_metrics(request: Request, services: ServicesDep) -> Response:
    """Counts, ages and amounts, by ids alone; 404 where no token is configured."""
    if services.metrics_token_file is None:
        raise HTTPException(404)
    try:
        token = scraping.token_of(services.metrics_token_file)
    except KeyRefused as refused:
        log.critical("metrics.token_refused reason=%s", refused)
        raise NotAuthenticated from None
    if not scraping.is_shown(request.headers.get("Authorization"), token):
        raise NotAuthenticated
    text = metrics.text(services.make_session, waiting=services.writer.waiting)
    return Response(text, media_type=MEDIA_TYPE)
