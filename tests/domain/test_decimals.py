"""Decimals are exact, refuse what JSON would smuggle in, and round against us."""

import copy
import math
import pickle
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.decimals import (
    ATTO,
    atto_text,
    decimal_text,
    float_down,
    float_up,
    parse_decimal,
    parse_signed_decimal,
    text_down,
    text_up,
    to_atto_down,
    to_atto_up,
)
from app.domain.errors import InvalidParameter

FRACTIONS = st.fractions(min_value=0, max_value=10**12).filter(bool)


@pytest.mark.parametrize(
    "value",
    [
        1,
        1.0,
        True,
        None,
        Decimal(1),
        "NaN",
        "nan",
        "Infinity",
        "-1",
        "+1",
        "",
        " 1",
        "1 ",
        "1\n",
        "1.",
        ".5",
        "1e",
        "1e+5",
        "0x10",
        "1_000",
        "\u0661",
        "1,5",
        "1" * 41,
        "1e401",
        "1e-401",
        "1e99999999999999999999",
        ["1"],
    ],
)
def test_what_is_not_a_plain_decimal_string_is_refused(value: object) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        parse_decimal(value, "/a")
    assert refusal.value.pointer == "/a"


@pytest.mark.parametrize("text", ["0", "1", "0.10", "1e-6", "1E-6", "0001.50", "1e400", "12e3"])
def test_a_decimal_keeps_the_text_it_came_with(text: str) -> None:
    value = parse_decimal(text, "/a")
    assert value == Decimal(text)
    for same in (value, pickle.loads(pickle.dumps(value)), copy.deepcopy(value), copy.copy(value)):
        assert decimal_text(same) == text


def test_only_bounds_may_be_negative() -> None:
    assert parse_signed_decimal("-0.5", "/a") == Decimal("-0.5")
    with pytest.raises(InvalidParameter):
        parse_signed_decimal("--1", "/a")


@given(FRACTIONS)
def test_floats_bracket_the_exact_value_by_one_step(value: Fraction) -> None:
    up, down = float_up(value), float_down(value)
    assert Fraction(down) <= value <= Fraction(up)
    assert up == down or math.nextafter(down, math.inf) == up


def test_floats_beyond_the_largest_stay_on_their_side() -> None:
    assert float_up(Decimal("1e400")) == math.inf
    assert math.isfinite(float_down(Decimal("1e400")))
    assert float_up(Decimal("1e-400")) > 0.0
    assert float_down(Decimal("1e-400")) == 0.0


@given(FRACTIONS)
def test_attos_bracket_the_exact_value_by_one_unit(value: Fraction) -> None:
    assert to_atto_down(value) <= value * ATTO <= to_atto_up(value)
    assert to_atto_up(value) - to_atto_down(value) <= 1


@given(st.integers(min_value=0, max_value=10**30))
def test_an_atto_text_is_exact_and_can_be_read_back(value_atto: int) -> None:
    assert Fraction(parse_decimal(atto_text(value_atto), "/a")) * ATTO == value_atto


@given(FRACTIONS, st.integers(min_value=1, max_value=9))
def test_rounded_texts_bracket_the_value_and_keep_their_digits(
    value: Fraction, digits: int
) -> None:
    up, down = (
        parse_decimal(text_up(value, digits), "/a"),
        parse_decimal(text_down(value, digits), "/a"),
    )
    assert Fraction(down) <= value <= Fraction(up)
    assert Fraction(up) - Fraction(down) <= value / 10 ** (digits - 1)
    for text in (up, down):
        assert len(text.normalize().as_tuple().digits) <= digits


def test_zero_is_written_as_zero() -> None:
    assert text_up(Fraction(0), 6) == text_down(Fraction(0), 6) == atto_text(0) == "0"
