"""The description at the root is the one that the code gives."""

import re
from pathlib import Path

from app.api.auth import OPEN
from app.main import create_app, openapi_yaml
from app.settings import Settings

CONTRACT = Path(__file__).parents[2] / "openapi.yaml"
# words that promise more than a proof can (L9)
WORDS = re.compile(r"\b(compliant|certified|anonymous|guaranteed|safe)\b", re.IGNORECASE)


def test_openapi_yaml_says_what_the_code_says() -> None:
    assert CONTRACT.read_text("utf-8") == openapi_yaml(), "write it anew: app.cli openapi --write"


def test_every_route_declares_its_refusals_as_problem_details() -> None:
    document = create_app(Settings()).openapi()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if operation["operationId"] in OPEN:
                continue
            refusals = {s: r for s, r in operation["responses"].items() if s >= "400"}
            assert {"400", "401", "403", "422"} <= set(refusals), (method, path)
            for status, answer in refusals.items():
                assert set(answer["content"]) == {"application/problem+json"}, (path, status)


def test_privacy_amounts_are_decimal_strings_in_every_request() -> None:
    schemas = create_app(Settings()).openapi()["components"]["schemas"]
    for name, schema in schemas.items():
        for field, form in schema.get("properties", {}).items():
            if field in {"epsilon", "delta", "delta_split", "low", "high", "grid"}:
                kinds = {item.get("type") for item in form.get("anyOf", [form])} - {"null"}
                assert kinds == {"string"}, (name, field)


def test_the_description_promises_nothing_that_is_not_proven() -> None:
    assert WORDS.findall(CONTRACT.read_text("utf-8")) == []


def test_the_one_file_client_imports_nothing_of_the_service() -> None:
    source = (Path(__file__).parents[2] / "app" / "client.py").read_text("utf-8")
    imported = set(re.findall(r"^(?:from|import) ([a-z_]+)", source, re.MULTILINE))
    assert "app" not in imported
    assert "httpx" in imported
