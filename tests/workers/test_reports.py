"""A report reaches a real worker by the outbox, and no key reaches the worker (R23)."""

import json
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.services.relay import Relay
from app.services.report_signing import sign_built
from app.services.reports import Reports
from app.settings import Settings
from tests.patience import wait_until
from tests.reported import settle, signed_by
from tests.workers.processes import worker
from tests.world import keyed, new_world


@pytest.mark.processes
def test_a_worker_without_a_key_builds_what_the_key_then_signs(
    make_session: sessionmaker[Session], database_url: str, redis_url: str, tmp_path: Path
) -> None:
    nowhere = tmp_path / "no.key"
    settings = Settings(
        database_url=database_url, broker_url=redis_url, home=tmp_path / "home", key_file=nowhere
    )
    log = tmp_path / "worker.log"
    with new_world(make_session, tmp_path) as world, worker(settings, log):
        root = world.open_root("rdp-mix/1", "8", "1e-5")
        settle(world, world.submit(root)["id"])
        reports = Reports(make_session, signed_by(world, tmp_path))
        auditor = world.people["auditor"]
        asked = reports.ask(auditor, world.dataset_id, None, keyed(auditor, "reports", {}))
        report_id = UUID(asked["id"])
        relay = Relay(make_session, redis_url)
        relay.start()
        try:
            wait_until(
                lambda: reports.get(auditor, report_id)["progress"]["stage"] == "signing",
                what=log.read_text,
            )
        finally:
            relay.stop()
        assert not nowhere.exists()
        assert sign_built(make_session, reports.checkpoints) == 1
        report = json.loads(reports.document(auditor, report_id, "json")[0])
        assert [each["state"] for each in report["evidence"]["jobs"]] == ["settled"]
        assert report["evidence"]["ledger"]["faults"] == []
