"""What a record's gradient is clipped to: a given C, or one that a charged look chose (R27)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from fractions import Fraction
from functools import cache
from typing import Any, Final, Literal, cast, get_args

from app.domain.datasets import Dataset
from app.domain.decimals import decimal_text, float_down, float_up, parse_decimal
from app.domain.documents import read_choice, read_object
from app.domain.errors import InvalidParameter, RefusedByName
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
COUNT_NOISE_RANGE: Final = (Decimal("1e-3"), Decimal("1e9"))
# Noise may say anything of a count; C moves by no more than this power of e in one step.
_LARGEST_MOVE: Final = 20.0


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
class AdaptiveClip:
    """C follows a quantile of the drawn records' norms, step by step (Andrew et al. 2021, Alg. 1).

    Each step also releases how many of its records were not clipped, with noise, and C moves by
    e^(-learning_rate (share - quantile)) between two public ends. The share is taken of the public
    divisor, so `normalise_by` should be what a draw is expected to hold.

    The spec's noise multiplier z is what is charged: of gradient AND count, as one release. Proof:
    a record adds a vector of at most C to the sum of gradients and b - 1/2, at most 1/2 either way,
    to the sum of counts. With noise of deviation z_g C on the one and s on the other, both divided
    by their deviations are one Gaussian release with noise 1 of a vector that the record moves by
    at most sqrt(z_g^-2 + (2 s)^-2); that is 1 / z for

        z_g = (z^-2 - (2 s)^-2)^(-1/2),

    the gradient's own multiplier, rounded up. C depends on earlier releases alone, so the steps
    compose as before (Andrew et al. 2021, Theorem 1). s >= z keeps z_g within 1.155 z.

    low, high: the ends of C. Without a low one C can run to zero: where most records agree, their
    norms shrink, and the quantile with them.
    """

    quantile: Decimal
    learning_rate: float
    count_noise: Decimal
    low: Decimal
    high: Decimal

    def require_noise(self, noise_multiplier: Decimal, pointer: str) -> None:
        """Refuse counts that would take most of what is charged.

        Raises:
            InvalidParameter: the noise of the counts is below the multiplier.
        """
        if self.count_noise < noise_multiplier:
            reason = f"the noise of the counts is at least the multiplier, {noise_multiplier}"
            raise InvalidParameter(f"{pointer}/adaptive/count_noise", reason)

    def gradient_noise(self, noise_multiplier: Decimal) -> Decimal:
        """z_g: the gradient's own multiplier where z is charged, rounded up."""
        with localcontext(Context(prec=50)):
            four = 4 * self.count_noise**2
            square = four * noise_multiplier**2 / (four - noise_multiplier**2)
            return square.sqrt() * (1 + Decimal("1e-40"))

    def moved(self, norm_l2: float, noisy_excess: float, expected: float) -> float:
        """The C of the next step.

        Args:
            norm_l2: that of this one.
            noisy_excess: the noisy sum of b - 1/2 over the records of the step.
            expected: how many records that is, by a public number.
        """
        off = self.learning_rate * (noisy_excess / expected + 0.5 - float(self.quantile))
        wanted = norm_l2 * math.exp(-min(max(off, -_LARGEST_MOVE), _LARGEST_MOVE))
        return min(max(wanted, float_up(self.low)), float_down(self.high))

    def to_json(self) -> dict[str, Any]:
        """The stored form."""
        return {
            "quantile": decimal_text(self.quantile),
            "learning_rate": self.learning_rate,
            "count_noise": decimal_text(self.count_noise),
            "low": decimal_text(self.low),
            "high": decimal_text(self.high),
        }


@dataclass(frozen=True, slots=True)
class Clipping:
    """How the records of a run are clipped.

    norm_l2: C, or None while `profile` has not chosen one; the first one, where it is `adaptive`.
    """

    mode: ClipMode
    norm_l2: Decimal | None
    profile: ClipProfile | None = None
    adaptive: AdaptiveClip | None = None

    def to_json(self) -> dict[str, Any]:
        """The stored form; on a card, with the C that the profile chose."""
        document: dict[str, Any] = {"mode": self.mode}
        if self.profile is not None:
            document["profile"] = self.profile.to_json()
        if self.norm_l2 is not None:
            document["norm_l2"] = decimal_text(self.norm_l2)
        if self.adaptive is not None:
            document["adaptive"] = self.adaptive.to_json()
        return document


