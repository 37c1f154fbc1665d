"""A plan holds for any order and any slots left out, and for nothing that was not frozen (R10)."""

import json
import math
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

import pytest

from app.domain.accounting.conversions import gaussian_epsilon
from app.domain.accounting.filters import make_policy
from app.domain.accounting.plans import (
    Plan,
    Slot,
    make_plan,
    parse_slots,
    plan_epsilon,
    plan_from_json,
)
from app.domain.accounting.prices import price
from app.domain.errors import InvalidParameter, MechanismNotPriced
from app.domain.mechanisms.parsing import (
    DiscreteLaplace,
    Gaussian,
    Mechanism,
    PoissonSampled,
    Pure,
    TreeAggregation,
)
from app.domain.privacy import Limit, Loss

ADD = "add_remove"


def limit(epsilon: str, delta: str = "1e-6") -> Limit:
    return Limit(Decimal(epsilon), Decimal(delta))


@lru_cache
def small_plan() -> Plan:
    slots = (
        Slot("counts", DiscreteLaplace("2", "1"), 3),
        Slot("checks", DiscreteLaplace("1.25", "1"), 2),
    )
    return make_plan(slots, ADD, limit("3.1", "0.01"))


@pytest.mark.parametrize("delta", ["1e-6", "1e-10"])
@pytest.mark.parametrize(("noise", "count"), [("50", 5000), ("5", 60)])
def test_a_plan_of_gaussians_is_never_below_their_exact_curve_and_hardly_above(
    noise: str, count: int, delta: str
) -> None:
    figure = plan_epsilon([Slot("runs", Gaussian(noise), count)], ADD, Decimal(delta))
    assert figure is not None
    exact = gaussian_epsilon(float(noise) / math.sqrt(count), float(delta))
    assert exact <= float(figure) <= 1.002 * exact + 1e-3


def test_a_plan_has_room_for_training_that_no_filter_would_admit() -> None:
    step = PoissonSampled("0.01", Gaussian("1.1"))
    plan = make_plan([Slot("steps", step, 17_000)], ADD, limit("8"))
    assert Decimal("7.5") < plan.epsilon <= 8
    filter_of_the_same = make_policy("rdp-mix/1", limit("8"))
    assert not filter_of_the_same.admits(plan.whole_charge())


def test_no_order_and_no_stopping_gains_more_than_the_delta_of_the_plan() -> None:
    """All adversaries of a small plan: discrete Laplace of sensitivity 1 is a coin of loss 1/b."""
    plan = small_plan()
    factor = Fraction(math.exp(float(plan.epsilon))) * (1 - Fraction(1, 10**12))
    coins = [Fraction(1 / (1 + math.exp(-1 / b))) for b in (2.0, 1.25)]

    def gain(left: tuple[int, ...], p: Fraction, q: Fraction, *, may_stop: bool) -> Fraction:
        """The most of P(S) - e^epsilon Q(S) over what to run next and when to stop."""
        best = max(Fraction(0), p - factor * q) if may_stop or not any(left) else Fraction(0)
        for index, kept in enumerate(coins):
            if left[index]:
                rest = tuple(n - (place == index) for place, n in enumerate(left))
                best = max(
                    best,
                    gain(rest, p * kept, q * (1 - kept), may_stop=may_stop)
                    + gain(rest, p * (1 - kept), q * kept, may_stop=may_stop),
                )
        return best

    counts = tuple(slot.count for slot in plan.slots)
    whole = gain(counts, Fraction(1), Fraction(1), may_stop=False)
    assert 0 < whole <= Fraction(plan.limit.delta)
    assert gain(counts, Fraction(1), Fraction(1), may_stop=True) == whole


def test_a_plan_above_its_limit_is_refused_with_its_figure() -> None:
    with pytest.raises(InvalidParameter) as refusal:
        make_plan(small_plan().slots, ADD, limit("2", "0.01"))
    assert str(small_plan().epsilon) in refusal.value.reason
    with pytest.raises(InvalidParameter):
        Plan(small_plan().slots, ADD, limit("2", "0.01"), small_plan().epsilon)


def test_replacing_a_unit_is_composed_at_twice_the_sensitivity() -> None:
    slots = [Slot("runs", Gaussian("10"), 20)]
    moved = [Slot("runs", Gaussian("5"), 20)]
    delta = Decimal("1e-6")
    assert plan_epsilon(slots, "replace_one", delta) == plan_epsilon(moved, ADD, delta)


