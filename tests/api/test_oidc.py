"""Signing in by an identity provider that runs beside the tests, and that lies when it is asked to.

The provider is a process of its own with its own keys; see `tests.identity_provider`.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import text

from app.api.browser import SESSION_COOKIE
from app.api.routes.identities import CALLBACK, FLOW_COOKIE
from app.db.session import snapshot, transaction
from app.settings import Settings
from tests.api.conftest import app_over
from tests.api.test_leavers import deactivated, events, services_of
from tests.api.world import TestClient, World, build
from tests.identity_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    FAULTS,
    SIGNED_WRONGLY,
    provider_process,
)

HERE = {"Host": "localhost:8000"}


@pytest.fixture(scope="session")
def issuer() -> Iterator[str]:
    with provider_process() as url:
        yield url


def with_provider(database_url: str, folder: Path, issuer: str) -> Settings:
    secret = folder / "client-secret"
    secret.write_text(f"{CLIENT_SECRET}\n")
    return Settings(
        database_url=database_url,
        home=folder / "home",
        oidc_issuer=issuer,
        oidc_client_id=CLIENT_ID,
        oidc_secret_file=secret,
    )


@pytest.fixture
def world(database_url: str, tmp_path: Path, issuer: str) -> Iterator[World]:
    (tmp_path / "files").mkdir()
    with TestClient(app_over(with_provider(database_url, tmp_path, issuer))) as client:
        yield build(client, tmp_path / "files")


@pytest.fixture
def on_sqlite(sqlite_url: str, tmp_path: Path, issuer: str) -> Iterator[World]:
    (tmp_path / "files").mkdir()
    with TestClient(app_over(with_provider(sqlite_url, tmp_path, issuer))) as client:
        yield build(client, tmp_path / "files")


def linked(world: World, name: str, **link: str) -> dict[str, Any]:
    return world.made(f"/people/{world.ids[name]}/identities", link, by="admin")


def begin(world: World, path: str = "/auth/oidc/start") -> tuple[str, str]:
    """Where the browser is sent, and the cookie that it gets."""
    answer = world.client.get(f"/v1{path}", headers=HERE, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    cookie = SimpleCookie(answer.headers["Set-Cookie"])[FLOW_COOKIE]
    assert (cookie["path"], cookie["samesite"], cookie["httponly"]) == ("/", "lax", True)
    return answer.headers["Location"], cookie.value


def at_provider(url: str, name: str) -> str:
    """Type a name into the provider's form; gives where it sends the browser back to."""
    with httpx.Client() as browser:
        page = browser.get(url).text
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.replace("&#x27;", "'")))
        answer = browser.post(url, data={**fields, "name": name})
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def come_back(world: World, back: str, cookie: str | None) -> httpx.Response:
    headers = HERE if cookie is None else {**HERE, "Cookie": f"{FLOW_COOKIE}={cookie}"}
    parts = urlsplit(back)
    answer: httpx.Response = world.client.get(
        f"{parts.path}?{parts.query}", headers=headers, follow_redirects=False
    )
    return answer


def sign_in(world: World, name: str) -> httpx.Response:
    url, cookie = begin(world)
    return come_back(world, at_provider(url, name), cookie)


def session_of(answer: httpx.Response) -> dict[str, str]:
    """The headers of the browser that got this answer."""
    assert answer.status_code == 303, answer.text
    cookies = {
        name: morsel
        for line in answer.headers.get_list("Set-Cookie")
        for name, morsel in SimpleCookie(line).items()
    }
    assert cookies[FLOW_COOKIE]["max-age"] == "0"
    cookie = cookies[SESSION_COOKIE]
    assert (cookie["path"], cookie["samesite"], cookie["httponly"]) == ("/", "lax", True)
    return {**HERE, "Cookie": f"{SESSION_COOKIE}={cookie.value}"}


def test_who_is_linked_comes_in_with_the_roles_that_he_has_here(world: World) -> None:
    linked(world, "ml_engineer", subject="subject-of-ada")
    answer = sign_in(world, "ada")
    assert answer.headers["Location"] == "/v1/me"
    me = world.ask("GET", "/me", by=None, headers=session_of(answer)).json()
    assert (me["id"], me["roles"]) == (world.ids["ml_engineer"], ["ml_engineer"])
    (listed,) = world.ask("GET", "/auth/sessions", by=None, headers=session_of(answer)).json()[
        "items"
    ]
    assert (listed["way"], listed["is_this_one"]) == ("oidc", True)
    (row,) = events(world, "session.started")
    assert (row["actor_id"], row["facts"]["way"]) == (world.ids["ml_engineer"], "oidc")


