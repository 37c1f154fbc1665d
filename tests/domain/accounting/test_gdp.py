"""`gdp/1` is exact for Gaussians, takes nothing else, and its figures hold when they are read."""

import json
import math
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.accounting.conversions import gaussian_epsilon
from app.domain.accounting.filters import make_policy, policy_from_json
from app.domain.accounting.fits import most_units
from app.domain.accounting.gaussian_curve import (
    gaussian_delta_exact,
    largest_squares_atto,
    upper_tail,
)
from app.domain.accounting.gdp import GdpPolicy
from app.domain.accounting.prices import price
from app.domain.decimals import ATTO
from app.domain.errors import InvalidParameter
from app.domain.mechanisms.parsing import (
    Approximate,
    Composed,
    DiscreteGaussian,
    Gaussian,
    Laplace,
    Mechanism,
    PoissonSampled,
    Repeated,
    Threshold,
    TreeAggregation,
    Zcdp,
)
from app.domain.privacy import Limit, Loss

ADD = "add_remove"


def gdp(epsilon: str, delta: str, split: str = "0.9") -> GdpPolicy:
    policy = make_policy("gdp/1", Limit(Decimal(epsilon), Decimal(delta)), Decimal(split))
    assert isinstance(policy, GdpPolicy)
    return policy


def loss_of(mechanism: Mechanism, units: int = 1) -> Loss:
    return price(mechanism, ADD).charge(units)


# ---- the curve ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["-40", "-5.9", "-1e-9", "0", "1e-30", "1", "5.999", "6", "141"])
def test_a_normal_tail_is_right_to_sixty_digits(value: str) -> None:
    mpmath.mp.dps = 100
    with localcontext() as context:
        context.prec = 80
        ours = mpmath.mpf(str(upper_tail(Decimal(value))))
    exact = mpmath.erfc(mpmath.mpf(value) / mpmath.sqrt(2)) / 2
    assert abs(ours - exact) <= exact * mpmath.mpf(10) ** -60


def balle_wang(squares_atto: int, epsilon: str) -> mpmath.mpf:
    mu = mpmath.sqrt(mpmath.mpf(squares_atto) / ATTO)
    near, far = mpmath.mpf(epsilon) / mu - mu / 2, mpmath.mpf(epsilon) / mu + mu / 2
    tail = [mpmath.erfc(each / mpmath.sqrt(2)) / 2 for each in (near, far)]
    return tail[0] - mpmath.exp(mpmath.mpf(epsilon)) * tail[1]


LIMITS = [("8", "1e-6"), ("1", "1e-9"), ("2.64", "1e-6"), ("0.01", "0.1"), ("10000", "1e-15")]


@pytest.mark.parametrize(("epsilon", "delta"), LIMITS)
def test_mu_squared_is_the_last_integer_that_delta_allows(epsilon: str, delta: str) -> None:
    mpmath.mp.dps = 120
    largest = largest_squares_atto(Decimal(epsilon), Fraction(Decimal(delta)))
    assert balle_wang(largest, epsilon) <= mpmath.mpf(delta)
    assert balle_wang(largest + 2, epsilon) > mpmath.mpf(delta)


def test_a_limit_too_small_for_any_gaussian_admits_none() -> None:
    policy = gdp("1e-12", "1e-15")
    assert policy.squares_atto == 0
    assert not policy.admits(loss_of(Gaussian("1e9")))
    assert policy.remaining(Loss.zero()).epsilon == "0"


@pytest.mark.parametrize(("epsilon", "units"), [("2.64", 832), ("8", 5864)])
def test_the_whole_delta_admits_what_the_published_curve_does(epsilon: str, units: int) -> None:
    one = price(Gaussian("50"), ADD)
    whole = most_units(gdp(epsilon, "1e-6", "1").admits, one, 10**6, beside=Loss.zero())
    assert whole == units
    split = most_units(gdp(epsilon, "1e-6").admits, one, 10**6, beside=Loss.zero())
    assert 0.99 * units < split < units


