"""Risk bounds agree with their published table and never promise more than the loss allows."""

import itertools
import random
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.risk import proven
from app.domain.risk.groups import group_bound
from app.domain.risk.precision import exactly

EPSILONS = st.decimals(0, 50, places=6)
SHARES = st.decimals(0, 1, places=6)
DELTAS = st.sampled_from([Decimal(0), Decimal("1e-9"), Decimal("1e-6"), Decimal("0.01")])
HAIR = Decimal("1e-50")
D = Decimal


@pytest.mark.parametrize(
    ("epsilon", "half", "hundredth", "advantage", "at_1", "at_01"),
    [
        ("1", 0.7311, 0.0267, 0.462, 0.0272, 0.0027),
        ("2.64", 0.9334, 0.1240, 0.867, 0.140, 0.0140),
        ("8", 0.99966, 0.968, 0.9993, 0.9997, 0.9997),
        ("10", 0.999955, 0.9955, 0.9999, 0.99995, 0.99995),
    ],
)
def test_the_table_of_risks_is_reproduced(
    epsilon: str, half: float, hundredth: float, advantage: float, at_1: float, at_01: float
) -> None:
    loss, delta = D(epsilon), D("1e-6")
    assert float(proven.posterior(loss, D("0.5"))) == pytest.approx(half, abs=6e-5)
    assert float(proven.posterior(loss, D("0.01"))) == pytest.approx(hundredth, abs=5e-4)
    assert float(proven.advantage(loss, delta)) == pytest.approx(advantage, abs=5e-4)
    assert float(proven.attack_rate(loss, delta, D("0.01"))) == pytest.approx(at_1, abs=5e-4)
    assert float(proven.attack_rate(loss, delta, D("0.001"))) == pytest.approx(at_01, abs=5e-4)


@pytest.fixture(autouse=True)
def _many_digits() -> Iterator[None]:
    """The tests' own arithmetic is finer than what it looks at."""
    with exactly(120):
        yield


@given(EPSILONS, DELTAS, SHARES)
def test_no_attack_is_below_guessing_or_beyond_the_advantage(
    epsilon: Decimal, delta: Decimal, false_rate: Decimal
) -> None:
    rate = proven.attack_rate(epsilon, delta, false_rate)
    assert false_rate - HAIR <= rate <= 1
    assert rate - false_rate <= proven.advantage(epsilon, delta) + HAIR
    assert abs(2 * proven.best_guess(epsilon, delta) - 1 - proven.advantage(epsilon, delta)) < HAIR


@given(EPSILONS, DELTAS, SHARES)
def test_the_bound_is_straight_between_its_corners(
    epsilon: Decimal, delta: Decimal, at: Decimal
) -> None:
    corners = proven.trade_off_corners(epsilon, delta)
    assert all(abs(proven.attack_rate(epsilon, delta, x) - y) < HAIR for x, y in corners)
    pairs = itertools.pairwise(corners)
    (x0, y0), (x1, y1) = next((a, b) for a, b in pairs if a[0] <= at <= b[0] and a[0] < b[0])
    line = Fraction(y0) + Fraction(at - x0) / Fraction(x1 - x0) * Fraction(y1 - y0)
    assert abs(line - Fraction(proven.attack_rate(epsilon, delta, at))) < Fraction(HAIR) * 10**3


@given(EPSILONS, EPSILONS, SHARES)
def test_more_epsilon_is_never_shown_as_less_risk(
    one: Decimal, other: Decimal, share: Decimal
) -> None:
    less, more = sorted((one, other))
    delta = D("1e-6")
    assert proven.posterior(less, share) <= proven.posterior(more, share) + HAIR
    under, above = (proven.attack_rate(each, delta, share) for each in (less, more))
    assert under <= above + HAIR
    assert proven.advantage(less, delta) <= proven.advantage(more, delta) + HAIR


@pytest.mark.parametrize("epsilon", ["100", "800", "10000", "Infinity"])
def test_the_largest_limits_give_figures_and_not_errors(epsilon: str) -> None:
    loss, delta = D(epsilon), D("1e-6")
    assert proven.attack_rate(loss, delta, D("0.01")) == pytest.approx(D(1))
    assert proven.attack_rate(loss, delta, D(0)) == delta
    assert proven.posterior(loss, D("0.01")) == pytest.approx(D(1))
    assert proven.posterior(loss, D(0)) == 0
    assert proven.advantage(loss, delta) == pytest.approx(D(1))
    assert proven.reconstruction_rate(loss, D(0), D("0.001")) == pytest.approx(D(1))
    assert proven.odds_factor(loss) > D("1e43")
    assert group_bound(loss, delta, 10).delta == 1
    assert group_bound(loss, D(0), 10).delta == 0


