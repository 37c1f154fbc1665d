"""What engines call the few functions of the bounding plan; one row per dialect, all total.

The plan is one tree. Where engines differ in a name or in the meaning of a function, the tree asks
this table, so that every engine computes the same integers (tests compare them cell for cell).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, Literal

from sqlglot import exp

from app.domain.decimals import decimal_text

DialectName = Literal["duckdb", "postgres", "sqlite", "spark", "trino", "snowflake", "bigquery"]
_LARGEST_FLOAT: Final = "1.7976931348623157e308"


@dataclass(frozen=True, slots=True)
class Dialect:
    """The functions of one engine.

    least, greatest: scalar functions of two values.
    wide: a type for whole numbers of 127 bits; None where the engine has 64 bits only.
    sum_as: a type to which values are cast before they are summed, where sums are of 64 bits.
    divide: how whole numbers that are not negative are divided toward zero.
    dates_are_text: dates and times are kept as ISO texts.
    own_hash: order a unit's groups by the engine's own hash, half as dear as MD5; which groups of a
        unit are cut then differs from other engines, and nothing else does.
    """

    name: DialectName
    least: str = "LEAST"
    greatest: str = "GREATEST"
    wide: str | None = "DECIMAL(38, 0)"
    sum_as: str | None = None
    divide: Literal["//", "/", "DIV()", "DIV", "exact"] = "exact"
    dates_are_text: bool = False
    own_hash: bool = False

    def finite(self, value: exp.Expr) -> exp.Expr:
        """Whether a double is finite: NaN is above every number, or compares as false."""
        if self.name == "duckdb":
            return exp.Anonymous(this="isfinite", expressions=[value])
        return exp.LTE(this=exp.Abs(this=value), expression=self.double(Decimal(_LARGEST_FLOAT)))

    def order_key(self, parts: Sequence[exp.Expr], salt: str) -> exp.Expr:
        """What orders a unit's groups as if at random: of their values and the salt alone."""
        if self.own_hash:
            return exp.Anonymous(this="hash", expressions=[*parts, exp.Literal.string(salt)])
        texts = [
            exp.Coalesce(
                this=exp.cast(part, "TEXT", dialect="duckdb"),
                expressions=[exp.Literal.string("")],
            )
            for part in parts
        ]
        joined: exp.Expr = exp.Literal.string(salt)
        for text in reversed(texts):
            after = exp.DPipe(this=exp.Literal.string("|"), expression=joined, safe=False)
            joined = exp.DPipe(this=text, expression=after, safe=False)
        return exp.MD5(this=joined)

    def clamp(self, value: exp.Expr, low: int, high: int) -> exp.Expr:
        """A whole number within two others; what it makes of NULL is guarded where it matters."""
        return self.at_most(self.at_least(value, integer(low)), integer(high))

    def at_most(self, value: exp.Expr, most: exp.Expr) -> exp.Expr:
        """The lesser of two values."""
        return exp.Anonymous(this=self.least, expressions=[value, most])

    def at_least(self, value: exp.Expr, least: exp.Expr) -> exp.Expr:
        """The greater of two values."""
        return exp.Anonymous(this=self.greatest, expressions=[value, least])

    def whole(self, value: exp.Expr) -> exp.Expr:
        """The greatest whole number not above a double that lies within 2^53."""
        return exp.cast(exp.Floor(this=value), "BIGINT", dialect="duckdb")

    def widened(self, value: exp.Expr) -> exp.Expr:
        """A whole number with room for sums and products of two of 64 bits."""
        return value if self.wide is None else self._as(value, self.wide)

    def total(self, value: exp.Expr) -> exp.Expr:
        """The sum of whole numbers, exact for any number of rows, 0 for none."""
        summed = exp.Sum(this=value if self.sum_as is None else self._as(value, self.sum_as))
        return exp.Coalesce(this=summed, expressions=[integer(0)])

    def quotient(self, value: exp.Expr, by: exp.Expr) -> exp.Expr:
        """Of two whole numbers, the first not negative and the second positive, toward zero."""
        if self.divide == "/":
            return _divided(value, by)
        if self.divide == "DIV()":
            return exp.Anonymous(this="DIV", expressions=[value, by])
        if self.divide in ("//", "DIV"):
            return exp.IntDiv(this=exp.paren(value), expression=exp.paren(by))
        rest = exp.Mod(this=exp.paren(value.copy()), expression=exp.paren(by.copy()))
        exact = exp.Sub(this=exp.paren(value), expression=exp.paren(rest))
        return exp.cast(_divided(exact, by), "BIGINT", dialect="duckdb")

    def remainder(self, value: exp.Expr, by: exp.Expr) -> exp.Expr:
        """What `quotient` leaves."""
        return exp.Mod(this=exp.paren(value), expression=exp.paren(by))

    def double(self, value: Decimal) -> exp.Expr:
        """A decimal as the nearest double."""
        return exp.cast(exp.Literal.string(decimal_text(value)), "DOUBLE", dialect="duckdb")

    def moment(self, text: str, kind: Literal["DATE", "TIMESTAMP"]) -> exp.Expr:
        """A date or a time."""
        literal = exp.Literal.string(text)
        return literal if self.dates_are_text else exp.cast(literal, kind, dialect="duckdb")

    def same(self, left: exp.Expr, right: exp.Expr) -> exp.Expr:
        """Equality that holds for two missing values too."""
        return exp.NullSafeEQ(this=left, expression=right)

    def _as(self, value: exp.Expr, kind: str) -> exp.Expr:
        return exp.cast(value, exp.DataType.build(kind, dialect="duckdb"))


DUCKDB: Final = Dialect("duckdb", wide="HUGEINT", divide="//", own_hash=True)
# The same integers as every engine below, cell for cell.
PORTABLE_DUCKDB: Final = replace(DUCKDB, own_hash=False)
POSTGRES: Final = Dialect("postgres", divide="DIV()")
SQLITE: Final = Dialect(
    "sqlite", least="MIN", greatest="MAX", wide=None, divide="/", dates_are_text=True
)
SPARK: Final = Dialect("spark", sum_as="DECIMAL(38, 0)", divide="DIV")
TRINO: Final = Dialect("trino", sum_as="DECIMAL(38, 0)")
SNOWFLAKE: Final = Dialect("snowflake")
BIGQUERY: Final = Dialect("bigquery", sum_as="DECIMAL(38, 0)", divide="DIV()")
DIALECTS: Final = (DUCKDB, PORTABLE_DUCKDB, POSTGRES, SQLITE, SPARK, TRINO, SNOWFLAKE, BIGQUERY)


def integer(value: int) -> exp.Expr:
    """A whole number as it stands."""
    return exp.Literal.number(value)


def _divided(value: exp.Expr, by: exp.Expr) -> exp.Expr:
    return exp.Div(this=exp.paren(value), expression=exp.paren(by), typed=True, safe=False)
