"""Group commit: many decisions in one transaction, each as if it had been alone (L1, R12, R16)."""

import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, event, func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.db import session as db_session
from app.db.models import AuditEvent, Budget, Entry, IdempotencyKey, Reservation
from app.db.session import make_engine, make_session_maker, snapshot, transaction
from app.domain.errors import BudgetExceeded, IdempotencyKeyReused, ScopeClosed
from app.services import batches
from app.services import writer as writer_module
from app.services.batches import Asked, Batch
from app.services.writer import AdmissionWriter, WriterBusy
from tests.patience import wait_until
from tests.world import World, keyed, new_world

TENTH = {"type": "pure", "epsilon": "0.1"}


@pytest.fixture
def world(make_session: sessionmaker[Session], tmp_path: Path) -> Iterator[World]:
    with new_world(make_session, tmp_path) as made:
        yield made


class Gate:
    """Holds the writer inside one decision, so that what comes meanwhile is one batch."""

    def __init__(self, world: World) -> None:
        self._entered, self._open = threading.Event(), threading.Event()
        self._first = world.writer.submit(
            Asked(keyed(world.engineer, "gate", {}), (), self._decide)
        )
        assert self._entered.wait(60)

    def _decide(self, _batch: Batch) -> dict[str, Any]:
        self._entered.set()
        assert self._open.wait(60)
        return {}

    def open(self) -> None:
        self._open.set()
        self._first.result(60)


