"""Every refusal as RFC 9457 problem details: one table, one form, no word of what was sent.

A refusal and its replay are rendered from the same document, so they read alike (R16).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID, uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.api.reading import in_order
from app.domain import errors, sign_in
from app.domain.errors import DomainError, refusal_document
from app.services.plans import PlanNotComposed, PlanWithdrawn
from app.services.writer import WriterBusy

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
POINTER_MOST = 200

CONTENT = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}

Detail = str | Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True, slots=True)
class Problem:
    """How a refusal is said over HTTP.

    detail: a sentence with the names of facts in braces, or what makes one from the facts.
    """

    status: int
    title: str
    detail: Detail


def _budget_exceeded(facts: Mapping[str, Any]) -> str:
    scope, asked, fits = facts["scope"], facts["asked"], facts["fits"]
    where = f"{scope['kind']} {scope['name']!r}" if "name" in scope else scope["kind"]
    if fits.get("epsilon") is not None:
        return f"The query fits at epsilon {fits['epsilon']}; the limit is that of {where}."
    room, units = fits.get("max_units"), asked.get("units")
    if room is None or units is None:
        return f"What was asked does not fit into what is left in {where}."
    return f"There is room for {room} of the {units} units asked; the limit is that of {where}."


def _scope_closed(facts: Mapping[str, Any]) -> str:
    scope = facts["scope"]
    return f"{scope.get('name', scope.get('kind', 'A scope'))} is {facts['state']}."


PROBLEMS: dict[type[DomainError], Problem] = {
    errors.InvalidParameter: Problem(422, "A value is not usable", "{pointer}: {reason}"),
    errors.MechanismNotPriced: Problem(
        422, "No proven price", "{mechanism} under {relation}: {reason}"
    ),
    errors.RefusedByName: Problem(
        422, "This form is refused by name", "{form} is refused; instead: {instead}"
    ),
    errors.ModelNotAccepted: Problem(
        409, "No worker has accepted this model", "{model} {module}: {problem}; {remedy}"
    ),
    errors.DeviceUnavailable: Problem(
        409,
        "No worker has this device",
        "No worker with a {device} is configured: leave the device out, or ask the administrator.",
    ),
    errors.BoundsRequired: Problem(422, "Public bounds are required", "{pointer}: {reason}"),
    errors.DeltaRequired: Problem(422, "A delta above 0 is required", "{pointer}: {reason}"),
    errors.TooManyGroups: Problem(
        422, "Too many groups", "{pointer}: {cells} cells were asked, at most {most} are answered"
    ),
    errors.RangeTooWide: Problem(422, "The range is too wide", "{pointer}: {reason}"),
    errors.NominalSizeTooSmall: Problem(
        422,
        "Too few for so little epsilon",
        "{pointer}: a nominal size of {needed} is needed, {declared} is declared",
    ),
    errors.SqlNotAccepted: Problem(
        422, "This SQL is not accepted", "{pointer}: line {line}, column {column}: {reason}"
    ),
    errors.NotAuthenticated: Problem(
        401,
        "Not authenticated",
        "A usable API key is expected as a bearer token, or a session that is open.",
    ),
    sign_in.TwoCredentials: Problem(
        400, "Two credentials", "A request carries a key or a session, never both."
    ),
    sign_in.CrossSiteRequest: Problem(403, "Not from this service's pages", "{reason}"),
    sign_in.InsecureTransport: Problem(
        403, "HTTPS is needed", "Signing in takes HTTPS, or an address of this very machine."
    ),
    sign_in.WayNotOffered: Problem(
        409, "Another way to sign in", "Nobody signs in by {way} here; see /v1/auth/ways."
    ),
    sign_in.SignInRefused: Problem(
        401, "Not signed in", "The name or the password is not right, or the account is not open."
    ),
    sign_in.TooManyAttempts: Problem(
        429, "Too many attempts", "Try again in {retry_after_s} seconds."
    ),
    sign_in.InvitationNotUsable: Problem(
        409, "The invitation is not usable", "Ask the administrator for another one."
    ),
    sign_in.SignInNotStarted: Problem(
        400, "No such sign-in", "Begin anew at /v1/auth/oidc/start, in this browser."
    ),
    sign_in.IdentityProviderFailed: Problem(
        424, "The identity provider failed", "The identity provider failed: {reason}."
    ),
    sign_in.IdentityNotLinked: Problem(
        403, "Not known here", "An administrator has to link {identity} to somebody first."
    ),
    sign_in.CodeNotUsable: Problem(409, "The code is not usable", "Let the program sign in anew."),
    errors.NotAllowed: Problem(403, "Not allowed", "To {action} takes: {needs}."),
    errors.KeyFileUnusable: Problem(
        409, "The service cannot sign", "Its key file cannot be used; its log says why."
    ),
    errors.NotAllowedAnyMore: Problem(
        403, "Not allowed any more", "The right to charge this budget has ended; nothing starts."
    ),
    errors.NotFound: Problem(404, "Not found", "There is no such {kind} for this caller."),
    errors.AlreadyExists: Problem(409, "The name is taken", "Another {kind} has this name."),
    errors.SourceAlreadyRegistered: Problem(409, "These rows have a ledger", "{reason}"),
    errors.IdempotencyKeyMissing: Problem(
        400, "Idempotency-Key is missing", "A request that creates carries an Idempotency-Key."
    ),
    errors.IdempotencyKeyReused: Problem(
        422, "Idempotency-Key was used", "This key came before with another body."
    ),
    errors.VersionMismatch: Problem(
        412, "Changed meanwhile", "The {kind} is now at version {current}; read it again."
    ),
    errors.VersionMissing: Problem(
        428, "If-Match is missing", "A change carries If-Match with the ETag that was read."
    ),
    errors.RootExists: Problem(
        409, "The dataset has its root", "A dataset has one lifetime budget, for ever."
    ),
    errors.OwnChange: Problem(
        403, "Nobody approves their own change", "Somebody else has to decide this change."
    ),
    errors.NotDelegated: Problem(
        403, "Not delegated", "That person has not handed you the right to decide, or not for now."
    ),
    errors.ApprovalNotPending: Problem(409, "Already decided", "The approval is {state}."),
    errors.TooManyPending: Problem(
        409,
        "Too many changes wait",
        "{most} of your changes wait for a second person; ask again when one is decided.",
    ),
    errors.ChangeMismatch: Problem(
        409, "Another change is waiting", "The decision names another change than the one here."
    ),
    errors.ScopeClosed: Problem(409, "A scope is not open", _scope_closed),
    errors.BlockNotClosed: Problem(
        409, "A block is not closed", "Block {block} is open in this version; {closed} are closed."
    ),
    errors.BudgetExceeded: Problem(409, "Privacy budget exceeded", _budget_exceeded),
    PlanNotComposed: Problem(
        422, "The plan was not composed", "Composing its slots failed; a plan of fewer may do."
    ),
    PlanWithdrawn: Problem(
        409, "The plan was withdrawn", "An officer closed it before it was frozen."
    ),
    errors.ThawRefused: Problem(
        409,
        "The balance passes the limit",
        "What is held passes at {least} of epsilon or more; raise the limit before thawing.",
    ),
    errors.LedgerBehind: Problem(
        409,
        "The ledger is behind its witness",
        "What was forgotten is posted by two people before the budget thaws.",
    ),
    errors.RateLimited: Problem(
        429, "Too many for now", "{limit} is limited to {most}; ask again in {retry_after_s} s."
    ),
    errors.LowerRefused: Problem(
        409, "The limit is below the balance", "The least limit that holds is {least}; or freeze."
    ),
    errors.LeaseLost: Problem(409, "The lease is lost", "Somebody else holds this work now."),
    errors.NothingStarted: Problem(
        409, "Nothing was started", "A runner commits what it started; void what it did not."
    ),
    errors.AlreadyTouched: Problem(
        409, "Already touched", "Units were started, and what is started is spent."
    ),
    errors.AlreadyResolved: Problem(409, "Already ended", "This has ended: {state}."),
    errors.ResultNotReady: Problem(409, "No result yet", "The job is {state}."),
    errors.ResultPurged: Problem(
        410, "The result was purged", "It was deleted with its dataset at {purged_at}."
    ),
    errors.PurgeRefused: Problem(409, "Not to be purged now", "It cannot be purged: {reason}."),
    errors.FormatNotAvailable: Problem(
        406,
        "Not in this form",
        lambda facts: f"This result comes as {' or '.join(facts['available'])}.",
    ),
    errors.LedgerNotSigned: Problem(409, "The ledger is not signed", "{reason}"),
    errors.NothingOnRecord: Problem(
        409,
        "Nothing to report on",
        "No budget of this dataset was open at checkpoint {checkpoint_seq}.",
    ),
    errors.ReportNotReady: Problem(
        409,
        "No report yet",
        lambda facts: (
            f"The report is {facts['state']}"
            + (f": {facts['failure_code']}." if facts["failure_code"] else ".")
        ),
    ),
    errors.ExtraMissing: Problem(
        406, "Not in this form here", "{library} is missing: install the extra {extra}."
    ),
}
BY_CODE = {kind.code: problem for kind, problem in PROBLEMS.items()}

# what HTTP itself refuses, by status
HTTP_CODES = {
    400: "malformed-request",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "unsupported-media-type",
}
INTERNAL = Problem(500, "Internal error", "Something went wrong here; nothing is known about it.")
TOO_FAST = Problem(
    429, "Too many requests", "Too many requests at once; nothing was looked at, ask again later."
)
BUSY = Problem(503, "Busy", "Nothing was decided; the same request may be sent again.")

# these pydantic messages quote what was sent
QUIET_REASONS = {
    "uuid_parsing": "a UUID is expected",
    "datetime_from_date_parsing": "a time with its zone is expected",
    "datetime_parsing": "a time with its zone is expected",
    "timezone_aware": "a time with its zone is expected",
    "int_parsing": "an integer is expected",
}


def problems(*kinds: type[DomainError]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: its own refusals and those that every route has."""
    always: list[type[DomainError]] = [
        errors.NotAuthenticated,
        errors.NotAllowed,
        errors.InvalidParameter,
    ]
    titles: dict[int, list[str]] = {
        400: ["The request is malformed"],
        TOO_FAST.status: [TOO_FAST.title],
    }
    for kind in [*always, *kinds]:
        titles.setdefault(PROBLEMS[kind].status, []).append(f"{PROBLEMS[kind].title} ({kind.code})")
    return {
        status: {"description": "; ".join(dict.fromkeys(said)), "content": CONTENT}
        for status, said in sorted(titles.items())
    }


