"""A budget with blocks agrees with a plain ledger of one loss a block (R8, L1)."""

import random
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.domain.accounting.filters import policy_from_json
from app.domain.errors import BudgetExceeded
from app.domain.partitions import Ranges, indices
from app.domain.privacy import Loss
from tests.divided import held, loss, shown
from tests.world import World

MECHANISMS: list[dict[str, Any]] = [
    {"type": "gaussian", "noise_multiplier": "4"},
    {"type": "pure", "epsilon": "0.3"},
    {"type": "approximate", "epsilon": "0.2", "delta": "2e-8"},
    {
        "type": "poisson_sampled",
        "rate": "0.02",
        "of": {"type": "gaussian", "noise_multiplier": "0.7"},
    },
]


def test_random_jobs_agree_with_a_plain_ledger_of_one_loss_a_block(days: World) -> None:
    against_a_plain_ledger(days, random.Random(0), steps=16)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 11))
def test_many_random_jobs_agree_with_a_plain_ledger(days: World, seed: int) -> None:
    against_a_plain_ledger(days, random.Random(seed), steps=60)


def against_a_plain_ledger(world: World, chance: random.Random, *, steps: int) -> None:
    """Reserve, start, commit, void at random in two allocations; nothing is ever overspent (L1).

    The plain ledger is one `Loss` a scope and block, and its own filter's word on each.
    """
    mixed = {"accountant": "rdp-mix/1", "delta": "1e-6"}
    root = world.open_root(epsilon="1.5", **mixed)
    leaves = [world.open_allocation(root, epsilon, **mixed) for epsilon in ("0.9", "1.2")]
    scopes = [root, *leaves]
    policies = {each: policy_from_json(world.budget(each).policy) for each in scopes}
    plain = {(scope, block): Loss.zero() for scope in scopes for block in range(10)}
    under_way: list[tuple[UUID, UUID, Ranges, dict[str, Any], int]] = []
    runner = replace(world.engineer, is_runner=True)
    admitted = refused = 0
    for _ in range(steps):
        if under_way and chance.random() < 0.4:
            reservation, leaf, ranges, mechanism, units = under_way.pop(
                chance.randrange(len(under_way))
            )
            started = chance.randint(0, units)
            if started:
                world.reservations.start(runner, reservation, 1, 0, started)
                world.reservations.commit(runner, reservation, 1, None)
            else:
                world.reservations.void(runner, reservation, 1, "no private row was read")
            given_back = loss(mechanism, units)
            if started:
                given_back = given_back - loss(mechanism, started)
            for scope in (root, leaf):
                for block in indices(ranges):
                    plain[scope, block] = plain[scope, block] - given_back
            continue
        leaf, mechanism = chance.choice(leaves), chance.choice(MECHANISMS)
        units, first = chance.randint(1, 6), chance.randrange(10)
        ranges = ((first, chance.randrange(first, 10)),)
        asked = loss(mechanism, units)
        fits = all(
            policies[scope].admits(plain[scope, block] + asked)
            for scope in (root, leaf)
            for block in indices(ranges)
        )
        try:
            made = world.reserve(leaf, mechanism, units, who=runner, blocks=ranges)
        except BudgetExceeded:
            assert not fits
            refused += 1
            continue
        assert fits
        admitted += 1
        under_way.append((UUID(made["id"]), leaf, ranges, mechanism, units))
        for scope in (root, leaf):
            for block in indices(ranges):
                plain[scope, block] = plain[scope, block] + asked
    assert admitted
    assert refused
    for (scope, block), expected in plain.items():
        assert held(world, scope, block) == expected
        assert policies[scope].admits(expected)
    for scope in scopes:
        figures = [policies[scope].consumed(plain[scope, block]) for block in range(10)]
        document = shown(world, scope)
        worst = max(figures, key=lambda each: Decimal(each.epsilon))
        assert document["consumed"]["epsilon"] == worst.epsilon
        assert figures[document["worst_block"] or 0].epsilon == worst.epsilon
    assert world.verified()
