"""Random honest histories: the service's own steps on SQLite, by a clock that a seed turns.

A history opens budgets of several accountants, windows and allocations, reserves, starts, posts,
voids and lets lapse, raises, lowers, transfers, freezes, thaws and closes, puts earlier spend on
record, lets months pass, and signs checkpoints. What the service refuses is refused, and goes on.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Budget, Reservation
from app.db.session import make_engine, make_session_maker, snapshot, transaction
from app.domain.errors import DomainError
from app.domain.partitions import AskedBlocks
from app.domain.privacy import Limit
from app.domain.windows import Window
from app.services import export, settlement, signing, sweep
from app.services.access import Caller
from app.services.budgets import BudgetRequest
from app.services.checkpoints import Checkpoints
from app.services.opening import OpeningRequest, Openings
from app.services.publications import PublicationRequest, Publications
from tests import planned
from tests.world import World, keyed, new_world

GAUSSIANS: list[dict[str, Any]] = [
    {"type": "gaussian", "noise_multiplier": "9"},
    {"type": "gaussian", "noise_multiplier": "40.5"},
    {"type": "repeated", "count": 3, "of": {"type": "gaussian", "noise_multiplier": "20"}},
]
PURES: list[dict[str, Any]] = [
    {"type": "pure", "epsilon": "0.02"},
    {"type": "laplace", "scale": "80", "sensitivity_l1": "2"},
    {"type": "discrete_laplace", "scale": "50", "sensitivity_l1": "1"},
    {"type": "exponential", "epsilon": "0.03"},
    {
        "type": "composed",
        "of": [{"type": "pure", "epsilon": "0.01"}, {"type": "exponential", "epsilon": "1e-3"}],
    },
]
OTHERS: list[dict[str, Any]] = [
    {
        "type": "poisson_sampled",
        "rate": "0.01",
        "of": {"type": "gaussian", "noise_multiplier": "1.1"},
    },
    {"type": "discrete_gaussian", "sigma": "30", "sensitivity_l2": "1"},
    {"type": "zcdp", "rho": "0.001", "xi": "1e-4"},
    {
        "type": "threshold",
        "of": {"type": "gaussian", "noise_multiplier": "15"},
        "groups": 2,
        "delta": "1e-10",
    },
]
APPROXIMATES: list[dict[str, Any]] = [
    {"type": "approximate", "epsilon": "0.02", "delta": "1e-9"},
    {
        "type": "threshold",
        "of": {"type": "laplace", "scale": "90", "sensitivity_l1": "1"},
        "groups": 3,
        "delta": "1e-9",
    },
]
# the root's accountant and delta, those of budgets below it, and what is run
HOUSES: list[tuple[tuple[str, str], list[tuple[str, str]], list[dict[str, Any]]]] = [
    (("rdp-mix/1", "1e-6"), [("rdp-mix/1", "1e-6")], GAUSSIANS + PURES + OTHERS + APPROXIMATES),
    (("pure/1", "0"), [("pure/1", "0")], PURES),
    (("rdp-mix/1", "1e-5"), [("gdp/1", "1e-6"), ("rdp-mix/1", "1e-7")], GAUSSIANS),
    (("basic/1", "1e-6"), [("pure/1", "0"), ("basic/1", "1e-7")], PURES + APPROXIMATES),
    (("gdp/1", "1e-6"), [("gdp/1", "1e-6"), ("rdp-mix/1", "1e-6")], GAUSSIANS),
]
MANY_S = 10**9
# of the histories whose dataset is divided: ten days are closed
DAYS: dict[str, Any] = {
    "columns": ({"name": "day", "type": "date"}, {"name": "value", "type": "int64"}),
    "rows": "day,value\n2020-01-01,1\n2020-01-02,2\n",
    "blocks": {
        "kind": "time",
        "column": "day",
        "period": "day",
        "time_zone": "UTC",
        "first_day": "2020-01-01",
        "grace_days": 2,
    },
    "closes_through": 9,
}


@dataclass
class History:
    """One ledger and what may be done to it next."""

    world: World
    draw: Random
    checkpoints: Checkpoints
    now: datetime
    house: tuple[tuple[str, str], list[tuple[str, str]], list[dict[str, Any]]]
    root: UUID
    below: list[UUID] = field(default_factory=list)
    windows: list[UUID] = field(default_factory=list)
    held: list[UUID] = field(default_factory=list)
    jobs: list[UUID] = field(default_factory=list)
    plans: list[UUID] = field(default_factory=list)
    results: list[UUID] = field(default_factory=list)
    has_blocks: bool = False

    @property
    def key(self) -> bytes:
        """The raw public key that the ledger signs with now."""
        return signing.load(self.checkpoints.key_file).public.raw

    def bundle(self) -> bytes:
        """What an export gives after a checkpoint."""
        self.publish()
        self.checkpoints.make()
        return b"".join(export.lines(self.world.make_session))

    def go(self, steps: int) -> None:
        """Try this many things; the service has the last word on each."""
        acts = {
            self.reserve: 30,
            self.start: 18,
            self.end: 14,
            self.lapse: 2,
            self.submit: 8,
            self.work: 6,
            self.allocate: 6,
            self.open_window: 3,
            self.move_limit: 8,
            self.transfer: 4,
            self.freeze_or_thaw: 8,
            self.close: 1,
            self.limit_rate: 1,
            self.opening: 3,
            self.wait: 10,
            self.sign: 3,
        }
        for act in self.draw.choices([*acts], [*acts.values()], k=steps):
            self.now += timedelta(seconds=self.draw.randint(0, 3))
            try:
                act()
            except DomainError:
                continue

    @property
    def runner(self) -> Caller:
        return replace(self.world.engineer, is_runner=True)

    def any_budget(self) -> UUID:
        return self.draw.choice([self.root, *self.below])

    def epsilon(self) -> str:
        return self.draw.choice(["0.25", "0.5", "0.8", "1.7", "2.5", "4", "8"])

    def reserve(self) -> None:
        units = self.draw.choice([1, 1, 2, 5, 12, 40])
        mechanism = self.draw.choice(self.house[2])
        who = self.runner if self.draw.random() < 0.8 else self.world.engineer
        leaf, blocks = self.draw.choice([self.root, *self.below, *self.plans]), self.some_blocks()
        if leaf in self.plans:
            slots = self.draw.choice([["nightly"], ["weekly"], ["nightly", "weekly"]])
            parts = [planned.part(slot, self.draw.randint(1, 2)) for slot in slots]
            inputs = self.world.inputs(leaf, blocks)
            made = planned.reserve(self.world, inputs, *parts, who=who, lease_s=MANY_S)
        else:
            made = self.world.reserve(
                leaf, mechanism, units, who=who, lease_s=MANY_S, blocks=blocks
            )
        self.held.append(UUID(made["id"]))

    def some_blocks(self) -> AskedBlocks:
        """All that are closed, or a few ranges of them."""
        if not self.has_blocks or self.draw.random() < 0.3:
            return "all"
        one, other = sorted(self.draw.sample(range(10), 2))
        return ((one, other),) if other - one < 4 else ((one, one + 1), (other, other))

    def start(self) -> None:
        if not self.held:
            return
        reservation = self.draw.choice(self.held)
        with snapshot(self.world.make_session) as session:
            row = session.get_one(Reservation, reservation)
            fence, most = row.fence, row.parts[0]["max_units"]
        units = self.draw.randint(1, most)
        self.world.reservations.start(self.runner, reservation, fence, 0, units)

    def end(self) -> None:
        if not self.held:
            return
        reservation = self.held.pop(self.draw.randrange(len(self.held)))
        with snapshot(self.world.make_session) as session:
            row = session.get_one(Reservation, reservation)
            fence, is_touched, is_runner = row.fence, any(row.started_units), row.is_runner
        who = self.runner if is_runner else self.world.engineer
        if not is_touched and (is_runner or self.draw.random() < 0.4):
            self.world.reservations.void(who, reservation, fence, "no private row was read")
        else:
            self.world.reservations.commit(who, reservation, fence, None)

    def lapse(self) -> None:
        if not self.held:
            return
        reservation = self.held.pop()
        with transaction(self.world.make_session) as session:
            row = session.get_one(Reservation, reservation)
            row.lease_until = self.now - timedelta(seconds=1)
        sweep.sweep(self.world.make_session)

    def submit(self) -> None:
        made = self.world.submit(self.any_budget(), blocks=self.some_blocks(), reuse=False)
        self.jobs.append(UUID(made["id"]))

    def work(self) -> None:
        if not self.jobs:
            return
        job = self.jobs.pop()
        with transaction(self.world.make_session) as session:
            claim = settlement.claim(session, job, owner="w", lease_s=MANY_S, now=self.now)
        if claim is None:
            return
        with transaction(self.world.make_session) as session:
            is_started = self.draw.random() < 0.8
            if is_started:
                settlement.start(session, claim, 0, 1, now=self.now)
        with transaction(self.world.make_session) as session:
            if self.draw.random() < 0.2 or not is_started:
                settlement.fail(session, claim, "some-failure", now=self.now)
            else:
                settlement.post(session, claim, document={}, artifacts=[], now=self.now)
                self.results.append(job)

    def publish(self) -> None:
        """The newest result; without a turn of the seed, which later things are drawn by."""
        if not self.results:
            return
        officer, job = self.world.people["officer"], self.results.pop()
        body = keyed(officer, f"publish {job}", {})
        request = PublicationRequest("the study is done")
        Publications(self.world.make_session).publish(officer, job, request, body)

    def allocate(self) -> None:
        accountant, delta = self.draw.choice(self.house[1])
        parent = self.any_budget()
        opened = self.world.open_allocation(
            parent, self.epsilon(), accountant=accountant, delta=delta
        )
        self.below.append(opened)

    def open_window(self) -> None:
        if len(self.windows) >= 4:
            return
        accountant, delta = self.draw.choice(self.house[1])
        officer = self.world.people["officer"]
        request = BudgetRequest(
            kind="window",
            dataset_id=None,
            parent_id=self.any_budget(),
            name="a pace",
            limit=Limit(Decimal(self.epsilon()), Decimal(delta)),
            accountant=accountant,
            delta_split=Decimal("0.9"),
            milestones=(),
            holder_project_id=None,
            expires_at=None,
            reason="a pace",
            window=Window(
                self.draw.choice(("day", "week", "month")),
                self.draw.choice(("UTC", "Europe/Berlin", "America/New_York")),
                date(2027, 1, 1),
                self.draw.choice(("always", "always", "new_data")),
            ),
        )
        body = {"window": len(self.windows)}
        proposed = self.world.budgets.create(officer, request, keyed(officer, "budgets", body))
        self.world.decide(UUID(proposed["approval_id"]), "approve")
        self.windows.append(UUID(proposed["id"]))

    def change(self, budget_id: UUID, action: Any, **fields: Any) -> None:
        made = self.world.change(budget_id, action, **fields)
        if made["state"] == "pending":
            self.world.decide(UUID(made["approval_id"]), "approve")

    def move_limit(self) -> None:
        budget_id = self.draw.choice([self.root, *self.below, *self.windows])
        limit = self.world.budget(budget_id).policy["limit"]
        factor = self.draw.choice([Decimal("0.3"), Decimal("0.8"), Decimal("1.5"), Decimal("2")])
        new = Decimal(limit["epsilon"]) * factor
        if factor < 1:
            self.change(budget_id, "lower", epsilon=new)
        elif self.draw.random() < 0.3 and Decimal(limit["delta"]):
            self.change(budget_id, "raise", delta=Decimal(limit["delta"]) * 2)
        else:
            self.change(budget_id, "raise", epsilon=new)

    def transfer(self) -> None:
        if len(self.below) < 2:
            return
        one, other = self.draw.sample(self.below, 2)
        self.change(one, "transfer", epsilon=Decimal("0.05"), to=other)

    def freeze_or_thaw(self) -> None:
        budget_id = self.draw.choice([self.root, *self.below, *self.windows])
        is_frozen = self.world.budget(budget_id).state == "frozen"
        self.change(budget_id, "thaw" if is_frozen else "freeze")
        if self.draw.random() < 0.7 and not is_frozen:
            self.change(budget_id, "thaw")

    def close(self) -> None:
        if self.below:
            self.change(self.draw.choice(self.below), "close")

    def limit_rate(self) -> None:
        limits = {"jobs_per_hour": self.draw.choice([1000, None])}
        self.change(self.any_budget(), "limit_rate", rate_limits=limits)

    def opening(self) -> None:
        officer, budget_id = self.world.people["officer"], self.any_budget()
        request = OpeningRequest(
            reason="before the service",
            evidence_sha256="e" * 64,
            mechanism=self.draw.choice(self.house[2]),
            units=self.draw.choice([1, 3, 20]),
        )
        asked = Openings(self.world.make_session).ask(
            officer,
            budget_id,
            request,
            if_version=self.world.budget(budget_id).version,
            keyed=keyed(officer, "opening", {"now": self.now.isoformat()}),
        )
        self.world.decide(UUID(asked["approval_id"]), "approve")

    def wait(self) -> None:
        self.now += timedelta(hours=self.draw.choice([1, 10, 30, 24 * 8, 24 * 33]))

    def sign(self) -> None:
        self.publish()
        self.checkpoints.make()
        if self.draw.random() < 0.2:
            self.checkpoints.rotate()

    def periods(self) -> int:
        """How many periods its windows have opened."""
        with snapshot(self.world.make_session) as session:
            return len(session.scalars(select(Budget.id).where(Budget.kind == "period")).all())


@contextmanager
def history(seed: int, folder: Path, migrated_sqlite: Path) -> Iterator[History]:
    """A fresh ledger with an open root, under a clock of its own."""
    draw = Random(seed)
    folder.mkdir(parents=True)
    shutil.copy(migrated_sqlite, folder / "ledger.sqlite3")
    engine = make_engine(f"sqlite:///{folder / 'ledger.sqlite3'}")
    make_session = make_session_maker(engine)
    house, has_blocks = HOUSES[seed % len(HOUSES)], seed % 3 == 1
    try:
        with new_world(make_session, folder, **(DAYS if has_blocks else {})) as world:
            key_file = folder / "keys" / "signing.key"
            signing.create(key_file)
            checkpoints = Checkpoints(make_session, folder / "checkpoints", key_file)
            now = datetime(2027, 1, 10, tzinfo=UTC) + timedelta(hours=draw.randrange(24 * 40))
            made = History(world, draw, checkpoints, now, house, UUID(int=0))
            with _clock(made):
                accountant, delta = house[0]
                made.has_blocks = has_blocks
                made.root = world.open_root(accountant, made.epsilon(), delta)
                if seed % 4 == 0 and accountant == "rdp-mix/1":
                    made.plans.append(planned.open_plan(world, made.root))
                yield made
    finally:
        engine.dispose()


@contextmanager
def _clock(made: History) -> Iterator[None]:
    """Every module of the service asks the history for the time."""

    def now(_session: Session, **_asked: object) -> datetime:
        return made.now

    modules = [vars(module) for name, module in [*sys.modules.items()] if name.startswith("app.")]
    saved = [(names, names["database_now"]) for names in modules if "database_now" in names]
    for names, _ in saved:
        names["database_now"] = now
    try:
        yield
    finally:
        for names, original in saved:
            names["database_now"] = original