def of_bodies() -> dict[str, dict[str, Any]]:
    """The `responses` of every route that takes a body."""
    return {
        str(status): {"description": HTTPStatus(status).phrase, "content": CONTENT}
        for status in (413, 415)
    }


def problem_of(refusal: Mapping[str, Any], instance: str) -> dict[str, Any] | None:
    """The problem details of a refusal's document; None for a code that has no place here."""
    problem = BY_CODE.get(refusal["code"])
    if problem is None:
        return None
    facts = in_order(refusal["facts"])
    detail = problem.detail
    said = detail(facts) if callable(detail) else detail.format(**facts)
    document = _document(refusal["code"], problem.status, problem.title, said, instance)
    if refusal["code"] == errors.InvalidParameter.code:
        pointer = str(facts["pointer"])[:POINTER_MOST]
        facts = {"errors": [{"in": "body", "pointer": pointer, "reason": facts["reason"]}]}
        document["detail"] = f"{pointer}: {facts['errors'][0]['reason']}"
    is_exceeded = refusal["code"] == errors.BudgetExceeded.code
    if is_exceeded and "budget_id" in facts["scope"] and "slots" not in facts["asked"]:
        # only a scope that the caller may read is named, and only for such a one may they ask; a
        # plan is never raised
        facts = {**facts, "ask_for_more": f"/v1/budgets/{facts['scope']['budget_id']}/changes"}
    return {**document, **facts}


