"""A plan is frozen before its first output, and nothing runs in it but its slots (R5, R10)."""

import threading
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DatabaseError

from app.db.models import Approval, Budget, OutboxMessage
from app.db.session import database_now, snapshot, transaction
from app.domain import tasks
from app.domain.accounting import plans as domain_plans
from app.domain.accounting.plan_units import PlanUnits
from app.domain.accounting.plans import plan_from_json
from app.domain.accounting.prices import charge_parts, price
from app.domain.errors import BudgetExceeded, InvalidParameter, ScopeClosed
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Limit, Loss
from app.domain.windows import parse_window
from app.services import opening, plans
from app.services.admission import Admissions, QuoteRequest
from app.services.entries import Entries
from app.services.opening import OpeningRequest, Openings
from app.services.placement import JobRequest
from app.services.pricing import InputRequest
from app.services.statements import statement
from app.services.sweep import sweep
from app.services.timeline import timeline
from app.services.writer import AdmissionWriter
from tests.planned import (
    COUNTS,
    SLOTS,
    TRAINING,
    open_plan,
    part,
    plan_request,
    propose_plan,
    reserve,
)
from tests.world import COUNT_QUERY, World, keyed


@pytest.fixture
def root(world: World) -> UUID:
    return world.open_root("rdp-mix/1", "8", "1e-5")


def charge(slot: str, units: int) -> Loss:
    mechanism = {each["name"]: each["mechanism"] for each in SLOTS}[slot]
    return price(parse_mechanism(mechanism), "add_remove").charge(units)


def read(world: World, budget_id: UUID) -> dict[str, Any]:
    return world.budgets.get(world.people["auditor"], budget_id)


def test_a_plan_is_accepted_at_once_and_opens_when_a_worker_has_composed_it(
    world: World, root: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    def composed_in_the_request(*_: object) -> None:
        raise AssertionError("half a second for each mechanism is not for a request")

    with monkeypatch.context() as patched:
        patched.setattr(domain_plans, "plan_epsilon", composed_in_the_request)
        patched.setattr(plans, "make_plan", composed_in_the_request)
        plan_id = propose_plan(world, root)
    with snapshot(world.make_session) as session:
        message = session.scalars(
            select(OutboxMessage).where(OutboxMessage.budget_id == plan_id)
        ).one()
        assert (message.task, message.queue) == (tasks.COMPOSE_PLAN, "reports")
    assert read(world, plan_id)["plan"]["state"] == "composing"
    with pytest.raises(ScopeClosed):
        reserve(world, plan_id, part("nightly", 1))

    plans.compose(world.make_session, plan_id)
    seen = read(world, plan_id)
    assert (seen["state"], seen["plan"]["state"]) == ("open", "frozen")
    assert Decimal("0.1") < Decimal(seen["plan"]["if_fixed_in_advance"]["epsilon"]) <= 1
    assert world.verified()


def test_the_opened_entry_freezes_the_whole_plan_and_its_digest(world: World, root: UUID) -> None:
    plan_id = open_plan(world, root)
    opened = world.bodies(plan_id)[0]
    plan = plan_from_json(opened["facts"]["policy"])
    assert [slot.to_json() for slot in plan.slots] == list(SLOTS)
    assert opened["facts"]["policy"] == plan.to_json() == world.budget(plan_id).policy
    assert read(world, plan_id)["plan"]["digest"] == plan.digest
    assert opened["actor"] == str(world.people["officer"].principal_id)


def test_a_message_that_comes_twice_freezes_one_plan(world: World, root: UUID) -> None:
    plan_id = propose_plan(world, root)
    threads = [
        threading.Thread(target=plans.compose, args=(world.make_session, plan_id)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    plans.compose(world.make_session, plan_id)
    assert [body["kind"] for body in world.bodies(plan_id)] == ["opened"]
    assert world.budget(plan_id).version == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"limit": Limit(Decimal("0.1"), Decimal("1e-6"))}, "above the limit"),
        (
            {
                "slots": domain_plans.parse_slots(
                    [{**SLOTS[0], "mechanism": {"type": "pure", "epsilon": "0.1"}}]
                )
            },
            "cannot be composed",
        ),
    ],
    ids=["above its limit", "without a distribution"],
)
def test_a_plan_that_does_not_hold_is_closed_and_says_why(
    world: World, root: UUID, changes: dict[str, Any], said: str
) -> None:
    plan_id = propose_plan(world, root, **changes)
    plans.compose(world.make_session, plan_id)
    seen = read(world, plan_id)
    assert (seen["state"], seen["plan"]["state"], seen["entries"]) == ("closed", "refused", 0)
    assert seen["plan"]["refusal"]["code"] == "invalid-parameter"
    assert said in seen["plan"]["refusal"]["facts"]["reason"]
    assert seen["plan"]["if_fixed_in_advance"] is None
    with pytest.raises(ScopeClosed):
        reserve(world, plan_id, part("nightly", 1))
    assert world.verified()


