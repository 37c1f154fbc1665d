"""Spend from before the service: two people, every scope above, and no limit that forgets it."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.db.models import Notification
from app.db.session import snapshot
from app.domain.accounting.prices import price
from app.domain.errors import (
    BudgetExceeded,
    InvalidParameter,
    MechanismNotPriced,
    NotAllowed,
    OwnChange,
    ScopeClosed,
    ThawRefused,
    VersionMismatch,
)
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Loss
from app.services.opening import OpeningRequest, Openings
from app.services.statements import statement
from tests.world import World, keyed

EVIDENCE = "e" * 64
PURE = {"type": "pure", "epsilon": "0.1"}
GAUSSIAN = {"type": "gaussian", "noise_multiplier": "20"}


def ask(world: World, budget_id: UUID, *, who: str = "officer", **spend: Any) -> dict[str, Any]:
    caller = world.people[who]
    request = OpeningRequest(reason="survey of 2024", evidence_sha256=EVIDENCE, **spend)
    return Openings(world.make_session).ask(
        caller,
        budget_id,
        request,
        if_version=world.budget(budget_id).version,
        keyed=keyed(caller, "opening", {"spend": str(spend)}),
    )


def put(world: World, budget_id: UUID, **spend: Any) -> None:
    asked = ask(world, budget_id, **spend)
    world.decide(UUID(asked["approval_id"]), "approve")


def test_earlier_spend_counts_only_once_a_second_officer_has_agreed(world: World) -> None:
    root = world.open_root("rdp-mix/1", "2", "1e-6")
    asked = ask(world, root, mechanism=GAUSSIAN, units=30)
    assert world.budget(root).committed == Loss.zero()
    with pytest.raises(OwnChange):
        world.decide(UUID(asked["approval_id"]), "approve", who="officer")
    world.decide(UUID(asked["approval_id"]), "approve")
    expected = price(parse_mechanism(GAUSSIAN), "add_remove").charge(30)
    assert world.budget(root).committed == expected
    entry = world.bodies(root)[-1]
    assert entry["kind"] == "opening"
    assert entry["facts"]["evidence_sha256"] == EVIDENCE
    assert entry["facts"]["requested_by"] == str(world.people["officer"].principal_id)
    assert entry["actor"] == str(world.people["second_officer"].principal_id)
    assert entry["parts"][0]["units"] == 30
    assert world.verified()


def test_earlier_spend_of_a_team_is_charged_to_all_scopes_above_it_and_to_no_sibling(
    world: World,
) -> None:
    root = world.open_root()
    team, other = (world.open_allocation(root, "0.5") for _ in range(2))
    below = world.open_allocation(team, "0.4")
    put(world, below, mechanism=PURE, units=2)
    charge = price(parse_mechanism(PURE), "add_remove").charge(2)
    assert [world.budget(each).committed for each in (root, team, below)] == [charge] * 3
    assert world.budget(other).committed == Loss.zero()
    world.reserve(below, PURE, 2)
    with pytest.raises(BudgetExceeded):
        world.reserve(below, PURE, 1)
    assert world.verified()


def test_spend_past_the_limit_is_charged_all_the_same_and_freezes_what_it_overruns(
    world: World,
) -> None:
    root = world.open_root()
    team = world.open_allocation(root, "0.3")
    asked = ask(world, team, mechanism=PURE, units=5)
    assert [scope["passes"] for scope in asked["effect"]["scopes"]] == [False, True]
    world.decide(UUID(asked["approval_id"]), "approve")
    assert (world.budget(team).state, world.budget(root).state) == ("frozen", "open")
    kinds = [entry["kind"] for entry in world.bodies(team)]
    assert kinds == ["opened", "opening", "frozen"]
    with pytest.raises(ScopeClosed):
        world.reserve(team, PURE, 1)
    with pytest.raises(ThawRefused) as refused:
        world.change(team, "thaw")
    assert Decimal(refused.value.least) == Decimal("0.5")
    world.change(team, "raise", epsilon=Decimal("0.6"))
    world.change(team, "thaw")
    world.reserve(team, PURE, 1)
    assert world.verified()


def test_a_root_that_earlier_spend_overran_thaws_only_after_two_people_raised_it(
    world: World,
) -> None:
    root = world.open_root()
    put(world, root, epsilon="1.5")
    assert world.budget(root).state == "frozen"
    with pytest.raises(ThawRefused):
        world.change(root, "thaw")
    raised = world.change(root, "raise", epsilon=Decimal(2))
    world.decide(UUID(raised["approval_id"]), "approve")
    thawed = world.change(root, "thaw")
    world.decide(UUID(thawed["approval_id"]), "approve")
    world.reserve(root, PURE, 5)
    with pytest.raises(BudgetExceeded):
        world.reserve(root, PURE, 1)


@pytest.mark.parametrize(
    ("spend", "kind"),
    [
        ({"epsilon": "0.5", "delta": "1e-7"}, "approximate"),
        ({"epsilon": "0.5", "delta": "0"}, "pure"),
        ({"epsilon": "0.5"}, "pure"),
    ],
)
def test_a_plain_pair_is_charged_as_the_mechanism_that_has_it(
    world: World, spend: dict[str, str], kind: str
) -> None:
    root = world.open_root("rdp-mix/1", "2", "1e-5")
    put(world, root, **spend)
    mechanism = world.bodies(root)[-1]["parts"][0]["mechanism"]
    assert mechanism["type"] == kind
    expected = price(parse_mechanism(mechanism), "add_remove").charge(1)
    assert world.budget(root).committed == expected


@pytest.mark.parametrize(
    "spend",
    [
        {},
        {"epsilon": "-1"},
        {"epsilon": "NaN"},
        {"delta": "1e-6"},
        {"epsilon": "1", "units": 2},
        {"epsilon": "1", "mechanism": PURE, "units": 1},
        {"mechanism": PURE},
        {"mechanism": PURE, "units": 0},
        {"mechanism": PURE, "units": -1},
        {"mechanism": PURE, "units": 2**41},
    ],
)
def test_spend_that_is_not_exactly_one_mechanism_or_pair_is_refused(
    world: World, spend: dict[str, Any]
) -> None:
    root = world.open_root()
    with pytest.raises(InvalidParameter):
        ask(world, root, **spend)


def test_spend_without_a_proven_price_in_the_dataset_s_relation_is_refused(world: World) -> None:
    root = world.open_root()
    tree = {"type": "tree_aggregation", "noise_multiplier": "10", "steps": 8}
    with pytest.raises(MechanismNotPriced):
        ask(world, root, mechanism=tree, units=1)


def test_nobody_but_an_officer_puts_earlier_spend_on_record(world: World) -> None:
    root = world.open_root()
    for who in ("engineer", "auditor", "admin"):
        with pytest.raises(NotAllowed):
            ask(world, root, who=who, epsilon="0.1")


def test_earlier_spend_agreed_at_another_version_is_not_charged(world: World) -> None:
    root = world.open_root()
    asked = ask(world, root, epsilon="0.1")
    world.change(root, "lower", epsilon=Decimal("0.9"))
    with pytest.raises(VersionMismatch):
        world.decide(UUID(asked["approval_id"]), "approve")
    assert world.budget(root).committed == Loss.zero()


def test_a_closed_root_still_takes_earlier_spend_and_stays_closed(world: World) -> None:
    root = world.open_root()
    world.change(root, "close")
    put(world, root, epsilon="0.4")
    after = world.budget(root)
    assert after.state == "closed"
    assert after.committed != Loss.zero()
    assert world.verified()


def test_the_statement_counts_earlier_spend_and_claims_no_smaller_delta_than_it_had(
    world: World,
) -> None:
    root = world.open_root("basic/1", "2", "1e-6")
    put(world, root, epsilon="0.5", delta="1e-5")
    assert world.budget(root).state == "frozen"
    said = statement(world.make_session, world.people["auditor"], root, "officer")
    assert said["proven_bound"]["epsilon"] == "0.5"
    assert Decimal(said["proven_bound"]["delta"]) >= Decimal("1e-5")
    assert any("before the service" in line for line in said["text"])


def test_officers_are_told_of_a_budget_that_was_frozen_and_of_what_waits(world: World) -> None:
    root = world.open_root()
    put(world, root, epsilon="3")
    with snapshot(world.make_session) as session:
        told = list(session.scalars(select(Notification.kind).order_by(Notification.id)))
    assert told.count("frozen") == 1
    assert told.count("approval") == 2
    assert told.count("threshold") == 3


def test_spend_beyond_what_a_block_can_hold_is_refused_by_name(days: World) -> None:
    """Two people put a number on record; where it does not fit they are told so (R2, R8)."""
    root = days.open_root("pure/1", "1")
    many: dict[str, Any] = {"type": "pure", "epsilon": "10000"}
    for _ in range(2):
        many = {"type": "repeated", "count": 2**40, "of": many}
    with pytest.raises(InvalidParameter) as refused:
        ask(days, root, mechanism=many, units=1)
    assert refused.value.pointer == "/units"
    put(days, root, mechanism={"type": "pure", "epsilon": "10000"}, units=2**20)
    assert days.budget(root).state == "frozen"
    assert days.verified()