def instance_of(request: Request) -> str:
    """The name of this request: the same for a request and its repeats under one key."""
    request_id: UUID | None = getattr(request.state, "request_id", None)
    return f"/v1/requests/{request_id or uuid4()}"


def too_fast(retry_after_s: int, exchange_id: str) -> dict[str, Any]:
    """The problem details of a request that came too soon after others of its caller."""
    instance = f"/v1/requests/{exchange_id}"
    detail = str(TOO_FAST.detail)
    document = _document("too-many-requests", TOO_FAST.status, TOO_FAST.title, detail, instance)
    return {**document, "retry_after_s": retry_after_s}


def install(app: FastAPI) -> None:
    """Answer every refusal and every fault of `app` as problem details."""
    app.add_exception_handler(DomainError, _on_refusal)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(WriterBusy, _on_busy)
    app.add_exception_handler(Exception, _on_fault)


def _on_refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DomainError)  # noqa: S101 - registered for nothing else
    document = problem_of(refusal_document(error), instance_of(request))
    if document is None:
        return _on_fault(request, error)
    return _answer(document)


def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    found = error.errors()
    for header, refusal in (
        ("idempotency-key", errors.IdempotencyKeyMissing()),
        ("if-match", errors.VersionMissing()),
    ):
        if any(_is_missing_header(item, header) for item in found):
            return _on_refusal(request, refusal)
    listed = [_finding(item) for item in found]
    problem = PROBLEMS[errors.InvalidParameter]
    first = f"{listed[0]['pointer']}: {listed[0]['reason']}"
    code = errors.InvalidParameter.code
    document = _document(code, problem.status, problem.title, first, instance_of(request))
    return _answer({**document, "errors": listed})


