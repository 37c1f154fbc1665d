"""R24 by hand for a profile: one entry per unit, one exponential event per quantile (R27)."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from app.domain.accounting.prices import charge_parts, price
from app.domain.decimals import ATTO
from app.domain.errors import NominalSizeTooSmall
from app.domain.mechanisms.parsing import DiscreteGaussian, DiscreteLaplace, Exponential
from app.domain.profiles import ProfilePlan, parse_profile, plan_profile, profile_figures
from app.domain.queries.noise import largest_rho
from tests.domain.queries.test_charges import capped
from tests.domain.queries.test_queries import dataset, record_level

DEST = {"col": "dest", "keys": "private"}
DELAY = {"col": "delay", "lo": "-60", "hi": "180"}
PRIVACY = {"epsilon": "4", "delta": "0"}


def planned(on: Any = None, **changes: Any) -> ProfilePlan:
    on = on or dataset()
    document = {"v": 1, "values": [], "privacy": PRIVACY, **changes}
    return plan_profile(parse_profile(document, on), on)


@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
@pytest.mark.parametrize("rows", [1, 10])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(
    ("groupings", "by_hand"),
    [
        # rows of a unit: one entry in one bin
        ([{"by": []}], [1]),
        # groups of a unit: one entry; rows in a group: shares of one entry, in parts of 1024
        ([{"by": [DEST]}], [1, 1024]),
        ([{"by": [{"col": "month", "keys": [1, 2]}], "weight": "3"}, {"by": []}], [1, 1024, 1]),
    ],
)
def test_a_tally_is_charged_for_one_entry_of_a_unit_whatever_the_caps_of_queries(
    groupings: list[dict[str, Any]], by_hand: list[int], groups: int, rows: int, relation: str
) -> None:
    made = planned(capped(groups, rows, relation), groupings=groupings)
    moved = []
    for part in made.parts:
        assert part.max_units == 1
        assert isinstance(part.mechanism, DiscreteLaplace)
        moved.append(int(part.mechanism.sensitivity_l1))
    assert moved == by_hand
    units = 2 if relation == "replace_one" else 1
    lost = [
        units * Fraction(sensitivity) / Fraction(scaled.scale)
        for sensitivity, scaled in zip(by_hand, made.query.spread, strict=True)
    ]
    charged = charge_parts((price(part.mechanism, relation), 1) for part in made.parts)
    assert sum(lost) * ATTO <= charged.maximum_atto <= sum(lost) * ATTO + len(lost)
    assert Fraction("3.996") <= sum(lost) <= 4


@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
@pytest.mark.parametrize("rows", [1, 10])
@pytest.mark.parametrize("groups", [1, 3])
def test_a_value_quantile_is_one_exponential_event_of_a_rank_score(
    groups: int, rows: int, relation: str
) -> None:
    made = planned(
        capped(groups, rows, relation),
        groupings=[],
        values=[{**DELAY, "q": ["0.5", "0.9"]}],
        bounds={"max_rows": rows},
    )
    units = 2 if relation == "replace_one" else 1
    for choice, part, weight in zip(made.query.choices, made.parts, (5000, 9000), strict=True):
        # max(q, 1 - q) in parts of 10,000, of rows in parts of 1024; L0 is 1: nothing is grouped
        assert choice.sensitivity == rows * 1024 * weight
        assert part.mechanism == Exponential(str(choice.epsilon), sampler="opendp/0.16")
        assert choice.epsilon == pytest.approx(Decimal(2) / units, rel=Decimal("1e-9"))
        assert Fraction(choice.scale) >= 2 * choice.sensitivity / Fraction(choice.epsilon)
    charged = charge_parts((price(part.mechanism, relation), 1) for part in made.parts)
    assert 3.996 * ATTO <= charged.maximum_atto <= 4 * ATTO


@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
def test_a_record_is_one_row_of_one_group_in_its_quantiles(relation: str) -> None:
    made = planned(record_level(relation), values=[{**DELAY, "q": ["0.5"]}])
    (choice,) = made.query.choices
    assert choice.sensitivity == 5000
    assert made.query.unit_column is None


@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
def test_gaussian_noise_of_a_profile_shares_one_rho(relation: str) -> None:
    privacy = {"epsilon": "4", "delta": "1e-8", "noise": "discrete_gaussian"}
    made = planned(
        capped(3, 10, relation),
        groupings=[{"by": [DEST]}],
        values=[{**DELAY, "q": ["0.5"]}],
        privacy=privacy,
    )
    units = 2 if relation == "replace_one" else 1
    lost = Fraction(0)
    for part, moved in zip(made.parts, (1, 1024), strict=False):
        assert isinstance(part.mechanism, DiscreteGaussian)
        assert part.mechanism.sensitivity_l2 == moved
        lost += (units * Fraction(moved) / Fraction(part.mechanism.sigma)) ** 2 / 2
    lost += (units * Fraction(made.query.choices[0].epsilon)) ** 2 / 8
    rho = Fraction(largest_rho(Decimal(4), Decimal("1e-8")))
    assert Fraction("0.999") * rho <= lost <= rho


@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
def test_a_quantile_is_refused_below_a_nominal_size_of_200_by_its_epsilon(relation: str) -> None:
    units = 2 if relation == "replace_one" else 1
    values = [{**DELAY, "q": ["0.5"]}]
    # 4,000 users: 0.05 for one draw on one unit
    enough = {"epsilon": str(Decimal("0.0501") * units), "delta": "0"}
    planned(dataset(relation=relation), groupings=[], values=values, privacy=enough)
    with pytest.raises(NominalSizeTooSmall) as refused:
        little = {"epsilon": str(Decimal("0.0499") * units), "delta": "0"}
        planned(dataset(relation=relation), groupings=[], values=values, privacy=little)
    assert refused.value.declared == 4000
    assert 4000 < refused.value.needed < 4020
    # what is counted in units is no rank
    planned(dataset(relation=relation), privacy={"epsilon": "0.01", "delta": "0"})


def test_a_quote_of_a_profile_says_how_wide_its_noise_is() -> None:
    made = planned(groupings=[{"by": [DEST]}, {"by": []}], values=[DELAY])
    figures = profile_figures(made)
    widths = figures["half_widths"]
    assert [list(each) for each in widths["groupings"]] == [["groups", "rows"], ["rows"]]
    assert [each["quantile"] for each in widths["values"]] == [
        f"quantile(delay, {q})" for q in ("0.01", "0.5", "0.99")
    ]
    assert len(figures["noise"]) == len(made.parts) == 6
    # a bin is as wide as its noise, in units: the share of 4/6 is 1/2 of 4/3
    assert float(widths["groupings"][0]["groups"]) == pytest.approx(
        float(widths["groupings"][0]["rows"]), rel=0.34
    )
