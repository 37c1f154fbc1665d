"""The units of a plan are whole counts that no entry may bend (L4, R10)."""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from app.domain.accounting.plan_units import PlanUnits, units_by_slot
from app.domain.ledger import (
    GENESIS_HASH,
    ChainedEntry,
    EntryDraft,
    EntryKind,
    Replay,
    entry_body,
    entry_hash,
    replay,
)
from app.domain.privacy import Loss

BUDGET = str(uuid4())
AT = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = {
    "accountant": "plan-pld/1",
    "slots": [{"name": "nightly", "count": 3}, {"name": "weekly", "count": 1}],
}


class Chain:
    """Entries of one plan, each hashed after the one before it, whatever they say."""

    def __init__(self, policy: Mapping[str, Any] = PLAN) -> None:
        self.entries: list[ChainedEntry] = []
        self.add("opened", facts={"policy": dict(policy)})

    def add(
        self,
        kind: EntryKind,
        parts: Sequence[Mapping[str, Any]] = (),
        resolves: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> str:
        draft = EntryDraft(
            id=str(uuid4()),
            kind=kind,
            charge=Loss.zero(),
            actor="somebody",
            resolves=resolves,
            parts=parts,
            facts=facts,
        )
        seq = len(self.entries) + 1
        previous = self.entries[-1].hash if self.entries else GENESIS_HASH
        at = AT + timedelta(seconds=seq)
        body = entry_body(draft, budget_id=BUDGET, seq=seq, previous_hash=previous, at=at)
        self.entries.append(ChainedEntry(BUDGET, seq, body.decode(), entry_hash(body)))
        return draft.id

    def walked(self) -> Replay:
        return replay(BUDGET, self.entries)


def part(slot: str, units: int) -> dict[str, Any]:
    return {"mechanism": {"type": "pure", "epsilon": "1"}, "slot": slot, "units": units}


def test_a_replay_reproduces_what_each_slot_holds() -> None:
    chain = Chain()
    first = chain.add("reserved", [part("nightly", 2), part("weekly", 1)])
    second = chain.add("reserved", [part("nightly", 1)])
    assert chain.walked().plan_units == PlanUnits({"nightly": 3, "weekly": 1}, {})
    chain.add("posted", [part("nightly", 1), part("weekly", 0)], resolves=first)
    assert chain.walked().plan_units == PlanUnits({"nightly": 1}, {"nightly": 1})
    chain.add("voided", [part("nightly", 0)], resolves=second)
    walked = chain.walked()
    assert (walked.plan_units, walked.fault) == (PlanUnits({}, {"nightly": 1}), None)


def test_a_chain_that_holds_more_than_a_slot_is_at_fault_where_it_does() -> None:
    chain = Chain()
    chain.add("reserved", [part("nightly", 3)])
    chain.add("reserved", [part("weekly", 1), part("nightly", 1)])
    fault = chain.walked().fault
    assert fault is not None
    assert (fault.seq, fault.reason) == (3, "more units are held than a slot of the plan has")


@pytest.mark.parametrize(
    "parts",
    [
        [part("yearly", 1)],
        [{"mechanism": {"type": "pure", "epsilon": "1"}, "units": 1}],
        [part("nightly", -1)],
        [part("nightly", 2), part("nightly", 2)],
    ],
    ids=["no such slot", "no slot named", "below nothing", "in two parts"],
)
def test_units_that_no_slot_of_the_plan_has_are_a_fault(parts: list[dict[str, Any]]) -> None:
    chain = Chain()
    chain.add("reserved", parts)
    assert chain.walked().fault is not None


def test_more_posted_than_was_held_is_a_fault() -> None:
    chain = Chain()
    held = chain.add("reserved", [part("nightly", 1)])
    chain.add("posted", [part("nightly", 2)], resolves=held)
    fault = chain.walked().fault
    assert fault is not None
    assert "units" in fault.reason


@pytest.mark.parametrize("kind", ["raised", "lowered", "transferred", "refreshed"])
def test_nothing_moves_a_frozen_plan(kind: EntryKind) -> None:
    chain = Chain()
    chain.add(kind, facts={"policy": {**PLAN, "slots": [{"name": "nightly", "count": 9}]}})
    fault = chain.walked().fault
    assert fault is not None
    assert "frozen" in fault.reason


def test_a_plan_in_which_more_ran_than_its_slots_name_takes_nothing_further() -> None:
    chain = Chain()
    held = chain.add("reserved", [part("nightly", 1)])
    chain.add("opening", [{"mechanism": {"type": "pure", "epsilon": "1"}, "units": 1}])
    chain.add("posted", [part("nightly", 1)], resolves=held)
    assert chain.walked().fault is None
    chain.add("reserved", [part("nightly", 1)])
    fault = chain.walked().fault
    assert fault is not None
    assert (fault.seq, "takes nothing further" in fault.reason) == (5, True)


@pytest.mark.parametrize("policy", [{"accountant": "plan-pld/1"}, {**PLAN, "slots": "many"}])
def test_a_plan_without_readable_slots_holds_nothing(policy: Mapping[str, Any]) -> None:
    chain = Chain(policy)
    chain.add("reserved", [part("nightly", 1)])
    assert chain.walked().fault is not None


def test_the_order_of_reservations_and_their_ends_does_not_matter() -> None:
    draw = random.Random(7)
    moves = [({"a": draw.randint(0, 3), "b": draw.randint(0, 3)}) for _ in range(40)]
    totals = set()
    for _ in range(5):
        draw.shuffle(moves)
        units = PlanUnits()
        for each in moves:
            units = units.reserve(each)
        for each in sorted(moves, key=str):
            units = units.resolve(each, {name: count // 2 for name, count in each.items()})
        totals.add(str(units.to_json()))
        assert units.reserved == {}
    assert len(totals) == 1


def test_units_are_stored_and_read_back_exactly_and_never_below_nothing() -> None:
    units = PlanUnits({"a": 2**41}, {"b": 1})
    assert PlanUnits.from_json(units.to_json()) == units
    assert units.held == {"a": 2**41, "b": 1}
    with pytest.raises(ValueError, match="below 0"):
        PlanUnits.from_json({"reserved": {"a": -1}, "posted": {}})
    with pytest.raises(ValueError, match="below 0"):
        units.resolve({"a": 1}, {"a": 2})
    with pytest.raises(KeyError):
        units_by_slot([{"units": 1}])