# ---- what it takes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mechanism",
    [
        DiscreteGaussian("1e6", "1"),
        PoissonSampled("0.01", Gaussian("1e6")),
        PoissonSampled("1", Gaussian("1e6")),
        Laplace("1e9", "1"),
        Zcdp("1e-9"),
        Approximate("0", "1e-12"),
        Threshold(Gaussian("1e6"), 1, "1e-12"),
        Composed((Gaussian("1e6"), Zcdp("1e-9"))),
        Repeated(2, DiscreteGaussian("1e6", "1")),
    ],
    ids=str,
)
def test_anything_but_continuous_unsampled_gaussians_is_refused(mechanism: Mechanism) -> None:
    policy = gdp("8", "1e-6")
    loss = loss_of(mechanism)
    assert loss.gaussian_dead == 1
    assert not policy.admits(loss)
    assert policy.consumed(loss).epsilon == "Infinity"
    assert policy.remaining(loss).epsilon == "0"
    quiet = loss_of(Gaussian("50"))
    assert not policy.admits(quiet + loss)
    assert policy.admits((quiet + loss) - loss)


def test_a_tree_of_gaussians_is_refused_too() -> None:
    loss = price(TreeAggregation("1e6", 100), "zero_out").charge(1)
    assert not gdp("8", "1e-6").admits(loss)


@given(st.decimals("0.001", "1e9", places=3), st.integers(1, 2**30), st.integers(1, 5))
def test_a_charge_is_never_below_the_sum_of_squares_and_hardly_above(
    noise: Decimal, units: int, times: int
) -> None:
    mechanism = Composed((Gaussian(noise), Repeated(times, Gaussian("3"))))
    exact = units * (1 / Fraction(noise) ** 2 + times * Fraction(1, 9)) * ATTO
    charged = loss_of(mechanism, units).gaussian_atto
    assert exact <= charged <= exact + 1 + Fraction(units * (times + 1), ATTO)


def test_replacing_a_unit_costs_four_times_and_voiding_is_exact() -> None:
    once = loss_of(Gaussian("2"), 4)
    replaced = price(Gaussian("2"), "replace_one").charge(4)
    assert (once.gaussian_atto, replaced.gaussian_atto) == (ATTO, 4 * ATTO)
    policy = gdp("1", "1e-6")
    one, two = (price(Gaussian("50"), r) for r in (ADD, "replace_one"))
    often, seldom = (
        most_units(policy.admits, each, 10**6, beside=Loss.zero()) for each in (one, two)
    )
    assert often // 4 == seldom
    assert (one.charge(7) + two.charge(3)) - two.charge(3) == one.charge(7)


def test_order_and_size_of_jobs_do_not_matter() -> None:
    policy = gdp("8", "1e-6")
    one = price(Gaussian("50"), ADD)
    edge = most_units(policy.admits, one, 10**6, beside=Loss.zero())
    held = sum((one.charge(1) for _ in range(edge)), Loss.zero())
    assert held.gaussian_atto == one.charge(edge).gaussian_atto
    assert policy.admits(held)
    assert not policy.admits(held + one.charge(1))


# ---- what is shown --------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.sampled_from(LIMITS[:4]), st.floats(0.0, 1.3))
def test_what_is_shown_is_within_the_limit_and_one_gaussian_of_it_still_passes(
    target: tuple[str, str], share: float
) -> None:
    policy = gdp(*target)
    held_atto = int(policy.squares_atto * share)
    loss = Loss.zero()
    if held_atto:
        loss = Loss((10**9,) * 36, (0,) * 36, 0, 1, 0, held_atto, 0)
    consumed, left = policy.consumed(loss), policy.remaining(loss)
    assert (consumed.delta, left.delta) == ("0", "0")
    if policy.admits(loss):
        assert Decimal(consumed.epsilon) <= policy.limit.epsilon
    shown = Decimal(left.epsilon)
    assert shown <= policy.limit.epsilon
    delta = Fraction(policy.delta_split) * Fraction(policy.limit.delta)
    if shown > 0:
        assert held_atto + largest_squares_atto(shown, delta) <= policy.squares_atto
    if share < 0.5:
        more = shown * Decimal("1.0001") + Decimal("1e-5") * policy.limit.epsilon
        assert held_atto + largest_squares_atto(more, delta) > policy.squares_atto