@pytest.mark.parametrize(
    ("mechanism", "relation", "delta", "refusal"),
    [
        (Pure("0.1"), ADD, "1e-6", InvalidParameter),
        (TreeAggregation("1", 10), "zero_out", "1e-6", InvalidParameter),
        (TreeAggregation("1", 10), ADD, "1e-6", MechanismNotPriced),
        (PoissonSampled("0.1", Gaussian("2")), "replace_one", "1e-6", MechanismNotPriced),
        (Gaussian("10"), ADD, "1e-11", InvalidParameter),
        (Gaussian("10"), ADD, "0", InvalidParameter),
    ],
    ids=str,
)
def test_what_cannot_be_composed_or_charged_is_in_no_plan(
    mechanism: Mechanism, relation: str, delta: str, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        make_plan([Slot("only", mechanism, 1)], relation, limit("8", delta))


def test_slots_are_used_in_any_order_and_never_beyond_their_count() -> None:
    plan = small_plan()
    for units in ({}, {"checks": 2}, {"counts": 3}, {"counts": 3, "checks": 2}, {"counts": 0}):
        assert plan.admits(units)
    for units in ({"checks": 3}, {"counts": 4, "checks": 0}, {"other": 1}, {"counts": -1}):
        assert not plan.admits(units)
    assert plan.left({"counts": 1}) == {"counts": 2, "checks": 2}


def test_unused_room_of_one_slot_is_not_room_in_another() -> None:
    assert not small_plan().admits({"counts": 4})
    assert not small_plan().admits({"counts": 4, "checks": 1})


def test_a_job_runs_the_mechanism_of_its_slot_and_no_other() -> None:
    plan = small_plan()
    assert plan.slot("counts", DiscreteLaplace("2", "1")).count == 3
    for name, mechanism in [
        ("counts", DiscreteLaplace("2.1", "1")),  # even with more noise: its pair is another
        ("counts", DiscreteLaplace("1.25", "1")),
        ("other", DiscreteLaplace("2", "1")),
    ]:
        with pytest.raises(InvalidParameter):
            plan.slot(name, mechanism)


def test_above_the_plan_its_jobs_are_charged_like_any_other() -> None:
    plan = small_plan()
    one = price(DiscreteLaplace("2", "1"), ADD)
    assert plan.charge("counts", 2) == one.charge(2)
    whole = plan.charge("counts", 3) + plan.charge("checks", 2)
    assert plan.whole_charge() == whole
    assert plan.charge("counts", 0) == Loss.zero()
    with pytest.raises(InvalidParameter):
        plan.charge("other", 1)


def test_a_stored_plan_is_read_back_exactly_and_no_slot_grows_in_store() -> None:
    plan = small_plan()
    stored: dict[str, Any] = json.loads(json.dumps(plan.to_json()))
    assert plan_from_json(stored) == plan
    assert plan_from_json(stored).digest == plan.digest
    grown = json.loads(json.dumps(stored))
    grown["slots"][0]["count"] = 4
    for changed in (grown, {**stored, "epsilon": "0.1"}, {**stored, "relation": "zero_out"}):
        with pytest.raises(ValueError, match="digest"):
            plan_from_json(changed)
    with pytest.raises(ValueError, match="version"):
        plan_from_json({**stored, "accountant": "plan-pld/2"})


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ([], "/slots"),
        ([{"name": "a", "mechanism": {"type": "pure", "epsilon": "1"}}], "/slots/0/count"),
        (
            [{"name": "a", "mechanism": {"type": "pure", "epsilon": "1"}, "count": 0}],
            "/slots/0/count",
        ),
        (
            [{"name": "", "mechanism": {"type": "pure", "epsilon": "1"}, "count": 1}],
            "/slots/0/name",
        ),
        ([{"name": "a", "mechanism": {"type": "pure"}, "count": 1}], "/slots/0/mechanism/epsilon"),
    ],
)
def test_malformed_slots_are_refused_where_they_are_wrong(document: object, pointer: str) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        parse_slots(document)
    assert refusal.value.pointer == pointer


def test_two_slots_of_one_name_are_no_plan() -> None:
    slots = [Slot("a", Gaussian("50"), 1), Slot("a", Gaussian("60"), 1)]
    with pytest.raises(InvalidParameter):
        make_plan(slots, ADD, limit("8"))
