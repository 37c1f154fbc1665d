"""Whether a process can take work: what it lacks is said, and nothing else."""

from datetime import timedelta

from sqlalchemy import text, update
from sqlalchemy.orm import Session, sessionmaker

from app.db.models import OutboxMessage, WorkerBeat
from app.db.session import database_now, make_engine, make_session_maker, transaction
from app.services import beats
from app.services.readiness import LAG_MOST, look
from tests.patience import wait_until
from tests.world import World


def test_only_what_admission_needs_keeps_a_process_from_being_ready(world: World) -> None:
    root = world.open_root()

    def seen(*, takes_admissions: bool = True) -> tuple[str, list[str]]:
        found = look(world.make_session, takes_admissions=takes_admissions)
        return found.status, [name for name, is_there in found.checks.items() if not is_there]

    assert seen() == ("degraded", ["workers"])
    with transaction(world.make_session) as session:
        beats.beat(session, "one", ("cpu", "reports"), now=database_now(session))
    assert seen() == ("ready", [])
    assert seen(takes_admissions=False) == ("unready", ["admissions"])
    world.submit(root)
    assert seen() == ("ready", [])
    with transaction(world.make_session) as session:
        late = database_now(session) - 2 * LAG_MOST
        session.execute(update(OutboxMessage).values(due_at=late))
        session.execute(update(WorkerBeat).values(beat_at=late))
    assert seen() == ("degraded", ["relay", "workers"])
    with transaction(world.make_session) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert seen() == ("unready", ["schema", "relay", "workers"])


def test_a_database_that_is_away_is_all_that_is_said_of_it() -> None:
    engine = make_engine("sqlite:////nowhere/at/all/ledger.sqlite3")
    found = look(make_session_maker(engine), takes_admissions=True)
    assert found.status == "unready"
    assert [name for name, is_there in found.checks.items() if is_there] == ["admissions"]
    engine.dispose()


def test_a_worker_beats_until_it_ends_and_one_that_is_gone_is_forgotten(
    make_session: sessionmaker[Session],
) -> None:
    with transaction(make_session) as session:
        beats.beat(session, "long gone", ("gpu",), now=database_now(session) - timedelta(days=2))

    def alive() -> dict[str, int]:
        with transaction(make_session) as session:
            return beats.alive(session, now=database_now(session))

    assert alive() == {}
    worker = beats.Beats(make_session, "a:host:1", ("cpu", "reports"), every_s=0.05)
    worker.start()
    wait_until(lambda: alive() == {"cpu": 1, "reports": 1}, what="the first beat")
    with transaction(make_session) as session:
        assert session.get(WorkerBeat, "long gone") is None
        first = session.get_one(WorkerBeat, "a:host:1").beat_at

    def has_beaten_again() -> bool:
        with transaction(make_session) as session:
            return session.get_one(WorkerBeat, "a:host:1").beat_at > first

    wait_until(has_beaten_again, what="another beat")
    worker.stop()
