"""Signing in with a password: who comes in, for how long, and what a guess costs."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from httpx import Response
from sqlalchemy import text

from app.api.browser import SESSION_COOKIE, TOKEN_HEADER
from app.db.session import snapshot, transaction
from app.domain.sign_in import WAIT_MOST_S, SignInRefused, TooManyAttempts, address_group, wait_s
from app.settings import Settings
from tests.api.conftest import app_over
from tests.api.test_leavers import deactivated, events, services_of
from tests.api.world import TestClient, World, build, open_root, register, reservation_body

PASSWORD = "correct horse battery"
OWN = "http://localhost"


def invited(world: World, name: str, password: str = PASSWORD) -> None:
    """Give somebody a password by an invitation."""
    made = world.made(f"/people/{world.ids[name]}/invitations", None, by="admin")
    body = {"token": made["token"], "password": password}
    answer = world.ask("POST", "/auth/password", body, by=None)
    assert answer.status_code == 204, answer.text


def sign_in(world: World, name: str, password: str = PASSWORD, **headers: str) -> Response:
    """As a browser on this machine does it."""
    sent = {"Host": "localhost", "Origin": OWN, **headers}
    return world.ask(
        "POST", "/auth/sign-in", {"name": name, "password": password}, by=None, headers=sent
    )


class Browser:
    """What a signed-in page sends; `changes` replace headers, None leaves one out."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        answer = sign_in(world, name)
        assert answer.status_code == 200, answer.text
        self.id: str = answer.json()["session_id"]
        self.token: str = answer.json()["request_token"]
        self.cookie = SimpleCookie(answer.headers["Set-Cookie"])[SESSION_COOKIE]

    def ask(self, method: str, path: str, body: Any = None, **changes: str | None) -> Response:
        sent: dict[str, str | None] = {
            "Host": "localhost",
            "Cookie": f"{SESSION_COOKIE}={self.cookie.value}",
        }
        if method != "GET":
            sent |= {"Origin": OWN, TOKEN_HEADER: self.token}
        sent |= {name.replace("_", "-"): value for name, value in changes.items()}
        headers = {name: value for name, value in sent.items() if value is not None}
        return self.world.ask(method, path, body, by=None, headers=headers)


def test_who_signs_in_is_who_the_session_speaks_for(world: World) -> None:
    invited(world, "ml_engineer")
    browser = Browser(world, "ml_engineer")
    me = browser.ask("GET", "/me").json()
    assert (me["name"], me["roles"]) == ("ml_engineer", ["ml_engineer"])
    assert (me["session_id"], me["key_id"]) == (browser.id, None)
    assert me["request_token"] == browser.token
    by_key = world.ask("GET", "/me").json()
    assert (by_key["session_id"], by_key["request_token"]) == (None, None)
    assert by_key["project_ids"] == me["project_ids"] == [world.ids["team"]]


def test_the_cookie_is_kept_from_scripts_other_hosts_and_plain_http(world: World) -> None:
    invited(world, "auditor")
    browser = Browser(world, "auditor")
    cookie = browser.cookie
    assert SESSION_COOKIE.startswith("__Host-")
    assert (cookie["path"], cookie["domain"], cookie["samesite"]) == ("/", "", "lax")
    assert cookie["secure"] is True
    assert cookie["httponly"] is True


def test_neither_secret_password_nor_token_is_in_the_database_in_plain(on_sqlite: World) -> None:
    world = on_sqlite
    made = world.made(f"/people/{world.ids['auditor']}/invitations", None, by="admin")
    body = {"token": made["token"], "password": PASSWORD}
    assert world.ask("POST", "/auth/password", body, by=None).status_code == 204
    browser = Browser(world, "auditor")
    with transaction(services_of(world).make_session) as session:
        database: Any = session.connection().connection.driver_connection
        dump = "\n".join(database.iterdump())
    assert browser.id in dump
    assert made["id"] in dump
    for secret in (browser.cookie.value, browser.token, PASSWORD, made["token"].split("_")[2]):
        assert secret not in dump


