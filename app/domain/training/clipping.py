"""What a record's gradient is clipped to: a given C, or one that a charged look chose (R27)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from fractions import Fraction
from functools import cache
from typing import Any, Final, Literal, cast, get_args

from app.domain.datasets import Dataset
from app.domain.decimals import decimal_text, parse_decimal
from app.domain.documents import read_choice, read_object
from app.domain.errors import InvalidParameter
from app.domain.mechanisms.parsing import Exponential
from app.domain.queries.calibration import QUANTILE_PARTS, SAMPLER
from app.domain.queries.noise import laplace_scale

# flat: all parameters together; per_layer: each layer by itself, at C / sqrt(layers); stream: flat
# with few records at a time, for small memory.
ClipMode = Literal["flat", "per_layer", "stream"]

# The clipping kernels prove their rounding for these norms.
CLIP_RANGE: Final = (Decimal("1e-6"), Decimal("1e6"))
QUANTILE_RANGE: Final = (Decimal("0.05"), Decimal("0.95"))
PROFILE_EPSILON_RANGE: Final = (Decimal("0.001"), Decimal(10))
# The choice is off by some 1 / epsilon ranks; of fewer records than this it would say nothing.
RECORDS_TIMES_EPSILON: Final = 200
GRID_LOW_POWER: Final = -3
GRID_POWERS: Final = 6
GRID_EDGES_A_POWER: Final = 40
_GRID_DIGITS: Final = 6


@cache
def clip_grid() -> tuple[Decimal, ...]:
    """The public candidates for C: 241 edges from 1e-3 to 1e3, each 5.9% above the one before."""
    with localcontext(Context(prec=50)):
        exact = [
            Decimal(10) ** (GRID_LOW_POWER + Decimal(place) / GRID_EDGES_A_POWER)
            for place in range(GRID_POWERS * GRID_EDGES_A_POWER + 1)
        ]
    shown = Context(prec=_GRID_DIGITS, rounding=ROUND_HALF_EVEN)
    return tuple(Decimal(format(shown.create_decimal(each).normalize(), "f")) for each in exact)


@dataclass(frozen=True, slots=True)
class ClipProfile:
    """C is an edge of the grid, chosen near a quantile of the records' gradient norms (R27).

    One draw of the exponential mechanism, by Gumbel noise. The norms are those at the initial
    weights, each record's over all parameters together. Edge e of n records has the score

        -| P #{norms <= e} - q P n |,        P = 10,000, so that scores are whole numbers.

    Proof of the sensitivity: a record that comes moves #{norms <= e} by 1 where its norm is at most
    e and by 0 elsewhere, and n by 1. What stands between the bars moves by P - q P or by -q P, its
    absolute value by no more, so a score moves by at most P max(q, 1 - q); one that leaves, the
    other way round. A record that is zeroed out has no gradient and counts in no rank, so
    `zero_out` is the same step. A record whose norm is not finite counts above every edge. Scores
    may rise or fall, so two of them move apart by twice as much, and Gumbel noise of scale
    2 P max(q, 1 - q) / epsilon gives weights e^(epsilon score / (2 sensitivity)): epsilon-DP, of
    bounded range epsilon (McSherry and Talwar 2007; R6).

    The plain quantile is another matter: one record moves it with probability 1, and it is never
    released.
    """

    quantile: Decimal
    epsilon: Decimal

    @property
    def mechanism(self) -> Exponential:
        """What is charged: one unit of this."""
        return Exponential(self.epsilon, sampler=SAMPLER)

    @property
    def sensitivity(self) -> int:
        """The most by which one record moves one score."""
        return int(max(self.quantile, 1 - self.quantile) * QUANTILE_PARTS)

    @property
    def scale(self) -> Decimal:
        """Of the Gumbel noise, never below 2 sensitivity / epsilon."""
        return laplace_scale(2 * self.sensitivity, Fraction(self.epsilon))

    def scores(self, at_most: Sequence[int], records: int) -> list[int]:
        """The score of every edge of the grid.

        Args:
            at_most: the records whose norm is at most an edge, by edge. Private.
            records: how many there are. Private.
        """
        aim = int(self.quantile * QUANTILE_PARTS) * records
        return [-abs(QUANTILE_PARTS * rank - aim) for rank in at_most]

    def to_json(self) -> dict[str, Any]:
        """The stored form."""
        return {"quantile": decimal_text(self.quantile), "epsilon": decimal_text(self.epsilon)}


@dataclass(frozen=True, slots=True)
class Clipping:
    """How the records of a run are clipped.

    norm_l2: C, or None while `profile` has not chosen one.
    """

    mode: ClipMode
    norm_l2: Decimal | None
    profile: ClipProfile | None = None

    def to_json(self) -> dict[str, Any]:
        """The stored form; on a card, with the C that the profile chose."""
        document: dict[str, Any] = {"mode": self.mode}
        if self.profile is not None:
            document["profile"] = self.profile.to_json()
        if self.norm_l2 is not None:
            document["norm_l2"] = decimal_text(self.norm_l2)
        return document


def parse_clipping(document: object, dataset: Dataset, pointer: str) -> Clipping:
    """Read how a run clips.

    Raises:
        InvalidParameter: malformed or out of range, or a profile of too few records.
    """
    fields = read_object(document, pointer, required=("mode",), optional=("norm_l2", "profile"))
    mode = cast(ClipMode, read_choice(fields["mode"], f"{pointer}/mode", get_args(ClipMode)))
    if ("norm_l2" in fields) == ("profile" in fields):
        raise InvalidParameter(pointer, "either norm_l2 or profile is expected")
    if "profile" in fields:
        return Clipping(
            mode, None, _parse_profile(fields["profile"], dataset, f"{pointer}/profile")
        )
    return Clipping(mode, read_decimal(fields["norm_l2"], f"{pointer}/norm_l2", *CLIP_RANGE))


def _parse_profile(document: object, dataset: Dataset, pointer: str) -> ClipProfile:
    fields: Mapping[str, Any] = read_object(document, pointer, required=("quantile", "epsilon"))
    if dataset.unit is not None and dataset.unit.kind != "record":
        raise InvalidParameter(pointer, "a profile ranks records, and the unit here is another")
    epsilon = read_decimal(fields["epsilon"], f"{pointer}/epsilon", *PROFILE_EPSILON_RANGE)
    nominal = dataset.nominal_size or 0
    if nominal * Fraction(epsilon) < RECORDS_TIMES_EPSILON:
        reason = f"a profile needs a declared nominal size of {RECORDS_TIMES_EPSILON} / epsilon"
        raise InvalidParameter(f"{pointer}/epsilon", reason)
    return ClipProfile(read_quantile(fields["quantile"], f"{pointer}/quantile"), epsilon)


def read_quantile(document: object, pointer: str) -> Decimal:
    """A quantile of norms, of at most four digits.

    Raises:
        InvalidParameter: not a decimal string, out of range, or finer than the scores are.
    """
    quantile = read_decimal(document, pointer, *QUANTILE_RANGE)
    if (quantile * QUANTILE_PARTS) % 1:
        raise InvalidParameter(pointer, "at most 4 digits after the point")
    return quantile


def read_decimal(document: object, pointer: str, low: Decimal, high: Decimal) -> Decimal:
    """A decimal string in [low, high], exactly.

    Raises:
        InvalidParameter: not a decimal string, or out of range.
    """
    value = parse_decimal(document, pointer)
    if not low <= value <= high:
        raise InvalidParameter(pointer, f"a decimal from {low} to {high} is expected")
    return value
