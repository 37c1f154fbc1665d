"""Every refusal has one place at the edge, and none of them repeats what was sent."""

import dataclasses
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from app.api.problems import BY_CODE, PROBLEMS, problem_of
from app.domain.errors import DomainError, ReplayedRefusal, refusal_document
from app.services import admission, settlement
from tests.api.world import World, dataset_body

assert admission
assert settlement
SECRET = "hunter2-in-a-value"


def refusals() -> list[type[DomainError]]:
    """Every refusal of the service that a caller can meet: public classes of `app`."""
    found: list[type[DomainError]] = []
    waiting = [DomainError]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            if kind.__module__.startswith("app.") and not kind.__name__.startswith("_"):
                found.append(kind)
    return found


@pytest.mark.parametrize("kind", refusals(), ids=lambda kind: str(kind.code))
def test_every_refusal_has_a_status_a_title_and_a_sentence(kind: type[DomainError]) -> None:
    if kind is ReplayedRefusal:
        return  # it is answered as the refusal that it holds
    fields: dict[str, Any] = {field.name: field.name for field in dataclasses.fields(kind)}
    if "scope" in fields:
        fields |= {"scope": {"kind": "lifetime", "name": "for life", "budget_id": "b1"}}
    if "asked" in fields:
        fields |= {"asked": {"units": 2}, "left": {"epsilon": "1"}, "fits": {"max_units": 1}}
    problem = problem_of(refusal_document(kind(**fields)), "/v1/requests/1")
    assert problem is not None, f"{kind.__name__} has no row in PROBLEMS"
    assert problem["type"] == f"/problems/{kind.code}"
    assert 400 <= problem["status"] < 500
    assert problem["title"]
    assert problem["detail"]
    assert "{" not in problem["detail"]


def test_no_two_refusals_share_a_code() -> None:
    assert len(BY_CODE) == len(PROBLEMS)


def test_the_facts_of_a_refusal_never_take_the_place_of_the_standard_members() -> None:
    standard = {"type", "title", "status", "detail", "instance", "code"}
    for kind in PROBLEMS:
        assert standard.isdisjoint(field.name for field in dataclasses.fields(kind)), kind


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"name": "x"', 400, "malformed-request"),
        (b'{"name": NaN}', 400, "malformed-request"),
        (b'{"name": 1e999}', 400, "malformed-request"),
        (b'{"name": -Infinity}', 400, "malformed-request"),
        (b'{"name": "a", "name": "b"}', 400, "malformed-request"),
        (b'{"name": "\\ud800"}', 400, "malformed-request"),
        (b'{"name": "\xff"}', 400, "malformed-request"),
        (b'{"name": ' + b"9" * 5000 + b"}", 400, "malformed-request"),
        (b"[" * 100_000, 400, "malformed-request"),
        (b'{"name": "' + b"x" * 1_000_001 + b'"}', 413, "body-too-large"),
    ],
)
def test_a_body_that_is_not_one_strict_json_value_is_refused_before_it_is_looked_at(
    on_sqlite: World, body: bytes, status: int, code: str
) -> None:
    headers = {
        "Authorization": f"Bearer {on_sqlite.keys['admin']}",
        "Idempotency-Key": "k",
        "Content-Type": "application/json",
    }
    answer = on_sqlite.client.post("/v1/projects", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == code


def test_a_body_of_another_media_type_is_refused(on_sqlite: World) -> None:
    headers = {
        "Authorization": f"Bearer {on_sqlite.keys['admin']}",
        "Idempotency-Key": "k",
        "Content-Type": "text/plain",
    }
    answer = on_sqlite.client.post("/v1/projects", content=b'{"name": "x"}', headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type")


def test_paths_and_methods_that_do_not_exist_are_problems_too(on_sqlite: World) -> None:
    missing = on_sqlite.client.get("/v1/nothing")
    assert (missing.status_code, missing.json()["type"]) == (404, "/problems/not-found")
    wrong = on_sqlite.client.put("/v1/projects")
    assert (wrong.status_code, wrong.json()["type"]) == (405, "/problems/method-not-allowed")
    assert wrong.headers["Allow"]


def test_a_validation_answer_points_at_the_value_and_does_not_repeat_it(on_sqlite: World) -> None:
    body = dataset_body(on_sqlite.file("a.parquet"), nominal_size=SECRET, relation=SECRET)
    answer = on_sqlite.ask("POST", "/datasets", body, by="compliance_officer")
    assert answer.status_code == 422
    assert {item["pointer"] for item in answer.json()["errors"]} == {"/nominal_size", "/relation"}
    assert SECRET not in answer.text
    ids = on_sqlite.ask("GET", f"/datasets/{SECRET}", by="compliance_officer")
    assert ids.json()["errors"] == [
        {"in": "path", "pointer": "/dataset_id", "reason": "a UUID is expected"}
    ]


def test_no_answer_quotes_a_value_that_could_not_be_read(on_sqlite: World) -> None:
    sent = "2027-02-31"
    body = dataset_body(on_sqlite.file("a.parquet"), retain_until=sent)
    answer = on_sqlite.ask("POST", "/datasets", body, by="compliance_officer")
    assert answer.status_code == 422
    assert sent not in answer.text
    for bad in (
        "1700000000",
        1700000000,
        "1999-01-01T00:00:00Z",
        "2027-01-01T00:00:00",
        "9999-12-31T23:59:59-12:00",
        f"2027-13-01T{SECRET}",
        True,
    ):
        key = {"principal_id": on_sqlite.ids["worker"], "expires_at": bad}
        answer = on_sqlite.ask("POST", "/api-keys", key, by="admin")
        assert answer.status_code == 422, bad
        assert answer.json()["errors"][0]["pointer"] == "/expires_at"
        assert str(bad) not in answer.text


def test_a_fault_answers_500_without_a_word_of_its_cause(
    on_sqlite: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    services = on_sqlite.client.app.state.services  # type: ignore[attr-defined]

    def fail(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(type(services.projects), "list", fail)
    monkeypatch.setattr(on_sqlite.client._transport, "raise_server_exceptions", False)
    with caplog.at_level(logging.ERROR):
        answer = on_sqlite.ask("GET", "/projects", by="admin")
    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems/internal"
    assert SECRET not in answer.text
    assert SECRET not in caplog.text
    assert answer.json()["instance"] in caplog.text


def test_the_page_has_words_for_no_code_that_the_service_does_not_have() -> None:
    file = Path(__file__).parents[2] / "frontend/src/components/ProblemNotice.tsx"
    words = file.read_text("utf-8").partition("= {\n")[2].partition("\n}\n")[0]
    codes = re.findall(r'^  "([a-z-]+)":', words, re.MULTILINE)
    assert len(codes) > 5
    assert set(codes) <= {*BY_CODE, "too-many-requests"}