def test_a_composition_that_fails_is_refused_by_a_code_and_quotes_nothing(
    world: World, root: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("hunter2")

    plan_id = propose_plan(world, root)
    monkeypatch.setattr(plans, "make_plan", fail)
    plans.compose(world.make_session, plan_id)
    assert read(world, plan_id)["plan"]["refusal"] == {"code": "plan-not-composed", "facts": {}}


def test_a_plan_that_waits_can_be_withdrawn_and_opens_no_more(world: World, root: UUID) -> None:
    plan_id = propose_plan(world, root)
    for action in ("freeze", "thaw", "limit_rate"):
        with pytest.raises(ScopeClosed):
            world.change(plan_id, action)
    assert world.change(plan_id, "close")["effect"]["allocation"]["to"] == "closed"
    plans.compose(world.make_session, plan_id)
    seen = read(world, plan_id)
    assert (seen["state"], seen["plan"]["state"]) == ("closed", "refused")
    assert seen["plan"]["refusal"] == {"code": "plan-withdrawn", "facts": {}}
    # it never had a chain, and a root that waits for a second person is not closed like this
    assert world.budget(plan_id).last_seq == 0
    assert world.verified()


def test_a_plan_does_not_open_below_what_was_closed_meanwhile(world: World, root: UUID) -> None:
    parent = world.open_allocation(root, "4", accountant="rdp-mix/1", delta="1e-6")
    plan_id = propose_plan(world, parent)
    world.change(parent, "close")
    plans.compose(world.make_session, plan_id)
    seen = read(world, plan_id)
    assert (seen["state"], seen["plan"]["refusal"]["code"]) == ("closed", "scope-closed")
    assert seen["plan"]["refusal"]["facts"]["scope"] == {"kind": "an ancestor"}


def test_a_plan_that_nobody_heard_of_is_sent_again(world: World, root: UUID) -> None:
    plan_id = propose_plan(world, root)
    assert sweep(world.make_session, resend_after_s=3600).resent == 0
    with transaction(world.make_session) as session:
        for row in session.scalars(select(OutboxMessage)):
            row.created_at -= timedelta(hours=2)
    assert sweep(world.make_session, resend_after_s=3600).resent == 1
    assert sweep(world.make_session, resend_after_s=3600).resent == 0
    plans.compose(world.make_session, plan_id)
    with transaction(world.make_session) as session:
        for row in session.scalars(select(OutboxMessage)):
            row.created_at -= timedelta(days=2)
    assert sweep(world.make_session, resend_after_s=3600).resent == 0


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"kind": "lifetime", "parent_id": None}, "/accountant"),
        (
            {
                "kind": "window",
                "window": parse_window(
                    {"period": "month", "time_zone": "UTC", "first_day": "2026-01-01"}, "always"
                ),
            },
            "/accountant",
        ),
        ({"slots": ()}, "/slots"),
        ({"slots": domain_plans.parse_slots([SLOTS[0], SLOTS[0]])}, "/slots"),
        ({"milestones": ("0.5",)}, "/milestones"),
        ({"limit": Limit(Decimal("1"), Decimal("1e-11"))}, "/limit/delta"),
        ({"accountant": "rdp-mix/1"}, "/slots"),
    ],
    ids=["a root", "a window", "no slots", "two of one name", "milestones", "delta", "no plan"],
)
def test_what_is_no_plan_is_refused_before_anything_is_written(
    world: World, root: UUID, changes: dict[str, Any], pointer: str
) -> None:
    officer = world.people["officer"]
    if changes.get("kind") == "lifetime":
        changes = {**changes, "dataset_id": world.dataset_id}
    request = plan_request(root, world, **changes)
    with pytest.raises(InvalidParameter) as refusal:
        world.budgets.create(officer, request, keyed(officer, "budgets", {"p": 1}))
    assert refusal.value.pointer == pointer
    with snapshot(world.make_session) as session:
        assert session.scalar(select(func.count()).select_from(Budget)) == 1


