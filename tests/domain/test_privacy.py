"""Losses are exact and order free; limits stay in their ranges."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidParameter
from app.domain.privacy import ORDERS, Loss, parse_limit

AMOUNTS = st.integers(min_value=0, max_value=2**130)
COUNTS = st.integers(min_value=0, max_value=3)


@st.composite
def losses(draw: st.DrawFn) -> Loss:
    """Any loss, with few distinct entries so that examples stay small."""
    nats, dead = draw(AMOUNTS), draw(COUNTS)
    head, tail = draw(AMOUNTS), draw(COUNTS)
    rest = len(ORDERS) - 1
    return Loss(
        (head, *(nats,) * rest),
        (*(dead,) * rest, tail),
        draw(AMOUNTS),
        draw(COUNTS),
        draw(AMOUNTS),
        draw(AMOUNTS),
        draw(COUNTS),
    )


@given(st.lists(losses(), min_size=3, max_size=3))
def test_a_sum_does_not_depend_on_its_order(three: list[Loss]) -> None:
    sums = {sum(order, Loss.zero()) for order in itertools.permutations(three)}
    assert len(sums) == 1
    a, b, c = three
    assert (a + b) + c == a + (b + c)


@given(losses(), losses())
def test_voiding_gives_back_exactly_what_was_added(held: Loss, voided: Loss) -> None:
    assert (held + voided) - voided == held
    assert held - Loss.zero() == held


@given(losses())
def test_a_stored_loss_is_read_back_exactly_through_json(loss: Loss) -> None:
    assert Loss.from_json(json.loads(json.dumps(loss.to_json()))) == loss


def test_a_loss_that_would_go_below_zero_is_an_error() -> None:
    one = Loss((1,) * len(ORDERS), (0,) * len(ORDERS), 1, 0, 1, 0, 1)
    with pytest.raises(ValueError, match="negative"):
        Loss.zero() - one
    gaussian = Loss((0,) * len(ORDERS), (0,) * len(ORDERS), 0, 0, 0, 1, 0)
    with pytest.raises(ValueError, match="negative"):
        Loss.zero() - gaussian


def test_a_loss_of_other_orders_is_not_read() -> None:
    document = {**Loss.zero().to_json(), "orders": "rdp-35/1"}
    with pytest.raises(ValueError, match="orders"):
        Loss.from_json(document)


def test_there_are_36_orders_rising_from_above_one() -> None:
    assert len(ORDERS) == 36
    assert list(ORDERS) == sorted(set(ORDERS))
    assert ORDERS[0] == 1.25
    assert ORDERS[-1] == 1024


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"epsilon": "0", "delta": "1e-6"}, "/limit/epsilon"),
        ({"epsilon": "10000.1", "delta": "1e-6"}, "/limit/epsilon"),
        ({"epsilon": 1, "delta": "1e-6"}, "/limit/epsilon"),
        ({"epsilon": "1", "delta": "0.2"}, "/limit/delta"),
        ({"epsilon": "1", "delta": "1e-16"}, "/limit/delta"),
        ({"epsilon": "1", "delta": False}, "/limit/delta"),
        ({"epsilon": "1"}, "/limit/delta"),
        ({"epsilon": "1", "delta": "0", "rho": "1"}, "/limit/rho"),
        ("1", "/limit"),
    ],
)
def test_a_limit_outside_its_range_is_refused(document: object, pointer: str) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        parse_limit(document)
    assert refusal.value.pointer == pointer
