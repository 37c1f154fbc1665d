"""A proposed plan reaches a real worker by the outbox, and opens there (R10)."""

from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.services.relay import Relay
from app.settings import Settings
from tests.patience import wait_until
from tests.planned import propose_plan
from tests.workers.processes import worker
from tests.world import new_world


@pytest.mark.processes
def test_a_worker_composes_a_plan_that_was_only_proposed(
    make_session: sessionmaker[Session], database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = Settings(database_url=database_url, broker_url=redis_url, home=tmp_path)
    log = tmp_path / "worker.log"
    with new_world(make_session, tmp_path) as world, worker(settings, log):
        root = world.open_root("rdp-mix/1", "8", "1e-5")
        plan_id = propose_plan(world, root)
        relay = Relay(make_session, redis_url)
        relay.start()
        try:
            wait_until(lambda: world.budget(plan_id).state == "open", what=log.read_text)
        finally:
            relay.stop()
        assert world.verified()
