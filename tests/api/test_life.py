"""One request after the other, as people make them."""

from concurrent.futures import ThreadPoolExecutor

from httpx import Response

from tests.api.world import (
    World,
    budget_body,
    dataset_body,
    open_root,
    public_body,
    register,
    reservation_body,
)


def test_a_reservation_is_charged_and_the_next_one_that_is_too_large_is_refused_with_what_fits(
    world: World,
) -> None:
    dataset = register(world)
    budget = open_root(world, dataset)
    made = world.made("/reservations", reservation_body(dataset, budget), by="ml_engineer")
    assert made["state"] == "reserved"
    committed = world.made(
        f"/reservations/{made['id']}/commit", {"fence": made["fence"]}, by="ml_engineer"
    )
    assert committed["charged_units"] == [10]
    read = world.ask("GET", f"/budgets/{budget}").json()
    assert read["committed"] == {"epsilon": "0.1", "delta": "0"}
    assert read["remaining"]["epsilon"] == "0.9"

    asked = reservation_body(dataset, budget, max_units=91)
    refused = world.ask("POST", "/reservations", asked)
    assert refused.status_code == 409
    problem = refused.json()
    assert problem["type"] == "/problems/budget-exceeded"
    assert problem["fits"]["max_units"] == 90
    assert "90 of the 91" in problem["detail"]

    fitting = reservation_body(dataset, budget, max_units=90)
    assert world.ask("POST", "/reservations", fitting).status_code == 201
    entries = world.ask("GET", f"/budgets/{budget}/entries?limit=2").json()
    assert [entry["seq"] for entry in entries["items"]] == [1, 2]
    more = world.ask("GET", f"/budgets/{budget}/entries?cursor={entries['next']}").json()
    assert [entry["seq"] for entry in more["items"]] == [3, 4]
    assert more["next"] is None
    verified = world.ask("GET", "/ledger/verification", by="auditor").json()
    assert verified == {"budgets": 1, "entries": 4, "verified": True, "faults": []}


def test_a_stranger_sees_neither_the_dataset_nor_the_budget_nor_the_reservation(
    world: World,
) -> None:
    dataset = register(world)
    budget = open_root(world, dataset)
    made = world.made("/reservations", reservation_body(dataset, budget), by="ml_engineer")
    for path in (f"/datasets/{dataset}", f"/budgets/{budget}", f"/reservations/{made['id']}"):
        answer = world.ask("GET", path, by="stranger")
        assert answer.status_code == 404, path
    assert world.ask("GET", "/datasets", by="stranger").json()["items"] == []
    assert world.ask("GET", "/budgets", by="stranger").json() == {
        "items": [],
        "next": None,
    }
    refused = world.ask("POST", "/reservations", reservation_body(dataset, budget), by="stranger")
    assert refused.status_code == 404


def test_an_engineer_is_shown_no_source_and_an_officer_is(world: World) -> None:
    dataset = register(world)
    seen = world.ask("GET", f"/datasets/{dataset}").json()
    assert {"source", "source_fingerprint", "granted_project_ids"}.isdisjoint(seen)
    assert "trips.parquet" not in str(seen)
    overseen = world.ask("GET", f"/datasets/{dataset}", by="auditor").json()
    assert overseen["source"]["path"] == "trips.parquet"
    assert overseen["granted_project_ids"] == [world.ids["team"]]


def test_a_withdrawn_grant_ends_reading_and_charging(world: World) -> None:
    dataset = register(world)
    budget = open_root(world, dataset)
    path = f"/datasets/{dataset}/grants/{world.ids['team']}"
    assert world.ask("DELETE", path, by="compliance_officer").status_code == 204
    assert world.ask("DELETE", path, by="compliance_officer").status_code == 204
    assert world.ask("GET", f"/datasets/{dataset}").status_code == 404
    assert world.ask("POST", "/reservations", reservation_body(dataset, budget)).status_code == 404


def test_a_retired_dataset_takes_no_new_job_and_keeps_its_figures(world: World) -> None:
    dataset = register(world)
    budget = open_root(world, dataset)
    world.made("/reservations", reservation_body(dataset, budget), by="ml_engineer")
    before = world.ask("GET", f"/budgets/{budget}").json()
    read = world.ask("GET", f"/datasets/{dataset}", by="compliance_officer")
    stale = world.ask(
        "POST",
        f"/datasets/{dataset}/retire",
        by="compliance_officer",
        headers={"If-Match": '"77"'},
    )
    assert stale.status_code == 412
    retired = world.ask(
        "POST",
        f"/datasets/{dataset}/retire",
        by="compliance_officer",
        headers={"If-Match": read.headers["ETag"]},
    )
    assert retired.json()["state"] == "retired"
    refused = world.ask("POST", "/reservations", reservation_body(dataset, budget))
    assert refused.json()["code"] in {"not-found", "scope-closed"}
    after = world.ask("GET", f"/budgets/{budget}").json()
    assert after["consumed"] == before["consumed"] != {"epsilon": "0", "delta": "0"}


def test_the_rows_of_a_retired_dataset_cannot_be_registered_again(world: World) -> None:
    dataset = register(world)
    read = world.ask("GET", f"/datasets/{dataset}", by="compliance_officer")
    world.ask(
        "POST",
        f"/datasets/{dataset}/retire",
        by="compliance_officer",
        headers={"If-Match": read.headers["ETag"]},
    )
    again = {**dataset_body("trips.parquet"), "name": "journeys"}
    refused = world.ask("POST", "/datasets", again, by="compliance_officer")
    assert refused.status_code == 409
    assert refused.json()["type"] == "/problems/source-already-registered"
    # under other columns two people would have to call the people new; one opens nothing (R18)
    other = dataset_body("trips.parquet", name="journeys")
    proposed = world.ask("POST", "/datasets", other, by="compliance_officer")
    assert (proposed.status_code, proposed.json()["state"]) == (202, "proposed")
    root = world.ask(
        "POST", "/budgets", budget_body(proposed.json()["id"]), by="compliance_officer"
    )
    assert (root.status_code, root.json()["code"]) == (409, "scope-closed")


