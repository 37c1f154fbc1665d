"""The one-file client against the real routes, and against a network that loses answers."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from app import client as client_module
from app.client import EpsilonLedger, Refused
from app.db.models import Job, Progress, Reservation, Result
from app.db.session import transaction
from app.services.jobs import artifact_folder
from tests.api.world import World, open_root, register, reservation_body

COUNT: dict[str, Any] = {
    "v": 1,
    "where": [],
    "group_by": [],
    "measures": [{"fn": "count"}],
    "privacy": {"epsilon": "0.1", "delta": "0", "noise": "discrete_laplace"},
}

PURE = {"type": "pure", "epsilon": "0.01"}

Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PAUSE_FIRST_S", 0.0)
    monkeypatch.setattr(client_module, "POLL_S", 0.01)


def over(world: World, by: str = "ml_engineer") -> EpsilonLedger:
    """The client over the application in this process."""
    return EpsilonLedger("http://testserver", world.keys[by], transport=world.client._transport)


@pytest.fixture
def ledger(on_sqlite: World) -> EpsilonLedger:
    return over(on_sqlite)


def lossy(world: World, lost: int, sent: list[httpx.Request]) -> EpsilonLedger:
    """A client whose first `lost` answers are lost after the service has acted."""

    def handle(request: httpx.Request) -> httpx.Response:
        answer: httpx.Response = world.client._transport.handle_request(request)
        answer.read()
        sent.append(request)
        if len(sent) <= lost:
            raise httpx.ReadError("the answer is lost")
        return answer

    transport = httpx.MockTransport(handle)
    return EpsilonLedger("http://testserver", world.keys["ml_engineer"], transport=transport)


def settle(
    world: World,
    job_id: str,
    *,
    file: bytes = b"weights",
    document: dict[str, Any] | None = None,
    profile_of: UUID | None = None,
) -> None:
    """What a worker leaves behind: progress, a posted result, an artifact."""
    services = world.client.app.state.services  # type: ignore[attr-defined]
    now = datetime.now(UTC)
    with transaction(services.make_session) as session:
        job = session.get_one(Job, UUID(job_id))
        for step in (1, 2, 3):
            session.add(Progress(job_id=job.id, fence=1, document={"step": step}, created_at=now))
        folder = artifact_folder(services.jobs.home, job.id, 1)
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(file)
        (folder / "private.txt").write_bytes(b"not for you")
        named = {
            "name": "model.safetensors",
            "sha256": sha256(file).hexdigest(),
            "size_bytes": len(file),
        }
        session.add(
            Result(
                job_id=job.id,
                fence=1,
                document=document or {"rows": []},
                artifacts=[named],
                profile_of=profile_of,
                created_at=now,
            )
        )
        session.get_one(Reservation, job.reservation_id).state = "posted"
        job.state, job.finished_at = "settled", now


def submitted(ledger: EpsilonLedger, world: World) -> tuple[dict[str, Any], str]:
    dataset = register(world)
    budget = open_root(world, dataset)
    inputs = reservation_body(dataset, budget)["inputs"]
    quote = ledger.quote(inputs=inputs, spec=COUNT)
    assert quote["charges"][0]["fits"] is True
    return ledger.submit("query", inputs=inputs, spec=COUNT, purpose="a count"), budget


PROFILE: dict[str, Any] = {
    "v": 1,
    "groupings": [{"by": [], "rows_most": 1}],
    "values": [],
    "privacy": {"epsilon": "0.5", "delta": "0"},
}


def test_a_profile_is_paid_for_and_the_next_quote_reads_it(
    on_sqlite: World, ledger: EpsilonLedger
) -> None:
    dataset = register(on_sqlite)
    inputs = reservation_body(dataset, open_root(on_sqlite, dataset))["inputs"]
    assert ledger.quote(inputs=inputs, spec=PROFILE)["kind"] == "profile"
    quote = ledger.quote(inputs=inputs, spec=COUNT)
    assert quote["truncation"]["profile"] is None
    assert quote["proposed"]["bounds"] is None
    told = {"from": [1], "units": [40], "half_width_95": "6", "mechanism": "discrete_laplace"}
    document = {"v": 1, "groupings": [{"by": [], "rows": told}], "values": [], "notes": []}

    def work() -> None:
        services = on_sqlite.client.app.state.services  # type: ignore[attr-defined]
        job: Job | None = None
        while job is None:
            with transaction(services.make_session) as session:
                job = session.scalars(select(Job).where(Job.kind == "profile")).one_or_none()
        settle(on_sqlite, str(job.id), document=document, profile_of=UUID(dataset))

    working = threading.Thread(target=work)
    working.start()
    result = ledger.profile(inputs=inputs, spec=PROFILE, purpose="caps", timeout_s=30)
    working.join()
    assert result["groupings"][0]["rows"] == told
    again = ledger.quote(inputs=inputs, spec=COUNT)
    assert again["truncation"]["profile"]["version"] == 1
    assert again["truncation"]["max_rows"] == {"lost_share": "0", "reason": None}
    assert again["proposed"]["bounds"] == {"max_groups": 1, "max_rows": 1}
    outside = ledger.quote(inputs=inputs, parts=[{"mechanism": PURE, "max_units": 1}])
    assert outside["truncation"] is None


def test_a_job_is_quoted_submitted_followed_and_collected(
    on_sqlite: World, ledger: EpsilonLedger, tmp_path: Path
) -> None:
    job, _ = submitted(ledger, on_sqlite)
    with pytest.raises(Refused) as early:
        ledger.result(job["id"])
    assert early.value.code == "result-not-ready"

    timer = threading.Timer(0.3, settle, [on_sqlite, job["id"]])
    timer.start()
    lines: list[dict[str, Any]] = []
    ended = ledger.wait(job["id"], lines.append, timeout_s=30)
    timer.join()
    assert ended["state"] == "settled"
    assert [line["step"] for line in lines] == [1, 2, 3]
    result = ledger.result(job["id"])
    assert result["artifacts"][0]["name"] == "model.safetensors"
    folder = tmp_path / "downloads"
    folder.mkdir()
    file = ledger.download(job["id"], "model.safetensors", folder)
    assert file.read_bytes() == b"weights"
    for other in ("private.txt", "model"):
        with pytest.raises(Refused):
            ledger.download(job["id"], other, folder)
    for other in ("..", ".", "", "%2e%2e%2fmodel", "model.safetensors/", "../x", "a\\b"):
        with pytest.raises(ValueError, match="not the name"):
            ledger.download(job["id"], other, folder)
    assert [file.name for file in folder.iterdir()] == ["model.safetensors"]
    assert [item["id"] for item in ledger.pages("/v1/jobs", limit=1)] == [job["id"]]


def test_an_equal_query_is_answered_by_the_job_that_released_it(
    on_sqlite: World, ledger: EpsilonLedger
) -> None:
    dataset = register(on_sqlite)
    inputs = reservation_body(dataset, open_root(on_sqlite, dataset))["inputs"]
    body = {"kind": "query", "inputs": inputs, "spec": COUNT, "purpose": "a count"}
    made = on_sqlite.ask("POST", "/jobs", body)
    assert (made.status_code, made.json()["reused_from"]) == (202, None)
    settle(on_sqlite, made.json()["id"])
    assert ledger.quote(inputs=inputs, spec=COUNT)["reused_from"] == made.json()["id"]
    assert ledger.quote(inputs=inputs, spec=COUNT, reuse=False)["reused_from"] is None
    for key in ("one", "one", "another"):
        again = on_sqlite.ask("POST", "/jobs", body, key=key)
        assert (again.status_code, again.headers["Location"]) == (
            200,
            f"/v1/jobs/{made.json()['id']}",
        )
        assert again.json()["charges"][0]["asked"] == {"epsilon": "0", "delta": "0"}
    job = ledger.submit("query", inputs=inputs, spec=COUNT, purpose="once more")
    assert job["reused_from"] == made.json()["id"]
    assert ledger.wait(job["id"], timeout_s=5)["state"] == "settled"
    assert ledger.result(job["id"])["rows"] == []
    fresh = ledger.submit("query", inputs=inputs, spec=COUNT, purpose="fresh", reuse=False)
    assert (fresh["reused_from"], fresh["state"]) == (None, "queued")


def test_a_stream_goes_on_after_the_last_event_that_was_seen(on_sqlite: World) -> None:
    job, _ = submitted(over(on_sqlite), on_sqlite)
    settle(on_sqlite, job["id"])
    whole = on_sqlite.ask("GET", f"/jobs/{job['id']}/events").text
    assert whole.count("event: progress") == 3
    assert whole.count("event: ended") == 1
    ids = [line.removeprefix("id: ") for line in whole.splitlines() if line.startswith("id: ")]
    rest = on_sqlite.ask("GET", f"/jobs/{job['id']}/events", headers={"Last-Event-ID": ids[1]}).text
    assert [line for line in rest.splitlines() if line.startswith("id: ")] == [f"id: {ids[2]}"]
    assert on_sqlite.ask("GET", f"/jobs/{job['id']}/events", by="stranger").status_code == 404


def test_a_submit_whose_answers_are_lost_is_admitted_once(on_sqlite: World) -> None:
    dataset = register(on_sqlite)
    budget = open_root(on_sqlite, dataset)
    sent: list[httpx.Request] = []
    ledger = lossy(on_sqlite, 3, sent)
    inputs = reservation_body(dataset, budget)["inputs"]
    job = ledger.submit("query", inputs=inputs, spec=COUNT, purpose="a count")
    assert len(sent) == 4
    assert len({request.headers["Idempotency-Key"] for request in sent}) == 1
    jobs = on_sqlite.ask("GET", "/jobs").json()["items"]
    assert [item["id"] for item in jobs] == [job["id"]]
    assert ledger.get(f"/v1/budgets/{budget}")["reserved"]["epsilon"] == "0.1"


def test_a_server_error_is_asked_again_and_a_refusal_is_not() -> None:
    statuses = iter([503, 500, 200])
    asked: list[int] = []

    def handle(_: httpx.Request) -> httpx.Response:
        asked.append(next(statuses))
        return httpx.Response(asked[-1], json={"ok": True})

    def refuse(_: httpx.Request) -> httpx.Response:
        asked.append(409)
        problem = {"code": "budget-exceeded", "status": 409, "fits": {"max_units": 3}}
        return httpx.Response(409, json=problem)

    ledger = EpsilonLedger("http://x", "el_k", transport=httpx.MockTransport(handle))
    assert ledger.post("/v1/jobs", {}) == {"ok": True}
    assert asked == [503, 500, 200]
    asked.clear()
    ledger = EpsilonLedger("http://x", "el_k", transport=httpx.MockTransport(refuse))
    with pytest.raises(Refused) as refused:
        ledger.post("/v1/jobs", {})
    assert asked == [409]
    assert refused.value["fits"] == {"max_units": 3}


def test_an_answer_that_is_no_problem_document_is_a_refusal_all_the_same() -> None:
    for content in (b"<html>", b"[1]", b"", json.dumps("x").encode()):
        ledger = EpsilonLedger(
            "http://x",
            "el_k",
            transport=httpx.MockTransport(lambda _, c=content: httpx.Response(403, content=c)),
        )
        with pytest.raises(Refused) as refused:
            ledger.get("/v1/me")
        assert refused.value.status == 403


def test_waiting_ends_at_its_deadline_and_leaves_the_job_alone(
    on_sqlite: World, ledger: EpsilonLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = submitted(ledger, on_sqlite)

    # the in-process transport would hold the stream open for ever: lose it at once
    def lost(*_: object) -> Iterator[tuple[str, dict[str, Any]]]:
        raise httpx.ReadError("lost")

    monkeypatch.setattr(ledger, "_events", lost)
    with pytest.raises(TimeoutError):
        ledger.wait(job["id"], timeout_s=0.05)
    assert ledger.get(f"/v1/jobs/{job['id']}")["state"] == "queued"
