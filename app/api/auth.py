"""Who may ask for what: one table, route by route; scopes are asked for by the services."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.browser import require_one_credential, require_own_page, session_secret
from app.api.container import Services, ServicesDep
from app.domain.errors import NotAllowed, NotAuthenticated
from app.services.access import ROLES, Caller, Right, Role

ENGINEER: frozenset[Role] = frozenset({"ml_engineer"})
OFFICER: frozenset[Role] = frozenset({"compliance_officer"})
OVERSIGHT: frozenset[Role] = OFFICER | {"auditor"}
READERS: frozenset[Role] = OVERSIGHT | ENGINEER
ADMIN: frozenset[Role] = frozenset({"admin"})
EVERYBODY: frozenset[Role] = frozenset(ROLES)

# by what a key may be kept to and by operation id; a test asks for every route here
TABLE: dict[Right, dict[str, frozenset[Role]]] = {
    "read": {
        "list_connections": ADMIN | OFFICER,
        "list_datasets": READERS,
        "read_dataset": READERS,
        "list_dataset_versions": READERS,
        "list_budgets": READERS,
        "read_budget": READERS,
        "list_entries": READERS,
        "export_entries": READERS,
        "list_blocks": READERS,
        "read_timeline": READERS,
        "read_trace": READERS,
        "read_statement": OVERSIGHT,
        "read_risk": OVERSIGHT,
        "compare_deployments": OVERSIGHT,
        "list_approvals": READERS,
        "read_approval": READERS,
        "read_effect": READERS,
        "list_comments": READERS,
        "read_reservation": READERS,
        "list_jobs": READERS,
        "read_job": READERS,
        "list_job_charges": READERS,
        "follow_job": READERS,
        "read_job_result": READERS,
        "read_job_artifact": READERS,
        "list_people": ADMIN,
        "list_identities": ADMIN,
        "list_sessions": EVERYBODY,
        "list_work": OVERSIGHT | ADMIN,
        "list_projects": EVERYBODY,
        "list_api_keys": ADMIN,
        "read_me": EVERYBODY,
        "list_models": EVERYBODY,
        "list_audit_events": OVERSIGHT | ADMIN,
        "list_notifications": OVERSIGHT,
        "list_exceptions": OVERSIGHT,
        "list_webhooks": ADMIN,
        "list_mail_addresses": ADMIN,
        "list_deliveries": ADMIN,
        "read_population": OVERSIGHT,
        "list_delegations": OVERSIGHT,
        "create_report": OVERSIGHT,
        "list_reports": OVERSIGHT,
        "read_report": OVERSIGHT,
        "list_attestations": OVERSIGHT | ADMIN,
        "list_discrepancies": OVERSIGHT | ADMIN,
        "verify_ledger": OVERSIGHT | ADMIN,
        "export_ledger": OVERSIGHT,
        "read_checkpoint": OVERSIGHT,
    },
    "submit": {
        "quote": ENGINEER,
        "reserve": ENGINEER,
        "start_reservation": ENGINEER,
        "extend_reservation": ENGINEER,
        "resume_reservation": ENGINEER,
        "commit_reservation": ENGINEER,
        "void_reservation": ENGINEER,
        "submit_job": ENGINEER,
        "cancel_job": ENGINEER,
    },
    "govern": {
        "register_dataset": OFFICER,
        "add_dataset_version": OFFICER,
        "describe_dataset": OFFICER,
        "retire_dataset": OFFICER,
        "purge_dataset": OFFICER,
        "grant_dataset": OFFICER,
        "withdraw_dataset_grant": OFFICER,
        "create_budget": OFFICER,
        "change_budget": OFFICER | ENGINEER,
        "add_opening_entry": OFFICER,
        "add_recovery_entries": OFFICER,
        "decide_approval": OFFICER,
        "create_delegation": OFFICER,
        "end_delegation": OFFICER,
        "comment_on_approval": OFFICER | ENGINEER,
        "mark_notification": OFFICER,
        "break_glass": OFFICER,
        "publish_job": OFFICER,
        "attest": OFFICER | ADMIN,
        "revoke_attestation": OFFICER | ADMIN,
    },
    "administer": {
        "create_connection": ADMIN,
        "create_person": ADMIN,
        "change_roles": ADMIN,
        "invite_person": ADMIN,
        "link_identity": ADMIN,
        "unlink_identity": ADMIN,
        "sign_out": EVERYBODY,
        "revoke_session": EVERYBODY,
        "deactivate_person": ADMIN,
        "activate_person": ADMIN,
        "create_project": ADMIN,
        "add_project_member": ADMIN,
        "remove_project_member": ADMIN,
        "create_api_key": ADMIN,
        "revoke_api_key": ADMIN,
        "create_webhook": ADMIN,
        "write_mail_address": ADMIN,
        "end_webhook": ADMIN,
    },
}
PERMISSIONS: dict[str, frozenset[Role]] = {
    operation: roles for rows in TABLE.values() for operation, roles in rows.items()
}
RIGHT_OF: dict[str, Right] = {
    operation: right for right, rows in TABLE.items() for operation in rows
}
# these answer to nobody in particular
OPEN = frozenset(
    {
        # shows a token of its own, which is of no person and no role
        "read_metrics",
        "list_ways",
        "start_sign_in",
        "finish_sign_in",
        "ask_for_program",
        "let_program_in",
        "fetch_key",
        "set_password",
        "sign_in",
        "check_health",
        "check_readiness",
        "read_client",
        "read_reference",
    }
)

bearer = HTTPBearer(auto_error=False, bearerFormat="el_<id>_<secret>", description="An API key.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


# the writer finds out whether what is remembered of their callers is still so
DECIDED_BY_THE_WRITER = frozenset({"reserve", "submit_job"})


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request came with: a key, or the secret of a session; never both."""

    key_text: str | None
    secret: str | None


