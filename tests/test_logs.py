"""What a line of a log holds: ids and events, as one line, and nothing of what must stay private.

The run at the end is a real one, service and worker on SQLite at the lowest level: values that
nobody else may read are planted wherever they can come in, and looked for in every line.
"""

import ast
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import logs
from app.client import Refused
from tests.patience import wait_until
from tests.production.story import COUNT, cast
from tests.receiver import free_port, received, receiving
from tests.test_up import serving

SECRET = "planted-0f3a"
ROOT = Path(__file__).parents[1]
# kernels know no service, and tell whoever uses them alone in sentences
FOLDERS = ("app", "workers")
LEVELS = {"debug", "info", "warning", "error", "critical", "exception", "log"}


def record(message: str, *arguments: object, name: str = "app.services.relay", **more: Any) -> Any:
    return logging.getLogger(name).makeRecord(
        name, logging.ERROR, "file.py", 1, message, arguments, more.get("exc_info")
    )


def raised() -> Any:
    """What is caught of an error with a cause, both of which quote a row."""
    try:
        try:
            int(SECRET)
        except ValueError as cause:
            raise ValueError(f"cannot read {SECRET}") from cause
    except ValueError:
        return sys.exc_info()


def test_a_line_has_its_event_its_facts_and_the_ids_that_it_is_about() -> None:
    with logs.about(request_id="r1"), logs.about(job_id="j1", fence=3):
        line = json.loads(logs.JsonLines("worker").format(record("job.failed code=%s", "busy")))
    assert line.pop("time").endswith("+00:00")
    assert line.pop("pid") > 0
    assert line == {
        "level": "ERROR",
        "program": "worker",
        "logger": "app.services.relay",
        "event": "job.failed",
        "request_id": "r1",
        "job_id": "j1",
        "fence": 3,
        "code": "busy",
    }
    assert "job_id" not in logs.said(record("job.failed code=%s", "busy"), "worker")


@pytest.mark.parametrize("formatter", [logs.JsonLines("api"), logs.TextLines("api")])
@pytest.mark.parametrize(
    "failed",
    [
        record("sweep.failed", exc_info=raised()),
        record("Exception in ASGI application\n", name="uvicorn.error", exc_info=raised()),
        record(f"it raised\n{SECRET}", name="asyncio", exc_info=raised()),
        record("cannot go on: %r", ValueError(SECRET), name="kombu"),
        record(
            "Task %(name)s raised unexpected: %(exc)s\n%(traceback)s",
            {"name": "run", "exc": f"ValueError('{SECRET}')", "traceback": SECRET},
            name="celery.app.trace",
            exc_info=raised(),
        ),
    ],
    ids=lambda each: each.name,
)
def test_the_text_of_an_error_is_in_no_line_in_either_form(
    formatter: logging.Formatter, failed: logging.LogRecord
) -> None:
    line = formatter.format(failed)
    assert SECRET not in line
    assert "\n" not in line
    if failed.exc_info:
        assert "ValueError" in line
        assert "raised:" in line, "where it came from"


def test_what_breaks_a_line_or_colours_a_terminal_is_written_out() -> None:
    for form in (logs.JsonLines("api"), logs.TextLines("api")):
        line = form.format(record("witness.damaged file=%s", "a\nERROR forged \x1b[31m\u2028"))
        assert len(line.splitlines()) == 1
        assert "\x1b" not in line


def test_a_thread_that_dies_says_so_without_its_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[logging.LogRecord] = []
    monkeypatch.setattr(logs.log, "handle", heard.append)
    monkeypatch.setattr(threading, "excepthook", logs._on_dead_thread)

    def die() -> None:
        raise ValueError(SECRET)

    thread = threading.Thread(target=die, name="relay")
    thread.start()
    thread.join()
    assert logs.said(heard[0], "api")["name"] == "relay"
    assert SECRET not in logs.JsonLines("api").format(heard[0]) + capsys.readouterr().err


def calls() -> Iterator[tuple[str, ast.Call]]:
    for path in chain.from_iterable((ROOT / folder).rglob("*.py") for folder in FOLDERS):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name("log"), attr=attr)) if (
                    attr in LEVELS
                ):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_every_line_of_ours_is_an_event_and_its_facts() -> None:
    found = 0
    for place, call in calls():
        template, *facts = call.args[call.func.attr == "log" :]  # type: ignore[attr-defined]
        said = logs.EVENT.fullmatch(ast.literal_eval(template))
        assert said is not None, f"{place}: {ast.unparse(template)}"
        assert len(said["facts"].split()) == len(facts), place
        found += 1
    assert found > 30


