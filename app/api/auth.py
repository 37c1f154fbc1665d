"""Who may ask for what: one table, route by route; scopes are asked for by the services."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.container import Services, ServicesDep
from app.domain.errors import NotAllowed, NotAuthenticated
from app.services.access import ROLES, Caller, Role

ENGINEER: frozenset[Role] = frozenset({"ml_engineer"})
OFFICER: frozenset[Role] = frozenset({"compliance_officer"})
OVERSIGHT: frozenset[Role] = OFFICER | {"auditor"}
READERS: frozenset[Role] = OVERSIGHT | ENGINEER
ADMIN: frozenset[Role] = frozenset({"admin"})
EVERYBODY: frozenset[Role] = frozenset(ROLES)

# by operation id; a test asks for every route here
PERMISSIONS: dict[str, frozenset[Role]] = {
    "create_connection": ADMIN,
    "list_connections": ADMIN | OFFICER,
    "register_dataset": OFFICER,
    "list_datasets": READERS,
    "read_dataset": READERS,
    "list_dataset_versions": READERS,
    "add_dataset_version": OFFICER,
    "retire_dataset": OFFICER,
    "grant_dataset": OFFICER,
    "withdraw_dataset_grant": OFFICER,
    "create_budget": OFFICER,
    "list_budgets": READERS,
    "read_budget": READERS,
    "list_entries": READERS,
    "list_blocks": READERS,
    "read_timeline": READERS,
    "read_statement": OVERSIGHT,
    "change_budget": OFFICER | ENGINEER,
    "add_opening_entry": OFFICER,
    "add_recovery_entries": OFFICER,
    "list_approvals": READERS,
    "read_approval": READERS,
    "decide_approval": OFFICER,
    "quote": ENGINEER,
    "reserve": ENGINEER,
    "read_reservation": READERS,
    "start_reservation": ENGINEER,
    "extend_reservation": ENGINEER,
    "resume_reservation": ENGINEER,
    "commit_reservation": ENGINEER,
    "void_reservation": ENGINEER,
    "submit_job": ENGINEER,
    "list_jobs": READERS,
    "read_job": READERS,
    "follow_job": READERS,
    "cancel_job": ENGINEER,
    "read_job_result": READERS,
    "read_job_artifact": READERS,
    "create_person": ADMIN,
    "list_people": ADMIN,
    "create_project": ADMIN,
    "list_projects": EVERYBODY,
    "add_project_member": ADMIN,
    "remove_project_member": ADMIN,
    "create_api_key": ADMIN,
    "list_api_keys": ADMIN,
    "revoke_api_key": ADMIN,
    "read_me": EVERYBODY,
    "list_models": EVERYBODY,
    "list_audit_events": OVERSIGHT | ADMIN,
    "list_notifications": OVERSIGHT,
    "mark_notification": OFFICER,
    "read_population": OVERSIGHT,
    "list_discrepancies": OVERSIGHT | ADMIN,
    "verify_ledger": OVERSIGHT | ADMIN,
    "export_ledger": OVERSIGHT,
}
# these answer to nobody in particular
OPEN = frozenset({"check_health", "check_readiness", "read_client"})

bearer = HTTPBearer(auto_error=False, bearerFormat="el_<id>_<secret>", description="An API key.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


# the writer finds out whether what is remembered of their callers is still so
DECIDED_BY_THE_WRITER = frozenset({"reserve", "submit_job"})


async def authorized(request: Request, credentials: Credentials, services: ServicesDep) -> Caller:
    """The caller, if the route's row of the table has one of his roles.

    Raises:
        NotAuthenticated: no usable key; which way it is not usable is not said.
        NotAllowed: none of the caller's roles stands in the row.
    """
    if credentials is None:
        raise NotAuthenticated
    operation = request.scope["route"].name
    if operation in DECIDED_BY_THE_WRITER:
        known = services.admissions.look_ups.caller(credentials.credentials)
        if known is not None and not known.roles.isdisjoint(PERMISSIONS[operation]):
            return known
    return await run_in_threadpool(_authorize, services, credentials.credentials, operation)


async def authorized_again(
    request: Request, credentials: Credentials, services: ServicesDep
) -> Callable[[], Caller]:
    """Asks who the caller is as he stands now, whatever is remembered of him.

    Raises, when it is called:
        NotAuthenticated, NotAllowed: see `authorized`.
    """
    key_text = "" if credentials is None else credentials.credentials
    return lambda: _authorize(services, key_text, request.scope["route"].name)


def _authorize(services: Services, key_text: str, operation: str) -> Caller:
    caller = services.principals.authenticate(key_text)
    services.admissions.look_ups.keep_caller(key_text, caller)
    allowed = PERMISSIONS[operation]
    if caller.roles.isdisjoint(allowed):
        needs = " or ".join(sorted(allowed))
        raise NotAllowed(action=operation.replace("_", " "), needs=needs)
    return caller


CallerDep = Annotated[Caller, Depends(authorized)]
CallerAgainDep = Annotated[Callable[[], Caller], Depends(authorized_again)]
