"""Admission: no scope is ever overspent, a refusal is free and explains itself (L1, L5, R12)."""

from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text

from app.db.models import Entry, IdempotencyKey, Job, OutboxMessage, Reservation
from app.db.session import snapshot, transaction
from app.domain.errors import (
    BudgetExceeded,
    IdempotencyKeyReused,
    InvalidParameter,
    NotAllowed,
    NotFound,
    ReplayedRefusal,
    ScopeClosed,
)
from app.domain.privacy import Loss
from app.services.admission import QuoteRequest
from tests.world import COUNT_QUERY, World

PURE = {"type": "pure", "epsilon": "0.01"}
GAUSSIAN = {"type": "gaussian", "noise_multiplier": "20"}


def counts(world: World) -> dict[str, int]:
    tables = {"jobs": Job, "reservations": Reservation, "entries": Entry, "outbox": OutboxMessage}
    with snapshot(world.make_session) as session:
        return {
            name: session.scalar(select(func.count()).select_from(table)) or 0
            for name, table in tables.items()
        }


def test_exactly_a_hundred_hundredths_fit_a_pure_budget_of_one(world: World) -> None:
    root = world.open_root()
    for _ in range(100):
        world.reserve(root, PURE, 1)
    with pytest.raises(BudgetExceeded) as refused:
        world.reserve(root, PURE, 1)
    assert refused.value.fits["max_units"] == 0
    assert refused.value.left == {"epsilon": "0", "delta": "0"}
    assert world.budget(root).reserved.maximum_atto == 10**18
    assert world.verified()


def test_one_pure_job_of_epsilon_one_fits_an_empty_mixture_budget(world: World) -> None:
    root = world.open_root("rdp-mix/1", "1", "1e-6")
    shown = world.budgets.get(world.people["officer"], root)
    assert shown["consumed"] == {"epsilon": "0", "delta": "0"}
    world.reserve(root, {"type": "pure", "epsilon": "1"}, 1)
    assert Decimal(world.budgets.get(world.people["officer"], root)["consumed"]["epsilon"]) == 1


def test_four_quarters_fit_a_mixture_budget_of_one_and_a_fifth_does_not(world: World) -> None:
    root = world.open_root("rdp-mix/1", "1", "1e-6")
    for _ in range(4):
        world.reserve(root, {"type": "pure", "epsilon": "0.25"}, 1)
    with pytest.raises(BudgetExceeded):
        world.reserve(root, {"type": "pure", "epsilon": "0.25"}, 1)


def test_what_a_refusal_says_would_fit_does_fit_and_one_unit_more_does_not(world: World) -> None:
    root = world.open_root("rdp-mix/1", "1", "1e-6")
    with pytest.raises(BudgetExceeded) as refused:
        world.reserve(root, GAUSSIAN, 1000)
    units, noise = (
        refused.value.fits["max_units"],
        refused.value.fits["noise_multiplier_at_asked_units"],
    )
    assert isinstance(units, int)
    assert 0 < units < 1000
    with pytest.raises(BudgetExceeded):
        world.reserve(root, GAUSSIAN, units + 1)
    reserved = world.reserve(root, GAUSSIAN, units)
    assert reserved["state"] == "reserved"
    world.reservations.void(world.engineer, UUID(reserved["id"]), 1, "no private row was read")
    world.reserve(root, {"type": "gaussian", "noise_multiplier": noise}, 1000)
    assert world.verified()


def test_a_refused_query_is_told_the_epsilon_that_fits_and_it_does(world: World) -> None:
    root = world.open_root(epsilon="0.5")
    world.reserve(root, PURE, 13)
    too_much = {**COUNT_QUERY, "privacy": {**COUNT_QUERY["privacy"], "epsilon": "0.6"}}
    with pytest.raises(BudgetExceeded) as refused:
        world.submit(root, too_much)
    epsilon = refused.value.fits["epsilon"]
    assert epsilon == "0.37"
    world.submit(root, {**COUNT_QUERY, "privacy": {**COUNT_QUERY["privacy"], "epsilon": epsilon}})


def test_every_scope_of_the_path_admits_or_none_is_charged(world: World) -> None:
    root = world.open_root(epsilon="1")
    wide, narrow = world.open_allocation(root, "1"), world.open_allocation(root, "0.05")
    before = counts(world)
    with pytest.raises(BudgetExceeded) as refused:
        world.reserve(narrow, PURE, 6)
    assert refused.value.scope["budget_id"] == str(narrow)
    assert refused.value.fits["max_units"] == 5
    assert counts(world) == before
    assert world.budget(root).reserved == Loss.zero()
    world.reserve(wide, PURE, 98)
    with pytest.raises(BudgetExceeded) as by_root:
        world.reserve(narrow, PURE, 3)
    assert by_root.value.scope["budget_id"] == str(root)
    assert by_root.value.fits["max_units"] == 2


