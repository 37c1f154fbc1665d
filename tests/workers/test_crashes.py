"""kill -9 of a real worker at every point of a job's life (L2, L6): nothing lost, nothing doubled.

0 overspend, 0 double settlement, 0 result without its charge, on both databases and a real broker.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from app.db.models import Entry, Job, Result
from app.db.session import snapshot
from app.domain.accounting.prices import charge_parts, price
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Loss
from app.services.recovery import Recovery
from app.services.relay import Relay
from app.services.sweep import Sweeper
from app.settings import Settings
from tests.patience import wait_until
from tests.short_forms import DATABASES
from tests.workers.processes import worker
from tests.world import World, new_world

LEASE_S = 5
SPENT_WITHOUT_RESULT = ["before the journal", "after touch", "before post", "inside the post"]
ALWAYS = ["before touch", "after touch", "after post"]
IN_BETWEEN = ["claimed", "inside the touch", "before the journal", "before post", "inside the post"]
# each kill meets a moment of its own, and a ledger of its own: many failures would freeze one (R13)
KILLS_EACH = 20
FULL = (pytest.mark.long, pytest.mark.chaos)
KILLS = [
    # each point that is always tried, on the two databases by turns
    *((point, 1, DATABASES[index % 2]) for index, point in enumerate(ALWAYS)),
    *(
        pytest.param(point, 1, DATABASES[(index + 1) % 2], marks=FULL)
        for index, point in enumerate(ALWAYS)
    ),
    *(pytest.param(p, 1, name, marks=FULL) for p in IN_BETWEEN for name in DATABASES),
    *(
        pytest.param(point, kill, name, marks=pytest.mark.chaos)
        for name in DATABASES
        for kill in range(2, KILLS_EACH + 1)
        for point in (*ALWAYS, *IN_BETWEEN)
    ),
]


@contextmanager
def service_loops(world: World, broker_url: str) -> Iterator[None]:
    """The relay and the sweeper of an embedded API process, in this one."""
    relay = Relay(world.make_session, broker_url)
    sweeper = Sweeper(world.make_session, world.home, every_s=0.2)
    relay.start()
    sweeper.start()
    try:
        yield
    finally:
        relay.stop()
        sweeper.stop()


def state_of(world: World, job_id: UUID) -> str:
    with snapshot(world.make_session) as session:
        return session.get_one(Job, job_id).state


@pytest.mark.processes
@pytest.mark.parametrize(("point", "kill", "database_url"), KILLS, indirect=["database_url"])
def test_a_worker_killed_at_any_point_neither_loses_nor_doubles_a_charge(
    point: str,
    kill: int,
    make_session: sessionmaker[Session],
    database_url: str,
    redis_url: str,
    tmp_path: Path,
) -> None:
    settings = Settings(
        database_url=database_url, broker_url=redis_url, home=tmp_path, job_lease_s=LEASE_S
    )
    with new_world(make_session, tmp_path) as world, service_loops(world, redis_url):
        root = world.open_root()
        job_id = UUID(world.submit(root)["id"])
        log = tmp_path / "worker.log"
        with worker(
            settings, log, app="tests.workers.dying", extra={"TEST_DIE_AT": point}
        ) as victim:
            wait_until(lambda: victim.poll() is not None, what=log.read_text)
        with worker(settings, log):
            ended = ("settled", "failed")
            wait_until(lambda: state_of(world, job_id) in ended, what=log.read_text)
        wanted = "failed" if point in SPENT_WITHOUT_RESULT else "settled"
        assert state_of(world, job_id) == wanted

        with snapshot(world.make_session) as session:
            job = session.get_one(Job, job_id)
            posted = session.scalar(select(func.count()).where(Entry.kind == "posted"))
            results = session.scalar(select(func.count()).select_from(Result))
            failure_code = job.failure_code
        assert posted == 1
        assert results == (1 if wanted == "settled" else 0)
        assert failure_code == (None if wanted == "settled" else "failed-after-touch")
        parts = world.jobs.get(world.engineer, job_id)["parts"]
        charge = charge_parts(
            (price(parse_mechanism(part["mechanism"]), "add_remove"), part["started_units"])
            for part in parts
        )
        budget = world.budget(root)
        assert charge != Loss.zero()
        assert (budget.committed, budget.reserved) == (charge, Loss.zero())
        assert world.verified()
        # a crash is no restored backup: the witness knows nothing that the database does not
        found = Recovery(world.make_session, settings.witness_dir, None).compare()
        assert (found.missing, found.unsettled) == (0, 0)
