"""Reports: ask for one, follow it, read it as JSON, as a page or as a PDF."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from app.api import pagination
from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.deps import KeyedDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.reports import ReportCreate, ReportPage, ReportRead
from app.domain.errors import (
    ExtraMissing,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    LedgerNotSigned,
    NotFound,
    NothingOnRecord,
    ReportNotReady,
)
from app.services.reports import Form

router = APIRouter(prefix="/reports", tags=["reports"], route_class=StrictRoute)

MEDIA_TYPES: dict[Form, str] = {
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
}
# a page of a report runs nothing and asks nobody, wherever it is opened
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"


@router.post(
    "",
    status_code=202,
    response_model=ReportRead,
    responses={
        200: {"model": ReportRead, "description": "An equal report is ready"},
        **problems(
            NotFound,
            LedgerNotSigned,
            NothingOnRecord,
            IdempotencyKeyMissing,
            IdempotencyKeyReused,
        ),
    },
)
def create_report(
    body: ReportCreate,
    caller: CallerDep,
    keyed: KeyedDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Have a report built on a signed checkpoint, which is made where the ledger has moved."""
    document = services.reports.ask(caller, body.dataset_id, body.checkpoint_seq, keyed)
    if document["state"] == "ready":
        response.status_code = 200
    response.headers["Location"] = f"/v1/reports/{document['id']}"
    return document


@router.get("", response_model=ReportPage, responses=problems(NotFound))
def list_reports(
    caller: CallerDep,
    services: ServicesDep,
    dataset_id: Annotated[UUID | None, Query()] = None,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """Reports with how far they are, newest first."""
    after = pagination.read_id(cursor, "id")
    return pagination.page(services.reports.list(caller, dataset_id, after, limit), limit, "id")


@router.get(
    "/{report_id}",
    response_model=ReportRead,
    responses={
        200: {
            "model": ReportRead,
            "description": "How far it is; with `format` the report itself",
            "content": {"text/html": {}, "application/pdf": {}},
        },
        **problems(NotFound, ReportNotReady, ExtraMissing),
    },
)
def read_report(
    report_id: UUID,
    caller: CallerDep,
    services: ServicesDep,
    form: Annotated[
        Form | None, Query(alias="format", description="the report itself, in this form")
    ] = None,
) -> Any:
    """One report: without `format` how far it is, with one the signed document.

    The JSON is the report; the page and the PDF are rendered from it alone. `ETag` is the SHA-256
    of the JSON in all three.
    """
    if form is None:
        return services.reports.get(caller, report_id)
    content, sha256 = services.reports.document(caller, report_id, form)
    headers = {
        "ETag": f'"{sha256}"',
        "Content-Disposition": f'attachment; filename="report-{report_id}.{form}"',
    }
    if form == "html":
        headers["Content-Security-Policy"] = PAGE_POLICY
    return Response(content, media_type=MEDIA_TYPES[form], headers=headers)
