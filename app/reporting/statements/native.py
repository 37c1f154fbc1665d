"""What losses are before any conversion, and what mechanisms that were fixed in advance come to.

Of one job, or every slot of a plan: where all of them are continuous Gaussians their sum is one
Gaussian, exactly; where all are concentrated, their rho adds. Neither is a bound of a filter, whose
jobs nobody had listed (L9).
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from app.domain.accounting.prices import charge_parts, price
from app.domain.decimals import ATTO, NAT_2P40, atto_text, text_up
from app.domain.mechanisms.kinds import (
    Composed,
    DiscreteGaussian,
    Gaussian,
    Mechanism,
    Repeated,
    Zcdp,
)
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import ORDERS, Loss
from app.domain.risk.gaussian import mu_of_squares
from app.reporting.statements.figures import concentrated_figures, gaussian_figures

HOLDS_FOR: Final = "exactly these mechanisms and counts, fixed before the first output"
# a charge is inflated by 1e-9 (R1), which fewer digits would round up to much more
DIGITS: Final = 6
SHOWN_ORDERS: Final = (Fraction(3, 2), *map(Fraction, (2, 4, 8, 16, 32, 64, 256)))
_ORDER_2: Final = ORDERS.index(2)


def fixed_figures(
    parts: Sequence[tuple[Mapping[str, Any], int]], relation: str
) -> dict[str, Any] | None:
    """Figures of a list of mechanisms, if they were fixed in advance.

    Args:
        parts: (a mechanism in its stored form, how many units).
        relation: of the dataset; the charge is converted to it (R7).

    Returns:
        {"holds_for", "gaussian": figures or null, "concentrated": figures or null}; None where
        neither family takes all of them.
    """
    read = [(parse_mechanism(document), units) for document, units in parts]
    leaves = [leaf for mechanism, _ in read for leaf in _leaves(mechanism)]
    if not all(_is_concentrated(leaf) for leaf in leaves):
        return None
    whole = charge_parts((price(mechanism, relation), units) for mechanism, units in read)
    is_gaussian = all(isinstance(leaf, Gaussian) for leaf in leaves)
    return {
        "holds_for": HOLDS_FOR,
        "gaussian": gaussian_figures(_mu(whole), digits=DIGITS) if is_gaussian else None,
        "concentrated": concentrated_figures(_rho(whole), digits=DIGITS),
    }


def native_figures(loss: Loss) -> dict[str, str]:
    """What an accountant sums, as name and value, each rounded up; infinite orders are left out."""
    found = {
        f"nats at order {order}": text_up(
            Fraction(loss.nats_2p40[ORDERS.index(order)], NAT_2P40), DIGITS
        )
        for order in SHOWN_ORDERS
        if not loss.dead[ORDERS.index(order)]
    }
    if not loss.maximum_dead:
        found["summed worst-case epsilon"] = atto_text(loss.maximum_atto)
    if not loss.gaussian_dead:
        found["summed 1/noise^2"] = atto_text(loss.gaussian_atto)
    return {**found, "summed delta of jobs": atto_text(loss.delta_atto)}


def _leaves(mechanism: Mechanism) -> Iterator[Mechanism]:
    """What is run, one after the other; whatever else changes a mechanism makes another of it."""
    if not isinstance(mechanism, Repeated | Composed):
        yield mechanism
        return
    for child in mechanism.children():
        yield from _leaves(child)


def _is_concentrated(leaf: Mechanism) -> bool:
    return isinstance(leaf, Gaussian | DiscreteGaussian) or (isinstance(leaf, Zcdp) and not leaf.xi)


def _mu(whole: Loss) -> Decimal:
    return mu_of_squares(Decimal(whole.gaussian_atto) / ATTO)


def _rho(whole: Loss) -> Decimal:
    """The slope of a vector that is rho x order, from what was charged, so never understated."""
    return Decimal(whole.nats_2p40[_ORDER_2]) / NAT_2P40 / 2