def together(world: World, calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """What the calls gave or raised, in their order, decided as one batch in that order."""
    gate, queued = Gate(world), world.writer._queue.qsize
    outcomes: list[Future[Any]] = []
    threads = []
    for index, call in enumerate(calls):
        outcome: Future[Any] = Future()

        def run(call: Callable[[], Any] = call, outcome: Future[Any] = outcome) -> None:
            try:
                outcome.set_result(call())
            except Exception as refused:
                outcome.set_result(refused)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        wait_until(partial(_more_than, queued, index), what=f"call {index} in the queue")
        outcomes.append(outcome)
    gate.open()
    for thread in threads:
        thread.join(60)
    return [outcome.result(60) for outcome in outcomes]


def _more_than(queued: Callable[[], int], index: int) -> bool:
    return queued() > index


def count(world: World, model: type[Any], *conditions: Any) -> int:
    with snapshot(world.make_session) as session:
        return session.scalar(select(func.count()).select_from(model).where(*conditions)) or 0


def collected(world: World, calls: Sequence[Callable[[], Any]]) -> list[Asked]:
    """What the calls would have asked the writer; nothing is decided."""
    asked: list[Asked] = []

    class Collecting(AdmissionWriter):
        def decide(self, each: Asked) -> dict[str, Any]:
            asked.append(each)
            raise WriterBusy("collected")

    right, world.writer = world.writer, Collecting(world.make_session)
    for call in calls:
        with pytest.raises(WriterBusy):
            call()
    world.writer = right
    return asked


def test_a_refused_request_disturbs_nobody_in_its_batch(world: World) -> None:
    root = world.open_root(epsilon="1")
    calls = [partial(world.reserve, root, TENTH, units) for units in (4, 7, 5, 2, 1)]
    four, seven, five, two, one = together(world, calls)
    assert isinstance(seven, BudgetExceeded)
    assert isinstance(two, BudgetExceeded)
    assert {four["state"], five["state"], one["state"]} == {"reserved"}
    assert world.budget(root).reserved.maximum_atto == 10**18
    assert count(world, Entry, Entry.kind == "reserved") == 3
    assert world.verified()


def test_the_last_room_goes_to_the_first_who_asked_for_it(world: World) -> None:
    root = world.open_root(epsilon="1")
    outcomes = together(world, [lambda: world.reserve(root, TENTH, 4) for _ in range(4)])
    kinds = [isinstance(outcome, BudgetExceeded) for outcome in outcomes]
    assert kinds == [False, False, True, True]


def test_equal_keys_in_one_batch_get_one_decision(world: World) -> None:
    root = world.open_root(epsilon="1")
    calls: list[Callable[[], Any]] = [
        lambda: world.reserve(root, TENTH, 4, key="k"),
        lambda: world.reserve(root, TENTH, 4, key="k"),
        lambda: world.reserve(root, TENTH, 5, key="k"),
    ]
    first, again, other_body = together(world, calls)
    assert first == again
    assert isinstance(other_body, IdempotencyKeyReused)
    assert count(world, Reservation) == 1
    assert world.budget(root).reserved.maximum_atto == 4 * 10**17


def test_scopes_of_other_trees_in_the_same_batch_are_decided_each_on_its_own(
    world: World,
) -> None:
    root = world.open_root(epsilon="1")
    left, right = (world.open_allocation(root, epsilon) for epsilon in ("0.2", "0.9"))
    calls = [partial(world.reserve, each, TENTH, 3) for each in (left, right, left)]
    outcomes = together(world, calls)
    refused = [isinstance(outcome, BudgetExceeded) for outcome in outcomes]
    assert refused == [True, False, True]
    assert world.budget(root).reserved == world.budget(right).reserved
    assert world.budget(left).reserved.maximum_atto == 0
    assert world.verified()


def test_a_frozen_scope_refuses_its_own_and_lets_the_others_through(world: World) -> None:
    root = world.open_root(epsilon="1")
    frozen, open_ = (world.open_allocation(root, "0.9") for _ in range(2))
    world.change(frozen, "freeze")
    calls = [partial(world.reserve, each, TENTH, 1) for each in (frozen, open_)]
    closed, reserved = together(world, calls)
    assert isinstance(closed, ScopeClosed)
    assert reserved["state"] == "reserved"


@pytest.mark.parametrize("when", ["before the commit", "after the commit"])
def test_a_batch_whose_commit_fails_is_decided_again_one_by_one_and_once(
    world: World, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    root = world.open_root(epsilon="1")
    right, failed = transaction, list[str]()

    class Failing:
        """The first transaction of more than the gate ends in an unknown outcome."""

        def __init__(self, make_session: Any) -> None:
            self._inner = right(make_session)

        def __enter__(self) -> Session:
            return self._inner.__enter__()

        def __exit__(self, *trouble: Any) -> Any:
            lost = OperationalError("COMMIT", {}, RuntimeError("the connection is lost"))
            if trouble[0] is None and len(failed) == 1:
                failed.append(when)
                if when == "before the commit":
                    self._inner.__exit__(type(lost), lost, None)
                else:
                    self._inner.__exit__(None, None, None)
                raise lost
            failed.append("gate")
            return self._inner.__exit__(*trouble)

    monkeypatch.setattr(writer_module, "transaction", Failing)
    outcomes = together(world, [lambda: world.reserve(root, TENTH, 3) for _ in range(4)])
    assert when in failed
    refused = [isinstance(outcome, BudgetExceeded) for outcome in outcomes]
    assert refused == [False, False, False, True]
    assert len({outcome["id"] for outcome in outcomes[:3]}) == 3
    assert count(world, Reservation) == 3
    assert count(world, IdempotencyKey, IdempotencyKey.route == "reservations") in (0, 4)
    assert world.budget(root).reserved.maximum_atto == 9 * 10**17
    assert world.verified()


def test_a_request_that_breaks_half_way_takes_nobody_with_it(world: World) -> None:
    root = world.open_root(epsilon="1")

    def half(batch: Batch) -> dict[str, Any]:
        batch.add(AuditEvent, {"action": "half.done", "at": batch.now, "facts": {}})
        raise RuntimeError("a bug")

    calls: list[Callable[[], Any]] = [
        lambda: world.reserve(root, TENTH, 1),
        lambda: world.writer.decide(Asked(keyed(world.engineer, "half", {}), (root,), half)),
        lambda: world.reserve(root, TENTH, 1),
    ]
    one, broken, other = together(world, calls)
    assert isinstance(broken, RuntimeError)
    assert one["id"] != other["id"]
    assert count(world, AuditEvent, AuditEvent.action == "half.done") == 0
    assert count(world, Reservation) == 2


def test_a_batch_costs_at_most_twelve_round_trips_however_long_it_is(
    world: World, engine: Engine
) -> None:
    root = world.open_root("rdp-mix/1", "8", "1e-6")
    trips: list[str] = []

    def noted(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        trips.append(statement.split(maxsplit=1)[0])

    calls: list[Callable[[], Any]] = []
    for _ in range(60):
        calls.append(lambda: world.reserve(root, {"type": "gaussian", "noise_multiplier": "50"}, 1))
        calls.append(lambda: world.submit(root))
    asked, right = collected(world, calls), world.writer
    right._decide_together(asked[:2])  # from now on their prices are known to be stored
    event.listen(engine, "before_cursor_execute", noted)
    outcomes = right._decide_together(asked[2:])
    event.remove(engine, "before_cursor_execute", noted)
    assert all(isinstance(outcome, dict) for outcome in outcomes)
    assert len([*filter("BEGIN".__ne__, trips), "BEGIN", "COMMIT"]) <= 12, trips
    assert world.verified()


def test_a_scope_that_somebody_holds_for_long_is_told_and_stops_no_other(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "LOCK_TIMEOUT", "300ms")
    engine = make_engine(postgresql_url)
    with new_world(make_session_maker(engine), tmp_path) as world:
        root = world.open_root(epsilon="1")
        stuck, free = (world.open_allocation(root, "0.9") for _ in range(2))
        elsewhere = world.reserve(free, TENTH, 1)["id"]
        assert elsewhere
        with transaction(world.make_session) as session:
            session.execute(select(Budget).where(Budget.id == stuck).with_for_update())
            with pytest.raises(WriterBusy):
                world.reserve(stuck, TENTH, 1)
            assert world.reserve(free, TENTH, 1)["state"] == "reserved"
        assert world.reserve(stuck, TENTH, 1)["state"] == "reserved"
    engine.dispose()


def test_many_who_wait_for_one_row_are_told_together_and_not_one_after_the_other(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "LOCK_TIMEOUT", "300ms")
    engine = make_engine(postgresql_url)
    waits: list[str] = []

    def noted(context: Any) -> None:
        waits.append(context.original_exception.sqlstate)

    with new_world(make_session_maker(engine), tmp_path) as world:
        root = world.open_root(epsilon="1")
        stuck, free = (world.open_allocation(root, "0.9") for _ in range(2))
        event.listen(engine, "handle_error", noted)
        with transaction(world.make_session) as session:
            session.execute(select(Budget).where(Budget.id == stuck).with_for_update())
            calls = [partial(world.reserve, each, TENTH, 1) for each in [*[stuck] * 6, free]]
            *told, reserved = together(world, calls)
        assert [type(each) for each in told] == [WriterBusy] * 6
        assert reserved["state"] == "reserved"
        # once for the batch, and once to see which of them it was
        assert waits == [writer_module.LOCK_NOT_AVAILABLE] * 2
        assert world.reserve(stuck, TENTH, 1)["state"] == "reserved"
    engine.dispose()


def test_a_file_that_somebody_holds_for_long_is_told_at_once_to_all_who_wait(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_session, "SQLITE_BUSY_TIMEOUT_MS", 200)
    engine = make_engine(sqlite_url)
    failed: list[str] = []

    def noted(context: Any) -> None:
        failed.append(str(context.original_exception))

    with new_world(make_session_maker(engine), tmp_path) as world:
        root = world.open_root(epsilon="1")
        asked = collected(world, [partial(world.reserve, root, TENTH, 1) for _ in range(5)])
        event.listen(engine, "handle_error", noted)
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as other:
            other.execute("BEGIN IMMEDIATE")
            answers = [world.writer.submit(each) for each in asked]
            assert all(isinstance(answer.exception(60), WriterBusy) for answer in answers)
        # one wait for the first, and at most one for those who came meanwhile
        assert failed in (["database is locked"], ["database is locked"] * 2)
        assert world.reserve(root, TENTH, 1)["state"] == "reserved"
    engine.dispose()


def test_a_full_disk_decides_nothing_and_the_same_keys_pass_once_there_is_room(
    sqlite_url: str, tmp_path: Path
) -> None:
    engine = make_engine(sqlite_url)
    with new_world(make_session_maker(engine), tmp_path) as world:
        root = world.open_root(epsilon="1")
        with engine.connect() as connection:
            pages = [connection.exec_driver_sql("PRAGMA page_count").scalar_one()]

        def limited(dbapi: Any, *_: Any) -> None:
            dbapi.execute(f"PRAGMA max_page_count = {pages[-1]}").close()

        event.listen(engine, "checkout", limited)
        hundredth = {"type": "pure", "epsilon": "0.01"}
        calls = [partial(world.reserve, root, hundredth, 1, key=f"key {n}") for n in range(9)]
        made = [each for each in together(world, calls) if isinstance(each, dict)]
        assert len(made) < len(calls)
        assert world.budget(root).reserved.maximum_atto == len(made) * 10**16
        pages.append(10**6)
        assert all(isinstance(call(), dict) for call in calls)
        assert world.budget(root).reserved.maximum_atto == len(calls) * 10**16
        assert world.verified()
    engine.dispose()


def test_a_decision_that_ends_in_a_time_out_is_no_wait_for_ever(world: World) -> None:
    def decide(_batch: Batch) -> dict[str, Any]:
        raise TimeoutError("of something that was asked")

    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            world.writer.decide(Asked(keyed(world.engineer, "late", {}), (), decide))
        except Exception as failed:
            outcome.set_result(failed)

    threading.Thread(target=run, daemon=True).start()
    assert isinstance(outcome.result(10), TimeoutError)


def test_a_writer_ends_though_its_queue_fills_as_it_ends(world: World) -> None:
    writer = AdmissionWriter(world.make_session)

    class Crowded(queue.Queue[Any]):
        """Whenever the mark of the end is taken out, somebody's request takes its place."""

        def get_nowait(self) -> Any:
            taken = super().get_nowait()
            if taken is None:
                self.put_nowait(late)
            return taken

    done: list[str] = []
    entered, goes_on = threading.Event(), threading.Event()

    def decide(_batch: Batch) -> dict[str, Any]:
        entered.set()
        assert goes_on.wait(60)
        done.append("decided")
        return {}

    asked = Asked(keyed(world.engineer, "late", {}), (), decide)
    late = writer_module._Waiting(asked)
    writer._queue = Crowded(2)
    writer.start()
    first = writer.submit(asked)
    assert entered.wait(60)
    second = writer.submit(replace(asked, keyed=keyed(world.engineer, "second", {})))
    ends = threading.Thread(target=writer.stop, daemon=True)
    ends.start()
    wait_until(writer._queue.full, what="the mark of the end in the queue")
    goes_on.set()
    ends.join(10)
    assert not ends.is_alive()
    assert (first.result(1), second.result(1), done) == ({}, {}, ["decided"] * 2)
    assert isinstance(late.answer.exception(1), WriterBusy)


def test_without_group_commit_every_request_is_decided_by_its_own_thread(world: World) -> None:
    writer = AdmissionWriter(world.make_session, batch_most=0)
    writer.start()
    names: list[str] = []

    def decide(_batch: Batch) -> dict[str, Any]:
        names.append(threading.current_thread().name)
        return {}

    try:
        writer.decide(Asked(keyed(world.engineer, uuid4().hex, {}), (), decide))
    finally:
        writer.stop()
    assert names == [threading.current_thread().name]
