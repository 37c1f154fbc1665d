"""Timelines: what is shown of the past is what the entries charged, and the forecast follows."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from app.domain.errors import NotFound
from app.services import timeline as timeline_service
from app.services.timeline import timeline
from tests.services.test_windows import Clock, clock  # noqa: F401 - a fixture
from tests.world import World

PURE = {"type": "pure", "epsilon": "0.01"}


def test_a_timeline_ends_at_what_the_budget_shows_and_forecasts_from_its_pace(
    world: World,
    clock: Clock,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timeline_service, "database_now", clock.now)
    root = world.open_root(epsilon="1")
    for _ in range(4):
        reserved = UUID(world.reserve(root, PURE, 5)["id"])
        world.reservations.commit(world.engineer, reserved, 1, None)
        clock.move(days=7)
    officer = world.people["officer"]
    shown = timeline(world.make_session, officer, root)
    assert [point["consumed"] for point in shown["points"]] == ["0.05", "0.1", "0.15", "0.2"]
    committed = world.budgets.get(officer, root)["committed"]["epsilon"]
    assert Decimal(shown["points"][-1]["consumed"]) == Decimal(committed)
    # 0.15 in the 28 days after the first: 0.8 more takes 149
    reached = datetime.fromisoformat(shown["forecast"]["exhausted_at"])
    assert abs((reached - clock.at).days - 149) <= 1
    assert reached.tzinfo == UTC or reached.utcoffset() is not None


def test_a_timeline_of_a_hidden_budget_does_not_exist(world: World) -> None:
    root = world.open_root()
    with pytest.raises(NotFound):
        timeline(world.make_session, world.people["outsider"], root)
