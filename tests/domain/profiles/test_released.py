"""What is read from a released profile: smoothing, shares that are cut, values that are clamped."""

import random
from typing import Any

import pytest

from app.domain.profiles import parse_profile, plan_profile, profile_json, read_profile
from app.domain.profiles.planning import public_edges
from app.domain.profiles.released import Sizes, Values, smoothed
from app.domain.profiles.spec import groups_key
from tests.domain.queries.test_queries import dataset

DEST = {"col": "dest", "keys": "private"}
ASKED: dict[str, Any] = {
    "v": 1,
    "groupings": [{"by": [DEST], "groups_most": 4, "rows_most": 2}, {"by": [], "rows_most": 2}],
    "values": [{"col": "distance", "q": ["0.5", "0.9"]}],
    "privacy": {"epsilon": "4", "delta": "0"},
}
CELLS: list[dict[str, Any]] = [
    {"value": [100, 50, 0, 50], "half_width_95": "3", "mechanism": "discrete_laplace"},
    {"value": [150.5, 49.5], "half_width_95": "3", "mechanism": "discrete_laplace"},
    {"value": [20, 180], "half_width_95": "3", "mechanism": "discrete_laplace"},
    {"value": 1000, "rank_half_width_95": "4", "mechanism": "exponential"},
    {"value": 800, "rank_half_width_95": "4", "mechanism": "exponential"},
]


def test_a_released_profile_is_read_back_by_its_groups_and_columns() -> None:
    on = dataset()
    plan = plan_profile(parse_profile(ASKED, on), on)
    document = profile_json(plan, CELLS)
    assert document["groupings"][0]["groups"]["from"] == [1, 2, 3, 4]
    assert document["groupings"][1]["by"] == []
    assert "groups" not in document["groupings"][1]
    read = read_profile(document, plan.spec.to_json(), on, version=3, released_on="2026-11-22")
    by_dest = groups_key(plan.spec.groupings[0].by)
    assert read.version == 3
    assert list(read.groups) == [by_dest]
    assert set(read.rows) == {by_dest, groups_key(())}
    # 100 x 1 + 50 x 2 + 50 x 4 groups; a cap of 3 loses one of each of the last 50
    groups = read.groups[by_dest]
    assert groups.total == pytest.approx(400)
    assert groups.lost_share(3) == pytest.approx(50 / 400)
    # two draws came out of order: quantiles rise whatever their noise
    assert read.values["distance"].points == ((0, 0), (800, 0.5), (1000, 0.9), (5000, 1))


@pytest.mark.parametrize("most", [1, 2, 3, 7, 64, 1000, 1_000_000])
def test_public_edges_begin_at_one_rise_and_end_at_the_last_bin(most: int) -> None:
    edges = public_edges(most)
    assert edges[0] == 1
    assert list(edges) == sorted(set(edges))
    assert [int(edge) for edge in edges[-2:]] == [most, most + 1]
    assert len(edges) <= 42


def test_smoothing_leaves_a_histogram_without_noise_as_it_is() -> None:
    exact = [500.0, 0.0, 20.0, 3.0, 0.0]
    assert smoothed(exact, 0.0) == pytest.approx(exact)


def test_smoothed_bins_are_never_negative_and_an_empty_tail_stays_empty() -> None:
    draw = random.Random(4)
    exact = [3000, 800, 100] + [0] * 17
    wrong_before = wrong_after = 0.0
    for _ in range(200):
        noisy = [each + draw.expovariate(0.05) - draw.expovariate(0.05) for each in exact]
        bins = smoothed(noisy, 60.0)
        assert min(bins) >= -1e-9
        numbers = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]
        true = sum(n * each for n, each in zip(numbers, exact, strict=True))
        before = sum(n * max(0.0, each) for n, each in zip(numbers, noisy, strict=True))
        after = sum(n * each for n, each in zip(numbers, bins, strict=True))
        wrong_before += abs(before - true)
        wrong_after += abs(after - true)
    assert wrong_after < wrong_before / 4


def test_nothing_above_the_noise_has_no_share() -> None:
    assert Sizes((1.0, 2.0), (0.0, 0.0)).lost_share(1) is None
    assert Sizes((1.0, 2.0), (5.0, 0.0)).lost_share(1) == 0


@pytest.mark.parametrize(("low", "high"), [(-60, 180), (0, 100), (-10, 10), (30, 31), (-90, 500)])
def test_clamping_moves_the_mean_of_lines_as_a_sum_over_them_says(low: float, high: float) -> None:
    values = Values(((-60, 0.0), (-5, 0.3), (-5, 0.4), (20, 0.9), (180, 1.0)))
    points = []
    for (first, share), (last, next_) in zip(values.points, values.points[1:], strict=False):
        many = round((next_ - share) * 20_000)
        points += [first + (last - first) * (n + 0.5) / many for n in range(many)]
    mean = sum(points) / len(points)
    clamped = sum(min(max(each, low), high) for each in points) / len(points)
    raised, lowered = values.cut(low, high)
    assert raised - lowered == pytest.approx(clamped - mean, abs=1e-4)
    assert values.below(low) == pytest.approx(sum(x < low for x in points) / len(points), abs=1e-3)
    assert values.above(high) == pytest.approx(
        sum(x > high for x in points) / len(points), abs=1e-3
    )
