"""Attacks on the clip profile's scores: what one record moves, exactly, and what is too few."""

import random
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest

from app.domain.accounting.prices import price
from app.domain.accounting.relations import UNITS_MOVED
from app.domain.decimals import float_down
from app.domain.mechanisms.parsing import Exponential
from app.domain.queries.calibration import QUANTILE_PARTS
from app.domain.training.clipping import ClipProfile, clip_grid

QUANTILES = [Decimal(text) for text in ("0.05", "0.3", "0.5", "0.8001", "0.95")]


def scores(profile: ClipProfile, norms: list[float]) -> list[int]:
    """By the definition: whole numbers, edge by edge."""
    at_most = [sum(norm <= float_down(edge) for norm in norms) for edge in clip_grid()]
    return profile.scores(at_most, len(norms))


def test_the_grid_has_241_edges_from_a_thousandth_to_a_thousand_and_each_is_a_clip_norm() -> None:
    grid = clip_grid()
    assert len(grid) == 241
    assert (grid[0], grid[120], grid[240]) == (Decimal("0.001"), Decimal(1), Decimal(1000))
    assert all(1.05 < high / low < 1.07 for low, high in pairwise(grid))


@pytest.mark.parametrize("quantile", QUANTILES)
def test_one_record_moves_no_score_by_more_than_the_sensitivity(quantile: Decimal) -> None:
    """Exactly, in integers, over random tables and tables that lie on one edge; and it is tight."""
    profile = ClipProfile(quantile, Decimal("0.1"))
    draw, most = random.Random(7), 0
    edges = [float_down(edge) for edge in clip_grid()]
    for turn in range(30):
        size = draw.randrange(0, 12)
        norms = [draw.choice(edges) if turn % 2 else 10 ** draw.uniform(-4, 4) for _ in range(size)]
        for new in (1e-9, edges[0], edges[120], edges[-1], 1e9, float("inf")):
            before, after = scores(profile, norms), scores(profile, [*norms, new])
            most = max(most, *(abs(a - b) for a, b in zip(before, after, strict=True)))
            assert most <= profile.sensitivity
    assert most == profile.sensitivity
    assert profile.sensitivity == max(quantile, 1 - quantile) * QUANTILE_PARTS


@pytest.mark.parametrize("quantile", QUANTILES)
@pytest.mark.parametrize("epsilon", ["0.001", "0.1", "10"])
def test_the_noise_of_the_choice_is_never_below_that_of_the_charge(
    quantile: Decimal, epsilon: str
) -> None:
    profile = ClipProfile(quantile, Decimal(epsilon))
    assert Fraction(2 * profile.sensitivity) / Fraction(profile.scale) <= Fraction(epsilon)
    assert profile.mechanism.epsilon == Decimal(epsilon)


def test_the_profile_is_priced_in_the_relations_of_its_mechanism_and_in_no_other() -> None:
    profile = ClipProfile(Decimal("0.5"), Decimal("0.1"))
    assert isinstance(profile.mechanism, Exponential)
    assert set(UNITS_MOVED[Exponential]) == {"add_remove", "replace_one", "zero_out"}
    one = price(profile.mechanism, "add_remove").charge(1)
    assert price(profile.mechanism, "zero_out").charge(1) == one
    assert one.maximum_atto == 10**17
    # two records may move one score twice as far
    assert price(profile.mechanism, "replace_one").charge(1).maximum_atto == 2 * 10**17