@pytest.mark.processes
def test_no_value_that_was_planted_in_a_run_is_in_any_line_of_its_logs(tmp_path: Path) -> None:
    home, heard, port = tmp_path / "home", tmp_path / "heard", free_port()
    at_debug = {"EPSILON_LOG_FORMAT": "json", "EPSILON_LOG_LEVEL": "DEBUG"}
    with receiving(port, heard), serving(home, **at_debug) as up:
        with cast(up.url, up.keys[0], tmp_path / "rows") as story:
            admin, engineer = story.people["admin"], story.people["engineer"]
            hook = admin.post(
                "/v1/webhooks",
                {"url": f"http://127.0.0.1:{port}/{SECRET}", "kinds": ["approval"]},
            )
            person = admin.post("/v1/people", {"name": "Pat", "roles": ["auditor"]})["id"]
            token = admin.post(f"/v1/people/{person}/invitations", None)["token"]
            ways_in(up.url, token)
            where = [["age", "<", 48151623]]
            asked = {**COUNT, "where": where}
            job = engineer.submit(
                "query", inputs=story.inputs, spec=asked, purpose=f"because {SECRET}"
            )
            story.wait(job)
            with suppress(Refused):
                engineer.submit("query", inputs=story.inputs, spec={SECRET: 1}, purpose="x")
            rows = tmp_path / "rows" / "staff.csv"
            rows.write_text(rows.read_text() + f"{SECRET},true\n")
            story.wait(story.count())
            rows.write_text(f"{SECRET}\n{SECRET},{SECRET}\n")
            again = engineer.submit(
                "query", inputs=story.inputs, spec=asked, purpose="again", reuse=False
            )
            assert engineer.wait(again["id"])["failure_code"] == "failed-after-touch"
            story.people["officer"].post(
                f"/v1/budgets/{story.root}/changes",
                {
                    "action": "raise",
                    "limit": {"epsilon": "30"},
                    "reason": f"policy {SECRET}",
                },
                if_match=story.people["officer"].get(f"/v1/budgets/{story.root}")["version"],
            )
            wait_until(lambda: bool(received(heard)), what="the webhook")
            planted = [SECRET, "48151623", token, hook["secret"], *story.keys.values()]
        assert up.stop() == 0
    written = {path.stem: path.read_text() for path in (home / "logs").glob("*.log")}
    assert set(written) == {"api", "broker", "worker"}
    for name, text in written.items():
        assert [each for each in planted if each in text] == [], name
    assert_told(written["api"] + written["worker"], job["id"])


def ways_in(url: str, token: str) -> None:
    """Everything that people and programs prove themselves by, right and wrong."""
    password = f"{SECRET} long enough"
    with httpx.Client(base_url=url, headers={"Origin": url}) as client:
        spent = client.post("/v1/auth/password", json={"token": token, "password": password})
        assert spent.status_code == 204, spent.text
        for given in (password, f"{SECRET} wrong one"):
            answer = client.post("/v1/auth/sign-in", json={"name": "Pat", "password": given})
            assert answer.status_code == (200 if given == password else 401)
        client.get("/v1/auth/oidc/callback", params={"code": SECRET, "state": SECRET})
        client.get("/v1/jobs", params={"cursor": SECRET})
        client.get(f"/v1/jobs/{SECRET}", headers={"Authorization": f"Bearer {SECRET}"})
        client.get(f"/{SECRET}", headers={"X-Request-Id": "a caller's own"})


def assert_told(text: str, job_id: str) -> None:
    """The way of a job through the programs can be followed by its ids."""
    # what Celery prints before there is a log, and as it ends, is for a terminal
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    of_job = [each for each in lines if each.get("job_id") == job_id]
    events = [each.get("event") for each in of_job]
    for event in ("request.ended", "relay.sent", "job.claimed", "job.started", "job.posted"):
        assert event in events, (event, events)
    submitted = next(each for each in of_job if each.get("operation") == "submit_job")
    assert submitted["status"] == 202
    assert submitted["request_id"]
    ran = [each for each in of_job if each["program"] == "worker"]
    assert {each["fence"] for each in ran} == {1}
