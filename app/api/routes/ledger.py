"""What others check the ledger by: all of it as one file, and where it was signed last."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.ledger import CheckpointRead
from app.domain.errors import NotFound

router = APIRouter(prefix="/ledger", tags=["oversight"], route_class=StrictRoute)

MEDIA_TYPE = "application/jsonl"
NAME = "epsilon-ledger.jsonl"


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={
        200: {"content": {MEDIA_TYPE: {}}, "description": "The bundle, line by line"},
        **problems(),
    },
)
def export_ledger(
    caller: CallerDep,
    services: ServicesDep,
    with_tail: Annotated[  # noqa: FBT002 - a query parameter has a name
        bool, Query(description="also the entries that no checkpoint has signed yet")
    ] = False,
) -> StreamingResponse:
    """Every entry, price and signed checkpoint, up to the newest checkpoint."""
    bundle = services.exports.bundle(caller, with_tail=with_tail)
    headers = {"Content-Disposition": f'attachment; filename="{NAME}"'}
    return StreamingResponse(bundle, media_type=MEDIA_TYPE, headers=headers)


@router.get("/checkpoint", response_model=CheckpointRead, responses=problems(NotFound))
def read_checkpoint(caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """The newest signed checkpoint as it is stored, with the heads that its root was made of."""
    return services.exports.checkpoint(caller)
