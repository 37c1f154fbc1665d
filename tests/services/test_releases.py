"""An equal query is answered by what the first one released, and nothing else ever is (L2, R12)."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from app.db.models import AuditEvent, Entry, IdempotencyKey, Job, ProjectMember, Reservation, Result
from app.db.session import database_now, snapshot, transaction
from app.domain.errors import NotFound, ScopeClosed
from app.domain.partitions import AskedBlocks, parse_asked
from app.domain.privacy import Loss
from app.services import releases, settlement
from app.services.access import Caller
from app.services.admission import Admissions, QuoteRequest
from app.services.closing import VersionFacts
from app.services.datasets import Datasets
from app.services.placement import JobRequest
from app.services.pricing import InputRequest
from app.services.projects import Projects
from app.settings import Settings
from tests.services.test_joined_queries import UNIT, places
from tests.services.test_registrations import register
from tests.world import COUNT_QUERY, World, keyed, new_world
from workers.context import Context
from workers.running import resolve_work, run_job

NOTHING = {"epsilon": "0", "delta": "0"}


def ask(
    world: World,
    inputs: tuple[InputRequest, ...],
    spec: Mapping[str, Any] = COUNT_QUERY,
    *,
    who: Caller | None = None,
    key: str | None = None,
    purpose: str = "a test",
    reuse: bool = True,
) -> dict[str, Any]:
    caller = who or world.engineer
    request = JobRequest("query", inputs, dict(spec), purpose, reuse)
    body = [str(inputs), str(spec), purpose, reuse]
    return world.admissions.submit(caller, request, keyed(caller, "jobs", body, key))


def settle(world: World, job: Mapping[str, Any], *, value: int = 7) -> None:
    """What a worker does with a job, without its rows: claim, touch, post."""
    with transaction(world.make_session) as session:
        held = settlement.claim(
            session, UUID(job["id"]), owner="w", lease_s=30, now=database_now(session)
        )
    assert held is not None
    with transaction(world.make_session) as session:
        settlement.start(session, held, 0, 1, now=database_now(session))
    with transaction(world.make_session) as session:
        now = database_now(session)
        settlement.post(session, held, document={"value": value}, artifacts=[], now=now)


def rows(world: World) -> dict[str, int]:
    tables = (Job, Reservation, Entry, Result, IdempotencyKey, AuditEvent)
    with snapshot(world.make_session) as session:
        return {
            table.__tablename__: session.scalar(select(func.count()).select_from(table)) or 0
            for table in tables
        }


def member(world: World, name: str, project_id: UUID) -> Caller:
    """One of the people, as a member of a project."""
    person = world.people[name]
    with transaction(world.make_session) as session:
        session.add(ProjectMember(project_id=project_id, principal_id=person.principal_id))
    return replace(person, project_ids=frozenset({project_id}))


def test_an_equal_query_is_answered_by_the_first_at_no_charge(world: World) -> None:
    root = world.open_root()
    first = ask(world, world.inputs(root))
    settle(world, first)
    held, before = world.budget(root), rows(world)
    again = ask(world, world.inputs(root), purpose="another one")
    assert (again["id"], again["reused_from"], again["state"]) == (
        first["id"],
        first["id"],
        "settled",
    )
    assert again["charges"] == [{"budget_id": str(root), "asked": NOTHING}]
    after = rows(world)
    assert {name: after[name] - before[name] for name in after} == {
        "jobs": 0,
        "reservations": 0,
        "entries": 0,
        "results": 0,
        "idempotency_keys": 1,
        "audit_events": 1,
    }
    assert world.budget(root).committed == held.committed
    assert world.budget(root).reserved == Loss.zero()
    with snapshot(world.make_session) as session:
        event = session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(1)).one()
        assert (event.action, event.subject) == ("job.reused", first["id"])
        assert event.facts["purpose"] == "another one"
    assert world.jobs.result(world.engineer, UUID(again["id"]))["value"] == 7
    assert world.verified()


def test_a_new_job_says_nothing_of_reuse(world: World) -> None:
    assert "reused_from" not in ask(world, world.inputs(world.open_root()))


def test_the_noise_of_an_answer_given_again_is_that_of_the_first(world: World) -> None:
    root = world.open_root()
    loud = {**COUNT_QUERY, "privacy": {**COUNT_QUERY["privacy"], "epsilon": "0.000001"}}
    settings = Settings(database_url="sqlite://", home=world.home)
    context = Context(settings, world.make_session, "w", world.journal)
    first = ask(world, world.inputs(root), loud)
    run_job(context, UUID(first["id"]))
    released = world.jobs.result(world.engineer, UUID(first["id"]))
    again = ask(world, world.inputs(root), loud)
    assert world.jobs.result(world.engineer, UUID(again["id"])) == released
    fresh = ask(world, world.inputs(root), loud, reuse=False)
    run_job(context, UUID(fresh["id"]))
    drawn = world.jobs.result(world.engineer, UUID(fresh["id"]))
    # noise of scale 10**6: two draws are equal once in four million runs
    assert drawn["rows"] != released["rows"]


def test_fresh_noise_is_charged_and_does_not_take_the_place_of_the_first(world: World) -> None:
    root = world.open_root()
    first = ask(world, world.inputs(root))
    settle(world, first)
    spent = world.budget(root).committed
    fresh = ask(world, world.inputs(root), reuse=False)
    assert "reused_from" not in fresh
    assert world.budget(root).reserved == spent
    settle(world, fresh, value=8)
    assert world.budget(root).committed == spent + spent
    assert ask(world, world.inputs(root))["reused_from"] == first["id"]


def test_what_was_asked_for_afresh_answers_an_equal_query_too(world: World) -> None:
    root = world.open_root()
    fresh = ask(world, world.inputs(root), reuse=False)
    settle(world, fresh)
    assert ask(world, world.inputs(root))["reused_from"] == fresh["id"]


def test_a_query_written_otherwise_is_the_same_query(world: World) -> None:
    root = world.open_root()
    first = ask(world, world.inputs(root))
    settle(world, first)
    privacy = {"epsilon": "0.010", "delta": "0", "noise": "discrete_laplace"}
    sql = {"sql": 'SELECT COUNT(*) FROM "table"', "privacy": privacy}
    for spec in ({"v": 1, "measures": [{"fn": "count", "weight": "1.0"}], "privacy": privacy}, sql):
        assert ask(world, world.inputs(root), spec)["reused_from"] == first["id"]


@pytest.mark.parametrize(
    "change",
    [
        {"where": [["value", ">", 1]]},
        {"where": [["value", "is_null"]]},
        {"measures": [{"fn": "count", "col": "value"}]},
        {"measures": [{"fn": "count"}, {"fn": "count", "col": "value"}]},
        {"group_by": [{"bin": "value", "edges": ["0", "2"]}]},
        {"privacy": {"epsilon": "0.02", "delta": "0", "noise": "discrete_laplace"}},
        {"privacy": {"epsilon": "0.01", "delta": "0", "noise": "auto"}},
        {"having": [["count", ">", "1"]]},
        {"order_by": [{"by": "count", "desc": True}]},
        {"limit": 1},
    ],
)
def test_a_query_that_differs_in_one_field_is_charged(
    on_sqlite: World, change: dict[str, Any]
) -> None:
    root = on_sqlite.open_root()
    settle(on_sqlite, ask(on_sqlite, on_sqlite.inputs(root)))
    other = ask(on_sqlite, on_sqlite.inputs(root), {**COUNT_QUERY, **change})
    assert "reused_from" not in other
    assert on_sqlite.budget(root).reserved != Loss.zero()


def test_another_version_of_the_rows_is_another_release(world: World) -> None:
    root = world.open_root()
    settle(world, ask(world, world.inputs(root)))
    (world.home / "data" / "more.csv").write_text("value\n1\n")
    new_version(world, world.dataset_id, "more.csv")
    assert "reused_from" not in ask(world, world.inputs(root, version=2))
    assert "reused_from" in ask(world, world.inputs(root, version=1))


@pytest.mark.parametrize("other", [((0, 1),), ((0, 3),), ((1, 2),), "all"])
def test_other_blocks_are_another_release(days: World, other: AskedBlocks) -> None:
    root = days.open_root()
    first = ask(days, days.inputs(root, ((0, 2),)))
    settle(days, first)
    assert "reused_from" not in ask(days, days.inputs(root, other))
    # the same blocks, named one by one
    assert (
        ask(days, days.inputs(root, parse_asked([[1, 2], [0, 0]], "")))["reused_from"]
        == first["id"]
    )


def test_all_blocks_are_those_that_are_closed_in_the_version(days: World) -> None:
    root = days.open_root()
    first = ask(days, days.inputs(root, "all"))
    settle(days, first)
    assert ask(days, days.inputs(root, ((0, 9),)))["reused_from"] == first["id"]


def test_another_dataset_or_budget_is_another_release(world: World) -> None:
    root = world.open_root()
    team = world.open_allocation(root, "0.5")
    settle(world, ask(world, world.inputs(team)))
    for other in (root, world.open_allocation(root, "0.5")):
        assert "reused_from" not in ask(world, world.inputs(other))
    copy = register(world, "other", "other.csv")
    world.decide(UUID(copy["approval_id"]), "approve")
    officer = world.people["officer"]
    Datasets(world.make_session).grant(officer, UUID(copy["id"]), world.project_id)
    there = replace(world, dataset_id=UUID(copy["id"]))
    assert "reused_from" not in ask(world, there.inputs(there.open_root()))


def test_a_job_that_has_not_settled_answers_nobody(world: World) -> None:
    root = world.open_root()
    first = ask(world, world.inputs(root))
    assert "reused_from" not in ask(world, world.inputs(root))
    with transaction(world.make_session) as session:
        held = settlement.claim(
            session, UUID(first["id"]), owner="w", lease_s=30, now=database_now(session)
        )
    assert held is not None
    assert "reused_from" not in ask(world, world.inputs(root))
    with transaction(world.make_session) as session:
        settlement.start(session, held, 0, 1, now=database_now(session))
    assert "reused_from" not in ask(world, world.inputs(root))
    world.jobs.cancel(world.engineer, UUID(first["id"]))
    with transaction(world.make_session) as session:
        now = database_now(session)
        settlement.post(session, held, document={"value": 1}, artifacts=[], now=now)
    # it released, and was cancelled as it did: its owner did not want it
    assert "reused_from" not in ask(world, world.inputs(root))


def test_a_failed_job_answers_nobody(world: World) -> None:
    root = world.open_root()
    first = ask(world, world.inputs(root))
    with transaction(world.make_session) as session:
        held = settlement.claim(
            session, UUID(first["id"]), owner="w", lease_s=30, now=database_now(session)
        )
        assert held is not None
        settlement.start(session, held, 0, 1, now=database_now(session))
        settlement.fail(session, held, "engine-failed", now=database_now(session))
    assert "reused_from" not in ask(world, world.inputs(root))


def test_a_result_that_is_gone_answers_nobody(world: World) -> None:
    root = world.open_root()
    first = ask(world, world.inputs(root))
    settle(world, first)
    with transaction(world.make_session) as session:
        session.delete(session.get_one(Result, UUID(first["id"])))
    assert "reused_from" not in ask(world, world.inputs(root))


def test_a_retired_dataset_answers_nobody(world: World) -> None:
    root = world.open_root()
    settle(world, ask(world, world.inputs(root)))
    officer = world.people["officer"]
    Datasets(world.make_session).retire(officer, world.dataset_id, if_version=1)
    with pytest.raises(ScopeClosed):
        ask(world, world.inputs(root))


def test_an_exhausted_or_frozen_budget_still_answers_what_it_has_paid_for(world: World) -> None:
    root = world.open_root(epsilon="0.01")
    first = ask(world, world.inputs(root))
    settle(world, first)
    assert ask(world, world.inputs(root))["reused_from"] == first["id"]
    world.change(root, "freeze")
    assert ask(world, world.inputs(root))["reused_from"] == first["id"]
    with pytest.raises(ScopeClosed):
        ask(world, world.inputs(root), reuse=False)


def test_a_budget_that_nobody_holds_answers_people_with_their_own_releases_alone(
    world: World,
) -> None:
    root = world.open_root()
    mine = ask(world, world.inputs(root))
    settle(world, mine)
    colleague = member(world, "outsider", world.project_id)
    theirs = ask(world, world.inputs(root), who=colleague)
    assert theirs["id"] != mine["id"]
    assert "reused_from" not in theirs
    with pytest.raises(NotFound):
        world.jobs.result(colleague, UUID(mine["id"]))


def test_what_a_project_has_paid_for_answers_its_members_who_may_read_it_too(world: World) -> None:
    team = world.open_allocation(world.open_root(), "0.5")
    first = ask(world, world.inputs(team))
    settle(world, first)
    with pytest.raises(NotFound):
        world.jobs.result(world.people["outsider"], UUID(first["id"]))
    colleague = member(world, "outsider", world.project_id)
    again = ask(world, world.inputs(team), who=colleague)
    assert again["reused_from"] == first["id"]
    assert world.jobs.result(colleague, UUID(again["id"]))["value"] == 7
    assert world.jobs.get(colleague, UUID(again["id"]))["state"] == "settled"
    with pytest.raises(NotFound):
        world.jobs.cancel(colleague, UUID(first["id"]))


def test_a_project_that_may_not_read_the_first_is_charged_or_refused(world: World) -> None:
    root = world.open_root()
    held = world.open_allocation(root, "0.3")
    settle(world, ask(world, world.inputs(held)))
    settle(world, ask(world, world.inputs(root)))
    other = Projects(world.make_session).create(
        world.people["admin"], "another", keyed(world.people["admin"], "projects", "another")
    )
    stranger = member(world, "outsider", UUID(other["id"]))
    with pytest.raises(NotFound):
        ask(world, world.inputs(held), who=stranger)
    Datasets(world.make_session).grant(world.people["officer"], world.dataset_id, UUID(other["id"]))
    with pytest.raises(NotFound):
        ask(world, world.inputs(held), who=stranger)
    assert "reused_from" not in ask(world, world.inputs(root), who=stranger)
    quote = world.admissions.quote(
        stranger, QuoteRequest(inputs=world.inputs(root), kind="query", spec=COUNT_QUERY)
    )
    assert quote["reused_from"] is None


def test_a_withdrawn_grant_ends_reuse(world: World) -> None:
    team = world.open_allocation(world.open_root(), "0.5")
    first = ask(world, world.inputs(team))
    settle(world, first)
    colleague = member(world, "outsider", world.project_id)
    officer = world.people["officer"]
    Datasets(world.make_session).withdraw(officer, world.dataset_id, world.project_id)
    for who in (world.engineer, colleague):
        with pytest.raises(NotFound):
            ask(world, world.inputs(team), who=who)
    with pytest.raises(NotFound):
        world.jobs.result(colleague, UUID(first["id"]))


def test_the_quote_says_what_would_be_reused_and_what_a_fresh_one_costs(world: World) -> None:
    root = world.open_root()
    request = QuoteRequest(inputs=world.inputs(root), kind="query", spec=COUNT_QUERY)
    before = world.admissions.quote(world.engineer, request)
    assert before["reused_from"] is None
    first = ask(world, world.inputs(root))
    settle(world, first)
    after = world.admissions.quote(world.engineer, request)
    assert after["reused_from"] == first["id"]
    assert after["charges"][0]["asked"] == before["charges"][0]["asked"] != NOTHING
    fresh = world.admissions.quote(world.engineer, replace(request, reuse=False))
    assert fresh["reused_from"] is None


def test_a_key_gives_its_first_answer_whatever_was_released_since(world: World) -> None:
    root = world.open_root()
    first = ask(world, world.inputs(root), key="k1")
    settle(world, first)
    assert ask(world, world.inputs(root), key="k1") == first
    again = ask(world, world.inputs(root), key="k2")
    assert again["reused_from"] == first["id"]
    before = rows(world)
    assert ask(world, world.inputs(root), key="k2") == again
    assert rows(world) == before


def test_two_equal_queries_at_once_are_both_charged_and_the_third_is_answered(
    world: World,
) -> None:
    root = world.open_root()
    ready = threading.Barrier(2)
    answers: list[dict[str, Any]] = []

    def submit() -> None:
        ready.wait()
        answers.append(ask(world, world.inputs(root)))

    threads = [threading.Thread(target=submit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["id"] for answer in answers}) == 2
    for answer in answers:
        assert "reused_from" not in answer
        settle(world, answer)
    both = world.budget(root)
    assert both.reserved == Loss.zero()
    assert both.committed.maximum_atto == 2 * 10**16
    assert "reused_from" in ask(world, world.inputs(root))
    assert world.budget(root).committed == both.committed


@pytest.mark.parametrize("is_posted_before", [False, True])
def test_no_answer_is_uncharged_when_the_first_settles_between_the_look_up_and_the_decision(
    world: World, monkeypatch: pytest.MonkeyPatch, *, is_posted_before: bool
) -> None:
    root = world.open_root()
    first = ask(world, world.inputs(root))
    right: Callable[..., Job | None] = releases.find

    def meanwhile(*asked: Any) -> Job | None:
        if is_posted_before:
            settle(world, first)
            with snapshot(world.make_session) as session:
                found = right(session, *asked[1:])
                session.expunge_all()
            return found
        found = right(*asked)
        settle(world, first)
        return found

    monkeypatch.setattr(releases, "find", meanwhile)
    second = ask(world, world.inputs(root))
    charged = world.budget(root).reserved != Loss.zero()
    assert ("reused_from" in second) is is_posted_before
    assert charged is not is_posted_before


def test_an_equal_key_that_was_admitted_meanwhile_keeps_its_answer(world: World) -> None:
    root = world.open_root()
    first = ask(world, world.inputs(root), key="k1")
    settle(world, first)
    document = {"id": first["id"], "reused_from": first["id"]}
    body = [str(world.inputs(root)), str(COUNT_QUERY), "a test", True]
    asked = releases.asked_again(keyed(world.engineer, "jobs", body, "k1"), document, "a test")
    assert world.writer.decide(asked) == first


def test_what_a_release_may_answer_is_never_decided_without_a_look_at_the_database(
    world: World,
) -> None:
    root = world.open_root()
    admissions = Admissions(world.make_session, world.writer)
    caller = replace(world.engineer, standing=1)
    for reuse, is_known in ((True, False), (False, True)):
        request = JobRequest("query", world.inputs(root), COUNT_QUERY, "a test", reuse)
        asked = keyed(caller, "jobs", ["body", reuse])
        admissions.submit(caller, request, asked)
        known = admissions.look_ups.request(caller, "job.admitted", asked.body_sha256)
        assert (known is not None) is is_known


def test_a_public_table_is_pinned_to_the_version_that_was_asked(
    make_session: sessionmaker[Session], tmp_path: Path
) -> None:
    columns = [{"name": "who", "type": "string"}, {"name": "place", "type": "string"}]
    table = "who,place\na,x\nb,y\n"
    with new_world(make_session, tmp_path, columns=columns, unit=UNIT, rows=table) as world:
        public, root = places(world), world.open_root()
        spec = {
            **COUNT_QUERY,
            "joins": [{"dataset_id": public, "as": "to", "on": ["place", "code"]}],
        }
        first = ask(world, world.inputs(root), spec)
        (world.home / "data" / "newer.csv").write_text("code,side\nx,s\n")
        new_version(world, UUID(public), "newer.csv")
        with snapshot(world.make_session) as session:
            work = resolve_work(session, UUID(first["id"]), tmp_path)
        assert work.public[public].version == 1
        settle(world, first)
        assert world.jobs.get(world.engineer, UUID(first["id"]))["public_versions"] == {public: 1}
        later = ask(world, world.inputs(root), spec)
        assert "reused_from" not in later
        with snapshot(world.make_session) as session:
            work = resolve_work(session, UUID(later["id"]), tmp_path)
        assert work.public[public].version == 2


def new_version(world: World, dataset_id: UUID, path: str) -> None:
    officer = world.people["officer"]
    datasets = Datasets(world.make_session)
    revision = datasets.get(officer, dataset_id)["revision"]
    datasets.add_version(
        officer,
        dataset_id,
        path=path,
        format="csv",
        if_version=revision,
        keyed=keyed(officer, "versions", [path, uuid4().hex]),
        stated=VersionFacts(no_line_breaks_in_texts=True),
    )


@pytest.fixture
def on_sqlite(sqlite_url: str, tmp_path: Path) -> Any:
    """A world on SQLite alone, for what does not depend on the database."""
    from app.db.session import make_engine, make_session_maker

    engine = make_engine(sqlite_url)
    with new_world(make_session_maker(engine), tmp_path) as made:
        yield made
    engine.dispose()
