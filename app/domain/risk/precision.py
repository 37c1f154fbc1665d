"""The arithmetic under every risk figure: 60 decimal digits, and exponents without an end."""

from contextlib import AbstractContextManager
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation, Overflow, localcontext
from typing import Final

DIGITS: Final = 60


def exactly(digits: int = DIGITS) -> AbstractContextManager[Context]:
    """Work at a number of digits; what is too small becomes 0, what has no value is an error."""
    context = Context(prec=digits, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[InvalidOperation, Overflow])
    return localcontext(context)


def shrunk_by(epsilon: Decimal) -> Decimal:
    """e^-epsilon; 0 for an epsilon that nothing bounds. Used instead of e^epsilon, which grows."""
    return Decimal(0) if epsilon.is_infinite() else (-epsilon).exp()