def parse_clipping(document: object, dataset: Dataset, pointer: str) -> Clipping:
    """Read how a run clips.

    Raises:
        InvalidParameter: malformed or out of range, or a profile of too few records.
        RefusedByName: adaptive clipping by layer, or a profile of users: neither has a price here.
    """
    fields = read_object(
        document, pointer, required=("mode",), optional=("norm_l2", "profile", "adaptive")
    )
    mode = cast(ClipMode, read_choice(fields["mode"], f"{pointer}/mode", get_args(ClipMode)))
    if ("norm_l2" in fields) == ("profile" in fields):
        raise InvalidParameter(pointer, "either norm_l2 or profile is expected")
    if "profile" in fields and "adaptive" in fields:
        raise InvalidParameter(f"{pointer}/adaptive", "C is chosen once or followed, not both")
    if "profile" in fields:
        return Clipping(
            mode, None, _parse_profile(fields["profile"], dataset, f"{pointer}/profile")
        )
    norm = read_decimal(fields["norm_l2"], f"{pointer}/norm_l2", *CLIP_RANGE)
    if "adaptive" not in fields:
        return Clipping(mode, norm)
    if mode == "per_layer":
        raise RefusedByName(
            f"{pointer}/adaptive", "adaptive clipping of each layer by itself", "mode flat"
        )
    adaptive = _parse_adaptive(fields["adaptive"], norm, f"{pointer}/adaptive")
    return Clipping(mode, norm, adaptive=adaptive)


def _parse_profile(document: object, dataset: Dataset, pointer: str) -> ClipProfile:
    fields: Mapping[str, Any] = read_object(document, pointer, required=("quantile", "epsilon"))
    if dataset.unit is not None and dataset.unit.kind != "record":
        raise RefusedByName(
            pointer, "a clip profile where users are the unit: its ranks count records", "norm_l2"
        )
    epsilon = read_decimal(fields["epsilon"], f"{pointer}/epsilon", *PROFILE_EPSILON_RANGE)
    nominal = dataset.nominal_size or 0
    if nominal * Fraction(epsilon) < RECORDS_TIMES_EPSILON:
        reason = f"a profile needs a declared nominal size of {RECORDS_TIMES_EPSILON} / epsilon"
        raise InvalidParameter(f"{pointer}/epsilon", reason)
    return ClipProfile(read_quantile(fields["quantile"], f"{pointer}/quantile"), epsilon)


def _parse_adaptive(document: object, norm: Decimal, pointer: str) -> AdaptiveClip:
    fields = read_object(
        document,
        pointer,
        required=("quantile", "learning_rate", "count_noise"),
        optional=("low", "high"),
    )
    low, high = max(norm / 10, CLIP_RANGE[0]), min(norm * 10, CLIP_RANGE[1])
    if "low" in fields:
        low = read_decimal(fields["low"], f"{pointer}/low", CLIP_RANGE[0], norm)
    if "high" in fields:
        high = read_decimal(fields["high"], f"{pointer}/high", norm, CLIP_RANGE[1])
    return AdaptiveClip(
        quantile=read_quantile(fields["quantile"], f"{pointer}/quantile"),
        learning_rate=read_number(
            fields["learning_rate"], f"{pointer}/learning_rate", low=1e-4, high=1.0
        ),
        count_noise=read_decimal(
            fields["count_noise"], f"{pointer}/count_noise", *COUNT_NOISE_RANGE
        ),
        low=low,
        high=high,
    )


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


def read_number(document: object, pointer: str, *, low: float, high: float) -> float:
    """A JSON number in [low, high], for what is no privacy parameter.

    Raises:
        InvalidParameter: not a number, or out of range.
    """
    if isinstance(document, bool) or not isinstance(document, int | float):
        raise InvalidParameter(pointer, "a number is expected")
    # Compared before it becomes a float: a huge integer has no float, and NaN is in no range.
    if not low <= document <= high:
        raise InvalidParameter(pointer, f"a number from {low} to {high} is expected")
    return float(document)
