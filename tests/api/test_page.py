"""The web page as it is served: one document for its places, assets for ever, nothing else."""

import gzip
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from starlette.applications import Starlette

from app.api.page import PLACES, BuiltPage
from app.main import create_app
from app.settings import Settings


@pytest.fixture
def built(tmp_path: Path) -> TestClient:
    folder = tmp_path / "web"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>the page</title>")
    (folder / "mark.svg").write_text("<svg/>")
    script = b"console.log(1)"
    (folder / "assets" / "main-abc.js").write_bytes(script)
    (folder / "assets" / "main-abc.js.gz").write_bytes(gzip.compress(script))
    (folder / "stamp").write_text("a stamp")
    (tmp_path / "secret.js").write_text("a secret")
    return TestClient(Starlette(routes=BuiltPage(folder).routes()))


@pytest.mark.parametrize(
    "place", ["", "datasets", "datasets/abc", "admin/people", "sign-in?next=/"]
)
def test_every_place_of_the_page_gets_the_one_document(built: TestClient, place: str) -> None:
    answer = built.get(f"/{place}")
    assert (answer.status_code, "the page" in answer.text) == (200, True)
    assert answer.headers["Cache-Control"] == "no-cache"
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "default-src 'none'" in policy


def test_an_asset_stays_for_ever_and_comes_compressed_to_who_takes_it(built: TestClient) -> None:
    plain = built.get("/assets/main-abc.js", headers={"Accept-Encoding": "identity"})
    packed = built.get("/assets/main-abc.js", headers={"Accept-Encoding": "br, gzip"})
    assert plain.text == packed.text == "console.log(1)"
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Content-Type"].startswith("text/javascript")
    assert "immutable" in packed.headers["Cache-Control"]
    assert packed.headers["Vary"] == "Accept-Encoding"
    assert built.get("/mark.svg").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../secret.js",
        "/assets/%2e%2e/secret.js",
        "/assets/..%2f..%2fsecret.js",
        "/assets/%2e%2e%2fstamp",
        "/assets/..%5csecret.js",
        "/assets//etc/passwd",
        "/assets/stamp",
        "/stamp",
        "/../secret.js",
        "/..%2fmark.svg",
    ],
)
def test_no_path_leads_out_of_the_folder(built: TestClient, path: str) -> None:
    answer = built.get(path)
    assert answer.status_code == 404
    assert "secret" not in answer.text
    assert "stamp" not in answer.text


def test_without_a_build_the_page_says_how_to_make_one(tmp_path: Path) -> None:
    client = TestClient(Starlette(routes=BuiltPage(tmp_path / "none").routes()))
    answer = client.get("/")
    assert answer.status_code == 503
    assert "python3 dev.py up" in answer.text
    assert "/docs" in answer.text


def test_no_place_of_the_page_hides_a_route_of_the_api() -> None:
    described = create_app(Settings()).openapi()["paths"]
    first = {path.split("/")[1] for path in described}
    assert first.isdisjoint(PLACES)
    assert first.isdisjoint({"assets"})
