"""A program's key by the browser beside it: a code is good once, soon, for one program."""

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from httpx import Response
from sqlalchemy import text

from app.api.browser import SESSION_COOKIE
from app.api.routes import loopback
from app.cli import by_browser
from app.db.session import transaction
from tests.api.test_leavers import deactivated, services_of
from tests.api.test_sign_in import OWN, Browser, invited
from tests.api.world import World

FORM = "application/x-www-form-urlencoded"


class Program:
    """What the command line holds: a verifier, and what is made of it."""

    def __init__(self) -> None:
        self.verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(self.verifier.encode()).digest()
        self.challenge = urlsafe_b64encode(digest).rstrip(b"=").decode()
        self.asked = {"port": "40000", "challenge": self.challenge, "state": "s" * 24}

    def code(self, browser: Browser) -> str:
        """What the browser brings back where the person says yes."""
        answer = say_yes(browser, self.asked)
        assert answer.status_code == 303, answer.text
        target = urlsplit(answer.headers["Location"])
        assert (target.scheme, target.netloc) == ("http", "127.0.0.1:40000")
        query = parse_qs(target.query)
        assert query["state"] == ["s" * 24]
        return query["code"][0]

    def key(self, world: World, code: str, **changes: str) -> Response:
        body = {"code": code, "verifier": self.verifier, **changes}
        return world.ask("POST", "/auth/loopback/key", body, by=None)


def say_yes(browser: Browser, asked: dict[str, str], **changes: str | None) -> Response:
    """Send the form of the page; `changes` replace headers, None leaves one out."""
    page = browser.ask("GET", f"/auth/loopback?{urlencode(asked)}")
    assert page.status_code == 200, page.text
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.text))
    sent: dict[str, str | None] = {
        "Host": "localhost",
        "Origin": OWN,
        "Cookie": f"{SESSION_COOKIE}={browser.cookie.value}",
        "Content-Type": FORM,
        **changes,
    }
    headers = {name: value for name, value in sent.items() if value is not None}
    answer: Response = browser.world.client.post(
        "/v1/auth/loopback", content=urlencode(fields), headers=headers, follow_redirects=False
    )
    return answer


def test_a_code_becomes_one_key_of_the_person_that_ends_by_itself(world: World) -> None:
    invited(world, "ml_engineer")
    program = Program()
    code = program.code(Browser(world, "ml_engineer"))
    made = program.key(world, code)
    assert made.status_code == 201
    document: dict[str, Any] = made.json()
    assert document["principal_id"] == world.ids["ml_engineer"]
    left = datetime.fromisoformat(document["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=11, minutes=55) < left <= timedelta(hours=12)
    assert world.ask("GET", "/me", by=document["key"]).json()["name"] == "ml_engineer"
    again = program.key(world, code)
    assert (again.status_code, again.json()["code"]) == (409, "code-not-usable")


def test_a_code_is_of_no_use_to_another_program_and_then_to_nobody(world: World) -> None:
    invited(world, "ml_engineer")
    program = Program()
    code = program.code(Browser(world, "ml_engineer"))
    assert Program().key(world, code).status_code == 409
    assert program.key(world, code).status_code == 409
    assert program.key(world, secrets.token_urlsafe(32)).status_code == 409


@pytest.mark.parametrize("end", ["age", "person"])
def test_a_code_ends_after_a_minute_and_with_its_person(world: World, end: str) -> None:
    invited(world, "ml_engineer")
    program = Program()
    code = program.code(Browser(world, "ml_engineer"))
    if end == "age":
        with transaction(services_of(world).make_session) as session:
            past = datetime.now(UTC) - timedelta(seconds=1)
            session.execute(text("UPDATE loopback_grants SET expires_at = :at"), {"at": past})
    else:
        deactivated(world, "ml_engineer")
    assert program.key(world, code).status_code == 409


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"Origin": None}, "cross-site-request"),
        ({"Origin": "null"}, "cross-site-request"),
        ({"Origin": "http://evil.example"}, "cross-site-request"),
        ({"Cookie": None}, "not-authenticated"),
    ],
    ids=str,
)
def test_no_other_page_says_yes_for_a_person(
    on_sqlite: World, changes: dict[str, str | None], code: str
) -> None:
    invited(on_sqlite, "ml_engineer")
    answer = say_yes(Browser(on_sqlite, "ml_engineer"), Program().asked, **changes)
    assert answer.json()["code"] == code


def test_a_form_of_another_session_or_with_other_fields_is_refused(on_sqlite: World) -> None:
    invited(on_sqlite, "ml_engineer")
    browser, other = (Browser(on_sqlite, "ml_engineer") for _ in range(2))
    cookie = f"{SESSION_COOKIE}={other.cookie.value}"
    assert say_yes(browser, Program().asked, Cookie=cookie).status_code == 403
    for wrong in ({"port": "80"}, {"port": "x"}, {"challenge": "short"}, {"state": "<script>"}):
        asked = {**Program().asked, **wrong}
        page = browser.ask("GET", f"/auth/loopback?{urlencode(asked)}")
        assert page.status_code == 422, wrong
        sent = {**asked, "request_token": browser.token}
        answer = on_sqlite.client.post(
            "/v1/auth/loopback",
            content=urlencode(sent),
            headers={
                "Host": "localhost",
                "Origin": OWN,
                "Cookie": f"{SESSION_COOKIE}={browser.cookie.value}",
                "Content-Type": FORM,
            },
            follow_redirects=False,
        )
        assert answer.status_code == 400, wrong


def test_nobody_who_is_not_signed_in_is_asked(on_sqlite: World) -> None:
    path = f"/auth/loopback?{urlencode(Program().asked)}"
    answer = on_sqlite.ask("GET", path, by=None)
    assert (answer.status_code, answer.json()["code"]) == (409, "way-not-offered")


def test_the_page_runs_no_script_and_shows_the_code_that_the_program_shows(
    on_sqlite: World,
) -> None:
    invited(on_sqlite, "ml_engineer")
    browser, program = Browser(on_sqlite, "ml_engineer"), Program()
    page = browser.ask("GET", f"/auth/loopback?{urlencode(program.asked)}")
    assert by_browser.shown_code(program.challenge) in page.text
    assert loopback.shown_code(program.challenge) == by_browser.shown_code(program.challenge)
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self' http://127.0.0.1:40000" in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert "<script" not in page.text