def test_a_refusal_leaves_no_row_but_its_key_and_one_audit_row(world: World) -> None:
    root = world.open_root(epsilon="0.001")
    before = counts(world)
    with snapshot(world.make_session) as session:
        audits = session.scalar(text("SELECT count(*) FROM audit_events"))
        keys = session.scalar(select(func.count()).select_from(IdempotencyKey))
    with pytest.raises(BudgetExceeded):
        world.submit(root)
    assert counts(world) == before
    with snapshot(world.make_session) as session:
        assert session.scalar(text("SELECT count(*) FROM audit_events")) == (audits or 0) + 1
        assert session.scalar(select(func.count()).select_from(IdempotencyKey)) == (keys or 0) + 1


def test_a_repeated_key_gives_the_first_answer_and_charges_nothing_more(world: World) -> None:
    root = world.open_root()
    first = world.submit(root, key="k1")
    held = world.budget(root).reserved
    assert world.submit(root, key="k1") == first
    assert world.budget(root).reserved == held
    with pytest.raises(IdempotencyKeyReused):
        other = {**COUNT_QUERY, "privacy": {**COUNT_QUERY["privacy"], "epsilon": "0.02"}}
        world.submit(root, other, key="k1")


def test_a_refusal_is_replayed_even_when_room_has_come_back(world: World) -> None:
    root = world.open_root(epsilon="0.05")
    blocking = world.reserve(root, PURE, 5)
    with pytest.raises(BudgetExceeded):
        world.reserve(root, PURE, 1, key="k2")
    world.reservations.void(world.engineer, UUID(blocking["id"]), 1, "no private row was read")
    with pytest.raises(ReplayedRefusal) as replayed:
        world.reserve(root, PURE, 1, key="k2")
    assert replayed.value.document["code"] == "budget-exceeded"
    world.reserve(root, PURE, 1, key="k3")


def test_a_hidden_ancestor_is_not_named_and_its_figures_are_not_told(world: World) -> None:
    root = world.open_root(epsilon="1")
    hidden = world.open_allocation(root, "0.02")
    mine = world.open_allocation(hidden, "1")
    with transaction(world.make_session) as session:
        session.execute(
            text("UPDATE budgets SET holder_project_id = NULL WHERE id = :id"),
            {"id": hidden.hex if session.get_bind().dialect.name == "sqlite" else hidden},
        )
        session.execute(
            text("INSERT INTO projects (id, name, created_at) VALUES (:id, 'other', '2026-01-01')"),
            {"id": uuid4().hex},
        )
        session.execute(
            text(
                "UPDATE budgets SET holder_project_id = "
                "(SELECT id FROM projects WHERE name = 'other') WHERE id = :id"
            ),
            {"id": hidden.hex if session.get_bind().dialect.name == "sqlite" else hidden},
        )
    with pytest.raises(BudgetExceeded) as refused:
        world.reserve(mine, PURE, 3)
    assert refused.value.scope == {"kind": "an ancestor"}
    assert refused.value.left == {}
    assert refused.value.asked == {"units": 3}
    assert refused.value.fits["max_units"] == 2


def test_a_proposed_budget_admits_nothing(world: World) -> None:
    proposed = UUID(world.propose_root()["id"])
    with pytest.raises(ScopeClosed) as refused:
        world.submit(proposed)
    assert refused.value.state == "proposed"


def test_only_an_engineer_of_the_project_may_charge(world: World) -> None:
    root = world.open_root()
    with pytest.raises(NotFound):
        world.reserve(root, PURE, 1, who=world.people["outsider"])
    for who in ("officer", "auditor", "admin"):
        with pytest.raises(NotAllowed):
            world.reserve(root, PURE, 1, who=world.people[who])


def test_a_quote_changes_nothing_and_agrees_with_the_admission(world: World) -> None:
    root = world.open_root("rdp-mix/1", "1", "1e-6")
    before = counts(world)
    parts = [{"mechanism": GAUSSIAN, "max_units": 10}]
    quote = world.admissions.quote(
        world.engineer, QuoteRequest(inputs=world.inputs(root), parts=parts)
    )
    assert counts(world) == before
    assert quote["admitted_now"] is True
    reserved = world.reserve(root, GAUSSIAN, 10)
    assert reserved["charges"][0]["asked"] == quote["charges"][0]["asked"]
    after = world.admissions.quote(
        world.engineer, QuoteRequest(inputs=world.inputs(root), parts=parts)
    )
    assert after["charges"][0]["remaining"] == quote["charges"][0]["remaining_after"]


def test_a_quote_of_what_has_no_room_says_nothing_of_what_would_be_left(world: World) -> None:
    root = world.open_root(epsilon="1")
    parts = [{"mechanism": PURE, "max_units": 1_000}]
    (charge,) = world.admissions.quote(
        world.engineer, QuoteRequest(inputs=world.inputs(root), parts=parts)
    )["charges"]
    assert (charge["fits"], charge["remaining_after"]) == (False, None)


@pytest.mark.parametrize("units", [0, -1, True, "3", None, 2**41])
def test_a_number_of_units_that_is_none_is_refused_with_its_pointer(
    world: World, units: object
) -> None:
    root = world.open_root()
    before = counts(world)
    with pytest.raises(InvalidParameter) as refused:
        world.reserve(root, PURE, units)  # type: ignore[arg-type]
    assert refused.value.pointer == "/parts/0/max_units"
    assert counts(world) == before