def test_nothing_lies_below_a_plan_by_the_service_and_by_the_database(
    world: World, root: UUID
) -> None:
    plan_id = open_plan(world, root)
    with pytest.raises(InvalidParameter, match="below a plan"):
        propose_plan(world, plan_id)
    with pytest.raises(InvalidParameter, match="below a plan"):
        world.open_allocation(plan_id, "0.1", accountant="rdp-mix/1", delta="1e-7")
    with (
        pytest.raises(DatabaseError, match="below a plan"),
        transaction(world.make_session) as session,
    ):
        copied = session.get_one(Budget, plan_id)
        session.expunge(copied)
        values = {c.name: getattr(copied, c.name) for c in Budget.__table__.columns}
        session.add(Budget(**{**values, "id": root.__class__(int=7), "parent_id": plan_id}))


@pytest.mark.parametrize(
    "statement_text",
    [
        "UPDATE budgets SET policy = replace(policy, '\"count\":4', '\"count\":9')"
        " WHERE plan_units IS NOT NULL",
        "UPDATE budgets SET plan_units = NULL WHERE plan_units IS NOT NULL",
        "UPDATE budgets SET plan_units = '{\"posted\":{},\"reserved\":{}}' WHERE kind = 'lifetime'",
    ],
    ids=["more units", "no plan any more", "a root as a plan"],
)
def test_the_database_keeps_a_plan_frozen(world: World, root: UUID, statement_text: str) -> None:
    open_plan(world, root)
    with pytest.raises(DatabaseError, match="plan"), transaction(world.make_session) as session:
        session.execute(text(statement_text.replace(":", "\\:")))


def test_no_change_moves_a_plan_and_it_freezes_thaws_and_closes(world: World, root: UUID) -> None:
    plan_id, other = open_plan(world, root), open_plan(world, root)
    for action, fields in (
        ("raise", {"epsilon": Decimal("2")}),
        ("lower", {"epsilon": Decimal("0.9")}),
        ("transfer", {"epsilon": Decimal("0.1"), "to": other}),
    ):
        with pytest.raises(InvalidParameter, match="frozen"):
            world.change(plan_id, action, **fields)  # type: ignore[arg-type]
    plain = world.open_allocation(root, "1", accountant="rdp-mix/1", delta="1e-6")
    with pytest.raises(InvalidParameter, match="frozen"):
        world.change(plain, "transfer", epsilon=Decimal("0.1"), to=plan_id)
    reserve(world, plan_id, part("nightly", 4))
    world.change(plan_id, "freeze")
    with pytest.raises(ScopeClosed):
        reserve(world, plan_id, part("weekly", 1))
    world.change(plan_id, "thaw")
    reserve(world, plan_id, part("weekly", 1))
    world.change(plan_id, "close")
    with pytest.raises(ScopeClosed):
        reserve(world, plan_id, part("weekly", 1))
    assert world.verified()


def test_earlier_spend_is_put_above_a_plan_and_never_in_it(world: World, root: UUID) -> None:
    plan_id = open_plan(world, root)
    officer = world.people["officer"]
    request = OpeningRequest("a paper of 2024", "a" * 64, epsilon="0.1", delta="0")
    with pytest.raises(InvalidParameter, match="frozen"):
        Openings(world.make_session).ask(
            officer, plan_id, request, if_version=2, keyed=keyed(officer, "openings", {"a": 1})
        )


def test_work_that_no_slot_names_ends_the_plan_and_its_statement_says_so(
    world: World, root: UUID
) -> None:
    """What only the journal outside remembers (R22): the slots may have run more than they say."""
    plan_id = open_plan(world, root)
    officer = world.people["officer"]
    asked = Openings(world.make_session).ask(
        officer,
        root,
        OpeningRequest("a journal", "a" * 64, epsilon="0.1", delta="0"),
        if_version=world.budget(root).version,
        keyed=keyed(officer, "openings", {"a": 1}),
    )
    loss = price(parse_mechanism(COUNTS), "add_remove").charge(1)
    parts = [{"mechanism": COUNTS, "price": "a" * 64, "units": 1}]
    with transaction(world.make_session) as session:
        approval = session.get_one(Approval, UUID(asked["approval_id"]))
        plan = session.get_one(Budget, plan_id, with_for_update=True)
        opening.charge(session, plan, approval, loss, parts, {}, now=database_now(session))
    assert (world.budget(plan_id).state, world.budget(plan_id).committed) == ("closed", loss)
    with pytest.raises(ScopeClosed):
        reserve(world, plan_id, part("nightly", 1))
    said = statement(world.make_session, world.people["auditor"], plan_id, "officer")
    assert any(line.startswith("Work that no slot names") for line in said["text"])
    assert world.verified()


