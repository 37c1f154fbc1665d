"""Changes and admissions that meet on one tree: no wait without end, no sum astray (L1, L4)."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import UUID

from app.domain.errors import BudgetExceeded, DomainError, VersionMismatch
from app.domain.privacy import Loss
from app.services import policies
from app.services.opening import OpeningRequest, Openings
from tests.world import World, keyed

PURE = {"type": "pure", "epsilon": "0.01"}
ROUNDS = 6


def test_raises_lowers_transfers_and_earlier_spend_meet_admissions_and_every_sum_stays_right(
    world: World,
) -> None:
    root = world.open_root(epsilon="3")
    teams = [world.open_allocation(root, "1") for _ in range(3)]
    unexpected: list[Exception] = []

    def tried(step: int) -> None:
        team, other = teams[step % 3], teams[(step + 1) % 3]
        try:
            if step % 4 == 0:
                earlier_spend(team)
            elif step % 4 == 1:
                world.change(team, "transfer", to=other, epsilon=Decimal("0.01"))
            elif step % 4 == 2:
                asked = world.change(root, "raise", epsilon=Decimal(3 + step))
                world.decide(UUID(asked["approval_id"]), "approve")
            else:
                world.change(team, "lower", epsilon=Decimal("0.9"))
        except (DomainError, VersionMismatch):
            return  # somebody else was first: a refusal, which costs nothing
        except Exception as error:
            unexpected.append(error)

    def earlier_spend(team: UUID) -> None:
        officer = world.people["officer"]
        asked = Openings(world.make_session).ask(
            officer,
            team,
            OpeningRequest(reason="before", evidence_sha256="e" * 64, epsilon="0.02"),
            if_version=world.budget(team).version,
            keyed=keyed(officer, "opening", {}),
        )
        world.decide(UUID(asked["approval_id"]), "approve")

    def admit(step: int) -> None:
        try:
            made = world.reserve(teams[step % 3], PURE, 1)
            if step % 2:
                world.reservations.commit(world.engineer, UUID(made["id"]), made["fence"], None)
        except BudgetExceeded:
            return
        except Exception as error:
            unexpected.append(error)

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(tried, step) for step in range(4 * ROUNDS)]
        waiting += [pool.submit(admit, step) for step in range(8 * ROUNDS)]
        for each in waiting:
            each.result(timeout=60)

    assert unexpected == []
    assert world.verified()
    total = Loss.zero()
    for team in teams:
        budget = world.budget(team)
        held = budget.committed + budget.reserved
        assert policies.policy_of(budget).admits(held)
        total = total + held
    top = world.budget(root)
    assert top.committed + top.reserved == total
