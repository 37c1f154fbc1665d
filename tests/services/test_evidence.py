"""The evidence of a report is what the signed ledger says, and nothing that came after."""

import json
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text, update

from app.db.models import ApiKey
from app.db.session import database_now, transaction
from app.domain.errors import BudgetExceeded, LedgerNotSigned, NotFound, NothingOnRecord
from app.domain.ledger import canonical_bytes
from app.reporting.criteria.records import Records
from app.reporting.criteria.totals import totals
from app.reporting.report import build
from app.services.checkpoints import Checkpoints
from tests.divided import PURE, spend
from tests.planned import open_plan
from tests.reported import GAUSSIAN, SECRET_VALUE, gathered, settle, signed_by
from tests.unfenced import unfence
from tests.world import COUNT_QUERY, ROLES, World

LIVE_KEYS = len(ROLES) + 1  # one for each role, and one more of the engineer's


def end_key(world: World, key_id: str) -> None:
    with transaction(world.make_session) as session:
        gone = update(ApiKey).where(ApiKey.id == key_id)
        session.execute(gone.values(revoked_at=database_now(session)))


@pytest.fixture
def checkpoints(world: World, tmp_path: Path) -> Checkpoints:
    return signed_by(world, tmp_path)


@pytest.fixture
def root(world: World) -> UUID:
    return world.open_root("rdp-mix/1", "4", "1e-6")


def outside(world: World, budget_id: UUID, units: int = 5) -> str:
    made = world.reserve(budget_id, GAUSSIAN, units)
    world.reservations.commit(world.engineer, UUID(made["id"]), 1, None)
    return str(made["id"])


def test_what_came_after_the_checkpoint_changes_no_byte_of_its_evidence(
    world: World, checkpoints: Checkpoints, root: UUID
) -> None:
    team = world.open_allocation(root, "2", accountant="rdp-mix/1", delta="1e-7")
    settle(world, world.submit(team)["id"])
    waiting = world.submit(team, {**COUNT_QUERY, "measures": [{"fn": "count"}]}, reuse=False)
    elsewhere = world.reserve(team, GAUSSIAN, 5)
    checkpoints.make()
    before = gathered(world)
    settle(world, waiting["id"])
    world.reservations.commit(world.engineer, UUID(elsewhere["id"]), 1, None)
    world.change(team, "freeze")
    world.change(root, "limit_rate", rate_limits={"jobs_per_hour": 5})
    world.open_allocation(root, "1", accountant="rdp-mix/1", delta="1e-7")
    newest = checkpoints.make().checkpoint
    assert newest is not None
    after = gathered(world, 1)
    assert canonical_bytes(after) == canonical_bytes(before)
    states = {each["id"]: each["state"] for each in after["jobs"]}
    assert states[waiting["id"]] == "queued"
    now = gathered(world)
    assert now["ledger"]["checkpoint_seq"] == newest.seq == 2
    assert {each["state"] for each in now["jobs"]} == {"settled"}
    assert [each["state"] for each in now["budgets"]] == ["open", "frozen", "open"]
    assert now["budgets"][0]["rate_limits"] == {"jobs_per_hour": 5}


def test_the_figures_are_those_that_the_service_showed_and_the_totals_follow(
    world: World, checkpoints: Checkpoints, root: UUID
) -> None:
    team = world.open_allocation(root, "2", accountant="rdp-mix/1", delta="1e-7")
    for _ in range(3):
        outside(world, team)
    settle(world, world.submit(team)["id"])
    world.reserve(team, GAUSSIAN, 2)
    checkpoints.make()
    evidence = gathered(world)
    for each in evidence["budgets"]:
        shown = world.budgets.get(world.people["officer"], UUID(each["id"]))
        assert each["figures"] == {key: shown[key] for key in each["figures"] or {}}
        assert (each["entries"], each["head_hash"]) == (shown["entries"], shown["head_hash"])
    found = totals(Records(evidence, None))
    for each in evidence["budgets"]:
        total = found[each["id"]]
        assert total is not None
        assert total.committed.to_json() == each["committed_charge"]
        assert total.reserved.to_json() == each["reserved_charge"]
    assert evidence["ledger"]["faults"] == []
    assert {each["state"] for each in evidence["reservations"]} == {"posted", "reserved"}
    report = build(evidence)
    assert all(each["agrees"] for each in report["guarantee"]["proven_bound"]["budgets"])


def test_nothing_private_enters_and_no_place_where_rows_lie(
    world: World, checkpoints: Checkpoints, root: UUID
) -> None:
    settle(world, world.submit(root)["id"])
    checkpoints.make()
    evidence = gathered(world)
    said = canonical_bytes(build(evidence)).decode()
    assert evidence["jobs"][0]["result"] is not None
    for private in (str(SECRET_VALUE), "rows.csv", str(world.home), '"salt"'):
        assert private not in said
    assert evidence["dataset"]["document"]["source"] == {"format": "csv"}