async def presented(request: Request, credentials: Credentials) -> Presented:
    """What speaks for the caller, before anybody has looked at whether it is good.

    Raises:
        TwoCredentials: a key and a session came together.
        CrossSiteRequest: a session's unsafe request is not one of our own pages'.
        NotAuthenticated: neither came.
    """
    secret = session_secret(request)
    if secret is not None:
        require_one_credential(request, secret)
        require_own_page(request, secret)
        return Presented(None, secret)
    if credentials is None:
        raise NotAuthenticated
    return Presented(credentials.credentials, None)


PresentedDep = Annotated[Presented, Depends(presented)]


async def authorized(request: Request, given: PresentedDep, services: ServicesDep) -> Caller:
    """The caller, if the route's row of the table has one of his roles.

    Raises:
        NotAuthenticated: no usable key or session; which way it is not usable is not said.
        NotAllowed: none of the caller's roles stands in the row, or his key is kept to other
            rights than this one.
    """
    operation = request.scope["route"].name
    if operation in DECIDED_BY_THE_WRITER and given.key_text is not None:
        known = services.admissions.look_ups.caller(given.key_text)
        if known is not None and _is_let_in(known, operation):
            return known
    return await run_in_threadpool(_authorize, services, given, operation)


async def authorized_again(
    request: Request, given: PresentedDep, services: ServicesDep
) -> Callable[[], Caller]:
    """Asks who the caller is as he stands now, whatever is remembered of him.

    Raises, when it is called:
        NotAuthenticated, NotAllowed: see `authorized`.
    """
    return lambda: _authorize(services, given, request.scope["route"].name)


def _authorize(services: Services, given: Presented, operation: str) -> Caller:
    caller = _authenticate(services, given)
    if _is_let_in(caller, operation):
        return caller
    allowed, needs = PERMISSIONS[operation], f"a key with the right {RIGHT_OF[operation]}"
    if caller.roles.isdisjoint(allowed):
        needs = " or ".join(sorted(allowed))
    raise NotAllowed(action=operation.replace("_", " "), needs=needs)


def _authenticate(services: Services, given: Presented) -> Caller:
    if given.secret is not None:
        return services.sessions.authenticate(given.secret)
    key_text = given.key_text or ""
    caller = services.principals.authenticate(key_text)
    services.admissions.look_ups.keep_caller(key_text, caller)
    return caller


def _is_let_in(caller: Caller, operation: str) -> bool:
    has_right = caller.rights is None or RIGHT_OF[operation] in caller.rights
    return has_right and not caller.roles.isdisjoint(PERMISSIONS[operation])


CallerDep = Annotated[Caller, Depends(authorized)]
CallerAgainDep = Annotated[Callable[[], Caller], Depends(authorized_again)]
