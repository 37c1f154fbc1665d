"""Budgets: scopes, what they hold and their statement."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response

from app.api import pagination
from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.deps import KeyedDep, set_etag
from app.api.problems import problems
from app.api.reading import StrictRoute, in_order
from app.api.schemas.budgets import (
    BlockPage,
    BudgetCreate,
    BudgetCreated,
    BudgetPage,
    BudgetRead,
    StatementRead,
    TimelineRead,
    TraceRead,
)
from app.domain.errors import (
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    NotFound,
    RootExists,
    ScopeClosed,
    TooManyPending,
)
from app.services.block_strips import block_strip
from app.services.statements import statement
from app.services.timeline import timeline
from app.services.trace import trace

BudgetState = Literal["proposed", "open", "frozen", "closed"]
BudgetKind = Literal["lifetime", "allocation", "window", "period"]

router = APIRouter(prefix="/budgets", tags=["budgets"], route_class=StrictRoute)


@router.post(
    "",
    status_code=201,
    response_model=BudgetCreated,
    response_model_exclude_unset=True,
    responses={
        202: {
            "model": BudgetCreated,
            "description": "Proposed; a second person decides, or a worker composes the plan",
        },
        **problems(
            NotFound,
            RootExists,
            ScopeClosed,
            TooManyPending,
            IdempotencyKeyMissing,
            IdempotencyKeyReused,
        ),
    },
)
def create_budget(
    body: BudgetCreate,
    caller: CallerDep,
    keyed: KeyedDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Propose a lifetime root (two people, L10) or a plan, or open an allocation below a budget."""
    document = in_order(services.budgets.create(caller, body.to_request(), keyed))
    if document["state"] == "proposed":
        response.status_code = 202
    response.headers["Location"] = f"/v1/budgets/{document['id']}"
    set_etag(response, document["version"])
    return document


@router.get("", response_model=BudgetPage, responses=problems(NotFound))
def list_budgets(
    caller: CallerDep,
    services: ServicesDep,
    dataset_id: Annotated[UUID | None, Query()] = None,
    state: Annotated[BudgetState | None, Query()] = None,
    kind: Annotated[BudgetKind | None, Query()] = None,
    order: pagination.Order = None,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """The budgets that the caller may read, with their amounts; oldest first."""
    after, newest = pagination.read_id(cursor, "id"), order == "newest"
    found = services.budgets.list(
        caller, dataset_id, after, limit, state=state, kind=kind, newest_first=newest
    )
    return pagination.page(found, limit, "id")


@router.get("/{budget_id}", response_model=BudgetRead, responses=problems(NotFound))
def read_budget(
    budget_id: UUID, caller: CallerDep, services: ServicesDep, response: Response
) -> dict[str, Any]:
    """One budget: limit, committed, reserved, consumed, remaining."""
    document = services.budgets.get(caller, budget_id)
    set_etag(response, document["version"])
    return document


@router.get("/{budget_id}/blocks", response_model=BlockPage, responses=problems(NotFound))
def list_blocks(
    budget_id: UUID,
    caller: CallerDep,
    services: ServicesDep,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """What each block has consumed, neighbours that hold the same in one; none without blocks."""
    last = pagination.read_number(cursor, "last")
    from_block = 0 if last is None else last + 1
    runs = block_strip(services.make_session, caller, budget_id, from_block=from_block, limit=limit)
    return pagination.page(runs, limit, "last")


@router.get("/{budget_id}/timeline", response_model=TimelineRead, responses=problems(NotFound))
def read_timeline(budget_id: UUID, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """Consumed day by day, decisions as marks, and a forecast of when the limit is reached."""
    return timeline(services.make_session, caller, budget_id)


@router.get("/{budget_id}/trace", response_model=TraceRead, responses=problems(NotFound))
def read_trace(
    budget_id: UUID,
    caller: CallerDep,
    services: ServicesDep,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """Which work, people and months spent it, in order, and the lawful ways on."""
    after = pagination.read_number(cursor, "seq") or 0
    found = trace(services.make_session, caller, budget_id, after, limit)
    return {**found, **pagination.page(found["items"], limit, "seq")}


@router.get(
    "/{budget_id}/statement",
    response_model=StatementRead,
    responses=problems(NotFound, ScopeClosed),
)
def read_statement(
    budget_id: UUID,
    caller: CallerDep,
    services: ServicesDep,
    audience: Annotated[Literal["subject", "officer", "auditor"], Query()] = "officer",
) -> dict[str, Any]:
    """What is proven about a budget, in the words of an audience and with its assumptions (L9).

    `subject` may be handed on and is for whoever may read the budget; `officer` and `auditor` show
    what the lifetime has consumed, and need the right to read that.
    """
    return statement(services.make_session, caller, budget_id, audience)