def test_windows_plans_and_blocks_are_gathered_as_their_chains_have_them(
    days: World, tmp_path: Path
) -> None:
    root = days.open_root("rdp-mix/1", "4", "1e-6")
    open_plan(days, root)
    spend(days, root, 3, ((0, 2),))
    spend(days, root, 1, ((1, 1),))
    signed_by(days, tmp_path).make()
    evidence = gathered(days)
    lifetime, plan = evidence["budgets"]
    shown = days.budgets.get(days.people["officer"], root)
    assert lifetime["figures"] == {key: shown[key] for key in lifetime["figures"] or {}}
    found = totals(Records(evidence, None))[lifetime["id"]]
    assert found is not None
    assert found.committed.to_json() == lifetime["committed_charge"]
    rows = [row for each in evidence["reservations"] for row in each["entries"]]
    assert {row["blocks"][0][0] for row in rows} == {0, 1}
    assert plan["figures"] is None
    assert plan["plan"] is not None
    slots = {each["name"]: each["left"] for each in plan["plan"]["slots"]}
    assert slots == {"nightly": 4, "weekly": 3}
    assert build(evidence)["guarantee"]["if_fixed_in_advance"]["plans"][0]["digest"]


def test_a_tampered_entry_is_a_fault_of_the_evidence_and_the_rest_is_still_read(
    world: World, checkpoints: Checkpoints, root: UUID
) -> None:
    team = world.open_allocation(root, "2", accountant="rdp-mix/1", delta="1e-7")
    outside(world, team)
    outside(world, team)
    checkpoints.make()
    honest = gathered(world)
    with transaction(world.make_session) as session:
        unfence(session, "entries")
        session.execute(
            text(
                "UPDATE entries SET body = replace(body, :told, :lied)"
                " WHERE kind = 'posted' AND seq = 3"
            ),
            {"told": '"units":5', "lied": '"units":4'},
        )
    evidence = gathered(world)
    faults = evidence["ledger"]["faults"]
    assert sorted(each["budget"] for each in faults) == sorted(
        each["id"] for each in honest["budgets"]
    )
    assert {each["seq"] for each in faults} == {3}
    assert evidence["ledger"]["chains"] == honest["ledger"]["chains"]
    assert [each["entries"] for each in evidence["budgets"]] == [2, 2]


def test_a_chain_that_was_cut_does_not_reach_its_signed_head(
    world: World, checkpoints: Checkpoints, root: UUID
) -> None:
    outside(world, root)
    checkpoints.make()
    with transaction(world.make_session) as session:
        unfence(session, "entries")
        session.execute(text("DELETE FROM entries WHERE seq = 3"))
    faults = gathered(world)["ledger"]["faults"]
    assert [(each["seq"], "head" in each["reason"]) for each in faults] == [(2, True)]


def test_refusals_are_counted_by_code_for_the_dataset_they_were_asked_of(
    world: World, checkpoints: Checkpoints, root: UUID
) -> None:
    for _ in range(2):
        with pytest.raises(BudgetExceeded):
            world.reserve(root, PURE, 1000)
    checkpoints.make()
    with pytest.raises(BudgetExceeded):
        world.reserve(root, PURE, 1000)
    assert gathered(world)["refusals"] == {"total": 2, "by_code": {"budget-exceeded": 2}}


def test_without_a_checkpoint_or_a_chain_in_it_nothing_is_gathered(
    world: World, checkpoints: Checkpoints
) -> None:
    with pytest.raises(LedgerNotSigned):
        gathered(world)
    key = checkpoints.key_file
    checkpoints.rotate()
    assert key.exists()
    with pytest.raises(NothingOnRecord):
        gathered(world)
    with pytest.raises(NotFound):
        gathered(world, 7)


def test_the_people_and_keys_of_the_time_are_counted_and_two_people_are_needed(
    world: World, checkpoints: Checkpoints, root: UUID
) -> None:
    checkpoints.make()
    service = gathered(world)["service"]
    assert service["people"] == {
        "admin": 1,
        "auditor": 1,
        "compliance_officer": 2,
        "ml_engineer": 2,
    }
    assert service["keys"] == {"live": LIVE_KEYS, "oldest_days": 0}
    end_key(world, "key")
    assert gathered(world)["service"]["keys"] == service["keys"], "it lived at that time"
    world.reserve(root, PURE, 1)
    checkpoints.make()
    assert gathered(world)["service"]["keys"]["live"] == LIVE_KEYS - 1
    assert service["libraries"]["opendp"].startswith("0.16")
    assert service["library_digests"]["opendp"].startswith("sha256:")
    approvals = gathered(world)["approvals"]
    assert [(each["action"], each["state"]) for each in approvals] == [("open", "used")]
    assert json.loads(canonical_bytes(approvals)) == approvals
