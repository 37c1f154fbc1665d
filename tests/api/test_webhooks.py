"""Webhooks and mail addresses over HTTP."""

import json
import time
from pathlib import Path

from app.settings import Settings
from tests.api.conftest import app_over
from tests.api.world import TestClient, World, build, open_root, register, reservation_body
from tests.receiver import free_port, received, receiving


def test_a_webhook_is_made_told_and_ended_over_http(world: World, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    body = {"url": f"http://127.0.0.1:{port}/hook", "kinds": ["approval", "refusals"]}
    made = world.ask("POST", "/webhooks", body, by="admin", key="one")
    assert made.status_code == 201, made.text
    assert made.headers["Cache-Control"] == "no-store"
    assert made.json()["secret"].startswith("whsec_")
    repeated = world.ask("POST", "/webhooks", body, by="admin", key="one").json()
    assert repeated == {**made.json(), "secret": None}
    (listed,) = world.ask("GET", "/webhooks", by="admin").json()["items"]
    assert "secret" not in listed
    webhook = made.json()["id"]
    dataset = register(world)
    budget = open_root(world, dataset)
    for _ in range(20):
        refused = world.ask(
            "POST", "/reservations", reservation_body(dataset, budget, max_units=999)
        )
        assert refused.status_code == 409
    log_path = f"/webhooks/{webhook}/deliveries"
    page = world.ask("GET", f"{log_path}?limit=1", by="admin").json()
    assert [line["kind"] for line in page["items"]] == ["refusals"]
    rest = world.ask("GET", f"{log_path}?cursor={page['next']}", by="admin").json()
    assert [line["kind"] for line in rest["items"]] == ["approval"]
    ended = world.ask("DELETE", f"/webhooks/{webhook}", by="admin")
    assert (ended.status_code, ended.json()["ended_at"] is None) == (200, False)
    with receiving(port, log):
        pass
    assert received(log) == []


def test_what_is_no_webhook_is_refused_with_its_place(on_sqlite: World) -> None:
    right = {"url": "https://hooks.example/", "kinds": ["approval"]}
    for change, pointer in (
        ({"url": "http://hooks.example/"}, "/url"),
        ({"url": "https://169.254.169.254/"}, "/url"),
        ({"url": "https://me:hunter2@hooks.example/"}, "/url"),
        ({"kinds": []}, "/kinds"),
        ({"kinds": ["gossip"]}, "/kinds/0"),
        ({"kinds": ["approval", "approval"]}, "/kinds"),
        ({"secret": "mine"}, "/secret"),
    ):
        answer = on_sqlite.ask("POST", "/webhooks", {**right, **change}, by="admin")
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["pointer"] == pointer
        assert "hunter2" not in answer.text


def test_an_address_is_set_and_taken_back_over_http(on_sqlite: World) -> None:
    path = f"/people/{on_sqlite.ids['compliance_officer']}/mail-address"
    body = {"address": "officer@house.example"}
    assert on_sqlite.ask("PUT", path, body, by="admin").json()["address"] == body["address"]
    assert len(on_sqlite.ask("GET", "/mail-addresses", by="admin").json()["items"]) == 1
    assert on_sqlite.ask("PUT", path, {"address": None}, by="admin").status_code == 200
    assert on_sqlite.ask("GET", "/mail-addresses", by="admin").json()["items"] == []
    assert on_sqlite.ask("PUT", path, {"address": "no"}, by="admin").status_code == 422


def test_an_embedded_service_sends_by_itself(
    sqlite_url: str, redis_url: str, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    (tmp_path / "files").mkdir()
    settings = Settings(
        database_url=sqlite_url, broker_url=redis_url, home=tmp_path / "home", embedded=True
    )
    with receiving(port, log), TestClient(app_over(settings)) as client:
        world = build(client, tmp_path / "files")
        body = {"url": f"http://127.0.0.1:{port}/", "kinds": ["approval"]}
        world.made("/webhooks", body, by="admin")
        open_root(world, register(world))
        for _ in range(100):
            if received(log):
                break
            time.sleep(0.1)
    assert [json.loads(each["body"])["type"] for each in received(log)] == ["approval"]
