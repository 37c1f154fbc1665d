"""People, projects and keys: an admin's work."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Response

from app.api.auth import CallerDep
from app.api.container import ServicesDep
from app.api.deps import KeyedDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.people import (
    ApiKeyCreate,
    ApiKeyCreated,
    ApiKeyList,
    ApiKeyRead,
    MemberAdd,
    MeRead,
    PersonCreate,
    PersonList,
    PersonRead,
    ProjectCreate,
    ProjectList,
    ProjectRead,
)
from app.domain.errors import (
    AlreadyExists,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    NotFound,
)
from app.services.principals import KeyRequest, PersonRequest

router = APIRouter(tags=["people"], route_class=StrictRoute)

CREATING = (AlreadyExists, IdempotencyKeyMissing, IdempotencyKeyReused)


@router.get("/me", response_model=MeRead, responses=problems())
def read_me(caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """Who the key speaks for."""
    return services.principals.me(caller)


@router.post("/people", status_code=201, response_model=PersonRead, responses=problems(*CREATING))
def create_person(
    body: PersonCreate,
    caller: CallerDep,
    keyed: KeyedDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Make a principal. It has no key yet."""
    request = PersonRequest(name=body.name, roles=tuple(body.roles))
    response.headers["Location"] = "/v1/people"
    return services.principals.create(caller, request, keyed)


@router.get("/people", response_model=PersonList, responses=problems())
def list_people(caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """All principals, by name."""
    return {"items": services.principals.list(caller)}


@router.post(
    "/projects", status_code=201, response_model=ProjectRead, responses=problems(*CREATING)
)
def create_project(
    body: ProjectCreate,
    caller: CallerDep,
    keyed: KeyedDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Make a project without members."""
    response.headers["Location"] = "/v1/projects"
    return services.projects.create(caller, body.name, keyed)


@router.get("/projects", response_model=ProjectList, responses=problems())
def list_projects(caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """The projects that the caller may know."""
    return {"items": services.projects.list(caller)}


@router.post(
    "/projects/{project_id}/members", response_model=ProjectRead, responses=problems(NotFound)
)
def add_project_member(
    project_id: UUID, body: MemberAdd, caller: CallerDep, services: ServicesDep
) -> dict[str, Any]:
    """Put a principal into a project; a repeat changes nothing."""
    return services.projects.add_member(caller, project_id, body.principal_id)


@router.delete(
    "/projects/{project_id}/members/{principal_id}",
    response_model=ProjectRead,
    responses=problems(NotFound),
)
def remove_project_member(
    project_id: UUID, principal_id: UUID, caller: CallerDep, services: ServicesDep
) -> dict[str, Any]:
    """Take a principal out of a project; a repeat changes nothing."""
    return services.projects.remove_member(caller, project_id, principal_id)


@router.post(
    "/api-keys",
    status_code=201,
    response_model=ApiKeyCreated,
    responses=problems(NotFound, IdempotencyKeyMissing, IdempotencyKeyReused),
)
def create_api_key(
    body: ApiKeyCreate,
    caller: CallerDep,
    keyed: KeyedDep,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Make a key and show it, once: a repeat of the request answers without it."""
    request = KeyRequest(body.principal_id, body.is_runner, body.expires_at)
    response.headers["Location"] = "/v1/api-keys"
    # a secret must not stay in a cache on its way
    response.headers["Cache-Control"] = "no-store"
    return services.api_keys.create(caller, request, keyed)


@router.get("/api-keys", response_model=ApiKeyList, responses=problems())
def list_api_keys(caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """All keys without their secrets, newest first."""
    return {"items": services.api_keys.list(caller)}


@router.post("/api-keys/{key_id}/revoke", response_model=ApiKeyRead, responses=problems(NotFound))
def revoke_api_key(
    key_id: Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")],
    caller: CallerDep,
    services: ServicesDep,
) -> dict[str, Any]:
    """End a key at once; a repeat changes nothing."""
    return services.api_keys.revoke(caller, key_id)