@pytest.mark.parametrize(
    "changes",
    [
        {"Origin": None},
        {"Origin": "null"},
        {"Origin": "http://localhost:8001"},
        {"Origin": "https://localhost"},
        {"Origin": "http://localhost.evil.example"},
        {TOKEN_HEADER: None},
        {TOKEN_HEADER: ""},
        {TOKEN_HEADER: "A" * 43},
    ],
    ids=str,
)
def test_an_unsafe_request_that_another_page_could_make_changes_nothing(
    on_sqlite: World, changes: dict[str, str | None]
) -> None:
    invited(on_sqlite, "ml_engineer")
    browser = Browser(on_sqlite, "ml_engineer")
    for path in ("/auth/sign-out", "/reservations", "/jobs"):
        answer = browser.ask("POST", path, {}, **changes)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross-site-request"), path
    assert browser.ask("GET", "/me").status_code == 200


def test_the_token_of_one_session_is_none_of_another(on_sqlite: World) -> None:
    invited(on_sqlite, "auditor")
    first, second = (Browser(on_sqlite, "auditor") for _ in range(2))
    assert first.token != second.token
    first.token = second.token
    assert first.ask("POST", "/auth/sign-out").status_code == 403


def test_a_key_and_a_session_together_are_refused_whoever_they_speak_for(on_sqlite: World) -> None:
    invited(on_sqlite, "auditor")
    browser = Browser(on_sqlite, "auditor")
    for key in ("auditor", "admin"):
        header = f"Bearer {on_sqlite.keys[key]}"
        answer = browser.ask("GET", "/me", Authorization=header)
        assert (answer.status_code, answer.json()["code"]) == (400, "two-credentials")


def test_a_session_charges_as_a_key_does_and_dies_in_the_writer_too(world: World) -> None:
    dataset = register(world)
    body = reservation_body(dataset, open_root(world, dataset), max_units=1)
    invited(world, "ml_engineer")
    browser = Browser(world, "ml_engineer")
    for _ in range(2):
        assert browser.ask("POST", "/reservations", body).status_code == 201
    services = services_of(world)
    caller = services.sessions.authenticate(browser.cookie.value)
    assert browser.ask("POST", "/auth/sign-out").is_success
    assert browser.ask("POST", "/reservations", body).status_code == 401
    # let in before it ended: the count that the writer compares has moved
    with snapshot(services.make_session) as session:
        changes = session.scalar(text("SELECT changes FROM standing"))
    assert changes > caller.standing


def test_a_session_that_ended_is_over_and_its_owner_sees_the_others(world: World) -> None:
    invited(world, "auditor")
    first, second = Browser(world, "auditor"), Browser(world, "auditor")
    listed = first.ask("GET", "/auth/sessions").json()["items"]
    assert {each["id"]: each["is_this_one"] for each in listed} == {
        first.id: True,
        second.id: False,
    }
    assert first.ask("POST", f"/auth/sessions/{second.id}/revoke").is_success
    assert second.ask("GET", "/me").status_code == 401
    assert [each["id"] for each in first.ask("GET", "/auth/sessions").json()["items"]] == [first.id]
    out = first.ask("POST", "/auth/sign-out")
    assert "Max-Age=0" in out.headers["Set-Cookie"]
    assert first.ask("GET", "/me").status_code == 401


