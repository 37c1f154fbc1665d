"""Whoever holds the key can sign anything: what the rules do not allow is found all the same.

Each history is written twice, as it may be and as it may not, and the two differ in one thing.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from app import verifier
from app.domain.accounting.plans import Slot, make_plan
from app.domain.ledger import canonical_bytes
from app.domain.mechanisms.groups import from_record
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Limit
from app.domain.windows import parse_window
from tests.forging import START, Forger, an_id, policy

PURE = {"type": "pure", "epsilon": "0.25"}
SMALLER = {"type": "pure", "epsilon": "1e-6"}
WINDOW: dict[str, Any] = {
    "calendar": {
        "period": "month",
        "time_zone": "Europe/Berlin",
        "first_day": "2027-01-01",
        "refresh_when": "always",
    }
}
MARCH = datetime(2027, 2, 28, 23, tzinfo=UTC)
APRIL = datetime(2027, 3, 31, 22, tzinfo=UTC)
MAY = datetime(2027, 4, 30, 22, tzinfo=UTC)
TIME_BLOCKS: dict[str, Any] = {
    "kind": "time",
    "column": "day",
    "period": "day",
    "time_zone": "UTC",
    "first_day": "2027-03-01",
    "grace_days": 2,
}
USER_BLOCKS: dict[str, Any] = {"kind": "unit_hash", "count": 8}


def found(forger: Forger) -> str | None:
    """The code of what is wrong."""
    fault = forger.fault()
    return None if fault is None else fault.code


LAPLACE: dict[str, Any] = {"type": "laplace", "scale": "20", "sensitivity_l1": "1"}


def plan_of_laplace() -> dict[str, Any]:
    slots = [Slot("nightly", parse_mechanism(LAPLACE), 3)]
    return make_plan(slots, "add_remove", Limit(Decimal(2), Decimal("1e-6"))).to_json()


@pytest.mark.parametrize("kind", ["allocation", "lifetime", "window"])
def test_nothing_but_an_allocation_is_a_plan(kind: str) -> None:
    """A plan is composed by whoever wrote it: as a root it would be bounded by nothing (R10)."""
    forger, rules = Forger(), plan_of_laplace()
    if kind == "lifetime":
        forger.open("root", rules=rules)
        budgets = ["root"]
    else:
        forger.open("root")
        facts: dict[str, Any] = WINDOW if kind == "window" else {}
        forger.open("plan", kind, below="root", rules=rules, **facts)
        budgets = ["root", "plan"] if kind == "allocation" else ["root"]
    forger.reserve("job", budgets, LAPLACE, 1, slot="nightly")
    assert found(forger) == (None if kind == "allocation" else "plan")


def test_nothing_lies_below_a_plan() -> None:
    forger = Forger()
    forger.open("root")
    forger.open("plan", "allocation", below="root", rules=plan_of_laplace())
    forger.open("below", "allocation", below="plan")
    assert found(forger) == "tree"


def monthly(*spans: tuple[datetime, datetime]) -> Forger:
    forger = Forger()
    forger.open("root", rules=policy(epsilon="8"))
    forger.open("window", "window", below="root", rules=policy(epsilon="0.5"), **WINDOW)
    for number, (starts, ends) in enumerate(spans):
        forger.refresh("window", f"period {number}", starts, ends)
    return forger


def test_a_window_is_refreshed_when_its_calendar_says_and_not_before() -> None:
    """Else a month's limit is one of ten minutes, and the month's limit is no limit (R9)."""
    assert found(monthly((MARCH, APRIL), (APRIL, MAY))) is None
    minutes = [START + timedelta(minutes=10 * n) for n in range(4)]
    halves = (MARCH, MARCH + timedelta(days=15)), (MARCH + timedelta(days=15), APRIL)
    for spans in [
        ((minutes[0], minutes[1]), (minutes[1], minutes[2]), (minutes[2], minutes[3])),
        halves,
        ((MARCH, MAY),),
        ((MARCH, APRIL - timedelta(hours=5)), (APRIL - timedelta(hours=5), MAY)),
        ((datetime(2026, 11, 30, 23, tzinfo=UTC), datetime(2026, 12, 31, 23, tzinfo=UTC)),),
    ]:
        assert found(monthly(*spans)) == "tree", spans


def test_a_window_says_by_what_calendar_it_is_refreshed() -> None:
    forger = monthly((MARCH, APRIL))
    for calendar in [None, {}, {**WINDOW["calendar"], "refresh_when": "at will"}]:
        forger.chain("window")[0]["facts"]["calendar"] = calendar
        assert found(forger) == "form", calendar
    del forger.chain("window")[0]["facts"]["calendar"]
    assert found(forger) == "form"


@pytest.mark.parametrize("period", ["day", "week", "month", "quarter", "year"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Kiritimati", "Asia/Tehran"])
@pytest.mark.parametrize("first", ["2027-01-31", "2024-02-29"])
def test_every_span_of_the_service_is_one_of_its_calendar(
    period: str, zone: str, first: str
) -> None:
    document = {"period": period, "time_zone": zone, "first_day": first}
    window = parse_window(document, "always")
    calendar = verifier.read_calendar(document, "")
    at = window.begins_at()
    for _ in range(60):
        span = window.span_at(at)
        assert span is not None
        assert calendar.holds(span.starts_at, span.ends_at)
        assert not calendar.holds(span.starts_at, span.ends_at - timedelta(hours=5))
        at = span.ends_at


def test_what_a_period_saw_start_is_not_voided_above() -> None:
    """A run that moved on has units in the old period: to void it forgets them (R9, L3)."""
    for posted in (0, 1):
        forger = monthly((MARCH, APRIL), (APRIL, MAY))
        late = (APRIL - START).total_seconds() / 3600 + 1
        forger.reserve("run", ["root", "period 0"], PURE, 2)
        forger.end("run", ["period 0"], posted, hours=late)
        forger.reserve("run", ["period 1"], PURE, 2 - posted, hours=late)
        forger.end("run", ["root", "period 1"], 0, hours=late)
        assert found(forger) == ("path" if posted else None)


def test_a_lowered_window_takes_its_period_with_it_whatever_comes_later() -> None:
    def lowered(*, moves: bool) -> Forger:
        forger = monthly((MARCH, APRIL))
        forger.reserve("run", ["root", "period 0"], PURE)
        old, new = (policy(epsilon=each) for each in ("0.5", "0.25"))
        facts = {"from": old["limit"], "to": new["limit"], "policy": new}
        facts |= {"change_sha256": "b" * 64, "decided_by": an_id("officer")}
        for each in ["window", "period 0"] if moves else ["window"]:
            forger.write(each, "lowered", facts=facts)
        # what is posted after the month says nothing of when the window was lowered
        forger.end("run", ["root", "period 0"], 1, hours=24 * 40)
        return forger

    assert found(lowered(moves=True)) is None
    assert found(lowered(moves=False)) == "policy"


def test_a_join_is_charged_alike_in_both_datasets() -> None:
    for in_the_other in (PURE, SMALLER):
        forger = Forger()
        forger.open("root")
        forger.open("other", dataset="others")
        forger.reserve("join", ["root"], PURE)
        forger.reserve("join", ["other"], in_the_other)
        assert found(forger) == (None if in_the_other is PURE else "path")


def divided(blocks: dict[str, Any], ranges: Any, *, kind: str = "reserved") -> Forger:
    forger = Forger()
    forger.open("root", partition=blocks)
    if kind == "reserved":
        forger.reserve("job", ["root"], PURE, blocks=ranges)
    else:
        facts = {**forger.approved("earlier"), "scope": an_id("root"), "blocks": ranges}
        forger.write("root", "opening", parts=[forger.part(PURE, 1)], facts=facts)
    return forger


@pytest.mark.parametrize(
    ("blocks", "honest", "false"),
    [
        # on March 10 the days up to the 7th are over, with two of grace
        (TIME_BLOCKS, [[0, 6]], [[0, 9]]),
        (TIME_BLOCKS, [[2, 2]], [[4095, 4095]]),
        (TIME_BLOCKS, [[2, 2]], [[4096, 4096]]),
        (USER_BLOCKS, [[7, 7]], [[8, 8]]),
        (USER_BLOCKS, [[0, 7]], [[0, 2**40]]),
    ],
)
def test_blocks_in_which_nobody_is_take_no_charge(
    blocks: dict[str, Any], honest: Any, false: Any
) -> None:
    assert found(divided(blocks, honest)) is None
    assert found(divided(blocks, false)) == "charge"


@pytest.mark.parametrize(
    ("blocks", "honest", "false"),
    [
        (TIME_BLOCKS, [[0, 9]], [[0, 0]]),
        (TIME_BLOCKS, [[0, 9]], [[1, 9]]),
        (TIME_BLOCKS, [[0, 9]], [[0, 3], [5, 9]]),
        (USER_BLOCKS, [[0, 7]], [[0, 6]]),
        (USER_BLOCKS, [[0, 7]], [[0, 8]]),
    ],
)
def test_earlier_spend_stands_in_every_block_that_had_begun(
    blocks: dict[str, Any], honest: Any, false: Any
) -> None:
    assert found(divided(blocks, honest, kind="opening")) is None
    assert found(divided(blocks, false, kind="opening")) == "charge"


def raised(change: Callable[[dict[str, Any]], None], *, twice: bool = False) -> Forger:
    forger = Forger()
    forger.open("root")
    limits = [policy(epsilon=each) for each in ("1", "2", "4")]
    for old, new in pairwise(limits):
        facts = {**forger.approved("more"), "policy": new}
        facts |= {"from": old["limit"], "to": new["limit"]}
        change(facts)
        forger.write("root", "raised", facts=facts)
        if not twice:
            break
    return forger


@pytest.mark.parametrize(
    "asker",
    ["", " ", "\u200b", an_id("officer").upper(), an_id("officer") + " ", "officer", None, 1],
)
def test_one_person_under_another_spelling_is_one_person(asker: Any) -> None:
    assert found(raised(lambda _: None)) is None
    assert found(raised(lambda facts: facts.update(requested_by=asker))) == "people"


def test_what_two_people_approved_once_raises_no_limit_twice() -> None:
    assert found(raised(lambda _: None, twice=True)) == "people"
    numbers = iter(range(9))

    def another(facts: dict[str, Any]) -> None:
        facts["approval"] = an_id(f"approval {next(numbers)}")

    assert found(raised(another, twice=True)) is None


def test_one_approval_opens_one_budget() -> None:
    for name in ("open root", "open other"):
        forger = Forger()
        forger.open("root")
        forger.open("other", dataset="others")
        forger.chain("other")[0]["facts"]["approval"] = an_id(name)
        assert found(forger) == ("people" if name == "open root" else None)


def test_an_allocation_below_a_budget_that_was_closed_is_found() -> None:
    for hours in (1, 48):
        forger = Forger()
        forger.open("root")
        forger.write("root", "closed", hours=24)
        forger.open("late", "allocation", below="root", hours=hours)
        assert found(forger) == (None if hours < 24 else "state")


@pytest.mark.parametrize(
    "mechanism",
    [
        {
            "type": "poisson_sampled",
            "rate": "0.01",
            "of": {"type": "gaussian", "noise_multiplier": "1.1"},
            "sampler": "Shuffled batches",
        },
        {"type": "gaussian", "noise_multiplier": "1", "sampler": ""},
        {"type": "gaussian", "noise_multiplier": "1", "sampler": "x" * 65},
        {"type": "gaussian", "noise_multiplier": "1", "sampler": None},
        {
            "type": "poisson_sampled",
            "rate": "0.01",
            "of": {"type": "gaussian", "noise_multiplier": "1.1", "sampler": ["a"]},
        },
        {"type": "discrete_laplace", "scale": "1", "sensitivity_l1": "0.5"},
    ],
)
def test_a_mechanism_that_has_no_price_in_the_service_has_none_here(
    mechanism: dict[str, Any],
) -> None:
    with pytest.raises(verifier.Fault):
        verifier.repriced(canonical_bytes(mechanism).decode(), "add_remove")


STATED: list[dict[str, Any]] = [
    {"type": "gaussian", "noise_multiplier": "50", "sampler": "ours 1.0"},
    LAPLACE,
    {"type": "discrete_laplace", "scale": "77.5", "sensitivity_l1": "3"},
    {"type": "discrete_gaussian", "sigma": "4.4", "sensitivity_l2": "1.5"},
    {"type": "pure", "epsilon": "0.1"},
    {"type": "exponential", "epsilon": "1e-9"},
    {"type": "approximate", "epsilon": "0.7", "delta": "1e-9"},
    {"type": "approximate", "epsilon": "1.5e-79", "delta": "1e-9"},
    {"type": "approximate", "epsilon": "0", "delta": "1e-9"},
    {"type": "zcdp", "rho": "0.02"},
    {"type": "zcdp", "rho": "0.00002", "xi": "0.001"},
    {"type": "repeated", "count": 3, "of": {"type": "pure", "epsilon": "0.01"}},
    {"type": "composed", "of": [{"type": "pure", "epsilon": "0.1"}, LAPLACE]},
]


@pytest.mark.parametrize("mechanism", STATED, ids=lambda each: str(each["type"]))
@pytest.mark.parametrize("records", [1, 2, 3, 7])
def test_a_part_stated_for_records_is_charged_for_as_many_as_it_says(
    mechanism: dict[str, Any], records: int
) -> None:
    """Else a user with seven rows is charged as if there were one (R7, L8)."""
    group = from_record(parse_mechanism(mechanism), records).to_json()
    stated = parse_mechanism(mechanism).to_json()
    for said, fault in [(records, None), (2 * records, "price")]:
        forger = Forger()
        forger.open("root", rules=policy("rdp-mix/1", "9000", "0.1"))
        forger.reserve("job", ["root"], group)
        part = forger.chain("root")[-1]["parts"][0]
        part["stated"] = {"mechanism": stated, "unit": "record", "records": said}
        assert found(forger) == fault


@pytest.mark.parametrize(
    "stated",
    [
        {"mechanism": {"type": "pure", "epsilon": "0.25"}, "unit": "user", "records": 1},
        {"mechanism": {"type": "pure", "epsilon": "0.25"}, "unit": "record", "records": 0},
        {"mechanism": {"type": "pure", "epsilon": "0.25"}, "unit": "record"},
        {"mechanism": {"type": "exponential", "epsilon": "0.25"}, "unit": "record", "records": 1},
        {"mechanism": {"type": "pure", "epsilon": "NaN"}, "unit": "record", "records": 1},
        {"mechanism": [], "unit": "record", "records": 2},
        [],
    ],
)
def test_a_statement_that_does_not_belong_to_its_part_is_found(stated: Any) -> None:
    forger = Forger()
    forger.open("root")
    forger.reserve("job", ["root"], PURE)
    forger.chain("root")[-1]["parts"][0]["stated"] = stated
    assert found(forger) in ("price", "form")


def published(forger: Forger, budget: str = "root", job: Any = None) -> None:
    forger.write(budget, "published", hours=3, facts={"job": an_id("j") if job is None else job})


def with_a_job() -> Forger:
    """A root and a share of it in which one job was posted and another is under way."""
    forger = Forger()
    forger.open("root")
    forger.open("share", "allocation", below="root")
    for job, units in (("j", 1), ("open", None), ("void", 0)):
        forger.reserve(job, ["root", "share"], SMALLER)
        if units is not None:
            forger.end(job, ["root", "share"], units)
    for each in ("root", "share"):
        for body in forger.chain(each):
            if body["reservation"] is not None:
                name = next(n for n in ("j", "open", "void") if an_id(n) == body["reservation"])
                body["job"] = an_id(name)
    return forger


def test_what_was_released_is_published_once_in_the_root_whatever_its_state() -> None:
    forger = with_a_job()
    forger.write("root", "frozen", hours=3)
    published(forger)
    assert found(forger) is None
    published(forger)
    assert found(forger) == "state"


@pytest.mark.parametrize("job", [an_id("open"), an_id("void"), an_id("nobody's"), 7, None, []])
def test_a_publication_of_what_was_never_released_is_found(job: Any) -> None:
    forger = with_a_job()
    forger.write("root", "published", hours=3, facts={"job": job})
    assert found(forger) == ("state" if isinstance(job, str) else "form")


def test_a_publication_below_the_root_or_with_a_charge_is_found() -> None:
    forger = with_a_job()
    published(forger, "share")
    assert found(forger) == "tree"
    forger = with_a_job()
    published(forger)
    forger.chain("root")[-1]["parts"] = [forger.part(SMALLER, 1)]
    assert found(forger) == "charge"
    forger = with_a_job()
    published(forger)
    forger.chain("root")[-1]["job"] = an_id("j")
    assert found(forger) == "form"


def test_a_purge_stands_once_in_a_closed_root_and_charges_nothing() -> None:
    forger = with_a_job()
    forger.write("root", "purged", hours=3)
    assert found(forger) == "state"
    forger = with_a_job()
    forger.write("root", "closed", hours=3)
    forger.write("root", "purged", hours=4)
    assert found(forger) is None
    forger.write("root", "purged", hours=5)
    assert found(forger) == "state"
    forger = with_a_job()
    forger.write("share", "closed", hours=3)
    forger.write("share", "purged", hours=4)
    assert found(forger) == "tree"
    forger = with_a_job()
    forger.write("root", "closed", hours=3)
    forger.write("root", "purged", hours=4)
    forger.chain("root")[-1]["parts"] = [forger.part(SMALLER, 1)]
    assert found(forger) == "charge"
