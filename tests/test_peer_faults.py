"""Faults that were found in other budget services, each as a test that they would fail.

The faults were read or run in their public code; no project is named here, since each may have
been mended since. Every test runs on both databases.
"""

import pkgutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session, sessionmaker

import app.services
from app.db.models import Budget, Entry, Job, OutboxMessage, Reservation
from app.db.session import snapshot, transaction
from app.domain.accounting.prices import price
from app.domain.errors import (
    AlreadyResolved,
    BudgetExceeded,
    DomainError,
    InvalidParameter,
    NotFound,
)
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Loss
from app.main import create_app
from app.services.admission import QuoteRequest
from app.services.batches import Batch
from app.services.sweep import sweep
from app.settings import Settings
from tests.api.world import TestClient, budget_body, build, dataset_body, open_root, register
from tests.services.test_windows import Clock, open_window, periods
from tests.world import COUNT_QUERY, World, new_world

TENTH = {"type": "pure", "epsilon": "0.1"}
HUNDREDTH = {"type": "pure", "epsilon": "0.01"}
SENTENCE = "no private row was read"
NAT = 10**18
OFFICER = "compliance_officer"


@pytest.fixture
def world(make_session: sessionmaker[Session], tmp_path: Path) -> Iterator[World]:
    with new_world(make_session, tmp_path) as made:
        yield made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The database's clock for every service, to be set forward."""
    made = Clock(datetime(2027, 1, 10, tzinfo=UTC))
    for module in pkgutil.iter_modules(app.services.__path__, "app.services."):
        monkeypatch.setattr(import_module(module.name), "database_now", made.now, raising=False)
    return made


def charge_of(mechanism: dict[str, str], units: int) -> Loss:
    return price(parse_mechanism(mechanism), "add_remove").charge(units)


def count_of(world: World, table: Any) -> int:
    with snapshot(world.make_session) as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_analysts_who_each_keep_their_limit_do_not_pass_the_dataset_s(world: World) -> None:
    """No cross-analyst ceiling: two analysts with a limit of 10 each took one dataset to 18.3."""
    root = world.open_root(epsilon="1")
    analysts = [world.open_allocation(root, "1") for _ in range(3)]
    admitted, by = 0, set()
    for _ in range(9):
        for analyst in analysts:
            try:
                world.reserve(analyst, TENTH, 1)
                admitted += 1
            except BudgetExceeded as refused:
                by.add(refused.scope["budget_id"])
    assert (admitted, by) == (10, {str(root)})
    assert world.budget(root).reserved.maximum_atto == NAT
    assert all(world.budget(each).reserved.maximum_atto < NAT for each in analysts)


