"""A run whose canaries refute its claim freezes its root; one that looks odd is told of (R26)."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.db.models import Notification
from app.db.session import database_now, snapshot, transaction
from app.domain.canaries import LEVEL
from app.services import settlement
from app.services.refutations import REFUTED, level_of
from tests.services.test_settlement import claimed, root, submitted, world
from tests.world import World

__all__ = ["root", "world"]


def post(world: World, root: UUID, audit: Any) -> UUID:
    """A run of some steps that posts a result with this audit."""
    job_id = submitted(world, root)
    held = claimed(world, job_id)
    with transaction(world.make_session) as session:
        settlement.start(session, held, 0, 10, now=database_now(session))
    with transaction(world.make_session) as session:
        document = {"audit": audit}
        settlement.post(session, held, document=document, artifacts=[], now=database_now(session))
    return job_id


def told(world: World, kind: str) -> list[dict[str, Any]]:
    with snapshot(world.make_session) as session:
        rows = session.scalars(select(Notification).where(Notification.kind == kind))
        return [row.facts for row in rows]


@pytest.mark.parametrize("audit", [None, {}, {"p_value": 0.5}, {"p_value": None}, "consistent"])
def test_a_run_that_agrees_with_its_claim_moves_nothing(
    world: World, root: UUID, audit: Any
) -> None:
    post(world, root, audit)
    assert world.budget(root).state == "open"
    assert told(world, "audit") == []


def test_a_refuted_run_freezes_the_root_once_and_names_itself(world: World, root: UUID) -> None:
    job_id = post(world, root, {"p_value": 1e-9})
    assert world.budget(root).state == "frozen"
    (said,) = [body for body in world.bodies(root) if body["kind"] == "frozen"]
    assert (said["actor"], said["facts"]["reason"]) == ("canaries", REFUTED)
    assert said["facts"]["job_id"] == str(job_id)
    assert [each["job_id"] for each in told(world, "audit")] == [str(job_id)]
    assert [each["cause"] for each in told(world, "frozen")] == [REFUTED]
    # its result is released and its spend is posted all the same (L2)
    assert world.jobs.result(world.engineer, job_id)["audit"]["p_value"] == 1e-9
    assert world.verified()


def test_a_run_that_looks_odd_is_told_of_and_freezes_nothing(world: World, root: UUID) -> None:
    post(world, root, {"p_value": 0.001})
    assert world.budget(root).state == "open"
    assert [each["p_value"] for each in told(world, "audit")] == ["0.001"]


def test_the_level_is_shared_by_the_runs_of_a_month(world: World, root: UUID) -> None:
    assert sum(level_of(run) for run in range(1, 100_000)) < LEVEL
    refuted_alone = level_of(1) * 0.5
    assert level_of(2) < refuted_alone
    post(world, root, {"p_value": 0.9})
    post(world, root, {"p_value": refuted_alone})
    assert world.budget(root).state == "open"
    post(world, root, {"p_value": level_of(3) * 0.5})
    assert world.budget(root).state == "frozen"
