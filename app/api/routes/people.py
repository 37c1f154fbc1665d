"""People, projects and keys: an admin's work."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response

from app.api import pagination
from app.api.auth import CallerDep
from app.api.browser import session_secret
from app.api.container import ServicesDep
from app.api.deps import KeyedDep
from app.api.problems import problems
from app.api.reading import StrictRoute
from app.api.schemas.people import (
    ApiKeyCreate,
    ApiKeyCreated,
    ApiKeyPage,
    ApiKeyRead,
    MemberAdd,
    MeRead,
    PersonCreate,
    PersonDeactivated,
    PersonPage,
    PersonRead,
    ProjectCreate,
    ProjectPage,
    ProjectRead,
    RolesChange,
    WorkRead,
)
from app.domain.errors import (
    AlreadyExists,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    NotFound,
)
from app.services.api_keys import KeyRequest
from app.services.principals import PersonRequest
from app.services.sessions import request_token

router = APIRouter(tags=["people"], route_class=StrictRoute)

CREATING = (AlreadyExists, IdempotencyKeyMissing, IdempotencyKeyReused)


@router.get("/me", response_model=MeRead, responses=problems())
def read_me(
    request: Request, caller: CallerDep, services: ServicesDep, response: Response
) -> dict[str, Any]:
    """Who the key or the session speaks for."""
    secret = session_secret(request) if caller.is_session else None
    response.headers["Cache-Control"] = "no-store"
    return {
        **services.principals.me(caller),
        "request_token": None if secret is None else request_token(secret),
    }


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


@router.get("/people", response_model=PersonPage, responses=problems(NotFound))
def list_people(
    caller: CallerDep,
    services: ServicesDep,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """Principals, by name."""
    after = pagination.read_id(cursor, "id")
    items = services.principals.list(caller, after, limit)
    return pagination.page(items, limit, "id")


@router.put("/people/{principal_id}/roles", response_model=PersonRead, responses=problems(NotFound))
def change_roles(
    principal_id: UUID, body: RolesChange, caller: CallerDep, services: ServicesDep
) -> dict[str, Any]:
    """Give somebody these roles and no other; the same roles again change nothing."""
    return services.principals.change_roles(caller, principal_id, body.roles)


@router.post(
    "/people/{principal_id}/deactivate",
    response_model=PersonDeactivated,
    responses=problems(NotFound),
)
def deactivate_person(
    principal_id: UUID, caller: CallerDep, services: ServicesDep
) -> dict[str, Any]:
    """End all that somebody may do; a repeat changes nothing and lists the work again."""
    return services.leavers.deactivate(caller, principal_id)


@router.post(
    "/people/{principal_id}/activate", response_model=PersonRead, responses=problems(NotFound)
)
def activate_person(principal_id: UUID, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """Let somebody act again, by new keys or a new invitation; a repeat changes nothing."""
    return services.leavers.activate(caller, principal_id)


@router.get("/people/{principal_id}/work", response_model=WorkRead, responses=problems(NotFound))
def list_work(principal_id: UUID, caller: CallerDep, services: ServicesDep) -> dict[str, Any]:
    """What somebody's jobs and reservations are at; of a leaver also what ended since."""
    return services.leavers.work(caller, principal_id)


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


@router.get("/projects", response_model=ProjectPage, responses=problems(NotFound))
def list_projects(
    caller: CallerDep,
    services: ServicesDep,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """The projects that the caller may know, by name."""
    after = pagination.read_id(cursor, "id")
    items = services.projects.list(caller, after, limit)
    return pagination.page(items, limit, "id")


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
    rights = None if body.rights is None else tuple(body.rights)
    request = KeyRequest(body.principal_id, body.is_runner, body.expires_at, rights)
    response.headers["Location"] = "/v1/api-keys"
    # a secret must not stay in a cache on its way
    response.headers["Cache-Control"] = "no-store"
    return services.api_keys.create(caller, request, keyed)


@router.get("/api-keys", response_model=ApiKeyPage, responses=problems(NotFound))
def list_api_keys(
    caller: CallerDep,
    services: ServicesDep,
    cursor: pagination.Cursor = None,
    limit: pagination.Limit = pagination.PAGE_DEFAULT,
) -> dict[str, Any]:
    """Keys without their secrets, newest first."""
    before = pagination.read_key_id(cursor, "id")
    items = services.api_keys.list(caller, before, limit)
    return pagination.page(items, limit, "id")


@router.post("/api-keys/{key_id}/revoke", response_model=ApiKeyRead, responses=problems(NotFound))
def revoke_api_key(
    key_id: Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")],
    caller: CallerDep,
    services: ServicesDep,
) -> dict[str, Any]:
    """End a key at once; a repeat changes nothing."""
    return services.api_keys.revoke(caller, key_id)