def test_what_goes_to_the_provider_is_bound_to_this_sign_in(on_sqlite: World, issuer: str) -> None:
    asked = []
    for _ in range(2):
        url, cookie = begin(on_sqlite)
        parts = urlsplit(url)
        assert f"{parts.scheme}://{parts.netloc}" == issuer
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert query["code_challenge_method"] == "S256"
        assert query["redirect_uri"] == f"http://localhost:8000{CALLBACK}"
        assert query["scope"] == "openid email"
        secret = cookie.split(".")[0]
        assert secret not in url
        asked.append({query[name] for name in ("state", "nonce", "code_challenge")})
    assert len(asked[0] | asked[1]) == 6


@pytest.mark.parametrize("fault", [*FAULTS, *SIGNED_WRONGLY])
def test_a_token_that_is_wrong_in_one_way_lets_nobody_in(on_sqlite: World, fault: str) -> None:
    linked(on_sqlite, "ml_engineer", subject="subject-of-ada")
    answer = sign_in(on_sqlite, f"ada!{fault}")
    assert (answer.status_code, answer.json()["code"]) == (424, "identity-provider-failed")
    assert SESSION_COOKIE not in answer.headers.get("Set-Cookie", "")
    assert events(on_sqlite, "session.") == []
    (row,) = events(on_sqlite, "sign-in.refused")
    assert (row["subject"], row["facts"]["way"]) == (None, "oidc")


def test_a_key_that_the_provider_has_made_since_is_asked_for(on_sqlite: World) -> None:
    linked(on_sqlite, "ml_engineer", subject="subject-of-ada")
    assert sign_in(on_sqlite, "ada").status_code == 303
    provider = services_of(on_sqlite).identities.provider
    fetched, keys = provider._keys
    provider._keys = (fetched - 31, keys)  # once every half minute, whoever asks
    assert sign_in(on_sqlite, "ada!rotated").status_code == 303


def test_an_answer_to_another_sign_in_or_another_browser_is_refused(on_sqlite: World) -> None:
    linked(on_sqlite, "ml_engineer", subject="subject-of-ada")
    url, mine = begin(on_sqlite)
    other_url, others = begin(on_sqlite)
    back = at_provider(url, "ada")
    for cookie in (None, others, "x", f"{'A' * 43}.{mine.split('.')[1]}"):
        answer = come_back(on_sqlite, back, cookie)
        assert (answer.status_code, answer.json()["code"]) == (400, "sign-in-not-started")
    # the code of one sign-in with the state of another: the verifier does not fit
    code = parse_qs(urlsplit(back).query)["code"][0]
    others_back = at_provider(other_url, "ada")
    mixed = re.sub(r"code=[^&]*", f"code={code}", others_back)
    assert come_back(on_sqlite, mixed, others).json()["code"] == "identity-provider-failed"
    assert events(on_sqlite, "session.") == []


def test_a_code_is_good_once(on_sqlite: World) -> None:
    linked(on_sqlite, "ml_engineer", subject="subject-of-ada")
    url, cookie = begin(on_sqlite)
    back = at_provider(url, "ada")
    assert come_back(on_sqlite, back, cookie).status_code == 303
    assert come_back(on_sqlite, back, cookie).status_code == 424


def test_an_answer_that_names_another_issuer_or_no_code_is_refused(on_sqlite: World) -> None:
    linked(on_sqlite, "ml_engineer", subject="subject-of-ada")
    url, cookie = begin(on_sqlite)
    back = re.sub(r"iss=[^&]*", "iss=https://elsewhere.example", at_provider(url, "ada"))
    assert come_back(on_sqlite, back, cookie).status_code == 424
    assert sign_in(on_sqlite, "refused").status_code == 424


def test_somebody_who_is_linked_to_nobody_gets_nothing_and_is_told_his_own_name(
    world: World,
) -> None:
    people = world.ask("GET", "/people", by="admin").json()
    answer = sign_in(world, "eve")
    assert (answer.status_code, answer.json()["code"]) == (403, "identity-not-linked")
    assert answer.json()["identity"] == "subject-of-eve"
    assert world.ask("GET", "/people", by="admin").json() == people
    assert events(world, "session.") == []


def test_a_verified_address_is_its_first_subjects_for_good(world: World) -> None:
    link = linked(world, "auditor", email="Ada@Example.org")
    assert (link["subject"], link["email"], link["bound_at"]) == (None, "ada@example.org", None)
    assert sign_in(world, "ada!unverified").json()["code"] == "identity-not-linked"
    me = world.ask("GET", "/me", by=None, headers=session_of(sign_in(world, "ada"))).json()
    assert me["name"] == "auditor"
    path = f"/people/{world.ids['auditor']}/identities"
    (bound,) = world.ask("GET", path, by="admin").json()["items"]
    assert bound["subject"] == "subject-of-ada"
    # the address has a new owner at the provider
    with transaction(services_of(world).make_session) as session:
        session.execute(text("UPDATE linked_identities SET subject = 'subject-of-old-ada'"))
    assert sign_in(world, "ada").json()["code"] == "identity-not-linked"


