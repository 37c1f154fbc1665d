"""A report is built by who holds no key, signed by who does, once, and is the same every time."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import undefer

from app.db.models import AuditEvent, OutboxMessage, ReportRow
from app.db.session import database_now, snapshot, transaction
from app.domain.errors import (
    LedgerNotSigned,
    NotAllowed,
    NotFound,
    NothingOnRecord,
    ReportNotReady,
)
from app.domain.ledger import canonical_bytes
from app.reporting.report import signing_bytes
from app.services import report_building, signing
from app.services.attestations import AttestationRequest, Attestations
from app.services.checkpoints import Checkpoints
from app.services.datasets import Datasets
from app.services.report_signing import NOT_OURS, sign_built
from app.services.reports import Reports
from app.services.sweep import sweep
from tests.reported import gathered, signed_by
from tests.world import World, keyed


@pytest.fixture
def checkpoints(world: World, tmp_path: Path) -> Checkpoints:
    return signed_by(world, tmp_path)


@pytest.fixture
def reports(world: World, checkpoints: Checkpoints) -> Reports:
    world.open_root("rdp-mix/1", "4", "1e-6")
    return Reports(world.make_session, checkpoints)


def ask(world: World, reports: Reports, seq: int | None = None, key: str | None = None) -> UUID:
    auditor = world.people["auditor"]
    said = keyed(auditor, "reports", {"seq": seq}, key)
    return UUID(reports.ask(auditor, world.dataset_id, seq, said)["id"])


def built(world: World, report_id: UUID, *, terms_file: Path = Path()) -> None:
    report_building.build(
        world.make_session, report_id, owner="me", terms_file=terms_file, embedded=False
    )


def row_of(world: World, report_id: UUID) -> ReportRow:
    with snapshot(world.make_session) as session:
        row = session.get_one(ReportRow, report_id, options=[undefer(ReportRow.document)])
        session.expunge(row)
        return row


def change(world: World, report_id: UUID, **values: Any) -> None:
    with transaction(world.make_session) as session:
        session.execute(update(ReportRow).where(ReportRow.id == report_id).values(**values))


def messages(world: World, report_id: UUID) -> int:
    with snapshot(world.make_session) as session:
        rows = session.scalars(select(OutboxMessage).where(OutboxMessage.report_id == report_id))
        return len(rows.all())


def test_what_is_served_was_signed_by_the_key_of_the_ledger_over_every_byte(
    world: World, reports: Reports, checkpoints: Checkpoints
) -> None:
    report_id = ask(world, reports)
    auditor = world.people["auditor"]
    with pytest.raises(ReportNotReady):
        reports.document(auditor, report_id, "json")
    built(world, report_id)
    assert row_of(world, report_id).sha256 is None
    with pytest.raises(ReportNotReady):
        reports.document(auditor, report_id, "json")
    assert sign_built(world.make_session, checkpoints) == 1
    served, digest = reports.document(auditor, report_id, "json")
    assert digest == sha256(served).hexdigest() == reports.get(auditor, report_id)["sha256"]
    report = json.loads(served)
    assert canonical_bytes(report) == served
    key = signing.load(checkpoints.key_file).public
    assert report["integrity"]["signed_by"] == key.sha256
    assert key.verifies(report["integrity"]["signature"], signing_bytes(report))
    report["status_counts"]["satisfied"] += 1
    assert not key.verifies(report["integrity"]["signature"], signing_bytes(report))
    assert report["evidence"] == gathered(world)
    assert sign_built(world.make_session, checkpoints) == 0


def test_the_same_head_gives_the_same_bytes_and_an_equal_request_the_same_report(
    world: World, reports: Reports, checkpoints: Checkpoints
) -> None:
    first = ask(world, reports)
    assert ask(world, reports) == first
    built(world, first)
    sign_built(world.make_session, checkpoints)
    assert ask(world, reports) == first
    once = row_of(world, first).document
    # the very same again, by another worker
    change(world, first, state="queued", document=None, sha256=None)
    built(world, first)
    sign_built(world.make_session, checkpoints)
    assert row_of(world, first).document == once
    world.submit(UUID(gathered(world)["budgets"][0]["id"]))
    moved = ask(world, reports)
    assert moved != first
    assert ask(world, reports, 1) == first


def test_what_people_said_since_is_in_a_report_though_no_ledger_has_moved(
    world: World, reports: Reports, checkpoints: Checkpoints
) -> None:
    first = ask(world, reports)
    officer = world.people["officer"]
    with snapshot(world.make_session) as session:
        expires_at = database_now(session) + timedelta(days=30)
    request = AttestationRequest(
        world.dataset_id, "other_releases", "None.", {"releases": []}, expires_at
    )
    attestations = Attestations(world.make_session, checkpoints)
    made = attestations.make(officer, request, keyed(officer, "attestations", "a"))
    second = ask(world, reports)
    assert second != first
    assert [each["id"] for each in gathered(world)["attestations"]] == [made["id"]]
    assert gathered(world, 1)["attestations"] == []
    row = Datasets(world.make_session)
    row.describe(officer, world.dataset_id, {"purpose": "delays"}, if_version=1)
    third = ask(world, reports)
    assert third != second
    assert gathered(world)["dataset"]["description"] == {"purpose": "delays"}
    assert gathered(world, 2)["dataset"]["description"] == {}
    attestations.revoke(officer, UUID(made["id"]))
    assert gathered(world)["attestations"][0]["revoked_at"] is None
    ask(world, reports)
    assert gathered(world)["attestations"][0]["revoked_at"] is not None


def test_a_worker_that_dies_over_a_report_loses_it_to_the_next_three_times_at_most(
    world: World, reports: Reports, checkpoints: Checkpoints
) -> None:
    report_id = ask(world, reports)
    for attempt in range(1, report_building.ATTEMPTS_MOST + 1):
        held = report_building._claimed(world.make_session, report_id, owner="dying")
        assert held is not None
        with transaction(world.make_session) as session:
            past = database_now(session) - timedelta(seconds=1)
        change(world, report_id, lease_until=past)
        sweep(world.make_session)
        # its own last words come too late
        report_building._keep(world.make_session, held, b"{}")
        row = row_of(world, report_id)
        assert (row.attempts, row.document) == (attempt, None)
    assert (row.state, row.failure_code) == ("failed", report_building.GAVE_UP)
    assert messages(world, report_id) == report_building.ATTEMPTS_MOST
    again = ask(world, reports)
    assert again != report_id


def test_a_report_that_no_worker_heard_of_is_sent_again(world: World, reports: Reports) -> None:
    report_id = ask(world, reports)
    assert sweep(world.make_session, resend_after_s=60.0).resent == 0
    assert sweep(world.make_session, resend_after_s=0.0).resent == 1
    assert messages(world, report_id) == 2


@pytest.mark.parametrize("where", ["evidence", "statements", "ledger", "dataset"])
def test_no_key_signs_what_is_not_about_the_heads_of_its_checkpoint(
    world: World, reports: Reports, checkpoints: Checkpoints, where: str
) -> None:
    report_id = ask(world, reports)
    built(world, report_id)
    document = row_of(world, report_id).document
    assert document is not None
    report = json.loads(document)
    if where == "evidence":
        report["evidence"]["budgets"][0]["figures"]["consumed"]["epsilon"] = "0.001"
    elif where == "statements":
        report["statements"]["officer"]["text"] = "all is well"
    elif where == "dataset":
        report["evidence"]["dataset"]["id"] = str(report_id)
        report["integrity"]["evidence_sha256"] = sha256(
            canonical_bytes(report["evidence"])
        ).hexdigest()
    else:
        report["evidence"]["ledger"]["chains"][0]["head_hash"] = "ab" * 32
        report["integrity"]["evidence_sha256"] = sha256(
            canonical_bytes(report["evidence"])
        ).hexdigest()
    change(world, report_id, document=canonical_bytes(report))
    sign_built(world.make_session, checkpoints)
    row = row_of(world, report_id)
    assert (row.state, row.failure_code, row.document) == ("failed", NOT_OURS, None)


def test_without_a_key_a_chain_or_the_role_there_is_no_report(
    world: World, checkpoints: Checkpoints
) -> None:
    with pytest.raises(LedgerNotSigned):
        ask(world, Reports(world.make_session, None))
    reports = Reports(world.make_session, checkpoints)
    with pytest.raises((NothingOnRecord, LedgerNotSigned)):
        ask(world, reports)
    world.open_root()
    with pytest.raises(NotFound):
        ask(world, reports, 99)
    checkpoints.make()
    engineer = world.people["engineer"]
    with pytest.raises(NotAllowed):
        reports.ask(engineer, world.dataset_id, None, keyed(engineer, "reports", {}))
    checkpoints.key_file.chmod(0o644)
    with pytest.raises(LedgerNotSigned):
        ask(world, reports)


def test_an_organisation_s_own_terms_travel_and_broken_ones_fail_the_report(
    world: World, reports: Reports, checkpoints: Checkpoints, tmp_path: Path
) -> None:
    terms = tmp_path / "terms.json"
    terms.write_text('{"policy": {"low_epsilon": "0.5"}, "mapping": {"N226-04": {"section": "9"}}}')
    first = ask(world, reports)
    built(world, first, terms_file=terms)
    sign_built(world.make_session, checkpoints)
    evidence = json.loads(row_of(world, first).document or b"")["evidence"]
    assert evidence["policy"]["low_epsilon"] == "0.5"
    assert evidence["mapping"] == {"N226-04": {"section": "9"}}
    terms.write_text('{"policy": {"low_epsilonn": "0.5"}}')
    checkpoints.make(even_if_unmoved=True)
    second = ask(world, reports, 2)
    built(world, second, terms_file=terms)
    row = row_of(world, second)
    assert (row.state, row.failure_code) == ("failed", report_building.TERMS_REFUSED)


def test_equal_requests_at_once_make_one_report_on_one_checkpoint(
    world: World, reports: Reports
) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: ask(world, reports), range(16)))
    assert len(set(found)) == 1
    assert messages(world, found[0]) == 1


def test_reports_are_asked_for_and_signed_on_record(
    world: World, reports: Reports, checkpoints: Checkpoints
) -> None:
    report_id = ask(world, reports)
    built(world, report_id)
    sign_built(world.make_session, checkpoints)
    with snapshot(world.make_session) as session:
        rows = session.scalars(select(AuditEvent).where(AuditEvent.subject == str(report_id)))
        assert [row.action for row in rows] == ["report.requested", "report.signed"]