def test_private_rows_cannot_be_registered_as_public_ones(world: World) -> None:
    register(world)
    refused = world.ask("POST", "/datasets", public_body("trips.parquet"), by="compliance_officer")
    assert refused.json()["code"] == "source-already-registered"
    public = world.ask(
        "POST", "/datasets", public_body(world.file("days.csv")), by="compliance_officer"
    )
    assert public.status_code == 201
    assert world.ask("GET", f"/datasets/{public.json()['id']}", by="stranger").status_code == 200


def test_a_new_version_stays_on_the_ledger_and_needs_the_version_that_was_read(
    world: World,
) -> None:
    dataset = register(world)
    other = register(world, name="trains")
    body = {"path": world.file("newer.parquet"), "format": "parquet"}
    path = f"/datasets/{dataset}/versions"
    missing = world.ask("POST", path, body, by="compliance_officer")
    assert missing.status_code == 428
    made = world.ask("POST", path, body, by="compliance_officer", headers={"If-Match": '"1"'})
    assert made.json()["version"] == 2
    versions = world.ask("GET", path).json()["items"]
    assert [item["version"] for item in versions] == [1, 2]
    assert "path" not in versions[0]
    taken = world.ask(
        "POST",
        f"/datasets/{other}/versions",
        body,
        by="compliance_officer",
        headers={"If-Match": '"1"'},
    )
    assert taken.json()["code"] == "source-already-registered"


def test_nobody_approves_a_root_that_they_proposed(world: World) -> None:
    dataset = register(world)
    body = {
        "kind": "lifetime",
        "dataset_id": dataset,
        "name": "for life",
        "limit": {"epsilon": "1", "delta": "0"},
        "accountant": "pure/1",
        "reason": "policy",
    }
    proposed = world.ask("POST", "/budgets", body, by="compliance_officer")
    assert proposed.status_code == 202
    made = world.made("/api-keys", {"principal_id": world.ids["compliance_officer"]}, by="admin")
    approval = proposed.json()["approval_id"]
    for key in ("compliance_officer", made["key"]):
        decided = world.ask(
            "POST",
            f"/approvals/{approval}/decision",
            {
                "decision": "approve",
                "change_sha256": proposed.json()["change_sha256"],
                "reason": "mine",
            },
            by=key,
            headers={"If-Match": '"1"'},
        )
        assert decided.status_code == 403
        assert decided.json()["code"] == "own-change"


def test_events_of_the_trail_come_newest_first_by_pages_without_a_gap(world: World) -> None:
    register(world)
    whole = world.ask("GET", "/audit-events?limit=200", by="auditor").json()
    assert whole["next"] is None
    seen: list[int] = []
    cursor = ""
    while True:
        answer = world.ask("GET", f"/audit-events?limit=3{cursor}", by="auditor").json()
        seen += [event["id"] for event in answer["items"]]
        if answer["next"] is None:
            break
        cursor = f"&cursor={answer['next']}"
    assert seen == [event["id"] for event in whole["items"]]
    assert seen == sorted(seen, reverse=True)
    for cursor in ("AAAA", "%22", "eyJpZCI6InRyaWNrIn0"):
        bad = world.ask("GET", f"/audit-events?cursor={cursor}", by="auditor")
        assert bad.status_code == 422


def test_versions_and_a_retirement_that_meet_come_one_after_the_other(world: World) -> None:
    dataset = register(world)
    paths = [world.file(f"newer{number}.parquet") for number in range(4)]

    def change(number: int) -> int:
        sent = {"If-Match": '"1"'}
        if number % 2:
            path, body = f"/datasets/{dataset}/retire", None
        else:
            path = f"/datasets/{dataset}/versions"
            body = {"path": paths[number // 2], "format": "parquet"}
        return world.ask("POST", path, body, by="compliance_officer", headers=sent).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(change, range(8)))
    # one of them read the version that it changed; a retirement may be said again
    assert statuses.count(201) <= 1
    assert set(statuses) <= {200, 201, 412}
    read = world.ask("GET", f"/datasets/{dataset}", by="auditor").json()
    assert read["revision"] == 2


def test_a_retired_dataset_is_purged_once_and_says_since_when(world: World) -> None:
    dataset = register(world)
    open_root(world, dataset)
    body = {"reason": "kept until the end of the study"}

    def sent(action: str, body: dict[str, str] | None = None) -> Response:
        read = world.ask("GET", f"/datasets/{dataset}", by="compliance_officer")
        headers = {"If-Match": read.headers["ETag"]}
        path = f"/datasets/{dataset}/{action}"
        return world.ask("POST", path, body, by="compliance_officer", headers=headers)

    early = sent("purge", body)
    assert (early.status_code, early.json()["code"]) == (409, "purge-refused")
    assert sent("retire").is_success
    purged = sent("purge", body)
    assert purged.status_code == 200, purged.text
    assert sent("purge", body).json() == purged.json()
    read = world.ask("GET", f"/datasets/{dataset}", by="auditor")
    assert read.headers["ETag"] == purged.headers["ETag"]
    assert read.json()["purged_at"] == purged.json()["purged_at"]
