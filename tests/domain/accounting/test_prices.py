"""A price is never below the true loss, and no way of composing or splitting makes it cheaper."""

import json
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.accounting import prices
from app.domain.accounting.poisson import poisson_gaussian
from app.domain.accounting.prices import DEAD_FROM_2P40, Price, charge_parts, price
from app.domain.accounting.relations import UNITS_MOVED, Terms, terms_of
from app.domain.decimals import NAT_2P40
from app.domain.errors import MechanismNotPriced
from app.domain.mechanisms.kinds import Zcdp
from app.domain.mechanisms.parsing import (
    KINDS,
    Approximate,
    Composed,
    DiscreteGaussian,
    DiscreteLaplace,
    Exponential,
    Gaussian,
    Laplace,
    Mechanism,
    PoissonSampled,
    Pure,
    RandomizedResponse,
    Repeated,
    Threshold,
    TreeAggregation,
    parse_mechanism,
)
from app.domain.privacy import ORDERS, Loss

mpmath.mp.dps = 50
RELATIONS = ("add_remove", "replace_one", "zero_out")
ADD = "add_remove"


def number(value: Any) -> Any:
    return mpmath.mpf(str(value))


def exact_nats(mechanism: Mechanism, order: Fraction) -> Any:
    """The true divergence of one unit under add_remove, at 50 digits, from its definition."""
    a = mpmath.mpf(order.numerator) / order.denominator
    match mechanism:
        case Gaussian(noise_multiplier=s):
            return a / (2 * number(s) ** 2)
        case DiscreteGaussian(sigma=sigma, sensitivity_l2=moved):
            return a * number(moved) ** 2 / (2 * number(sigma) ** 2)
        case Zcdp(rho=rho, xi=xi):
            return number(rho) * a + number(xi)
        case TreeAggregation(noise_multiplier=s, steps=steps):
            return mpmath.ceil(mpmath.log(steps + 1, 2)) * a / (2 * number(s) ** 2)
        case Laplace(scale=b, sensitivity_l1=moved):
            e = number(moved) / number(b)
            u, v = a / (2 * a - 1), (a - 1) / (2 * a - 1)
            return mpmath.log(u * mpmath.exp((a - 1) * e) + v * mpmath.exp(-a * e)) / (a - 1)
        case Pure(epsilon=epsilon):
            e = number(epsilon)
            p, rest = 1 / (1 + mpmath.exp(-e)), 1 / (1 + mpmath.exp(e))
            moment = p**a * rest ** (1 - a) + rest**a * p ** (1 - a)
            return mpmath.log(moment) / (a - 1)
        case DiscreteLaplace(scale=b, sensitivity_l1=moved):
            p = mpmath.exp(-1 / number(b))
            shift = int(moved)
            c = (1 - p) / (1 + p)
            # Noise around S against noise around 0: below 0 and above S the ratio is constant.
            below = c * p ** (a * shift) * p / (1 - p)
            above = c * p ** ((1 - a) * shift) * p / (1 - p)
            between = mpmath.fsum(
                c * p ** (a * (shift - k) + (1 - a) * k) for k in range(shift + 1)
            )
            return mpmath.log(below + between + above) / (a - 1)
    raise AssertionError(mechanism)


LEAVES: list[Mechanism] = [
    Gaussian("1.1"),
    Gaussian("50"),
    Gaussian("1e9"),
    DiscreteGaussian("10", "2"),
    DiscreteGaussian("1000.1", "1.7320508"),
    Zcdp("0.1", "0.01"),
    Zcdp("1e-15"),
    Laplace("1", "1"),
    Laplace("3", "1e-9"),
    Laplace("1", "500"),
    Laplace("123.4", "5.5"),
    Pure("1"),
    Pure("1e-9"),
    Pure("0.01"),
    Pure("700"),
    DiscreteLaplace("0.7", "1"),
    DiscreteLaplace("3", "5"),
    DiscreteLaplace("40", "3"),
    DiscreteLaplace("1e6", "2"),
    DiscreteLaplace("0.05", "20"),
]


@pytest.mark.parametrize("mechanism", LEAVES, ids=str)
def test_one_unit_is_charged_at_least_its_true_loss_and_hardly_more(mechanism: Mechanism) -> None:
    charge = price(mechanism, ADD).charge(10**6)
    for order, nats, dead in zip(ORDERS, charge.nats_2p40, charge.dead, strict=True):
        true = exact_nats(mechanism, order) * NAT_2P40 * 10**6
        if dead:
            assert true > DEAD_FROM_2P40 * (1 - 1e-6)
            continue
        assert nats >= true
        assert nats <= true * (1 + mpmath.mpf("1.1e-9")) + 2.0**-49 * NAT_2P40 * 10**6 + 2