def test_nobody_ends_or_sees_the_session_of_somebody_else(on_sqlite: World) -> None:
    invited(on_sqlite, "auditor")
    invited(on_sqlite, "ml_engineer")
    mine, other = Browser(on_sqlite, "auditor"), Browser(on_sqlite, "ml_engineer")
    missing = mine.ask("POST", f"/auth/sessions/s{'0' * 12}/revoke")
    hidden = mine.ask("POST", f"/auth/sessions/{other.id}/revoke")
    assert missing.status_code == hidden.status_code == 404
    assert missing.json().keys() == hidden.json().keys()
    assert other.ask("GET", "/me").status_code == 200
    assert on_sqlite.ask("POST", "/auth/sign-out", by="auditor").status_code == 404


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE browser_sessions SET expires_at = :past",
        "UPDATE browser_sessions SET seen_at = :idle",
        "UPDATE principals SET active = false WHERE name = 'auditor'",
        "UPDATE browser_sessions SET way = 'oidc'",
    ],
)
def test_a_session_ends_by_age_by_idleness_and_with_its_person(
    world: World, statement: str
) -> None:
    invited(world, "auditor")
    browser = Browser(world, "auditor")
    now = datetime.now(UTC)
    times = {"past": now - timedelta(seconds=1), "idle": now - timedelta(hours=1, seconds=1)}
    times = {name: value for name, value in times.items() if f":{name}" in statement}
    with transaction(services_of(world).make_session) as session:
        session.execute(text(statement), times)
    ended = browser.ask("GET", "/me")
    never = world.ask("GET", "/me", by=None, headers={"Cookie": f"{SESSION_COOKIE}={'A' * 43}"})
    none = world.ask("GET", "/me", by=None)
    said = [
        {key: value for key, value in each.json().items() if key != "instance"}
        for each in (ended, never, none)
    ]
    assert said[0] == said[1] == said[2]
    assert ended.status_code == 401


def test_a_session_in_use_does_not_go_idle(world: World) -> None:
    invited(world, "auditor")
    browser = Browser(world, "auditor")
    make_session = services_of(world).make_session
    for _ in range(2):
        with transaction(make_session) as session:
            almost = datetime.now(UTC) - timedelta(minutes=59)
            session.execute(text("UPDATE browser_sessions SET seen_at = :at"), {"at": almost})
            before = session.scalar(text("SELECT changes FROM standing"))
        assert browser.ask("GET", "/me").status_code == 200
    with snapshot(make_session) as session:
        # what only says that somebody is there changes nobody's rights
        assert session.scalar(text("SELECT changes FROM standing")) == before
    (listed,) = browser.ask("GET", "/auth/sessions").json()["items"]
    assert datetime.now(UTC) - datetime.fromisoformat(listed["seen_at"]) < timedelta(minutes=1)


def test_sessions_die_with_their_person(world: World) -> None:
    invited(world, "auditor")
    browser = Browser(world, "auditor")
    assert deactivated(world, "auditor")["ended_session_ids"] == [browser.id]
    assert browser.ask("GET", "/me").status_code == 401
    assert sign_in(world, "auditor").status_code == 401
    body = world.ask("POST", f"/people/{world.ids['auditor']}/invitations", by="admin")
    assert body.status_code == 404


def test_who_returns_comes_in_by_nothing_that_he_had_before(world: World) -> None:
    invited(world, "auditor")
    path = f"/people/{world.ids['auditor']}"
    left_over = world.made(f"{path}/invitations", None, by="admin")["token"]
    browser = Browser(world, "auditor")
    deactivated(world, "auditor")
    world.made(f"{path}/activate", None, by="admin")
    assert browser.ask("GET", "/me").status_code == 401
    assert sign_in(world, "auditor").json()["code"] == "sign-in-refused"
    old = world.ask("POST", "/auth/password", {"token": left_over, "password": PASSWORD}, by=None)
    assert old.json()["code"] == "invitation-not-usable"
    invited(world, "auditor", "a third good password")
    assert sign_in(world, "auditor", "a third good password").status_code == 200


