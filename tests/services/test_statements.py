"""Statements of the service: what they gather agrees with the ledger and with its timeline."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.domain.errors import InvalidParameter
from app.domain.privacy import ORDERS
from app.reporting.report import build
from app.services import statements as statement_service
from app.services import timeline as timeline_service
from app.services.statements import AUDIENCES, statement
from app.services.timeline import timeline
from tests.divided import spend
from tests.planned import open_plan
from tests.reported import gathered, settle, signed_by
from tests.services.test_windows import Clock, clock  # noqa: F401 - a fixture
from tests.world import World

PURE = {"type": "pure", "epsilon": "0.01"}
GAUSSIAN = {"type": "gaussian", "noise_multiplier": "30"}


def said(world: World, budget: UUID, audience: str) -> dict[str, Any]:
    return statement(world.make_session, world.people["auditor"], budget, audience)


@pytest.mark.parametrize("weeks", [2, 4, 7])
def test_the_officer_s_forecast_is_that_of_the_timeline(
    world: World,
    clock: Clock,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
    weeks: int,
) -> None:
    for module in (timeline_service, statement_service):
        monkeypatch.setattr(module, "database_now", clock.now)
    root = world.open_root(epsilon="1")
    for _ in range(weeks):
        reserved = UUID(world.reserve(root, PURE, 5)["id"])
        world.reservations.commit(world.engineer, reserved, 1, None)
        clock.move(days=7)
    found = said(world, root, "officer")["forecast"]
    shown = timeline(world.make_session, world.people["auditor"], root)
    assert found["exhausted_on"] == shown["forecast"]["exhausted_at"][:10]
    points = [Decimal(point["consumed"]) for point in shown["points"]]
    # of four weeks and more, one charge is as old as the days of the pace
    before = points[-4] if weeks >= 4 else 0
    assert Decimal(found["pace_epsilon"]) == points[-1] - before


def test_a_budget_without_charges_is_told_without_an_end(world: World) -> None:
    root = world.open_root()
    found = said(world, root, "officer")
    assert found["forecast"] == {"pace_days": 28, "pace_epsilon": "0", "exhausted_on": None}


def test_a_pace_of_too_many_charges_is_not_drawn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement_service, "CHARGES_MOST", 1)
    root = world.open_root()
    for _ in range(2):
        reserved = UUID(world.reserve(root, PURE, 1)["id"])
        world.reservations.commit(world.engineer, reserved, 1, None)
    assert said(world, root, "officer")["forecast"] is None


def test_what_waits_for_a_second_person_is_the_decision_that_is_needed(world: World) -> None:
    root = world.open_root(epsilon="1")
    assert said(world, root, "officer")["decisions"] == []
    asked = world.change(root, "raise", epsilon=Decimal(2))
    assert said(world, root, "officer")["decisions"] == [f"approval:{asked['approval_id']} (raise)"]
    world.decide(UUID(asked["approval_id"]), "approve")
    assert said(world, root, "officer")["decisions"] == []


def test_the_auditor_is_told_what_the_ledger_sums(world: World) -> None:
    root = world.open_root("rdp-mix/1", "2", "1e-6")
    world.reserve(root, GAUSSIAN, 9)
    found = said(world, root, "auditor")
    held = world.budget(root).reserved
    assert found["native"]["summed 1/noise^2"] == "0.010000000000000001"
    assert "summed worst-case epsilon" not in found["native"]
    nats = Decimal(held.nats_2p40[ORDERS.index(8)]) / 2**40
    assert nats <= Decimal(found["native"]["nats at order 8"]) <= nats * Decimal("1.00001")
    assert found["policy_version"].startswith("rdp-mix/1")
    assert found["replay"] is None


def test_no_statement_is_written_for_anybody_else(world: World) -> None:
    root = world.open_root()
    with pytest.raises(InvalidParameter) as refused:
        said(world, root, "press")
    assert "subject, officer, auditor" in refused.value.reason


# what a report knows beside what is asked of one budget, and when each was written
ONLY_IN_REPORTS = {
    "as_of",
    "band",
    "criteria_failed",
    "criteria_not_evaluated",
    "criteria_partly_satisfied",
    "cross_check",
    "decisions",
    "exceptions",
    "forecast",
    "justification",
    "largest_uses",
    "libraries",
    "not_evaluated",
    "proven_bound_at_second_delta",
    "remaining",
    "replay",
    "reserved",
    "committed",
    "consumed",
    "samplers",
    "text",
    "timeline",
}


def agreeing(world: World, root: UUID) -> None:
    """The statements of a report and of the service say the same of one signed head."""
    built = build(gathered(world))["statements"]
    for audience in AUDIENCES:
        here, there = said(world, root, audience), built[audience]
        assert here.keys() == there.keys()
        for key in here.keys() - ONLY_IN_REPORTS:
            assert here[key] == there[key], (audience, key)
        shared = [line for line in here["text"] if line in there["text"]]
        assert len(shared) >= len(here["text"]) - 4
        for name in ("remaining", "committed", "reserved"):
            if name in here:
                assert here[name]["epsilon"] == there[name]["epsilon"]


def test_a_report_s_statements_agree_with_those_of_the_service(
    world: World, tmp_path: Path
) -> None:
    root = world.open_root("rdp-mix/1", "4", "1e-6")
    made = world.reserve(root, GAUSSIAN, 5)
    world.reservations.commit(world.engineer, UUID(made["id"]), 1, None)
    settle(world, world.submit(root)["id"])
    world.reserve(root, GAUSSIAN, 2)
    asked = world.change(root, "raise", epsilon=Decimal(5))
    world.decide(UUID(asked["approval_id"]), "approve")
    open_plan(world, root)
    signed_by(world, tmp_path).make()
    agreeing(world, root)


@pytest.mark.parametrize("audience", AUDIENCES)
def test_a_scope_below_says_how_the_limit_above_it_was_raised(world: World, audience: str) -> None:
    root = world.open_root("rdp-mix/1", "4", "1e-6")
    team = world.open_allocation(root, "1", accountant="rdp-mix/1", delta="1e-7")
    plan = open_plan(world, root)
    asked = world.change(root, "raise", epsilon=Decimal(5))
    world.decide(UUID(asked["approval_id"]), "approve")
    for scope in (team, plan):
        lines = said(world, scope, audience)["text"]
        assert any(re.match("lifetime limit raised on .* from 4 to 5", line) for line in lines)
    assert not any("lifetime limit" in line for line in said(world, root, audience)["text"])


def test_they_agree_on_blocks_as_well(days: World, tmp_path: Path) -> None:
    root = days.open_root()
    spend(days, root, 4, ((0, 1),))
    spend(days, root, 3, ((1, 2),))
    signed_by(days, tmp_path).make()
    agreeing(days, root)
    line = build(gathered(days))["statements"]["officer"]["timeline"]
    assert line[-1]["consumed"] == said(days, root, "officer")["committed"]["epsilon"]
