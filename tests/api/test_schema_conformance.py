"""Requests made from the description, right and wrong ones: the answers stay inside it."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import hypothesis
import pytest
from fastapi import FastAPI
from starlette.exceptions import StarletteDeprecationWarning

from app.api.auth import PERMISSIONS
from app.main import create_app
from app.settings import Settings
from tests.api.world import TestClient, World, build, open_root, register

with warnings.catch_warnings():
    warnings.simplefilter("ignore", StarletteDeprecationWarning)
    import schemathesis
    from schemathesis import Case, GenerationMode
    from schemathesis.checks import (
        not_a_server_error,
    )
    from schemathesis.python import asgi
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        ignored_auth,
        missing_required_header,
        negative_data_rejection,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
        unsupported_method,
    )

EXAMPLES = 12
EXAMPLES_LONG = 40
# by whom, where several may
PREFERRED = ("ml_engineer", "compliance_officer", "admin", "auditor", "worker")
SEED = 20_261_122
# all that look at one request; that what fits the description is also taken is not asked, since a
# budget, a right or the meaning of a spec may refuse it, and no schema can say so
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    unsupported_method,
    ignored_auth,
]
NEGATIVE_CHECKS = [*CHECKS, negative_data_rejection, missing_required_header]
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
House = tuple[FastAPI, World, asgi.ASGIClient]
DESCRIBED = create_app(Settings()).openapi()["paths"]
REQUESTS = [
    pytest.param(path, method, mode, id=f"{mode.value} {method} {path}")
    for path, methods in DESCRIBED.items()
    for method, operation in methods.items()
    for mode in MODES
    # where nothing is taken, nothing can be sent wrongly
    if mode is GenerationMode.POSITIVE or operation.keys() & {"parameters", "requestBody"}
]


@pytest.fixture(scope="module")
def house(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One application for all examples, with a dataset and an open budget in it."""
    folder = tmp_path_factory.mktemp("house")
    (folder / "files").mkdir()
    database = folder / "ledger.sqlite3"
    database.write_bytes(migrated_sqlite.read_bytes())
    settings = Settings(database_url=f"sqlite:///{database}", home=folder)
    with TestClient(create_app(settings)) as client:
        world = build(client, folder / "files")
        world.ids["dataset_id"] = register(world)
        world.ids["budget_id"] = open_root(world, world.ids["dataset_id"])
        world.ids["project_id"] = world.ids["team"]
        other = create_app(settings)
        with asgi.get_client(cast(Any, other)) as browser:
            yield other, world, browser
        asgi.shutdown_lifespans()


def role_of(case: Case[Any]) -> str:
    """A role that the operation lets in, so that the request comes past the door."""
    operation = case.operation.definition.raw["operationId"]
    allowed = PERMISSIONS.get(operation, frozenset({"ml_engineer"}))
    return next(role for role in PREFERRED if role in allowed)


@pytest.mark.parametrize(("path", "method", "mode"), REQUESTS)
def test_no_request_made_from_the_description_gets_an_answer_outside_it(
    house: House, path: str, method: str, mode: GenerationMode
) -> None:
    send_many(house, path, method, mode, role=None, examples=EXAMPLES)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("role", PREFERRED)
@pytest.mark.parametrize(("path", "method", "mode"), REQUESTS)
def test_no_role_gets_an_answer_outside_the_description(
    house: House, path: str, method: str, mode: GenerationMode, role: str
) -> None:
    send_many(house, path, method, mode, role=role, examples=EXAMPLES_LONG)


def send_many(
    house: House, path: str, method: str, mode: GenerationMode, *, role: str | None, examples: int
) -> None:
    """Requests by a role, or by one that the operation lets in."""
    app, world, browser = house
    operation = schemathesis.openapi.from_asgi("/openapi.json", app)[path][method.upper()]
    checks = NEGATIVE_CHECKS if mode is GenerationMode.NEGATIVE else CHECKS

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE:
            for name in set(case.path_parameters or {}) & set(world.ids):
                case.path_parameters[name] = world.ids[name]
        answer = case.call(
            base_url="http://testserver",
            app=app,
            session=browser,
            headers={"Authorization": f"Bearer {world.keys[role or role_of(case)]}"},
        )
        case.validate_response(answer, checks=checks)

    send()
