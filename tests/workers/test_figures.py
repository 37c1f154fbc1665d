"""What a job alone comes to, fixed in advance, stands beside its bound, not in its place (R11)."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.db.session import make_engine, make_session_maker
from app.settings import Settings
from tests.world import COUNT_QUERY, World, new_world
from workers.context import Context
from workers.running import run_job

MEASURES = [
    {"fn": "count"},
    {"fn": "sum", "col": "value", "lo": "0", "hi": "10", "grid": "1"},
]


@pytest.fixture
def world(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    engine = make_engine(sqlite_url)
    with new_world(make_session_maker(engine), tmp_path) as made:
        yield made
    engine.dispose()


def result_of(world: World, root: UUID, url: str, *, measures: int) -> dict[str, Any]:
    spec = {
        **COUNT_QUERY,
        "measures": MEASURES[:measures],
        "privacy": {"epsilon": "0.6", "delta": "0", "noise": "discrete_laplace"},
    }
    job_id = UUID(world.submit(root, spec)["id"])
    settings = Settings(database_url=url, home=world.home)
    run_job(Context(settings, world.make_session, "w", world.journal), job_id)
    found = world.jobs.result(world.engineer, job_id)
    assert world.jobs.get(world.engineer, job_id)["state"] == "settled"
    return found


def test_a_query_of_several_measures_says_what_they_come_to_together(
    world: World, sqlite_url: str
) -> None:
    root = world.open_root("rdp-mix/1", "8", "1e-5")
    figure = result_of(world, root, sqlite_url, measures=2)["if_fixed_in_advance"]
    # two halves of 0.6: together not above the sum, and not below either of them
    assert Decimal("0.3") <= Decimal(figure["epsilon"]) <= Decimal("0.6001")
    assert (figure["delta"], "alone" in figure["method"]) == ("0.00001", True)
    consumed = world.budgets.get(world.people["auditor"], root)["consumed"]["epsilon"]
    assert Decimal(figure["epsilon"]) <= Decimal(consumed) * Decimal("1.001")


def test_a_query_of_one_measure_has_nothing_to_compose(world: World, sqlite_url: str) -> None:
    root = world.open_root("rdp-mix/1", "8", "1e-5")
    assert "if_fixed_in_advance" not in result_of(world, root, sqlite_url, measures=1)