def test_a_job_is_charged_to_its_slot_and_above_at_its_summed_vector(
    world: World, root: UUID
) -> None:
    plan_id = open_plan(world, root)
    runner = replace(world.engineer, is_runner=True)
    held = UUID(reserve(world, plan_id, part("nightly", 3), part("weekly", 2), who=runner)["id"])
    assert world.budget(plan_id).plan_units == PlanUnits({"nightly": 3, "weekly": 2})
    both = charge("nightly", 3) + charge("weekly", 2)
    assert world.budget(root).reserved == world.budget(plan_id).reserved == both

    world.reservations.start(runner, held, 1, 0, 1)
    world.reservations.start(runner, held, 1, 1, 2)
    world.reservations.commit(runner, held, 1, None)
    assert world.budget(plan_id).plan_units == PlanUnits({}, {"nightly": 1, "weekly": 2})
    assert world.budget(root).committed == charge("nightly", 1) + charge("weekly", 2)
    assert world.budget(root).reserved == Loss.zero()
    # every scope says the same, slot by slot
    for scope in (plan_id, root):
        posted = world.bodies(scope)[-1]
        said = [(each["slot"], each["units"]) for each in posted["parts"]]
        assert (posted["kind"], said) == ("posted", [("nightly", 1), ("weekly", 2)])
    slots = read(world, plan_id)["plan"]["slots"]
    assert [(s["used"], s["reserved"], s["left"]) for s in slots] == [(1, 0, 3), (2, 0, 1)]
    assert world.verified()


def test_what_is_voided_or_never_started_is_free_again_and_what_lapses_is_spent(
    world: World, root: UUID
) -> None:
    plan_id = open_plan(world, root)
    voided = UUID(reserve(world, plan_id, part("nightly", 4))["id"])
    world.reservations.void(world.engineer, voided, 1, "no private row was read")
    assert world.budget(plan_id).plan_units == PlanUnits()
    reserve(world, plan_id, part("nightly", 2), lease_s=10)
    with transaction(world.make_session) as session:
        session.execute(
            text(
                "UPDATE reservations SET lease_until = '2020-01-01 00:00:00+00:00'"
                " WHERE state = 'reserved'"
            )
        )
    assert sweep(world.make_session).lapsed == 1
    assert world.budget(plan_id).plan_units == PlanUnits({}, {"nightly": 2})
    with pytest.raises(BudgetExceeded):
        reserve(world, plan_id, part("nightly", 3))
    assert world.verified()


def test_a_full_slot_refuses_says_what_is_left_and_leaves_the_others_open(
    world: World, root: UUID
) -> None:
    plan_id = open_plan(world, root)
    reserve(world, plan_id, part("nightly", 3))
    with pytest.raises(BudgetExceeded) as refusal:
        reserve(world, plan_id, part("nightly", 2), part("weekly", 1))
    refused = refusal.value
    assert refused.scope["budget_id"] == str(plan_id)
    assert refused.asked == {"units": 3, "slots": {"nightly": 2, "weekly": 1}}
    assert refused.left == {"slots": {"nightly": 1, "weekly": 3}}
    assert refused.fits == {"max_units": 1}
    reserve(world, plan_id, part("nightly", 1), part("weekly", 1))
    # room of one slot is no room in another, and two parts share one slot
    with pytest.raises(BudgetExceeded) as refusal:
        reserve(world, plan_id, part("weekly", 2), part("weekly", 1))
    assert refusal.value.fits == {"max_units": 1}
    with pytest.raises(BudgetExceeded) as refusal:
        reserve(world, plan_id, part("nightly", 1))
    assert refusal.value.fits == {"max_units": 0}
    assert world.verified()


