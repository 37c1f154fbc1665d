"""What a loss of one unit becomes for several units that belong together."""

from dataclasses import dataclass
from decimal import Decimal

from app.domain.risk.precision import exactly


@dataclass(frozen=True, slots=True)
class GroupBound:
    """An (epsilon, delta) for `size` linked units; a delta of 1 bounds nothing."""

    size: int
    epsilon: Decimal
    delta: Decimal


def group_bound(epsilon: Decimal, delta: Decimal, size: int) -> GroupBound:
    """Epsilon k x e, at a delta of delta (e^(k e) - 1) / (e^e - 1) and at most 1.

    Pure losses stay pure. Source: Vadhan 2017, Lemma 2.2.
    """
    with exactly():
        whole = size * epsilon
        if delta == 0:
            return GroupBound(size, whole, Decimal(0))
        if epsilon.is_infinite():
            return GroupBound(size, whole, Decimal(1) if size > 1 else delta)
        # the same sum as a series, which has a value at epsilon 0 as well
        grown = sum(((step * epsilon).exp() for step in range(size)), Decimal(0))
        return GroupBound(size, whole, min(Decimal(1), delta * grown))


def group_rho(rho: Decimal, size: int) -> Decimal:
    """The rho of a group: k^2 rho (Bun and Steinke 2016, Proposition 1.9)."""
    with exactly():
        return size * size * rho


def group_mu(mu: Decimal, size: int) -> Decimal:
    """The mu of a group: k mu (Dong, Roth and Su 2022, Theorem 2.14, for Gaussians)."""
    with exactly():
        return size * mu