@pytest.mark.parametrize("shifts", [(1, 1, 1), (2, 1), (5, 4, 3)])
@pytest.mark.parametrize("kind", [DiscreteLaplace, Laplace])
def test_a_sensitivity_spread_over_cells_never_costs_more_than_in_one(
    shifts: tuple[int, ...], kind: type[Laplace] | type[DiscreteLaplace]
) -> None:
    together = price(kind("2", str(sum(shifts))), ADD).charge(10**9)
    apart = charge_parts((price(kind("2", str(shift)), ADD), 10**9) for shift in shifts)
    pairs = zip(apart.nats_2p40, together.nats_2p40, strict=True)
    assert all(one <= both * (1 + 1e-8) for one, both in pairs)


def test_discrete_laplace_is_dearer_than_laplace_of_the_same_scale() -> None:
    discrete = price(DiscreteLaplace("0.7", "1"), ADD).charge(10**3)
    continuous = price(Laplace("0.7", "1"), ADD).charge(10**3)
    ratios = [
        one / other for one, other in zip(discrete.nats_2p40, continuous.nats_2p40, strict=True)
    ]
    assert max(ratios) > 1.1
    assert min(ratios) >= 1.0 - 1e-8


@pytest.mark.parametrize("epsilon", ["0.1", "1", "4", "12"])
def test_the_exponential_mechanism_covers_every_loss_of_bounded_range(epsilon: str) -> None:
    e = float(epsilon)
    t = np.linspace(1e-6, 1 - 1e-6, 2001) * e
    log_p = np.log(-np.expm1(t - e)) - math.log(-math.expm1(-e))
    log_rest = np.log(-np.expm1(-t)) - math.log(-math.expm1(-e)) + t - e
    vector = price(Exponential(epsilon), ADD).terms[0][1]
    for order, nats in zip(ORDERS, vector, strict=True):
        a = float(order) - 1.0
        worst = np.max(np.logaddexp(log_p + a * t, log_rest + a * (t - e))) / a
        assert worst <= nats * (1 + 1e-9)


def quadrature(q: float, s: float, order: float) -> Any:
    """The true divergence of a Poisson-sampled Gaussian, by its definition as an integral."""
    q, s, a = number(q), number(s), number(order)

    def density(x: Any) -> Any:
        ratio = 1 - q + q * mpmath.exp((2 * x - 1) / (2 * s * s))
        return mpmath.npdf(x, 0, s) * (ratio**a - 1)

    reach = 14 * s + a
    points = [-reach, -s, 0, mpmath.mpf("0.5"), 1, 1 + s, a, a + 4 * s, reach + a]
    return mpmath.log1p(mpmath.quad(density, sorted(set(points)))) / (a - 1)


@pytest.mark.parametrize(
    ("q", "s"), [(0.01, 1.1), (0.49, 1.0), (0.3, 5.0), (1e-4, 0.7), (1e-6, 2.0), (0.05, 30.0)]
)
def test_a_sampled_gaussian_is_never_priced_below_its_integral(q: float, s: float) -> None:
    mpmath.mp.dps = 30
    vector = poisson_gaussian(q, s)
    for index in (0, 1, 2, 3, 6, 8, 10, 11):
        order = float(ORDERS[index])
        true = quadrature(q, s, order)
        charged = vector[index] * (1 + 1e-9) + 2.0**-50
        assert charged >= true
        if order == int(order):
            assert abs(vector[index] - true) <= true * mpmath.mpf("1e-9")


@pytest.mark.parametrize(("q", "s"), [(1e-9, 1.0), (1e-8, 100.0), (1e-9, 1e9), (0.999, 1.0)])
def test_whole_orders_of_a_sampled_gaussian_keep_their_digits_at_the_edges(
    q: float, s: float
) -> None:
    mpmath.mp.dps = 60
    for a in (2, 3, 8, 64):
        terms = (
            mpmath.binomial(a, k)
            * (1 - number(q)) ** (a - k)
            * number(q) ** k
            * mpmath.exp(number(k * k - k) / (2 * number(s) ** 2))
            for k in range(a + 1)
        )
        true = mpmath.log(mpmath.fsum(terms)) / (a - 1)
        value = poisson_gaussian(q, s)[ORDERS.index(Fraction(a))]
        assert abs(value - true) <= true * mpmath.mpf("1e-10")


