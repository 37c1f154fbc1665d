"""What a preview says of bounds and caps, by a profile and without one."""

from typing import Any

import pytest

from app.domain.datasets import Dataset, dataset_from_json
from app.domain.profiles import Profile, expectation
from app.domain.profiles.expectation import (
    JOINED,
    NO_CAPS,
    NO_PROFILE,
    NOTHING_LEFT,
    OTHER_COLUMN,
    OTHER_GROUPS,
)
from app.domain.profiles.released import Sizes, Values
from app.domain.profiles.spec import groups_key
from app.domain.queries import QueryPlan, parse_query, plan_query
from app.domain.queries.preview import preview
from app.domain.queries.spec import PrivateKeys
from tests.domain.queries.test_queries import dataset, record_level, simple

BY_DEST = [{"col": "dest", "keys": "private"}]
KEY, NONE = groups_key((PrivateKeys("dest"),)), groups_key(())
SIX = [f"0.{tenth}" for tenth in range(1, 7)]
SUM = {"fn": "sum", "col": "distance"}
# 2,000 units with 1 group, 1,000 with 2, 1,000 with 6: 10,000 pairs of 2 or 12 rows
GROUPS = Sizes((1.0, 2.0, 6.0), (2000.0, 1000.0, 1000.0))
ROWS = Sizes((2.0, 12.0), (3000.0, 1000.0))
ALL_ROWS = Sizes((4.0, 20.0), (3000.0, 1000.0))
VALUES = Values(((0.0, 0.0), (100.0, 0.01), (1000.0, 0.5), (2400.0, 0.99), (5000.0, 1.0)))
PROFILE = Profile(
    version=2,
    released_on="2026-11-22",
    groups={KEY: GROUPS},
    rows={KEY: ROWS, NONE: ALL_ROWS},
    values={"distance": VALUES},
)


def planned(
    measures: list[dict[str, Any]], on: Dataset | None = None, **changes: Any
) -> tuple[QueryPlan, Dataset]:
    on = on or dataset()
    return plan_query(parse_query(simple(measures, **changes), on), on), on


def told(
    measures: list[dict[str, Any]],
    profile: Profile | None = PROFILE,
    on: Dataset | None = None,
    **changes: Any,
) -> dict[str, Any]:
    return expectation(*planned(measures, on, **changes), profile)


def test_what_caps_cut_is_read_from_the_units_of_the_same_groups() -> None:
    bounds = {"max_groups": 2, "max_rows": 10}
    measures = [{"fn": "count"}, {"fn": "count_distinct"}]
    truncation = told(measures, group_by=BY_DEST, bounds=bounds)["truncation"]
    # 1,000 units lose 4 of their 6 groups; 1,000 groups' worth of units lose 2 of 12 rows
    by_groups, by_rows = 4000 / 10_000, 2000 / 18_000
    assert truncation["max_groups"] == {"lost_share": "0.4", "reason": None}
    assert float(truncation["max_rows"]["lost_share"]) == pytest.approx(by_rows, abs=1e-4)
    count, units = truncation["measures"]
    assert count["of"] == "rows"
    lost = 1 - (1 - by_groups) * (1 - by_rows)
    assert float(count["lost_share"]) == pytest.approx(lost, abs=1e-4)
    assert (units["of"], units["lost_share"]) == ("units", "0.4")
    assert truncation["profile"] == {"version": 2, "released_on": "2026-11-22"}


def test_one_group_of_all_rows_cuts_no_groups() -> None:
    truncation = told([{"fn": "count"}])["truncation"]
    assert truncation["max_groups"] == {"lost_share": "0", "reason": None}
    # 1,000 units have 20 rows of which 10 count, 3,000 have 4
    assert float(truncation["max_rows"]["lost_share"]) == pytest.approx(10 / 32, abs=1e-4)


def test_bounds_are_told_by_the_values_outside_of_them() -> None:
    measure = {**SUM, "lo": "0", "hi": "2400"}
    (found,) = told([measure])["truncation"]["measures"]
    assert found["bounds"]["share_below"] == "0"
    assert float(found["bounds"]["share_above"]) == pytest.approx(0.01)
    # a hundredth of the values lies evenly over 2,600 above: 1,300 too far in the mean
    assert float(found["bounds"]["mean_moves_by"]) == pytest.approx(-13)
    assert found["bounds"]["reason"] is None


BY_MONTH = {"group_by": [{"col": "month", "keys": "domain"}], "bounds": {"max_groups": 1}}
EMPTY = Profile(1, "2026-11-22", {}, {NONE: Sizes((1.0,), (0.0,))}, {})
REASONS: list[tuple[dict[str, Any], Profile | None, str]] = [
    ({}, None, NO_PROFILE),
    (BY_MONTH, PROFILE, OTHER_GROUPS),
    ({}, EMPTY, NOTHING_LEFT),
]


@pytest.mark.parametrize(("changes", "profile", "reason"), REASONS)
def test_what_no_profile_knows_is_null_with_the_reason(
    changes: dict[str, Any], profile: Profile | None, reason: str
) -> None:
    found = told([SUM], profile, **changes)
    assert found["truncation"]["measures"][0]["lost_share"] is None
    assert found["truncation"]["measures"][0]["reason"] == reason
    assert found["proposed"]["bounds"] is None
    assert found["proposed"]["reason"] == reason


