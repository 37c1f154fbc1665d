"""Blocks in the service: a job is charged whole to each block it names and to no other (R8)."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session, sessionmaker

from app.db.models import Budget
from app.db.session import snapshot, transaction
from app.domain.errors import (
    BlockNotClosed,
    BudgetExceeded,
    InvalidParameter,
    LowerRefused,
    SourceAlreadyRegistered,
    ThawRefused,
)
from app.domain.privacy import Loss
from app.services.admission import QuoteRequest
from app.services.block_strips import block_strip
from app.services.closing import VersionFacts
from app.services.datasets import Datasets
from app.services.opening import OpeningRequest, Openings
from app.services.timeline import timeline
from tests.divided import COLUMNS, DAYS, PURE, ROWS, held, loss, shown, spend
from tests.world import World, keyed, new_world

USERS = ({"name": "who", "type": "string"}, {"name": "value", "type": "int64"})
USER = {"kind": "user", "column": "who", "max_groups_per_user": 1, "max_rows_per_user_group": 1}


@pytest.fixture
def users(make_session: sessionmaker[Session], tmp_path: Path) -> Iterator[World]:
    """Users in eight blocks by a hash."""
    with new_world(
        make_session,
        tmp_path,
        columns=USERS,
        unit=USER,
        rows="who,value\na,1\n",
        blocks={"kind": "unit_hash", "count": 8},
    ) as made:
        yield made


def test_a_job_is_charged_whole_to_each_block_it_names_and_to_no_other(days: World) -> None:
    root = days.open_root()
    days.reserve(root, PURE, 3, blocks=((0, 1), (4, 4)))
    for block in range(10):
        assert held(days, root, block) == (loss(units=3) if block in (0, 1, 4) else Loss.zero())
    entry = days.bodies(root)[-1]
    assert entry["facts"]["blocks"] == [[0, 1], [4, 4]]
    assert days.bodies(root)[0]["facts"]["partition"] == DAYS
    assert days.verified()


def test_each_block_has_the_whole_limit_and_none_has_more(days: World) -> None:
    root = days.open_root()
    days.reserve(root, PURE, 10, blocks=((0, 3),))
    days.reserve(root, PURE, 10, blocks=((4, 9),))
    for blocks in (((0, 0),), ((3, 4),), "all"):
        with pytest.raises(BudgetExceeded) as refused:
            days.reserve(root, PURE, 1, blocks=blocks)
        assert refused.value.fits["max_units"] == 0
    assert Decimal(shown(days, root)["consumed"]["epsilon"]) == 1
    assert days.verified()


def test_what_fits_is_said_for_the_blocks_that_were_asked(days: World) -> None:
    root = days.open_root()
    spend(days, root, 7, ((2, 2),))
    with pytest.raises(BudgetExceeded) as refused:
        days.reserve(root, PURE, 6, blocks=((1, 3),))
    assert refused.value.fits["max_units"] == 3
    assert refused.value.left["epsilon"] == "0.3"
    quote = days.admissions.quote(
        days.engineer,
        QuoteRequest(days.inputs(root, ((0, 1),)), parts=[{"mechanism": PURE, "max_units": 6}]),
    )
    assert quote["admitted_now"]
    assert quote["charges"][0]["remaining"]["epsilon"] == "1"
    # these two blocks hold nothing else; the one that is spent is not among them
    assert quote["charges"][0]["remaining_after"]["epsilon"] == "0.4"


def test_the_figures_are_those_of_the_worst_block_and_the_strip_shows_each(days: World) -> None:
    root = days.open_root()
    spend(days, root, 2, ((0, 4),))
    spend(days, root, 3, ((4, 6),))
    days.reserve(root, PURE, 1, blocks=((6, 6),))
    document = shown(days, root)
    assert document["worst_block"] == 4
    assert document["consumed"]["epsilon"] == document["committed"]["epsilon"] == "0.5"
    assert document["remaining"]["epsilon"] == "0.5"
    strip = block_strip(days.make_session, days.people["auditor"], root, from_block=0, limit=50)
    runs = [(run["first"], run["last"], run["consumed"]["epsilon"]) for run in strip]
    assert runs == [(0, 3, "0.2"), (4, 4, "0.5"), (5, 5, "0.3"), (6, 6, "0.4"), (7, 9, "0")]
    assert all(run["closed"] for run in strip)
    later = block_strip(days.make_session, days.people["auditor"], root, from_block=5, limit=1)
    assert [run["first"] for run in later] == [5]
    at_end = timeline(days.make_session, days.people["auditor"], root)["points"][-1]
    assert at_end["consumed"] == "0.5"


def test_only_closed_blocks_of_the_named_version_are_charged(days: World) -> None:
    root = days.open_root()
    with pytest.raises(BlockNotClosed) as refused:
        days.reserve(root, PURE, 1, blocks=((8, 12),))
    assert (refused.value.block, refused.value.closed) == (10, 10)
    with pytest.raises(InvalidParameter):
        days.reserve(root, PURE, 1, blocks=((4095, 4096),))


def test_all_means_the_blocks_that_are_closed_in_the_version(days: World) -> None:
    root = days.open_root()
    made = days.reserve(root, PURE, 1)
    stored = days.reservations.get(days.engineer, UUID(made["id"]))
    assert stored["inputs"][0]["blocks"] == [[0, 9]]


def test_a_dataset_without_blocks_takes_all_and_nothing_else(world: World) -> None:
    root = world.open_root()
    with pytest.raises(InvalidParameter) as refused:
        world.reserve(root, PURE, 1, blocks=((0, 0),))
    assert refused.value.pointer == "/inputs/0/blocks"
    assert world.budget(root).block_sums is None
    assert shown(world, root)["worst_block"] is None


def test_hash_blocks_may_all_be_charged_from_the_first_version_on(users: World) -> None:
    root = users.open_root()
    users.reserve(root, PURE, 10, blocks=((7, 7),))
    users.reserve(root, PURE, 10, blocks=((0, 6),))
    with pytest.raises(InvalidParameter):
        users.reserve(root, PURE, 1, blocks=((8, 8),))


def test_an_allocation_and_its_root_are_asked_block_by_block(days: World) -> None:
    root = days.open_root()
    one, other = days.open_allocation(root, "0.6"), days.open_allocation(root, "0.8")
    days.reserve(one, PURE, 6, blocks=((0, 4),))
    days.reserve(one, PURE, 6, blocks=((5, 9),))
    days.reserve(other, PURE, 4, blocks=((0, 0),))
    with pytest.raises(BudgetExceeded) as refused:
        days.reserve(other, PURE, 1, blocks=((0, 0),))
    assert refused.value.scope["kind"] != "allocation"
    assert held(days, root, 0) == loss(units=6) + loss(units=4)
    assert days.verified()


def test_a_void_gives_each_block_back_exactly_what_it_held(days: World) -> None:
    root = days.open_root()
    days.reserve(root, PURE, 2, blocks=((0, 5),))
    before = [held(days, root, block) for block in range(10)]
    made = days.reserve(root, PURE, 5, blocks=((3, 8),))
    sentence = "no private row was read"
    days.reservations.void(days.engineer, UUID(made["id"]), 1, sentence)
    assert [held(days, root, block) for block in range(10)] == before
    assert days.verified()


def test_lowering_asks_the_worst_block_and_not_the_sum(days: World) -> None:
    root = days.open_root()
    for block in range(10):
        spend(days, root, 3, ((block, block),))
    spend(days, root, 2, ((7, 7),))
    with pytest.raises(LowerRefused) as refused:
        days.change(root, "lower", epsilon=Decimal("0.4"))
    assert refused.value.least == "0.5"
    days.change(root, "lower", epsilon=Decimal("0.5"))
    with pytest.raises(BudgetExceeded):
        days.reserve(root, PURE, 1, blocks=((7, 7),))
    days.reserve(root, PURE, 2, blocks=((0, 6),))
    assert days.verified()


def opened(world: World, root: UUID, epsilon: str) -> None:
    officer = world.people["officer"]
    request = OpeningRequest(reason="before", evidence_sha256="0" * 64, epsilon=epsilon)
    version = world.budget(root).version
    asked = Openings(world.make_session).ask(
        officer, root, request, if_version=version, keyed=keyed(officer, "openings", epsilon)
    )
    world.decide(UUID(asked["approval_id"]), "approve")


def test_earlier_spend_is_charged_to_every_block_that_has_begun(days: World) -> None:
    root = days.open_root()
    opened(days, root, "0.4")
    sums = days.budget(root).block_sums
    assert sums is not None
    begun = (datetime.now(UTC) - datetime(2020, 1, 1, tzinfo=UTC)).days + 1
    assert abs(len(sums) - begun) <= 1
    assert held(days, root, len(sums) - 1) == held(days, root, 0)
    assert held(days, root, 0) == loss({"type": "pure", "epsilon": "0.4"})
    with pytest.raises(BudgetExceeded) as refused:
        days.reserve(root, PURE, 7, blocks=((9, 9),))
    assert refused.value.fits["max_units"] == 6
    assert days.verified()


def test_earlier_spend_that_overruns_a_block_freezes_the_budget_until_it_passes(
    days: World,
) -> None:
    root = days.open_root()
    spend(days, root, 7, ((3, 3),))
    opened(days, root, "0.4")
    assert days.budget(root).state == "frozen"
    with pytest.raises(ThawRefused) as refused:
        days.change(root, "thaw")
    assert refused.value.least == "1.1"
    assert days.verified()


def test_a_version_closes_blocks_in_order_and_only_what_has_ended(days: World) -> None:
    officer, datasets = days.people["officer"], Datasets(days.make_session)
    later = days.home / "data" / "later.csv"

    def add(path: str, closes_through: int | None, sha256: str | None = None) -> dict[str, Any]:
        revision = datasets.get(officer, days.dataset_id)["revision"]
        return datasets.add_version(
            officer,
            days.dataset_id,
            path=path,
            format="csv",
            if_version=revision,
            keyed=keyed(officer, "versions", path),
            stated=VersionFacts(closes_through, sha256),
        )

    later.write_text("day,value\n2020-01-11,1\n")
    with pytest.raises(InvalidParameter, match="stays so"):
        add("later.csv", 8)
    ended = (datetime.now(UTC) - datetime(2020, 1, 1, tzinfo=UTC)).days
    with pytest.raises(InvalidParameter, match="grace"):
        add("later.csv", ended - 1)
    # the rows of version 1 stay where they are: a version has a file of its own
    with pytest.raises(SourceAlreadyRegistered):
        add("rows.csv", 10)
    made = add("later.csv", 10, "a" * 64)
    assert made["closed_blocks"] == 11
    (days.home / "data" / "copy.csv").write_text("day,value\n2020-01-12,1\n")
    with pytest.raises(SourceAlreadyRegistered):
        add("copy.csv", 11, "a" * 64)
    assert add("copy.csv", None)["closed_blocks"] == 11
    root = days.open_root()
    with pytest.raises(BlockNotClosed):
        days.reserve(root, PURE, 1, blocks=((10, 10),))  # version 1
    assert datasets.get(officer, days.dataset_id)["closed_blocks"] == 11


def test_users_are_not_hashed_in_another_spelling(users: World) -> None:
    officer, datasets = users.people["officer"], Datasets(users.make_session)
    (users.home / "data" / "rows.parquet").write_bytes(b"rows")
    with pytest.raises(InvalidParameter) as refused:
        datasets.add_version(
            officer,
            users.dataset_id,
            path="rows.parquet",
            format="parquet",
            if_version=datasets.get(officer, users.dataset_id)["revision"],
            keyed=keyed(officer, "versions", "parquet"),
        )
    assert refused.value.pointer == "/format"


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE budgets SET block_sums = NULL",
        "UPDATE dataset_versions SET closed_blocks = 11",
        "UPDATE dataset_versions SET path = 'other.csv'",
        "INSERT INTO dataset_versions SELECT dataset_id, version + 1, connection_id, path, format,"
        " created_by, created_at, 3, NULL FROM dataset_versions",
    ],
)
def test_the_database_lets_no_block_be_forgotten_or_reopened(days: World, tampering: str) -> None:
    days.open_root()
    with pytest.raises(DatabaseError), transaction(days.make_session) as session:
        session.execute(text(tampering))


def test_blocks_that_were_changed_beside_their_chain_are_found(days: World) -> None:
    root = days.open_root()
    days.reserve(root, PURE, 1, blocks=((0, 1),))
    assert days.verified()
    with transaction(days.make_session) as session:
        budget = session.get_one(Budget, root)
        assert budget.block_sums is not None
        budget.block_sums = budget.block_sums.resolve(loss(), Loss.zero(), ((0, 1),))
    assert not days.verified()


def test_a_job_over_a_thousand_blocks_writes_a_handful_of_rows(
    make_session: sessionmaker[Session], tmp_path: Path
) -> None:
    """As many rows and statements as the same job over one block."""
    with new_world(
        make_session, tmp_path, columns=COLUMNS, rows=ROWS, blocks=DAYS, closes_through=999
    ) as world:
        root = world.open_root()
        statements: list[str] = []
        engine = make_session.kw["bind"]

        def note(*arguments: Any) -> None:
            statements.append(arguments[2])

        def counted(ask: Callable[[], Any]) -> tuple[int, int]:
            statements.clear()
            before = rows(world)
            event.listen(engine, "before_cursor_execute", note)
            try:
                ask()
            finally:
                event.remove(engine, "before_cursor_execute", note)
            return len(statements), rows(world) - before

        counted(lambda: world.reserve(root, PURE, 1, blocks=((0, 0),)))
        one = counted(lambda: world.reserve(root, PURE, 1, blocks=((0, 0),)))
        all_of_them = counted(lambda: world.reserve(root, PURE, 1, blocks=((0, 999),)))
        assert all_of_them == one
        assert all_of_them[1] <= 5
        assert held(world, root, 999) == loss()


def rows(world: World) -> int:
    tables = ("budgets", "entries", "reservations", "idempotency_keys", "audit_events", "prices")
    with snapshot(world.make_session) as session:
        return sum(
            session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in tables
        )