def test_an_unknown_name_and_a_wrong_password_are_answered_alike_and_as_slowly(
    on_sqlite: World,
) -> None:
    invited(on_sqlite, "auditor")
    services = services_of(on_sqlite)
    sign_in(on_sqlite, "warm up")
    took: dict[str, list[float]] = {}
    said = {}
    for name in ("auditor", "nobody", "worker"):  # the last one has no password
        for _ in range(3):
            started = time.perf_counter()
            answer = sign_in(on_sqlite, name, "a wrong password")
            took.setdefault(name, []).append(time.perf_counter() - started)
            assert answer.status_code == 401
            said[name] = {k: v for k, v in answer.json().items() if k != "instance"}
    assert said["auditor"] == said["nobody"] == said["worker"]
    assert said["auditor"]["code"] == "sign-in-refused"
    fastest = [min(times) for times in took.values()]
    assert max(fastest) < 3 * min(fastest), took
    with snapshot(services.make_session) as session:
        rows = session.execute(text("SELECT count(*) FROM sign_in_failures")).scalar_one()
    assert rows == 5  # four names and one address, known or not


def test_guessing_is_slowed_by_name_whoever_asks_and_the_owner_comes_in_afterwards(
    world: World,
) -> None:
    invited(world, "auditor")
    statuses = [sign_in(world, "auditor", f"guess {i}").status_code for i in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    shut = sign_in(world, "auditor")
    assert (shut.status_code, shut.json()["code"]) == (429, "too-many-attempts")
    assert shut.headers["Retry-After"] == str(shut.json()["retry_after_s"])
    # known or not: the answer tells nothing
    unknown = [sign_in(world, "nobody", f"guess {i}").status_code for i in range(7)]
    assert unknown == statuses
    with transaction(services_of(world).make_session) as session:
        session.execute(text("UPDATE sign_in_failures SET blocked_until = NULL"))
    assert sign_in(world, "auditor").status_code == 200
    assert sign_in(world, "auditor", "a wrong password").status_code == 401  # counted anew


def test_guesses_that_come_at_once_are_counted_before_they_are_looked_at(world: World) -> None:
    invited(world, "auditor")
    accounts = services_of(world).local_accounts

    def guess(index: int) -> type[Exception]:
        try:
            accounts.sign_in("auditor", f"guess {index}", "192.0.2.1")
        except (SignInRefused, TooManyAttempts) as refused:
            return type(refused)
        raise AssertionError("a guess came in")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(guess, range(16)))
    assert answers.count(SignInRefused) == 5


def test_many_names_from_one_address_are_slowed_too(on_sqlite: World) -> None:
    accounts = services_of(on_sqlite).local_accounts
    seen = []
    for index in range(32):
        with pytest.raises((SignInRefused, TooManyAttempts)) as refused:
            accounts.sign_in(f"name {index}", "a wrong password", "2001:db8::1")
        seen.append(refused.type)
    assert seen == [SignInRefused] * 30 + [TooManyAttempts] * 2
    with pytest.raises(TooManyAttempts):
        accounts.sign_in("one more", "a wrong password", "2001:db8::ffff:2")
    with pytest.raises(SignInRefused):
        accounts.sign_in("one more", "a wrong password", "2001:db8:0:1::1")


def test_the_wait_doubles_and_has_an_end() -> None:
    assert [wait_s("name", n) for n in range(1, 9)] == [0, 0, 0, 0, 1, 2, 4, 8]
    assert wait_s("name", 10**6) == wait_s("address", 10**6) == WAIT_MOST_S
    assert address_group("::ffff:192.0.2.1") == address_group("192.0.2.1")
    assert address_group("2001:db8::1") == address_group("2001:db8::2%eth0")
    assert address_group("2001:db8::1") != address_group("2001:db8:0:1::1")


def test_an_invitation_is_good_once_and_not_for_ever(world: World) -> None:
    path = f"/people/{world.ids['auditor']}/invitations"
    first = world.ask("POST", path, by="admin", key="one")
    again = world.ask("POST", path, by="admin", key="one")
    assert first.status_code == again.status_code == 201
    assert again.json() == {**first.json(), "token": None}
    old = world.made(path, None, by="admin")
    with transaction(services_of(world).make_session) as session:
        statement = text("UPDATE invitations SET expires_at = :past WHERE id = :id")
        past = datetime.now(UTC) - timedelta(seconds=1)
        session.execute(statement, {"past": past, "id": old["id"]})
    good = first.json()["token"]
    for token in (old["token"], f"{good[:-1]}{'A' if good[-1] != 'A' else 'E'}", "ei_x", "é"):
        body = {"token": token, "password": PASSWORD}
        answer = world.ask("POST", "/auth/password", body, by=None)
        assert (answer.status_code, answer.json()["code"]) == (409, "invitation-not-usable")
    body = {"token": good, "password": PASSWORD}
    assert world.ask("POST", "/auth/password", body, by=None).status_code == 204
    assert world.ask("POST", "/auth/password", body, by=None).status_code == 409


