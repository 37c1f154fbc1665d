"""Keys and roles: who gets through the door, and to which rooms."""

import itertools
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import uuid4

from sqlalchemy import update

from app.api.auth import OPEN, PERMISSIONS
from app.db.models import ApiKey, Principal
from app.db.session import transaction
from app.main import create_app
from app.settings import Settings
from tests.api.world import ROLES, World


@cache
def operations() -> tuple[tuple[str, str, str], ...]:
    """(operation id, method, path) of every route, from the description that callers read."""
    document = create_app(Settings()).openapi()
    return tuple(
        (operation["operationId"], method.upper(), path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )


# what a path names by something other than a UUID
NOTHING = {
    "key_id": "0" * 12,
    "identity_id": "0" * 12,
    "session_id": "s" + "0" * 12,
    "notification_id": "1",
    "name": "model",
}


def filled(path: str) -> str:
    """The path with ids that name nothing."""
    named = re.sub(r"{(\w+)}", lambda found: NOTHING.get(found[1], str(uuid4())), path)
    return named.removeprefix("/v1")


def test_every_route_stands_in_the_table_and_the_table_names_no_other() -> None:
    ids = [operation for operation, _, _ in operations()]
    assert len(set(ids)) == len(ids)
    assert set(ids) == set(PERMISSIONS) | OPEN


def test_every_route_answers_403_to_every_role_that_its_row_does_not_name(
    on_sqlite: World,
) -> None:
    for (operation, method, path), role in itertools.product(operations(), ROLES):
        if operation in OPEN:
            continue
        body: dict[str, str] | None = {} if method == "POST" else None
        answer = on_sqlite.ask(method, filled(path), body, by=role, headers={"If-Match": '"1"'})
        is_refused = answer.status_code == 403
        assert is_refused == (role not in PERMISSIONS[operation]), (operation, role, answer.text)
        assert answer.status_code < 500, (operation, role, answer.text)


def test_every_route_answers_401_without_a_key_and_says_nothing_more(on_sqlite: World) -> None:
    for operation, method, path in operations():
        if operation not in OPEN:
            answer = on_sqlite.ask(method, filled(path), None, by=None)
            assert answer.status_code == 401, operation
            assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_key_that_is_unknown_expired_revoked_or_wrong_gets_one_and_the_same_answer(
    on_sqlite: World,
) -> None:
    world = on_sqlite
    services = world.client.app.state.services  # type: ignore[attr-defined]
    made = {
        name: world.made("/api-keys", {"principal_id": world.ids["ml_engineer"]}, by="admin")
        for name in ("expired", "revoked", "wrong")
    }
    with transaction(services.make_session) as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        session.execute(
            update(ApiKey).where(ApiKey.id == made["expired"]["id"]).values(expires_at=past)
        )
        session.execute(update(Principal).where(Principal.name == "auditor").values(active=False))
    assert world.ask("GET", "/me", by=made["revoked"]["key"]).status_code == 200
    world.made(f"/api-keys/{made['revoked']['id']}/revoke", None, by="admin")

    wrong = made["wrong"]["key"]
    flipped = wrong[:-1] + ("A" if wrong[-1] != "A" else "E")
    texts = {
        "expired": made["expired"]["key"],
        "revoked": made["revoked"]["key"],
        "wrong secret": flipped,
        "secret of another": wrong[:16] + made["revoked"]["key"][16:],
        "unknown": f"el_{'0' * 12}_{'A' * 43}",
        "malformed": "el_short",
        "inactive": world.keys["auditor"],
        "missing": None,
    }
    answers = {}
    for name, text in texts.items():
        answer = world.ask("GET", "/me", by=text)
        document = answer.json()
        assert document.pop("instance").startswith("/v1/requests/")
        answers[name] = (answer.status_code, answer.headers["WWW-Authenticate"], str(document))
    assert set(answers.values()) == {answers["missing"]}
    assert answers["missing"][0] == 401


def test_a_key_is_shown_once_and_its_secret_is_nowhere_in_the_database(on_sqlite: World) -> None:
    world = on_sqlite
    body = {"principal_id": world.ids["ml_engineer"]}
    first = world.ask("POST", "/api-keys", body, by="admin", key="one")
    again = world.ask("POST", "/api-keys", body, by="admin", key="one")
    assert first.json()["key"].startswith(f"el_{first.json()['id']}_")
    assert again.json() == {**first.json(), "key": None}
    services = world.client.app.state.services  # type: ignore[attr-defined]
    with transaction(services.make_session) as session:
        database: Any = session.connection().connection.driver_connection
        dump = "\n".join(database.iterdump())
    assert first.json()["id"] in dump
    assert first.json()["key"].split("_", 2)[2] not in dump


def test_the_last_key_of_an_admin_cannot_be_revoked(on_sqlite: World) -> None:
    world = on_sqlite
    mine = world.ask("GET", "/me", by="admin").json()["key_id"]
    assert world.ask("POST", f"/api-keys/{mine}/revoke", by="admin").status_code == 403
    assert world.ask("GET", "/me", by="admin").status_code == 200


def test_an_admin_auditor_or_worker_holds_no_second_role(on_sqlite: World) -> None:
    for alone in ("admin", "auditor", "worker"):
        body = {"name": f"both {alone}", "roles": [alone, "compliance_officer"]}
        answer = on_sqlite.ask("POST", "/people", body, by="admin")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/roles"
