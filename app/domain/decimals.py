"""Exact decimals: how privacy parameters are read, rounded against us, and written back.

A privacy parameter crosses the wire as a decimal string and keeps its text. Arithmetic on it is
done in integers and fractions; wherever a float is needed, the direction of rounding is named.
"""

import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Final

from app.domain.errors import InvalidParameter

ATTO: Final = 10**18
NAT_2P40: Final = 2**40

LONGEST_TEXT: Final = 40
# Beyond these powers of ten no parameter of the service lies; a longer one would only be a way to
# make the exact arithmetic below slow.
WIDEST_EXPONENT: Final = 400

_UNSIGNED = re.compile(r"[0-9]+(\.[0-9]+)?([eE]-?[0-9]+)?", re.ASCII)
_SIGNED = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE]-?[0-9]+)?", re.ASCII)


class WrittenDecimal(Decimal):
    """A decimal that keeps the text it was written with, so that it is stored as it was sent."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> "WrittenDecimal":
        """The exact value of a text that was checked before."""
        self = super().__new__(cls, text)
        self.text = text
        return self

    def __reduce__(self) -> tuple[type["WrittenDecimal"], tuple[str]]:
        """Copies and pickles keep the text."""
        return (WrittenDecimal, (self.text,))

    def __copy__(self) -> "WrittenDecimal":
        """Itself: it cannot change."""
        return self

    def __deepcopy__(self, memo: object) -> "WrittenDecimal":
        """Itself: it cannot change."""
        return self


def _parse(value: object, pointer: str, pattern: re.Pattern[str], shape: str) -> Decimal:
    if not isinstance(value, str):
        raise InvalidParameter(pointer, f"must be a decimal string such as {shape}")
    if len(value) > LONGEST_TEXT:
        raise InvalidParameter(pointer, f"must have at most {LONGEST_TEXT} characters")
    if pattern.fullmatch(value) is None:
        raise InvalidParameter(pointer, f"must be a decimal string such as {shape}")
    _, _, exponent = value.lower().partition("e")
    # The exponent is looked at before Decimal sees it: its own limits would raise otherwise.
    if exponent and abs(int(exponent)) > WIDEST_EXPONENT:
        raise InvalidParameter(pointer, f"its exponent must be within {WIDEST_EXPONENT}")
    return WrittenDecimal(value)


def parse_decimal(value: object, pointer: str) -> Decimal:
    """A non-negative decimal from its wire text, exactly, with the text kept.

    JSON numbers, booleans, signs, NaN and infinities are refused.

    Raises:
        InvalidParameter: `value` is not a decimal string of at most 40 characters.
    """
    return _parse(value, pointer, _UNSIGNED, '"0.5" or "1e-6"')


def parse_signed_decimal(value: object, pointer: str) -> Decimal:
    """A decimal that may carry a leading minus, for the bounds of a column.

    Raises:
        InvalidParameter: `value` is not a decimal string of at most 40 characters.
    """
    return _parse(value, pointer, _SIGNED, '"-0.5" or "1e-6"')


def decimal_text(value: Decimal) -> str:
    """The wire text of a finite decimal: as it was written, else its shortest exact form."""
    if isinstance(value, WrittenDecimal):
        return value.text
    return str(value).replace("E+", "e").replace("E", "e")


def float_up(value: Decimal | Fraction) -> float:
    """The least float that is not below `value`; infinity above the largest float."""
    exact = Fraction(value)
    try:
        nearest = float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.nextafter(math.inf, 0.0)
    return nearest if Fraction(nearest) >= exact else math.nextafter(nearest, math.inf)


def float_down(value: Decimal | Fraction) -> float:
    """The greatest float that is not above `value`; minus infinity below the smallest one."""
    return -float_up(-Fraction(value))


def to_atto_up(value: Decimal | Fraction) -> int:
    """The value in units of 1e-18, rounded up: for a charge (R1)."""
    return math.ceil(Fraction(value) * ATTO)


def to_atto_down(value: Decimal | Fraction) -> int:
    """The value in units of 1e-18, rounded down: for a limit (R1)."""
    return math.floor(Fraction(value) * ATTO)


def atto_text(value_atto: int) -> str:
    """An exact number of 1e-18 units as a plain decimal string without trailing zeros."""
    sign = "-" if value_atto < 0 else ""
    whole, part = divmod(abs(value_atto), ATTO)
    if part == 0:
        return f"{sign}{whole}"
    if whole == 0 and part < 10**12:
        digits = str(part).rstrip("0")
        point = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{point}e-{18 - len(str(part)) + 1}"
    return f"{sign}{whole}.{part:018d}".rstrip("0")


def _significant(value: Fraction, digits: int, *, up: bool) -> str:
    if value == 0:
        return "0"
    # floor(log10) from exact comparisons; the float start is right within one.
    power = math.floor((math.log2(value.numerator) - math.log2(value.denominator)) * math.log10(2))
    while Fraction(10) ** (power + 1) <= value:
        power += 1
    while Fraction(10) ** power > value:
        power -= 1
    scaled = value / Fraction(10) ** (power - digits + 1)
    kept = math.ceil(scaled) if up else math.floor(scaled)
    exact = Decimal(kept).scaleb(power - digits + 1).normalize()
    plain = format(exact, "f")
    return plain if len(plain) <= LONGEST_TEXT // 2 else decimal_text(exact)


def text_up(value: Fraction, digits: int) -> str:
    """A non-negative value rounded up to `digits` significant digits, as a decimal string."""
    return _significant(value, digits, up=True)


def text_down(value: Fraction, digits: int) -> str:
    """A non-negative value rounded down to `digits` significant digits, as a decimal string."""
    return _significant(value, digits, up=False)
