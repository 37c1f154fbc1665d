"""A plan against a plain counter, over histories in any order, on both databases (L1, L4, R10).

Reserve, start, commit, void and lapse on the slots of one plan, interleaved at random: every
decision is the counter's, never more units start than a slot has, the budget above is charged to
the last unit, and what was started comes to no more than the plan's one figure.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from app.db.session import make_engine, make_session_maker, transaction
from app.domain.accounting.plan_units import PlanUnits
from app.domain.accounting.pld import pld_epsilon
from app.domain.accounting.prices import charge_parts, price
from app.domain.errors import BudgetExceeded
from app.domain.mechanisms.parsing import Part, parse_mechanism
from app.domain.privacy import Loss
from app.services.access import Caller
from app.services.sweep import sweep
from tests.planned import SLOTS, open_plan, part, reserve
from tests.world import World, new_world

COUNTS = {str(slot["name"]): int(slot["count"]) for slot in SLOTS}
MECHANISMS = {str(slot["name"]): parse_mechanism(slot["mechanism"]) for slot in SLOTS}
SENTENCE = "no private row was read"


@dataclass
class Held:
    """A reservation as the model has it; a runner's is charged at what it started."""

    id: UUID
    parts: list[tuple[str, int]]
    is_runner: bool
    started: list[int]
    ended: bool = False

    def units(self, counts: list[int]) -> Counter[str]:
        found = Counter[str]()
        for (slot, _), count in zip(self.parts, counts, strict=True):
            found[slot] += count
        return found

    @property
    def reserved(self) -> Counter[str]:
        return self.units([units for _, units in self.parts])


@dataclass
class Counters:
    """The plan in plain words."""

    reserved: Counter[str] = field(default_factory=Counter)
    posted: Counter[str] = field(default_factory=Counter)
    committed: Loss = field(default_factory=Loss.zero)
    held: Loss = field(default_factory=Loss.zero)

    def admits(self, asked: Counter[str]) -> bool:
        return all(
            self.reserved[name] + self.posted[name] + units <= COUNTS[name]
            for name, units in asked.items()
        )


class History:
    """One run: what is done to the ledger is done to the counters."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.draw = random.Random(seed)
        self.root = world.open_root("rdp-mix/1", "8", "1e-5")
        self.plan = open_plan(world, self.root)
        self.model = Counters()
        self.held: list[Held] = []
        self.runner = replace(world.engineer, is_runner=True)
        self.refused = 0

    def loss(self, held: Held, counts: list[int]) -> Loss:
        return charge_parts(
            [
                (price(MECHANISMS[slot], "add_remove"), count)
                for (slot, _), count in zip(held.parts, counts, strict=True)
            ]
        )

    def step(self) -> None:
        live = [each for each in self.held if not each.ended]
        if not live or self.draw.random() < 0.3:
            self.reserve()
            return
        moves = [self.start, self.start, self.commit, self.void, self.lapse]
        self.draw.choice(moves)(self.draw.choice(live))

    def reserve(self) -> None:
        parts = [
            (self.draw.choice(list(COUNTS)), self.draw.randint(1, 3))
            for _ in range(self.draw.randint(1, 2))
        ]
        is_runner = self.draw.random() < 0.6
        held = Held(UUID(int=0), parts, is_runner, [0] * len(parts))
        wanted = self.model.admits(held.reserved)
        who = self.runner if is_runner else self.world.engineer
        try:
            made = reserve(self.world, self.plan, *(part(*each) for each in parts), who=who)
        except BudgetExceeded as refusal:
            assert not wanted, parts
            slots = refusal.left["slots"]
            assert isinstance(slots, dict)
            for name, left in slots.items():
                assert left == COUNTS[name] - self.model.reserved[name] - self.model.posted[name]
            self.refused += 1
            return
        assert wanted, parts
        self.held.append(replace(held, id=UUID(made["id"])))
        self.model.reserved += held.reserved
        self.model.held += self.loss(held, [units for _, units in parts])

    def start(self, held: Held) -> None:
        index = self.draw.randrange(len(held.parts))
        units = self.draw.randint(0, held.parts[index][1])
        self.world.reservations.start(self.who(held), held.id, 1, index, units)
        held.started[index] = max(held.started[index], units)

    def commit(self, held: Held) -> None:
        if held.is_runner and not any(held.started):
            return
        self.world.reservations.commit(self.who(held), held.id, 1, None)
        self.end(held, held.started if held.is_runner else [units for _, units in held.parts])

    def void(self, held: Held) -> None:
        if any(held.started):
            return
        self.world.reservations.void(self.who(held), held.id, 1, SENTENCE)
        self.end(held, [0] * len(held.parts))

    def lapse(self, held: Held) -> None:
        with transaction(self.world.make_session) as session:
            session.execute(
                text(
                    "UPDATE reservations SET lease_until = '2020-01-01 00:00:00+00:00'"
                    " WHERE id = :id"
                ),
                {"id": held.id.hex if session.get_bind().dialect.name == "sqlite" else held.id},
            )
        assert sweep(self.world.make_session).lapsed == 1
        self.end(held, held.started if held.is_runner else [units for _, units in held.parts])

    def who(self, held: Held) -> Caller:
        return self.runner if held.is_runner else self.world.engineer

    def end(self, held: Held, charged: list[int]) -> None:
        held.ended = True
        held.started = charged
        self.model.reserved -= held.reserved
        self.model.posted += held.units(charged)
        self.model.held -= self.loss(held, [units for _, units in held.parts])
        self.model.committed += self.loss(held, charged)

    def compare(self) -> None:
        budget, above = self.world.budget(self.plan), self.world.budget(self.root)
        wanted = PlanUnits(dict(+self.model.reserved), dict(+self.model.posted))
        assert budget.plan_units == wanted
        for scope in (budget, above):
            assert (scope.committed, scope.reserved) == (self.model.committed, self.model.held)

    def started(self) -> Counter[str]:
        total = Counter[str]()
        for each in self.held:
            total += each.units(each.started)
        return total


def walk(world: World, seed: int, steps: int) -> History:
    history = History(world, seed)
    for number in range(steps):
        history.step()
        if number % 10 == 9:
            history.compare()
    history.compare()
    assert all(units <= COUNTS[name] for name, units in history.started().items())
    assert world.verified()
    return history


@pytest.fixture
def on_sqlite(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    engine = make_engine(sqlite_url)
    with new_world(make_session_maker(engine), tmp_path) as made:
        yield made
    engine.dispose()


def test_a_plan_decides_as_a_counter_does_and_never_starts_more(world: World) -> None:
    history = walk(world, 1, 40)
    assert history.refused > 3
    assert history.started().total() > 3


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 22))
def test_a_plan_decides_as_a_counter_does_over_many_histories(world: World, seed: int) -> None:
    walk(world, seed, 150)


@pytest.mark.parametrize("seed", [101, 102])
def test_what_was_started_never_comes_to_more_than_the_plan(on_sqlite: World, seed: int) -> None:
    """The library's own composition of what ran, beside the figure that was frozen before it."""
    history = walk(on_sqlite, seed, 40)
    ran = [
        Part(MECHANISMS[name], units) for name, units in sorted(history.started().items()) if units
    ]
    shown = on_sqlite.budgets.get(on_sqlite.people["auditor"], history.plan)["plan"]
    figure = Decimal(shown["if_fixed_in_advance"]["epsilon"])
    composed = pld_epsilon(ran, "add_remove", Decimal("1e-6"))
    assert composed is not None
    assert 0 < Decimal(composed) <= figure <= 1
