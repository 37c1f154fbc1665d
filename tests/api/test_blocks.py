"""Blocks over HTTP: declared once, closed by versions, named by jobs, shown as a strip (R8)."""

from typing import Any

import pytest

from tests.api.world import World, dataset_body, open_root, register, reservation_body

DAYS: dict[str, Any] = {
    "kind": "time",
    "column": "day",
    "period": "day",
    "time_zone": "UTC",
    "first_day": "2020-01-01",
    "grace_days": 1,
}
RECORDS: dict[str, Any] = {
    "columns": [{"name": "day", "type": "date"}, {"name": "paid", "type": "int64"}],
    "unit_of_privacy": {"kind": "record"},
    "blocks": DAYS,
}


def reserve(world: World, dataset: str, root: str, blocks: Any, version: int = 1) -> Any:
    body = reservation_body(dataset, root, max_units=3)
    body["inputs"][0] |= {"blocks": blocks, "version": version}
    return world.ask("POST", "/reservations", body)


def test_a_job_names_its_blocks_and_the_strip_shows_what_each_has_consumed(world: World) -> None:
    dataset = register(world, **RECORDS, closes_through=9)
    root = open_root(world, dataset)
    facts = world.ask("GET", f"/datasets/{dataset}").json()
    assert (facts["blocks"], facts["closed_blocks"]) == (DAYS, 10)
    for blocks in ({"first": 1, "last": 3}, [[3, 4], [8, 8]], "all"):
        assert reserve(world, dataset, root, blocks).status_code == 201
    budget = world.ask("GET", f"/budgets/{root}", by="auditor").json()
    assert budget["worst_block"] == 3
    assert budget["consumed"]["epsilon"] == "0.09"
    runs: list[dict[str, Any]] = []
    cursor = None
    while True:
        query = f"?limit=2&cursor={cursor}" if cursor else "?limit=2"
        page = world.ask("GET", f"/budgets/{root}/blocks{query}", by="auditor").json()
        runs += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    shown = [(run["first"], run["last"], run["consumed"]["epsilon"]) for run in runs]
    assert shown == [
        (0, 0, "0.03"),
        (1, 2, "0.06"),
        (3, 3, "0.09"),
        (4, 4, "0.06"),
        (5, 7, "0.03"),
        (8, 8, "0.06"),
        (9, 9, "0.03"),
    ]


def test_an_open_block_is_refused_by_its_number_until_a_version_closes_it(world: World) -> None:
    dataset = register(world, **RECORDS, closes_through=1)
    root = open_root(world, dataset)
    refused = reserve(world, dataset, root, [[1, 2]])
    assert refused.status_code == 409
    assert refused.json()["type"] == "/problems/block-not-closed"
    assert (refused.json()["block"], refused.json()["closed"]) == (2, 2)
    revision = world.ask("GET", f"/datasets/{dataset}", by="compliance_officer").headers["ETag"]
    body = {"path": world.file("more.parquet"), "format": "parquet", "closes_through": 2}
    version = world.ask(
        "POST",
        f"/datasets/{dataset}/versions",
        body,
        by="compliance_officer",
        headers={"If-Match": revision},
    )
    assert version.status_code == 201, version.text
    assert version.json()["closed_blocks"] == 3
    assert reserve(world, dataset, root, [[1, 2]]).status_code == 409
    assert reserve(world, dataset, root, [[1, 2]], version=2).status_code == 201


@pytest.mark.parametrize(
    "blocks",
    [
        "some",
        None,
        3,
        [],
        [[2, 1]],
        [[0, 1], [1, 2]],
        [[0, 1, 2]],
        [[0, "1"]],
        [[-1, 0]],
        {"first": 2, "last": 1},
        {"first": 0},
        {"first": 0, "last": 1, "all": True},
        [[0, 4096]],
    ],
)
def test_blocks_in_another_form_are_refused_with_a_pointer(on_sqlite: World, blocks: Any) -> None:
    dataset = register(on_sqlite, **RECORDS, closes_through=9)
    root = open_root(on_sqlite, dataset)
    refused = reserve(on_sqlite, dataset, root, blocks)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"].startswith("/inputs/0/blocks")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"blocks": {**DAYS, "column": "paid"}}, "/blocks/column"),
        ({"blocks": {**DAYS, "grace_days": -1}}, "/blocks/grace_days"),
        ({"blocks": {**DAYS, "time_zone": "Mars"}}, "/blocks/time_zone"),
        ({"blocks": {"kind": "unit_hash", "count": 4}}, "/blocks/kind"),
        ({"blocks": {"kind": "none"}, "closes_through": 0}, "/closes_through"),
        ({"closes_through": 4095}, "/closes_through"),
        ({"sha256": "no digest"}, "/sha256"),
    ],
)
def test_a_partition_that_does_not_hold_is_refused_with_a_pointer(
    on_sqlite: World, changes: dict[str, Any], pointer: str
) -> None:
    body = dataset_body(on_sqlite.file("rows.parquet"), **{**RECORDS, **changes})
    refused = on_sqlite.ask("POST", "/datasets", body, by="compliance_officer")
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["pointer"] == pointer


def test_a_dataset_is_not_continued_with_other_blocks(on_sqlite: World) -> None:
    dataset = register(on_sqlite, **RECORDS)
    body = dataset_body(on_sqlite.file("more.parquet"), name="more", **RECORDS)
    del body["new_people"]
    body |= {"continues": dataset, "blocks": {**DAYS, "period": "week"}}
    refused = on_sqlite.ask("POST", "/datasets", body, by="compliance_officer")
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/blocks")


def test_a_budget_without_blocks_has_an_empty_strip(on_sqlite: World) -> None:
    root = open_root(on_sqlite, register(on_sqlite))
    strip = on_sqlite.ask("GET", f"/budgets/{root}/blocks", by="auditor")
    assert strip.json() == {"items": [], "next": None}
    assert on_sqlite.ask("GET", f"/budgets/{root}/blocks", by="stranger").status_code == 404