@pytest.mark.parametrize("step", ["charge", "remember", "write"])
def test_epsilon_and_delta_are_charged_together_or_not_at_all(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Epsilon charged without delta: two writes, and a failure between them left the first."""
    mechanism = {"type": "approximate", "epsilon": "0.1", "delta": "1e-7"}
    root = world.open_root("basic/1", "1", "1e-6")
    right, written = getattr(Batch, step), Batch.write

    def broken(batch: Batch, *args: Any, **kwargs: Any) -> None:
        right(batch, *args, **kwargs)
        written(batch)
        raise RuntimeError("between two writes")

    monkeypatch.setattr(Batch, step, broken)
    with pytest.raises(RuntimeError):
        world.reserve(root, mechanism, 1)
    assert world.budget(root).reserved == Loss.zero()
    assert count_of(world, Reservation) == 0
    monkeypatch.undo()
    world.reserve(root, mechanism, 1)
    held = world.budget(root).reserved
    assert (held.maximum_atto, held.delta_atto) == (NAT // 10, 10**11)
    assert world.verified()


def test_a_killed_process_locks_nobody_out_and_keeps_no_room(world: World, clock: Clock) -> None:
    """A killed process locks the user out: a flag "may not query" that nobody took back."""
    root = world.open_root(epsilon="1")
    runner = replace(world.engineer, is_runner=True)
    killed = UUID(world.reserve(root, TENTH, 8, who=runner, lease_s=60)["id"])
    world.reservations.start(runner, killed, 1, 0, 3)
    world.reserve(root, TENTH, 1)  # at once, while the dead one still holds its room
    clock.move(seconds=61)
    assert sweep(world.make_session).lapsed == 1
    assert world.budget(root).committed == charge_of(TENTH, 3)
    world.reserve(root, TENTH, 6, who=runner)
    assert world.verified()


@pytest.mark.parametrize(
    "cost", ["-5", "-0", "NaN", "nan", "Infinity", "inf", "+1", "1e400", "", "0", -5, True, None]
)
def test_a_cost_that_is_no_positive_decimal_is_refused_by_every_floor(
    world: World, cost: Any
) -> None:
    """Negative and NaN cost: -5 gave budget back, NaN let every later cost through."""
    root = world.open_root("basic/1", "1", "1e-6")
    before = count_of(world, Entry)
    for mechanism in (
        {"type": "pure", "epsilon": cost},
        {"type": "approximate", "epsilon": "0.1", "delta": cost},
        {"type": "laplace", "scale": cost, "sensitivity_l1": "1"},
    ):
        with pytest.raises(InvalidParameter):
            world.reserve(root, mechanism, 1)
        with pytest.raises(InvalidParameter):
            world.admissions.quote(
                world.engineer,
                QuoteRequest(world.inputs(root), parts=[{"mechanism": mechanism, "max_units": 1}]),
            )
    with pytest.raises(BudgetExceeded):
        world.reserve(root, {"type": "pure", "epsilon": "1000"}, 1)
    assert count_of(world, Entry) == before
    assert world.budget(root).reserved == Loss.zero()


def test_a_balance_below_zero_is_no_loss_and_a_spent_entry_cannot_be_rewritten(
    world: World,
) -> None:
    """Negative cost, one floor down: the exact type and the database refuse it by themselves."""
    root = world.open_root(epsilon="1")
    world.reserve(root, TENTH, 1)
    with pytest.raises(ValueError, match="negative"):
        Loss.zero() - charge_of(TENTH, 1)
    for statement in (
        "UPDATE entries SET body = '{}' WHERE kind = 'reserved'",
        "DELETE FROM entries WHERE kind = 'reserved'",
    ):
        with pytest.raises(DatabaseError), transaction(world.make_session) as session:
            session.execute(text(statement))
    assert world.verified()


def test_a_preview_works_without_the_rows_and_leaves_nothing(world: World) -> None:
    """A preview that reads data: asking for the cost fitted the model on the private rows."""
    root = world.open_root(epsilon="1")
    asked = QuoteRequest(world.inputs(root), kind="query", spec=COUNT_QUERY)
    first = world.admissions.quote(world.engineer, asked)
    (world.home / "data" / "rows.csv").write_text("value\nnot a number\n")
    assert world.admissions.quote(world.engineer, asked) == first
    (world.home / "data" / "rows.csv").unlink()
    assert world.admissions.quote(world.engineer, asked) == first
    assert world.budget(root).reserved == Loss.zero()
    assert count_of(world, Reservation) == count_of(world, Job) == 0


def test_work_for_which_there_is_no_room_is_never_begun(world: World) -> None:
    """Charge after run: the budget was asked when the result came, and the work thrown away."""
    root = world.open_root(epsilon="0.015")
    world.submit(root)
    with pytest.raises(BudgetExceeded):
        world.submit(root)
    assert count_of(world, Job) == count_of(world, OutboxMessage) == 1
    assert world.budget(root).reserved == charge_of(HUNDREDTH, 1)


def test_a_retry_is_charged_once_and_checked_like_the_first(world: World) -> None:
    """Retry charged twice: a repeated reference skipped the check and was charged again."""
    root = world.open_root(epsilon="0.1")
    answers = [world.reserve(root, TENTH, 1, key="one job") for _ in range(100)]
    assert answers == [answers[0]] * 100
    assert world.budget(root).reserved == charge_of(TENTH, 1)
    reserved = UUID(answers[0]["id"])
    for _ in range(2):
        world.reservations.commit(world.engineer, reserved, 1, None)
    assert world.budget(root).committed == charge_of(TENTH, 1)
    assert world.reserve(root, TENTH, 1, key="one job") == answers[0]
    with pytest.raises(BudgetExceeded):
        world.reserve(root, TENTH, 1, key="another job")
    assert world.verified()


def test_only_a_charge_can_be_given_back_and_only_once(world: World) -> None:
    """Refund tied to no charge: any new reference with a flag gave back, below zero too."""
    root = world.open_root(epsilon="1")
    with pytest.raises(NotFound):
        world.reservations.void(world.engineer, uuid4(), 1, SENTENCE)
    posted, open_one = (UUID(world.reserve(root, TENTH, 2)["id"]) for _ in range(2))
    world.reservations.commit(world.engineer, posted, 1, None)
    with pytest.raises(DomainError):
        world.reservations.void(world.engineer, posted, 1, SENTENCE)
    with pytest.raises(NotFound):
        world.reservations.void(world.people["outsider"], open_one, 1, SENTENCE)
    for _ in range(3):
        world.reservations.void(world.engineer, open_one, 1, SENTENCE)
    with pytest.raises(AlreadyResolved):
        world.reservations.commit(world.engineer, open_one, 1, None)
    budget = world.budget(root)
    assert (budget.committed, budget.reserved) == (charge_of(TENTH, 2), Loss.zero())
    assert world.verified()


@pytest.mark.parametrize("accountant", ["pure/1", "rdp-mix/1"])
def test_an_oversize_request_closes_nothing(world: World, accountant: str) -> None:
    """One oversize request closes the filter for ever: it ran, was dropped, and shut the budget."""
    root = world.open_root(accountant, "1", "0" if accountant == "pure/1" else "1e-6")
    for _ in range(3):
        with pytest.raises(BudgetExceeded) as refused:
            world.reserve(root, TENTH, 1_000_000)
    assert world.budget(root).state == "open"
    units = refused.value.fits["max_units"]
    assert isinstance(units, int)
    assert units >= 10
    world.reserve(root, TENTH, units)
    with pytest.raises(BudgetExceeded):
        world.reserve(root, TENTH, 1)


def test_a_refresh_opens_a_period_and_forgets_nothing_of_the_lifetime(
    world: World, clock: Clock
) -> None:
    """Refresh forgets: the reset procedure set the loss to zero, and rows that stay leak on."""
    root = world.open_root(epsilon="0.5")
    window = open_window(world, root, "0.2")
    for month in range(2):
        spent = UUID(world.reserve(root, TENTH, 2)["id"])
        world.reservations.commit(world.engineer, spent, 1, None)
        with pytest.raises(BudgetExceeded) as full:
            world.reserve(root, TENTH, 1)
        assert full.value.scope["kind"] == "window"
        clock.move(days=31)
        lifetime = sum([charge_of(TENTH, 2)] * (month + 1), Loss.zero())
        assert world.budget(root).committed == lifetime
    world.reserve(root, TENTH, 1)
    with pytest.raises(BudgetExceeded) as ended:
        world.reserve(root, TENTH, 1)
    assert ended.value.scope["budget_id"] == str(root)
    total = sum((each.committed + each.reserved for each in periods(world, window)), Loss.zero())
    assert total == world.budget(root).committed + world.budget(root).reserved
    assert world.verified()


def test_another_view_of_the_same_rows_has_no_budget_of_its_own(
    database_url: str, tmp_path: Path
) -> None:
    """A new view gets a fresh budget: the same table under another name began at zero."""
    folder = tmp_path / "files"
    folder.mkdir()
    settings = Settings(database_url=database_url, home=tmp_path / "home")
    with TestClient(create_app(settings)) as client:
        house = build(client, folder)
        dataset = register(house)
        open_root(house, dataset)
        (folder / "view.parquet").symlink_to("trips.parquet")
        for path in ("trips.parquet", "./trips.parquet", "view.parquet"):
            body = {**dataset_body(path, name="trips"), "name": f"view of {path}"}
            refused = house.ask("POST", "/datasets", body, by=OFFICER)
            assert refused.json()["code"] == "source-already-registered"
        # a copy has another location: who says that these are other people is not believed alone
        (folder / "copy.parquet").write_bytes((folder / "trips.parquet").read_bytes())
        body = {**dataset_body("copy.parquet", name="trips"), "name": "a copy"}
        copied = house.ask("POST", "/datasets", body, by=OFFICER)
        assert copied.json()["state"] == "proposed"
        second = house.ask("POST", "/budgets", budget_body(dataset), by=OFFICER)
        assert second.json()["code"] == "root-exists"
        listed = house.ask("GET", "/datasets", by=OFFICER).json()
        active = [each["id"] for each in listed["items"] if each["state"] == "active"]
        assert active == [dataset]


def test_the_smallest_spend_beside_the_largest_is_kept_to_the_last_unit(world: World) -> None:
    """Subnormal spends lost: small charges vanished in a float beside a large balance."""
    root = world.open_root(epsilon="1")
    small = {"type": "pure", "epsilon": "1e-18"}
    world.reserve(root, {"type": "pure", "epsilon": "0.5"}, 1)
    for _ in range(20):
        world.reserve(root, small, 1)
    assert world.budget(root).reserved.maximum_atto == NAT // 2 + 20
    world.reserve(root, small, NAT // 10**7)
    world.reserve(root, {"type": "pure", "epsilon": "0.4999998999999999"}, 1)
    left = NAT - world.budget(root).reserved.maximum_atto
    assert 0 < left < 1000
    with pytest.raises(BudgetExceeded) as refused:
        world.reserve(root, small, left + 1)
    assert refused.value.fits["max_units"] == left
    world.reserve(root, small, left)
    assert world.budget(root).reserved.maximum_atto == NAT
    for nothing in ("5e-324", "1e-19", "1e-400"):
        with pytest.raises(InvalidParameter):
            world.reserve(root, {"type": "pure", "epsilon": nothing}, 1)


def test_charges_that_race_for_the_same_room_are_admitted_as_often_as_they_fit(
    world: World,
) -> None:
    """Non-atomic read-modify-write: 8 threads, 5 charges of a tenth each; all 40 were admitted."""
    root = world.open_root(epsilon="1")
    outcomes: list[str] = []
    begin = threading.Barrier(8)

    def spend() -> None:
        begin.wait()
        for _ in range(5):
            try:
                reserved = UUID(world.reserve(root, TENTH, 1)["id"])
                world.reservations.commit(world.engineer, reserved, 1, None)
                outcomes.append("admitted")
            except BudgetExceeded:
                outcomes.append("refused")

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count("admitted"), outcomes.count("refused")) == (10, 30)
    budget = world.budget(root)
    assert (budget.committed.maximum_atto, budget.reserved) == (NAT, Loss.zero())
    with snapshot(world.make_session) as session:
        shown = session.get_one(Budget, root)
        posted = select(func.count()).where(Entry.budget_id == root, Entry.kind == "posted")
        assert session.scalar(posted) == 10
        assert shown.last_seq == 1 + 20
    shown_consumed = world.budgets.get(world.people["officer"], root)["consumed"]["epsilon"]
    assert Decimal(shown_consumed) == 1
    assert world.verified()
