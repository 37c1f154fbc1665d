"""Every answer is named, carries its headers, and comes at a bounded pace."""

import base64
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from app.api.edge import CALLERS_KEPT_MOST, HEADERS, Pace
from app.main import create_app
from app.settings import Settings
from tests.api.world import TestClient, World, build


def test_every_answer_carries_the_headers_whatever_became_of_the_request(
    on_sqlite: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("a row: 42")

    services = on_sqlite.client.app.state.services  # type: ignore[attr-defined]
    monkeypatch.setattr(type(services.budgets), "get", broken)
    nobody = "0" * 8 + "-0000-4000-8000-" + "0" * 12
    client = TestClient(on_sqlite.client.app, raise_server_exceptions=False)
    mine = {"Authorization": f"Bearer {on_sqlite.keys['auditor']}"}
    seen = {
        "/healthz": 200,
        "/v1/me": 200,
        "/nowhere": 404,
        f"/v1/jobs/{nobody}": 404,
        f"/v1/budgets/{nobody}": 500,
    }
    for path, status in seen.items():
        answer = client.get(path, headers=mine)
        assert answer.status_code == status, path
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, (path, name)
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"]), path
        assert (answer.headers.get("Cache-Control") == "no-store") == path.startswith("/v1/"), path


def test_a_plain_name_that_the_caller_gives_is_kept_and_any_other_is_replaced(
    on_sqlite: World,
) -> None:
    def named(given: str) -> str:
        answer = on_sqlite.client.get("/healthz", headers={"X-Request-Id": given})
        return str(answer.headers["X-Request-Id"])

    assert named("trace-2026.11.22") == "trace-2026.11.22"
    for bad in ("short", "x" * 65, "two words", "a\tb" * 4, '"><script>'):
        assert named(bad) != bad


def test_a_caller_passes_twice_the_rate_at_once_and_then_the_rate() -> None:
    now = 0.0
    pace = Pace(10.0, clock=lambda: now)
    assert [pace.wait_s(b"a") for _ in range(20)] == [0.0] * 20
    wait_s = pace.wait_s(b"a")
    assert 0.0 < wait_s <= 0.1
    assert pace.wait_s(b"b") == 0.0
    now += wait_s
    assert pace.wait_s(b"a") == 0.0
    assert pace.wait_s(b"a") > 0.0
    # asking in vain does not push the turn away
    now += 0.1
    assert pace.wait_s(b"a") == 0.0


def test_callers_that_are_remembered_are_bounded_in_number() -> None:
    pace = Pace(10.0, clock=lambda: 0.0)
    for number in range(CALLERS_KEPT_MOST + 100):
        pace.wait_s(str(number).encode())
    assert len(pace._left) == CALLERS_KEPT_MOST


@pytest.fixture
def slow_house(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "files"
    folder.mkdir()
    settings = Settings(
        database_url=sqlite_url, home=tmp_path / "home", requests_per_second_most=25
    )
    with TestClient(create_app(settings)) as client:
        yield build(client, folder)


def test_too_many_requests_are_refused_with_a_time_and_another_caller_is_not(
    slow_house: World,
) -> None:
    answers = [slow_house.ask("GET", "/me", by="auditor") for _ in range(200)]
    refused = next(each for each in answers if each.status_code == 429)
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "too-many-requests"
    assert int(refused.headers["Retry-After"]) == refused.json()["retry_after_s"] >= 1
    assert slow_house.ask("GET", "/me", by="stranger").status_code == 200


def test_the_reference_names_every_route_and_its_policy_allows_its_own_style_alone(
    on_sqlite: World,
) -> None:
    answer = on_sqlite.client.get("/docs")
    html = answer.text
    for path, operations in on_sqlite.client.app.openapi()["paths"].items():  # type: ignore[attr-defined]
        for method, operation in operations.items():
            assert f'id="{operation["operationId"]}"' in html, (method, path)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["Content-Security-Policy"]
    assert "<script" not in html
    assert not re.search(r"(src|href)=\"(?!#)", html), "nothing is fetched from anywhere"
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(re.findall(r'id="([^"]+)"', html))
