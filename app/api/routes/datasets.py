"""Datasets: registered, versioned, granted and retired by a compliance officer."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response

from app.api import pagination
from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.deps import KeyedDep, VersionDep, set_etag
from app.api.problems import problems
from app.api.reading import StrictRoute, in_order
from app.api.schemas.datasets import (
    DatasetCreate,
    DatasetCreated,
    DatasetPage,
    DatasetPatch,
    DatasetRead,
    GrantCreate,
    GrantRead,
    PurgeCreate,
    PurgeRead,
    VersionCreate,
    VersionPage,
    VersionRead,
)
from app.domain.datasets import Access
from app.domain.errors import (
    AlreadyExists,
    AlreadyResolved,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    NotFound,
    PurgeRefused,
    SourceAlreadyRegistered,
    TooManyPending,
    VersionMismatch,
    VersionMissing,
)

router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=StrictRoute)


@router.post(
    "",
    status_code=201,
    response_model=DatasetCreated,
    response_model_exclude_unset=True,
    responses={
        202: {"model": DatasetCreated, "description": "Proposed; a second person decides"},
        **problems(
            NotFound,
            AlreadyExists,
            AlreadyResolved,
            SourceAlreadyRegistered,
            TooManyPending,
            IdempotencyKeyMissing,
            IdempotencyKeyReused,
        ),
    },
)
def register_dataset(
    body: DatasetCreate,
    caller: CallerDep,
    keyed: KeyedDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Register rows once and for ever; unit, relation and schema never change (R18)."""
    document = in_order(services.datasets.register(caller, body.to_request(), keyed))
    if document["state"] == "proposed":
        response.status_code = 202
    response.headers["Location"] = f"/v1/datasets/{document['id']}"
    set_etag(response, document["revision"])
    return document


@router.get(
    "",
    response_model=DatasetPage,
    response_model_exclude_unset=True,
    responses=problems(NotFound),
)
def list_datasets(
    caller: CallerDep,
    services: ServicesDep,
    state: Annotated[Literal["proposed", "active", "retired"] | None, Query()] = None,
    access: Annotated[Access | None, Query()] = None,
    order: pagination.Order = None,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """The datasets that the caller may know, oldest first."""
    after, newest = pagination.read_id(cursor, "id"), order == "newest"
    found = services.datasets.list(
        caller, after, limit, state=state, access=access, newest_first=newest
    )
    return pagination.page(found, limit, "id")


@router.get(
    "/{dataset_id}",
    response_model=DatasetRead,
    response_model_exclude_unset=True,
    responses=problems(NotFound),
)
def read_dataset(
    dataset_id: UUID, caller: CallerDep, services: ServicesDep, response: Response
) -> dict[str, Any]:
    """The public facts of a dataset."""
    document = services.datasets.get(caller, dataset_id)
    set_etag(response, document["revision"])
    return document


@router.patch(
    "/{dataset_id}",
    response_model=DatasetRead,
    response_model_exclude_unset=True,
    responses=problems(NotFound, AlreadyResolved, VersionMismatch, VersionMissing),
)
def describe_dataset(
    dataset_id: UUID,
    body: DatasetPatch,
    caller: CallerDep,
    version: VersionDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Change what is said of a dataset and binds nothing: purpose, raw viewers, retention."""
    document = services.datasets.describe(caller, dataset_id, body.changes(), if_version=version)
    set_etag(response, document["revision"])
    return document


@router.get(
    "/{dataset_id}/versions",
    response_model=VersionPage,
    response_model_exclude_unset=True,
    responses=problems(NotFound),
)
def list_dataset_versions(
    dataset_id: UUID,
    caller: CallerDep,
    services: ServicesDep,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """The versions of a dataset, oldest first."""
    after = pagination.read_number(cursor, "version")
    items = services.datasets.versions(caller, dataset_id, after, limit)
    return pagination.page(items, limit, "version")


@router.post(
    "/{dataset_id}/versions",
    status_code=201,
    response_model=VersionRead,
    responses=problems(
        NotFound,
        SourceAlreadyRegistered,
        AlreadyResolved,
        VersionMismatch,
        VersionMissing,
        IdempotencyKeyMissing,
        IdempotencyKeyReused,
    ),
)
def add_dataset_version(
    dataset_id: UUID,
    body: VersionCreate,
    caller: CallerDep,
    keyed: KeyedDep,
    version: VersionDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Name newer rows of the same schema: a new version on the same ledger."""
    document = services.datasets.add_version(
        caller,
        dataset_id,
        path=body.path,
        format=body.format,
        if_version=version,
        keyed=keyed,
        stated=body.stated(),
    )
    response.headers["Location"] = f"/v1/datasets/{dataset_id}/versions"
    return document


@router.post(
    "/{dataset_id}/retire",
    response_model=DatasetRead,
    response_model_exclude_unset=True,
    responses=problems(NotFound, VersionMismatch, VersionMissing),
)
def retire_dataset(
    dataset_id: UUID,
    caller: CallerDep,
    version: VersionDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """End a dataset for new jobs; its ledger and its loss stay (R20)."""
    document = services.datasets.retire(caller, dataset_id, if_version=version)
    set_etag(response, document["revision"])
    return document


@router.post(
    "/{dataset_id}/purge",
    response_model=PurgeRead,
    responses=problems(NotFound, VersionMismatch, VersionMissing, PurgeRefused),
)
def purge_dataset(
    dataset_id: UUID,
    body: PurgeCreate,
    caller: CallerDep,
    version: VersionDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Delete what the jobs of a retired dataset released and kept; its loss stays (R20)."""
    document = services.purging.purge(caller, dataset_id, body.reason, if_version=version)
    set_etag(response, document["revision"])
    return document


@router.post(
    "/{dataset_id}/grants",
    response_model=GrantRead,
    responses=problems(NotFound),
)
def grant_dataset(
    dataset_id: UUID, body: GrantCreate, caller: CallerDep, services: ServicesDep
) -> dict[str, Any]:
    """Let a project ask about a dataset; a repeat changes nothing."""
    return services.datasets.grant(caller, dataset_id, body.project_id)


@router.delete(
    "/{dataset_id}/grants/{project_id}",
    status_code=204,
    responses=problems(NotFound),
)
def withdraw_dataset_grant(
    dataset_id: UUID, project_id: UUID, caller: CallerDep, services: ServicesDep
) -> None:
    """Take a grant back; what was spent under it stays spent."""
    services.datasets.withdraw(caller, dataset_id, project_id)
