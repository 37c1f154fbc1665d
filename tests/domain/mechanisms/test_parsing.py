"""Mechanisms keep their texts, and nothing malformed, unbounded or disguised becomes one."""

import copy
import pickle
from decimal import Decimal
from typing import Any

import pytest

from app.domain.errors import InvalidParameter, RefusedByName
from app.domain.mechanisms.parsing import (
    KINDS,
    MOST_NODES,
    REFUSED_FORMS,
    Composed,
    DiscreteLaplace,
    Gaussian,
    Laplace,
    Part,
    PoissonSampled,
    Pure,
    Repeated,
    Threshold,
    parse_mechanism,
    parse_part,
)

GAUSSIAN = {"type": "gaussian", "noise_multiplier": "1.10"}
ALL_FORMS: list[dict[str, Any]] = [
    {**GAUSSIAN, "sampler": "chacha20 box-muller/1"},
    {"type": "laplace", "scale": "1e1", "sensitivity_l1": "0.5"},
    {"type": "discrete_laplace", "scale": "10.0", "sensitivity_l1": "3"},
    {"type": "discrete_gaussian", "sigma": "10", "sensitivity_l2": "1.5"},
    {"type": "pure", "epsilon": "0.10"},
    {"type": "approximate", "epsilon": "0", "delta": "1e-9"},
    {"type": "zcdp", "rho": "0.1", "xi": "0"},
    {"type": "exponential", "epsilon": "1"},
    {"type": "randomized_response", "epsilon": "1"},
    {
        "type": "threshold",
        "of": {"type": "discrete_laplace", "scale": "3", "sensitivity_l1": "1"},
        "groups": 3,
        "delta": "1e-10",
    },
    {"type": "tree_aggregation", "noise_multiplier": "1", "steps": 1600},
    {"type": "poisson_sampled", "rate": "0.010", "of": GAUSSIAN},
    {"type": "repeated", "count": 2**40, "of": GAUSSIAN},
    {"type": "composed", "of": [GAUSSIAN, {"type": "pure", "epsilon": "1"}]},
]


def test_every_kind_has_a_form_in_these_tests() -> None:
    assert {form["type"] for form in ALL_FORMS} == set(KINDS)


@pytest.mark.parametrize("form", ALL_FORMS, ids=lambda form: str(form["type"]))
def test_a_form_is_given_back_exactly_as_it_was_sent(form: dict[str, Any]) -> None:
    mechanism = parse_mechanism(form)
    assert mechanism.to_json() == form
    for same in (pickle.loads(pickle.dumps(mechanism)), copy.deepcopy(mechanism)):
        assert same == mechanism
        assert same.to_json() == form


@pytest.mark.parametrize("form", ALL_FORMS, ids=lambda form: str(form["type"]))
def test_an_unknown_or_missing_key_is_refused(form: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter) as unknown:
        parse_mechanism({**form, "relation": "add_remove"})
    assert unknown.value.pointer == "/mechanism/relation"
    for key in form.keys() - {"type", "xi", "sampler"}:
        with pytest.raises(InvalidParameter) as missing:
            parse_mechanism({name: value for name, value in form.items() if name != key})
        assert missing.value.pointer == f"/mechanism/{key}"


@pytest.mark.parametrize("form", ALL_FORMS, ids=lambda form: str(form["type"]))
@pytest.mark.parametrize("bad", [1, 1.5, True, None, "NaN", "Infinity", "-1", "", [], {}, "1e300"])
def test_no_field_takes_a_value_that_is_not_its_own(form: dict[str, Any], bad: object) -> None:
    for key in form.keys() - {"type", "sampler"}:
        if type(form[key]) is int and type(bad) is int:
            continue
        with pytest.raises(InvalidParameter) as refusal:
            parse_mechanism({**form, key: bad})
        assert refusal.value.pointer.startswith("/mechanism")