def test_sampling_everything_costs_what_not_sampling_costs() -> None:
    sampled = price(PoissonSampled("1", Gaussian("1.1")), ADD).charge(10**6)
    plain = price(Gaussian("1.1"), ADD).charge(10**6)
    pairs = zip(sampled.nats_2p40, plain.nats_2p40, strict=True)
    assert all(abs(a - b) <= b * 1e-12 + 1 for a, b in pairs)


@pytest.mark.parametrize(
    "mechanism",
    [
        Gaussian("1.1"),
        PoissonSampled("0.01", Gaussian("1.1")),
        Threshold(DiscreteLaplace("3", "1"), 3, "1.23e-10"),
        Composed((Pure("0.1"), Gaussian("3"))),
    ],
    ids=str,
)
def test_every_way_to_write_a_composition_has_the_same_price(mechanism: Mechanism) -> None:
    units = 12
    plain = price(mechanism, ADD).charge(units)
    ways: list[tuple[Mechanism, int]] = [
        (Repeated(units, mechanism), 1),
        (Repeated(3, mechanism), 4),
        (Repeated(2, Repeated(3, mechanism)), 2),
        (Composed((mechanism,) * 4), 3),
        (Composed((mechanism, Repeated(2, mechanism), mechanism)), 3),
    ]
    for way, times in ways:
        assert price(way, ADD).charge(times) == plain


MANY = [
    Gaussian("7.77"),
    Pure("0.3"),
    PoissonSampled("0.001", Gaussian("2")),
    Gaussian("0.02"),
    Threshold(Laplace("3", "1"), 2, "1.5e-15"),
    Approximate("0.1", "1e-15"),
]


def at_least(one: Loss, other: Loss) -> bool:
    """Whether one loss is nowhere below another; a dead order is above every number."""
    pairs = zip(one.nats_2p40, one.dead, other.nats_2p40, other.dead, strict=True)
    orders = all(
        a_dead > 0 or (b_dead == 0 and a >= b) or (b_dead > 0 and a >= DEAD_FROM_2P40)
        for a, a_dead, b, b_dead in pairs
    )
    maxima = one.maximum_dead > 0 or one.maximum_atto >= other.maximum_atto
    return orders and maxima and one.delta_atto >= other.delta_atto


@given(st.sampled_from(MANY), st.lists(st.integers(1, 2**34), min_size=1, max_size=5))
def test_charging_in_pieces_never_costs_less_than_at_once(
    mechanism: Mechanism, pieces: list[int]
) -> None:
    one = price(mechanism, ADD)
    assert at_least(charge_parts((one, units) for units in pieces), one.charge(sum(pieces)))


@given(st.sampled_from(MANY), st.integers(0, 2**40), st.integers(0, 2**40))
def test_more_units_never_cost_less(mechanism: Mechanism, units: int, more: int) -> None:
    one = price(mechanism, ADD)
    assert at_least(one.charge(units + more), one.charge(units))


def test_a_charge_is_the_inflated_library_value_times_units_rounded_up_once() -> None:
    one = price(Composed((Gaussian("50"), Repeated(3, Pure("0.3")))), ADD)
    assert [count for count, _ in one.terms] == [1, 3]
    for units in (1, 7, 1000):
        for order, charged in enumerate(one.charge(units).nats_2p40):
            unit = sum(
                count * (Fraction(vector[order]) * (1 + Fraction(1, 10**9)) + Fraction(1, 2**50))
                for count, vector in one.terms
            )
            assert charged == math.ceil(unit * units * NAT_2P40)


def test_a_mechanism_whose_divergence_is_zero_is_charged_for_its_margin() -> None:
    silent = price(Approximate("0", "1e-9"), ADD)
    assert set(silent.terms[0][1]) == {0.0}
    assert min(silent.charge(1).nats_2p40) == 1
    assert min(silent.charge(2**20).nats_2p40) == 2**10


def test_one_unit_of_the_faintest_mechanism_is_not_free() -> None:
    charge = price(Gaussian("1e9"), ADD).charge(1)
    assert min(charge.nats_2p40) >= 1
    assert price(Gaussian("1e9"), ADD).charge(0) == Loss.zero()


