"""The analyses of the examples: near the truth, by as much as they say."""

import pytest

from examples.analyses.run import ANALYSES, Analysis, figures

# How much of the truth caps and bounds may cut off, by title's first word.
CUT = {"Flights": 0.35, "CDNOW": 0.15, "Tumours": 0.0}


@pytest.mark.parametrize("analysis", ANALYSES, ids=lambda each: each.title.split()[0])
def test_a_release_is_as_near_to_the_truth_as_its_noise_and_its_caps_allow(
    analysis: Analysis,
) -> None:
    found = figures(analysis)
    cut = CUT[analysis.title.split()[0].rstrip(":")]
    assert len(found) >= 4
    for each in found:
        assert each.half_width_95 is not None
        # five half-widths of Laplace noise are passed once in three million draws
        assert abs(each.error) <= 5 * each.half_width_95 + cut * abs(each.true)
    assert any(each.error != 0 for each in found)
