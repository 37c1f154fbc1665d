"""The API process: settings in, an application out."""

import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from app import logs, loops
from app.api import problems
from app.api.container import Services
from app.api.edge import Edge
from app.api.examples import describe_examples
from app.api.page import BuiltPage
from app.api.routes import (
    approvals,
    attestations,
    break_glass,
    budgets,
    changes,
    client,
    comments,
    connections,
    datasets,
    delegations,
    entries,
    health,
    identities,
    jobs,
    ledger,
    loopback,
    mail_addresses,
    metrics,
    models,
    notifications,
    oversight,
    people,
    populations,
    publications,
    quotes,
    reference,
    reports,
    reservations,
    risk,
    sessions,
    webhooks,
)
from app.db.migrate import is_at_head
from app.db.session import assert_durable, make_engine, make_session_maker
from app.domain.webhooks import parse_networks
from app.services.checkpoints import Checkpoints
from app.services.identity_provider import IdentityProvider, ProviderSettings
from app.services.models import installed_models
from app.services.watch import Watch
from app.services.witness import WitnessJournal
from app.settings import Settings

log = logging.getLogger(__name__)

TITLE = "Epsilon Ledger"
SUMMARY = "Prices, admits, charges, refuses and explains differentially private jobs."
VERSION = "0.1.0"

# a request is matched against each in turn: those that come by the thousand stand first
ROUTERS = (
    reservations.router,
    jobs.router,
    connections.router,
    datasets.router,
    populations.router,
    budgets.router,
    entries.router,
    risk.router,
    changes.router,
    approvals.router,
    comments.router,
    delegations.router,
    publications.router,
    quotes.router,
    people.router,
    sessions.router,
    identities.router,
    loopback.router,
    oversight.router,
    ledger.router,
    break_glass.router,
    reports.router,
    attestations.router,
    models.router,
    notifications.router,
    webhooks.router,
    mail_addresses.router,
)

PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457 problem details; the facts of a refusal stand beside these.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code"],
    "properties": {
        "type": {"type": "string", "examples": ["/problems/budget-exceeded"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["in", "pointer", "reason"],
                "properties": {
                    "in": {"type": "string"},
                    "pointer": {"type": "string", "description": "RFC 6901"},
                    "reason": {"type": "string"},
                },
            },
        },
    },
    "additionalProperties": True,
}


class Application(FastAPI):
    """The routes, with the edge around everything: also around the answer to a fault."""

    def build_middleware_stack(self) -> ASGIApp:
        """The application as a server calls it."""
        settings: Settings = self.state.settings
        return Edge(super().build_middleware_stack(), settings.requests_per_second_most)


def from_environment() -> FastAPI:
    """The application as the environment's `EPSILON_*` variables want it; for an ASGI server."""
    settings = Settings.from_environment(os.environ)
    logs.configure(settings.log_level, settings.log_format, program="api")
    return create_app(settings)


def create_app(settings: Settings) -> FastAPI:
    """An application over the database of `settings`; nothing is opened before it starts."""
    app = Application(
        title=TITLE,
        summary=SUMMARY,
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        lifespan=_running,
    )
    app.state.settings = settings
    versioned = APIRouter(prefix="/v1")
    for router in ROUTERS:
        versioned.include_router(router)
    app.include_router(versioned)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(client.router)
    app.include_router(reference.router)
    app.router.routes.extend(BuiltPage().routes())
    problems.install(app)
    _describe(app)
    return app


def openapi_yaml() -> str:
    """The API's description as it stands in openapi.yaml; the same text at every call."""
    import yaml  # needed by nobody who only runs the service

    # through JSON, so that what is shared in memory is written out at every place
    document = json.loads(json.dumps(create_app(Settings()).openapi()))
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100))


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    """Open the database, prove that it is durable, and start what runs beside the routes."""
    with ExitStack() as stack:
        await run_in_threadpool(_start, app, app.state.settings, stack)
        yield


def _start(app: FastAPI, settings: Settings, stack: ExitStack) -> None:
    engine = make_engine(settings.database_url)
    stack.callback(engine.dispose)
    assert_durable(engine)
    make_session = make_session_maker(engine)
    journal = WitnessJournal(settings.witness_dir)
    stack.callback(journal.close)
    folder = settings.witness_dir / "checkpoints"
    checkpoints = Checkpoints(make_session, folder, settings.key_file).signed()
    services = Services.over(
        make_session,
        settings.home,
        journal,
        pending_most=settings.pending_approvals_most,
        batch_most=settings.admission_batch_most,
        installed=installed_models(),
        has_gpu=settings.gpu_workers > 0,
        public_origin=settings.public_origin,
        provider=_provider(settings),
        checkpoints=checkpoints,
        webhook_key_file=settings.webhook_key_file,
        webhook_networks=parse_networks(settings.webhook_networks),
        metrics_token_file=_scraped_with(settings),
    )
    app.state.services = services
    if not is_at_head(engine):
        # nothing is admitted until `migrate` was run
        log.critical("schema.of_another_version")
        return
    if checkpoints is None:
        # `create-key` makes a key
        log.warning("checkpoint.no_key")
    watch = Watch(
        make_session,
        settings.witness_dir,
        checkpoints,
        checkpoint_s=settings.checkpoint_s,
        keep_days=settings.witness_days,
    )
    # before anything is admitted: a database that has forgotten must not go on (R22)
    watch.start()
    stack.callback(watch.stop)
    services.writer.start()
    stack.callback(services.writer.stop)
    if settings.embedded:
        for work in (loops.dispatching, loops.sending):
            stack.enter_context(loops.running(work(settings, make_session)))


def _scraped_with(settings: Settings) -> Path | None:
    return None if settings.metrics_token_file == Path() else settings.metrics_token_file


def _provider(settings: Settings) -> IdentityProvider | None:
    if not settings.oidc_issuer:
        return None
    return IdentityProvider(
        ProviderSettings(settings.oidc_issuer, settings.oidc_client_id, settings.oidc_secret())
    )


def _describe(app: FastAPI) -> None:
    """Put the one problem form into the description, and a body for each route that takes one."""
    plain: Callable[[], dict[str, Any]] = app.openapi

    def described() -> dict[str, Any]:
        document = plain()
        schemas = document["components"]["schemas"]
        schemas["Problem"] = PROBLEM_SCHEMA
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for operations in document["paths"].values():
            for operation in operations.values():
                if "requestBody" in operation:
                    operation["responses"].update(problems.of_bodies())
                    describe_examples(operation)
        return document

    app.openapi = described  # type: ignore[method-assign]
