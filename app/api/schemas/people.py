"""People, projects and keys on the wire."""

from typing import Annotated, Any

from pydantic import Field

from app.api.wire import Id, IdText, Name, Time, TimeText, WireAnswer, WireRequest
from app.services.access import Role


class PersonCreate(WireRequest):
    """Somebody new. admin, auditor and worker go with no other role."""

    name: Name
    roles: Annotated[list[Role], Field(min_length=1, max_length=5)]


class PersonRead(WireAnswer):
    """A principal."""

    id: IdText
    name: str
    roles: list[str]
    active: bool
    created_at: TimeText


class PersonList(WireAnswer):
    """All principals."""

    items: list[PersonRead]


class MeRead(WireAnswer):
    """Who the key speaks for."""

    id: IdText
    name: str
    roles: list[str]
    key_id: str
    is_runner: bool
    project_ids: list[IdText]


class ProjectCreate(WireRequest):
    """A team."""

    name: Name


class ProjectRead(WireAnswer):
    """A team and its members."""

    id: IdText
    name: str
    member_ids: list[IdText]
    created_at: TimeText


class ProjectList(WireAnswer):
    """The projects that the caller may know."""

    items: list[ProjectRead]


class MemberAdd(WireRequest):
    """Who joins."""

    principal_id: Id


class ApiKeyCreate(WireRequest):
    """A key for a principal; a runner's key settles outside jobs at started units."""

    principal_id: Id
    is_runner: bool = False
    expires_at: Time | None = None


class ApiKeyRead(WireAnswer):
    """A key without its secret."""

    id: str
    principal_id: IdText
    is_runner: bool
    created_at: TimeText
    expires_at: TimeText | None = None
    revoked_at: TimeText | None = None


class ApiKeyCreated(ApiKeyRead):
    """A new key. `key` is shown once: a repeat of the request answers null there."""

    key: str | None


class ApiKeyList(WireAnswer):
    """All keys."""

    items: list[ApiKeyRead]


class AuditEventRead(WireAnswer):
    """Who did what. `subject` is the id of what was acted on, or the route of a refusal."""

    id: int
    at: TimeText
    actor_id: IdText | None
    action: str
    subject: str | None
    facts: dict[str, Any]


class AuditEventPage(WireAnswer):
    """Events, newest first."""

    items: list[AuditEventRead]
    next: str | None