def test_a_plan_with_room_is_still_bound_by_what_lies_above(world: World) -> None:
    root = world.open_root("rdp-mix/1", "0.3", "1e-6")
    plan_id = open_plan(world, root)
    reserve(world, root, {"mechanism": {"type": "pure", "epsilon": "0.2"}, "max_units": 1})
    with pytest.raises(BudgetExceeded) as refusal:
        reserve(world, plan_id, part("nightly", 4))
    assert refusal.value.scope["budget_id"] == str(root)
    fitting = refusal.value.fits["max_units"]
    assert isinstance(fitting, int)
    assert 0 < fitting < 4
    reserve(world, plan_id, part("nightly", fitting))
    assert world.budget(plan_id).plan_units == PlanUnits({"nightly": fitting})


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        (part(None, 1), "/parts/0/slot"),
        (part("yearly", 1, COUNTS), "/parts/0/slot"),
        (part("nightly", 1, TRAINING), "/parts/0/slot"),
        (part("nightly", 1, {**COUNTS, "scale": "21"}), "/parts/0/slot"),
        (part("nightly", 1, {**COUNTS, "sampler": "mine"}), "/parts/0/slot"),
        ({**part("nightly", 1), "slot": 7}, "/parts/0/slot"),
        ({**part("nightly", 1), "slots": ["nightly"]}, "/parts/0"),
    ],
    ids=["none", "unknown", "other kind", "more noise", "other sampler", "a number", "misspelt"],
)
def test_a_part_that_is_not_exactly_its_slots_is_refused_where_it_is_wrong(
    world: World, root: UUID, asked: Any, pointer: str
) -> None:
    plan_id = open_plan(world, root)
    with pytest.raises(InvalidParameter) as refusal:
        reserve(world, plan_id, asked)
    assert refusal.value.pointer == pointer
    assert world.budget(plan_id).last_seq == 1


def test_a_slot_means_nothing_to_a_budget_that_is_no_plan(world: World, root: UUID) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        reserve(world, root, part(None, 1), part("nightly", 1))
    assert refusal.value.pointer == "/parts/1/slot"
    with pytest.raises(InvalidParameter) as refusal:
        submit(world, root, "nightly")
    assert refusal.value.pointer == "/inputs/0/slots/0"
    assert world.budget(root).last_seq == 1


def submit(
    world: World, leaf: UUID, *slots: str, epsilon: str = "0.05", measures: int = 1
) -> dict[str, Any]:
    spec = {
        **COUNT_QUERY,
        "measures": [{"fn": "count"}] * measures,
        "privacy": {"epsilon": epsilon, "delta": "0", "noise": "discrete_laplace"},
    }
    inputs = (InputRequest(world.dataset_id, 1, leaf, slots=slots),)
    request = JobRequest("query", inputs, spec, "a season of releases")
    body = {"leaf": str(leaf), "slots": list(slots), "epsilon": epsilon}
    return world.admissions.submit(world.engineer, request, keyed(world.engineer, "jobs", body))


def mechanism_of(world: World, leaf: UUID, epsilon: str = "0.05") -> dict[str, Any]:
    """The mechanism that the query engine runs for one count, as a quote lists it."""
    spec = {
        **COUNT_QUERY,
        "privacy": {"epsilon": epsilon, "delta": "0", "noise": "discrete_laplace"},
    }
    quoted = world.admissions.quote(
        world.engineer, QuoteRequest(world.inputs(leaf), kind="query", spec=spec)
    )
    found: dict[str, Any] = quoted["parts"][0]["mechanism"]
    return found


def test_a_query_runs_in_the_slot_that_holds_its_very_mechanism(world: World, root: UUID) -> None:
    slots = [{"name": "nightly", "mechanism": mechanism_of(world, root), "count": 2}]
    plan_id = open_plan(world, root, slots=domain_plans.parse_slots(slots))
    for _ in range(2):
        job = submit(world, plan_id, "nightly")
    own = next(each for each in job["charges"] if each["budget_id"] == str(plan_id))
    assert own == {"budget_id": str(plan_id), "asked": None, "units": {"nightly": 1}}
    with pytest.raises(BudgetExceeded):
        submit(world, plan_id, "nightly")
    for slots_named, epsilon in ((("nightly",), "0.04"), ((), "0.05"), (("weekly",), "0.05")):
        with pytest.raises(InvalidParameter) as refusal:
            submit(world, plan_id, *slots_named, epsilon=epsilon)
        assert refusal.value.pointer == "/inputs/0/slots/0"
    with pytest.raises(InvalidParameter) as refusal:
        submit(world, plan_id, "nightly", "nightly")
    assert refusal.value.pointer == "/inputs/0/slots"
    assert world.jobs.get(world.engineer, UUID(job["id"]))["parts"][0]["slot"] == "nightly"
    assert world.verified()


