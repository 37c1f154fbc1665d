"""What the racing threads were told, against what the ledger holds: to the last unit (L1, L4)."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.models import Budget, Reservation
from app.db.repositories import entries as entry_rows
from app.db.session import snapshot
from app.domain.accounting.block_sums import CHARGING, BlockSums
from app.domain.accounting.filters import policy_from_json
from app.domain.accounting.prices import price
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.partitions import ranges_from_json
from app.domain.privacy import Loss
from app.services import policies
from app.services.policies import is_within
from tests.races.requests import Reserve, reserve_of
from tests.races.scene import CLOSED_DAYS, Scene
from tests.world import World

Told = list[dict[str, Any]]


def answers_by_key(told: Told) -> dict[str, dict[str, Any]]:
    """The one answer of each key; no two keys were told the same reservation (R16)."""
    answers: dict[str, dict[str, Any]] = {}
    for each in told:
        if each["act"] == "reserve":
            first = answers.setdefault(each["key"], each)
            assert first["answer"] == each["answer"], f"two answers under one key: {first} {each}"
    ids = Counter(each["id"] for each in answers.values() if "id" in each)
    assert max(ids.values()) == 1, "one reservation under two keys"
    return answers


def ends_by_reservation(told: Told) -> dict[str, dict[str, Any]]:
    """How each reservation ended; whoever ended it once more was told the same, or refused (L6)."""
    ends: dict[str, dict[str, Any]] = {}
    for each in told:
        if each.get("outcome") in ("posted", "voided"):
            facts = {name: each[name] for name in ("outcome", "charged_units")}
            assert ends.setdefault(each["id"], facts) == facts, "ended in two ways"
    for each in told:
        end = ends.get(each.get("id", ""))
        if end is not None and each.get("outcome") == "touched":
            assert end["outcome"] == "posted"
            assert each["started_units"] <= end["charged_units"][0], "a started unit is free"
    return ends


def assert_sums_are_those_told(world: World, scene: Scene, seed: int, told: Told) -> None:
    """Committed and reserved of every scope, and of every block, are the sums of the answers."""
    answers, ends = answers_by_key(told), ends_by_reservation(told)
    admitted = {each["id"]: each["number"] for each in answers.values() if "id" in each}
    with snapshot(world.make_session) as session:
        assert session.scalar(select(func.count()).select_from(Reservation)) == len(admitted)
        budgets = list(session.scalars(select(Budget)))
        scopes = {leaf: _scopes(session, UUID(scene.budgets[leaf])) for leaf in scene.budgets}
        committed: dict[UUID, Counter[Charge]] = defaultdict(Counter)
        reserved: dict[UUID, Counter[Charge]] = defaultdict(Counter)
        for reservation_id, number in admitted.items():
            asked, end = reserve_of(seed, number), ends.get(reservation_id)
            if end is not None and end["outcome"] == "voided":
                continue
            sums = reserved if end is None else committed
            units = asked.max_units if end is None else end["charged_units"][0]
            for budget_id, blocks in _charged(asked, scopes).items():
                sums[budget_id][json.dumps(asked.mechanism), units, blocks] += 1
        for budget in budgets:
            mine, held = committed[budget.id], reserved[budget.id]
            assert budget.committed == total(mine), budget.name
            assert budget.reserved == total(held), budget.name
            if budget.block_sums is not None:
                _assert_blocks(budget.block_sums, mine, held)


Charge = tuple[str, int, frozenset[int]]


def total(charges: Mapping[Charge, int], block: int | None = None) -> Loss:
    """The exact sum of charges, or of those that one block bears whole (R8)."""
    chosen = ((key, count) for key, count in charges.items() if block is None or block in key[2])
    losses = ([loss_of(mechanism, units)] * count for (mechanism, units, _), count in chosen)
    return sum(chain.from_iterable(losses), Loss.zero())


@lru_cache(maxsize=1000)
def loss_of(mechanism: str, units: int) -> Loss:
    return price(parse_mechanism(json.loads(mechanism)), "add_remove").charge(units)


def _scopes(session: Session, leaf: UUID) -> list[UUID]:
    """A leaf, its ancestors, and the periods of the windows that limit one of them."""
    path = []
    at: UUID | None = leaf
    while at is not None:
        path.append(at)
        at = session.get_one(Budget, at).parent_id
    windows = select(Budget.id).where(Budget.kind == "window", Budget.parent_id.in_(path))
    periods = select(Budget.id).where(Budget.kind == "period", Budget.parent_id.in_(windows))
    return path + list(session.scalars(periods))


def _charged(asked: Reserve, scopes: Mapping[str, list[UUID]]) -> dict[UUID, frozenset[int]]:
    charged: dict[UUID, frozenset[int]] = {}
    for leaf, blocks in asked.leaves:
        ranges: Iterable[tuple[int, int]] = ((0, CLOSED_DAYS - 1),) if blocks == "all" else blocks
        days = frozenset(day for first, last in ranges for day in range(first, last + 1))
        charged |= dict.fromkeys(scopes[leaf], days)
    return charged


def _assert_blocks(
    sums: BlockSums, committed: Mapping[Charge, int], reserved: Mapping[Charge, int]
) -> None:
    for block in range(CLOSED_DAYS):
        mine, held = total(committed, block), total(reserved, block)
        if block >= len(sums):
            assert mine + held == Loss.zero(), block
            continue
        assert sums.committed.loss_of(block) == mine, block
        assert sums.held.loss_of(block) == mine + held, block


def assert_never_overspent(world: World) -> int:
    """Walk every chain and ask its filter after each entry, at the limit that was then in force.

    Returns:
        How many entries were walked.
    """
    walked = 0
    with snapshot(world.make_session) as session:
        for budget in list(session.scalars(select(Budget).where(Budget.last_seq > 0))):
            assert policies.passes(budget), budget.name
            walked += _walk(session, budget.id, has_blocks=budget.block_sums is not None)
    return walked


def _walk(session: Session, budget_id: UUID, *, has_blocks: bool) -> int:
    held, policy, walked = Loss.zero(), None, 0
    sums = BlockSums.empty() if has_blocks else None
    open_: dict[str, Loss] = {}
    for entry in entry_rows.chain(session, budget_id):
        body = json.loads(entry.body)
        kind, facts = body["kind"], body["facts"]
        charge = Loss.from_json(body["charge"])
        walked += 1
        if "policy" in facts:
            policy = policy_from_json(facts["policy"])
        if kind in CHARGING:
            freed = Loss.zero() if kind == "reserved" else open_.pop(body["resolves"])
            held = (held + charge) - freed
            ranges = None if sums is None else ranges_from_json(facts["blocks"])
            if kind == "reserved":
                open_[body["id"]] = charge
                if sums is not None and ranges is not None:
                    sums = sums.reserve(charge, ranges)
            elif sums is not None and ranges is not None:
                sums = sums.resolve(freed, charge, ranges)
        assert policy is not None
        assert is_within(policy, held, sums), f"{budget_id} overspent at {entry.seq}"
    return walked