def test_an_identity_is_linked_to_one_person_alone(world: World) -> None:
    linked(world, "ml_engineer", subject="subject-of-ada")
    path = f"/people/{world.ids['auditor']}/identities"
    taken = world.ask("POST", path, {"subject": "subject-of-ada"}, by="admin")
    assert (taken.status_code, taken.json()["code"]) == (409, "already-exists")
    for body in ({}, {"subject": "a", "email": "a@b.example"}):
        assert world.ask("POST", path, body, by="admin").status_code == 422


def test_an_ended_link_ends_what_it_opened(world: World) -> None:
    link = linked(world, "ml_engineer", subject="subject-of-ada")
    browser = session_of(sign_in(world, "ada"))
    path = f"/people/{world.ids['ml_engineer']}/identities/{link['id']}"
    others = f"/people/{world.ids['auditor']}/identities/{link['id']}"
    assert world.ask("DELETE", others, by="admin").status_code == 404
    assert world.ask("DELETE", path, by="admin").status_code == 204
    assert world.ask("GET", "/me", by=None, headers=browser).status_code == 401
    assert sign_in(world, "ada").json()["code"] == "identity-not-linked"
    assert world.ask("DELETE", path, by="admin").status_code == 404


def test_a_leaver_does_not_come_in_by_the_provider_either(world: World) -> None:
    linked(world, "ml_engineer", subject="subject-of-ada")
    browser = session_of(sign_in(world, "ada"))
    deactivated(world, "ml_engineer")
    assert world.ask("GET", "/me", by=None, headers=browser).status_code == 401
    assert sign_in(world, "ada").json()["code"] == "identity-not-linked"


def test_passwords_of_this_house_are_refused_where_a_provider_is_configured(
    world: World,
) -> None:
    ways = world.ask("GET", "/auth/ways", by=None).json()
    assert ways == {"password": False, "oidc": True}
    invite = world.ask("POST", f"/people/{world.ids['auditor']}/invitations", by="admin")
    token = {"token": f"ei_{'0' * 12}_{'A' * 43}", "password": "correct horse battery"}
    set_it = world.ask("POST", "/auth/password", token, by=None)
    named = {"name": "auditor", "password": "correct horse battery"}
    enter = world.ask("POST", "/auth/sign-in", named, by=None, headers=HERE)
    for answer in (invite, set_it, enter):
        assert (answer.status_code, answer.json()["code"]) == (409, "way-not-offered")
    # a session that a password had opened before is none any more
    linked(world, "auditor", subject="subject-of-ada")
    browser = session_of(sign_in(world, "ada"))
    with transaction(services_of(world).make_session) as session:
        session.execute(text("UPDATE browser_sessions SET way = 'password'"))
    assert world.ask("GET", "/me", by=None, headers=browser).status_code == 401


@pytest.mark.parametrize(
    "place",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "v1/me", "/a\r\nSet-Cookie: x"],
)
def test_nobody_is_sent_elsewhere_afterwards(on_sqlite: World, place: str) -> None:
    answer = on_sqlite.client.get(
        "/v1/auth/oidc/start", params={"next": place}, headers=HERE, follow_redirects=False
    )
    assert answer.status_code == 422
    # nor by a cookie that somebody has written
    _, cookie = begin(on_sqlite)
    written = f"{cookie.split('.')[0]}.{urlsafe_b64encode(place.encode()).decode()}"
    url, _ = begin(on_sqlite)
    assert come_back(on_sqlite, at_provider(url, "ada"), written).status_code == 400


def test_a_provider_that_is_away_or_another_than_it_says_is_a_refusal(
    sqlite_url: str, tmp_path: Path, issuer: str
) -> None:
    (tmp_path / "files").mkdir()
    port = urlsplit(issuer).port
    for wrong in ("http://127.0.0.1:9", f"http://localhost:{port}"):
        with TestClient(app_over(with_provider(sqlite_url, tmp_path, wrong))) as client:
            answer = client.get("/v1/auth/oidc/start", headers=HERE, follow_redirects=False)
            assert (answer.status_code, answer.json()["code"]) == (
                424,
                "identity-provider-failed",
            )


def test_no_secret_of_a_sign_in_is_kept(on_sqlite: World) -> None:
    linked(on_sqlite, "ml_engineer", subject="subject-of-ada")
    url, cookie = begin(on_sqlite)
    back = at_provider(url, "ada")
    browser = session_of(come_back(on_sqlite, back, cookie))
    with snapshot(services_of(on_sqlite).make_session) as session:
        database: Any = session.connection().connection.driver_connection
        dump = "\n".join(database.iterdump())
    query = parse_qs(urlsplit(url).query) | parse_qs(urlsplit(back).query)
    secrets = [query[name][0] for name in ("state", "nonce", "code_challenge", "code")]
    for secret in (*secrets, cookie.split(".")[0], browser["Cookie"].split("=", 1)[1]):
        assert secret not in dump