def test_a_column_that_was_not_profiled_has_no_bounds_to_propose() -> None:
    delay = {"fn": "mean", "col": "delay", "lo": "-60", "hi": "180", "grid": "0.5"}
    found = told([delay])
    assert found["truncation"]["measures"][0]["bounds"]["reason"] == OTHER_COLUMN
    assert found["proposed"]["measures"] == [
        {"measure": "mean(delay)", "lo": None, "hi": None, "reason": OTHER_COLUMN}
    ]


def test_a_join_is_not_what_was_profiled() -> None:
    holidays = dataset_of_days()
    document = simple(
        [{"fn": "count"}],
        joins=[{"dataset_id": "d2", "as": "of", "on": ["day", "day"]}],
    )
    on, others = dataset(), {"d2": holidays}
    plan = plan_query(parse_query(document, on, others=others), on, others=others)
    found = expectation(plan, on, PROFILE)
    assert found["truncation"]["profile"] is None
    assert found["truncation"]["max_rows"] == {"lost_share": None, "reason": JOINED}


def dataset_of_days() -> Dataset:
    return dataset_from_json(
        {
            "name": "holidays",
            "access": "public",
            "source": {"connection": "demo", "path": "days.csv", "format": "csv"},
            "columns": [{"name": "day", "type": "date"}],
        },
        id="d2",
    )


def test_records_lose_nothing_to_caps_and_need_no_profile_for_that() -> None:
    found = told([SUM], None, record_level())
    assert found["truncation"]["measures"][0]["lost_share"] == "0"
    assert found["truncation"]["measures"][0]["bounds"]["reason"] == NO_PROFILE
    assert found["proposed"]["reason"] == NO_CAPS


def test_proposed_caps_follow_the_noise() -> None:
    def caps(epsilon: str) -> dict[str, int]:
        privacy = {"epsilon": epsilon, "delta": "1e-10", "noise": "discrete_laplace"}
        found = told([{"fn": "count"}], group_by=BY_DEST, privacy=privacy)
        proposed: dict[str, int] = found["proposed"]["bounds"]
        return proposed

    # where noise is nothing the declared caps lose least; where it is all, the least caps are best
    assert caps("500") == {"max_groups": 3, "max_rows": 10}
    assert caps("0.001") == {"max_groups": 1, "max_rows": 1}
    between = caps("1")
    assert 1 <= between["max_groups"] <= 3
    assert 1 <= between["max_rows"] <= 10


def test_proposed_caps_have_the_least_error_of_all_that_could_be_asked() -> None:
    """Tried one by one: lost rows of an even group and the half-width that each plan predicts."""
    asked = [{"fn": "count"}]
    proposed = told(asked, bounds={"max_rows": 1})["proposed"]["bounds"]
    errors = {}
    for rows in (1, 2, 3, 4, 6, 8, 10):
        plan, _ = planned(asked, bounds={"max_rows": rows})
        lost = ALL_ROWS.lost_share(rows) or 0.0
        errors[rows] = lost * ALL_ROWS.total + float(plan.predicted[0].half_width_95)
    assert proposed == {"max_groups": 1, "max_rows": min(errors, key=lambda rows: errors[rows])}


def test_proposed_bounds_follow_the_noise_and_lie_on_the_grid() -> None:
    def bounds(epsilon: str, grid: str = "7") -> tuple[str, str]:
        privacy = {"epsilon": epsilon, "delta": "0", "noise": "discrete_laplace"}
        measure = {**SUM, "lo": "0", "hi": "4998", "grid": grid}
        (found,) = told([measure], privacy=privacy)["proposed"]["measures"]
        return found["lo"], found["hi"]

    assert bounds("0.0001") == ("0", "105")
    # 100 on a grid of 7 is 105, 1,000 is 1,001: rounded outward
    assert bounds("1000")[1] == "5005"
    assert int(bounds("1")[1]) % 7 == 0


def test_a_preview_names_every_draw_and_which_of_them_a_measure_reads() -> None:
    measures: list[dict[str, Any]] = [
        {"fn": "mean", "col": "distance"},
        {"fn": "count"},
        {"fn": "quantile", "col": "distance", "q": ["0.5"]},
        {"fn": "histogram", "col": "distance", "bins": 4},
        {"fn": "quantile", "col": "delay", "lo": "0", "hi": "9", "q": SIX},
        {"fn": "top_k", "col": "month", "k": 1},
    ]
    plan, _ = planned(measures, group_by=BY_DEST)
    shown = preview(plan)
    draws = shown["plan"]["draws"]
    assert len(draws) == len(plan.parts) == len(shown["noise"])
    assert [each["of"] for each in draws] == [
        "units",
        "sum about the centre(distance)",
        "rows",
        "histogram(distance)",
        "level 1 of a tree(delay)",
        "level 2 of a tree(delay)",
        "level 3 of a tree(delay)",
        "quantile(distance, 0.5)",
        "top keys(month)",
    ]
    read = {each["measure"]: each["draws"] for each in shown["predicted"]}
    assert read["mean(distance)"] == [1, 2]
    assert read["count"] == [2]
    assert read["quantile(distance, 0.5)"] == [7]
    assert read["histogram(distance)"] == [3]
    assert read["quantile(delay, 0.3)"] == [4, 5, 6]
    assert read["top_k(month)"] == [8]
    assert draws[0]["threshold"] == shown["group_size_shown"]["with_chance_0.5"]
    assert shown["plan"]["groups"] == [{"col": "dest", "keys": "private"}]
    assert shown["plan"]["unit"] == "user"
    assert all("half_width_95" in each or each["mechanism"] == "exponential" for each in draws)