def test_an_order_beyond_2p54_is_dead_and_its_void_is_exact() -> None:
    loud, quiet = price(Gaussian("0.2"), ADD).charge(50), price(Gaussian("5"), ADD).charge(50)
    assert loud.dead[-1] == 1
    assert loud.nats_2p40[-1] == 0
    assert loud.dead[0] == 0
    assert (loud + quiet) - loud == quiet
    assert all(nats < DEAD_FROM_2P40 for nats in loud.nats_2p40)


@pytest.mark.parametrize("units", [-1, True, 1.0, "1"])
def test_a_charge_of_units_that_are_not_a_count_is_an_error(units: Any) -> None:
    with pytest.raises(ValueError, match="units"):
        price(Pure("1"), ADD).charge(units)


def test_worst_cases_and_deltas_are_exact_decimals() -> None:
    assert price(Pure("0.01"), ADD).charge(100).maximum_atto == 10**18
    third = price(Laplace("3", "1"), ADD)
    assert third.maximum_atto == 333_333_333_333_333_334
    threshold = price(Threshold(Laplace("3", "1"), 3, "1e-10"), ADD).charge(2)
    assert threshold.maximum_atto == 2 * 10**18
    assert threshold.delta_atto == 2 * 10**8
    for unbounded in (Gaussian("1"), Zcdp("1"), DiscreteGaussian("1", "1")):
        assert price(unbounded, ADD).charge(7).maximum_dead == 1


EXPECTED_REFUSALS = {
    ("poisson_sampled", "replace_one"),
    ("tree_aggregation", "add_remove"),
    ("tree_aggregation", "replace_one"),
    ("randomized_response", "add_remove"),
}
EXAMPLES: dict[str, Mechanism] = {
    example.type: example
    for example in (
        Gaussian("1"),
        Laplace("1", "1"),
        DiscreteLaplace("1", "1"),
        DiscreteGaussian("1", "1"),
        Pure("1"),
        Approximate("1", "1e-9"),
        Zcdp("1"),
        Exponential("1"),
        RandomizedResponse("1"),
        Threshold(Laplace("1", "1"), 1, "1e-9"),
        TreeAggregation("1", 10),
        PoissonSampled("0.1", Gaussian("1")),
        Repeated(2, Gaussian("1")),
        Composed((Gaussian("1"), Pure("1"))),
    )
}


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_mechanism_is_priced_in_just_the_relations_that_have_a_rule(
    kind: str, relation: str
) -> None:
    if (kind, relation) in EXPECTED_REFUSALS:
        with pytest.raises(MechanismNotPriced):
            price(EXAMPLES[kind], relation)
    else:
        assert price(EXAMPLES[kind], relation).charge(1) != Loss.zero()


@pytest.mark.parametrize(
    ("mechanism", "relation"),
    [
        (Zcdp("1", "0.1"), "replace_one"),
        (Composed((Pure("1"), TreeAggregation("1", 3))), "add_remove"),
        (Repeated(2, PoissonSampled("0.1", Gaussian("1"))), "replace_one"),
        (PoissonSampled("0.1", Laplace("1", "1")), "add_remove"),
        (PoissonSampled("0.1", PoissonSampled("0.1", Gaussian("1"))), "add_remove"),
        (Gaussian("1"), "replace_special"),
        (Gaussian("1"), ""),
        (Mechanism(), "add_remove"),
    ],
    ids=str,
)
def test_what_has_no_proven_rule_is_refused(mechanism: Mechanism, relation: str) -> None:
    with pytest.raises(MechanismNotPriced):
        price(mechanism, relation)


@pytest.mark.parametrize("kind", [k for k, v in UNITS_MOVED.items() if v.get("replace_one") == 2])
def test_replacing_a_unit_never_costs_less_than_removing_and_adding_one_in_worst_case(
    kind: type[Mechanism],
) -> None:
    once = price(EXAMPLES[kind.type], ADD).charge(1)
    replaced = price(EXAMPLES[kind.type], "replace_one").charge(1)
    assert at_least(replaced, once)
    if not once.maximum_dead:
        assert replaced.maximum_atto == 2 * once.maximum_atto
    assert replaced.delta_atto >= 2 * once.delta_atto
    pairs = zip(once.nats_2p40, replaced.nats_2p40, strict=True)
    assert any(two > 1.9 * one for one, two in pairs)