def test_a_guess_among_many_is_bounded_more_tightly_where_any_two_are_neighbours() -> None:
    exact = D(1).exp() / (D(1).exp() + 9)
    assert abs(proven.reconstruction_rate_replaced(D(1), D(0), 10) - exact) < D("1e-25")
    assert exact < proven.reconstruction_rate(D(1), D(0), D("0.1"))
    for epsilon, delta in ((D("0.7"), D(0)), (D(2), D("1e-3"))):
        assert (
            abs(
                proven.reconstruction_rate_replaced(epsilon, delta, 2)
                - proven.best_guess(epsilon, delta)
            )
            < HAIR
        )


def test_rebuilding_under_add_remove_can_pass_the_bound_of_replacing() -> None:
    """A mechanism that is 1-DP towards the empty table and rebuilds one of ten in 27 of 100."""
    size, epsilon = 10, D(1)
    right = epsilon.exp() / size
    wrong = (1 - right) / (size - 1)
    blind = D(1) / size
    for share in (right / blind, wrong / blind):
        assert abs(share.ln()) <= epsilon + HAIR.sqrt()
    assert right > proven.reconstruction_rate_replaced(epsilon, D(0), size)
    assert right <= proven.reconstruction_rate(epsilon, D(0), blind) + D("1e-25")


@pytest.mark.parametrize("seed", range(20))
def test_no_mechanism_on_ten_values_rebuilds_more_often_than_is_said(seed: int) -> None:
    """Random channels, their exact loss between any two values, the best guess of each output."""
    draw = random.Random(seed)
    rows = [[Fraction(draw.randint(1, 9)) for _ in range(6)] for _ in range(4)]
    rows = [[each / sum(row) for each in row] for row in rows]
    ratio = max(a / b for p in rows for q in rows for a, b in zip(p, q, strict=True))
    right = sum((max(row[out] for row in rows) for out in range(6)), Fraction(0)) / 4
    epsilon = (D(ratio.numerator) / ratio.denominator).ln()
    assert D(right.numerator) / right.denominator <= (
        proven.reconstruction_rate_replaced(epsilon, D(0), 4) + D("1e-20")
    )


def hockey_stick(p: list[Fraction], q: list[Fraction], factor: Fraction) -> Fraction:
    return sum((max(Fraction(0), a - factor * b) for a, b in zip(p, q, strict=True)), Fraction(0))


@pytest.mark.parametrize("seed", range(30))
def test_no_attack_on_a_channel_beats_the_bound_at_any_of_its_epsilons(seed: int) -> None:
    """Random channels at their exact delta: every threshold test, the guesses, the rebuilding."""
    draw = random.Random(seed)
    size, outputs = 4, 7
    rows = [[Fraction(draw.randint(0, 6)) for _ in range(outputs)] for _ in range(size)]
    rows = [[each / sum(row) for each in row] if sum(row) else [*row] for row in rows]
    rows = [row for row in rows if sum(row)]
    epsilon = D(draw.randint(1, 20)) / 10
    factor = Fraction(epsilon.exp())
    pairs = [(p, q) for p in rows for q in rows if p is not q]
    worst = max(hockey_stick(p, q, factor) for p, q in pairs)
    delta = D(worst.numerator) / worst.denominator
    spare = Fraction(1, 10**40)
    for p, q in pairs:
        order = sorted(range(outputs), key=lambda at: (q[at] > 0, q[at] / p[at] if p[at] else 99))
        caught = alarms = Fraction(0)
        for at in order:
            caught, alarms = caught + p[at], alarms + q[at]
            bound = proven.attack_rate(epsilon, delta, D(alarms.numerator) / alarms.denominator)
            assert caught <= Fraction(bound) + spare
            guess = (caught + 1 - alarms) / 2
            assert guess <= Fraction(proven.best_guess(epsilon, delta)) + spare
    right = sum((max(row[at] for row in rows) for at in range(outputs)), Fraction(0)) / len(rows)
    assert right <= Fraction(proven.reconstruction_rate_replaced(epsilon, delta, len(rows))) + spare


def test_a_positive_claim_about_a_rare_thing_is_mostly_wrong() -> None:
    found = proven.precision(D("0.001"), D("0.04"), D("0.01"))
    assert float(found) == pytest.approx(0.00398, abs=1e-4)
    assert proven.precision(D("0.5"), D(0), D(0)) == 0


@given(EPSILONS, DELTAS, st.integers(1, 12))
def test_a_group_is_what_its_members_compose_to_one_after_the_other(
    epsilon: Decimal, delta: Decimal, size: int
) -> None:
    grown = sum((Fraction((step * epsilon).exp()) for step in range(size)), Fraction(0))
    bound = group_bound(epsilon, delta, size)
    assert bound.epsilon == size * epsilon
    least = min(Fraction(1), Fraction(delta) * grown)
    assert float(bound.delta) == pytest.approx(float(least), rel=1e-15)
