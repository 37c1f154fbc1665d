"""The whole ledger against a plain model in memory, over histories that nobody would think of.

Reserve, start, commit, void, lapse, boundary, refresh, expiry, raise, lower, freeze, thaw and
opening entries, in any order: every decision is the one that the model makes, every sum is equal
to the last unit, nothing is ever overspent, and the chain replays (L1, L3, L4).
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import URL, select
from sqlalchemy.orm import Session

from app.db.models import Budget, Reservation
from app.db.session import make_engine, make_session_maker, snapshot, transaction
from app.domain.accounting.filters import make_policy
from app.domain.accounting.policy import Policy
from app.domain.accounting.prices import price
from app.domain.errors import (
    BudgetExceeded,
    LowerRefused,
    ScopeClosed,
    ThawRefused,
)
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Limit, Loss
from app.domain.windows import Window
from app.services import (
    approvals,
    batches,
    budgets,
    explanation,
    idempotency,
    reservations,
    sweep,
)
from app.services.budgets import BudgetRequest
from app.services.opening import OpeningRequest, Openings
from tests.conftest import address, new_database_name, run_outside_transaction
from tests.world import World, keyed, new_world

MECHANISMS = {
    "pure/1": {"type": "pure", "epsilon": "0.01"},
    "rdp-mix/1": {"type": "gaussian", "noise_multiplier": "9"},
}
DELTAS = {"pure/1": "0", "rdp-mix/1": "1e-6"}
FIRST = date(2027, 1, 1)
MANY_S = 10**9
CLOCKED = (approvals, batches, budgets, explanation, idempotency, reservations, sweep)


@dataclass
class Scope:
    """A budget as the model has it. periods: of a window, by the moment each began."""

    policy: Policy
    parent: str | None
    state: str = "open"
    committed: Loss = field(default_factory=Loss.zero)
    reserved: Loss = field(default_factory=Loss.zero)
    expires_at: datetime | None = None
    window: Window | None = None
    periods: list[tuple[datetime, str]] = field(default_factory=list)

    @property
    def held(self) -> Loss:
        return self.committed + self.reserved


@dataclass
class Held:
    """A reservation as the model has it: where it is held, and from which unit on."""

    id: UUID
    units: int
    scopes: dict[str, int]
    started: int = 0
    ended: bool = False


class Model:
    """The ledger in plain words: dictionaries, sums and the filter, no database."""

    def __init__(self, charge: Callable[[int], Loss], now: datetime) -> None:
        self.charge = charge
        self.now = now
        self.scopes: dict[str, Scope] = {}
        self.reservations: list[Held] = []

    def path(self, leaf: str) -> list[str]:
        found = [leaf]
        while (parent := self.scopes[found[-1]].parent) is not None:
            found.append(parent)
        return found

    def is_open(self, name: str) -> bool:
        scope = self.scopes[name]
        return scope.state == "open" and not (
            scope.expires_at is not None and scope.expires_at <= self.now
        )

    def windows(self, path: list[str]) -> list[str]:
        return [n for n, s in self.scopes.items() if s.window is not None and s.parent in path]

    def period_of(self, window: str) -> str:
        """The period in force, opened if it is due."""
        scope = self.scopes[window]
        assert scope.window is not None
        span = scope.window.span_at(self.now)
        assert span is not None
        if not scope.periods or scope.periods[-1][0] < span.starts_at:
            name = f"{window}@{span.starts_at.isoformat()}"
            self.scopes[name] = Scope(scope.policy, None)
            scope.periods.append((span.starts_at, name))
        return scope.periods[-1][1]

    def admits(self, names: list[str], loss: Loss) -> bool:
        return all(self.scopes[n].policy.admits(self.scopes[n].held + loss) for n in names)


class LedgerMachine(RuleBasedStateMachine):
    """One history: every rule does to the ledger and to the model, and compares."""

    held = Bundle("held")

    def __init__(self, open_world: Callable[[], Iterator[World]], accountant: str) -> None:
        super().__init__()
        self.opened = contextmanager(open_world)()
        self.world = self.opened.__enter__()
        self.accountant = accountant
        mechanism = MECHANISMS[accountant]
        priced = price(parse_mechanism(mechanism), "add_remove")
        self.mechanism = mechanism
        self.model = Model(priced.charge, datetime(2027, 1, 10, tzinfo=UTC))
        self.saved = {
            module: module.database_now for module in CLOCKED if hasattr(module, "database_now")
        }
        for module in self.saved:
            module.database_now = lambda _session, **_: self.model.now  # type: ignore[attr-defined]
        self.ids: dict[str, UUID] = {}
        self.runner = self.world.engineer.__class__(
            **{
                name: getattr(self.world.engineer, name)
                for name in ("principal_id", "name", "roles", "key_id", "project_ids")
            },
            is_runner=True,
        )
        self.build()

    def build(self) -> None:
        delta = DELTAS[self.accountant]
        self.add("root", self.world.open_root(self.accountant, "1", delta), "1", None)
        for name, parent, epsilon in (
            ("a", "root", "0.7"),
            ("b", "root", "0.7"),
            ("a1", "a", "0.4"),
        ):
            opened = self.world.open_allocation(
                self.ids[parent], epsilon, accountant=self.accountant, delta=delta
            )
            self.add(name, opened, epsilon, parent)
        expires_at = self.model.now + timedelta(days=40)
        with transaction(self.world.make_session) as session:
            session.get_one(Budget, self.ids["b"]).expires_at = expires_at
        self.model.scopes["b"].expires_at = expires_at
        for name, parent, epsilon in (("w root", "root", "0.5"), ("w a", "a", "0.3")):
            window = Window("month", "Europe/Berlin", FIRST, "always")
            self.add(name, self.open_window(parent, epsilon, window), epsilon, parent)
            self.model.scopes[name].window = window

    def add(self, name: str, budget_id: UUID, epsilon: str, parent: str | None) -> None:
        limit = Limit(Decimal(epsilon), Decimal(DELTAS[self.accountant]))
        policy = make_policy(self.accountant, limit, Decimal("0.9"))
        self.ids[name] = budget_id
        self.model.scopes[name] = Scope(policy, parent)

    def open_window(self, parent: str, epsilon: str, window: Window) -> UUID:
        officer = self.world.people["officer"]
        request = BudgetRequest(
            kind="window",
            dataset_id=None,
            parent_id=self.ids[parent],
            name="monthly",
            limit=Limit(Decimal(epsilon), Decimal(DELTAS[self.accountant])),
            accountant=self.accountant,
            delta_split=Decimal("0.9"),
            milestones=(),
            holder_project_id=None,
            expires_at=None,
            reason="a pace",
            window=window,
        )
        proposed = self.world.budgets.create(officer, request, keyed(officer, "b", {"w": epsilon}))
        self.world.decide(UUID(proposed["approval_id"]), "approve")
        return UUID(proposed["id"])

    @rule(target=held, leaf=st.sampled_from(["root", "a", "b", "a1"]), units=st.integers(1, 30))
    def reserve(self, leaf: str, units: int) -> Any:
        model, path = self.model, self.model.path(leaf)
        loss = model.charge(units)
        windows = model.windows(path)
        may_start = all(model.is_open(name) for name in [*path, *windows])
        names = [*path, *(model.period_of(w) for w in windows)] if may_start else path
        wanted = "closed" if not may_start else "room" if model.admits(names, loss) else "no room"
        try:
            reserved = self.world.reserve(
                self.ids[leaf], self.mechanism, units, who=self.runner, lease_s=MANY_S
            )
        except BudgetExceeded as refused:
            assert wanted == "no room", (leaf, units)
            fits = refused.fits["max_units"]
            assert isinstance(fits, int)
            assert fits == 0 or model.admits(names, model.charge(fits))
            assert not model.admits(names, model.charge(fits + 1))
            return multiple()
        except ScopeClosed:
            assert wanted == "closed", (leaf, units)
            return multiple()
        assert wanted == "room", (leaf, units)
        for name in names:
            model.scopes[name].reserved += loss
        made = Held(UUID(reserved["id"]), units, dict.fromkeys(names, 0))
        model.reservations.append(made)
        return made

    @rule(held=held, units=st.integers(1, 30))
    def start(self, held: Held, units: int) -> None:
        if held.ended or not held.started < units <= held.units:
            return
        model = self.model
        moves, fits = self.moves(held)
        wanted = fits and all(model.is_open(name) for name in held.scopes if "@" not in name)
        windows = [name for name in held.scopes if "@" in name]
        wanted = wanted and all(model.is_open(name.partition("@")[0]) for name in windows)
        try:
            self.world.reservations.start(self.runner, held.id, 1, 0, units)
        except ScopeClosed:
            assert not wanted
            return
        assert wanted
        left = model.charge(held.units - held.started)
        for old, new in moves:
            scope, base = model.scopes[old], held.scopes.pop(old)
            scope.reserved -= model.charge(held.units - base)
            scope.committed += model.charge(held.started - base)
            model.scopes[new].reserved += left
            held.scopes[new] = held.started
        held.started = units

    def moves(self, held: Held) -> tuple[list[tuple[str, str]], bool]:
        """The periods that this run has to leave, and whether the next ones have room."""
        model = self.model
        found = []
        for name in held.scopes:
            window, at, _ = name.partition("@")
            if at and model.is_open(window):
                current = model.period_of(window)
                if current != name:
                    found.append((name, current))
        left = model.charge(held.units - held.started)
        return found, model.admits([new for _, new in found], left)

    @rule(held=held)
    def commit(self, held: Held) -> None:
        if held.ended or not held.started:
            return
        self.world.reservations.commit(self.runner, held.id, 1, None)
        self.settle(held)

    @rule(held=held)
    def void(self, held: Held) -> None:
        if held.ended or held.started:
            return
        self.world.reservations.void(self.runner, held.id, 1, "no private row was read")
        self.settle(held)

    @rule(held=held)
    def lapse(self, held: Held) -> None:
        if held.ended:
            return
        with transaction(self.world.make_session) as session:
            row = session.get_one(Reservation, held.id)
            row.lease_until = self.model.now - timedelta(seconds=1)
        assert sweep.sweep(self.world.make_session).lapsed == 1
        self.settle(held)

    def settle(self, held: Held) -> None:
        for name, base in held.scopes.items():
            scope = self.model.scopes[name]
            scope.reserved -= self.model.charge(held.units - base)
            scope.committed += self.model.charge(held.started - base)
        held.ended = True

    @rule(days=st.integers(1, 25))
    def wait(self, days: int) -> None:
        self.model.now += timedelta(days=days)

    @rule(
        name=st.sampled_from(["root", "a", "b", "a1"]),
        epsilon=st.sampled_from(["0.05", "0.2", "0.45", "0.8", "1.3"]),
    )
    def set_limit(self, name: str, epsilon: str) -> None:
        scope, wanted = self.model.scopes[name], Decimal(epsilon)
        if scope.state == "closed" or wanted == scope.policy.limit.epsilon:
            return
        if wanted > scope.policy.limit.epsilon:
            self.change(name, "raise", epsilon=wanted)
            scope.policy = scope.policy.raised(wanted)
            return
        passes = scope.policy.at_level(wanted).admits(scope.held)
        if passes:
            self.change(name, "lower", epsilon=wanted)
            scope.policy = scope.policy.at_level(wanted)
            return
        with pytest.raises(LowerRefused) as refused:
            self.change(name, "lower", epsilon=wanted)
        assert scope.policy.at_level(Decimal(refused.value.least)).admits(scope.held)

    @rule(name=st.sampled_from(["root", "a", "b", "w root", "w a"]))
    def freeze_or_thaw(self, name: str) -> None:
        scope = self.model.scopes[name]
        if scope.state == "open":
            self.change(name, "freeze")
            scope.state = "frozen"
            return
        try:
            self.change(name, "thaw")
        except ThawRefused:
            assert not scope.policy.admits(scope.held)
            return
        scope.state = "open"

    def change(self, name: str, action: Any, **fields: Any) -> None:
        made = self.world.change(self.ids[name], action, **fields)
        if made["state"] == "pending":
            self.world.decide(UUID(made["approval_id"]), "approve")

    @rule(name=st.sampled_from(["root", "a", "a1"]), units=st.integers(1, 12))
    def opening_entry(self, name: str, units: int) -> None:
        officer = self.world.people["officer"]
        request = OpeningRequest(
            reason="before the service",
            evidence_sha256="e" * 64,
            mechanism=self.mechanism,
            units=units,
        )
        asked = Openings(self.world.make_session).ask(
            officer,
            self.ids[name],
            request,
            if_version=self.world.budget(self.ids[name]).version,
            keyed=keyed(officer, "opening", {"units": units}),
        )
        self.world.decide(UUID(asked["approval_id"]), "approve")
        for scope in (self.model.scopes[each] for each in self.model.path(name)):
            scope.committed += self.model.charge(units)
            if scope.state == "open" and not scope.policy.admits(scope.held):
                scope.state = "frozen"

    @invariant()
    def every_sum_is_equal_and_nothing_is_overspent(self) -> None:
        with snapshot(self.world.make_session) as session:
            for name, budget_id in self.ids.items():
                self.compare(self.model.scopes[name], session.get_one(Budget, budget_id))
                if self.model.scopes[name].window is not None:
                    self.compare_periods(session, name)

    def compare_periods(self, session: Session, window: str) -> None:
        rows = {
            row.starts_at: row
            for row in session.scalars(select(Budget).where(Budget.parent_id == self.ids[window]))
        }
        for starts_at, name in self.model.scopes[window].periods:
            if starts_at in rows:
                self.compare(self.model.scopes[name], rows[starts_at])
            else:
                # the ledger rolls a period back with the request that opened it and was refused
                assert self.model.scopes[name].held == Loss.zero()

    def compare(self, scope: Scope, row: Budget) -> None:
        assert (row.committed, row.reserved) == (scope.committed, scope.reserved), row.name
        if row.kind != "window" and row.kind != "period":
            assert row.state == scope.state, row.name
        assert scope.state != "open" or scope.policy.admits(scope.held)

    def teardown(self) -> None:
        try:
            assert self.world.verified()
        finally:
            for module, original in self.saved.items():
                module.database_now = original  # type: ignore[attr-defined]
            self.opened.__exit__(None, None, None)


@pytest.fixture(params=["sqlite", "postgresql"])
def open_world(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Iterator[World]]:
    """Opens a fresh world on a fresh database, as often as it is called."""
    kind = request.param
    template = request.getfixturevalue(f"migrated_{kind}")
    server: URL | None = request.getfixturevalue("postgresql") if kind == "postgresql" else None

    def opened() -> Iterator[World]:
        home = Path(mkdtemp(dir=tmp_path))
        if server is None:
            shutil.copy(template, home / "ledger.sqlite3")
            url, name = f"sqlite:///{home / 'ledger.sqlite3'}", ""
        else:
            name = new_database_name()
            run_outside_transaction(server, f"CREATE DATABASE {name} TEMPLATE {template}")
            url = address(server, name)
        engine = make_engine(url)
        try:
            with new_world(make_session_maker(engine), home) as world:
                yield world
        finally:
            engine.dispose()
            if server is not None:
                run_outside_transaction(server, f"DROP DATABASE {name} WITH (FORCE)")

    return opened


def run(
    open_world: Callable[[], Iterator[World]], accountant: str, histories: int, steps: int
) -> None:
    class Machine(LedgerMachine):
        def __init__(self) -> None:
            super().__init__(open_world, accountant)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=histories,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("accountant", MECHANISMS)
def test_the_ledger_agrees_with_a_plain_model_in_every_history(
    open_world: Callable[[], Iterator[World]], accountant: str
) -> None:
    run(open_world, accountant, histories=5, steps=25)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("accountant", MECHANISMS)
def test_the_ledger_agrees_with_a_plain_model_in_very_many_histories(
    open_world: Callable[[], Iterator[World]], accountant: str
) -> None:
    run(open_world, accountant, histories=60, steps=50)
