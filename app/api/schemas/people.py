"""People, projects and keys on the wire."""

from typing import Annotated, Any

from pydantic import Field

from app.api.wire import Id, IdText, Name, Time, TimeText, WireAnswer, WireRequest
from app.services.access import Right, Role


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
    deactivated_at: TimeText | None = None


class RolesChange(WireRequest):
    """The roles that somebody has from now on, in place of all others."""

    roles: Annotated[list[Role], Field(min_length=1, max_length=5)]


class JobLine(WireAnswer):
    """A job as it is listed for hand-over."""

    id: IdText
    kind: str
    state: str
    purpose: str
    failure_code: str | None
    created_at: TimeText


class ReservationLine(WireAnswer):
    """Room that is held for a job elsewhere, as it is listed for hand-over."""

    id: IdText
    state: str
    tool: str | None
    created_at: TimeText


class WorkRead(WireAnswer):
    """What somebody's work is at. `is_whole` is false where more is open than is listed."""

    jobs: list[JobLine]
    reservations: list[ReservationLine]
    is_whole: bool


class PersonDeactivated(WireAnswer):
    """Who has left, what ended with that, and the work to be handed over."""

    person: PersonRead
    revoked_key_ids: list[str]
    ended_session_ids: list[str]
    expired_approval_ids: list[IdText]
    work: WorkRead


class PersonPage(WireAnswer):
    """All principals."""

    items: list[PersonRead]
    next: str | None


class MeRead(WireAnswer):
    """Who the key or the session speaks for; one of `key_id` and `session_id` is null.

    request_token: of a session, as the answer to signing in had it.
    """

    id: IdText
    name: str
    roles: list[str]
    rights: list[str] | None
    key_id: str | None
    session_id: str | None
    request_token: str | None
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


class ProjectPage(WireAnswer):
    """The projects that the caller may know."""

    items: list[ProjectRead]
    next: str | None


class MemberAdd(WireRequest):
    """Who joins."""

    principal_id: Id


class ApiKeyCreate(WireRequest):
    """A key for a principal; a runner's key settles outside jobs at started units.

    `rights` keeps it to a part of what the roles of its owner allow: `read` looks, `submit` asks
    for room and runs jobs, `govern` changes datasets, budgets and approvals, `administer` keeps
    people, keys, projects and connections. Without it the key may do all of that.
    """

    principal_id: Id
    is_runner: bool = False
    rights: Annotated[list[Right], Field(min_length=1, max_length=4)] | None = None
    expires_at: Time | None = None


class ApiKeyRead(WireAnswer):
    """A key without its secret."""

    id: str
    principal_id: IdText
    is_runner: bool
    rights: list[str] | None
    created_at: TimeText
    expires_at: TimeText | None = None
    revoked_at: TimeText | None = None


class ApiKeyCreated(ApiKeyRead):
    """A new key. `key` is shown once: a repeat of the request answers null there."""

    key: str | None


class ApiKeyPage(WireAnswer):
    """All keys."""

    items: list[ApiKeyRead]
    next: str | None


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
