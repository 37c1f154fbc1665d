"""Jobs that our workers run: submit, follow, cancel, collect."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.api import pagination
from app.api.auth import CallerAgainDep, CallerDep
from app.api.container import ServicesDep
from app.api.deps import KeyedDep, at_once
from app.api.problems import problems
from app.api.reading import StrictRoute, in_order
from app.api.result_forms import FORMS, ResultForm, chosen_form, forms_of
from app.api.routes.quotes import PRICING
from app.api.schemas.jobs import (
    JobAdmitted,
    JobCharges,
    JobPage,
    JobRead,
    JobSubmit,
    ResultRead,
)
from app.domain.errors import (
    AlreadyResolved,
    BudgetExceeded,
    FormatNotAvailable,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    ResultNotReady,
    ResultPurged,
    ScopeClosed,
)
from app.domain.jobs import JobKind
from app.reporting.result_table import RESULT_PARQUET, csv_text, result_table

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=StrictRoute)

POLL_S = 0.5
JobState = Literal["queued", "running", "settled", "cancelled", "failed"]
ENDED = frozenset({"settled", "cancelled", "failed"})


@router.post(
    "",
    status_code=202,
    response_model=JobAdmitted,
    responses={
        200: {"model": JobAdmitted, "description": "An equal query's release answers this one"},
        **problems(
            *PRICING, BudgetExceeded, ScopeClosed, IdempotencyKeyMissing, IdempotencyKeyReused
        ),
    },
)
async def submit_job(
    body: JobSubmit,
    caller: CallerDep,
    caller_again: CallerAgainDep,
    keyed: KeyedDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Admit a job: reserve its worst-case privacy loss and queue it.

    A query that was asked before is answered by what it released: 200, with `reused_from`.
    """
    request, admissions = body.to_request(), services.admissions
    answer = await at_once(admissions, caller, request, keyed)
    if answer is None:
        answer = await run_in_threadpool(lambda: admissions.submit(caller_again(), request, keyed))
    document = in_order(answer)
    response.headers["Location"] = f"/v1/jobs/{document['id']}"
    if document.get("reused_from") is not None:
        response.status_code = 200
    return document


