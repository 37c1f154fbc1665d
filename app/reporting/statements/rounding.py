"""How a figure becomes text: risk and spend up, what is left down, and no false precision."""

from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Final

from app.domain.decimals import text_down, text_up

NEARLY_ALWAYS: Final = "nearly always"
# Above it the tenths would pretend to a difference that no reader should rely on.
NEARLY_ALWAYS_PER_100: Final = Decimal("99.5")
SHOWN_DIGITS: Final = 3
LEAST_PLAIN: Final = Decimal("0.001")
UNBOUNDED: Final = "unbounded"


def up(value: Decimal, digits: int = SHOWN_DIGITS) -> str:
    """A risk rounded up to some significant digits, as plain text."""
    return UNBOUNDED if value.is_infinite() else text_up(Fraction(value), digits)


def small(value: Decimal, digits: int = SHOWN_DIGITS) -> str:
    """A small probability rounded up, as "3.72e-6" where plain text would be noughts."""
    text = up(value, digits)
    if not value or value >= LEAST_PLAIN:
        return text
    mantissa, _, exponent = f"{Decimal(text).normalize():e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def per_100(share: Decimal, digits: int = SHOWN_DIGITS) -> str:
    """A share in [0, 1] as a number out of 100, rounded up; "nearly always" above 99.5."""
    return NEARLY_ALWAYS if 100 * share > NEARLY_ALWAYS_PER_100 else percent(share, digits)


def percent(share: Decimal, digits: int = SHOWN_DIGITS) -> str:
    """A share in [0, 1] as a percentage, rounded up to some significant digits."""
    return up(100 * share, digits)


def percent_down(share: Decimal, digits: int = SHOWN_DIGITS) -> str:
    """The same rounded down: for what makes a risk look smaller where it is large."""
    return text_down(Fraction(100 * share), digits)


def times_in_100(shown: str) -> str:
    """What `per_100` gave, as words that follow "they could be right"."""
    return NEARLY_ALWAYS if shown == NEARLY_ALWAYS else f"at most {shown} times in 100"


def percent_text(shown: str) -> str:
    """What `per_100` gave, as a percentage or as words."""
    return NEARLY_ALWAYS if shown == NEARLY_ALWAYS else f"{shown}%"


def one_in(delta: str) -> str:
    """A small probability as "1 in N", N rounded down to two digits, so that it is not belittled.

    delta: a decimal string above 0.
    """
    whole = int((1 / Decimal(delta)).to_integral_value(ROUND_FLOOR))
    spare = max(0, len(str(whole)) - 2)
    return f"1 in {whole // 10**spare * 10**spare:,}"
