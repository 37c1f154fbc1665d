"""The production topology on real servers, started by the commands of its compose file.

From an empty database to a report, then kills of workers and broker, a migration to the next
version and a rolling restart of everything, all while jobs are asked for and run: nothing is lost,
nothing doubled, every chain verified. The short form leaves out training, report and kills.
"""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import URL, text

from app.client import EpsilonLedger
from app.db.session import transaction
from app.embedded import answers
from tests.chaos import assert_nothing_is_lost_or_doubled, ended
from tests.patience import wait_until
from tests.production import compose
from tests.production.story import WITHIN_S, Cast, cast
from tests.production.topology import STOPPED, Topology
from tests.production.upkeep import looked_at, running

pytestmark = pytest.mark.processes

SETTINGS = {"EPSILON_JOB_LEASE_S": "5"}
JOBS = 40
CLIENTS = 4
NEXT_VERSION = """
import sqlalchemy as sa
from alembic import op

revision = "next_version"
down_revision = "{head}"
branch_labels = None
depends_on = None

def upgrade():
    # expand: what the version that runs neither reads nor writes
    op.add_column("jobs", sa.Column("of_the_next_version", sa.Text(), nullable=True))
    op.create_table("next_version_notes", sa.Column("id", sa.Integer(), primary_key=True))
    op.execute("UPDATE jobs SET of_the_next_version = 'backfilled'")

def downgrade():
    raise NotImplementedError
"""


def assert_it_holds(services: Topology, story: Cast, jobs: Sequence[str]) -> int:
    """Once every job has ended: see tests/chaos.py; says how many of them have a result."""
    ids = [UUID(each) for each in jobs]
    with looked_at(services, story) as world:
        wait_until(lambda: ended(world, ids) == len(ids), what=services.logs, within_s=WITHIN_S)
        return assert_nothing_is_lost_or_doubled(world, story.root, ids)


def test_a_house_of_many_processes_admits_runs_and_accounts_for_a_job_on_any_of_its_apis(
    postgresql: URL, tmp_path: Path
) -> None:
    with (
        running(postgresql, tmp_path / "house", workers=1, **SETTINGS) as (services, admin_key),
        cast(services.balancer.url, admin_key, tmp_path / "rows") as story,
    ):
        story.hold_outside()
        job = story.wait(story.count())
        for api in services.of("api"):
            # what one of them admitted, each of them answers for
            with EpsilonLedger(f"http://127.0.0.1:{api.port}", story.keys["engineer"]) as direct:
                assert direct.result(job["id"])["rows"]
        assert assert_it_holds(services, story, [job["id"]]) == 1
        for program in services.running:
            assert program.is_up, services.logs()
            assert program.stop() in STOPPED, program.log.read_text()


@pytest.mark.production
@pytest.mark.timeout(1800)
def test_nothing_is_lost_or_doubled_through_kills_a_migration_and_a_rolling_restart(
    postgresql: URL, tmp_path: Path
) -> None:
    with (
        running(postgresql, tmp_path / "house", "sender", workers=3, **SETTINGS) as (
            services,
            admin_key,
        ),
        cast(services.balancer.url, admin_key, tmp_path / "rows") as story,
    ):
        story.hold_outside()
        told = [story.wait(story.count())["id"], story.wait(story.train())["id"]]
        report = story.people["auditor"].report("staff", timeout_s=WITHIN_S)
        assert report["state"] == "ready", report

        with ThreadPoolExecutor(CLIENTS) as clients, looked_at(services, story) as world:
            # half of them now, the other half while everything is replaced
            asked = list(clients.map(lambda n: story.count(f"count {n}"), range(JOBS // 2)))
            waiting = []

            def reached(count: int) -> None:
                ids = [UUID(job["id"]) for job in asked]
                wait_until(
                    lambda: ended(world, ids) >= count, what=services.logs, within_s=WITHIN_S
                )

            reached(2)
            services.kill(services.of("worker")[0])
            services.broker.kill()
            services.broker.start()
            reached(5)
            services.kill(services.of("worker")[0])
            waiting = [clients.submit(story.count, f"count {n}") for n in range(JOBS // 2, JOBS)]
            services.version = next_version(tmp_path / "next")
            services.migrate()
            assert services.cli("check-schema").returncode == 0
            for api in services.of("api"):
                # of the version before, and taking requests until its successor does
                ready = f"http://127.0.0.1:{api.port}/readyz"
                wait_until(lambda ready=ready: answers(ready), what=services.logs)  # type: ignore[misc]
            for name in ("api", "dispatch", "sender", "worker"):
                for program in services.of(name):
                    services.replace(program)
                if name == "api":
                    services.kill(services.of("worker")[0])
                    services.broker.kill()
                    services.broker.start()
            asked += [each.result() for each in waiting]
            reached(JOBS // 2)
            services.kill(services.of("worker")[0])
            reached(3 * JOBS // 4)
            services.kill(services.of("worker")[0])
        jobs = [*told, *(job["id"] for job in asked)]
        assert len(set(jobs)) == JOBS + 2
        results = assert_it_holds(services, story, jobs)
        checked = services.cli("restore-check")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        # a kill ends at most the one job that was past its touch, and so does the stop of a worker
        # whose machine is too slow for its moment of grace
        assert results >= len(jobs) - 8
        with looked_at(services, story) as world, transaction(world.make_session) as session:
            backfilled = session.scalar(
                text("SELECT count(*) FROM jobs WHERE of_the_next_version IS NOT NULL")
            )
        assert backfilled
        assert story.wait(story.count())["state"] == "settled"


def next_version(folder: Path) -> Path:
    """A version of the service that has one migration more: an expansion, with its backfill."""
    migrations = folder / "migrations"
    shutil.copytree(
        compose.ROOT / "migrations", migrations, ignore=shutil.ignore_patterns("__pycache__")
    )
    (head,) = ScriptDirectory(str(migrations)).get_heads()
    (migrations / "versions" / "9999_next_version.py").write_text(NEXT_VERSION.format(head=head))
    return folder
