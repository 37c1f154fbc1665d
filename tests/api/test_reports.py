"""Reports and attestations over HTTP: asked for, followed, read in three forms by who may."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI

from app.services import report_building, signing
from app.services.report_signing import sign_built
from app.settings import Settings
from tests.api.conftest import app_over
from tests.api.world import TestClient, World, build, open_root, register
from tests.patience import wait_until

LATER = (datetime.now(UTC) + timedelta(days=90)).isoformat()


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> FastAPI:
    settings = Settings(database_url=database_url, home=tmp_path / "home")
    signing.create(settings.key_file)
    return app_over(settings)


@pytest.fixture
def house(world: World) -> World:
    world.ids["trips"] = register(world)
    world.ids["root"] = open_root(world, world.ids["trips"])
    return world


@pytest.fixture
def unsigned(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "files"
    folder.mkdir()
    with TestClient(app_over(Settings(database_url=sqlite_url, home=tmp_path / "h"))) as client:
        yield build(client, folder)


def built(world: World, report_id: str) -> None:
    """What a worker does, and then the process that answers."""
    services = world.client.app.state.services  # type: ignore[attr-defined]
    report_building.build(
        services.make_session, UUID(report_id), owner="me", terms_file=Path(), embedded=False
    )
    # the watch of the running process signs too, whoever is first
    sign_built(services.make_session, services.reports.checkpoints)
    wait_until(
        lambda: world.ask("GET", f"/reports/{report_id}", by="auditor").json()["state"] == "ready",
        what="the report is signed",
    )


def asked(world: World, by: str = "auditor", **body: Any) -> Any:
    return world.ask("POST", "/reports", {"dataset_id": world.ids["trips"], **body}, by=by)


def test_a_report_is_asked_for_followed_and_read_in_three_forms(house: World) -> None:
    answer = asked(house)
    assert answer.status_code == 202, answer.text
    report_id = answer.json()["id"]
    assert answer.headers["Location"] == f"/v1/reports/{report_id}"
    early = house.ask("GET", f"/reports/{report_id}?format=json", by="auditor")
    assert (early.status_code, early.json()["code"]) == (409, "report-not-ready")
    built(house, report_id)
    said = house.ask("GET", f"/reports/{report_id}", by="compliance_officer").json()
    assert said["progress"] == {"stage": "ready", "done": 1, "of": 1}
    forms = {
        form: house.ask("GET", f"/reports/{report_id}?format={form}", by="auditor")
        for form in ("json", "html", "pdf")
    }
    for form, found in forms.items():
        assert found.status_code == 200, (form, found.text)
        assert found.headers["ETag"] == f'"{said["sha256"]}"'
    assert sha256(forms["json"].content).hexdigest() == said["sha256"]
    report = json.loads(forms["json"].content)
    assert report["scope"]["dataset"]["id"] == house.ids["trips"]
    assert report["report_id"] in forms["html"].text
    assert "sandbox" in forms["html"].headers["Content-Security-Policy"]
    assert forms["pdf"].content.startswith(b"%PDF-")
    again = asked(house)
    assert (again.status_code, again.json()["id"]) == (200, report_id)
    assert asked(house, checkpoint_seq=said["checkpoint_seq"]).json()["id"] == report_id
    listed = house.ask("GET", f"/reports?dataset_id={house.ids['trips']}", by="auditor").json()
    assert [each["id"] for each in listed["items"]] == [report_id]


def test_one_key_asks_once_and_another_body_under_it_is_refused(house: World) -> None:
    body = {"dataset_id": house.ids["trips"]}
    first = house.ask("POST", "/reports", body, by="auditor", key="k1")
    house.ask("POST", "/budgets", {}, by="compliance_officer")
    assert house.ask("POST", "/reports", body, by="auditor", key="k1").json() == first.json()
    other = house.ask("POST", "/reports", {**body, "checkpoint_seq": 1}, by="auditor", key="k1")
    assert other.json()["code"] == "idempotency-key-reused"


def test_engineers_and_admins_read_no_report(house: World) -> None:
    report_id = asked(house).json()["id"]
    for who in ("ml_engineer", "admin"):
        assert asked(house, by=who).status_code == 403
        assert house.ask("GET", f"/reports/{report_id}", by=who).status_code == 403


def test_an_attestation_over_http_is_in_the_next_report_until_it_is_taken_back(
    house: World,
) -> None:
    body = {
        "dataset_id": house.ids["trips"],
        "kind": "other_releases",
        "statement": "Nothing else was released.",
        "facts": {"releases": []},
        "expires_at": LATER,
    }
    made = house.ask("POST", "/attestations", body, by="compliance_officer")
    assert made.status_code == 201, made.text
    wrong = {**body, "facts": {"release": []}}
    refused = house.ask("POST", "/attestations", wrong, by="compliance_officer")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid-parameter")
    report_id = asked(house).json()["id"]
    built(house, report_id)
    report = house.ask("GET", f"/reports/{report_id}?format=json", by="auditor").json()
    assert [each["standing"] for each in report["attestations"]] == ["in force"]
    revoked = house.ask("POST", f"/attestations/{made.json()['id']}/revoke", by="admin")
    assert revoked.json()["standing"] == "revoked"
    later = asked(house).json()["id"]
    assert later != report_id
    listed = house.ask("GET", "/attestations", by="auditor").json()["items"]
    assert [each["standing"] for each in listed] == ["revoked"]


def test_a_house_without_a_key_refuses_with_its_reason(unsigned: World) -> None:
    unsigned.ids["trips"] = register(unsigned)
    answer = asked(unsigned)
    assert (answer.status_code, answer.json()["code"]) == (409, "ledger-not-signed")
    body = {
        "dataset_id": unsigned.ids["trips"],
        "kind": "management_assertion",
        "statement": "So it is.",
        "expires_at": LATER,
    }
    refused = unsigned.ask("POST", "/attestations", body, by="compliance_officer")
    assert refused.json()["code"] == "ledger-not-signed"


def test_a_dataset_without_a_chain_has_nothing_to_report_on(house: World) -> None:
    house.ids["trips"] = register(house, name="rides")
    answer = asked(house)
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing-on-record")
