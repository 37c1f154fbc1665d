"""Entries of a budget: its chain in pages, and as a table."""

from collections.abc import Iterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import StringConstraints

from app.api import pagination
from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.ledger import EntryPage
from app.api.wire import COUNT_MOST, NO_CONTROL, Time
from app.domain.errors import NotFound
from app.domain.ledger import EntryKind
from app.services.entries import EntryRequest

MEDIA_TYPE = "text/csv"

router = APIRouter(prefix="/budgets", tags=["budgets"], route_class=StrictRoute)

Seq = Annotated[int | None, Query(ge=1, le=COUNT_MOST)]
Text = Annotated[str, StringConstraints(pattern=NO_CONTROL, min_length=1, max_length=200)]


def entry_request(
    kind: Annotated[EntryKind | None, Query()] = None,
    actor: Annotated[
        Text | None,
        Query(description="An id, the name of a person, or a part of the service such as `sweep`."),
    ] = None,
    job: Annotated[UUID | None, Query()] = None,
    since: Annotated[Time | None, Query(description="Not before this time.")] = None,
    before: Annotated[Time | None, Query(description="Not at this time or later.")] = None,
    from_seq: Seq = None,
    to_seq: Seq = None,
    search: Annotated[
        Text | None,
        Query(description="The id of an entry or of what it names, or how its hash begins."),
    ] = None,
) -> EntryRequest:
    """What of a chain is asked for."""
    return EntryRequest(kind, actor, job, since, before, from_seq, to_seq, search)


AskedDep = Annotated[EntryRequest, Depends(entry_request)]


@router.get("/{budget_id}/entries", response_model=EntryPage, responses=problems(NotFound))
def list_entries(
    budget_id: UUID,
    caller: CallerDep,
    services: ServicesDep,
    asked: AskedDep,
    order: pagination.Order = None,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """The chain of a budget from its first entry on, or from its last one back (L4)."""
    after, newest = pagination.read_number(cursor, "seq"), order == "newest"
    found = services.entries.list(caller, budget_id, after, limit, asked=asked, newest_first=newest)
    return pagination.page(found, limit, "seq")


@router.get(
    "/{budget_id}/entries/export",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
            "description": "The entries, line by line",
        },
        **problems(NotFound),
    },
)
def export_entries(
    budget_id: UUID,
    caller: CallerDep,
    services: ServicesDep,
    asked: AskedDep,
    order: pagination.Order = None,
) -> StreamingResponse:
    """The same entries as one table in CSV, however many there are.

    A leading apostrophe marks a text that a spreadsheet would take for a formula. The bytes that
    were hashed are not in it: `/v1/ledger/export` has them.
    """
    table: Iterator[str] = services.entries.table(
        caller, budget_id, asked=asked, newest_first=order == "newest"
    )
    headers = {"Content-Disposition": f'attachment; filename="entries-{budget_id}.csv"'}
    return StreamingResponse(table, media_type=MEDIA_TYPE, headers=headers)