@pytest.mark.parametrize(
    ("stated", "moved_twice_as_far"),
    [
        (Gaussian("3"), Gaussian("1.5")),
        (DiscreteGaussian("10", "1.5"), DiscreteGaussian("10", "3")),
        (Zcdp("0.1"), Zcdp("0.4")),
        (Laplace("3", "1"), Laplace("3", "2")),
        (DiscreteLaplace("3", "2"), DiscreteLaplace("3", "4")),
        (Pure("0.3"), Pure("0.6")),
        (Exponential("0.3"), Exponential("0.6")),
        (
            Threshold(Laplace("3", "1"), 2, "1e-9"),
            Threshold(Laplace("3", "1"), 4, "2e-9"),
        ),
    ],
    ids=str,
)
def test_replacing_costs_what_twice_the_reach_costs(
    stated: Mechanism, moved_twice_as_far: Mechanism
) -> None:
    assert price(stated, "replace_one").charge(9) == price(moved_twice_as_far, ADD).charge(9)


def test_replacing_costs_a_black_box_its_group_delta() -> None:
    delta = price(Approximate("1", "1e-9"), "replace_one").delta_atto
    assert delta == math.ceil((1 + mpmath.e) * 10**9)


def test_a_stored_price_is_read_back_exactly_and_charges_the_same() -> None:
    mechanism = Composed((PoissonSampled("0.010", Gaussian("1.10")), Pure("1"), Gaussian("0.001")))
    one = price(mechanism, ADD)
    again = Price.from_json(json.loads(json.dumps(one.to_json())))
    assert again == one
    assert again.to_json() == one.to_json()
    assert again.charge(12345) == one.charge(12345)


@pytest.mark.parametrize("field", ["relation", "priced_by", "digest"])
def test_a_stored_price_whose_facts_were_changed_is_not_read(field: str) -> None:
    document = price(Gaussian("1"), ADD).to_json()
    with pytest.raises(ValueError, match="digest"):
        Price.from_json({**document, field: "zero_out"})


def test_the_digest_tells_mechanisms_relations_and_texts_apart() -> None:
    digests = {
        price(mechanism, relation).digest
        for mechanism, relation in [
            (Gaussian("1.1"), ADD),
            (Gaussian("1.10"), ADD),
            (Gaussian("1.1"), "zero_out"),
            (Gaussian("1.1", sampler="chacha20"), ADD),
            (Gaussian("1.2"), ADD),
        ]
    }
    assert len(digests) == 5
    assert price(Gaussian("1.10"), ADD).mechanism.to_json()["noise_multiplier"] == "1.10"


def test_a_divergence_that_is_not_a_number_is_no_price() -> None:
    good = price(Gaussian("1"), ADD)
    for bad in (math.nan, -1e-300, -math.inf):
        vector = (bad, *good.terms[0][1][1:])
        with pytest.raises(MechanismNotPriced):
            Price(good.mechanism, ADD, ((1, vector),), None, 0, None, good.priced_by)


def test_a_cold_price_that_many_ask_for_at_once_is_worked_out_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def slow(mechanism: Mechanism, relation: str) -> Terms:
        asked.append(mechanism)
        time.sleep(0.05)
        return terms_of(mechanism, relation)

    monkeypatch.setattr(prices, "terms_of", slow)
    cold = Gaussian("12.000345")
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: price(cold, "add_remove").digest, range(8)))
    assert (len(asked), len(set(found))) == (1, 1)


def test_pricing_a_gaussian_loads_neither_the_library_nor_anything_of_the_service() -> None:
    code = (
        "import sys; from app.domain.accounting.prices import price;"
        "from app.domain.mechanisms.parsing import Gaussian;"
        "from app.domain.accounting import filters, calibration; from app.domain import risk;"
        "price(Gaussian('1'), 'add_remove');"
        "print([name for name in ('dp_accounting', 'scipy', 'sqlalchemy', 'pydantic', 'torch')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_the_library_says_nothing_when_an_order_does_not_converge(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    poisson_gaussian(0.2, 1.0)
    poisson_gaussian(0.5, 1.0)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


@pytest.mark.parametrize("epsilon", ["0.5", "41.45", "400", "9999", "10000"])
def test_a_delta_for_two_units_is_never_more_than_one(epsilon: str) -> None:
    """Whatever runs is (epsilon, 1)-DP; a delta of 4,300 digits could not even be written down."""
    mechanism = parse_mechanism({"type": "approximate", "epsilon": epsilon, "delta": "0.1"})
    found = price(mechanism, "replace_one")
    grown = 0.1 * (1 + math.exp(min(float(epsilon), 700.0)))
    assert found.delta_atto <= 10**18
    assert found.delta_atto >= min(grown, 1.0) * 1e18 * (1 - 1e-12)
    assert Price.from_json(found.to_json()) == found