def test_without_a_share_for_it_the_running_figure_is_the_limit_and_nothing_less() -> None:
    policy = gdp("8", "1e-6", "1")
    assert policy.consumed(Loss.zero()).epsilon == "0"
    assert policy.consumed(loss_of(Gaussian("1e6"))).epsilon == "8"
    assert policy.consumed(loss_of(Gaussian("0.5"))).epsilon == "Infinity"


def test_a_running_figure_rises_with_what_is_held() -> None:
    policy, one = gdp("8", "1e-6"), price(Gaussian("50"), ADD)
    shown = [Decimal(policy.consumed(one.charge(n)).epsilon) for n in (1, 10, 100, 1000, 5822)]
    assert shown == sorted(shown)
    assert shown[2] < 2
    assert shown[-1] == 8


# ---- adaptive readings ----------------------------------------------------------------------


def phi(value: float) -> float:
    return 0.5 * math.erfc(-value / math.sqrt(2.0))


def gain_later(loss: float, level: float, variance: float) -> float:
    """E[(1 - e^(level - L'))_+] where L' is the loss after more Gaussians of this variance."""
    if variance == 0.0:
        return max(0.0, -math.expm1(level - loss))
    root = math.sqrt(variance)
    far = (loss - variance / 2 - level) / root
    return phi((loss + variance / 2 - level) / root) - math.exp(level - loss) * phi(far)


def two_readings(first: float, last: float, levels: tuple[float, float]) -> float:
    """Delta of one who reads at S = `first` and claims there, or goes on to `last`: quadrature."""
    losses = first / 2 + math.sqrt(first) * np.linspace(-12, 12, 24_001)
    density = np.exp(-((losses - first / 2) ** 2) / (2 * first)) / math.sqrt(2 * math.pi * first)
    best = [
        max(0.0, -math.expm1(levels[0] - loss), gain_later(loss, levels[1], last - first))
        for loss in losses
    ]
    return float(np.trapezoid(np.array(best) * density, losses))


def squares(epsilon: float, delta: float) -> float:
    return largest_squares_atto(Decimal(str(epsilon)), Fraction(str(delta))) / ATTO


def test_one_claim_at_the_end_of_a_full_budget_costs_exactly_its_delta() -> None:
    last = squares(8, 1e-6)
    assert two_readings(last / 2, last, (300.0, 8.0)) == pytest.approx(1e-6, rel=1e-4)


@pytest.mark.parametrize(("epsilon", "delta"), [(1.0, 1e-6), (8.0, 1e-6), (2.0, 1e-3)])
def test_the_level_that_would_just_pass_is_no_figure_to_read_after_the_fact(
    epsilon: float, delta: float
) -> None:
    last = squares(epsilon, delta)
    naive = gaussian_epsilon(1 / math.sqrt(last / 2), delta)
    assert two_readings(last / 2, last, (naive, epsilon)) > 1.4 * delta


@pytest.mark.parametrize(("epsilon", "higher"), [("1", "2"), ("8", "12")])
def test_a_raise_that_looked_at_outputs_would_cost_more_than_delta_so_no_limit_moves(
    epsilon: str, higher: str
) -> None:
    delta = 1e-6
    first, last = squares(float(epsilon), delta), squares(float(higher), delta)
    # With most of the small limit spent, the raise is asked for where it pays.
    seen = first * 0.9
    losses = seen / 2 + math.sqrt(seen) * np.linspace(-12, 12, 24_001)
    density = np.exp(-((losses - seen / 2) ** 2) / (2 * seen)) / math.sqrt(2 * math.pi * seen)
    best = [
        max(
            gain_later(loss, float(epsilon), first - seen),
            gain_later(loss, float(higher), last - seen),
        )
        for loss in losses
    ]
    assert np.trapezoid(np.array(best) * density, losses) > 1.2 * delta

    policy = gdp(epsilon, "1e-6")
    with pytest.raises(InvalidParameter):
        policy.raised(Decimal(higher))
    with pytest.raises(InvalidParameter):
        policy.raised_delta(Decimal("1e-5"))
    with pytest.raises(InvalidParameter):
        policy.lowered(Decimal("0.5"), Loss.zero())


