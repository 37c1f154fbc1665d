"""R24 by hand: what each measure moves for one unit, and what is charged for it."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from app.domain.accounting.prices import charge_parts, price
from app.domain.datasets import Dataset
from app.domain.decimals import ATTO
from app.domain.mechanisms.parsing import (
    DiscreteGaussian,
    DiscreteLaplace,
    Exponential,
    Mechanism,
    Repeated,
    Threshold,
    parse_mechanism,
)
from app.domain.queries import QueryPlan, parse_query, plan_query
from app.domain.queries.noise import largest_rho
from app.domain.queries.preview import preview
from tests.domain.queries.test_queries import DATASET, dataset, simple

SUM = {"fn": "sum", "col": "distance", "lo": "-7000", "hi": "5000", "grid": "10"}
MEAN = {"fn": "mean", "col": "distance", "lo": "0", "hi": "5000", "grid": "10"}
QUANTILE = {"fn": "quantile", "col": "delay", "lo": "-60", "hi": "180"}
NINE = [f"0.{tenth}" for tenth in range(1, 10)]
HISTOGRAM = {"fn": "histogram", "col": "delay", "lo": "-60", "hi": "180", "bins": 12}
TOP = {"fn": "top_k", "col": "month", "k": 2}
BY_MONTH = [{"col": "month", "keys": "domain"}]


# rows of a unit that may be scaled down are counted in parts of 1024
PARTS = 1024


def capped(groups: int, rows: int, relation: str) -> Dataset:
    unit = {
        **DATASET["unit_of_privacy"],
        "max_groups_per_user": groups,
        "max_rows_per_user_group": rows,
    }
    return dataset(unit_of_privacy=unit, relation=relation)


def planned(measure: dict[str, Any], on: Dataset, **changes: Any) -> QueryPlan:
    document = simple([measure], group_by=BY_MONTH, **changes)
    return plan_query(parse_query(document, on), on)


# measure, and by hand the L1 sensitivities of its events for L0 groups and m rows
ADDITIVE: list[tuple[dict[str, Any], Any]] = [
    ({"fn": "count"}, lambda l0, m: [l0 * m]),
    ({"fn": "count", "col": "delay"}, lambda l0, m: [l0 * m]),
    ({"fn": "count_distinct"}, lambda l0, m: [l0]),
    (SUM, lambda l0, m: [l0 * m * 700]),
    (MEAN, lambda l0, m: [l0 * m * 250, l0 * m]),
    ({**MEAN, "fn": "variance"}, lambda l0, m: [l0 * m * 250, l0 * m, l0 * m * 31250]),
    ({**MEAN, "fn": "stdev"}, lambda l0, m: [l0 * m * 250, l0 * m, l0 * m * 31250]),
    (HISTOGRAM, lambda l0, m: [l0 * m * PARTS]),
    ({**QUANTILE, "q": NINE, "bins": 256}, lambda l0, m: [l0 * m * PARTS] * 2),
    ({**QUANTILE, "q": NINE, "bins": 257}, lambda l0, m: [l0 * m * PARTS] * 3),
]


@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
@pytest.mark.parametrize("rows", [1, 10])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("measure", "by_hand"), ADDITIVE)
def test_additive_noise_is_charged_for_the_sensitivity_found_by_hand(
    measure: dict[str, Any], by_hand: Any, groups: int, rows: int, relation: str
) -> None:
    on = capped(groups, rows, relation)
    made = planned(measure, on)
    expected = by_hand(groups, rows)
    if rows == 1 and measure["fn"] in ("mean", "variance", "stdev"):
        expected[1] = groups  # the count of units
    moved = []
    for part in made.parts:
        assert part.max_units == 1
        assert isinstance(part.mechanism, DiscreteLaplace)
        moved.append(int(part.mechanism.sensitivity_l1))
    assert moved == expected
    # one unit replaced is one removed and another added: twice the loss of the same noise
    units = 2 if relation == "replace_one" else 1
    lost = [
        units * Fraction(sensitivity) / Fraction(scaled.scale)
        for sensitivity, scaled in zip(expected, [*made.noisy, *made.spread], strict=True)
    ]
    charged = charge_parts((price(part.mechanism, relation), 1) for part in made.parts)
    assert sum(lost) * ATTO <= charged.maximum_atto <= sum(lost) * ATTO + len(lost)
    assert Fraction("0.999") <= sum(lost) <= 1


@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
@pytest.mark.parametrize("rows", [1, 10])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("measure", "by_hand"), ADDITIVE)
def test_gaussian_noise_is_charged_for_the_root_of_the_groups_found_by_hand(
    measure: dict[str, Any], by_hand: Any, groups: int, rows: int, relation: str
) -> None:
    privacy = {"epsilon": "1", "delta": "1e-8", "noise": "discrete_gaussian"}
    made = planned(measure, capped(groups, rows, relation), privacy=privacy)
    expected = by_hand(groups, rows)
    if rows == 1 and measure["fn"] in ("mean", "variance", "stdev"):
        expected[1] = groups  # the count of units
    # L0 groups of the same bound: their root in L2; one unit replaced moves twice as far
    units = 2 if relation == "replace_one" else 1
    lost = Fraction(0)
    for part, moved in zip(made.parts, expected, strict=True):
        assert isinstance(part.mechanism, DiscreteGaussian)
        squared = Fraction(moved, groups) ** 2 * groups
        assert squared <= Fraction(part.mechanism.sensitivity_l2) ** 2 <= squared * (1 + 2**-40)
        lost += units**2 * squared / (2 * Fraction(part.mechanism.sigma) ** 2)
    rho = Fraction(largest_rho(Decimal(1), Decimal("1e-8")))
    assert Fraction("0.999") * rho <= lost <= rho


@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
@pytest.mark.parametrize("rows", [1, 10])
@pytest.mark.parametrize("groups", [1, 3])
def test_private_keys_are_one_threshold_over_all_keys_of_a_unit(
    groups: int, rows: int, relation: str
) -> None:
    on = capped(groups, rows, relation)
    document = simple([{"fn": "count_distinct"}], group_by=[{"col": "dest", "keys": "private"}])
    made = plan_query(parse_query(document, on), on)
    (part,) = made.parts
    units = 2 if relation == "replace_one" else 1
    assert isinstance(part.mechanism, Threshold)
    # a unit count moves by 1 in each of L0 keys, whatever the cap of rows
    assert part.mechanism.groups == groups
    assert part.mechanism.delta == Decimal("1e-10") / units
    assert isinstance(part.mechanism.of, DiscreteLaplace)
    assert part.mechanism.of.sensitivity_l1 == 1
    lost = Fraction(units * groups) / Fraction(part.mechanism.of.scale)
    assert Fraction("0.999") <= lost <= 1
    charged = charge_parts([(price(part.mechanism, relation), 1)])
    assert lost * ATTO <= charged.maximum_atto <= lost * ATTO + 1
    assert charged.delta_atto == 10**8


@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
@pytest.mark.parametrize("rows", [1, 10])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("q", "part"), [("0.5", 5000), ("0.9", 9000), ("0.01", 9900)])
def test_a_quantile_is_one_exponential_event_in_each_of_the_groups_of_a_unit(
    q: str, part: int, groups: int, rows: int, relation: str
) -> None:
    made = planned({**QUANTILE, "q": [q]}, capped(groups, rows, relation))
    (choice,) = made.choices
    units = 2 if relation == "replace_one" else 1
    # rank scores in parts of 10,000 rows (1,024ths of them where rows are scaled down)
    assert choice.sensitivity == rows * PARTS * part
    assert choice.epsilon == pytest.approx(Decimal(1) / (groups * units), rel=Decimal("1e-9"))
    assert Fraction(choice.scale) >= 2 * choice.sensitivity / Fraction(choice.epsilon)
    event = Exponential(str(choice.epsilon), sampler="opendp/0.16")
    expected: Mechanism = event
    if groups > 1:
        expected = Repeated(groups, event, sampler="opendp/0.16")
    assert made.parts[0].mechanism == expected
    charged = charge_parts([(price(expected, relation), 1)])
    assert 0.999 * ATTO <= charged.maximum_atto <= ATTO


def test_two_quantiles_are_two_events_and_five_are_five_and_six_are_a_tree() -> None:
    on = capped(3, 10, "add_remove")
    assert len(planned({**QUANTILE, "q": ["0.5", "0.9"]}, on).parts) == 2
    assert len(planned({**QUANTILE, "q": NINE[:5]}, on).parts) == 5
    six = planned({**QUANTILE, "q": NINE[:6]}, on)
    assert six.choices == ()
    assert [each.quantity.level for each in six.spread] == [1, 2, 3]


@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
@pytest.mark.parametrize("rows", [1, 10])
@pytest.mark.parametrize("groups", [1, 3])
def test_the_top_keys_are_one_exponential_event_per_key_and_group(
    groups: int, rows: int, relation: str
) -> None:
    on = capped(groups, rows, relation)
    document = simple([TOP], group_by=[{"bin": "distance", "edges": [0, 1, 2, 3, 4, 5]}])
    made = plan_query(parse_query(document, on), on)
    (choice,) = made.choices
    mechanism = made.parts[0].mechanism
    assert isinstance(mechanism, Repeated)
    assert mechanism.count == 2 * groups
    # a unit counts once per key however many rows it has: 1, and all scores move the same way
    assert choice.sensitivity == 1
    assert Fraction(choice.scale) >= 1 / Fraction(choice.epsilon)
    charged = charge_parts([(price(mechanism, relation), 1)])
    assert 0.999 * ATTO <= charged.maximum_atto <= ATTO


@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
def test_gaussian_choices_share_the_planned_rho(relation: str) -> None:
    privacy = {"epsilon": "1", "delta": "1e-8", "noise": "discrete_gaussian"}
    on = capped(3, 10, relation)
    document = simple(
        [{**QUANTILE, "q": ["0.5"]}, {"fn": "count", "col": "delay"}],
        group_by=BY_MONTH,
        privacy=privacy,
    )
    made = plan_query(parse_query(document, on), on)
    count, choice = made.noisy[0].mechanism, made.choices[0]
    assert isinstance(count, DiscreteGaussian)
    units = 2 if relation == "replace_one" else 1
    of_count = (units * Fraction(count.sensitivity_l2) / Fraction(count.sigma)) ** 2 / 2
    of_choice = 3 * (units * Fraction(choice.epsilon)) ** 2 / 8
    assert float(of_count) == pytest.approx(float(of_choice), rel=1e-5)


def test_a_mean_a_variance_and_a_count_share_one_charged_count_and_one_sum() -> None:
    on = capped(3, 10, "add_remove")
    document = simple([MEAN, {**MEAN, "fn": "variance"}, {**MEAN, "fn": "stdev"}, {"fn": "count"}])
    made = plan_query(parse_query(document, on), on)
    kinds = [noisy.quantity.kind for noisy in made.noisy]
    assert kinds == ["centred_sum", "count", "centred_square"]
    assert [output.count for output in made.outputs] == [1, 1, 1, None]
    assert made.outputs[1].square == made.outputs[2].square == 2


def test_every_part_of_a_plan_is_read_back_from_the_wire_as_it_was() -> None:
    on = capped(3, 10, "add_remove")
    document = simple([{**QUANTILE, "q": ["0.55"]}, {**QUANTILE, "q": NINE}, HISTOGRAM, TOP])
    made = plan_query(parse_query(document, on), on)
    for part in made.parts:
        assert parse_mechanism(part.mechanism.to_json()) == part.mechanism
    assert len(made.parts) == 1 + 3 + 1 + 1
    assert len(made.spreads) == 3


def test_private_keys_charge_the_threshold_beside_the_choices() -> None:
    on = capped(3, 10, "add_remove")
    document = simple([{**QUANTILE, "q": ["0.5"]}], group_by=[{"col": "dest", "keys": "private"}])
    made = plan_query(parse_query(document, on), on)
    assert [part.mechanism.type for part in made.parts] == ["threshold", "repeated"]
    figures = preview(made)
    assert figures["group_size_shown"]["with_chance_0.5"] == made.noisy[0].threshold
    assert figures["group_size_shown"]["with_chance_0.99"] > made.noisy[0].threshold
