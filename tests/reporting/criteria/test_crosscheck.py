"""The second accountant against the first: it finds what is missing, and never cries wolf."""

from decimal import Decimal
from fractions import Fraction

import pytest

from app.domain.accounting.prices import Price, price
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import ORDERS
from app.reporting.criteria.crosscheck import (
    CHECKED_ORDERS,
    charged_nats,
    divergence,
    epsilon_of,
    falls_short,
    worst_case,
)
from tests.histories import APPROXIMATES, GAUSSIANS, OTHERS, PURES

KNOWN = [*GAUSSIANS, *PURES, *OTHERS, APPROXIMATES[1]]


@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
@pytest.mark.parametrize("document", KNOWN, ids=lambda each: str(each["type"]))
def test_no_honest_price_falls_short(document: dict[str, object], relation: str) -> None:
    mechanism = parse_mechanism(document)
    if relation == "replace_one" and mechanism.type in ("poisson_sampled", "zcdp"):
        return
    honest = price(mechanism, relation)
    assert falls_short(honest) is None
    worst = worst_case(mechanism, relation)
    if honest.maximum_atto is not None and worst is not None:
        assert Fraction(honest.maximum_atto, 10**18) >= worst


@pytest.mark.parametrize("document", KNOWN, ids=lambda each: str(each["type"]))
def test_a_price_that_is_a_millionth_too_low_is_found_where_the_loss_is_known(
    document: dict[str, object],
) -> None:
    honest = price(parse_mechanism(document), "add_remove")
    if not divergence(honest.mechanism, "add_remove", 2) or document["type"] == "composed":
        return
    low = Price(
        honest.mechanism,
        honest.relation,
        tuple(
            (count, tuple(nats * (1 - 1e-6) for nats in vector)) for count, vector in honest.terms
        ),
        honest.maximum_atto,
        honest.delta_atto,
        honest.gaussian_1e36,
        honest.priced_by,
    )
    assert falls_short(low) == CHECKED_ORDERS[0]


def test_both_ways_to_epsilon_agree_with_the_known_value_of_one_gaussian() -> None:
    gaussian = price(parse_mechanism({"type": "gaussian", "noise_multiplier": "10"}), "add_remove")
    vector = [
        (int(order), charged_nats(gaussian, place) or Fraction(0))
        for place, order in enumerate(ORDERS)
        if order.denominator == 1
    ]
    found = epsilon_of(vector, Decimal("1e-6"))
    # Balle and Wang's exact curve gives 0.40...; the best of whole orders lies above it
    assert found is not None
    assert Decimal("0.40") < found < Decimal("0.50")