def test_a_quote_on_a_plan_speaks_of_units_and_of_no_figure_of_its_own(
    world: World, root: UUID
) -> None:
    plan_id = open_plan(world, root)
    reserve(world, plan_id, part("nightly", 1))
    quoted = world.admissions.quote(
        world.engineer, QuoteRequest(world.inputs(plan_id), parts=[part("nightly", 4)])
    )
    charges = {each["budget_id"]: each for each in quoted["charges"]}
    own, above = charges[str(plan_id)], charges[str(root)]
    assert own == {
        "budget_id": str(plan_id),
        "kind": "allocation",
        "asked": None,
        "units": {"nightly": 4},
        "remaining": None,
        "remaining_after": None,
        "slots_left": {"nightly": 3, "weekly": 3},
        "fits": False,
    }
    assert Decimal(above["asked"]["epsilon"]) > 0
    assert (quoted["admitted_now"], quoted["fits"]) == (False, {"max_units": 3})
    assert quoted["parts"][0]["slot"] == "nightly"


def test_one_slot_is_never_given_twice_to_processes_that_race_for_it(
    world: World, root: UUID
) -> None:
    plan_id = open_plan(world, root)
    outcomes: list[str] = []

    def ask(admissions: Admissions) -> None:
        for _ in range(4):
            rival = replace(world, writer=admissions.writer)
            try:
                reserve(rival, plan_id, part("nightly", 1))
            except BudgetExceeded:
                outcomes.append("refused")
            else:
                outcomes.append("admitted")

    writers = [AdmissionWriter(world.make_session) for _ in range(2)]
    try:
        for writer in writers:
            writer.start()
        threads = [
            threading.Thread(target=ask, args=(Admissions(world.make_session, writer),))
            for writer in writers
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for writer in writers:
            writer.stop()
    assert (outcomes.count("admitted"), outcomes.count("refused")) == (4, 12)
    assert world.budget(plan_id).plan_units == PlanUnits({"nightly": 4})
    assert world.verified()


def test_counts_that_are_not_those_of_the_entries_are_found(world: World, root: UUID) -> None:
    plan_id = open_plan(world, root)
    reserve(world, plan_id, part("nightly", 4))
    with transaction(world.make_session) as session:
        session.get_one(Budget, plan_id).plan_units = PlanUnits({"nightly": 1})
    found = world.budgets.verification(world.people["auditor"])
    assert [fault["budget_id"] for fault in found["faults"]] == [str(plan_id)]
    assert found["faults"][0]["reason"] == "the balances are not the sums of the entries"


def test_a_plan_is_never_shown_with_the_figures_of_a_filter(world: World, root: UUID) -> None:
    plan_id = open_plan(world, root)
    reserve(world, plan_id, part("weekly", 2))
    seen = read(world, plan_id)
    assert {seen[name] for name in ("committed", "reserved", "consumed", "remaining")} == {None}
    assert (seen["accountant"], seen["inside_milestones"]) == ("plan-pld/1", {})
    auditor = world.people["auditor"]
    said = statement(world.make_session, auditor, plan_id, "officer")
    assert said["proven_bound"] is None
    figure = seen["plan"]["if_fixed_in_advance"]
    assert said["if_fixed_in_advance"]["epsilon"] == figure["epsilon"]
    assert any("frozen before its first output" in line for line in said["assumptions"])
    assert any(line.startswith("If fixed in advance (PLD)") for line in said["text"])
    assert not any("is consumed" in line and "Lifetime" not in line for line in said["text"])
    above = statement(world.make_session, auditor, root, "officer")
    assert "if_fixed_in_advance" not in above
    shown = timeline(world.make_session, auditor, plan_id)
    assert (shown["points"], shown["with_reservations"]) == ([], None)
    rows = Entries(world.make_session).list(auditor, plan_id, 0, 10)
    assert [row["charge_alone"] for row in rows] == [None, None]


def test_two_parts_of_one_slot_are_counted_together(world: World, root: UUID) -> None:
    plan_id = open_plan(world, root)
    held = reserve(world, plan_id, part("nightly", 1), part("nightly", 2))
    assert world.budget(plan_id).plan_units == PlanUnits({"nightly": 3})
    one = price(parse_mechanism(COUNTS), "add_remove")
    assert world.budget(root).reserved == charge_parts([(one, 1), (one, 2)])
    assert [
        each["slot"] for each in world.reservations.get(world.engineer, UUID(held["id"]))["parts"]
    ] == ["nightly", "nightly"]