def trinomial(mean: Fraction, half_width: float) -> tuple[list[Fraction], float]:
    """A Gaussian told as above, inside or below a band around the middle: its losses are -l, 0, l.

    Masses under P, from above; under Q they are in the opposite order.
    """
    shift = float(mean) / 2
    above, below = Fraction(phi(shift - half_width)), Fraction(phi(-shift - half_width))
    masses = [above, 1 - above - below, below]
    return masses, math.log(above / below)


def best_stop(figures: list[float], masses: list[Fraction], lattice: float) -> float:
    """The most that any stopping rule gains over a walk, in (1 - e^(E-L))_+; backwards, exactly
    but for floats. figures: E after 1, 2, ... steps."""
    steps = len(figures)
    p = [float(each) for each in masses]
    value = np.zeros(0)
    for step in range(steps, 0, -1):
        losses = lattice * np.arange(-step, step + 1)
        stop = np.maximum(0.0, -np.expm1(np.minimum(figures[step - 1] - losses, 1.0)))
        if value.size:
            stop = np.maximum(stop, p[2] * value[:-2] + p[1] * value[1:-1] + p[0] * value[2:])
        value = stop
    return float(p[2] * value[0] + p[1] * value[1] + p[0] * value[2])


@lru_cache
def walk(epsilon: str, delta: str, steps: int) -> tuple[GdpPolicy, Loss, list[Fraction], float]:
    policy = gdp(epsilon, delta)
    noise = text_of(math.sqrt(steps / (policy.squares_atto / ATTO)) * (1 + 1e-9))
    masses, lattice = trinomial(1 / Fraction(noise), 0.6)
    return policy, loss_of(Gaussian(noise)), masses, lattice


def text_of(value: float) -> str:
    return f"{value:.12g}"


@pytest.mark.parametrize(("epsilon", "delta"), [("1", "1e-3"), ("8", "1e-6"), ("2", "1e-2")])
def test_consumed_holds_for_whoever_reads_after_every_job_and_stops_where_it_pays(
    epsilon: str, delta: str
) -> None:
    steps = 120
    policy, each, masses, lattice = walk(epsilon, delta, steps)
    held, ours = Loss.zero(), []
    for _ in range(steps):
        held = held + each
        assert policy.admits(held)
        ours.append(float(policy.consumed(held).epsilon))
    assert best_stop(ours, masses, lattice) <= float(delta)


@pytest.mark.parametrize(("epsilon", "delta"), [("1", "1e-3"), ("2", "1e-2")])
def test_the_same_reader_breaks_the_level_that_would_just_pass(epsilon: str, delta: str) -> None:
    steps = 120
    _, each, masses, lattice = walk(epsilon, delta, steps)
    squares_each = each.gaussian_atto / ATTO
    naive = [
        gaussian_epsilon(1 / math.sqrt(count * squares_each), float(delta))
        for count in range(1, steps + 1)
    ]
    assert best_stop(naive, masses, lattice) > 1.1 * float(delta)


# ---- the stored form ------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["0.9", "1"])
def test_a_stored_policy_is_read_back_exactly_and_not_with_more_room(split: str) -> None:
    policy = gdp("2.50", "1e-9", split)
    stored = json.loads(json.dumps(policy.to_json()))
    assert policy_from_json(stored) == policy
    with pytest.raises(ValueError, match="share"):
        policy_from_json({**stored, "squares_atto": str(policy.squares_atto + 10)})
    with pytest.raises(ValueError, match="weights"):
        policy_from_json({**stored, "weights_2p80": [str(2**80)] * 36})


def test_a_level_is_a_filter_of_its_own() -> None:
    policy = gdp("8", "1e-6")
    level = policy.at_level(Decimal(2))
    assert level.squares_atto == gdp("2", "1e-6").squares_atto
    assert level.weights_2p80 == policy.weights_2p80
    allowed = Fraction("0.9") * Fraction("1e-6")
    assert gaussian_delta_exact(level.squares_atto, Decimal(2)) <= allowed
