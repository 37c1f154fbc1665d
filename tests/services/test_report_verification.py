"""Reports of real ledgers against their bundles: an honest pair agrees, and every edit is found.

The ledgers are random honest histories of the service itself: windows, blocks, plans, earlier
spend, raises, freezes, work elsewhere, lapses.
"""

from datetime import timedelta
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

from app.db.session import database_now, snapshot
from app.domain.ledger import canonical_bytes
from app.reporting.report import build, signed
from app.reporting.verification import verify_report
from app.services import export, report_building, signing
from app.services.attestations import AttestationRequest, Attestations
from app.services.checkpoints import Checkpoints
from app.services.evidence import gather
from app.services.report_signing import sign_built
from app.services.reports import Reports
from tests.histories import History, history
from tests.reported import signed_by
from tests.reporting.signed_house import Honest, missed_edits
from tests.world import World, keyed

# that a ledger of the service's own fails one of these would be a fault of the rule
ABOUT_THE_LEDGER = ("N226-F02", "N226-F15", "PRJ-02", "PRJ-03", "PRJ-06")


def reported(made: History) -> Honest:
    """A bundle and the signed report of the history's dataset, at the bundle's last checkpoint."""
    bundle = made.bundle()
    key = signing.load(made.checkpoints.key_file)
    with snapshot(made.world.make_session) as session:
        evidence = gather(session, made.world.dataset_id)
    report = signed(build(evidence), key.sign, key.public.sha256)
    return Honest(bundle, evidence, canonical_bytes(report))


def check(made: History) -> None:
    """The pair agrees, and the ledger's own criteria fail nothing."""
    of = reported(made)
    found = verify_report(of.report, of.bundle, made.key)
    assert found.difference is None, found.in_words()
    assert found.facts > 200
    for each in build(of.evidence)["criteria"]:
        if each["id"] in ABOUT_THE_LEDGER:
            assert each["state"] != "not_satisfied", each


@pytest.mark.parametrize("seed", range(3))
def test_a_real_ledger_and_its_report_agree(
    seed: int, tmp_path: Path, migrated_sqlite: Path
) -> None:
    with history(seed, tmp_path / "house", migrated_sqlite) as made:
        made.go(40)
        check(made)


def test_every_edit_of_a_real_pair_is_found(tmp_path: Path, migrated_sqlite: Path) -> None:
    with history(4, tmp_path / "house", migrated_sqlite) as made:
        made.go(30)
        assert missed_edits(reported(made), made.key, 30, seed=4) == []


def attest(world: World, checkpoints: Checkpoints, statement: str) -> None:
    """A sentence of an officer, signed by the key of the moment."""
    officer = world.people["officer"]
    with snapshot(world.make_session) as session:
        until = database_now(session) + timedelta(days=90)
    request = AttestationRequest(world.dataset_id, "raw_store_security", statement, {}, until)
    said = keyed(officer, "attestations", statement)
    Attestations(world.make_session, checkpoints).make(officer, request, said)


def test_what_the_service_serves_is_verified_by_a_key_before_and_after_a_rotation(
    world: World, tmp_path: Path
) -> None:
    checkpoints = signed_by(world, tmp_path)
    first = signing.load(checkpoints.key_file).public.raw
    root = world.open_root("rdp-mix/1", "4", "1e-6")
    attest(world, checkpoints, "The store is locked.")
    checkpoints.make()
    checkpoints.rotate()
    attest(world, checkpoints, "The store has a new lock.")
    world.open_allocation(root, "1", accountant="rdp-mix/1", delta="1e-7")
    checkpoints.make()
    reports, auditor = Reports(world.make_session, checkpoints), world.people["auditor"]
    asked = reports.ask(auditor, world.dataset_id, None, keyed(auditor, "reports", {}))
    report_id = UUID(asked["id"])
    report_building.build(
        world.make_session, report_id, owner="me", terms_file=Path(), embedded=False
    )
    assert sign_built(world.make_session, checkpoints) == 1
    served, _ = reports.document(auditor, report_id, "json")
    bundle = b"".join(export.lines(world.make_session))
    for key in (first, signing.load(checkpoints.key_file).public.raw):
        found = verify_report(served, bundle, key)
        assert found.difference is None, found.in_words()
    forged = served.replace(b"The store is locked.", b"The store is sealed.")
    found = verify_report(forged, bundle, first)
    assert found.difference is not None


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_hundred_real_ledgers_and_their_reports_agree(
    tmp_path: Path, migrated_sqlite: Path
) -> None:
    for seed in range(50):
        with history(seed, tmp_path / str(seed), migrated_sqlite) as made:
            for _ in range(2):
                made.go(25)
                check(made)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_each_of_a_thousand_edits_of_real_pairs_is_found(
    tmp_path: Path, migrated_sqlite: Path
) -> None:
    for seed in range(5):
        with history(100 + seed, tmp_path / str(seed), migrated_sqlite) as made:
            made.go(40)
            draw = Random(seed).randrange(2**32)
            assert missed_edits(reported(made), made.key, 200, seed=draw) == []