def test_a_new_password_ends_what_was_open_under_the_old_one(world: World) -> None:
    invited(world, "auditor")
    browser = Browser(world, "auditor")
    invited(world, "auditor", "another long password")
    assert browser.ask("GET", "/me").status_code == 401
    assert sign_in(world, "auditor").status_code == 401
    assert sign_in(world, "auditor", "another long password").status_code == 200


@pytest.mark.parametrize("password", ["short", "Compliance_Officer", "x" * 257])
def test_a_password_that_is_short_or_the_name_is_refused_and_not_repeated(
    on_sqlite: World, password: str
) -> None:
    person = on_sqlite.ids["compliance_officer"]
    made = on_sqlite.made(f"/people/{person}/invitations", None, by="admin")
    body = {"token": made["token"], "password": password}
    answer = on_sqlite.ask("POST", "/auth/password", body, by=None)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/password")
    assert password not in answer.text
    assert made["token"] not in answer.text


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "ledger.example", "Origin": "http://ledger.example"}, "insecure-transport"),
        ({"Host": "localhost", "Origin": "http://evil.example"}, "cross-site-request"),
        ({"Host": "localhost", "Origin": "null"}, "cross-site-request"),
    ],
)
def test_nobody_signs_in_where_the_session_would_not_be_kept_or_for_another_page(
    on_sqlite: World, headers: dict[str, str], code: str
) -> None:
    invited(on_sqlite, "auditor")
    answer = sign_in(on_sqlite, "auditor", **headers)
    assert (answer.status_code, answer.json()["code"]) == (403, code)
    assert "Set-Cookie" not in answer.headers


def test_behind_a_proxy_the_origin_that_was_configured_counts_and_no_other(
    sqlite_url: str, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    settings = Settings(
        database_url=sqlite_url, home=tmp_path / "home", public_origin="https://ledger.example"
    )
    with TestClient(app_over(settings)) as client:
        world = build(client, tmp_path / "files")
        invited(world, "auditor")
        inside = {"Host": "api.internal:8000"}
        right = sign_in(world, "auditor", **inside, Origin="https://ledger.example")
        assert right.status_code == 200
        for origin in ("http://api.internal:8000", "http://ledger.example", OWN):
            wrong = sign_in(world, "auditor", **inside, Origin=origin)
            assert wrong.json()["code"] == "cross-site-request", origin


def test_signing_in_and_out_and_every_refusal_have_an_audit_row(world: World) -> None:
    invited(world, "auditor")
    sign_in(world, "auditor", "a wrong password")
    sign_in(world, PASSWORD, "typed into the wrong box")
    browser = Browser(world, "auditor")
    browser.ask("POST", "/auth/sign-out")
    auditor = world.ids["auditor"]
    rows = [
        (row["action"], row["actor_id"], row["subject"])
        for prefix in ("invitation.", "password.", "sign-in.", "session.")
        for row in events(world, prefix)
    ]
    admin = world.ask("GET", "/me", by="admin").json()["id"]
    assert rows == [
        ("invitation.created", admin, auditor),
        ("password.set", auditor, auditor),
        ("sign-in.refused", None, auditor),
        ("sign-in.refused", None, None),
        ("session.started", auditor, browser.id),
        ("session.ended", auditor, browser.id),
    ]
    everything = world.ask("GET", "/audit-events?limit=200", by="auditor").text
    assert PASSWORD not in everything
    assert browser.cookie.value not in everything