def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    status = error.status_code
    phrase = HTTPStatus(status).phrase
    code = HTTP_CODES.get(status, "refused")
    detail = error.detail if status in (400, 415) else f"{phrase}."
    document = _document(code, status, phrase, detail, instance_of(request))
    return _answer(document, error.headers)


def _on_busy(request: Request, _error: Exception) -> JSONResponse:
    document = _document("busy", BUSY.status, BUSY.title, str(BUSY.detail), instance_of(request))
    return _answer(document, {"Retry-After": "1"})


def _on_fault(request: Request, error: Exception) -> JSONResponse:
    instance = instance_of(request)
    # the type only: the text of an engine's or a database's error can quote rows
    log.error("request.failed instance=%s error=%s", instance, type(error).__name__)
    detail = str(INTERNAL.detail)
    return _answer(_document("internal", INTERNAL.status, INTERNAL.title, detail, instance))


def _document(code: str, status: int, title: str, detail: str, instance: str) -> dict[str, Any]:
    return {
        "type": f"/problems/{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "code": code,
    }


def _answer(document: dict[str, Any], headers: Mapping[str, str] | None = None) -> JSONResponse:
    all_headers = dict(headers or {})
    if document["status"] == 401:
        all_headers["WWW-Authenticate"] = "Bearer"
    if "retry_after_s" in document:
        all_headers["Retry-After"] = str(document["retry_after_s"])
    return JSONResponse(document, document["status"], all_headers, MEDIA_TYPE)


def _is_missing_header(item: Mapping[str, Any], header: str) -> bool:
    place: Sequence[Any] = item["loc"]
    is_header = place[0] == "header" and str(place[1]).lower() == header
    return is_header and item["type"] == "missing"


def _finding(item: Mapping[str, Any]) -> dict[str, str]:
    place, *path = [str(part).replace("~", "~0").replace("/", "~1") for part in item["loc"]]
    pointer = "".join(f"/{part}" for part in path)[:POINTER_MOST]
    reason = QUIET_REASONS.get(item["type"], str(item["msg"]).removeprefix("Value error, "))
    return {"in": place, "pointer": pointer, "reason": reason}