@router.get("", response_model=JobPage, responses=problems(NotFound))
def list_jobs(
    caller: CallerDep,
    services: ServicesDep,
    state: Annotated[JobState | None, Query()] = None,
    kind: Annotated[JobKind | None, Query()] = None,
    dataset_id: Annotated[UUID | None, Query(description="Jobs that read this dataset.")] = None,
    mine: Annotated[bool | None, Query(description="Only those that the caller asked for.")] = None,
    order: pagination.Order = None,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """The caller's jobs, or everybody's for officers and auditors; newest first."""
    after, newest = pagination.read_id(cursor, "id"), order != "oldest"
    found = services.jobs.list(
        caller,
        after,
        limit,
        state=state,
        kind=kind,
        dataset_id=dataset_id,
        is_mine=mine is True,
        newest_first=newest,
    )
    return pagination.page(found, limit, "id")


@router.get("/{job_id}", response_model=JobRead, responses=problems(NotFound))
def read_job(job_id: UUID, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """One job: its state and how many of its units have started."""
    return services.jobs.get(caller, job_id)


@router.get("/{job_id}/charges", response_model=JobCharges, responses=problems(NotFound))
def list_job_charges(job_id: UUID, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """What was held, charged or given back for a job, entry by entry, in each readable scope."""
    return {"items": services.jobs.charges(caller, job_id)}


JobDep = Annotated[dict[str, Any], Depends(read_job)]
LastEventId = Annotated[int, Header(alias="Last-Event-ID", ge=0, le=2**53 - 1)]


@router.get("/{job_id}/events", response_class=EventSourceResponse, responses=problems(NotFound))
async def follow_job(
    job_id: UUID,
    found: JobDep,
    caller: CallerDep,
    caller_again: CallerAgainDep,
    services: ServicesDep,
    last_event_id: LastEventId = 0,
) -> AsyncIterator[ServerSentEvent]:
    """Progress as it is published, then `ended`; goes on after Last-Event-ID (R13).

    It stops without a word where the caller may no longer read the job.
    """
    state, after = None, last_event_id
    job = found
    while True:
        # the state is read before the rows: what came before the end is then among them
        rows = await run_in_threadpool(services.jobs.progress_after, caller, job_id, after)
        if job["state"] != state:
            state = job["state"]
            if state not in ENDED:
                yield ServerSentEvent(event="state", data=_standing(job))
        for row in rows:
            after = row["id"]
            yield ServerSentEvent(event="progress", id=str(after), data=row)
        if not rows:
            if state in ENDED:
                yield ServerSentEvent(event="ended", data=_standing(job))
                return
            await asyncio.sleep(POLL_S)
        try:
            # what has ended meanwhile, a key or a membership, ends the stream too
            job = await run_in_threadpool(lambda: services.jobs.get(caller_again(), job_id))
        except (NotAuthenticated, NotAllowed, NotFound):
            return


@router.post(
    "/{job_id}/cancel", response_model=JobRead, responses=problems(NotFound, AlreadyResolved)
)
def cancel_job(job_id: UUID, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """Ask for a stop: a queued job ends at no charge, a running one at its next chunk."""
    return services.jobs.cancel(caller, job_id)


@router.get(
    "/{job_id}/result",
    response_model=ResultRead,
    responses={
        200: {
            "description": "What it released",
            "content": {FORMS["csv"]: {"schema": {"type": "string"}}, FORMS["parquet"]: {}},
        },
        **problems(NotFound, ResultNotReady, ResultPurged, FormatNotAvailable),
    },
)
def read_job_result(
    job_id: UUID,
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    format: ResultForm | None = None,
    accept: Annotated[str, Header(max_length=1000, include_in_schema=False)] = "*/*",
) -> Response | dict[str, Any]:
    """What the job released; readable only once its spend is posted (L2).

    As JSON, or a query's table as CSV or Parquet: by `format`, else by Accept. In the CSV a leading
    apostrophe marks a text that a spreadsheet would take for a formula; the Parquet file is made by
    the worker as it releases.
    """
    document = services.jobs.result(caller, job_id)
    forms = forms_of(document)
    form = chosen_form(format, accept, forms)
    response.headers["Vary"] = "Accept"
    if form == "json":
        return document
    headers = {
        "Content-Disposition": f'attachment; filename="result-{job_id}.{form}"',
        "Vary": "Accept",
        "X-Content-Type-Options": "nosniff",
    }
    if form == "csv":
        return Response(csv_text(result_table(document)), media_type=FORMS["csv"], headers=headers)
    file = services.jobs.artifact(caller, job_id, RESULT_PARQUET)
    if not file.is_file():
        raise FormatNotAvailable(available=[each for each in forms if each != "parquet"])
    return FileResponse(file, media_type=FORMS["parquet"], headers=headers)


@router.get(
    "/{job_id}/artifacts/{name}",
    response_class=FileResponse,
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "The file"},
        **problems(NotFound, ResultNotReady, ResultPurged),
    },
)
def read_job_artifact(
    job_id: UUID,
    name: Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._-]+$")],
    caller: CallerDep,
    services: ServicesDep,
) -> FileResponse:
    """A file that the posted result names; no other file is ever served."""
    file = services.jobs.artifact(caller, job_id, name)
    if not file.is_file():
        raise NotFound(kind="artifact", id=name)
    return FileResponse(file, media_type="application/octet-stream", filename=name)


def _standing(job: dict[str, Any]) -> dict[str, Any]:
    fields = ("id", "state", "started_units", "max_units", "failure_code")
    return {field: job[field] for field in fields}
