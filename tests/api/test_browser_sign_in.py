"""Signing in end to end: a real Chromium, a real provider process, the program beside them."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.api.browser import SESSION_COOKIE, TOKEN_HEADER
from app.cli.by_browser import SignInFailed, key_by_browser
from tests.api.conftest import app_over
from tests.api.serving import serving
from tests.api.test_leavers import events
from tests.api.test_oidc import issuer, linked, with_provider
from tests.api.test_sign_in import PASSWORD, invited
from tests.api.world import TestClient, World, build
from tests.chromium import Page, chromium

__all__ = ["issuer"]

pytestmark = pytest.mark.processes


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with chromium(tmp_path / "browser") as page:
        yield page


@pytest.fixture
def house(sqlite_url: str, tmp_path: Path, issuer: str) -> Iterator[World]:
    """A house that people enter by the provider, with one who is linked to it."""
    (tmp_path / "files").mkdir()
    with TestClient(app_over(with_provider(sqlite_url, tmp_path, issuer))) as client:
        world = build(client, tmp_path / "files")
        linked(world, "ml_engineer", subject="subject-of-ada")
        yield world


def enter(page: Page, url: str, name: str = "ada") -> None:
    """From the service to the provider and back, as a person does it."""
    page.open(f"{url}/v1/auth/oidc/start")
    page.until(lambda: "/authorize" in page.url)
    page.submit(name=name)
    page.until(lambda: page.url.startswith(url))


def me(page: Page) -> dict[str, Any]:
    answer = page.fetch("GET", "/v1/me")
    assert answer["status"] == 200, answer
    document: dict[str, Any] = json.loads(answer["text"])
    return document


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_person_signs_in_at_the_provider_acts_and_signs_out(
    house: World, page: Page, host: str
) -> None:
    with serving(house) as served:
        url = served.replace("127.0.0.1", host)
        enter(page, url)
        assert page.url == f"{url}/v1/me"
        page.open_for_fetching(f"{url}/v1/me")
        found = me(page)
        assert (found["name"], found["key_id"]) == ("ml_engineer", None)

        cookie = page.cookies()[SESSION_COOKIE]
        assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Lax")
        assert (cookie["path"], cookie["domain"]) == ("/", host)
        assert page.run("document.cookie") == ""

        path = "/v1/auth/sign-out"
        assert page.fetch("POST", path, **{"Idempotency-Key": "k"})["status"] == 403
        token = {TOKEN_HEADER: found["request_token"]}
        assert page.fetch("POST", path, **token)["status"] == 200
        assert page.fetch("GET", "/v1/me")["status"] == 401
        assert SESSION_COOKIE not in page.cookies()


def test_a_page_of_another_origin_does_nothing_with_the_session(
    house: World, page: Page, issuer: str
) -> None:
    with serving(house) as url:
        enter(page, url)
        page.open_for_fetching(f"{url}/v1/me")
        token = me(page)["request_token"]
        # the provider's page stands for any other site; even one that had stolen the token
        page.open(f"{issuer}/nowhere")
        for headers in ({}, {TOKEN_HEADER: token}):
            script = f"""fetch({json.dumps(url + "/v1/auth/sign-out")}, {{method: "POST",
                credentials: "include", headers: {json.dumps(headers)}}})
                .then(answer => answer.status, () => "blocked")"""
            assert page.run(script) == "blocked"
        page.run(f"""{{const form = document.createElement("form"); form.method = "post";
            form.action = {json.dumps(url + "/v1/auth/sign-out")};
            document.body.append(form); form.submit()}}""")
        page.until(lambda: page.url.startswith(url))
        assert "cross-site-request" in page.text or "not-authenticated" in page.text
        page.open(f"{url}/v1/me")
        assert "ml_engineer" in page.text


def test_a_person_signs_in_with_a_password_over_plain_http_on_this_machine(
    on_sqlite: World, page: Page
) -> None:
    invited(on_sqlite, "auditor")
    with serving(on_sqlite) as url:
        page.open_for_fetching(f"{url}/healthz")
        named = {"name": "auditor", "password": PASSWORD}
        assert page.fetch("POST", "/v1/auth/sign-in", named)["status"] == 200
        assert me(page)["name"] == "auditor"
        assert page.run("document.cookie") == ""


def test_a_program_gets_a_key_by_the_browser_beside_it(house: World, page: Page) -> None:
    shown = []

    def person(address: str, code: str) -> None:
        """Signs in at the provider, compares the code, lets the program in."""
        page.open(address)
        page.until(lambda: "/authorize" in page.url)
        page.submit(name="ada")
        page.until(lambda: "Sign in a program" in page.text)
        assert code in page.text
        assert "ml_engineer" in page.text
        shown.append(page.url)
        page.submit()

    with serving(house) as url:
        key = key_by_browser(url, person, wait_s=30)
        page.until(lambda: "Signed in" in page.text)
        listed = house.ask("GET", "/me", by=key).json()
        assert (listed["name"], listed["key_id"]) == ("ml_engineer", key.split("_")[1])
        assert key not in page.url
    (row,) = events(house, "loopback.")
    assert row["actor_id"] == house.ids["ml_engineer"]
    made = house.ask("GET", "/api-keys", by="admin").json()["items"][0]
    assert made["expires_at"] is not None


def test_a_program_whose_person_says_nothing_gets_no_key(house: World, page: Page) -> None:
    with serving(house) as url, pytest.raises(SignInFailed):
        key_by_browser(url, lambda address, _: page.open(address), wait_s=1)
    assert events(house, "loopback.") == []
    assert threading.active_count() < 50
