"""What is scraped: by who shows the token, with figures that are the ledger's own."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from tests.api.conftest import app_over
from tests.api.world import TestClient, World, build, open_root, register, reservation_body

TOKEN = "scrape-" + "s" * 32
DASHBOARD = Path("deploy/grafana/epsilon-ledger.json")
SAMPLE = re.compile(r"([a-z_]+)(?:\{([^}]*)\})? (\S+)")


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def scraped(database_url: str, tmp_path: Path, token_file: Path) -> Iterator[World]:
    folder = tmp_path / "files"
    folder.mkdir()
    settings = Settings(
        database_url=database_url, home=tmp_path / "home", metrics_token_file=token_file
    )
    with TestClient(app_over(settings)) as client:
        yield build(client, folder)


def samples(world: World) -> dict[tuple[str, str], float]:
    answer = world.client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = {}
    for line in answer.text.splitlines():
        if not line.startswith("#"):
            name, labels, value = SAMPLE.fullmatch(line).groups()  # type: ignore[union-attr]
            found[name.removeprefix("epsilon_ledger_"), labels or ""] = float(value)
    return found


def test_a_scrape_counts_what_became_of_requests_and_what_is_left(scraped: World) -> None:
    dataset = register(scraped)
    root = open_root(scraped, dataset)
    before = samples(scraped)
    labels = f'budget="{root}",kind="lifetime"'
    limit = before["budget_limit_epsilon", labels]
    assert before["budget_remaining_epsilon", labels] == limit
    scraped.made("/reservations", reservation_body(dataset, root), by="ml_engineer")
    too_much = reservation_body(dataset, root, max_units=1_000_000)
    refused = scraped.ask("POST", "/reservations", too_much, by="ml_engineer")
    assert refused.status_code == 409, refused.text
    after = samples(scraped)

    def grown(name: str, labels: str = "") -> float:
        return after[name, labels] - before.get((name, labels), 0)

    assert grown("admissions_total", 'outcome="admitted"') == 1
    assert grown("admissions_total", 'outcome="budget-exceeded"') == 1
    assert grown("admission_batch_size_count") >= 2
    assert grown("admission_commit_seconds_count") == grown("admission_batch_size_count")
    assert grown("admission_batch_size_bucket", 'le="+Inf"') == grown("admission_batch_size_count")
    assert grown("responses_total", 'status="4xx"') == 1
    seen = scraped.ask("GET", f"/budgets/{root}", by="compliance_officer").json()
    for name in ("consumed", "remaining"):
        shown = after[f"budget_{name}_epsilon", labels]
        assert shown == pytest.approx(float(seen[name]["epsilon"]), rel=1e-5)
    assert after["budget_remaining_epsilon", labels] < limit
    assert after["lease_expiries_total", ""] == after["duplicate_deliveries_total", ""] == 0


def test_nobody_scrapes_without_the_token_of_the_file(scraped: World, token_file: Path) -> None:
    def status(authorization: str | None) -> int:
        headers = {} if authorization is None else {"Authorization": authorization}
        answer = scraped.client.get("/metrics", headers=headers)
        assert "epsilon_ledger_" not in answer.text or answer.status_code == 200
        return int(answer.status_code)

    assert status(f"Bearer {TOKEN}") == 200
    # a key of the service, whoever's it is, is none of these
    for bad in (None, "", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"):
        assert status(bad) == 401, bad
    assert status(f"Bearer {scraped.keys['admin']}") == 401
    # it is changed without a restart, and one that others may read is none
    token_file.write_text("another-" + "t" * 32)
    assert status(f"Bearer {TOKEN}") == 401
    assert status("Bearer another-" + "t" * 32) == 200
    token_file.chmod(0o644)
    assert status("Bearer another-" + "t" * 32) == 401
    token_file.chmod(0o600)
    token_file.write_text("short")
    assert status("Bearer short") == 401


def test_without_a_token_file_there_is_nothing_to_scrape(on_sqlite: World) -> None:
    for headers in ({}, {"Authorization": f"Bearer {on_sqlite.keys['admin']}"}):
        assert on_sqlite.client.get("/metrics", headers=headers).status_code == 404
    ready = on_sqlite.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["status"] == "degraded"
    assert set(ready.json()) == {"ready", "status", "checks"}
    assert {type(each) for each in ready.json()["checks"].values()} == {bool}


def test_every_metric_that_the_dashboard_names_is_scraped(scraped: World) -> None:
    dataset = register(scraped)
    root = open_root(scraped, dataset)
    scraped.made("/reservations", reservation_body(dataset, root), by="ml_engineer")
    text = scraped.client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    for name, kind in list(kinds.items()):
        if kind == "histogram":
            kinds |= {name + end: kind for end in ("_bucket", "_sum", "_count")}
    # of a ledger in which a worker has lived and a checkpoint was signed
    once = {"epsilon_ledger_worker_heartbeat_age_seconds", "epsilon_ledger_checkpoint_age_seconds"}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    named = {name for each in expressions for name in re.findall(r"epsilon_ledger_\w+", each)}
    assert len(named) >= 15
    assert named <= set(kinds) | once, named - set(kinds) - once