@pytest.mark.parametrize(
    ("form", "pointer"),
    [
        ({"type": "gaussian", "noise_multiplier": "0.0009"}, "/noise_multiplier"),
        ({"type": "gaussian", "noise_multiplier": "1000000001"}, "/noise_multiplier"),
        ({"type": "poisson_sampled", "rate": "0", "of": GAUSSIAN}, "/rate"),
        ({"type": "poisson_sampled", "rate": "9e-10", "of": GAUSSIAN}, "/rate"),
        ({"type": "poisson_sampled", "rate": "1.001", "of": GAUSSIAN}, "/rate"),
        ({"type": "repeated", "count": 0, "of": GAUSSIAN}, "/count"),
        ({"type": "repeated", "count": 2**40 + 1, "of": GAUSSIAN}, "/count"),
        ({"type": "laplace", "scale": "0", "sensitivity_l1": "1"}, "/scale"),
        ({"type": "laplace", "scale": "1", "sensitivity_l1": "10001"}, "/scale"),
        ({"type": "discrete_laplace", "scale": "1", "sensitivity_l1": "1.5"}, "/sensitivity_l1"),
        ({"type": "discrete_gaussian", "sigma": "1e-4", "sensitivity_l2": "1"}, "/sigma"),
        ({"type": "pure", "epsilon": "0"}, "/epsilon"),
        ({"type": "approximate", "epsilon": "1", "delta": "0"}, "/delta"),
        (
            {
                "type": "threshold",
                "of": {"type": "pure", "epsilon": "1"},
                "groups": 1,
                "delta": "1e-9",
            },
            "/of",
        ),
        ({"type": "composed", "of": []}, "/of"),
        ({"type": "composed", "of": GAUSSIAN}, "/of"),
        ({"type": "composed", "of": [GAUSSIAN, {"type": "gauss"}]}, "/of/1/type"),
        ({"type": "mystery"}, "/type"),
        ({"type": ["gaussian"]}, "/type"),
        ({**GAUSSIAN, "sampler": "x" * 65}, "/sampler"),
        ({**GAUSSIAN, "sampler": "a\nb"}, "/sampler"),
    ],
)
def test_a_value_out_of_range_is_refused_where_it_stands(form: Any, pointer: str) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        parse_mechanism(form)
    assert refusal.value.pointer == f"/mechanism{pointer}"


def test_depth_and_width_together_are_bounded() -> None:
    deep: dict[str, Any] = GAUSSIAN
    for _ in range(8):
        deep = {"type": "repeated", "count": 1, "of": deep}
    with pytest.raises(InvalidParameter, match="deeper"):
        parse_mechanism(deep)
    with pytest.raises(InvalidParameter, match="more than"):
        parse_mechanism({"type": "composed", "of": [GAUSSIAN] * MOST_NODES})
    assert parse_mechanism({"type": "composed", "of": [GAUSSIAN] * (MOST_NODES - 1)})


@pytest.mark.parametrize("form", REFUSED_FORMS)
def test_a_form_that_only_looks_private_is_refused_by_its_name(form: str) -> None:
    with pytest.raises(RefusedByName) as refusal:
        parse_mechanism({"type": "repeated", "count": 2, "of": {"type": form}})
    assert refusal.value.form == form
    assert refusal.value.pointer == "/mechanism/of/type"
    assert refusal.value.instead


@pytest.mark.parametrize("sampler", ["shuffle/1", "Fixed-size batches", "without replacement"])
def test_a_poisson_price_is_not_given_to_another_sampler(sampler: str) -> None:
    with pytest.raises(RefusedByName):
        parse_mechanism(
            {"type": "poisson_sampled", "rate": "0.01", "of": GAUSSIAN, "sampler": sampler}
        )


def test_code_that_builds_mechanisms_meets_the_same_checks() -> None:
    assert Gaussian("1.1") == Gaussian(Decimal("1.10"))
    for bad in (Decimal("NaN"), Decimal("Infinity"), Decimal(-1), Decimal(0)):
        with pytest.raises(InvalidParameter):
            Gaussian(bad)
    with pytest.raises(InvalidParameter):
        Laplace("1", 1.0)  # type: ignore[arg-type]
    with pytest.raises(InvalidParameter):
        Repeated(True, Gaussian("1"))
    with pytest.raises(InvalidParameter):
        PoissonSampled("0.1", "gaussian")  # type: ignore[arg-type]
    with pytest.raises(InvalidParameter):
        Composed(())
    with pytest.raises(InvalidParameter):
        Threshold(DiscreteLaplace("1", "1"), 0, "1e-9")


@pytest.mark.parametrize("units", [0, -1, True, 1.0, "1", 2**40 + 1, None])
def test_a_part_has_a_whole_number_of_units(units: Any) -> None:
    with pytest.raises(InvalidParameter):
        Part(Pure("1"), units)
    with pytest.raises(InvalidParameter) as refusal:
        parse_part({"mechanism": GAUSSIAN, "max_units": units}, "/parts/0")
    assert refusal.value.pointer == "/parts/0/max_units"
