"""From rho of zCDP to epsilon, by two formulas that are always named: they differ by a tenth.

For figures that others publish as rho; what a budget of ours proves is no conversion of this kind.
"""

from decimal import Decimal
from typing import Final, Literal

from app.domain.risk.precision import exactly

Formula = Literal["improved", "classic"]
FORMULAS: Final[dict[Formula, str]] = {
    "improved": "rho a + ln(1 - 1/a) - (ln delta + ln a) / (a - 1) at its best order a"
    " (Canonne, Kamath and Steinke 2020, Proposition 12)",
    "classic": "rho + 2 sqrt(rho ln(1/delta)) (Bun and Steinke 2016, Proposition 1.3)",
}
# Any order gives a bound; the search ends where its figure has more digits than are shown.
_SEARCH_STEPS: Final = 100
_GOLDEN: Final = (Decimal(5).sqrt() - 1) / 2


def epsilon_of(rho: Decimal, delta: Decimal, formula: Formula) -> Decimal:
    """Epsilon at a delta of rho-zCDP by a named formula; delta is above 0 and below 1."""
    with exactly():
        if rho == 0:
            return Decimal(0)
        if formula == "classic":
            return rho + 2 * (rho * -delta.ln()).sqrt()
        return max(Decimal(0), _improved(rho, delta))


def _improved(rho: Decimal, delta: Decimal) -> Decimal:
    def at(log_above: Decimal) -> Decimal:
        above = log_above.exp()
        order = 1 + above
        return rho * order + (above / order).ln() - (delta.ln() + order.ln()) / above

    low, high = Decimal(-14), Decimal(21)
    for _ in range(_SEARCH_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if at(left) <= at(right):
            high = right
        else:
            low = left
    return at((low + high) / 2)
