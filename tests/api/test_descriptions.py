"""What is said of a dataset may be said anew; what binds, and what was said before, stays."""

import pytest

from tests.api.test_lists import found
from tests.api.world import World, register

SAID = {"purpose": "delays and gates", "raw_viewers": ["platform"], "retain_until": "2028-01-31"}


def revision(world: World, dataset: str) -> str:
    return str(world.ask("GET", f"/datasets/{dataset}", by="auditor").headers["ETag"])


def test_a_description_changes_field_by_field_and_the_old_one_stays_in_the_trail(
    world: World,
) -> None:
    dataset = register(world)
    before = world.ask("GET", f"/datasets/{dataset}", by="auditor")
    headers = {"If-Match": before.headers["ETag"]}
    path = f"/datasets/{dataset}"
    answer = world.ask("PATCH", path, SAID, by="compliance_officer", headers=headers)
    assert answer.status_code == 200, answer.text
    assert {key: answer.json()[key] for key in SAID} == SAID
    headers = {"If-Match": answer.headers["ETag"]}
    changes = {"retain_until": None}
    again = world.ask("PATCH", path, changes, by="compliance_officer", headers=headers).json()
    assert "retain_until" not in again
    assert again["purpose"] == "delays and gates"
    for field in ("unit_of_privacy", "relation", "columns", "source_fingerprint", "nominal_size"):
        assert again[field] == before.json()[field], field
    newest, oldest = found(world, "audit-events", "action=dataset.described")
    assert oldest["facts"]["purpose"] == {"from": "delays", "to": "delays and gates"}
    assert newest["facts"] == {"retain_until": {"from": "2028-01-31", "to": None}}


def test_what_changes_nothing_leaves_no_trace_and_what_is_old_is_not_overwritten(
    world: World,
) -> None:
    dataset = register(world)
    path, old = f"/datasets/{dataset}", revision(world, dataset)
    same = world.ask("PATCH", path, {}, by="compliance_officer", headers={"If-Match": old})
    assert same.headers["ETag"] == old
    assert found(world, "audit-events", "action=dataset.described") == []
    assert world.ask("PATCH", path, SAID, by="compliance_officer").status_code == 428
    world.ask("PATCH", path, SAID, by="compliance_officer", headers={"If-Match": old})
    late = world.ask(
        "PATCH", path, {"purpose": "x"}, by="second_officer", headers={"If-Match": old}
    )
    assert late.status_code == 412


@pytest.mark.parametrize(
    "change",
    [
        {"nominal_size": 5},
        {"relation": "zero_out"},
        {"unit_of_privacy": {"kind": "record"}},
        {"name": "other"},
        {"retain_until": "2027-02-30"},
        {"trust_model": "none"},
        {"raw_viewers": "everybody"},
    ],
)
def test_what_binds_cannot_be_described_away(world: World, change: dict[str, object]) -> None:
    dataset = register(world)
    headers = {"If-Match": revision(world, dataset)}
    path = f"/datasets/{dataset}"
    answer = world.ask("PATCH", path, change, by="compliance_officer", headers=headers)
    assert answer.status_code == 422
    assert revision(world, dataset) == headers["If-Match"]


def test_only_officers_describe_and_a_retired_dataset_stays_as_it_was(world: World) -> None:
    dataset = register(world)
    path = f"/datasets/{dataset}"
    for who in ("ml_engineer", "auditor", "admin"):
        headers = {"If-Match": revision(world, dataset)}
        assert world.ask("PATCH", path, SAID, by=who, headers=headers).status_code == 403
    headers = {"If-Match": revision(world, dataset)}
    world.ask("POST", f"{path}/retire", by="compliance_officer", headers=headers)
    headers = {"If-Match": revision(world, dataset)}
    late = world.ask("PATCH", path, SAID, by="compliance_officer", headers=headers)
    assert (late.status_code, late.json()["code"]) == (409, "already-resolved")
