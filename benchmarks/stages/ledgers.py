"""Ledgers of several shapes, and requests for room in them that wait for nothing but the writer."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import URL, text

from app.db.migrate import upgrade
from app.db.repositories import standing
from app.db.session import make_engine, make_session_maker, snapshot, transaction
from app.domain.ledger import document_sha256
from app.services.admission import Admissions
from app.services.batches import Asked
from app.services.budgets import Budgets
from app.services.closing import VersionFacts
from app.services.datasets import Datasets
from app.services.idempotency import Keyed
from app.services.placement import Place, ReservationRequest, place_of
from app.services.pricing import InputRequest
from app.services.registrations import DatasetRequest
from app.services.standing import KnownRequest
from tests.conftest import address, new_database_name, run_outside_transaction
from tests.world import World, keyed, new_world

MECHANISM: Final = {"type": "gaussian", "noise_multiplier": "50"}
LIMIT: Final = ("rdp-mix/1", "9000", "1e-6")
USERS: Final = {
    "kind": "user",
    "column": "person",
    "max_groups_per_user": 1,
    "max_rows_per_user_group": 1,
}
COLUMNS: Final = ({"name": "person", "type": "string"}, {"name": "value", "type": "int64"})


@dataclass(frozen=True)
class Ledger:
    """One world, the roots that its requests end at, and an endless source of requests."""

    world: World
    roots: tuple[UUID, ...]
    ask: Callable[[], Asked]

    def check(self, admitted: int) -> None:
        """Every chain replays, and the roots hold exactly what was admitted."""
        verification = Budgets(self.world.make_session).verification(self.world.people["auditor"])
        held = {self.world.budget(root).last_seq - 1 for root in self.roots}
        if not verification["verified"] or held != {admitted}:
            raise AssertionError(f"{admitted} admitted, {held} held, {verification}")


@contextmanager
def database(kind: str, server: URL, folder: Path) -> Iterator[str]:
    """A fresh database at the newest schema."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'ledger.sqlite3'}"
        upgrade(url)
        yield url
        return
    name = new_database_name()
    run_outside_transaction(server, f"CREATE DATABASE {name}")
    try:
        upgrade(address(server, name))
        yield address(server, name)
    finally:
        run_outside_transaction(server, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def staged(url: str, folder: Path, **declared: Any) -> Iterator[World]:
    """People, a project and a dataset."""
    engine = make_engine(url)
    with new_world(make_session_maker(engine), folder, **declared) as world:
        yield world
    engine.dispose()


@contextmanager
def hot_budget(url: str, folder: Path) -> Iterator[Ledger]:
    """Every request asks one and the same root."""
    with staged(url, folder) as world:
        root = world.open_root(*LIMIT)
        yield Ledger(world, (root,), asker(world, [world.inputs(root)]))


@contextmanager
def hundred_budgets(url: str, folder: Path) -> Iterator[Ledger]:
    """A hundred allocations of one root, in turn."""
    with staged(url, folder) as world:
        root = world.open_root(*LIMIT)
        leaves = [_allocation(world, root) for _ in range(100)]
        yield Ledger(world, (root,), asker(world, [world.inputs(leaf) for leaf in leaves]))


@contextmanager
def fifty_scopes(url: str, folder: Path) -> Iterator[Ledger]:
    """Ten datasets in each request, five levels each."""
    with staged(url, folder) as world:
        datasets = [world.dataset_id, *(_dataset(world, number) for number in range(9))]
        roots, inputs = [], []
        for dataset_id in datasets:
            world.dataset_id = dataset_id
            leaf = world.open_root(*LIMIT)
            roots.append(leaf)
            for _ in range(4):
                leaf = _allocation(world, leaf)
            inputs.append(InputRequest(dataset_id, 1, leaf))
        yield Ledger(world, tuple(roots), asker(world, [tuple(inputs)]))


@contextmanager
def thousand_blocks(url: str, folder: Path) -> Iterator[Ledger]:
    """Every request asks all of a thousand blocks of one root."""
    blocks = {"kind": "unit_hash", "count": 1000}
    rows = "person,value\na,1\n"
    with staged(url, folder, columns=COLUMNS, unit=USERS, rows=rows, blocks=blocks) as world:
        root = world.open_root(*LIMIT)
        yield Ledger(world, (root,), asker(world, [world.inputs(root)]))


def asker(world: World, inputs: list[tuple[InputRequest, ...]]) -> Callable[[], Asked]:
    """Requests for one unit in each of some places in turn, looked up and priced before."""
    parts = [{"mechanism": MECHANISM, "max_units": 1}]
    with snapshot(world.make_session) as session:
        caller = replace(world.engineer, standing=standing.changes(session))
    looking = Admissions(world.make_session, _Collector())  # type: ignore[arg-type]
    known: list[tuple[KnownRequest, Place]] = []
    for each in inputs:
        request = ReservationRequest(each, parts, 900, "bench")
        body = Keyed(caller.principal_id, "bench", "k", document_sha256(len(known)))
        looking.reserve(caller, request, body)
        place = place_of(caller, request)
        found = looking.look_ups.request(caller, place.action, body.body_sha256)
        if found is None:
            raise AssertionError("a request that was looked up is not known")
        known.append((found, place))
    turns = cycle(known)

    def ask() -> Asked:
        found, place = next(turns)
        fresh = Keyed(caller.principal_id, "bench", uuid4().hex, "b" * 64)
        return looking._asked(caller, fresh, found, place, is_known=True)  # noqa: SLF001

    return ask


def load_entries(world: World, root: UUID, count: int) -> None:
    """Give a budget a chain of so many entries more, at once; they charge nothing.

    Their bodies are as long as a real one's and their hashes chain nothing: for costs alone.
    """
    budget = world.budget(root)
    first, is_sqlite = budget.last_seq + 1, "sqlite" in str(world.make_session.kw["bind"].url)
    series = (
        "(WITH RECURSIVE g(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM g WHERE n < :last)"
        " SELECT n FROM g)"
        if is_sqlite
        else "generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS g(n)"
    )
    name = "lower(hex(randomblob(16)))" if is_sqlite else "gen_random_uuid()"
    fill = "printf('%.1400c', 'x')" if is_sqlite else "repeat('x', 1400)"
    own = root.hex if is_sqlite else str(root)
    with transaction(world.make_session) as session:
        session.execute(
            text(
                "INSERT INTO entries (budget_id, seq, id, kind, body, hash, created_at)"  # noqa: S608
                f" SELECT :budget, n, {name}, 'refreshed', {fill}, :hash, :at FROM {series}"
            ),
            {
                "budget": own,
                "first": first,
                "last": first + count - 1,
                "hash": "0" * 64,
                "at": budget.last_entry_at if not is_sqlite else str(budget.last_entry_at),
            },
        )
        session.execute(
            text("UPDATE budgets SET last_seq = :last WHERE id = :budget"),
            {"last": first + count - 1, "budget": own},
        )


class _Collector:
    """Stands where a writer does while requests are looked up; decides nothing."""

    is_grouping = True

    def decide(self, _asked: Asked) -> dict[str, Any]:
        return {}


def _allocation(world: World, parent: UUID) -> UUID:
    return world.open_allocation(parent, LIMIT[1], accountant=LIMIT[0], delta=LIMIT[2])


def _dataset(world: World, number: int) -> UUID:
    officer = world.people["officer"]
    (world.home / "data" / f"more{number}.csv").write_text("value\n1\n")
    declaration: Mapping[str, Any] = {
        "name": f"table {number}",
        "access": "private",
        "source": {"connection": "files", "path": f"more{number}.csv", "format": "csv"},
        "columns": [{"name": f"value{number}", "type": "int64"}],
        "unit_of_privacy": {"kind": "record"},
        "relation": "add_remove",
        "nominal_size": 1000,
        "blocks": {"kind": "none"},
    }
    request = DatasetRequest(
        declaration,
        {},
        population=f"people {number}",
        version=VersionFacts(None, no_line_breaks_in_texts=True),
        new_people=True,
    )
    made = Datasets(world.make_session).register(
        officer, request, keyed(officer, "datasets", {"n": number})
    )
    if made["state"] != "active":
        raise AssertionError(made)
    dataset_id = UUID(made["id"])
    Datasets(world.make_session).grant(officer, dataset_id, world.project_id)
    return dataset_id
